"""`hub run`, `hub stdio`, `hub repl`: turns of the hub's agent, from a terminal or a pipe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.calls import Json
from hub.cli import exits, keyboard, tool_arguments
from hub.cli.invocation import Invocation, command
from hub.cli.views import turns as views
from hub.errors import HubError, InvalidArguments, ModelNotConfigured, RpcError

if TYPE_CHECKING:
    from hub.cli.connection import HubConnection, Report

TURN_DEADLINE_S = 86_400.0
"""The hub ends a turn at its own deadline; this one is only the longest it may be set to."""

SESSION = Annotated[
    str, typer.Option("--session-id", "-s", metavar="ID", help="The conversation this belongs to.")
]

BOUNDS: dict[str, Any] = {"rich_help_panel": "Bounds of this turn, tighter than those of hub.toml"}


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
    from hub.cli.repl import Pipe, Repl, Terminal

    async with invocation.hub() as hub:
        # Not before the hub has made the home.
        at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        lines = Terminal(invocation.place.home.repl_history_file) if at_terminal else Pipe()

        def run_turn(session: str, message: str, report: Report) -> Awaitable[Json]:
            return _turn(hub, session, message, report)

        await Repl(hub, run_turn, lines, invocation.console, invocation.say, session_id).run()


async def _turn(
    hub: HubConnection, session_id: str, message: str, report: Report, bounds: Json | None = None
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
