"""The worker process: what it serves, what it survives, and that it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from hub.skills.authoring import check, new

GOOD = """
from fastmcp import Context
from fastmcp.tools import tool
from words import GREETING  # a file beside this one

print("noise on stdout, at import")

@tool(annotations={"readOnlyHint": True})
def greet(name: str) -> str:
    "Greet somebody."
    import os
    print("noise from a tool")
    os.system("echo noise from a child")
    return f"{GREETING}, {name}!"

@tool
async def count(to: int, ctx: Context) -> dict[str, int]:
    "Count."
    for step in range(to):
        await ctx.report_progress(step, to)
    return {"counted": to}

@tool
def crash() -> str:
    "Crash."
    raise KeyError("lost")
"""
MINIMAL = 'from fastmcp.tools import tool\n\n@tool\ndef ping() -> str:\n    "Ping."\n    return "pong"\n'


def write_skill(folder: Path, name: str, tools: str | None, **files: str) -> Path:
    skill = folder / name
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(f"---\nname: {name}\ndescription: What {name} does.\n---\n")
    if tools is not None:
        (skill / "tools.py").write_text(tools)
    for stem, text in files.items():
        (skill / f"{stem}.py").write_text(text)
    return skill


def test_a_skills_tools_are_served_under_its_name_whatever_they_print(
    start_worker: Callable[..., Any], tmp_path: Path
) -> None:
    skill = write_skill(tmp_path, "my-skill", GOOD, words='GREETING = "Hello"\n')
    with start_worker(skill, env={}).running() as worker:
        assert [tool.name for tool in worker.tools()] == [
            "my-skill.greet",
            "my-skill.count",
            "my-skill.crash",
        ]
        assert worker.call("my-skill.greet", name="you") == {"result": "Hello, you!"}
        assert worker.call("my-skill.count", to=3) == {"counted": 3}
        assert "lost" in worker.refused("my-skill.crash")
        assert "to" in worker.refused("my-skill.count", to="many")
        assert worker.call("my-skill.greet", name="again") == {"result": "Hello, again!"}


BROKEN = {
    "syntax": "def broken(:\n",
    "absent": "import no_such_module\n",
    "raising": "x = 1\ny = x / 0\n",
    "leaving": "raise SystemExit(3)\n",
    "empty": "x = 1\n",
    "untyped": "from fastmcp.tools import tool\n\n@tool\ndef many(*args): ...\n",
    "twice": MINIMAL + MINIMAL.replace("def ping", "def pong").replace("@tool", "@tool(name='ping')"),
}


def test_a_broken_skill_is_named_with_its_line_and_the_others_are_served(
    start_worker: Callable[..., Any], tmp_path: Path
) -> None:
    folders = [write_skill(tmp_path, name, tools) for name, tools in BROKEN.items()]
    good = write_skill(tmp_path, "good", MINIMAL)
    with start_worker(*folders, good, env={}).running() as worker:
        assert [tool.name for tool in worker.tools()] == ["good.ping"]
        assert worker.call("good.ping") == {"result": "pong"}

    command = [sys.executable, "-P", "-m", "hub.skills.worker", "--check"]
    for folder in (*folders, good):
        command += ["--skill", str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert [tool["name"] for tool in report["tools"]] == ["good.ping"]
    told = {Path(folder).name: message for folder, message in report["broken"].items()}
    assert set(told) == set(BROKEN)
    assert f"{tmp_path / 'syntax' / 'tools.py'}:1" in told["syntax"]
    assert "no_such_module" in told["absent"]
    assert f"{tmp_path / 'raising' / 'tools.py'}:2: ZeroDivisionError" in told["raising"]
    assert "SystemExit" in told["leaving"]
    assert "@tool" in told["empty"]
    assert "'many'" in told["untyped"]
    assert "two tools" in told["twice"]


def test_with_no_skill_to_serve_the_worker_ends_and_says_why(tmp_path: Path) -> None:
    skill = write_skill(tmp_path, "broken", BROKEN["raising"])
    command = [sys.executable, "-P", "-m", "hub.skills.worker", "--skill", str(skill)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ZeroDivisionError" in done.stderr


def test_files_of_a_skill_replace_no_module_of_the_standard_library(
    start_worker: Callable[..., Any], tmp_path: Path
) -> None:
    skill = write_skill(tmp_path, "shadow", MINIMAL, json="raise RuntimeError('shadowed')", logging="boom")
    with start_worker(skill, env={}).running() as worker:
        assert worker.call("shadow.ping") == {"result": "pong"}


@contextmanager
def talking_to(skill: Path, tool: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that has been greeted and asked to call a tool without arguments."""
    command = [sys.executable, "-P", "-m", "hub.skills.worker", "--skill", str(skill)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=skill)
    assert child.stdin is not None
    assert child.stdout is not None
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    try:
        for message in (
            {"id": 1, "method": "initialize", "params": hello},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": tool, "arguments": {}}},
        ):
            child.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        child.stdin.flush()
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def test_nothing_but_the_protocol_reaches_stdout(tmp_path: Path) -> None:
    noisy = "import os\nprint('noise')\nos.system('echo noise')\n" + MINIMAL.replace(
        "return", "print('noise'); os.system('echo noise'); return"
    )
    with talking_to(write_skill(tmp_path, "noisy", noisy), "noisy.ping") as child:
        assert child.stdout is not None
        answers = [json.loads(child.stdout.readline()) for _ in range(2)]
        assert [answer["id"] for answer in answers] == [1, 2]
        assert answers[1]["result"]["structuredContent"] == {"result": "pong"}


@pytest.mark.skipif(sys.platform == "win32", reason="poll is not there")
def test_a_worker_with_a_stuck_tool_ends_when_its_client_is_gone(tmp_path: Path) -> None:
    stuck = "import pathlib, time\n" + MINIMAL.replace(
        "return", "pathlib.Path('began').touch(); time.sleep(300); return"
    )
    skill = write_skill(tmp_path, "stuck", stuck)
    with talking_to(skill, "stuck.ping") as child:
        deadline = time.monotonic() + 20
        while not (skill / "began").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(20) == 0


def test_a_new_skill_is_right_at_once_and_works(start_worker: Callable[..., Any], tmp_path: Path) -> None:
    skill = new(tmp_path / "skills", "daily-report", 'Writes "the" report: daily. {braces} # stay')
    assert check(skill) == []
    with start_worker(skill, env={}).running() as worker:
        assert worker.call("daily-report.greet", name="Ada") == {"result": "Hello, Ada!"}


def test_a_check_names_what_is_wrong_with_tools(tmp_path: Path) -> None:
    sloppy = "from fastmcp.tools import tool\n\n@tool(name='a b')\ndef f() -> str:\n    return ''\n"
    skill = write_skill(tmp_path, "sloppy", sloppy)
    problems = {(problem.severity, problem.message.partition(";")[0]) for problem in check(skill)}
    said = " ".join(message for _, message in problems)
    assert "no docstring" in said
    assert "says nothing of its effects" in said
    assert "may hold only letters" in said
    assert [str(problem) for problem in check(write_skill(tmp_path, "words", None))] == []
    broken = check(write_skill(tmp_path, "broken", BROKEN["raising"]))
    assert "ZeroDivisionError" in str(broken[0])


def test_a_check_ends_at_its_deadline_and_leaves_no_process_behind(tmp_path: Path) -> None:
    hanging = "import subprocess, time\nsubprocess.Popen(['sleep', '314'])\ntime.sleep(300)\n"
    skill = write_skill(tmp_path, "hanging", hanging)
    (problem,) = check(skill, deadline_s=4)
    assert "longer than 4 s" in problem.message
    left = [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        # One that has ended may wait for its parent to take note.
        if process.info["cmdline"] == ["sleep", "314"] and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
    assert left == []
    leaving = check(write_skill(tmp_path, "leaving", "import os\nos._exit(7)\n"))
    assert "ended the process" in leaving[0].message
