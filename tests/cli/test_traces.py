"""`hub traces`: what the agent did, as people and other programs get it."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from hub.cli.invocation import make_console
from hub.cli.views import traces as views
from hub.clock import SystemClock
from hub.home import Home
from hub.sessions import Prompt, Sessions, Turn
from hub.store import Store
from tests.cli.conftest import Cli

PROMPT = Prompt("You are the hub's agent.", [{"name": "fs.read", "description": "Read a file."}])
NOW = SystemClock().now()

READING = Turn(
    run_id="run_aa11",
    session_id="site",
    started_at=NOW - 7200,
    ended_at=NOW - 7197,
    status="completed",
    caller={"name": "codex 0.169", "face": "mcp", "project": "/home/ada/site", "hops": 0},
    input="Which port does [the] site use?",
    output="It uses port 8443.",
    messages=[
        {"role": "user", "content": "Which port does [the] site use?"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {"id": "c1", "function": {"name": "fs.read", "arguments": '{"path": "größe.toml"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": f"port = 8443\n{'padding ' * 200}the end"},
        {"role": "assistant", "content": "It uses port 8443."},
    ],
    tool_calls=[
        {"id": "c1", "name": "fs.read", "arguments": {"path": "größe.toml"}, "ok": True, "duration_s": 0.25}
    ],
    usage={"input_tokens": 2210, "output_tokens": 187, "cached_tokens": 1536, "cost_usd": 0.0061},
    model="openai/scripted",
    recall_id="rc_1",
    prompt=PROMPT.digest,
    context={"recalled": ["ep_gone"], "turns": []},
    timings={"recall_s": 0.1, "model_s": 2.5, "tools_s": 0.25, "total_s": 3.0},
)
FAILED = replace(
    READING,
    run_id="run_aa22",
    session_id="other",
    started_at=NOW - 60,
    ended_at=NOW - 59,
    status="failed",
    input="Deploy it.",
    output=None,
    messages=[{"role": "user", "content": "Deploy it."}],
    tool_calls=[],
    error="model 'openai/scripted': no such key",
)


@pytest.fixture
def recorded(home: Home) -> None:
    """Two turns on record, the older one judged."""

    async def record() -> None:
        from hub.tables import feedback

        home.root.mkdir(parents=True, exist_ok=True)
        store = Store(home.store_file)
        await store.open()
        sessions = Sessions(store, SystemClock())
        for turn in (READING, FAILED):
            await sessions.commit(turn, PROMPT)
        row = {"at": 1.0, "source": "user", "void": False, "run_id": "run_aa11", "reward": 0.75}
        await store.write(lambda connection: [connection.execute(feedback.insert(), row)])
        await store.close()

    asyncio.run(record())


pytestmark = pytest.mark.usefixtures("recorded", "running_hub")


def _ids(out: str) -> list[str]:
    return [turn["run_id"] for turn in json.loads(out)["turns"]]


def test_turns_are_listed_newest_first_and_filtered(cli: Cli) -> None:
    assert _ids(cli("traces", "list", "--json")[1]) == ["run_aa22", "run_aa11"]
    assert _ids(cli("traces", "list", "--json", "--limit", "1")[1]) == ["run_aa22"]
    assert _ids(cli("traces", "list", "--json", "--session", "site")[1]) == ["run_aa11"]
    assert _ids(cli("traces", "list", "--json", "--status", "completed")[1]) == ["run_aa11"]
    assert _ids(cli("traces", "list", "--json", "--since", "1h")[1]) == ["run_aa22"]
    assert _ids(cli("traces", "list", "--json", "--since", "2020-01-01")[1]) == ["run_aa22", "run_aa11"]
    code, out, _ = cli("traces", "list")
    assert code == 0
    rows = [line for line in out.splitlines() if "run_aa" in line]
    assert ["failed" in row for row in rows] == [True, False]
    assert "Which port does [the] site use?" in rows[1]


def test_a_filter_that_means_nothing_is_refused(cli: Cli) -> None:
    code, _, err = cli("traces", "list", "--status", "fine")
    assert code == 2
    assert "rounds_exhausted" in err
    code, _, err = cli("traces", "list", "--since", "lately")
    assert code == 2
    assert "2h" in err


def test_a_turn_is_shown_with_what_was_called_and_what_it_took(cli: Cli) -> None:
    code, out, _ = cli("traces", "show", "run_aa11")
    assert code == 0
    for said in (
        "codex 0.169",
        "2,210 tokens read (1,536 of them cached), 187 written, $0.0061",
        "ep_gone  (forgotten since)",
        "1: fs.read",
        "0.75",
        "> Which port does [the] site use?",
        "größe.toml",
        "port = 8443",
        "It uses port 8443.",
    ):
        assert said in out, said
    assert "more characters: --full" in out
    assert "the end" not in out
    whole = cli("traces", "show", "run_aa11", "--full")[1]
    assert "the end" in whole
    assert "You are the hub's agent." in whole


def test_a_turn_is_readable_at_80_columns(tmp_path: Path, cli: Cli) -> None:
    answer = json.loads(cli("traces", "show", "run_aa11", "--json")[1])
    listed = json.loads(cli("traces", "list", "--json")[1])
    for view, shown in ((views.turn, answer), (views.full_turn, answer), (views.turns, listed)):
        with (tmp_path / "out").open("w+", encoding="utf-8") as file:
            console = make_console(file)
            console.width, console._force_terminal = 80, True
            view(console, shown)
            file.seek(0)
            lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip("\n") for line in file]
        assert max(map(len, lines)) <= 80


def test_a_run_is_named_by_its_beginning_or_is_the_newest(cli: Cli) -> None:
    assert json.loads(cli("traces", "show", "--json")[1])["run_id"] == "run_aa22"
    assert json.loads(cli("traces", "show", "run_aa1", "--json")[1])["run_id"] == "run_aa11"
    code, _, err = cli("traces", "show", "run_aa")
    assert code == 2
    assert "run_aa11" in err
    assert "run_aa22" in err
    assert cli("traces", "show", "run_b")[0] == 2
    assert "no such key" in cli("traces", "show")[1]


def test_json_holds_everything_that_is_on_record(cli: Cli) -> None:
    shown = json.loads(cli("traces", "show", "run_aa11", "--json")[1])
    assert shown["messages"] == READING.messages
    assert shown["prompt"] == {"system": PROMPT.system, "tools": list(PROMPT.tools)}
    assert shown["tool_calls"] == READING.tool_calls
    assert shown["timings"] == READING.timings
    assert shown["usage"] == READING.usage
    assert shown["recalled"] == [{"episode_id": "ep_gone", "intent": None}]
    assert shown["reward"] == 0.75


@pytest.mark.parametrize(
    ("words", "who", "part"),
    [
        ("PORT site", "user", "Which port"),
        ("padding", "fs.read", "port = 8443"),
        ("größe", "fs.read", "größe.toml"),
        ("such key", "error", "no such key"),
        ("100%", None, ""),
    ],
)
def test_turns_are_found_by_what_was_said_in_them(cli: Cli, words: str, who: str | None, part: str) -> None:
    found = json.loads(cli("traces", "search", words, "--json")[1])["turns"]
    if who is None:
        assert found == []
        return
    wanted = [turn for turn in found if turn["who"] == who]
    assert len(wanted) == 1
    assert part in wanted[0]["excerpt"]
    assert wanted[0]["run_id"] in cli("traces", "search", words)[1]


def test_an_export_is_json_lines_on_stdout_or_in_a_file(cli: Cli) -> None:
    code, out, err = cli("traces", "export")
    assert (code, err) == (0, "")
    assert [json.loads(line)["run_id"] for line in out.splitlines()] == ["run_aa11", "run_aa22"]
    code, out, _ = cli("traces", "export", "-f", "openai", "--status", "completed", "-o", "turns.jsonl")
    assert code == 0
    assert out.startswith("1 turn written to ")
    [line] = Path("turns.jsonl").read_text(encoding="utf-8").splitlines()
    assert [message["role"] for message in json.loads(line)["messages"]][:2] == ["system", "user"]
    assert [path.name for path in Path().iterdir()] == ["turns.jsonl"]


def test_an_export_holds_only_what_was_asked_for(cli: Cli) -> None:
    good = cli("traces", "export", "--format", "art", "--reward-min", "0.7")[1]
    assert [json.loads(line)["reward"] for line in good.splitlines()] == [0.75]
    assert cli("traces", "export", "--reward-min", "0.8")[1] == ""
    other = cli("traces", "export", "--session", "other")[1]
    assert [json.loads(line)["run_id"] for line in other.splitlines()] == ["run_aa22"]
    assert cli("traces", "export", "--format", "parquet")[0] == 2


def test_a_file_that_cannot_be_written_is_named(cli: Cli) -> None:
    code, _, err = cli("traces", "export", "-o", "none/turns.jsonl")
    assert code == 2
    assert "none/turns.jsonl" in err
