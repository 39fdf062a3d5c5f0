"""Whether feedback makes recall better, and what it breaks: a simulated stream of intents.

    python benchmarks/learning.py [--steps N] [--seeds N] [--to FILE]

The world is made here, so it can ship. A service has parts, a part has troubles, and for
each trouble the memory holds ten episodes that read much alike, each with another
remedy; two of them work. Which two cannot be told from the words. A user meets a trouble
in some wording, recalls five episodes, and if one that works is among them says so
(reward 1, the episodes used), else 0.

seen      R@5 of the remedies that work, for troubles met before, in wordings not met before
held out  the same for troubles never met: what learning breaks
hijacked  90 % of the traffic is about five troubles: how many top fives of other troubles
          hold a remedy that only those made popular
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from results import Results, Row

from hub.clock import ManualClock
from hub.home import Home
from hub.memory import GLOBAL, Memory
from hub.settings import MemorySettings

PARTS = (
    "billing export",
    "login page",
    "search service",
    "image resizer",
    "nightly backup",
    "mail relay",
    "payment webhook",
    "report scheduler",
    "chat gateway",
    "user import",
    "map tiles",
    "audit log",
)
TROUBLES = (
    ("times out", "takes too long and is cut off", "never finishes in time", "hangs until the deadline"),
    ("returns an empty result", "answers with nothing", "gives back no rows", "comes out blank"),
    ("uses too much memory", "eats all the RAM", "gets killed for its memory", "keeps growing in size"),
    ("rejects valid input", "refuses what should be fine", "says good data is bad", "fails its validation"),
    ("runs twice", "does everything double", "repeats its work", "fires a second time"),
    ("loses the last entry", "drops the final item", "misses the newest record", "forgets the latest one"),
    ("shows the wrong date", "is off by a day", "mixes up the dates", "prints yesterday's date"),
    ("crashes on start", "dies when it comes up", "fails to boot", "exits right after launch"),
)
REMEDIES = (
    "raising the connection limit",
    "clearing the local cache",
    "pinning the driver to the older release",
    "moving the job to another queue",
    "turning compression off",
    "rebuilding the lookup table",
    "setting the locale explicitly",
    "adding a retry with a longer pause",
    "switching to the read replica",
    "deleting the stale lock file",
)
OCCASIONS = (
    "after the spring release",
    "on the new cluster",
    "for a large customer",
    "during the weekend",
    "behind the proxy",
    "since the upgrade",
)
WORDINGS = (
    "The {part} {trouble}.",
    "Why does it happen that the {part} {trouble}?",
    "{part}: it {trouble}, help",
)
WORKING = 2
HELD_OUT = 0.3
HOT = 5


@dataclass(frozen=True)
class Trouble:
    """One trouble of one part: the wordings it is met in, the ones kept for asking at the end, what works."""

    met: tuple[str, ...]
    asked: tuple[str, ...]
    episodes: tuple[str, ...]
    working: frozenset[str]


@dataclass(frozen=True)
class World:
    seen: list[Trouble]
    held_out: list[Trouble]


def world(rng: random.Random) -> World:
    """A world of its own for each seed."""
    troubles = []
    for part in PARTS:
        for phrases in TROUBLES:
            phrasings = list(phrases)
            rng.shuffle(phrasings)
            wordings = [
                template.format(part=part, trouble=phrase)
                for phrase, template in zip(phrasings, (*WORDINGS, WORDINGS[0]), strict=True)
            ]
            episodes = tuple(
                f"The {part} {rng.choice(phrases)} {rng.choice(OCCASIONS)}; {remedy} was tried."
                for remedy in REMEDIES
            )
            working = frozenset(rng.sample(episodes, WORKING))
            troubles.append(Trouble(tuple(wordings[:2]), tuple(wordings[2:]), episodes, working))
    rng.shuffle(troubles)
    cut = int(len(troubles) * HELD_OUT)
    return World(troubles[cut:], troubles[:cut])


Reward = Callable[[bool, random.Random], float]

FEEDBACK: dict[str, Reward | None] = {
    "no feedback": None,
    "honest": lambda worked, _: float(worked),
    "random": lambda _, rng: float(rng.random() < 0.5),
    "constant": lambda worked, _: 1.0,
    "inverted": lambda worked, _: float(not worked),
}


class Run:
    """One memory that goes through one stream."""

    def __init__(self, memory: Memory, clock: ManualClock, here: World, rng: random.Random) -> None:
        self._memory = memory
        self._clock = clock
        self._world = here
        self._rng = rng
        self._ids: dict[str, str] = {}

    async def fill(self) -> None:
        for trouble in (*self._world.seen, *self._world.held_out):
            for text in trouble.episodes:
                self._ids[text] = (await self._memory.store(text, scope=GLOBAL)).episode_id
        await self._memory.ready()

    async def stream(
        self, troubles: list[Trouble], weights: list[float], steps: int, reward: Reward, items: bool
    ) -> None:
        """Meet troubles, recall, judge."""
        for _ in range(steps):
            trouble = self._rng.choices(troubles, weights)[0]
            recall = await self._memory.recall(self._rng.choice(trouble.met))
            used = [
                hit.episode.episode_id for hit in recall.hits if hit.episode.experience in trouble.working
            ]
            given = reward(bool(used), self._rng)
            self._clock.advance(2)
            await self._memory.feedback(
                given, recall_id=recall.recall_id, used_ids=used if items and used else None
            )

    async def recall_at_5(self, troubles: list[Trouble]) -> float:
        shares = []
        for trouble in troubles:
            for wording in trouble.asked:
                found = {hit.episode.experience for hit in (await self._memory.recall(wording, k2=5)).hits}
                shares.append(len(trouble.working & found) / WORKING)
        return 100 * statistics.mean(shares)

    async def hijacked(self, troubles: list[Trouble], hot: list[Trouble]) -> float:
        """The share of top fives that hold an episode of a hot trouble."""
        popular = {text for trouble in hot for text in trouble.episodes}
        taken = []
        for trouble in troubles:
            for wording in trouble.asked:
                recall = await self._memory.recall(wording, k2=5)
                taken.append(any(hit.episode.experience in popular for hit in recall.hits))
        return 100 * statistics.mean(taken)


async def measure(
    seed: int, steps: int, feedback: str, items: bool, settings: MemorySettings
) -> dict[str, float]:
    """One seed's numbers for one kind of feedback."""
    rng = random.Random(seed)
    here = world(rng)
    clock = ManualClock()
    reward = FEEDBACK[feedback]
    out = {}
    for hot_traffic in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            memory = await Memory.open(Home.at(folder), settings, clock, random.Random(seed))
            run = Run(memory, clock, here, random.Random(seed))
            await run.fill()
            hot, others = here.seen[:HOT], here.seen[HOT:]
            weights = (
                [0.9 / HOT] * HOT + [0.1 / len(others)] * len(others)
                if hot_traffic
                else [1.0] * len(here.seen)
            )
            if reward is not None:
                await run.stream(here.seen, weights, steps, reward, items)
            if hot_traffic:
                out["hijacked"] = await run.hijacked([*others, *here.held_out], hot)
                out["others' R@5"] = await run.recall_at_5([*others, *here.held_out])
            else:
                out["seen R@5"] = await run.recall_at_5(here.seen)
                out["held-out R@5"] = await run.recall_at_5(here.held_out)
            await memory.close()
    return out


POLICIES = {
    "no feedback": ("no feedback", True, MemorySettings()),
    "items named": ("honest", True, MemorySettings()),
    "task alone": ("honest", False, MemorySettings()),
    "random": ("random", False, MemorySettings()),
    "constant": ("constant", False, MemorySettings()),
    "inverted": ("inverted", False, MemorySettings()),
}


def rows(table: dict[str, dict[str, float]]) -> list[Row]:
    """The table as rows for the report."""
    none, items = table["no feedback"], table["items named"]
    noise = {name: table[name] for name in ("random", "constant", "inverted") if name in table}

    def row(what: str, key: str, limit: float | None, at_least: bool, note: str = "") -> Row:
        values = {name: numbers[key] for name, numbers in table.items()}
        return Row(what, "%", values, "items named", limit=limit, at_least=at_least, note=note)

    seen, held, hijacked = "seen R@5", "held-out R@5", "hijacked"
    return [
        row(
            "R@5 of what works, intents met before",
            seen,
            none[seen] + 10,
            True,
            "must gain 10 points on no feedback at all; the wordings asked in were not met before",
        ),
        row(
            "R@5 of what works, intents never met",
            held,
            none[held] - 0.5,
            True,
            "must lose at most 0.5 points: what learning breaks",
        ),
        row(
            "top fives with an episode that only the popular intents need",
            hijacked,
            none[hijacked] + 8,
            False,
            "90 % of the traffic is about five intents; at most 8 points over no feedback",
        ),
        Row(
            "worst change of R@5 by meaningless feedback, intents never met",
            "points",
            {name: round(numbers[held] - none[held], 1) for name, numbers in noise.items()},
            "random",
            limit=-3,
            at_least=True,
            note=f"items named: {items[held] - none[held]:+.1f}",
        ),
    ]


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--to", type=Path, help="where to keep the results, if not in results/")
    asked = parser.parse_args()
    table: dict[str, dict[str, float]] = {}
    for name, (feedback, items, settings) in POLICIES.items():
        runs = [await measure(seed, asked.steps, feedback, items, settings) for seed in range(asked.seeds)]
        table[name] = {key: round(statistics.mean(run[key] for run in runs), 1) for key in runs[0]}
        print(f"{name:<14}", *(f"{key} {value}" for key, value in table[name].items()), sep="  ", flush=True)
    steps = {"steps": asked.steps, "seeds": asked.seeds, "table": table}
    Results("learning", rows(table), steps).write(asked.to)


if __name__ == "__main__":
    asyncio.run(main())
