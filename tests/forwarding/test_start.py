"""A start waits for no server: what is healthy or known is listed at once, and status explains the rest."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.hub.running import Client, Hubs, Refused, journal, stdio, until, write_servers, write_settings

PROMPT_S = 2.0
SLACK_S = 3.0
"""What a machine that is busy with other things may add."""


def troubled(hubs: Hubs) -> None:
    write_servers(
        hubs.home,
        {
            "dead": stdio("bad.py", "exits_at_once"),
            "hanging": stdio("bad.py", "hangs"),
            "good": stdio("echo.py", "--journal", hubs.home / "good.jsonl"),
        },
    )


def test_the_first_start_ever_lists_what_is_healthy_while_a_server_hangs(hubs: Hubs) -> None:
    troubled(hubs)
    client = hubs.embed()
    assert client.open()["serverInfo"]["name"] == "omni-hub"
    began = time.monotonic()
    tools = client.tools()
    took_s = time.monotonic() - began
    assert "good.echo" in tools
    assert took_s < PROMPT_S + SLACK_S
    rows = {row["name"]: row for row in client.status()["servers"]}
    assert rows["hanging"]["state"] == "connecting"
    assert "exited with code 3; it last wrote: cannot start: EXAMPLE_API_KEY" in rows["dead"]["problem"]
    assert rows["good"]["state"] == "ready"
    assert client.text("good.echo", text="x") == "x"


def test_only_the_first_list_waits_for_a_server_of_which_nothing_is_known(hubs: Hubs) -> None:
    write_settings(hubs.home, "[downstream]\nfirst_list_budget_s = 3.0\n")
    troubled(hubs)
    client = hubs.embed()
    client.open()
    client.tools()
    began = time.monotonic()
    client.tools()
    client.tools()
    assert time.monotonic() - began < 1.5
    assert client.server("hanging")["state"] == "connecting"


def test_a_later_start_lists_what_was_known_before_any_server_is_up(hubs: Hubs) -> None:
    troubled(hubs)
    client = hubs.embed()
    client.open()
    client.wait_for_tool("good.echo")
    assert client.close() == 0
    # From now on the good one is slow, which changes nothing in what is listed.
    write_servers(
        hubs.home,
        {
            "dead": stdio("bad.py", "exits_at_once"),
            "hanging": stdio("bad.py", "hangs"),
            "good": stdio("echo.py", "--journal", hubs.home / "good.jsonl"),
        },
    )
    again = hubs.embed(era="modern")
    again.open()
    began = time.monotonic()
    assert "good.echo" in again.tools()
    assert time.monotonic() - began < 1.0, "nothing is waited for"
    assert again.text("good.echo", text="x") == "x", "a call waits until its server is up"


def test_a_call_waits_for_a_known_server_that_is_still_starting(hubs: Hubs) -> None:
    flag = hubs.home / "slow"
    program = f"import os, time, sys, runpy; time.sleep(1.5 if os.path.exists({str(flag)!r}) else 0); "
    entry = stdio("echo.py")
    script = entry["args"][0]
    program += f"sys.path.insert(0, {str(Path(script).parent)!r}); sys.argv = [{script!r}]; "
    program += f"runpy.run_path({script!r}, run_name='__main__')"
    write_servers(hubs.home, {"slow": {"command": entry["command"], "args": ["-c", program]}})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("slow.echo")
    client.close()
    flag.touch()
    again = hubs.embed()
    again.open()
    assert "slow.echo" in again.tools()
    assert again.server("slow")["state"] == "connecting"
    assert again.text("slow.echo", text="worth the wait") == "worth the wait"


def test_a_call_to_a_known_server_that_fails_to_start_says_why(hubs: Hubs) -> None:
    flag = hubs.home / "broken"
    entry = stdio("echo.py")
    script = entry["args"][0]
    program = (
        f"import os, sys, runpy; os.path.exists({str(flag)!r}) and sys.exit('the licence has expired'); "
        f"sys.path.insert(0, {str(Path(script).parent)!r}); sys.argv = [{script!r}]; "
        f"runpy.run_path({script!r}, run_name='__main__')"
    )
    write_servers(hubs.home, {"licensed": {"command": entry["command"], "args": ["-c", program]}})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("licensed.echo")
    client.close()
    flag.touch()
    again = hubs.embed()
    again.open()
    assert "licensed.echo" in again.tools(), "the last known list stands"
    with pytest.raises(Refused, match=r"server 'licensed': it is not connected: .*the licence has expired"):
        again.call("licensed.echo", text="x")


def test_lists_that_turn_out_empty_are_not_announced(hubs: Hubs) -> None:
    write_servers(hubs.home, {"echo": stdio("echo.py")})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.echo")
    assert client.notified("notifications/prompts/list_changed") == []
    assert client.notified("notifications/resources/list_changed") == []


def test_a_changed_list_is_announced_after_a_start_from_the_catalog(hubs: Hubs) -> None:
    write_servers(hubs.home, {"echo": stdio("echo.py")})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.echo")
    client.close()
    catalog = json.loads((hubs.home / "catalog.json").read_text())
    catalog["servers"]["echo"]["lists"]["tools/list"] = [{"name": "gone", "inputSchema": {"type": "object"}}]
    (hubs.home / "catalog.json").write_text(json.dumps(catalog))
    again = hubs.embed()
    again.open()
    again.wait_for(lambda message: message.get("method") == "notifications/tools/list_changed", "notice")
    tools = again.wait_for_tool("echo.echo")
    assert tools
    assert "echo.gone" not in again.tools()


@pytest.mark.parametrize(
    "damage", [b"\xff\x00", b'{"format": 1, "servers": {"echo": 7}}'], ids=["bytes", "shape"]
)
def test_a_damaged_catalog_is_learned_again(hubs: Hubs, damage: bytes) -> None:
    (hubs.home / "catalog.json").write_bytes(damage)
    write_servers(hubs.home, {"echo": stdio("echo.py")})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.echo")
    assert client.close() == 0
    assert "echo" in json.loads((hubs.home / "catalog.json").read_text())["servers"]


def test_an_idle_server_is_stopped_and_started_by_the_next_call(hubs: Hubs) -> None:
    file = hubs.home / "echo.jsonl"
    write_servers(hubs.home, {"echo": stdio("echo.py", "--journal", file, idle_timeout=0.3)})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.echo")
    assert client.wait_for_state("echo", "idle")["pid"] is None
    assert "echo.echo" in client.tools()
    assert client.text("echo.echo", text="up again") == "up again"
    assert sum(event["event"] == "started" for event in journal(file)) == 2


def starts(file: Path) -> int:
    return sum(event["event"] == "started" for event in journal(file))


def test_a_known_lazy_server_is_not_started_before_it_is_called(hubs: Hubs) -> None:
    file = hubs.home / "echo.jsonl"
    write_servers(
        hubs.home, {"lazy": stdio("echo.py", "--journal", file, idle_timeout=60), "other": stdio("echo.py")}
    )
    client = hubs.embed()
    client.open()
    client.wait_for_tool("lazy.echo")
    client.close()
    assert starts(file) == 1
    again = hubs.embed()
    again.open()
    again.wait_for_state("other", "ready")
    assert "lazy.echo" in again.tools()
    assert starts(file) == 1
    calls = [again.send("tools/call", {"name": "lazy.echo", "arguments": {"text": "x"}}) for _ in range(5)]
    assert all(again.result(each)["structuredContent"] == {"text": "x"} for each in calls)
    until(lambda: starts(file) == 2, "one start for five calls")


def test_a_home_that_cannot_keep_the_catalog_still_serves(hubs: Hubs) -> None:
    write_servers(hubs.home, {"echo": stdio("echo.py")})
    # A folder stands where the file belongs, so replacing it fails even for root.
    (hubs.home / "catalog.json").mkdir()
    client: Client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.echo")
    assert client.text("echo.echo", text="x") == "x"
    assert client.close() == 0
    assert "the catalog cannot be saved" in (hubs.home / "logs" / "hub.log").read_text()
    assert not [path for path in hubs.home.iterdir() if path.name.startswith(".catalog-")]
