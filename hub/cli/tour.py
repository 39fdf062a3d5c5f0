"""`hub demo`: the tour (see `hub.demo`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hub.cli.invocation import Invocation, command


def add_to(root: typer.Typer) -> None:
    """Add the command to the tree."""
    command(root, "demo", rich_help_panel="Start here")(demo)


async def demo(
    invocation: Invocation,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Use this folder and leave it in place.")
    ] = None,
) -> None:
    """See it work: a hub, two servers, a skill, the memory and the agent, offline."""
    from hub.demo import tour

    report = await tour.run(None if invocation.json else invocation.console, keep)
    if invocation.json:
        invocation.show(report, lambda console, answer: None)
