"""Servers: how each is, and what is wrong."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from hub.calls import Json
from hub.cli.views.style import count_line, duration, mark, plain, table

if TYPE_CHECKING:
    from rich.console import Console


def servers(console: Console, answer: Json) -> None:
    rows = table(
        "",
        ("server", {"style": "cyan", "no_wrap": True}),
        ("state", {"no_wrap": True}),
        ("tools", {"justify": "right"}),
        ("calls", {"justify": "right"}),
        "what it is, or what is wrong",
    )
    for server in answer["servers"]:
        rows.add_row(
            mark(_SERVER_MARKS.get(server["state"], "warning")),
            plain(server["name"]),
            plain(server["state"]),
            str(server["tools"]),
            _calls(server),
            plain(server["problem"] or _target(server)) + _changed(server),
        )
    console.print(rows)
    for problem in answer["problems"]:
        console.print(f"{mark('warning')} {plain(problem)}", soft_wrap=True)


def server_test(console: Console, answer: Json) -> None:
    name = plain(answer["name"])
    if answer["ok"]:
        took = f" in {duration(answer['duration_s'])}" if "duration_s" in answer else ""
        console.print(f"{mark('ok')} {name} answers{took}, {answer['tools']} tools")
    else:
        console.print(f"{mark('error')} {name}: {plain(answer.get('problem'))}", soft_wrap=True)


def login(console: Console, answer: Json) -> None:
    name = plain(answer["name"])
    if answer["ok"] and not answer["login"]:
        console.print(f"{mark('ok')} {name} asks for no login, {answer['tools']} tools")
    elif answer["ok"]:
        console.print(f"{mark('ok')} Logged in at {name}, {answer['tools']} tools")
    else:
        words = "Logged in, but" if answer["login"] else ""
        console.print(f"{mark('error')} {words} {name}: {plain(answer.get('problem'))}", soft_wrap=True)


def changes(console: Console, answer: Json) -> None:
    """What a server's definitions said and say, as differences that people read."""
    name = plain(answer["name"])
    if not answer["changes"]:
        console.print(f"{mark('ok')} Nothing that {name} says of itself has changed.")
        return
    for change in answer["changes"]:
        what = " ".join(part for part in (change["kind"], visible(change["name"])) if part)
        console.print(f"[bold cyan]{name}[/] [bold]{plain(what)}[/]")
        for line in difference(change["before"], change["after"]):
            colour = {"-": "red", "+": "green"}.get(line[0], "dim")
            console.print(f"  [{colour}]{plain(line)}[/]", soft_wrap=True)
        console.print()
    held = "held back until approved" if answer["held"] else "marked, not held back"
    count_line(console, len(answer["changes"]), "change", held)


def difference(before: Any, after: Any) -> list[str]:
    """The lines of two definitions that differ, and those around them; each begins with a sign."""
    lines = difflib.unified_diff(_lines(before), _lines(after), n=2, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++"))]


def _lines(definition: Any) -> list[str]:
    """A definition as lines: texts as they stand, everything else as JSON in a stable order."""
    if isinstance(definition, str):
        return [visible(line) for line in definition.split("\n")]
    lines = []
    for member, value in sorted(definition.items()):
        shown = (
            value
            if isinstance(value, str)
            else json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
        )
        first, *rest = shown.split("\n")
        lines += [visible(f"{member}: {first}"), *(visible(f"  {line}") for line in rest)]
    return lines


def visible(text: str) -> str:
    """The text with every character that cannot be seen written out: models read those too."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _changed(server: Json) -> str:
    count = server.get("changed", 0)
    if not count:
        return ""
    held = ", held back" if server.get("held") else ""
    return f" [yellow]({count} changed{held}: hub servers approve {plain(server['name'])})[/]"


def _calls(server: Json) -> str:
    failures = server["failures"]
    return f"{server['calls']:,}{f', {failures:,} failed' if failures else ''}"


def _target(server: Json) -> str:
    """What is started or reached; of a program only its name."""
    target = str(server["target"])
    return target if "://" in target else target.replace("\\", "/").rsplit("/", 1)[-1]


_SERVER_MARKS = {
    "ready": "ok",
    "idle": "ok",
    "down": "error",
    "needs_login": "error",
    "disabled": "off",
    "stopped": "off",
}
