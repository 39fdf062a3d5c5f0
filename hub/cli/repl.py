"""`hub repl`: a conversation with the agent, at a terminal or line by line from a pipe.

What the model says is shown as it comes, and what it does between the lines. Ctrl+C
stops the turn and not the program, Ctrl+D leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hub.calls import Json
from hub.cli import keyboard
from hub.cli.views import memory as memory_views
from hub.cli.views import tools as tool_views
from hub.cli.views import turns as views
from hub.cli.views.style import plain
from hub.errors import HubError, InvalidArguments, RpcError

if TYPE_CHECKING:
    from rich.console import Console

HELP = """\
/tools [WORDS]     the tools, or those that match
/recall WORDS      what the memory knows
/feedback 0..1     rate the last reply; 1 is good
/model             the model that answers
/session [ID]      show or change the session
/help              this
/quit              leave (also Ctrl+D); Ctrl+C stops a turn
"""

COMMANDS = [line.split()[0] for line in HELP.splitlines()]

HISTORY_BYTES_MAX = 512 * 1024
"""How large the history may grow; of a larger one the older half is forgotten."""

RunTurn = Callable[[str, str, Callable[[Json], None]], Awaitable[Json]]
"""Takes a session, a message and a listener for events; returns the turn's result."""


class Lines(Protocol):
    """Where a person's lines come from."""

    async def ask(self, prompt: str) -> str | None:
        """The next line; None when the person is done."""
        ...


class Terminal:
    """Lines typed at a terminal: edited, completed, and remembered from one time to the next.

    Args:
        history_file: Where they are remembered.
    """

    def __init__(self, history_file: Path) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory

        _prepare_history(history_file)
        self._session: PromptSession[str] = PromptSession(
            history=FileHistory(str(history_file)),
            completer=WordCompleter(COMMANDS, sentence=True),
            complete_while_typing=False,
            enable_history_search=True,
        )

    async def ask(self, prompt: str) -> str | None:
        """The next line; empty when Ctrl+C threw it away."""
        try:
            return await self._session.prompt_async(prompt)
        except KeyboardInterrupt:
            return ""
        except EOFError:
            return None


class Pipe:
    """Lines of a stdin that is no terminal."""

    def __init__(self) -> None:
        self._lines: AsyncIterator[str] = keyboard.lines()

    async def ask(self, prompt: str) -> str | None:
        """The next line; nobody reads the prompt."""
        return await anext(self._lines, None)


class Hub(Protocol):
    """What a conversation needs of the connection to the hub."""

    async def request(self, method: str, params: Json) -> Json: ...


class Repl:
    """One conversation.

    Args:
        hub: Answers the commands.
        run_turn: Runs a turn.
        lines: What the person types.
        console: Where replies go.
        say: Takes remarks and errors, a line each.
        session_id: The session it begins in.
    """

    def __init__(
        self,
        hub: Hub,
        run_turn: RunTurn,
        lines: Lines,
        console: Console,
        say: Callable[[str], None],
        session_id: str,
    ) -> None:
        self._hub = hub
        self._run_turn = run_turn
        self._lines = lines
        self._console = console
        self._say = say
        self._session_id = session_id
        self._last: Json = {}

    async def run(self) -> None:
        """Talk until the person is done."""
        self._console.print("[dim]Type a message, /help, or Ctrl+D to leave.[/]")
        while (line := await self._lines.ask(f"{self._session_id}> ")) is not None:
            line = line.strip()
            if line in ("/quit", "/exit"):
                return
            try:
                if line.startswith("/"):
                    await self._command(line)
                elif line:
                    await self._turn(line)
            except (HubError, RpcError) as error:
                # What failed must not end the conversation: the next line may work.
                self._say(f"hub: {error}")

    async def _turn(self, message: str) -> None:
        shown = Shown(self._console, self._say)
        try:
            result = await interruptible(self._run_turn(self._session_id, message, shown.event))
        finally:
            shown.end()
        if result is None:
            self._say("stopped")
        else:
            self._last = result
            for remark in views.remarks(result):
                self._say(f"hub: {remark}")

    async def _command(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        rest, console = rest.strip(), self._console
        match word:
            case "/help":
                console.print(HELP, markup=False, end="")
            case "/session":
                self._session_id = rest or self._session_id
                console.print(f"[dim]session {plain(self._session_id)}[/]")
            case "/tools" if rest:
                tool_views.tools_found(console, await self._hub.request("hub/tools.search", {"query": rest}))
            case "/tools":
                tool_views.tools(console, await self._hub.request("hub/tools.list", {}))
            case "/recall":
                if not rest:
                    raise InvalidArguments("/recall takes words to look for")
                memory_views.recall(console, await self._hub.request("hub/memory.recall", {"query": rest}))
            case "/feedback":
                await self._rate(rest)
                console.print("[dim]noted[/]")
            case "/model":
                await self._model()
            case _:
                console.print(f"[dim]{plain(word)} is no command; /help lists them[/]")

    async def _model(self) -> None:
        configured = (await self._hub.request("hub/status", {})).get("model")
        self._console.print(f"[dim]configured: {plain(configured or 'none; the first that has a key')}[/]")
        if answered := self._last.get("model"):
            self._console.print(f"[dim]last reply: {plain(answered)}[/]")

    async def _rate(self, words: str) -> None:
        try:
            reward = float(words)
        except ValueError:
            raise InvalidArguments(
                "/feedback takes a number from 0 (it was wrong) to 1 (it was right)"
            ) from None
        if not self._last.get("run_id"):
            raise InvalidArguments("there is no reply to rate yet")
        await self._hub.request("hub/memory.feedback", {"about": self._last["run_id"], "reward": reward})


class Shown:
    """A turn as it is shown: the text as it comes, each step on a line of its own.

    Args:
        console: Where the text goes.
        say: Takes a step.
    """

    def __init__(self, console: Console, say: Callable[[str], None]) -> None:
        self._out = console.file
        self._say = say
        self._said = False
        self._mid_line = False

    def event(self, event: Json) -> None:
        """Show one event."""
        match event.get("type"):
            case "model.asked":
                self._said = False
            case "model.delta":
                self._write(str(event["text"]))
            case "reply" if not self._said:
                self._write(str(event["output"]))
            case _:
                line = views.event_line(event)
                if line is not None:
                    self.end()
                    self._say(line)

    def end(self) -> None:
        """Leave the line that the text stands in."""
        if self._mid_line:
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self._said = True
            self._mid_line = not text.endswith("\n")
            self._out.write(text)
            self._out.flush()


async def interruptible(turn: Awaitable[Json]) -> Json | None:
    """Wait for a turn; Ctrl+C stops the turn, not the program, and None says so."""
    task = asyncio.ensure_future(turn)
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl+C ends the program
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
        return None
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)


def _prepare_history(file: Path) -> None:
    """Make the history readable by its owner alone, and keep it within its bound."""
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    size = file.stat().st_size
    if size > HISTORY_BYTES_MAX:
        kept = file.read_bytes()[size // 2 :]
        # An entry begins with an empty line and a comment.
        _, mark, rest = kept.partition(b"\n# ")
        file.write_bytes(mark + rest)
