"""`hub run`, `hub stdio`, `hub repl`: turns of the hub's agent, from a terminal or a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.calls import Json
from hub.cli import exits, keyboard, tool_arguments
from hub.cli.invocation import Invocation, command
from hub.cli.views import memory as memory_views
from hub.cli.views import tools as tool_views
from hub.cli.views import turns as views
from hub.errors import HubError, InvalidArguments, ModelNotConfigured, RpcError

if TYPE_CHECKING:
    from hub.cli.connection import HubConnection

TURN_DEADLINE_S = 86_400.0
"""The hub ends a turn at its own deadline; this one is only the longest it may be set to."""

SESSION = Annotated[
    str, typer.Option("--session-id", "-s", metavar="ID", help="The conversation this belongs to.")
]

BOUNDS: dict[str, Any] = {"rich_help_panel": "Bounds of this turn, tighter than those of hub.toml"}

REPL_HELP = """\
/tools [WORDS]     the tools, or those that match
/recall WORDS      what the memory knows
/feedback 0..1     rate the last reply; 1 is good
/session [ID]      show or change the session
/quit              leave (also Ctrl+D)
"""


def add_to(root: typer.Typer) -> None:
    """Add the commands to the tree."""
    panel = "Use the hub"
    command(root, "run", rich_help_panel=panel)(run)
    command(root, "repl", rich_help_panel=panel)(repl)
    command(root, "stdio", rich_help_panel=panel)(stdio)


async def run(
    invocation: Invocation,
    message: Annotated[str, typer.Argument(help="What the agent should do; [cyan]-[/] reads stdin.")],
    session_id: SESSION = "default",
    events: Annotated[
        bool, typer.Option("--events", help="Print each step as a line of JSON, the result last.")
    ] = False,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", min=1, metavar="N", help="At most so many rounds of tools.", **BOUNDS),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="At most so long.", **BOUNDS)
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=1, metavar="N", help="At most so many tokens.", **BOUNDS)
    ] = None,
    cost: Annotated[
        float | None, typer.Option("--cost", metavar="USD", help="At most so many US dollars.", **BOUNDS)
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema", metavar="JSON", help="A JSON Schema the answer must fit; [cyan]@FILE[/] for a file."
        ),
    ] = None,
) -> None:
    """Run one turn of the agent and print its reply.

    A reply that was given with what there was, because a bound was reached, ends with 0 and a remark.
    """
    text = sys.stdin.read() if message == "-" else message
    if not text.strip():
        raise InvalidArguments("the message is empty; say what the agent should do")
    limits = {"rounds_max": rounds, "deadline_s": seconds, "tokens_max": tokens, "cost_usd_max": cost}
    bounds: Json = {
        "limits": {name: limit for name, limit in limits.items() if limit is not None},
        "output_schema": None if schema is None else _schema(schema),
    }
    async with invocation.hub() as hub:

        def report(event: Json) -> None:
            if events:
                invocation.show_line(event)
            elif not invocation.json:
                line = views.event_line(event)
                if line is not None:
                    invocation.say(line)

        turn = await _turn(hub, session_id, text, report, bounds)
    if events:
        invocation.show_line({"type": "result", **turn})
    else:
        invocation.show(turn, views.turn)
    for remark in views.remarks(turn):
        invocation.say(f"hub: {remark}")


def _schema(text: str) -> Json:
    """The JSON Schema that `--schema` gives, or names the file of."""
    if text.startswith("@"):
        text = tool_arguments.read_file(text[1:], "--schema")
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise InvalidArguments(f"--schema: not valid JSON: {error}") from None
    if not isinstance(schema, dict):
        raise InvalidArguments('--schema takes a JSON object, like \'{"type": "object"}\', or @FILE')
    return schema


async def stdio(invocation: Invocation, session_id: SESSION = "default") -> None:
    """A line in, a turn, the reply out; ends at the end of input or Ctrl+C.

    With --json each reply is one line of JSON.
    """
    async with invocation.hub() as hub:
        async for line in keyboard.lines():
            if not line.strip():
                continue
            try:
                turn = await _turn(hub, session_id, line.strip(), _ignore)
            except (HubError, RpcError) as error:
                # A turn that failed must not end the conversation: the next line may work.
                if invocation.json:
                    invocation.show_line(exits.as_json(error))
                invocation.say(f"hub: {error}")
                continue
            if invocation.json:
                invocation.show_line(turn)
            else:
                invocation.write(turn.get("output", ""))


async def repl(invocation: Invocation, session_id: SESSION = "default") -> None:
    """Talk with the agent; /help says what else can be typed."""
    if invocation.json:
        raise InvalidArguments("`hub repl` is for people; use `hub stdio --json` from a program")
    console = invocation.console
    async with invocation.hub() as hub:
        console.print("[dim]Type a message, /help, or Ctrl+D to leave.[/]")
        last: Json = {}
        while (line := await keyboard.ask(f"{session_id}> ")) is not None:
            word, _, rest = line.strip().partition(" ")
            rest = rest.strip()
            try:
                match word:
                    case "":
                        continue
                    case "/quit" | "/exit":
                        return
                    case "/help":
                        console.print(REPL_HELP, markup=False, end="")
                    case "/session":
                        session_id = rest or session_id
                        console.print(f"[dim]session {session_id}[/]")
                    case "/tools" if rest:
                        tool_views.tools_found(
                            console, await hub.request("hub/tools.search", {"query": rest})
                        )
                    case "/tools":
                        tool_views.tools(console, await hub.request("hub/tools.list", {}))
                    case "/recall":
                        memory_views.recall(console, await hub.request("hub/memory.recall", {"query": rest}))
                    case "/feedback":
                        await _rate(hub, last, rest)
                        console.print("[dim]noted[/]")
                    case _ if word.startswith("/"):
                        console.print(f"[dim]{word} is no command; /help lists them[/]")
                    case _:
                        last = await _interruptible(
                            _turn(hub, session_id, line.strip(), _printer(invocation))
                        )
                        if last:
                            views.turn(console, last)
            except (HubError, RpcError) as error:
                invocation.say(f"hub: {error}")


def _printer(invocation: Invocation) -> Any:
    def report(event: Json) -> None:
        line = views.event_line(event)
        if line is not None:
            invocation.say(line)

    return report


async def _rate(hub: HubConnection, turn: Json, words: str) -> None:
    try:
        reward = float(words)
    except ValueError:
        raise InvalidArguments("/feedback takes a number from 0 (it was wrong) to 1 (it was right)") from None
    if not turn.get("run_id"):
        raise InvalidArguments("there is no reply to rate yet")
    await hub.request("hub/memory.feedback", {"about": turn["run_id"], "reward": reward})


async def _turn(
    hub: HubConnection, session_id: str, message: str, report: Any, bounds: Json | None = None
) -> Json:
    try:
        return await hub.request(
            "hub/run_turn",
            {"session_id": session_id, "message": message, **(bounds or {})},
            deadline_s=TURN_DEADLINE_S,
            on_event=report,
        )
    except RpcError as error:
        if exits.exit_code(error) != exits.CONFIG:
            raise
        raise ModelNotConfigured(str(error) + _keys_here()) from None


def _keys_here() -> str:
    """A hint for whoever has a provider's key in this shell, which a hub in the background never sees."""
    from hub.attach.command import vain_variables

    keys = [name for name in vain_variables(os.environ) if not name.startswith("HUB_")]
    return f". In this shell the hub does not see: {', '.join(keys)}" if keys else ""


def _ignore(event: Json) -> None:
    """Nobody watches."""


async def _interruptible(turn: Any) -> Json:
    """Wait for a turn; Ctrl+C stops the turn, not the program."""
    import signal

    task = asyncio.ensure_future(turn)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl+C ends the program
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        answer: Json = await task
        return answer
    except asyncio.CancelledError:
        if not task.cancelled():
            raise
        sys.stderr.write("\nstopped\n")
        return {}
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
