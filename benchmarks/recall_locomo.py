"""How much of the evidence a recall brings back: LoCoMo's questions, without a language model.

    python benchmarks/recall_locomo.py [--data FILE] [--all] [--floor] [--to FILE]

Every turn of a conversation is stored through `Memory.store` with its speaker, its
session as the thread, and its date; every question of categories 1 to 4 that names
evidence is asked through `Memory.recall`. R@k is the share of a question's evidence
turns among the first k, averaged over questions; a memory holds one conversation. The
floor is off and nothing is judged, so this measures the ranking alone.

The data (Maharana et al. 2024, CC BY-NC 4.0) is not part of this project: the default
path is that of the development checkout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from results import Results, Row

from hub.clock import SystemClock
from hub.home import Home
from hub.memory import GLOBAL, Memory
from hub.memory.ranking import Weights
from hub.settings import MemorySettings

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "locomo-dev.json"
CUTS = (1, 5, 10, 20)


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation."""

    turn_id: str
    speaker: str
    text: str
    thread: str
    at: float


@dataclass(frozen=True)
class Question:
    """A question and the turns that answer it."""

    text: str
    evidence: frozenset[str]
    category: int


@dataclass(frozen=True)
class Conversation:
    turns: list[Turn]
    questions: list[Question]


def read(path: Path) -> list[Conversation]:
    """The conversations of a LoCoMo file."""
    return [_conversation(sample) for sample in json.loads(path.read_text(encoding="utf-8"))]


def _conversation(sample: dict[str, Any]) -> Conversation:
    talk = sample["conversation"]
    turns = []
    number = 1
    while (session := talk.get(f"session_{number}")) is not None:
        when = datetime.strptime(talk[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y")
        for place, turn in enumerate(session):
            caption = turn.get("blip_caption")
            turns.append(
                Turn(
                    turn["dia_id"],
                    turn["speaker"],
                    turn["text"] + (f" [shared a photo: {caption}]" if caption else ""),
                    f"session {number}",
                    when.replace(tzinfo=UTC).timestamp() + place,
                )
            )
        number += 1
    known = {turn.turn_id for turn in turns}
    questions = []
    for asked in sample["qa"]:
        named = {turn_id for entry in asked.get("evidence", []) for turn_id in re.findall(r"D\d+:\d+", entry)}
        evidence = frozenset(named & known)
        if asked["category"] in (1, 2, 3, 4) and evidence:
            questions.append(Question(asked["question"], evidence, asked["category"]))
    return Conversation(turns, questions)


class Tally:
    """R@k of one recipe."""

    def __init__(self) -> None:
        self.shares: dict[int, list[float]] = {cut: [] for cut in CUTS}
        self.categories: dict[int, list[float]] = {}
        self.times: list[float] = []

    def add(self, question: Question, ranked: list[str], seconds: float) -> None:
        for cut in CUTS:
            found = question.evidence & set(ranked[:cut])
            self.shares[cut].append(100 * len(found) / len(question.evidence))
        self.categories.setdefault(question.category, []).append(self.shares[5][-1])
        self.times.append(1000 * seconds)

    def table(self) -> dict[str, Any]:
        return {
            "questions": len(self.times),
            **{f"R@{cut}": round(statistics.mean(values), 1) for cut, values in self.shares.items()},
            "R@5 by category": {
                key: round(statistics.mean(values), 1) for key, values in sorted(self.categories.items())
            },
            "recall p50 ms": round(statistics.median(self.times), 2),
        }


async def fill(folder: Path, conversation: Conversation) -> dict[str, str]:
    """Store a conversation; returns the turns by episode."""
    memory = await Memory.open(Home.at(folder), MemorySettings(), SystemClock(), random.Random(0))
    turns: dict[str, str] = {}
    for turn in conversation.turns:
        episode = await memory.store(
            turn.text, actor=turn.speaker, thread=turn.thread, happened_at=turn.at, scope=GLOBAL
        )
        # A turn said twice is one episode; whichever is evidence is found by it.
        turns.setdefault(episode.episode_id, turn.turn_id)
    await memory.ready()
    await memory.close()
    return turns


async def ask(
    folder: Path,
    conversation: Conversation,
    turns: dict[str, str],
    settings: MemorySettings,
    weights: Weights,
    tally: Tally,
) -> None:
    """Ask a conversation's questions with one recipe."""
    memory = await Memory.open(Home.at(folder), settings, SystemClock(), random.Random(1), weights=weights)
    await memory.ready()
    for question in conversation.questions:
        started = time.perf_counter()
        recall = await memory.recall(question.text, k1=max(CUTS), k2=max(CUTS))
        seconds = time.perf_counter() - started
        tally.add(question, [turns[hit.episode.episode_id] for hit in recall.hits], seconds)
    await memory.close()


RECIPES = {
    "as shipped": Weights(),
    "without length": replace(Weights(), length=0),
    "without actor": replace(Weights(), actor=0),
    "without thread": replace(Weights(), thread=0),
    "without neighbours": replace(Weights(), neighbour=0),
    "meaning and words": Weights(neighbour=0, thread=0, actor=0, length=0, recency=0),
    "meaning alone": Weights(1, 0, 0, 0, 0, 0, 0),
    "words alone": Weights(0, 1, 0, 0, 0, 0, 0),
}


LIMITS = {"R@1": None, "R@5": 66.0, "R@10": 75.0, "R@20": 81.0}
NOTE = (
    "the share of a question's evidence turns among the first k, of LoCoMo's development half (Maharana et "
    "al. 2024; questions of categories 1 to 4), without a language model; the weights are in docs/memory.md"
)


def rows(table: dict[str, dict[str, Any]]) -> list[Row]:
    """The table as rows for the report."""
    return [
        Row(
            f"{cut}, evidence recall in conversations",
            "%",
            {name: recipe[cut] for name, recipe in table.items()},
            "as shipped",
            limit=limit,
            at_least=True,
            note=NOTE,
        )
        for cut, limit in LIMITS.items()
    ]


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--all", action="store_true", help="measure the parts of the recipe too")
    parser.add_argument("--floor", action="store_true", help="leave the relevance floor on, as it ships")
    parser.add_argument("--to", type=Path, help="where to keep the results, if not in results/")
    asked = parser.parse_args()
    if not asked.data.is_file():
        sys.exit(f"{asked.data}: not there. LoCoMo's data must be fetched by hand; give its path with --data")
    settings = MemorySettings() if asked.floor else MemorySettings(relevance_floor=0)
    recipes = RECIPES if asked.all else {"as shipped": Weights()}
    tallies = {name: Tally() for name in recipes}
    for conversation in read(asked.data):
        with tempfile.TemporaryDirectory() as folder:
            turns = await fill(Path(folder), conversation)
            for name, weights in recipes.items():
                await ask(Path(folder), conversation, turns, settings, weights, tallies[name])
    table = {name: tally.table() for name, tally in tallies.items()}
    for name, row in table.items():
        print(f"{name:<20}", *(f"{key} {value}" for key, value in row.items()), sep="  ")
    results = Results("recall_locomo", rows(table), {"floor": asked.floor, "table": table})
    results.write(asked.to)


if __name__ == "__main__":
    asyncio.run(main())
