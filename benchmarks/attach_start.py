"""How long a client waits after it launched `hub mcp`: from launch to the answer to `initialize`.

Measured beside a bare server of the official SDK, which is launched the same way: attaching to a hub that
runs, and the first start of a hub in a new home, whose servers file also names a server that is dead and one
that hangs.

python benchmarks/attach_start.py --quick    a look
python benchmarks/attach_start.py            results
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import report
from results import Results, Row, machine
from systems import PYTHON, SDK_SERVER, entry, servers_file
from wire import INITIALIZE

HUB = str(Path(PYTHON).with_name("hub"))
OPENING = (
    json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}).encode() + b"\n"
)
END_S = 30.0

BARE, ATTACH, FIRST = "bare SDK server", "attach", "first start"


def answered_s(command: Sequence[str]) -> float:
    """Seconds from the launch of a stdio server to its answer to `initialize`."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(OPENING)
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        took = time.perf_counter() - started
        assert "result" in answer, answer
        process.stdin.close()
        process.wait(END_S)
    return took


class Homes:
    """Hubs in throw-away homes.

    Args:
        folder: A throw-away folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers = servers_file(
            folder,
            {
                "good": entry(SDK_SERVER),
                "dead": entry((PYTHON, "-c", "raise SystemExit(1)")),
                "hanging": entry((PYTHON, "-c", "import time; time.sleep(3600)")),
            },
        )
        self._made = 0
        self._kept = self._launch("kept")
        answered_s(self._kept)

    def attach(self) -> float:
        """Attach to the hub that runs."""
        return answered_s(self._kept)

    def first_start(self) -> float:
        """Start a hub in a home that has never been."""
        self._made += 1
        home = f"new{self._made}"
        took = answered_s(self._launch(home))
        self._stop(home)
        return took

    def close(self) -> None:
        self._stop("kept")

    def _launch(self, home: str) -> list[str]:
        return [HUB, "mcp", "--home", str(self._folder / home), "--mcp-config", str(self._servers)]

    def _stop(self, home: str) -> None:
        command = [HUB, "stop", "--home", str(self._folder / home)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=END_S)


def measure(rounds: int, folder: Path) -> list[Row]:
    """All three by turns, so that what else the machine does falls on each."""
    homes = Homes(folder)
    turns: dict[str, Callable[[], float]] = {
        BARE: lambda: answered_s(SDK_SERVER),
        ATTACH: homes.attach,
        FIRST: homes.first_start,
    }
    try:
        answered_s(SDK_SERVER)  # once for the disk
        series = {name: list[float]() for name in turns}
        for number in range(rounds):
            order = list(turns)
            for name in order[number % 3 :] + order[: number % 3]:
                series[name].append(turns[name]() * 1000)
    finally:
        homes.close()

    def row(what: str, subject: str, limit: float) -> Row:
        ratios = [mine / bare for mine, bare in zip(series[subject], series[BARE], strict=True)]
        values = {name: statistics.median(series[name]) for name in (subject, BARE)}
        ratio = statistics.median(ratios)
        return Row(what, "ms", values, subject, BARE, ratio, limit, limits_ratio=True)

    return [
        row("attach to a running hub, launch to `initialize` answered", ATTACH, 0.35),
        row("first start, launch to `initialize` answered, one server dead and one hanging", FIRST, 1.6),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a look, not a result")
    parser.add_argument("--out", type=Path, help="where to keep the results (default: benchmarks/results/)")
    options = parser.parse_args()
    on = machine()
    rounds = 5 if options.quick else 25
    folder = Path(tempfile.mkdtemp(prefix="hub-bench-"))
    try:
        rows = measure(rounds, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results = Results("attach_start", rows, {"rounds": rounds}, machine=on)
    report.show(results)
    if options.out or not options.quick:
        print(f"kept in {results.write(options.out)}", file=sys.stderr)


if __name__ == "__main__":
    main()
