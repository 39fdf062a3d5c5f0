"""`hub servers`: what stands behind the hub, and the file that says so.

The file is the only place where servers are named; these commands change the one
member they are about and leave the rest of the text alone. A running hub takes a
change up by itself.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.calls import Json
from hub.cli import views
from hub.cli.invocation import Invocation, command, fail
from hub.errors import ConfigError, InvalidArguments, UnknownName

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
    file = _file(invocation)
    if name in file.servers and not replace:
        raise InvalidArguments(f"{file.path} has a server {name!r} already; --replace replaces it")
    file.set(name, entry)
    invocation.show({"file": str(file.path), "server": name, "entry": entry}, _added)


def remove(invocation: Invocation, name: NAME) -> None:
    """Take a server out of the file."""
    file = _file(invocation)
    file.check(name)
    file.remove(name)
    invocation.show(
        {"file": str(file.path), "server": name, "removed": True}, _said("Removed {server} from {file}.")
    )


def enable(invocation: Invocation, name: NAME) -> None:
    """Use a server that was switched off."""
    file = _file(invocation)
    file.check(name)
    if file.servers[name].get("disabled"):
        file.remove(name, "disabled")
    invocation.show({"file": str(file.path), "server": name, "disabled": False}, _said("{server} is on."))


def disable(invocation: Invocation, name: NAME) -> None:
    """Leave a server alone, but keep its entry."""
    file = _file(invocation)
    file.check(name)
    file.set(name, True, "disabled")
    invocation.show({"file": str(file.path), "server": name, "disabled": True}, _said("{server} is off."))


async def test(invocation: Invocation, name: NAME) -> None:
    """Connect to a server now and list its tools."""
    async with invocation.hub() as hub:
        answer = await hub.request("hub/servers.test", {"name": name}, deadline_s=180)
    invocation.show(answer, views.server_test)
    if not answer["ok"]:
        fail()


class _File:
    """The servers file, changed one member at a time.

    Raises:
        ConfigError: It cannot be read or is not valid.
    """

    def __init__(self, path: Path) -> None:
        from hub.json_text import parse_json

        self.path = path
        try:
            self._text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            self._text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
        try:
            document = parse_json(self._text) if self._text.strip() else {}
        except ValueError as error:
            raise ConfigError(f"{path} is not valid JSON: {error}; mend it first") from None
        if not isinstance(document, dict):
            raise ConfigError(f'{path}: expected an object, {{"mcpServers": {{…}}}}')
        self._key = "servers" if "servers" in document and "mcpServers" not in document else "mcpServers"
        table = document.get(self._key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {self._key}: expected an object of servers by name")
        self.servers: dict[str, Json] = {
            key: value if isinstance(value, dict) else {} for key, value in table.items()
        }

    def check(self, name: str) -> None:
        """Refuse a name that is not there."""
        if name not in self.servers:
            known = ", ".join(self.servers) or "none"
            raise UnknownName(f"{self.path} has no server {name!r}; it has: {known}")

    def set(self, name: str, value: Any, *path: str) -> None:
        from hub.json_text import set_member

        self._write(set_member(self._text, (self._key, name, *path), value))

    def remove(self, name: str, *path: str) -> None:
        from hub.json_text import remove_member

        self._write(remove_member(self._text, (self._key, name, *path)))

    def _write(self, text: str) -> None:
        from hub.json_text import write_atomically

        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self.path, text)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from None
        self._text = text


def _file(invocation: Invocation) -> _File:
    found = invocation.approved_place()
    return _File(found.servers_file or found.home.servers_file)


def _pairs(words: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or not key.strip():
            raise InvalidArguments(f"{option} takes NAME=VALUE, not {word!r}")
        pairs[key.strip()] = value
    return pairs


def _added(console: Any, answer: Json) -> None:
    console.print(f"Added [cyan]{views.plain(answer['server'])}[/] to {views.plain(answer['file'])}.")
    console.print(f"[dim]Try it: hub servers test {views.plain(answer['server'])}[/]")


def _said(sentence: str) -> Any:
    def view(console: Any, answer: Json) -> None:
        console.print(views.plain(sentence.format(**answer)))

    return view
