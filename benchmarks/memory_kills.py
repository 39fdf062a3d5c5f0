"""Whether anything acknowledged is lost when the process is killed: many times, in mid-write.

    python benchmarks/memory_kills.py [--kills N] [--to FILE]

A child stores from six tasks at once and judges now and then, printing each text once
`Memory.store` has returned. It is killed with SIGKILL after a random number of lines. Then
the memory is opened, everything printed must be there, recall must work, and the index
must come back to `ready`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from results import Results, Row

from hub.clock import SystemClock
from hub.home import Home
from hub.memory import Memory
from hub.settings import MemorySettings

CHILD = """
import asyncio, random, sys
from hub.clock import SystemClock
from hub.home import Home
from hub.memory import Memory
from hub.settings import MemorySettings

async def main(home, run):
    memory = await Memory.open(Home.at(home), MemorySettings(), SystemClock(), random.Random(run))

    async def worker(name):
        number = 0
        while True:
            number += 1
            text = f"{run} {name} {number}"
            await memory.store(f"Worker {name} of run {run} noted {number}: {text}")
            print(text, flush=True)
            if number % 7 == 0:
                recall = await memory.recall(f"what did worker {name} note?")
                await memory.feedback(1.0, recall_id=recall.recall_id, source=f"{run}{name}{number}")

    await asyncio.gather(*(worker(name) for name in "abcdef"))

asyncio.run(main(*sys.argv[1:]))
"""


def rows(numbers: dict[str, float]) -> list[Row]:
    """The numbers as rows for the report."""
    note = f"{numbers['acknowledged']:g} episodes acknowledged over {numbers['kills']:g} kills with SIGKILL"
    ready = "until the index is ready, median s"
    return [
        Row("acknowledged episodes lost", "", {"hub": numbers["lost"]}, "hub", limit=0, note=note),
        Row("reopened and not usable", "", {"hub": numbers["reopened unusable"]}, "hub", limit=0),
        Row("until the index is ready again, median", "s", {"hub": numbers[ready]}, "hub"),
    ]


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--to", type=Path, help="where to keep the results, if not in results/")
    asked = parser.parse_args()
    chance = random.Random(0)
    acknowledged: set[str] = set()
    lost, ready_s, unusable = 0, [], 0
    with tempfile.TemporaryDirectory() as folder:
        for run in range(asked.kills):
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", CHILD, folder, str(run)), stdout=asyncio.subprocess.PIPE
            )
            assert child.stdout is not None
            for _ in range(chance.randint(1, 300)):
                line = await asyncio.wait_for(child.stdout.readline(), 60)
                acknowledged.add(line.decode().strip())
            child.kill()
            rest = (await child.stdout.read()).decode()
            acknowledged.update(
                line.strip() for line in rest.splitlines(keepends=True) if line.endswith("\n")
            )
            await child.wait()
            started = time.perf_counter()
            memory = await Memory.open(Home.at(folder), MemorySettings(), SystemClock(), random.Random(run))
            listed = await memory.list(limit=1_000_000)
            kept = {episode.experience.rpartition(": ")[2] for episode in listed}
            lost += len(acknowledged - kept)
            await asyncio.wait_for(memory.ready(), 300)
            ready_s.append(time.perf_counter() - started)
            usable = (await memory.recall("what did worker a note?")).hits
            unusable += not usable or (await memory.stats()).index != "ready"
            await memory.close()
    numbers: dict[str, float] = {
        "kills": asked.kills,
        "acknowledged": len(acknowledged),
        "lost": lost,
        "reopened unusable": unusable,
        "until the index is ready, median s": round(statistics.median(ready_s), 1),
        "until the index is ready, longest s": round(max(ready_s), 1),
    }
    print(json.dumps(numbers, indent=2))
    Results("memory_kills", rows(numbers), numbers).write(asked.to)


if __name__ == "__main__":
    asyncio.run(main())
