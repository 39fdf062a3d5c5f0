"""The command line against a hub that it starts itself: real processes, real socket, a scripted model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.home import Home
from hub.lock import owner
from hub.simulation.scripted_model import Call, Fail, Request, Say, ScriptedModel, Step

DEADLINE_S = 90


def _script(request: Request) -> Step:
    if "as json" in request.user:
        return Say('```json\n{"city": "Bern"}\n```')
    if "fail" in request.user:
        return Fail(401, "no such key")
    if "what time" in request.user and not request.results:
        return Call("almanac.shift_date", {"day": "2026-11-21", "days": 1})
    if request.results:
        return Say("It will be Sunday.")
    return Say(f"You said: {request.user.splitlines()[-1]}")


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    """A scripted model, served from a thread while the module's tests run."""
    ready: threading.Event = threading.Event()
    served: list[Any] = []

    async def serve() -> None:
        async with ScriptedModel(_script) as model:
            stop = asyncio.Event()
            served.extend((model.url, asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield served[0]
    served[1].call_soon_threadsafe(served[2].set)
    thread.join(20)


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, model_url: str) -> Home:
    home = Home.at(tmp_path_factory.mktemp("real") / "home")
    home.root.mkdir()
    home.settings_file.write_text(f'model = "openai/scripted"\napi_base = "{model_url}"\n')
    home.env_file.write_text("OPENAI_API_KEY=none-needed\n")
    home.env_file.chmod(0o600)
    entry = {"command": sys.executable, "args": ["-m", "hub.examples.almanac"]}
    home.servers_file.write_text(json.dumps({"mcpServers": {"almanac": entry}}))
    return home


@pytest.fixture(scope="module")
def hub(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a command as a process of its own; the first one starts the hub."""
    folder = tmp_path_factory.mktemp("work")

    def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hub", "--home", str(home.root), *words],
            cwd=folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            env={name: value for name, value in os.environ.items() if not name.startswith("HUB_")},
        )

    yield run
    assert run("stop").returncode == 0
    assert owner(home) is None


def _within_deadline(holds: Callable[[], bool], deadline_s: float = 15.0) -> bool:
    """Whether something comes to hold before the deadline."""
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.05)
    return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S):
            return True
    except OSError:
        return False


def test_a_first_call_starts_the_hub_and_waits_for_the_server_it_needs(hub: Run) -> None:
    done = hub("tools", "call", "almanac.convert", "value=1", "from_unit=mi", "to_unit=km", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["structuredContent"]["value"] == 1.609344


def test_a_turn_is_told_step_by_step_and_answers_on_stdout(hub: Run) -> None:
    done = hub("run", "what time is it tomorrow?", "--session-id", "told")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[scripted model] It will be Sunday.\n"
    assert "→ almanac.shift_date(day=2026-11-21, days=1)" in done.stderr
    assert "✓ almanac.shift_date" in done.stderr


def test_a_turn_s_events_are_lines_of_json_and_the_result_is_the_last(hub: Run) -> None:
    done = hub("run", "hello", "--events", "--session-id", "events")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["type"] for event in events][:1] == ["run.started"]
    assert events[-1]["type"] == "result"
    assert events[-1]["output"] == "[scripted model] You said: hello"
    numbers = [event["seq"] for event in events[:-1]]
    assert numbers == sorted(numbers)


def test_a_reply_that_was_given_at_a_bound_ends_with_0_and_a_remark(hub: Run) -> None:
    done = hub("run", "what time is it tomorrow?", "--rounds", "1", "--session-id", "bound")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[scripted model] ")
    assert "hub: it answered with what it had: every round of tools was used" in done.stderr
    told = hub("run", "what time is it tomorrow?", "--tokens", "1", "--json", "--session-id", "bound")
    assert told.returncode == 0
    assert json.loads(told.stdout)["status"] == "tokens_exhausted"


def test_a_turn_that_failed_ends_with_1_and_says_why(hub: Run) -> None:
    done = hub("run", "fail", "--session-id", "failed")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("hub: ")


def test_a_reply_takes_the_form_of_a_schema(hub: Run, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "required": ["city"]}')
    words = ("run", "as json", "--schema", f"@{schema}", "--session-id", "form")
    assert json.loads(hub(*words).stdout) == {"city": "Bern"}
    assert json.loads(hub(*words, "--json").stdout)["structured"] == {"city": "Bern"}
    for wrong in ("[]", "{", f"@{tmp_path}/none", '{"type": "town"}'):
        assert hub("run", "as json", "--schema", wrong).returncode == 2


def test_a_turn_is_on_record_with_all_that_happened_in_it(hub: Run) -> None:
    assert hub("run", "what time is it tomorrow?", "--session-id", "traced").returncode == 0
    shown = json.loads(hub("traces", "show", "--json").stdout)
    assert (shown["session_id"], shown["status"]) == ("traced", "completed")
    assert shown["tool_calls"][0]["name"] == "almanac.shift_date"
    assert "almanac.shift_date" in {tool["name"] for tool in shown["prompt"]["tools"]}
    assert "It will be Sunday." in hub("traces", "show", shown["run_id"][:20]).stdout
    assert shown["run_id"] in hub("traces", "search", "shift_date Sunday", "--session", "traced").stdout
    exported = hub("traces", "export", "--session", "traced").stdout.splitlines()
    assert [json.loads(line)["run_id"] for line in exported] == [shown["run_id"]]


def test_stdio_is_a_line_in_and_a_reply_out_in_one_session(hub: Run) -> None:
    done = hub("stdio", "--session-id", "pipe", stdin="one\ntwo\n")
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["[scripted model] You said: one", "[scripted model] You said: two"]
    shown = json.loads(hub("sessions", "show", "pipe", "--json").stdout)
    assert [turn["input"] for turn in shown["turns"]] == ["one", "two"]
    assert "You said: two" in hub("sessions", "show", "pipe").stdout
    assert "pipe" in hub("sessions", "list").stdout
    assert hub("sessions", "delete", "pipe").returncode == 0
    assert hub("sessions", "show", "pipe").returncode == 2


def test_the_repl_answers_lists_and_takes_feedback(hub: Run) -> None:
    typed = "/help\nhello\n/feedback 1\n/tools convert\n/nope\n/feedback much\n/quit\n"
    done = hub("repl", "--session-id", "talk", stdin=typed)
    assert done.returncode == 0, done.stderr
    assert "You said: hello" in done.stdout
    assert "noted" in done.stdout
    assert "almanac.convert" in done.stdout
    assert "/nope is no command" in done.stdout
    assert "from 0 (it was wrong) to 1" in done.stderr


def test_a_change_of_the_servers_file_is_taken_up_while_the_hub_runs(hub: Run, home: Home) -> None:
    hub("servers", "add", "gone", "--", "no-such-program-here")

    def problem() -> str | None:
        listed = json.loads(hub("servers", "list", "--json").stdout)["servers"]
        return next((server["problem"] for server in listed if server["name"] == "gone"), None)

    assert _within_deadline(lambda: "no-such-program-here" in (problem() or ""))
    tested = hub("servers", "test", "almanac")
    assert tested.returncode == 0
    assert "5 tools" in tested.stdout
    assert hub("servers", "remove", "gone").returncode == 0


def test_serve_beside_a_running_hub_opens_http_for_as_long_as_it_lives(hub: Run, home: Home) -> None:
    hub("tools", "list")
    command = [sys.executable, "-m", "hub", "serve", "--port", "0", "--home", str(home.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        try:
            first = serving.stdout.readline()
            url = first.split()[-1]
            with urllib.request.urlopen(f"{url}/health", timeout=DEADLINE_S) as answer:
                assert answer.status == 200
        finally:
            serving.send_signal(signal.SIGINT)
            serving.wait(DEADLINE_S)
    assert hub("status").returncode == 0
    assert _within_deadline(lambda: not _answers(f"{url}/health"))


def test_a_command_finds_the_hub_that_took_over_when_the_first_was_killed(hub: Run, home: Home) -> None:
    before = json.loads(hub("status", "--json").stdout)["pid"]
    os.kill(before, signal.SIGKILL)
    done = hub("tools", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(hub("status", "--json").stdout)["pid"] != before


def test_a_home_that_cannot_be_written_ends_with_4_and_names_it(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "hub", "tools", "list", "--home", str(blocked / "home")],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 4
    assert str(blocked) in done.stderr
    assert "Traceback" not in done.stderr
