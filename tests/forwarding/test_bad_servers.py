"""Servers that behave badly: each harms itself alone, and whoever asks learns what is wrong with it.

All of them stand behind one hub, beside a good one.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.running import (
    Client,
    Hubs,
    Refused,
    descendants,
    is_alive,
    journal,
    nothing_left,
    started_pid,
    stdio,
    until,
    write_servers,
    write_settings,
)

MODES = (
    "exits_at_once exits_after_start hangs never_lists list_error endless_pages prints_to_stdout "
    "exits_on_discover ignores_unknown dies_mid_call half_answer closes_stdout ten_megabytes "
    "wrong_ids text_ids half_lines boolean_schema bad_tools stderr_flood orphan orphan_with_pipes "
    "ignores_sigterm"
).split()

SETTINGS = """
[downstream]
connect_deadline_s = 6.0
list_deadline_s = 4.0
stop_grace_s = 0.5
backoff_first_s = 0.05
backoff_max_s = 0.2
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[Client]:
    """A client of the hub with all the bad servers; when the hub ends, nothing is left of any of them."""
    hubs = Hubs(home)
    write_settings(home, SETTINGS)
    servers = {mode: stdio("bad.py", mode, "--journal", home / f"{mode}.jsonl") for mode in MODES}
    servers["answers_late"] = stdio("bad.py", "answers_late", "--seconds", 1.5, timeout=0.5)
    servers["no_such_program"] = {"command": "no-such-program-anywhere"}
    servers["no_such_folder"] = stdio("echo.py", cwd="/no/such/folder")
    servers["not_executable"] = {"command": str(home / "hub.toml")}
    servers["good"] = stdio("echo.py")
    write_servers(home, servers)
    try:
        client = hubs.embed()
        client.open()
        client.wait_for_tool("good.echo")
        yield client
        grandchildren = [
            event["pid"]
            for mode in ("orphan", "orphan_with_pipes")
            for event in journal(home / f"{mode}.jsonl")
            if event["event"] == "grandchild"
        ]
        children = descendants(client.pid)
        assert client.close() == 0
        nothing_left(home, 10)
        assert not [pid for pid in (*children, *grandchildren) if is_alive(pid)]
    finally:
        hubs.end()


@pytest.fixture(autouse=True)
def _the_good_one_never_suffers(client: Client) -> Iterator[None]:
    yield
    assert client.text("good.echo", text="unharmed") == "unharmed"


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ("exits_at_once", r"exited with code 3; it last wrote: cannot start: EXAMPLE_API_KEY is not set"),
        ("exits_after_start", r"exited with code 4"),
        ("hangs", r"did not shake hands within 6 s|no answer to initialize within 6 s"),
        ("never_lists", r"no answer to tools/list within 4 s"),
        ("list_error", r"the database is on fire"),
        ("endless_pages", r"pages without end"),
        ("no_such_program", r"'no-such-program-anywhere' was not found: check `command`"),
        ("no_such_folder", r"'/no/such/folder' does not exist: check `cwd`"),
        ("not_executable", r"cannot be started: Permission denied"),
    ],
)
def test_status_says_why_a_server_is_down(client: Client, server: str, problem: str) -> None:
    def said() -> str | None:
        row = client.server(server)
        return row["problem"] if row["problem"] and re.search(problem, row["problem"]) else None

    assert until(said, f"{server}'s problem; status: {client.server(server)}")
    assert client.server(server)["tools"] == 0
    with pytest.raises(Refused, match=server) as refused:
        client.call(f"{server}.echo", text="x")
    assert "not connected" in str(refused.value)


@pytest.mark.parametrize(
    "server",
    "prints_to_stdout exits_on_discover ignores_unknown wrong_ids text_ids half_lines boolean_schema "
    "bad_tools stderr_flood orphan orphan_with_pipes ignores_sigterm dies_mid_call".split(),
)
def test_what_a_server_does_right_works(client: Client, server: str) -> None:
    client.wait_for_tool(f"{server}.echo")
    for text in ("one", "zwei €", "three"):
        assert client.call(f"{server}.echo", text=text)["structuredContent"] == {"text": text}


def test_ten_megabytes_come_through(client: Client) -> None:
    client.wait_for_tool("ten_megabytes.echo")
    assert client.text("ten_megabytes.echo", text="x") == "x" * 10_000_000


@pytest.mark.parametrize("server", ["dies_mid_call", "half_answer", "closes_stdout"])
def test_a_server_that_dies_in_a_call_says_so_to_its_caller_and_is_started_again(
    client: Client, home: Path, server: str
) -> None:
    client.wait_for_tool(f"{server}.die")
    before = started_pid(home / f"{server}.jsonl")
    with pytest.raises(
        Refused, match="went away during tools/call, which may or may not have run"
    ) as refused:
        client.call(f"{server}.die")
    assert refused.value.error["code"] == -32000
    assert refused.value.error["data"] == {"error": "DownstreamLost", "server": server}
    assert client.text(f"{server}.echo", text="again") == "again"
    assert started_pid(home / f"{server}.jsonl") != before
    until(lambda: not is_alive(before), "the end of the process that closed its output")


def test_a_server_that_dies_over_and_over_comes_back_each_time(client: Client) -> None:
    client.wait_for_tool("dies_mid_call.die")
    for _ in range(5):
        with pytest.raises(Refused):
            client.call("dies_mid_call.die")

    def recovered() -> bool:
        try:
            return client.text("dies_mid_call.echo", text="back") == "back"
        except Refused:
            return False

    until(recovered, "the server's return")


def test_a_killed_server_is_started_again_by_itself(client: Client, home: Path) -> None:
    client.wait_for_tool("ignores_unknown.echo")
    before = started_pid(home / "ignores_unknown.jsonl")
    os.kill(before, signal.SIGKILL)
    until(lambda: started_pid(home / "ignores_unknown.jsonl") != before, "the new process")
    assert client.wait_for_state("ignores_unknown", "ready")["pid"] != before
    assert client.text("ignores_unknown.echo", text="x") == "x"


def test_a_server_whose_pipes_outlive_it_is_noticed_and_started_again(client: Client, home: Path) -> None:
    """Its grandchild holds the other end, so the pipes tell nothing."""
    client.wait_for_tool("orphan_with_pipes.echo")
    file = home / "orphan_with_pipes.jsonl"
    before = started_pid(file)
    grandchild = next(event["pid"] for event in journal(file) if event["event"] == "grandchild")
    os.kill(before, signal.SIGKILL)
    until(lambda: started_pid(file) != before, "the new process", 10)
    assert client.text("orphan_with_pipes.echo", text="x") == "x"
    until(lambda: not is_alive(grandchild), "the grandchild's end", 10)


def test_an_answer_after_the_deadline_is_a_timeout_and_disturbs_nothing(client: Client) -> None:
    client.wait_for_tool("answers_late.echo")
    with pytest.raises(
        Refused, match=r"no answer to tools/call within 0\.5 s; it was told to stop"
    ) as refused:
        client.call("answers_late.echo", text="x")
    assert refused.value.error["code"] == -32001
    assert refused.value.error["data"]["server"] == "answers_late"
    calls = [
        client.send("tools/call", {"name": "answers_late.echo", "arguments": {"text": "x"}}) for _ in range(3)
    ]
    assert {client.answer(each)["error"]["code"] for each in calls} == {-32001}
    assert client.server("answers_late")["state"] == "ready"


def test_a_server_that_exits_on_the_probe_is_asked_the_old_way_and_not_probed_again(
    client: Client, home: Path
) -> None:
    client.wait_for_tool("exits_on_discover.echo")
    file = home / "exits_on_discover.jsonl"
    assert sum(event["event"] == "started" for event in journal(file)) == 2
    assert client.server("exits_on_discover")["version"] == "2025-11-25"


def test_names_that_no_client_takes_are_made_into_ones_that_all_take(client: Client) -> None:
    client.wait_for_tool("bad_tools.echo")
    names = [name for name in client.tools() if name.startswith("bad_tools.")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.]{1,50}", name) for name in names)
    folded = [re.sub(r"[.-]", "_", name) for name in client.tools()]
    assert len(set(folded)) == len(folded)
    shown = client.tools()
    own = {tool["description"]: name for name, tool in shown.items() if name.startswith("bad_tools.")}
    assert own["A name with spaces."] == "bad_tools.has_spaces"
    assert client.call(own["A name beyond ASCII."], text="x") is not None
    for description in (
        "A name with spaces.",
        "A name of 200 characters.",
        "Equal to the one before.",
        "No name.",
    ):
        assert client.text(own[description], text=description) == description
    assert "The first of two equal names." in own
    assert "The second of two equal names." not in own
