"""`hub install`, `uninstall` and `import`: the hub in other programs' configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hub.calls import Json
from hub.cli.invocation import Invocation, command

CLIENT = Annotated[
    str,
    typer.Argument(
        help="cursor, claude-desktop, claude-code, codex, gemini-cli or vscode.", metavar="CLIENT"
    ),
]
PROJECT = Annotated[
    Path | None,
    typer.Option("--project", metavar="DIR", help="In this project's file; else in yours for all projects."),
]
NAME = Annotated[str, typer.Option("--name", help="What the hub is called there.")]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and show what would change.")]


def add_to(root: typer.Typer) -> None:
    """Add the commands to the tree."""
    command(root, "install", rich_help_panel="Set up")(install)
    command(root, "uninstall", rich_help_panel="Set up")(uninstall)
    command(root, "import", rich_help_panel="Set up")(import_)


def install(
    invocation: Invocation,
    client: CLIENT,
    name: NAME = "hub",
    project: PROJECT = None,
    dry_run: DRY_RUN = False,
) -> None:
    """Put the hub into a client's configuration; the rest of its file stays as it is.

    A `--home` or `--mcp-config` given here goes into the entry.
    """
    from hub.clients import Person, client_named
    from hub.install import install as put_in

    change = put_in(
        client_named(client),
        Person(),
        name=name,
        options=_hub_options(invocation),
        project=project,
        dry_run=dry_run,
    )
    invocation.show(_answer(change, dry_run), _changed("in"))


def uninstall(
    invocation: Invocation,
    client: CLIENT,
    name: NAME = "hub",
    project: PROJECT = None,
    dry_run: DRY_RUN = False,
) -> None:
    """Take the hub out of a client's configuration."""
    from hub.clients import Person, client_named
    from hub.install import uninstall as take_out

    change = take_out(client_named(client), Person(), name=name, project=project, dry_run=dry_run)
    invocation.show(_answer(change, dry_run), _changed("out of"))


def import_(
    invocation: Invocation, client: CLIENT, project: PROJECT = None, dry_run: DRY_RUN = False
) -> None:
    """Copy a client's servers into the hub's file; the client keeps its own."""
    from hub.clients import Person, client_named
    from hub.install import import_servers

    place = invocation.approved_place()
    target = place.servers_file or place.home.servers_file
    done = import_servers(client_named(client), Person(), target, project=project, dry_run=dry_run)
    answer = {
        "from": str(done.file),
        "to": str(target),
        "added": list(done.added),
        "skipped": dict(done.skipped),
        "dry_run": dry_run,
    }
    invocation.show(answer, _imported)


def _hub_options(invocation: Invocation) -> list[str]:
    options: list[str] = []
    if invocation.home_option is not None:
        options += ["--home", str(invocation.home_option.expanduser().absolute())]
    if invocation.servers_file_option is not None:
        options += ["--mcp-config", str(invocation.servers_file_option.expanduser().absolute())]
    return options


def _answer(change: Any, dry_run: bool) -> Json:
    return {
        "client": change.client,
        "file": str(change.file),
        "changed": change.changed,
        "backup": str(change.backup) if change.backup else None,
        "diff": change.diff,
        "dry_run": dry_run,
    }


def _changed(direction: str) -> Any:
    def view(console: Any, answer: Json) -> None:
        from rich.markup import escape

        client, file = answer["client"], escape(answer["file"])
        if not answer["changed"]:
            console.print(f"Nothing to change for {client}: {file}")
            return
        if answer["dry_run"]:
            console.print(f"This would change in {file}:")
            console.print(escape(answer["diff"]))
            return
        console.print(f"The hub is {direction} {file}. Restart {client} to see it.")
        if answer["backup"]:
            console.print(f"The file as it was: {escape(answer['backup'])}", style="dim")

    return view


def _imported(console: Any, answer: Json) -> None:
    from rich.markup import escape

    would = "Would take" if answer["dry_run"] else "Took"
    names = ", ".join(map(escape, answer["added"])) or "nothing"
    console.print(f"{would} over from {escape(answer['from'])} into {escape(answer['to'])}: {names}")
    for name, why in answer["skipped"].items():
        console.print(f"Left out {escape(name)}: {escape(why)}", style="dim")
