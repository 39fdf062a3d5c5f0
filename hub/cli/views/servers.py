"""Servers: how each is, and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.calls import Json
from hub.cli.views.style import duration, mark, plain, table

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
            plain(server["problem"] or _target(server)),
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


def _calls(server: Json) -> str:
    failures = server["failures"]
    return f"{server['calls']:,}{f', {failures:,} failed' if failures else ''}"


def _target(server: Json) -> str:
    """What is started or reached; of a program only its name."""
    target = str(server["target"])
    return target if "://" in target else target.replace("\\", "/").rsplit("/", 1)[-1]


_SERVER_MARKS = {"ready": "ok", "idle": "ok", "down": "error", "disabled": "off", "stopped": "off"}
