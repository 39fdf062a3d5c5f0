"""Results as a table on the terminal, and all kept results as `docs/benchmarks.md`.

python benchmarks/report.py            writes docs/benchmarks.md
python benchmarks/report.py --check    fails when docs/benchmarks.md is not what it would write
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from results import HERE, RESULTS, Results, Row, read

DOCUMENT = HERE.parent / "docs" / "benchmarks.md"

INTRODUCTION = """\
# Benchmarks

What the hub costs and how fast it is, as ratios measured in one run on one machine: absolute numbers change
with the machine, ratios hardly. Each number is a median over rounds in which all systems take their turn;
each ratio is the median of the rounds' own ratios. A row *holds* when its number is within its bound.

This page is generated: run the scripts in `benchmarks/` (its README says how), then `benchmarks/report.py`.
"""


def number(value: float, unit: str) -> str:
    """A value with as many digits as mean something."""
    if unit in ("", "calls/s") or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def bound(row: Row) -> str:
    """What must hold, in a few characters."""
    if row.limit is None:
        return ""
    sign = "≥" if row.at_least else "≤"
    unit = "×" if row.limits_ratio else f" {row.unit}"
    return f"{sign} {row.limit:g}{unit}".rstrip()


def verdict(row: Row) -> str:
    return {True: "holds", False: "**does not hold**", None: ""}[row.holds]


def cells(row: Row) -> list[str]:
    """One line of a table: what, bound, measured, ratio, verdict, the others."""
    others = [
        f"{name} {number(value, row.unit)}" for name, value in row.values.items() if name != row.subject
    ]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}×"
    measured = f"{number(row.values[row.subject], row.unit)} {row.unit}".rstrip()
    return [row.what, bound(row), measured, ratio, verdict(row), " · ".join(others)]


HEADINGS = ["what", "must hold", "hub", "over direct", "", "in the same run"]


def markdown(results: Results) -> str:
    """One section of the document."""
    lines = [
        f"## {results.benchmark.replace('_', ' ').capitalize()}",
        "",
        f"{results.measured_at}, commit {results.commit}, {results.machine}.",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|" + "---|" * len(HEADINGS),
        *("| " + " | ".join(cells(row)) + " |" for row in results.rows),
    ]
    notes = list(
        dict.fromkeys(f"{row.what.partition(',')[0]}: {row.note}." for row in results.rows if row.note)
    )
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def document() -> str:
    """The whole of `docs/benchmarks.md`."""
    kept = [read(path) for path in sorted(RESULTS.glob("*.json"))]
    kept.sort(key=lambda results: results.benchmark != "forwarding")
    return "\n".join([INTRODUCTION, *(markdown(results) for results in kept)])


def show(results: Results) -> None:
    """Print results as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{results.benchmark}: {results.machine}", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in results.rows:
        style = "red" if row.holds is False else None
        table.add_row(*(cell.replace("**", "") for cell in cells(row)), style=style)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--to", type=Path, default=DOCUMENT)
    options = parser.parse_args()
    text = document()
    if options.check:
        current = options.to.read_text(encoding="utf-8") if options.to.exists() else ""
        if current != text:
            print(f"{options.to} is not what benchmarks/report.py writes: run it", file=sys.stderr)
            return 1
        return 0
    options.to.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
