"""The conversation at a terminal, with a hub of its own process and a scripted model."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from hub.calls import Json
from hub.cli.invocation import Invocation, make_console
from hub.cli.repl import HISTORY_BYTES_MAX, Lines, Repl, Terminal
from tests.api.conftest import Scripted
from tests.hub.running import DEADLINE_S, Served, environment, until

CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


class Talk:
    """What was typed, and what was shown for it.

    Attributes:
        output: What went to the console.
        remarks: What was said beside it.
    """

    def __init__(self, served: Served, typed: Sequence[str], history: Path, session: str) -> None:
        self._served = served
        self._typed = list(typed)
        self._history = history
        self._session = session
        self._out = io.StringIO()
        self.remarks: list[str] = []
        self.on_event: Callable[[Json], None] = lambda event: None
        asyncio.run(self._run())
        self.output = self._out.getvalue()

    async def _run(self) -> None:
        invocation = Invocation(home_option=self._served.home)
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            async with invocation.hub(start=False) as hub:

                def run_turn(session: str, message: str, report: Callable[[Json], None]) -> Awaitable[Json]:
                    params = {"session_id": session, "message": message}
                    return hub.request("hub/run_turn", params, on_event=self._watched(report))

                lines = _Typist(Terminal(self._history), keys, self._typed)
                console = make_console(self._out)
                await Repl(hub, run_turn, lines, console, self.remarks.append, self._session).run()

    def _watched(self, report: Callable[[Json], None]) -> Callable[[Json], None]:
        def watch(event: Json) -> None:
            report(event)
            # Whoever has seen the first words of this reply wants no more.
            if event["type"] == "model.delta" and "slowly" in event["text"]:
                os.kill(os.getpid(), signal.SIGINT)

        return watch


class _Typist:
    """Types the next keys whenever a line is asked for."""

    def __init__(self, lines: Lines, keys: PipeInput, typed: list[str]) -> None:
        self._lines = lines
        self._keys = keys
        self._typed = typed

    async def ask(self, prompt: str) -> str | None:
        self._keys.send_text(self._typed.pop(0))
        async with asyncio.timeout(DEADLINE_S):
            return await self._lines.ask(prompt)


def test_replies_come_and_tools_are_shown_as_they_run(served: Served, tmp_path: Path) -> None:
    talk = Talk(served, ["echo it\r", CTRL_D], tmp_path / "history", "repl")
    assert "Let me see.\nThe tool said it.\n" in talk.output
    assert any("→ old.echo" in remark for remark in talk.remarks)
    assert any("✓ old.echo" in remark for remark in talk.remarks)


def test_every_command_answers(served: Served, tmp_path: Path) -> None:
    typed = ["/help", "/feedback 1", "hello", "/feedback 1", "/feedback much", "/tools echo", "/recall hello"]
    typed += ["/model", "/session other", "/nope", "/recall", "/quit"]
    talk = Talk(served, [f"{line}\r" for line in typed], tmp_path / "history", "repl-commands")
    assert "You said: hello" in talk.output
    assert "/feedback 0..1" in talk.output
    assert "noted" in talk.output
    assert "old.echo" in talk.output
    assert "configured: openai/scripted" in talk.output
    assert "last reply: openai/scripted" in talk.output
    assert "session other" in talk.output
    assert "/nope is no command" in talk.output
    told = "\n".join(talk.remarks)
    assert "no reply to rate yet" in told
    assert "from 0 (it was wrong) to 1" in told
    assert "/recall takes words" in told


def test_ctrl_c_stops_the_turn_and_not_the_conversation(
    served: Served, tmp_path: Path, scripted: Scripted
) -> None:
    abandoned = scripted.model.abandoned
    talk = Talk(served, ["slow, please\r", "hello\r", CTRL_D], tmp_path / "history", "repl-stop")
    assert "stopped" in talk.remarks
    assert "You said: hello" in talk.output
    until(lambda: scripted.model.abandoned > abandoned, "the end of the model's request")


def test_ctrl_c_at_the_prompt_throws_the_line_away(served: Served, tmp_path: Path) -> None:
    talk = Talk(served, ["half a mess" + CTRL_C, CTRL_D], tmp_path / "history", "repl-line")
    assert "You said" not in talk.output


def test_what_was_typed_is_remembered_for_the_next_time(served: Served, tmp_path: Path) -> None:
    history = tmp_path / "history"
    Talk(served, ["hello from before\r", CTRL_D], history, "repl-history")
    assert history.stat().st_mode & 0o777 == 0o600
    talk = Talk(served, [f"{UP}\r", CTRL_D], history, "repl-history")
    assert "You said: hello from before" in talk.output


def test_a_history_that_has_grown_too_large_forgets_its_older_half(tmp_path: Path) -> None:
    history = tmp_path / "history"
    entries = [f"\n# 2026-11-21 09:00:00\n+line {n:06}\n" for n in range(HISTORY_BYTES_MAX // 30)]
    history.write_text("".join(entries))

    async def remembered() -> list[str]:
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            session: Any = Terminal(history)._session
            return [line async for line in session.history.load()]

    lines = asyncio.run(remembered())
    assert history.stat().st_size <= HISTORY_BYTES_MAX
    assert lines[0] == f"line {len(entries) - 1:06}"
    assert all(re.fullmatch(r"line \d{6}", line) for line in lines)


def test_at_a_real_terminal(served: Served, scripted: Scripted) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hub", "--home", str(served.home), "repl", "-s", "pty"]
    env = environment(served.home) | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env,
        cwd=served.home,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    try:
        screen = _Screen(ours)
        screen.wait_for("pty>")
        os.write(ours, b"hello\r")
        screen.wait_for("You said: hello")
        screen.wait_for("pty>")
        os.write(ours, b"hang at the terminal\r")
        until(lambda: scripted.count("hang at the terminal"), "the request to the model")
        os.write(ours, CTRL_C.encode())
        screen.wait_for("stopped")
        screen.wait_for("pty>")
        os.write(ours, CTRL_D.encode())
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _take_terminal() -> None:
    """Make the terminal on stdin the one that Ctrl+C comes from."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class _Screen:
    """What a terminal shows, read in its order."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._shown = ""

    def wait_for(self, text: str) -> None:
        """Read on until a text stands there."""
        end = time.monotonic() + DEADLINE_S
        while text not in (plain := re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown)):
            left_s = end - time.monotonic()
            assert left_s > 0, f"{text!r} never came: {self._shown!r}"
            if select.select([self._terminal], [], [], left_s)[0]:
                self._shown += os.read(self._terminal, 65536).decode(errors="replace")
        self._shown = plain.partition(text)[2]
