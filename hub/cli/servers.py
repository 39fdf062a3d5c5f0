"""`hub servers`: what stands behind the hub, and the file that says so.

The file is the only place where servers are named; these commands change the one
member they are about and leave the rest of the text alone. A running hub takes a
change up by itself.
"""

from __future__ import annotations

import re
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.calls import Json
from hub.cli.invocation import Invocation, command, fail
from hub.cli.views import servers as views
from hub.cli.views.style import mark, plain
from hub.errors import InvalidArguments

LOGIN_DEADLINE_S = 3700.0
"""The command waits as long as a hub can be set to wait for a person."""

NAME = Annotated[str, typer.Argument(help="The server's name in the file.")]


def add_to(root: typer.Typer) -> None:
    """Add the group to the tree of commands."""
    group = typer.Typer(no_args_is_help=True, help="The servers behind the hub.")
    root.add_typer(group, name="servers", rich_help_panel="Set up")
    command(group, "list")(list_servers)
    command(group, "add", context_settings={"allow_interspersed_args": True})(add)
    command(group, "remove")(remove)
    command(group, "enable")(enable)
    command(group, "disable")(disable)
    command(group, "test")(test)
    command(group, "login")(login)
    command(group, "logout")(logout)
    command(group, "approve")(approve)


async def list_servers(invocation: Invocation) -> None:
    """List the servers, how they are, and what is wrong with them."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/servers.list", {})
    invocation.show(answer, views.servers)


def add(
    invocation: Invocation,
    name: NAME,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="URL | COMMAND ARGS...", help="A URL, or after [cyan]--[/] a program and its arguments."
        ),
    ],
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable for the program."),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME=VALUE", help="A header for every request."),
    ] = None,
    transport: Annotated[
        str | None, typer.Option("--type", "-t", help="[cyan]http[/] or [cyan]sse[/]; else the URL tells.")
    ] = None,
    description: Annotated[str | None, typer.Option("--description", help="What it is for.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a server of this name.")] = False,
) -> None:
    """Add a server to the file.

    hub servers add time -- uvx mcp-server-time

    hub servers add search https://example.com/mcp -H 'Authorization=Bearer ${SEARCH_KEY}'
    """
    entry: Json = {}
    if re.match(r"https?://", what[0]):
        if len(what) > 1:
            raise InvalidArguments(f"a URL stands alone; what is {what[1]!r} for?")
        if env:
            raise InvalidArguments("--env is for programs; a URL takes --header")
        entry = {**({"type": transport} if transport else {}), "url": what[0]}
        if header:
            entry["headers"] = _pairs(header, "--header")
    else:
        if header or transport:
            raise InvalidArguments("--header and --type are for URLs; a program takes --env")
        entry = {"command": what[0], "args": what[1:]}
        if env:
            entry["env"] = _pairs(env, "--env")
    if description:
        entry["description"] = description
    from hub.mcp_edits import add_server

    file = _file(invocation)
    add_server(file, name, entry, replace=replace)
    invocation.show({"file": str(file), "server": name, "added": True}, _added)


def remove(invocation: Invocation, name: NAME) -> None:
    """Take a server out of the file."""
    from hub.mcp_edits import remove_server

    file = _file(invocation)
    remove_server(file, name)
    invocation.show(
        {"file": str(file), "server": name, "removed": True}, _said("Removed {server} from {file}.")
    )


def enable(invocation: Invocation, name: NAME) -> None:
    """Use a server that was switched off."""
    _switch(invocation, name, disabled=False)


def disable(invocation: Invocation, name: NAME) -> None:
    """Leave a server alone, but keep its entry."""
    _switch(invocation, name, disabled=True)


def _switch(invocation: Invocation, name: str, *, disabled: bool) -> None:
    from hub.mcp_edits import set_disabled

    file = _file(invocation)
    set_disabled(file, name, disabled)
    sentence = "{server} is off." if disabled else "{server} is on."
    invocation.show({"file": str(file), "server": name, "disabled": disabled}, _said(sentence))


async def test(invocation: Invocation, name: NAME) -> None:
    """Connect to a server now and list its tools."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/servers.test", {"name": name}, deadline_s=180)
    invocation.show(answer, views.server_test)
    if not answer["ok"]:
        fail()


async def login(
    invocation: Invocation,
    name: NAME,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print where to go; for another browser or account.")
    ] = False,
) -> None:
    """Log in at a server that asks for it, in the browser."""

    def send(event: Json) -> None:
        url = str(event["url"])
        invocation.say(f"hub: log in at {name} here, the hub waits for the browser to come back:\n\n{url}\n")
        if not no_browser:
            # Some browsers stay in the foreground of whoever opened them.
            threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()

    async with invocation.hub() as hub:
        answer = await hub.request(
            "hub/servers.login", {"name": name}, deadline_s=LOGIN_DEADLINE_S, on_event=send
        )
    invocation.show(answer, views.login)
    if not answer["ok"]:
        fail()


async def logout(invocation: Invocation, name: NAME) -> None:
    """Forget the login at a server."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/servers.logout", {"name": name})
    sentence = "Logged out of {name}." if answer["login"] else "There was no login at {name}."
    invocation.show(answer, _said(sentence))


async def approve(
    invocation: Invocation,
    name: NAME,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve without asking.")] = False,
) -> None:
    """Show what a server says of itself that it did not say before, and approve it."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/servers.changes", {"name": name})
        if not invocation.json:
            views.changes(invocation.console, answer)
        asks = not yes and not invocation.json and sys.stdin.isatty() and sys.stderr.isatty()
        agreed = yes or (asks and typer.confirm("Trust this from now on?", default=False, err=True))
        if answer["changes"] and agreed:
            approved = await hub.request("hub/servers.approve", {"name": name, "digest": answer["digest"]})
            answer |= approved
    if invocation.json:
        invocation.show(answer, views.changes)
    elif "approved" in answer:
        invocation.console.print(f"{mark('ok')} Approved.")
    elif answer["changes"]:
        invocation.say("hub: nothing was approved" + ("" if asks else "; --yes approves without asking"))
        fail()


def _file(invocation: Invocation) -> Path:
    found = invocation.approved_place()
    return found.servers_file or found.home.servers_file


def _pairs(words: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or not key.strip():
            raise InvalidArguments(f"{option} takes NAME=VALUE, not {word!r}")
        pairs[key.strip()] = value
    return pairs


def _added(console: Any, answer: Json) -> None:
    name, file = plain(answer["server"]), plain(answer["file"])
    console.print(
        f"Added [cyan]{name}[/] to {file}; a hub that runs takes it up in a second.", soft_wrap=True
    )
    console.print(f"[dim]Try it: hub servers test {name}[/]")


def _said(sentence: str) -> Any:
    def view(console: Any, answer: Json) -> None:
        console.print(plain(sentence.format(**answer)), soft_wrap=True)

    return view
