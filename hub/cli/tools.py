"""`hub tools`: list, search and call the tools of every server."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from hub.calls import Json
from hub.cli import tool_arguments
from hub.cli.invocation import Invocation, command, fail
from hub.cli.views import tools as views
from hub.errors import UnknownName

CALL_DEADLINE_S = 3600.0
"""The command waits as long as the hub lets a call run by default."""


def add_to(root: typer.Typer) -> None:
    """Add the group to the tree of commands."""
    group = typer.Typer(no_args_is_help=True, help="List, search and call the tools of every server.")
    root.add_typer(group, name="tools", rich_help_panel="Use the hub")
    command(group, "list")(list_tools)
    command(group, "search")(search)
    command(group, "show")(show)
    command(group, "call")(call)


async def list_tools(
    invocation: Invocation,
    server: Annotated[str | None, typer.Option("--server", "-s", help="Only this server's tools.")] = None,
) -> None:
    """List every tool that a client sees."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/tools.list", {"server": server})
    if server is not None and not answer["tools"]:
        raise UnknownName(f"server {server!r} has no tools here; see: hub servers list")
    invocation.show(answer, views.tools)


async def search(
    invocation: Invocation,
    query: Annotated[str, typer.Argument(help="What the tool should do, in words.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="At most so many.")] = 8,
) -> None:
    """Find tools by what they do."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/tools.search", {"query": query, "limit": limit})
    invocation.show(answer, views.tools_found)


async def show(
    invocation: Invocation,
    name: Annotated[str, typer.Argument(help="The tool's name.")],
) -> None:
    """Show one tool: what it does and what it takes."""
    async with invocation.hub() as hub:
        tool = await _find(hub, name)
    invocation.show(tool, views.tool)


async def call(
    invocation: Invocation,
    name: Annotated[str, typer.Argument(help="The tool's name, for example [cyan]fs.read[/].")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Its arguments. [cyan]key:=JSON[/] for JSON, [cyan]key=@FILE[/] for a file's text, "
            "[cyan]-[/] for a JSON object on stdin.",
        ),
    ] = None,
    arguments_json: Annotated[
        str | None,
        typer.Option(
            "--arguments", "-a", metavar="JSON", help="A JSON object, [cyan]@FILE[/] or [cyan]-[/]."
        ),
    ] = None,
    deadline_s: Annotated[
        float | None, typer.Option("--deadline", min=0.1, help="Give up after so many seconds.")
    ] = None,
) -> None:
    """Call one tool through the hub, as any client would."""
    async with invocation.hub() as hub:
        tool = await _find(hub, name)
        arguments = _arguments(tool["name"], words or [], arguments_json, tool.get("inputSchema") or {})
        params: Json = {"name": tool["name"], "arguments": arguments, "deadline_s": deadline_s}

        def report(progress: Json) -> None:
            if not invocation.json:
                invocation.say(views.progress_line(progress))

        result = await hub.request(
            "hub/tools.call", params, deadline_s=deadline_s or CALL_DEADLINE_S, on_progress=report
        )
    if invocation.json:
        invocation.write(json.dumps(result, ensure_ascii=False, indent=2))
    elif result.get("isError"):
        invocation.say(f"{tool['name']} answered with an error: {views.text_of(result)}")
    else:
        views.tool_result(invocation.console, result)
    if result.get("isError"):
        fail()


async def _find(hub: Any, name: str) -> Json:
    """The definition of a tool, under any of the names that a call is accepted under."""
    answer: Json = await hub.request("hub/tools.show", {"name": name})
    return answer


def _arguments(tool: str, words: list[str], text: str | None, schema: Json) -> Json:
    if words == ["-"] or text == "-":
        return tool_arguments.from_json(sys.stdin.read(), "stdin")
    if text is not None:
        if text.startswith("@"):
            return tool_arguments.from_json(tool_arguments.read_file(text[1:], "--arguments"), text[1:])
        return tool_arguments.from_json(text, "--arguments")
    return tool_arguments.from_words(tool, words, schema)
