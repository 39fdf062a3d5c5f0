"""`mcp.json` is edited while the hub runs: only what changed is stopped or started."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.running import (
    Client,
    Hubs,
    Json,
    Refused,
    is_alive,
    started_pid,
    stdio,
    until,
    write_servers,
)


class Scene:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.hubs = Hubs(home)

    def entry(self, name: str, *options: object, **more: object) -> Json:
        return stdio("echo.py", "--journal", self.home / f"{name}.jsonl", *options, **more)

    def pid(self, name: str) -> int:
        return started_pid(self.home / f"{name}.jsonl")

    def edit(self, servers: dict[str, Json]) -> None:
        write_servers(self.home, servers)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("home"))
    yield scene
    scene.hubs.end()


@pytest.fixture(scope="module")
def client(scene: Scene) -> Client:
    scene.edit({"kept": scene.entry("kept")})
    client = scene.hubs.embed()
    client.open()
    client.wait_for_tool("kept.echo")
    return client


@pytest.fixture(autouse=True)
def _the_kept_one_never_stops(scene: Scene, client: Client) -> Iterator[None]:
    pid = scene.pid("kept")
    yield
    assert client.text("kept.echo", text="x") == "x"
    assert scene.pid("kept") == pid
    assert is_alive(pid)


def test_a_server_is_added_changed_and_removed(scene: Scene, client: Client) -> None:
    began = len(client.log)
    scene.edit({"kept": scene.entry("kept"), "new": scene.entry("new")})
    client.wait_for(
        lambda message: message.get("method") == "notifications/tools/list_changed", "notice", since=began
    )
    client.wait_for_tool("new.echo")
    first = scene.pid("new")

    scene.edit({"kept": scene.entry("kept"), "new": scene.entry("new", "--tools", 2)})
    client.wait_for_tool("new.extra_0001")
    assert scene.pid("new") != first
    until(lambda: not is_alive(first), "the end of the process whose entry changed")
    second = scene.pid("new")

    scene.edit({"kept": scene.entry("kept")})
    client.wait_without_tool("new.echo")
    until(lambda: not is_alive(second), "the end of the process whose entry is gone")
    with pytest.raises(Refused, match=r"Unknown tool: new\.echo"):
        client.call("new.echo", text="x")


def test_a_server_is_disabled_and_enabled(scene: Scene, client: Client) -> None:
    scene.edit({"kept": scene.entry("kept"), "some": scene.entry("some")})
    client.wait_for_tool("some.echo")
    pid = scene.pid("some")
    scene.edit({"kept": scene.entry("kept"), "some": scene.entry("some", disabled=True)})
    client.wait_without_tool("some.echo")
    assert client.server("some")["state"] == "disabled"
    until(lambda: not is_alive(pid), "the end of the disabled server")
    scene.edit({"kept": scene.entry("kept"), "some": scene.entry("some")})
    client.wait_for_tool("some.echo")
    assert client.text("some.echo", text="x") == "x"


def test_a_timeout_is_taken_up_without_a_restart(scene: Scene, client: Client) -> None:
    scene.edit({"kept": scene.entry("kept"), "timed": scene.entry("timed")})
    client.wait_for_tool("timed.slow")
    pid = scene.pid("timed")
    assert client.call("timed.slow", seconds=0.5, steps=1)["structuredContent"] == {"slept": 0.5}
    scene.edit({"kept": scene.entry("kept"), "timed": scene.entry("timed", timeout=0.2)})

    def times_out() -> bool:
        try:
            client.call("timed.slow", seconds=0.5, steps=1)
        except Refused as refused:
            return bool(refused.error["code"] == -32001)
        return False

    until(times_out, "the new timeout", 10)
    assert scene.pid("timed") == pid


def test_a_file_that_breaks_changes_nothing_until_it_is_mended(scene: Scene, client: Client) -> None:
    scene.edit({"kept": scene.entry("kept"), "steady": scene.entry("steady")})
    client.wait_for_tool("steady.echo")
    pid = scene.pid("steady")

    def breaks(content: str, problem: str) -> None:
        (scene.home / "mcp.json").write_text(content)
        until(lambda: problem in str(client.status()["problems"]), f"the problem: {problem}")
        assert client.text("steady.echo", text="x") == "x"

    breaks('{"mcpServers": {"kept": ', "not valid JSON")
    breaks("", "is empty")
    scene.edit({"kept": scene.entry("kept"), "steady": scene.entry("steady")})
    until(lambda: not client.status()["problems"], "the file's mending")
    assert scene.pid("steady") == pid


def test_one_bad_entry_never_harms_the_others(scene: Scene, client: Client) -> None:
    scene.edit(
        {
            "bad": {"command": ["a", "list"]},
            "secret": stdio("echo.py", env={"TOKEN": "${NO_SUCH_TOKEN}"}),
            "itself": {"command": "hub", "args": ["mcp"]},
            "kept": scene.entry("kept"),
            "fresh": scene.entry("fresh"),
        }
    )
    client.wait_for_tool("fresh.echo")
    problems = "\n".join(client.status()["problems"])
    assert "mcp.json: bad: command" in problems
    assert "mcp.json: secret: env.TOKEN" in problems
    assert "NO_SUCH_TOKEN" in problems
    assert "itself: would start a hub inside the hub: skipped" in problems
    assert {row["name"] for row in client.status()["servers"]} >= {"kept", "fresh"}
    assert not {"bad", "secret", "itself"} & {row["name"] for row in client.status()["servers"]}


def test_a_variable_in_the_homes_env_file_is_taken_up(scene: Scene, client: Client) -> None:
    entry = scene.entry("keyed", env={"TOKEN": "${THE_TOKEN}"})
    scene.edit({"kept": scene.entry("kept"), "keyed": entry})
    until(lambda: any("THE_TOKEN" in problem for problem in client.status()["problems"]), "the problem")
    (scene.home / ".env").write_text("THE_TOKEN=s3cret-value\n")
    client.wait_for_tool("keyed.env")
    env = client.call("keyed.env")["structuredContent"]["env"]
    assert env["TOKEN"] == "s3cret-value"
    (scene.home / ".env").write_text("THE_TOKEN=an0ther-value\n")

    def has_the_new_one() -> bool:
        with contextlib.suppress(Refused):  # between its end and its start
            return bool(client.call("keyed.env")["structuredContent"]["env"]["TOKEN"] == "an0ther-value")
        return False

    until(has_the_new_one, "the new token")
    assert "s3cret-value" not in json.dumps(client.status())


def test_an_env_file_that_cannot_be_read_as_text_harms_nothing(scene: Scene, client: Client) -> None:
    (scene.home / ".env").write_bytes(b"THE_TOKEN=\xff\xfe\x00\n")
    scene.edit({"kept": scene.entry("kept"), "later": scene.entry("later")})
    until(
        lambda: (
            any(".env" in problem for problem in client.status()["problems"])
            or "later.echo" in client.tools()
        ),
        "a problem, or the new server",
    )
    (scene.home / ".env").unlink()
    client.wait_for_tool("later.echo")


def test_a_call_under_way_to_a_removed_server_ends_with_the_reason(scene: Scene, client: Client) -> None:
    scene.edit({"kept": scene.entry("kept"), "leaving": scene.entry("leaving")})
    client.wait_for_tool("leaving.slow")
    request_id = client.send("tools/call", {"name": "leaving.slow", "arguments": {"seconds": 60}})
    until(lambda: client.server("leaving")["in_flight"] == 1, "the call")
    scene.edit({"kept": scene.entry("kept")})
    with pytest.raises(Refused, match="server 'leaving': it went away during tools/call"):
        client.result(request_id)


def test_a_file_that_is_deleted_means_no_servers_and_one_that_returns_brings_them_back(hubs: Hubs) -> None:
    client = hubs.embed()
    client.open()
    assert "hub.status" in client.tools(), "a hub without a file has its own tools"
    write_servers(hubs.home, {"echo": stdio("echo.py")})
    client.wait_for_tool("echo.echo")
    (hubs.home / "mcp.json").unlink()
    client.wait_without_tool("echo.echo")
    write_servers(hubs.home, {"echo": stdio("echo.py")})
    client.wait_for_tool("echo.echo")
    assert client.close() == 0


def test_a_hub_starts_beside_a_broken_file_and_takes_it_up_when_mended(hubs: Hubs) -> None:
    (hubs.home / "mcp.json").write_text('{"mcpServers": 7}')
    client = hubs.embed()
    client.open()
    assert "hub.status" in client.tools()
    assert "mcpServers: expected an object" in client.status()["problems"][0]
    write_servers(hubs.home, {"echo": stdio("echo.py")})
    client.wait_for_tool("echo.echo")
