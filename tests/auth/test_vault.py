"""Where logins are kept: a file of its owner alone, or a keyring."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from hub.auth.login import Login
from hub.auth.vault import Vault
from hub.errors import StorageError

pytestmark = pytest.mark.anyio

LOGIN = Login(
    url="https://it.example/mcp",
    token={"access_token": "access-1", "refresh_token": "refresh-1", "expires_in": 10},
    obtained_at=1.0,
    client={"client_id": "me"},
)


class Memory(keyring.backend.KeyringBackend):
    """A keyring that keeps what it is given, or refuses to."""

    priority = 9

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked("it would have to ask about refresh-1")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked("it would have to ask about refresh-1")
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def ring() -> Iterator[Memory]:
    """The keyring of this process for one test."""
    before, memory = keyring.get_keyring(), Memory()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "logins.json"


def text_of(file: Path) -> str:
    return file.read_text()


def write(file: Path, content: str) -> Path:
    file.write_text(content)
    return file


async def test_without_a_keyring_a_login_lies_in_a_file_of_its_owner_alone(file: Path) -> None:
    await Vault(file, "file").put("it", LOGIN)
    if sys.platform != "win32":
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert await Vault(file, "file").get("it") == LOGIN


async def test_a_keyring_keeps_the_tokens_out_of_the_file(file: Path, ring: Memory) -> None:
    await Vault(file).put("it", LOGIN)
    assert "access-1" not in text_of(file)
    assert len(ring.kept) == 1
    assert await Vault(file).get("it") == LOGIN
    assert await Vault(file).remove("it")
    assert ring.kept == {}
    assert await Vault(file).get("it") is None


async def test_two_homes_have_a_login_each_in_one_keyring(tmp_path: Path, ring: Memory) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        vault = Vault(tmp_path / str(number) / "logins.json")
        await vault.put("it", Login(f"https://{number}.example", LOGIN.token, 1.0, {}))
    assert len(ring.kept) == 2


async def test_a_keyring_that_refuses_leaves_the_file(file: Path, ring: Memory) -> None:
    ring.locked = True
    await Vault(file, "auto").put("it", LOGIN)
    assert await Vault(file, "auto").get("it") == LOGIN
    with pytest.raises(StorageError, match="KeyringLocked") as raised:
        await Vault(file, "keyring").put("other", LOGIN)
    assert "refresh-1" not in raised.value.message


async def test_a_login_in_a_locked_keyring_counts_as_none(
    file: Path, ring: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    await Vault(file).put("it", LOGIN)
    ring.locked = True
    assert await Vault(file).get("it") is None
    assert "refresh-1" not in " ".join(str(vars(record)) for record in caplog.records)


async def test_a_keyring_is_only_asked_about_what_lies_in_it(file: Path, ring: Memory) -> None:
    await Vault(file, "file").put("it", LOGIN)
    ring.locked = True
    assert await Vault(file, "auto").get("it") == LOGIN
    assert await Vault(file, "auto").get("nobody") is None


async def test_choosing_the_file_later_takes_the_login_out_of_the_keyring(file: Path, ring: Memory) -> None:
    await Vault(file, "auto").put("it", LOGIN)
    await Vault(file, "file").put("it", LOGIN)
    assert ring.kept == {}
    assert "access-1" in text_of(file)


async def test_the_event_loop_runs_while_a_keyring_waits_for_its_user(file: Path, ring: Memory) -> None:
    unlocked = threading.Event()
    keep = ring.set_password

    def wait(service: str, username: str, password: str) -> None:
        assert unlocked.wait(10)
        keep(service, username, password)

    ring.set_password = wait  # type: ignore[method-assign]
    asking = asyncio.ensure_future(Vault(file).put("it", LOGIN))
    await asyncio.sleep(0.05)
    assert not asking.done()
    unlocked.set()
    await asyncio.wait_for(asking, 10)
    assert len(ring.kept) == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"format": 2, "logins": {}}',
        '{"format": 1, "logins": []}',
        json.dumps({"format": 1, "logins": {"it": {"url": "u", "token": {"access_token": 1}}}}),
        json.dumps({"format": 1, "logins": {"it": {"token": []}}}),
        json.dumps({"format": 1, "logins": {"it": []}}),
    ],
)
async def test_a_file_that_makes_no_sense_holds_no_login(file: Path, content: str) -> None:
    vault = Vault(write(file, content), "file")
    assert await vault.get("it") is None
    await vault.put("it", LOGIN)
    assert await Vault(file, "file").get("it") == LOGIN


async def test_a_file_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"logins\.json"):
        await Vault(tmp_path / "nowhere" / "logins.json", "file").put("it", LOGIN)


def test_a_login_does_not_show_its_secrets() -> None:
    assert "access-1" not in repr(LOGIN)
    assert "refresh-1" not in repr(LOGIN)
