"""Servers over Streamable HTTP in both eras and over SSE, good and bad, behind one hub."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.running import (
    SERVERS,
    Client,
    Hubs,
    Json,
    Refused,
    http_server,
    journal,
    until,
    write_servers,
    write_settings,
)

BAD = (
    "breaks_later not_found unauthorized server_error html hangs closes redirects wrong_type forgets_session "
    "half_stream late"
).split()
ERA = {"forgets_session": ["--era", "legacy"]}
GOOD = ("http_old", "http_new", "sdk_http", "sdk_sse")
SETTINGS = "[downstream]\nconnect_deadline_s = 5.0\nbackoff_first_s = 0.05\nbackoff_max_s = 0.3\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@contextlib.contextmanager
def listening(*commands: list[str]) -> Iterator[list[int]]:
    """Servers that start beside each other; yields their ports."""
    processes = [
        subprocess.Popen([sys.executable, str(SERVERS / script), *options], stdout=subprocess.PIPE)
        for script, *options in commands
    ]
    try:
        yield [json.loads(process.stdout.readline())["port"] for process in processes if process.stdout]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[Client]:
    hubs = Hubs(home)
    write_settings(home, SETTINGS)
    (home / ".env").write_text("SDK_KEY=s3cret\n")
    commands = [
        ["http_server.py", "--era", "legacy", "--journal", str(home / "http_old.jsonl")],
        ["http_server.py", "--era", "modern", "--journal", str(home / "http_new.jsonl")],
        ["sdk.py", "--http", "0"],
        *(["http_server.py", *ERA.get(mode, ()), "--bad", mode, "--seconds", "1.5"] for mode in BAD),
    ]
    with listening(*commands) as (old, new, sdk, *bad):
        servers: dict[str, Json] = {
            "http_old": {"url": f"http://127.0.0.1:{old}/mcp"},
            "http_new": {"type": "http", "url": f"http://127.0.0.1:{new}/mcp"},
            "sdk_http": {"url": f"http://127.0.0.1:{sdk}/mcp", "headers": {"X-Key": "Bearer ${SDK_KEY}"}},
            "sdk_sse": {"url": f"http://127.0.0.1:{sdk}/sse", "headers": {"X-Key": "${SDK_KEY}"}},
            "nobody": {"url": f"http://127.0.0.1:{free_port()}/mcp"},
            **{mode: {"url": f"http://127.0.0.1:{port}/mcp"} for mode, port in zip(BAD, bad, strict=True)},
        }
        servers["late"]["timeout"] = 0.5
        write_servers(home, servers)
        try:
            client = hubs.embed()
            client.open()
            for server in GOOD:
                client.wait_for_tool(f"{server}.echo")
            yield client
            assert client.close() == 0
        finally:
            hubs.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def _the_good_ones_never_suffer(client: Client) -> Iterator[None]:
    yield
    for server in GOOD:
        assert client.text(f"{server}.echo", text="unharmed") == "unharmed"


both = pytest.mark.parametrize("server", ["http_old", "http_new"])
every = pytest.mark.parametrize("server", GOOD)


@every
def test_calls_are_answered(client: Client, server: str) -> None:
    result = client.call(f"{server}.echo", text="größe \u2028 €")
    assert result["structuredContent"] == {"text": "größe \u2028 €"}
    assert "resultType" not in result


@pytest.mark.parametrize(
    ("server", "version"),
    [("http_old", "2025-11-25"), ("http_new", "2026-07-28"), ("sdk_http", "2026-07-28")],
)
def test_the_era_of_each_was_found_out(client: Client, server: str, version: str) -> None:
    assert client.server(server)["version"] == version


@every
def test_progress_comes_in_order_and_before_the_result(client: Client, server: str) -> None:
    began = len(client.log)
    params = {"name": f"{server}.slow", "arguments": {"seconds": 0.2}, "_meta": {"progressToken": server}}
    request_id = client.send("tools/call", params)
    client.result(request_id)
    since = client.log[began:]
    reports = [message["params"] for message in since if message.get("method") == "notifications/progress"]
    assert [report["progress"] for report in reports] == [1, 2, 3, 4]
    assert {report["progressToken"] for report in reports} == {server}
    assert since[-1]["id"] == request_id


@both
def test_a_cancelled_call_is_cancelled_at_the_server(client: Client, home: Path, server: str) -> None:
    def cancelled() -> int:
        return sum(event["event"] == "cancelled" for event in journal(home / f"{server}.jsonl"))

    already = cancelled()
    params = {
        "name": f"{server}.slow",
        "arguments": {"seconds": 60, "steps": 600},
        "_meta": {"progressToken": 1},
    }
    request_id = client.send("tools/call", params)
    client.wait_for(lambda m: m.get("params", {}).get("progressToken") == 1, "progress")
    client.cancel(request_id)
    if server == "http_old":
        until(lambda: cancelled() == already + 1, "the cancellation's arrival")
    until(lambda: client.server(server)["in_flight"] == 0, "the call's end")


@both
def test_errors_and_unknown_content_pass_unchanged(client: Client, server: str) -> None:
    with pytest.raises(Refused) as refused:
        client.call(f"{server}.error")
    assert refused.value.error == {
        "code": -32050,
        "message": "quota used up",
        "data": {"retry_after_s": 7, "deep": [1, {"x": None}]},
        "hint": "unknown",
    }
    result = client.call(f"{server}.unknown_content")
    assert result["structuredContent"]["big"] == 2**80
    assert result["unknownField"] == {"kept": ["as", "it", "is"]}


@every
def test_ten_megabytes_pass(client: Client, server: str) -> None:
    assert len(client.text(f"{server}.big", bytes=10_000_000)) == 10_000_000


@both
def test_a_grown_list_is_announced(client: Client, server: str) -> None:
    began = len(client.log)
    client.call(f"{server}.grow", name="grown")
    client.wait_for(lambda m: m.get("method") == "notifications/tools/list_changed", "notice", since=began)
    client.wait_for_tool(f"{server}.grown")


def test_an_entrys_headers_are_sent_and_nothing_of_the_clients(client: Client) -> None:
    headers = client.call("sdk_http.headers")["structuredContent"]["headers"]
    assert headers["x-key"] == "Bearer s3cret"
    assert headers["user-agent"].startswith("omni-hub/")
    assert headers["mcp-method"] == "tools/call"
    assert headers["mcp-name"] == "headers"
    assert "authorization" not in headers
    assert "cookie" not in headers
    assert "s3cret" not in json.dumps(client.status())


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ("nobody", "cannot connect to http://127.0.0.1:[0-9]+: Connect call failed|cannot connect.*refused"),
        ("not_found", "HTTP 404"),
        ("unauthorized", "authenticat|log in|login"),
        ("server_error", "HTTP 500"),
        ("html", "html|no MCP|not JSON"),
        ("redirects", "redirect"),
        ("closes", "broke|closed|disconnect"),
        ("hangs", "did not shake hands within 5 s|within 5 s"),
    ],
)
def test_status_says_why_a_server_is_down(client: Client, server: str, problem: str) -> None:
    def said() -> str | None:
        words = client.server(server)["problem"]
        return words if words and re.search(problem, words, re.IGNORECASE) else None

    assert until(said, f"{server}'s problem, which is {client.server(server)['problem']!r}", 12)
    with pytest.raises(Refused, match=f"server '{server}'"):
        client.call(f"{server}.echo", text="x")


def test_a_server_that_forgets_its_sessions_is_met_anew_and_no_call_is_lost(client: Client) -> None:
    client.wait_for_tool("forgets_session.echo")
    for n in range(8):
        assert client.text("forgets_session.echo", text=str(n)) == str(n)


def test_a_stream_that_ends_before_the_answer_is_an_error_at_once(client: Client) -> None:
    client.wait_for_tool("half_stream.echo")
    with pytest.raises(Refused, match=r"went away|ended before the answer") as refused:
        client.result(client.send("tools/call", {"name": "half_stream.echo", "arguments": {"text": "x"}}), 10)
    assert refused.value.error["data"]["server"] == "half_stream"


def test_a_page_in_place_of_an_answer_is_an_error_that_names_the_server(client: Client) -> None:
    client.wait_for_tool("breaks_later.echo")
    with pytest.raises(Refused, match="server 'breaks_later': it answered HTTP 500") as refused:
        client.call("breaks_later.echo", text="x")
    assert refused.value.error["code"] == -32000
    assert refused.value.error["data"]["server"] == "breaks_later"


def test_an_answer_after_the_deadline_is_a_timeout(client: Client) -> None:
    client.wait_for_tool("late.echo")
    with pytest.raises(Refused, match=r"within 0\.5 s") as refused:
        client.call("late.echo", text="x")
    assert refused.value.error["code"] == -32001
    assert client.server("late")["state"] == "ready"


def test_an_answer_under_a_wrong_content_type_is_taken_or_refused_at_once(client: Client) -> None:
    row = until(lambda: [r for r in client.status()["servers"] if r["name"] == "wrong_type"], "its status")[0]
    assert row["state"] == "ready" or row["problem"]


def test_a_server_that_comes_back_on_its_port_is_met_again(client: Client, hubs: Hubs) -> None:
    write_settings(hubs.home, SETTINGS)
    with http_server("http_server.py", "--era", "legacy") as port:
        write_servers(hubs.home, {"web": {"url": f"http://127.0.0.1:{port}/mcp"}})
        own = hubs.embed()
        own.open()
        own.wait_for_tool("web.echo")
        assert own.text("web.echo", text="before") == "before"
    with pytest.raises(Refused, match="server 'web'"):
        own.call("web.echo", text="meanwhile")
    assert "web.echo" in own.tools(), "the last known list stands"
    with http_server("http_server.py", port, "--era", "legacy"):

        def works() -> bool:
            try:
                return own.text("web.echo", text="after") == "after"
            except Refused:
                return False

        until(works, "its return")
