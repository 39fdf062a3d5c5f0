"""One home has one hub, which all clients share."""

from __future__ import annotations

import os
import signal
import time

from tests.hub.running import (
    META,
    Hubs,
    Served,
    all_end,
    descendants,
    hub_pid,
    journal,
    nothing_left,
    stdio,
    until,
    write_servers,
)


def starts(hubs: Hubs) -> int:
    return sum(event["event"] == "started" for event in journal(hubs.home / "echo.jsonl"))


def configure(hubs: Hubs) -> None:
    write_servers(hubs.home, {"echo": stdio("echo.py", "--journal", hubs.home / "echo.jsonl")})


def test_clients_of_both_eras_share_one_hub_and_one_child(hubs: Hubs) -> None:
    configure(hubs)
    clients = [hubs.attach(era=era) for era in ("legacy", "modern", "legacy", "modern")]
    for client in clients:
        client.open()
        client.wait_for_tool("echo.echo")
    ids = [
        [
            client.send("tools/call", {"name": "echo.echo", "arguments": {"text": f"{who} {n}"}})
            for n in range(20)
        ]
        for who, client in enumerate(clients)
    ]
    for who, client in enumerate(clients):
        for n, request_id in enumerate(ids[who]):
            assert client.result(request_id)["structuredContent"] == {"text": f"{who} {n}"}
    assert starts(hubs) == 1
    assert {client.status()["pid"] for client in clients} == {hub_pid(hubs.home)}
    assert clients[0].status()["clients"] == 4


def test_a_grown_list_reaches_every_client_in_its_own_way(hubs: Hubs) -> None:
    configure(hubs)
    legacy, modern, deaf = hubs.attach(), hubs.attach(era="modern"), hubs.attach(era="modern")
    for client in (legacy, modern, deaf):
        client.open()
        client.wait_for_tool("echo.grow")
    subscription = modern.send("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    modern.wait_for(
        lambda m: m.get("method") == "notifications/subscriptions/acknowledged", "acknowledgement"
    )
    began = len(legacy.log), len(modern.log)

    legacy.call("echo.grow", name="grown")

    changed = "notifications/tools/list_changed"
    legacy.wait_for(lambda m: m.get("method") == changed, "notice", since=began[0])
    notice = modern.wait_for(lambda m: m.get("method") == changed, "notice", since=began[1])
    assert notice["params"]["_meta"] == {f"{META}subscriptionId": subscription}
    assert deaf.wait_for_tool("echo.grown")
    assert deaf.notified(changed) == []


def test_progress_and_cancellation_reach_their_own_client_alone(hubs: Hubs) -> None:
    configure(hubs)
    one, two = hubs.attach(), hubs.attach()
    for client in (one, two):
        client.open()
        client.wait_for_tool("echo.slow")
    # Both use the same ids and tokens, as clients do that know nothing of each other.
    slow = {"name": "echo.slow", "arguments": {"seconds": 0.4, "steps": 4}, "_meta": {"progressToken": 1}}
    while one.last_id != two.last_id:
        (one if one.last_id < two.last_id else two).request("ping")
    first, second = one.send("tools/call", slow), two.send("tools/call", slow)
    assert first == second
    two.cancel(second)
    assert one.result(first)["structuredContent"] == {"slept": 0.4}
    assert [report["progress"] for report in one.notified("notifications/progress")] == [1, 2, 3, 4]
    assert len(two.notified("notifications/progress")) < 4
    assert two.request("ping") == {}
    assert not any(message.get("id") == second for message in two.log)


def test_each_client_has_its_own_style_of_names(hubs: Hubs) -> None:
    configure(hubs)
    names = {"dotted": "echo.echo", "qualified": "mcp__echo__echo", "bare": "echo"}
    for style, name in names.items():
        client = hubs.attach("--tool-names", style)
        client.open()
        client.wait_for_tool(name)
        for other in names.values():
            assert client.text(other, text="by any name") == "by any name"


def test_a_second_hub_on_the_home_is_refused_and_the_first_goes_on(hubs: Hubs) -> None:
    configure(hubs)
    first = hubs.embed()
    first.open()
    first.wait_for_tool("echo.echo")
    second = hubs.embed()
    assert second.close() == 1
    said = "".join(second.remarks)
    assert "hub mcp:" in said
    assert str(hubs.home) in said
    assert "Traceback" not in said
    assert first.text("echo.echo", text="x") == "x"


def test_serve_beside_a_running_hub_opens_its_faces(hubs: Hubs) -> None:
    configure(hubs)
    client = hubs.attach()
    client.open()
    client.wait_for_tool("echo.echo")
    served = Served(hubs.home)
    try:
        assert served.http.get("/health").status_code == 200
        assert client.status()["pid"] != served.process.pid
        served.stop()
        until(lambda: refuses(served.url), "the end of the faces")
        assert client.text("echo.echo", text="x") == "x"
        assert starts(hubs) == 1
    finally:
        served.release()


def refuses(url: str) -> bool:
    import httpx

    try:
        httpx.get(url + "/health", timeout=5, trust_env=False)
    except httpx.ConnectError:
        return True
    return False


def test_attachments_that_start_together_share_one_hub(hubs: Hubs) -> None:
    configure(hubs)
    clients = [hubs.attach() for _ in range(5)]
    for client in clients:
        client.send("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}})
    for client in clients:
        assert client.result(1)["serverInfo"]["name"] == "omni-hub"
        client.notify("notifications/initialized")
    assert len({client.status()["pid"] for client in clients}) == 1
    clients[0].wait_for_tool("echo.echo")
    assert starts(hubs) == 1


def test_an_attachment_to_a_running_hub_answers_quickly(hubs: Hubs) -> None:
    configure(hubs)
    first = hubs.attach()
    first.open()
    first.wait_for_tool("echo.echo")
    began = time.monotonic()
    second = hubs.attach()
    second.open()
    took_s = time.monotonic() - began
    assert took_s < 2.0, "a tenth of a second when the machine is quiet"
    assert "echo.echo" in second.tools()


def test_children_see_a_clean_environment_and_the_folder_of_the_file(hubs: Hubs) -> None:
    write_servers(hubs.home, {"echo": stdio("echo.py", env={"WANTED": "yes"})})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.env")
    facts = client.call("echo.env")["structuredContent"]
    assert facts["env"]["WANTED"] == "yes"
    assert facts["env"]["HUB_DEPTH"] == "1"
    assert {"PATH", "HOME"} <= set(facts["env"])
    allowed = {"WANTED", "HUB_DEPTH", "PATH", "HOME", "LANG", "TMPDIR", "LC_CTYPE"}
    assert set(facts["env"]) <= allowed
    assert facts["cwd"] == str(hubs.home)


def test_a_hub_inside_a_hub_is_refused(hubs: Hubs) -> None:
    import subprocess

    from tests.hub.running import environment, hub_mcp

    for options in ((), ("--embedded",)):
        done = subprocess.run(
            hub_mcp(hubs.home, *options),
            env=environment(hubs.home) | {"HUB_DEPTH": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0
        assert "would call itself" in done.stderr


def test_an_embedded_hub_ends_with_a_signal_as_with_its_input(hubs: Hubs) -> None:
    configure(hubs)
    for end in (signal.SIGTERM, signal.SIGINT):
        client = hubs.embed()
        client.open()
        client.wait_for_tool("echo.echo")
        family = descendants(client.pid)
        os.kill(client.pid, end)
        assert client.process.wait(20) == 0
        all_end(family, 10)
    nothing_left(hubs.home)
