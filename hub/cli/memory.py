"""`hub memory`: what the hub remembers, and how much remembering it has helped."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hub.calls import Json
from hub.cli import tool_arguments
from hub.cli.invocation import Invocation, command
from hub.cli.views import memory as views
from hub.errors import InvalidArguments

SCOPE = Annotated[
    str | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="[cyan]project[/] (this folder), [cyan]global[/], or KIND:KEY like [cyan]project:/srv/app[/].",
    ),
]


def add_to(root: typer.Typer) -> None:
    """Add the group to the tree of commands."""
    group = typer.Typer(no_args_is_help=True, help="Recall, store and rate what the hub remembers.")
    root.add_typer(group, name="memory", rich_help_panel="Use the hub")
    command(group, "recall")(recall)
    command(group, "store")(store)
    command(group, "feedback")(feedback)
    command(group, "forget")(forget)
    command(group, "list")(list_episodes)
    command(group, "stats")(stats)


async def recall(
    invocation: Invocation,
    query: Annotated[str, typer.Argument(help="What you want to know.")],
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, max=100, help="At most so many.")
    ] = None,
    scope: SCOPE = None,
) -> None:
    """Find what helps with something; the answer's recall id takes feedback."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/memory.recall", {"query": query, "k2": limit, "scope": scope})
    invocation.show(answer, views.recall)


async def store(
    invocation: Invocation,
    text: Annotated[
        str, typer.Argument(help="What happened; [cyan]-[/] for stdin, [cyan]@FILE[/] for a file.")
    ],
    intent: Annotated[
        str | None, typer.Option("--intent", "-i", help="When it is useful; else the text's beginning.")
    ] = None,
    outcome: Annotated[str | None, typer.Option("--outcome", "-o", help="How it ended.")] = None,
    scope: SCOPE = None,
) -> None:
    """Remember something. It is on disk when the command returns."""
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        text = tool_arguments.read_file(text[1:], "text")
    if not text.strip():
        raise InvalidArguments("there is nothing to store; the text is empty")
    params: Json = {"text": text, "intent": intent, "outcome": outcome, "scope": scope}
    async with invocation.hub() as hub:
        answer = await hub.request("hub/memory.store", params)
    invocation.show(answer, views.stored)


async def feedback(
    invocation: Invocation,
    about: Annotated[str, typer.Argument(help="A recall id, a run id or an episode id.")],
    reward: Annotated[float, typer.Argument(min=0, max=1, help="0: it was wrong. 1: it helped.")],
    used: Annotated[
        list[str] | None,
        typer.Option("--used", help="An episode of that recall that was used; repeat for more."),
    ] = None,
) -> None:
    """Say whether what was recalled helped; the ranking learns from it."""
    async with invocation.hub() as hub:
        answer = await hub.request(
            "hub/memory.feedback", {"about": about, "reward": reward, "used_ids": used}
        )
    invocation.show(answer, views.feedback)


async def forget(
    invocation: Invocation,
    episode_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EPISODE]...", help="Episode ids, as recall and list print them."),
    ] = None,
    scope: SCOPE = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete episodes for good: by id, or everything in a scope."""
    if bool(episode_ids) == (scope is not None):
        raise InvalidArguments("say which: episode ids, or --scope for everything in it")
    if scope is not None and not yes:
        if invocation.json or not sys.stdin.isatty():
            raise InvalidArguments("--scope deletes everything in it; say --yes")
        typer.confirm(f"Delete everything in the scope {scope} for good?", abort=True, err=True)
    async with invocation.hub() as hub:
        answer = await hub.request("hub/memory.forget", {"episode_ids": episode_ids or [], "scope": scope})
    invocation.show(answer, views.forgotten)


async def list_episodes(
    invocation: Invocation,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Leave out so many of the newest.")] = 0,
    scope: SCOPE = None,
) -> None:
    """List the newest episodes."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/memory.list", {"limit": limit, "offset": offset, "scope": scope})
    invocation.show(answer, views.episodes)


async def stats(invocation: Invocation) -> None:
    """How much is remembered, and what was learned."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/memory.stats", {})
    invocation.show(answer, views.memory_stats)
