"""Clients: which there are, and what was changed in their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.calls import Json
from hub.cli.views.style import mark, plain, table

if TYPE_CHECKING:
    from rich.console import Console


def clients(console: Console, answer: Json) -> None:
    rows = table("", ("client", {"style": "cyan", "no_wrap": True}), "", ("its file", {"style": "dim"}))
    for client in answer["clients"]:
        sign = mark("ok" if client["present"] else "off")
        rows.add_row(sign, plain(client["name"]), plain(client["title"]), plain(client["file"]))
    console.print(rows)
    console.print("[dim]hub install CLIENT adds the hub, hub import CLIENT takes its servers over[/]")


def installed(console: Console, answer: Json) -> None:
    if not answer["changed"]:
        console.print(
            f"{plain(answer['client'])} has the hub already ({plain(answer['file'])}).", soft_wrap=True
        )
        return
    _diff(console, answer)
    if not answer["dry_run"]:
        console.print(f"{mark('ok')} {plain(answer['client'])} has the hub: restart it to see the tools.")


def uninstalled(console: Console, answer: Json) -> None:
    if not answer["changed"]:
        console.print(f"{plain(answer['client'])} has no hub ({plain(answer['file'])}).", soft_wrap=True)
        return
    _diff(console, answer)
    if not answer["dry_run"]:
        console.print(f"{mark('ok')} {plain(answer['client'])} has no hub any more.")


def imported(console: Console, answer: Json) -> None:
    word = "would be added to" if answer["dry_run"] else "added to"
    for name in answer["added"]:
        console.print(f"{mark('ok')} {plain(name)} {word} {plain(answer['file'])}", soft_wrap=True)
    for name, why in answer["skipped"].items():
        console.print(f"{mark('off')} {plain(name)} {plain(why)}", soft_wrap=True)
    if not answer["added"] and not answer["skipped"]:
        console.print(f"There are no servers in {plain(answer['from'])}.", soft_wrap=True)


def _diff(console: Console, answer: Json) -> None:
    console.print(f"[bold]{plain(answer['file'])}[/]", soft_wrap=True)
    for line in answer["diff"].splitlines():
        style = "green" if line.startswith("+") else "red" if line.startswith("-") else "dim"
        console.print(f"[{style}]{plain(line)}[/]", soft_wrap=True)
    if answer["backup"]:
        console.print(f"[dim]what was there before: {plain(answer['backup'])}[/]", soft_wrap=True)
    if answer["dry_run"]:
        console.print("[dim]nothing was changed[/]")
