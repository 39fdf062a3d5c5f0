"""Skills: which there are, and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.calls import Json
from hub.cli.views.style import first_line, mark, plain, table

if TYPE_CHECKING:
    from rich.console import Console


def skills(console: Console, answer: Json) -> None:
    rows = table(("skill", {"style": "cyan", "no_wrap": True}), "what it is for", ("from", {"no_wrap": True}))
    for skill in answer["skills"]:
        rows.add_row(
            plain(skill["name"]),
            plain(first_line(skill["description"])),
            "the hub" if skill["shipped"] else "you",
        )
    console.print(rows)
    _problems(console, answer)


def _problems(console: Console, answer: Json) -> None:
    for problem in answer["problems"]:
        console.print(f"{mark(problem['severity'])} {plain(problem['message'])}", soft_wrap=True)


def skill_created(console: Console, answer: Json) -> None:
    console.print(f"Wrote {plain(answer['folder'])}", soft_wrap=True)
    console.print("[dim]Change SKILL.md and tools.py, then: hub skills check[/]")


def skills_checked(console: Console, answer: Json) -> None:
    _problems(console, answer)
    if not answer["problems"]:
        count = len(answer["checked"])
        console.print(f"{mark('ok')} {count} skill{'' if count == 1 else 's'} checked, nothing wrong")
