"""How the tour looks: a numbered step, why it matters, what came back, how long it took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS_MAX = 96
INDENT = 4


class Page:
    """Where the tour is read.

    Args:
        console: Prints it; None keeps it silent, for `--json`.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console
        if console is not None and console.width > COLUMNS_MAX:
            console.width = COLUMNS_MAX

    def title(self, text: str, below: str) -> None:
        """The head of the page."""
        self._print(f"\n[bold cyan]{text}[/]")
        self._print(f"[dim]{below}[/]")

    def step(self, number: int, title: str, why: str) -> None:
        """Begin a step."""
        self._print(f"\n[bold cyan]{number:>2}[/]  [bold]{title}[/]")
        self._print(why, style="dim", indent=INDENT)

    def line(self, text: str, style: str = "") -> None:
        """One thing that came back; never read as markup."""
        from rich.text import Text

        self._print(Text(text, style=style), indent=INDENT)

    def quote(self, text: str) -> None:
        """What somebody said."""
        from rich.text import Text

        self._print(Text(f"“{text}”", style="italic"), indent=INDENT)

    def table(self, headings: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> None:
        """A table; each heading comes with its column's style, `>` in front to align right."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", padding=(0, 1)
        )
        for heading, style in headings:
            right = style.startswith(">")
            table.add_column(
                heading, style=style.lstrip(">"), justify="right" if right else "left", overflow="fold"
            )
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._print(table, indent=INDENT)

    def took(self, seconds: float) -> None:
        """End a step."""
        self._print(f"[green]✓[/] [dim]{length(seconds)}[/]", indent=INDENT)

    def failed(self, what: str) -> None:
        """End a step that did not work."""
        from rich.text import Text

        self._print(Text(f"✗ {what}", style="red"), indent=INDENT)

    def closing(self, lines: Iterable[tuple[str, str]]) -> None:
        """What to try next: commands, and what they are for."""
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 3))
        for command, meaning in lines:
            grid.add_row(Text(command, style="cyan"), Text(meaning, style="dim"))
        self._print(grid, indent=INDENT)
        self._print("")

    def _print(self, what: object, style: str = "", indent: int = 0) -> None:
        if self._console is None:
            return
        from rich.padding import Padding

        shown = Padding(what, (0, 0, 0, indent), expand=False) if indent else what  # type: ignore[arg-type]
        self._console.print(shown, style=style)


def length(seconds: float) -> str:
    """A length of time with two digits that matter: `2.1 s`, `34 ms`, `1.9 ms`."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    milliseconds = seconds * 1000
    return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
