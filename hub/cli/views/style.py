"""The house style: how a table, a state, a moment and plain facts look.

Tables have no vertical lines and no fixed widths, so they stay readable at 80 columns,
and in a pipe each row is one line. Text that came from elsewhere is never read as markup.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red"), "off": ("–", "dim")}


def table(*columns: str | tuple[str, Mapping[str, Any]]) -> Table:
    """An empty table in the house style.

    Args:
        columns: Each a heading, or a heading with options of `rich.table.Table.add_column`.
    """
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1))
    for column in columns:
        heading, options = (column, {}) if isinstance(column, str) else column
        made.add_column(heading, **{"overflow": "fold", **options})
    return made


def mark(state: str) -> str:
    """A coloured sign for a state: ok, warning, error or off."""
    sign, colour = _MARKS.get(state, ("·", "dim"))
    return f"[{colour}]{sign}[/]"


def plain(text: Any) -> str:
    """Text from elsewhere, so that rich does not read it as markup."""
    from rich.markup import escape

    return escape("" if text is None else str(text))


def first_line(text: Any) -> str:
    """The first sentence or line of a description."""
    line = str(text or "").strip().split("\n", 1)[0]
    sentence, stop, _ = line.partition(". ")
    return sentence + stop.strip()


def ago(moment: Any, now: float | None = None) -> str:
    """How long ago a moment was, shortly: `now`, `5 min`, `3 h`, `2 days`."""
    if not isinstance(moment, int | float):
        return ""
    return f"{duration((time.time() if now is None else now) - moment)} ago"


def duration(seconds: float) -> str:
    """A length of time, shortly."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * length or (unit != "days" and seconds >= length):
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0) * 1000:.0f} ms"


def count_line(console: Console, count: int, noun: str, what: str = "") -> None:
    """How many there were, under a table."""
    console.print(f"[dim]{count} {noun}{'' if count == 1 else 's'} {what}[/]".replace(" [/]", "[/]"))


def facts(console: Console, answer: Any) -> None:
    """An object as two columns, nested objects as dotted keys."""
    from rich.table import Table

    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for key, value in _flat(answer):
        rows.add_row(plain(key.replace("_", " ")), plain(value))
    console.print(rows)


def _flat(value: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield prefix, ", ".join(str(item) for item in value) if value else "none"
    elif isinstance(value, float):
        yield prefix, f"{value:,.2f}"
    else:
        yield prefix, "none" if value is None else str(value)
