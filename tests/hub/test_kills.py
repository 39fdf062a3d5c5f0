"""Hub, attachment and child are killed in every order: callers learn of it, nobody is left behind."""

from __future__ import annotations

import itertools
import os
import signal
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.hub.running import (
    Client,
    Hubs,
    Refused,
    all_end,
    descendants,
    hub_pid,
    is_alive,
    journal,
    nothing_left,
    started_pid,
    stdio,
    until,
    write_servers,
    write_settings,
)


@pytest.fixture
def home(hubs: Hubs) -> Path:
    """A home whose hub ends soon after its last client, with a good server and two that resist their end."""
    home = hubs.home
    write_settings(home, "idle_exit_s = 1.0\n[downstream]\nstop_grace_s = 0.3\n")
    write_servers(
        home,
        {
            "good": stdio("echo.py", "--journal", home / "good.jsonl"),
            "stubborn": stdio("bad.py", "ignores_sigterm", "--journal", home / "stubborn.jsonl"),
            "parent": stdio("bad.py", "orphan_with_pipes", "--journal", home / "parent.jsonl"),
        },
    )
    return home


@pytest.fixture
def client(hubs: Hubs, home: Path) -> Client:
    client = hubs.attach()
    client.open()
    for server in ("good", "stubborn", "parent"):
        client.wait_for_tool(f"{server}.echo")
    return client


def grandchild(home: Path) -> int:
    events = until(
        lambda: [event for event in journal(home / "parent.jsonl") if event["event"] == "grandchild"],
        "the grandchild",
    )
    return int(events[-1]["pid"])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_killed_hub_leaves_nothing_and_the_client_goes_on_with_a_new_one(
    client: Client, home: Path
) -> None:
    first = hub_pid(home)
    family = [*descendants(first), grandchild(home)]
    assert len(family) >= 5, "three servers, a grandchild and the warden"
    running = client.send("tools/call", {"name": "good.slow", "arguments": {"seconds": 60}})
    until(lambda: client.server("good")["in_flight"] == 1, "the call")

    kill(first)

    with pytest.raises(Refused) as refused:
        client.result(running)
    assert refused.value.error["code"] < 0
    all_end(family, 10)
    assert client.text("good.echo", text="with the new hub") == "with the new hub"
    assert hub_pid(home) != first


def test_a_killed_attachment_cancels_its_calls_and_no_others(hubs: Hubs, client: Client, home: Path) -> None:
    other = hubs.attach()
    other.open()
    theirs = other.send("tools/call", {"name": "good.slow", "arguments": {"seconds": 1.5, "steps": 1}})
    client.send("tools/call", {"name": "good.slow", "arguments": {"seconds": 60}})
    until(lambda: other.server("good")["in_flight"] == 2, "both calls")

    client.kill()

    until(lambda: other.server("good")["in_flight"] == 1, "the end of the dead client's call")
    until(lambda: [e for e in journal(home / "good.jsonl") if e["event"] == "cancelled"], "its cancellation")
    assert other.result(theirs)["structuredContent"] == {"slept": 1.5}
    assert other.status()["clients"] == 1


@pytest.mark.parametrize("order", list(itertools.permutations(["hub", "attachment", "child"])), ids="-".join)
def test_whatever_is_killed_in_whatever_order_nothing_is_left(
    client: Client, home: Path, order: tuple[str, ...]
) -> None:
    hub = hub_pid(home)
    family = [hub, client.pid, grandchild(home), *descendants(hub), *descendants(client.pid)]
    pids = {"hub": hub, "attachment": client.pid, "child": started_pid(home / "good.jsonl")}
    for name in order:
        if is_alive(pids[name]):
            kill(pids[name])
    client.process.wait()
    all_end(family, 10)
    # An attachment that outlived its hub may have started another, which ends by itself.
    nothing_left(home, 20)


def test_a_hub_that_is_asked_to_end_ends_all_its_children(client: Client, home: Path) -> None:
    hub = hub_pid(home)
    family = [hub, *descendants(hub), grandchild(home)]
    client.close()
    os.kill(hub, signal.SIGTERM)
    all_end(family, 10)
    nothing_left(home)


def test_a_hub_ends_by_itself_when_its_last_client_has_left(client: Client, home: Path) -> None:
    hub = hub_pid(home)
    family = [hub, *descendants(hub), grandchild(home)]
    assert client.close() == 0
    all_end(family, 15)
    nothing_left(home)
    assert not (home / "hub.sock").exists()


def test_a_killed_embedded_hub_leaves_nothing(hubs: Hubs, home: Path) -> None:
    client = hubs.embed()
    client.open()
    client.wait_for_tool("parent.echo")
    client.wait_for_tool("stubborn.echo")
    family = [*descendants(client.pid), grandchild(home)]
    client.kill()
    all_end(family, 10)
    nothing_left(home)


def test_a_warden_that_is_killed_is_replaced_and_ends_what_the_first_watched(
    client: Client, home: Path
) -> None:
    hub = hub_pid(home)
    servers = {started_pid(home / f"{name}.jsonl") for name in ("good", "stubborn", "parent")}
    (warden,) = [
        process for process in psutil.Process(hub).children() if "warden.py" in str(process.cmdline())
    ]
    kill(warden.pid)
    kill(started_pid(home / "good.jsonl"))  # its next start finds that the warden is gone
    until(lambda: started_pid(home / "good.jsonl") not in servers, "the next start")
    assert client.text("good.echo", text="x") == "x"
    family = [*descendants(hub), grandchild(home)]
    assert servers & set(family)
    kill(hub)
    all_end(family, 10)


def test_a_home_that_was_left_by_a_kill_is_taken_up_again(hubs: Hubs, home: Path) -> None:
    for _ in range(3):
        client = hubs.embed()
        client.open()
        until(partial(pid_of, client), "a child that has only just been started")
        client.kill()
    grandchildren = [
        event["pid"] for event in journal(home / "parent.jsonl") if event["event"] == "grandchild"
    ]
    all_end(grandchildren, 10)
    client = hubs.embed()
    client.open()
    client.wait_for_tool("good.echo")
    assert client.text("good.echo", text="x") == "x"


def pid_of(client: Client) -> int | None:
    pid: int | None = client.server("parent")["pid"]
    return pid


def test_a_child_leads_a_group_of_its_own(client: Client, home: Path) -> None:
    pid = started_pid(home / "good.jsonl")
    assert os.getpgid(pid) == pid
    assert psutil.Process(pid).ppid() == hub_pid(home)
