"""What a benchmark found: rows of numbers, what they must hold, and the file they are kept in.

Every script here ends by writing one JSON file in `benchmarks/results/`, named for the script:
`{"benchmark", "measured_at", "commit", "machine", "settings", "rows": [...]}` with rows as `Row` has them.
`report.py` makes `docs/benchmarks.md` of all of them.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


@dataclass(frozen=True)
class Row:
    """One thing measured on several systems in one run.

    Attributes:
        what: What was measured, in words.
        unit: The unit of `values`.
        values: The median for each system.
        subject: The system that the row judges.
        over: The system that `ratio` divides by; None when there is no ratio.
        ratio: The median over the rounds of the subject's value over the other's in the same round.
        limit: What must hold.
        limits_ratio: Whether the limit is for `ratio` and not for the value.
        at_least: Whether the limit is a lower bound.
        note: What a reader must know to read the numbers.
    """

    what: str
    unit: str
    values: Mapping[str, float]
    subject: str
    over: str | None = None
    ratio: float | None = None
    limit: float | None = None
    limits_ratio: bool = False
    at_least: bool = False
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the limit holds; None when there is none, or nothing to hold against it."""
        measured = self.ratio if self.limits_ratio else self.values.get(self.subject)
        if self.limit is None or measured is None:
            return None
        return measured >= self.limit if self.at_least else measured <= self.limit


@dataclass(frozen=True)
class Results:
    """What one run of one benchmark found."""

    benchmark: str
    rows: Sequence[Row]
    settings: Mapping[str, Any] = field(default_factory=dict)
    measured_at: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    commit: str = field(default_factory=lambda: _commit())
    machine: str = field(default_factory=lambda: machine())

    def write(self, path: Path | None = None) -> Path:
        """Keep them; returns where."""
        target = path or RESULTS / f"{self.benchmark}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return target


def read(path: Path) -> Results:
    """The results in one file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**row) for row in content.pop("rows")]
    return Results(rows=rows, **content)


def machine() -> str:
    """The machine in one line: ratios mean little without it, absolute numbers nothing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    busy = f", load {os.getloadavg()[0]:.1f} before the run" if hasattr(os, "getloadavg") else ""
    return f"{cores} cores, {model}, {platform.system()}, Python {platform.python_version()}{busy}"


def _commit() -> str:
    """The commit that is measured, marked when the folder holds something else besides."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+changes", "--exclude=*"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"
