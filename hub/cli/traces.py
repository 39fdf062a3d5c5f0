"""`hub traces`: what the agent did, turn by turn, for people and for other programs."""

from __future__ import annotations

import re
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, TextIO

import typer

from hub.calls import Json
from hub.cli.connection import HubConnection
from hub.cli.invocation import Invocation, command
from hub.cli.views import traces as views
from hub.errors import InvalidArguments

SESSION = Annotated[
    str | None, typer.Option("--session", "-s", metavar="ID", help="Only this conversation's turns.")
]
STATUS = Annotated[
    list[str] | None,
    typer.Option(
        "--status", metavar="STATUS", help="Only turns that ended so: completed, failed, …; repeat for more."
    ),
]
SINCE = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help="Only turns since then: 30m, 2h, 3d, or 2026-01-31T12:00."),
]

_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def add_to(root: typer.Typer) -> None:
    """Add the group to the tree of commands."""
    group = typer.Typer(no_args_is_help=True, help="What the agent did, turn by turn.")
    root.add_typer(group, name="traces", rich_help_panel="Use the hub")
    command(group, "list")(list_turns)
    command(group, "show")(show)
    command(group, "search")(search)
    command(group, "export")(export)


async def list_turns(
    invocation: Invocation,
    session: SESSION = None,
    status: STATUS = None,
    since: SINCE = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
) -> None:
    """List recorded turns, the newest first."""
    params = {"session_id": session, "statuses": status, "since": _moment(since), "limit": limit}
    async with invocation.hub() as hub:
        answer = await hub.request("hub/traces.list", params)
    invocation.show(answer, views.turns)


async def show(
    invocation: Invocation,
    run_id: Annotated[
        str, typer.Argument(metavar="[RUN]", help="A run's id or its beginning; the newest when left out.")
    ] = "",
    full: Annotated[
        bool, typer.Option("--full", help="Nothing cut, and the system prompt and tools as well.")
    ] = False,
) -> None:
    """Show one turn: what was said, called, recalled, used, and how long it took."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/traces.show", {"run_id": run_id})
    invocation.show(answer, views.full_turn if full else views.turn)


async def search(
    invocation: Invocation,
    text: Annotated[str, typer.Argument(help="Words that must all occur in the turn.")],
    session: SESSION = None,
    status: STATUS = None,
    since: SINCE = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="At most so many.")] = 20,
) -> None:
    """Find turns by what was said in them, tools' arguments and results included; the newest first."""
    params = {
        "text": text,
        "session_id": session,
        "statuses": status,
        "since": _moment(since),
        "limit": limit,
    }
    async with invocation.hub() as hub:
        answer = await hub.request("hub/traces.search", params)
    invocation.show(answer, views.found)


async def export(
    invocation: Invocation,
    style: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="[cyan]jsonl[/] (all that is on record), [cyan]openai[/] (fine-tuning) or [cyan]art[/].",
        ),
    ] = "jsonl",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A file instead of stdout.")
    ] = None,
    session: SESSION = None,
    status: STATUS = None,
    reward_min: Annotated[
        float | None,
        typer.Option("--reward-min", min=0, max=1, help="Only turns that feedback gave at least this."),
    ] = None,
) -> None:
    """Write recorded turns as JSON Lines, the oldest first."""
    params = {"format": style, "session_id": session, "statuses": status, "reward_min": reward_min}
    async with invocation.hub() as hub:
        if output is None:
            await _write(hub, params, sys.stdout)
            return
        # Beside its place first: a file that is there is whole.
        draft = output.with_name(f".{output.name}.part")
        try:
            with draft.open("w", encoding="utf-8") as file:
                count = await _write(hub, params, file)
            draft.replace(output)
        except OSError as error:
            raise InvalidArguments(f"--output: {output} cannot be written: {error.strerror}") from None
        finally:
            draft.unlink(missing_ok=True)
    invocation.show({"turns": count, "file": str(output.absolute())}, views.exported)


async def _write(hub: HubConnection, params: Json, file: TextIO) -> int:
    """Ask for one part after another; returns how many turns were written."""
    count, after = 0, None
    while True:
        part = await hub.request("hub/traces.export", {**params, "after": after})
        file.writelines(f"{line}\n" for line in part["lines"])
        file.flush()
        count += len(part["lines"])
        after = part["after"]
        if after is None:
            return count


def _moment(text: str | None) -> float | None:
    """The moment that `--since` means, in seconds since the epoch.

    Raises:
        InvalidArguments: It means none.
    """
    if text is None:
        return None
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)", text.strip()):
        return time.time() - float(found[1]) * _UNITS_S[found[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise InvalidArguments(
            f"--since: {text!r} is no moment; say 30m, 2h, 3d, or a date like 2026-01-31"
        ) from None
