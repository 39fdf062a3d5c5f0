"""`hub install`, `uninstall`, `import`: the hub in the configurations of other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.calls import Json
from hub.cli.invocation import Invocation, command
from hub.cli.views import clients as views
from hub.place import HOME_VARIABLE

if TYPE_CHECKING:
    from hub.install import Change

CLIENT = Annotated[
    str | None,
    typer.Argument(metavar="[CLIENT]", help="The program; without one they are listed.", show_default=False),
]
NAME = Annotated[str, typer.Option("--name", "-n", help="What the hub is called there.")]
PROJECT = Annotated[
    Path | None,
    typer.Option("--project", metavar="DIR", help="Only for this project, not for every project of yours."),
]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and show what would change.")]


def add_to(root: typer.Typer) -> None:
    """Add the commands to the tree."""
    panel = "For clients"
    command(root, "install", rich_help_panel=panel)(install)
    command(root, "uninstall", rich_help_panel=panel)(uninstall)
    command(root, "import", rich_help_panel=panel)(import_servers)


def install(
    invocation: Invocation,
    client: CLIENT = None,
    name: NAME = "hub",
    project: PROJECT = None,
    dry_run: DRY_RUN = False,
) -> None:
    """Add the hub to a client's configuration; what else stands there stays as it is.

    With --home or --mcp-config the client gets that hub.
    """
    from hub import install as installing
    from hub.clients import Person, client_named

    if client is None:
        _list_clients(invocation)
        return
    change = installing.install(
        client_named(client),
        Person(),
        name=name,
        options=_options(invocation),
        project=project,
        dry_run=dry_run,
    )
    invocation.show(_change(change, dry_run), views.installed)


def uninstall(
    invocation: Invocation,
    client: CLIENT = None,
    name: NAME = "hub",
    project: PROJECT = None,
    dry_run: DRY_RUN = False,
) -> None:
    """Take the hub out of a client's configuration."""
    from hub import install as installing
    from hub.clients import Person, client_named

    if client is None:
        _list_clients(invocation)
        return
    change = installing.uninstall(client_named(client), Person(), name=name, project=project, dry_run=dry_run)
    invocation.show(_change(change, dry_run), views.uninstalled)


def import_servers(
    invocation: Invocation,
    client: CLIENT = None,
    project: PROJECT = None,
    dry_run: DRY_RUN = False,
) -> None:
    """Copy a client's servers into the hub's mcp.json; the client keeps its own."""
    from hub import install as installing
    from hub.clients import Person, client_named

    if client is None:
        _list_clients(invocation)
        return
    found = invocation.approved_place()
    servers_file = found.servers_file or found.home.servers_file
    done = installing.import_servers(
        client_named(client), Person(), servers_file, project=project, dry_run=dry_run
    )
    answer: Json = {
        "from": str(done.file),
        "file": str(servers_file),
        "added": list(done.added),
        "skipped": dict(done.skipped),
        "dry_run": dry_run,
    }
    invocation.show(answer, views.imported)


def _list_clients(invocation: Invocation) -> None:
    from hub.clients import CLIENTS, Person, present_clients

    person = Person()
    present = present_clients(person)
    answer: Json = {
        "clients": [
            {
                "name": client.name,
                "title": client.title,
                "file": str(client.where(person)),
                "present": client in present,
            }
            for client in CLIENTS
        ]
    }
    invocation.show(answer, views.clients)


def _options(invocation: Invocation) -> list[str]:
    """What `hub mcp` must be told to find this hub: a client starts it anywhere, with few variables."""
    options: list[str] = []
    home = invocation.home_option or os.environ.get(HOME_VARIABLE)
    for option, path in (("--home", home), ("--mcp-config", invocation.servers_file_option)):
        if path:
            options += [option, str(Path(path).expanduser().absolute())]
    return options


def _change(change: Change, dry_run: bool) -> Json:
    return {
        "client": change.client,
        "file": str(change.file),
        "changed": change.changed,
        "backup": None if change.backup is None else str(change.backup),
        "diff": change.diff,
        "dry_run": dry_run,
    }
