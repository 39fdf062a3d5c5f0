"""The local socket from both ends, on asyncio."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hub import local
from hub.errors import NotAllowed
from hub.home import SOCKET_PATH_BYTES_MAX, Home
from hub.rendezvous import Hello, HubUnreachable, NotRunning, is_newer
from hub.rendezvous import connect as connect_blocking

pytestmark = pytest.mark.anyio


class Lines(asyncio.Protocol):
    """Keeps what comes in; echoes it where it is told to."""

    def __init__(self, *, echo: bool = False) -> None:
        self.echo = echo
        self.received = asyncio.Event()
        self.data = b""
        self.closed = asyncio.Event()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.echo:
            self.transport.write(data)
        if self.data.endswith(b"\n"):
            self.received.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()


class Scene:
    """A listening home, whom it accepted, and whether it was told to end."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.hellos: list[Hello] = []
        self.clients = 0
        self.retired = False

    def accept(self, hello: Hello) -> asyncio.Protocol:
        if hello.profile == "unknown":
            raise NotAllowed("there is no profile 'unknown'")
        self.hellos.append(hello)
        return Lines(echo=True)

    def retire(self) -> None:
        self.retired = True


@asynccontextmanager
async def listening(home: Home, *, unix: bool = True) -> AsyncIterator[Scene]:
    scene = Scene(home)
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    greet = lambda: {"clients": scene.clients, "servers_file": "x"}  # noqa: E731
    listener = await local.listen(home, scene.accept, greet, scene.retire, unix=unix)
    try:
        yield scene
    finally:
        await listener.close()


@pytest.mark.parametrize("unix", [True, False], ids=["unix", "tcp"])
async def test_a_hello_is_answered_and_the_connection_handed_on(home: Home, unix: bool) -> None:
    async with listening(home, unix=unix) as scene:
        hello = Hello("control", cwd="/somewhere", tool_names="bare")
        lines, greeting = await local.connect(home, hello, Lines, start=False)
        assert scene.hellos == [hello]
        assert greeting | {"version": ""} == {
            "ok": True,
            "version": "",
            "pid": os.getpid(),
            "clients": 0,
            "servers_file": "x",
        }
        lines.transport.write(b"ping\n")
        async with asyncio.timeout(5):
            await lines.received.wait()
        assert lines.data == b"ping\n"
        lines.transport.close()


async def test_what_follows_the_hello_at_once_is_not_lost(home: Home) -> None:
    async with listening(home):
        reader, writer = await asyncio.open_unix_connection(home.socket_paths[0])
        writer.write(Hello("mcp").to_line(None) + b"first\n")
        await reader.readline()
        assert await asyncio.wait_for(reader.readline(), 5) == b"first\n"
        writer.close()


async def test_the_socket_and_its_address_are_private_and_go_with_the_hub(home: Home) -> None:
    async with listening(home):
        assert json.loads(home.address_file.read_text()) == {"socket": str(home.socket_paths[0])}
        assert stat.S_IMODE(home.socket_paths[0].stat().st_mode) == 0o600
        assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
        assert stat.S_IMODE(home.address_file.stat().st_mode) == 0o600
    assert not home.socket_paths[0].exists()
    assert not home.address_file.exists()


async def test_a_wrong_secret_is_refused(home: Home) -> None:
    async with listening(home, unix=False):
        address = json.loads(home.address_file.read_text())
        home.address_file.write_text(json.dumps(address | {"secret": "guessed"}))
        with pytest.raises(HubUnreachable, match="secret"):
            await local.connect(home, Hello("mcp"), Lines, start=False)


async def test_a_refusal_reaches_whoever_connects(home: Home) -> None:
    async with listening(home):
        with pytest.raises(HubUnreachable, match="no profile 'unknown'"):
            await local.connect(home, Hello("mcp", profile="unknown"), Lines, start=False)


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\n", b"{}\n", b'{"hub": {"role": "root"}}\n', b"x" * 100_000]
)
async def test_what_is_no_hello_is_answered_and_cut_off(home: Home, said: bytes) -> None:
    async with listening(home) as scene:
        reader, writer = await asyncio.open_unix_connection(home.socket_paths[0])
        writer.write(said)
        answer = json.loads(await asyncio.wait_for(reader.readline(), 5))
        assert answer["hub"]["ok"] is False
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert scene.hellos == []
        writer.close()


async def test_a_stale_socket_and_address_are_recovered(home: Home) -> None:
    home.root.mkdir(mode=0o700)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(home.socket_paths[0]))
    dead.close()
    home.address_file.write_text(json.dumps({"socket": str(home.socket_paths[0])}))
    with pytest.raises(NotRunning):
        await local.connect(home, Hello("mcp"), Lines, start=False)
    async with listening(home):
        lines, _ = await local.connect(home, Hello("mcp"), Lines, start=False)
        lines.transport.close()


async def test_a_home_with_a_long_path_is_reached_through_the_runtime_folder(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    long = Home(home.root / ("a" * SOCKET_PATH_BYTES_MAX))
    async with listening(long):
        # A client with another environment finds it all the same.
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        lines, _ = await local.connect(long, Hello("mcp"), Lines, start=False)
        assert (tmp_path / "omni-hub").stat().st_mode & 0o777 == 0o700
        lines.transport.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has access lists instead")
async def test_a_socket_in_a_folder_that_others_can_write_is_not_trusted(home: Home) -> None:
    async with listening(home):
        home.root.chmod(0o777)
        with pytest.raises(Exception, match="chmod 700"):
            await local.connect(home, Hello("mcp"), Lines, start=False)
        home.root.chmod(0o700)


async def test_a_hub_that_does_not_say_hello_is_given_up_at_the_deadline(home: Home) -> None:
    home.root.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(home.socket_paths[0]))
        mute.listen()
        home.address_file.write_text(json.dumps({"socket": str(home.socket_paths[0])}))
        with pytest.raises(HubUnreachable, match=r"did not answer within 0\.1 s"):
            connect_blocking(home, Hello("mcp"), 0.1)


async def test_only_an_older_hub_without_clients_is_asked_to_end(home: Home) -> None:
    async with listening(home) as scene:
        newer = Hello("mcp", version="99.0", replaces=True)
        for hello, clients in ((newer, 1), (Hello("mcp", version="0.0.1", replaces=True), 0)):
            scene.clients = clients
            lines, _ = await local.connect(home, hello, Lines, start=False)
            lines.transport.close()
        assert not scene.retired
        scene.clients = 0
        with pytest.raises(NotRunning, match="newer version"):
            await local.connect(home, newer, Lines, start=False)
        assert scene.retired


@pytest.mark.parametrize(
    ("version", "than", "newer"),
    [
        ("0.2.0", "0.1.9", True),
        ("0.10", "0.9.5", True),
        ("1.0", "1.0", False),
        ("0.1.0", "0.1.0rc1", False),
        ("0.1", "garbage", True),
        ("garbage", "0.1", False),
    ],
)
async def test_versions_are_compared_by_their_numbers(version: str, than: str, newer: bool) -> None:
    assert is_newer(version, than) is newer
