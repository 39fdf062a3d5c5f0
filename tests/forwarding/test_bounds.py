"""Whoever does not read, or floods, is bounded: deadlines hold, memory holds, others go on."""

from __future__ import annotations

import json
import random
import subprocess
from typing import Any

import psutil
import pytest

from tests.gateway.requests import Modern
from tests.hub.running import (
    ENVELOPE,
    INITIALIZE,
    Client,
    Hubs,
    Json,
    Refused,
    Served,
    environment,
    hub_mcp,
    journal,
    stdio,
    until,
    write_servers,
    write_settings,
)

MB = 1024 * 1024


def test_calls_to_a_server_that_reads_no_more_end_at_their_deadline(hubs: Hubs) -> None:
    write_servers(
        hubs.home, {"deaf": stdio("bad.py", "stops_reading", timeout=1.0), "good": stdio("echo.py")}
    )
    client = hubs.embed()
    client.open()
    client.wait_for_tool("deaf.die")
    client.wait_for_tool("good.echo")
    calls = [client.send("tools/call", {"name": "deaf.die", "arguments": {}})]
    calls += [
        client.send("tools/call", {"name": "deaf.echo", "arguments": {"text": "x" * 2 * MB}})
        for _ in range(4)
    ]
    assert client.text("good.echo", text="unharmed") == "unharmed"
    for request_id in calls:
        with pytest.raises(Refused) as refused:
            client.result(request_id, 10)
        assert refused.value.error["code"] == -32001
    until(lambda: client.server("deaf")["in_flight"] == 0, "the end of all calls")


def test_a_client_that_does_not_read_costs_a_bounded_amount_of_memory(hubs: Hubs) -> None:
    write_servers(hubs.home, {"echo": stdio("echo.py")})
    served = Served(hubs.home)
    process = subprocess.Popen(
        hub_mcp(hubs.home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(hubs.home),
        cwd=hubs.home,
    )
    try:
        other = Modern(served)
        until(lambda: "echo.log" in other.names(), "the tools")
        assert process.stdin is not None
        assert process.stdout is not None
        flood = {"name": "echo.log", "arguments": {"message": "x" * 20_000, "count": 15_000}}
        for request_id, (method, params) in enumerate([("initialize", INITIALIZE), ("tools/call", flood)]):
            message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
            process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        until(lambda: other.server("echo")["calls"] == 1, "the flood's beginning")
        until(lambda: other.server("echo")["in_flight"] == 0, "the flood's end")
        assert psutil.Process(served.process.pid).memory_info().rss < 220 * MB
        answers: set[int] = set()
        while len(answers) < 2:
            received = json.loads(process.stdout.readline())
            if "method" not in received:
                answers.add(received["id"])
        assert answers == {0, 1}, "no answer is lost, however late it is read"
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        served.stop()


def test_a_server_that_floods_one_caller_does_not_hold_up_another(hubs: Hubs) -> None:
    write_servers(hubs.home, {"loud": stdio("echo.py"), "quiet": stdio("echo.py")})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("loud.log")
    client.wait_for_tool("quiet.echo")
    flood = client.send("tools/call", {"name": "loud.log", "arguments": {"message": "x", "count": 20_000}})
    for n in range(20):
        assert client.text("quiet.echo", text=str(n)) == str(n)
    client.result(flood)
    assert len(client.notified("notifications/message")) == 20_000


def test_an_answer_over_the_bound_is_an_error_and_the_server_goes_on(hubs: Hubs) -> None:
    write_settings(hubs.home, f"message_bytes_max = {2 * MB}\n")
    write_servers(hubs.home, {"echo": stdio("echo.py")})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.big")
    request_id = client.send("tools/call", {"name": "echo.big", "arguments": {"bytes": 3 * MB}})
    with pytest.raises(Refused, match=f"server 'echo': a message was longer than {2 * MB:,} bytes"):
        client.result(request_id, 10)
    assert client.text("echo.echo", text="x") == "x"
    assert len(client.text("echo.big", bytes=MB)) == MB


def test_a_call_that_stalls_is_ended_at_its_deadline_and_at_the_server_too(hubs: Hubs) -> None:
    file = hubs.home / "echo.jsonl"
    write_servers(hubs.home, {"echo": stdio("echo.py", "--journal", file, timeout=0.4)})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.slow")
    with pytest.raises(Refused, match=r"no answer to tools/call within 0\.4 s; it was told to stop"):
        client.call("echo.slow", seconds=60, steps=1)
    until(lambda: any(event["event"] == "cancelled" for event in journal(file)), "word at the server")


def test_progress_keeps_a_call_alive_but_not_for_ever(hubs: Hubs) -> None:
    write_settings(hubs.home, "[downstream]\ncall_total_deadline_s = 2.0\n")
    write_servers(hubs.home, {"echo": stdio("echo.py", timeout=0.5)})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.slow")
    meta = {"_meta": {"progressToken": 1}}
    lively = {"name": "echo.slow", "arguments": {"seconds": 1.2, "steps": 12}, **meta}
    assert client.request("tools/call", lively)["structuredContent"] == {"slept": 1.2}
    endless = {"name": "echo.slow", "arguments": {"seconds": 60, "steps": 600}, **meta}
    with pytest.raises(Refused, match="took over 2 s in all"):
        client.request("tools/call", endless)


def test_a_full_disk_costs_the_catalog_and_nothing_else(hubs: Hubs) -> None:
    # Bytecode must not be written either: Python would keep it although it was cut short.
    no_bytecode = {"PYTHONDONTWRITEBYTECODE": "1"}
    write_servers(hubs.home, {"echo": stdio("echo.py", "--tools", 100, env=no_bytecode)})
    # No file may grow over 8 KiB, so writing the catalog fails as on a full disk.
    command = ["/bin/sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *hub_mcp(hubs.home, "--embedded")]
    client = Client(command, env=environment(hubs.home) | no_bytecode, cwd=hubs.home)
    try:
        client.open()
        client.wait_for_tool("echo.extra_0099")
        assert client.text("echo.echo", text="x") == "x"
        stored = client.call("memory.store", experience="the disk is full")
        assert stored["isError"] is True
        assert "disk" in stored["content"][0]["text"]
        assert client.text("echo.echo", text="still") == "still"
        assert client.close() == 0
    finally:
        client.release()
    assert "the catalog cannot be saved" in (hubs.home / "logs" / "hub.log").read_text()
    assert not list(hubs.home.glob("*catalog*"))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_in_the_hub_answers_the_next_request(hubs: Hubs, seed: int) -> None:
    rng = random.Random(seed)
    write_servers(hubs.home, {"echo": stdio("echo.py")})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.echo")
    valid = [
        client.message("tools/call", {"name": "echo.echo", "arguments": {"text": "x"}}),
        client.message("tools/list"),
        client.message(
            "subscriptions/listen", {"notifications": {"toolsListChanged": True}, "_meta": ENVELOPE}
        ),
        client.message("resources/read", {"uri": "file:///x"}),
        client.message("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {}}),
        client.message("logging/setLevel", {"level": "debug"}),
        client.message("initialize", INITIALIZE),
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
    ]
    for _ in range(400):
        client.write(spoiled(rng.choice(valid), rng) + b"\n")
    assert client.text("echo.echo", text="alive") == "alive"
    internal = [m for m in client.log if isinstance(m, dict) and m.get("error", {}).get("code") == -32603]
    assert internal == []
    assert "Traceback" not in (hubs.home / "logs" / "hub.log").read_text()


def spoiled(message: Json, rng: random.Random) -> bytes:
    """A message with something in it replaced, or with some of its bytes changed."""
    strange: list[Any] = [None, True, -1, 1.5, 10**40, "", "x" * 300, [], [[]], {}, {"a": {}}, "\ud800"]
    if rng.random() < 0.3:
        content = bytearray(json.dumps(message).encode())
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.choice(b'{}[]":,\\0a\xff \t')
        return bytes(content).replace(b"\n", b" ")
    copy: Json = json.loads(json.dumps(message))
    place: Json = copy
    while rng.random() < 0.6:
        inner = [value for value in place.values() if isinstance(value, dict) and value]
        if not inner:
            break
        place = rng.choice(inner)
    place[rng.choice([*place, "extra"])] = rng.choice(strange)
    return json.dumps(copy).encode()
