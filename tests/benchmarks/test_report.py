"""The published numbers are the measured ones, and a row judges by its bound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script, or a program text, as a benchmark runs: with its folder on the path."""
    return subprocess.run(
        [sys.executable, *arguments] if not program else [sys.executable, "-c", program, *arguments],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_published_page_shows_the_kept_results() -> None:
    checked = run("", "report.py", "--check")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ("limit=2.0", "True"),
        ("limit=1.0", "False"),
        ("limit=2.0, at_least=True", "False"),
        ("over='direct', ratio=0.5, limit=1.0, limits_ratio=True", "True"),
        ("over='direct', ratio=1.5, limit=1.0, limits_ratio=True", "False"),
        ("limit=1.0, limits_ratio=True", "None"),
        ("", "None"),
    ],
)
def test_a_row_holds_when_what_its_bound_is_for_keeps_it(fields: str, holds: str) -> None:
    row = f"Row('echo', 'ms', {{'hub': 1.5, 'direct': 1.0}}, 'hub', {fields})"
    shown = run(f"from results import Row; print({row}.holds)")
    assert shown.stdout.strip() == holds, shown.stderr


def test_results_read_back_as_they_were_written(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from results import Results, Row, read\n"
        "found = Results('echo', [Row('echo', 'ms', {'hub': 1.5}, 'hub', limit=2.0, note='n')])\n"
        "again = read(found.write(Path(sys.argv[1])))\n"
        "assert again.rows == found.rows and again.commit == found.commit, again\n"
    )
    done = run(program, str(tmp_path / "echo.json"))
    assert done.returncode == 0, done.stderr
