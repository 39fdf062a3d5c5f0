"""Whoever does not read, or floods, is bounded: deadlines hold, memory holds, others go on."""

from __future__ import annotations

import json
import subprocess

import psutil
import pytest

from tests.gateway.requests import Modern
from tests.hub.running import (
    INITIALIZE,
    Hubs,
    Refused,
    Served,
    environment,
    hub_mcp,
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
    write_servers(hubs.home, {"echo": stdio("echo.py", timeout=2.0)})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.big")
    with pytest.raises(Refused):
        client.call("echo.big", bytes=3 * MB)
    assert client.text("echo.echo", text="x") == "x"
    assert len(client.text("echo.big", bytes=MB)) == MB
