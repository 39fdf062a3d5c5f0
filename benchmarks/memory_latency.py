"""How long the memory takes, and how much memory it needs, at a size.

    python benchmarks/memory_latency.py [--episodes N] [--large N] [--rounds N] [--to FILE]

Fills a fresh memory with made-up notes (as an import does, so their vectors follow in the
background), waits until the index holds them, then measures recalls, stores and
judgements one after another, as one caller sees them. With several scopes each recall
looks into all of them, and the notes are spread evenly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
from results import Results, Row

from hub.clock import SystemClock
from hub.home import Home
from hub.memory import GLOBAL, Memory, Provenance, Scope
from hub.memory.storing import Draft
from hub.settings import MemorySettings

THINGS = (
    "deployment invoice export cache login index queue backup report schedule webhook image parser".split()
)
PLACES = "staging production the test host a laptop the cluster the office Berlin Kiel the archive".split()
ACTIONS = "failed succeeded was slow ran twice lost data recovered was renamed moved grew shrank".split()
PEOPLE = "Ada Ben Cleo Dan Eve Finn Gus Hana Ivo Jo".split()
NUMBERS = range(10_000)


def note(rng: random.Random) -> str:
    """A sentence or two of made-up experience."""
    return (
        f"The {rng.choice(THINGS)} on {rng.choice(PLACES)} {rng.choice(ACTIONS)} for {rng.choice(PEOPLE)} "
        f"after the {rng.choice(THINGS)} {rng.choice(ACTIONS)}; ticket {rng.choice(NUMBERS)} says "
        f"{rng.choice(PEOPLE)} fixed it with the {rng.choice(THINGS)} from {rng.choice(PLACES)}."
    )


def query(rng: random.Random) -> str:
    """What somebody may ask about them."""
    return f"why did the {rng.choice(THINGS)} on {rng.choice(PLACES)} fail for {rng.choice(PEOPLE)}?"


async def timed(rounds: int, work: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Median and 95th percentile of some work, in milliseconds."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        await work()
        times.append(1000 * (time.perf_counter() - started))
    times.sort()
    return {"p50 ms": round(statistics.median(times), 2), "p95 ms": round(times[int(0.95 * rounds)], 2)}


async def measure(episodes: int, scopes: int, rounds: int) -> dict[str, Any]:
    """One size."""
    rng = random.Random(0)
    wheres = [GLOBAL, *(Scope("project", f"/work/{number}") for number in range(1, scopes))]
    process = psutil.Process()
    bare = process.memory_info().rss
    settings = MemorySettings(feedback_per_minute_max=1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        memory = await Memory.open(Home.at(folder), settings, SystemClock(), random.Random(1))
        started = time.perf_counter()
        for start in range(0, episodes, 5000):
            drafts = [
                Draft(note(rng), scope=wheres[number % scopes], provenance=Provenance(source="imported"))
                for number in range(start, min(episodes, start + 5000))
            ]
            await memory._storing.keep_all(drafts)
        memory._meaning.catch_up()
        await memory.ready()
        filled = time.perf_counter() - started
        await timed(20, lambda: memory.recall(query(rng), scopes=wheres))
        out: dict[str, Any] = {
            "episodes": sum((await memory.stats()).episodes.values()),
            "scopes": scopes,
            "filled in s": round(filled, 1),
            "recall": await timed(rounds, lambda: memory.recall(query(rng), scopes=wheres)),
        }

        async def store() -> None:
            await memory.store(note(rng), scope=rng.choice(wheres))

        out["store"] = await timed(rounds, store)
        await memory.ready()
        recalls = [await memory.recall(query(rng), scopes=wheres) for _ in range(rounds)]
        ids = iter([recall.recall_id for recall in recalls])
        out["feedback"] = await timed(rounds, lambda: memory.feedback(1.0, recall_id=next(ids)))
        out["recall after judgements"] = await timed(rounds, lambda: memory.recall(query(rng), scopes=wheres))
        out["resident MB, grown by"] = round((process.memory_info().rss - bare) / 1e6)
        await memory.close()
        started = time.perf_counter()
        memory = await Memory.open(Home.at(folder), settings, SystemClock(), random.Random(2))
        out["reopened in ms"] = round(1000 * (time.perf_counter() - started), 1)
        await memory.recall(query(rng), scopes=wheres)
        out["first recall after ms"] = round(1000 * (time.perf_counter() - started), 1)
        await memory.ready()
        out["index ready after ms"] = round(1000 * (time.perf_counter() - started), 1)
        await memory.close()
    return out


def rows(small: dict[str, Any], large: dict[str, Any] | None) -> list[Row]:
    """The numbers as rows for the report."""
    out = []
    for what, most in (("recall", 12.0), ("store", 10.0), ("feedback", None)):
        note = "one caller, one after another; the notes are made of few words, which is hard on word search"
        values = {"hub": small[what]["p50 ms"], "p95": small[what]["p95 ms"]}
        out.append(Row(f"{what}, p50 at {small['episodes']:,}", "ms", values, "hub", limit=most, note=note))
    if large is not None:
        size = f"{large['episodes']:,} in {large['scopes']} scopes"
        for what in ("recall", "store"):
            values = {"hub": large[what]["p50 ms"], "p95": large[what]["p95 ms"]}
            ratio = large[what]["p50 ms"] / small[what]["p50 ms"]
            out.append(
                Row(
                    f"{what}, p50 at {size}",
                    "ms",
                    values,
                    "hub",
                    ratio=ratio,
                    limit=4,
                    limits_ratio=True,
                    note=f"over {small['episodes']:,}",
                )
            )
    for numbers in (small, large):
        if numbers is not None:
            size = f"{numbers['episodes']:,} episodes"
            grown = {"hub": numbers["resident MB, grown by"]}
            out.append(Row(f"memory of the process at {size}, over its start", "MB", grown, "hub"))
            first = {"hub": numbers["first recall after ms"]}
            out.append(Row(f"open and first recall at {size}", "ms", first, "hub"))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument(
        "--large", type=int, default=100_000, help="a second size, in five scopes; 0 for none"
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--to", type=Path, help="where to keep the results, if not in results/")
    asked = parser.parse_args()
    small = asyncio.run(measure(asked.episodes, 1, asked.rounds))
    print(json.dumps(small, indent=2), flush=True)
    large = asyncio.run(measure(asked.large, 5, asked.rounds)) if asked.large else None
    print(json.dumps(large, indent=2))
    Results("memory_latency", rows(small, large), {"small": small, "large": large}).write(asked.to)


if __name__ == "__main__":
    main()
