"""`hub sessions`: the agent's conversations."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli.invocation import Invocation, command
from hub.cli.views import turns as views

SESSION = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]


def add_to(root: typer.Typer) -> None:
    """Add the group to the tree of commands."""
    group = typer.Typer(no_args_is_help=True, help="The agent's conversations.")
    root.add_typer(group, name="sessions", rich_help_panel="Use the hub")
    command(group, "list")(list_sessions)
    command(group, "show")(show)
    command(group, "delete")(delete)


async def list_sessions(
    invocation: Invocation,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
) -> None:
    """List conversations, the latest first."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/sessions.list", {"limit": limit})
    invocation.show(answer, views.sessions)


async def show(
    invocation: Invocation,
    session_id: SESSION,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1000, help="The latest so many turns.")
    ] = 20,
) -> None:
    """Show a conversation's turns."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/sessions.show", {"session_id": session_id, "limit": limit})
    invocation.show(answer, views.session)


async def delete(invocation: Invocation, session_id: SESSION) -> None:
    """Delete a conversation and its turns."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/sessions.delete", {"session_id": session_id})
    invocation.show(answer, views.session_deleted)
