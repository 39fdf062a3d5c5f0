"""A memory as a file of JSON Lines: everything of it, out and in again.

The first line names the format; after it every line is one episode, one judged intent
with what is known there, or one judgement with its shares. Vectors of episodes are left
out, since they follow from the texts. Recalls are left out, since they only wait for
feedback.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import insert, select

from hub.calls import Json
from hub.errors import InvalidArguments, StorageError
from hub.memory import episodes
from hub.memory.episode import Episode, Provenance, Scope
from hub.store import Store
from hub.tables import credits, feedback, intent_values, intents
from hub.tables import episodes as episodes_table

if TYPE_CHECKING:
    from sqlalchemy import Connection

FORMAT = "omni-hub memory"
VERSION = 1
PAGE = 500
"""How many rows are read or written between two breaths."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What went through an export or import.

    Attributes:
        episodes: How many episodes.
        intents: How many judged intents.
        judgements: How many judgements.
        skipped: How many lines were there already.
    """

    episodes: int
    intents: int = 0
    judgements: int = 0
    skipped: int = 0


async def write(store: Store, target: Path) -> Exchanged:
    """Write everything to a file, which is complete or not there.

    Raises:
        StorageError: The file cannot be written.
    """
    unfinished = target.with_name(target.name + ".partial")
    counts = {"episode": 0, "intent": 0, "judgement": 0}
    try:
        with await asyncio.to_thread(_private, unfinished) as file:
            file.write(_line({"format": FORMAT, "version": VERSION}))
            for kind, page in (("episode", _episodes), ("intent", _intents), ("judgement", _judgements)):
                last = 0
                while rows := await store.read(partial(page, after=last)):
                    last = rows[-1][0]
                    lines = "".join(_line({"type": kind, **line}) for _, line in rows)
                    await asyncio.to_thread(file.write, lines)
                    counts[kind] += len(rows)
        await asyncio.to_thread(unfinished.replace, target)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written: {error.strerror}") from None
    return Exchanged(counts["episode"], counts["intent"], counts["judgement"])


async def read(store: Store, lines: Iterable[str]) -> Exchanged:
    """Take up what `write` wrote. What is there already, by its id, is left as it is.

    Args:
        lines: Of the file, the first one included.

    Raises:
        InvalidArguments: A line is not of this format; names the line. Those before it are kept.
        StorageError: It could not be kept.
    """
    numbered = enumerate(lines, 1)
    head = _parsed(*next(numbered, (1, "")))
    if head.get("format") != FORMAT or head.get("version") != VERSION:
        raise InvalidArguments(f"line 1: not an export of {FORMAT} version {VERSION}")
    importing = _Import()
    while page := list(islice(numbered, PAGE)):
        entries = [(number, _parsed(number, line)) for number, line in page if line.strip()]
        await store.write(partial(importing.take, entries=entries))
    return Exchanged(
        importing.counts["episode"],
        importing.counts["intent"],
        importing.counts["judgement"],
        importing.skipped,
    )


class _Import:
    """One import: the new keys of what it has taken so far."""

    def __init__(self) -> None:
        self.counts = {"episode": 0, "intent": 0, "judgement": 0}
        self.skipped = 0
        self._intents: dict[int, int] = {}

    def take(self, connection: Connection, entries: Iterable[tuple[int, Json]]) -> None:
        takers: Mapping[Any, Callable[[Connection, Json], bool]] = {
            "episode": self._episode,
            "intent": self._intent,
            "judgement": self._judgement,
        }
        for number, entry in entries:
            taker = takers.get(entry.get("type"))
            if taker is None:
                raise InvalidArguments(f"line {number}: neither an episode, an intent nor a judgement")
            try:
                new = taker(connection, entry)
            except (KeyError, TypeError, ValueError) as error:
                raise InvalidArguments(f"line {number}: not a complete {entry['type']}: {error}") from None
            if new:
                self.counts[entry["type"]] += 1
            else:
                self.skipped += 1

    def _episode(self, connection: Connection, entry: Json) -> bool:
        episode = from_json(entry)
        if episodes.keys_of(connection, [episode.episode_id]):
            return False
        episodes.add(connection, episode, entry.get("position"))
        return True

    def _intent(self, connection: Connection, entry: Json) -> bool:
        row = connection.execute(
            insert(intents).values(
                text=entry["text"],
                embedder=entry["embedder"],
                vector=base64.b64decode(entry["vector"], validate=True),
                created_at=entry["created_at"],
                updated_at=entry["updated_at"],
            )
        )
        assert row.inserted_primary_key is not None
        key: int = row.inserted_primary_key[0]
        self._intents[entry["intent"]] = key
        keys = episodes.keys_of(connection, [episode_id for episode_id, _, _ in entry["values"]])
        for episode_id, visits, rewards in entry["values"]:
            if episode_id in keys:
                connection.execute(
                    insert(intent_values).values(
                        intent=key, id=keys[episode_id], visits=visits, rewards=rewards
                    )
                )
        return True

    def _judgement(self, connection: Connection, entry: Json) -> bool:
        known = connection.execute(
            select(feedback.c.id).where(
                feedback.c.at == entry["at"],
                feedback.c.source == entry["source"],
                feedback.c.recall_id.is_not_distinct_from(entry["recall_id"]),
            )
        ).first()
        if known is not None:
            return False
        row = connection.execute(
            insert(feedback).values(
                at=entry["at"],
                source=entry["source"],
                reward=entry["reward"],
                recall_id=entry["recall_id"],
                run_id=entry["run_id"],
                intent=self._intents.get(entry["intent"]),
                void=entry["void"],
            )
        )
        assert row.inserted_primary_key is not None
        keys = episodes.keys_of(connection, [share[0] for share in entry["shares"]])
        for episode_id, reward, weight, used in entry["shares"]:
            if episode_id in keys:
                connection.execute(
                    insert(credits).values(
                        feedback=row.inserted_primary_key[0],
                        id=keys[episode_id],
                        reward=reward,
                        weight=weight,
                        used=used,
                    )
                )
        return True


def to_json(episode: Episode) -> Json:
    """An episode as a JSON object."""
    return {**asdict(episode), "scope": str(episode.scope)}


def from_json(entry: Json) -> Episode:
    """The episode that `to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: It is not one.
    """
    fields = {name: entry[name] for name in Episode.__dataclass_fields__}
    for name in ("episode_id", "intent", "experience"):
        if not isinstance(fields[name], str):
            raise TypeError(f"{name} is not a text")
    return Episode(
        **{
            **fields,
            "scope": Scope.parse(entry["scope"]),
            "provenance": Provenance(**entry["provenance"]),
            "parent_ids": tuple(entry["parent_ids"]),
            "flags": tuple(entry["flags"]),
        }
    )


def _episodes(connection: Connection, after: int) -> list[tuple[int, Json]]:
    page = episodes.page(connection, after, PAGE)
    return [(kept.key, {**to_json(kept.episode), "position": kept.position}) for kept in page]


def _intents(connection: Connection, after: int) -> list[tuple[int, Json]]:
    rows = connection.execute(select(intents).where(intents.c.id > after).order_by(intents.c.id).limit(PAGE))
    found = {row.id: row for row in rows}
    values: dict[int, list[tuple[str, float, float]]] = {key: [] for key in found}
    for value in connection.execute(
        select(intent_values, episodes_table.c.episode_id)
        .join(episodes_table, episodes_table.c.id == intent_values.c.id)
        .where(intent_values.c.intent.in_(list(found)))
    ):
        values[value.intent].append((value.episode_id, value.visits, value.rewards))
    return [
        (
            key,
            {
                "intent": key,
                "text": row.text,
                "embedder": row.embedder,
                "vector": base64.b64encode(row.vector).decode(),
                "created_at": row.created_at,
                "updated_at": row.updated_at,
                "values": values[key],
            },
        )
        for key, row in found.items()
    ]


def _judgements(connection: Connection, after: int) -> list[tuple[int, Json]]:
    rows = connection.execute(
        select(feedback).where(feedback.c.id > after).order_by(feedback.c.id).limit(PAGE)
    )
    found = {row.id: row for row in rows}
    shares: dict[int, list[tuple[str, float, float, bool | None]]] = {key: [] for key in found}
    for share in connection.execute(
        select(credits, episodes_table.c.episode_id)
        .join(episodes_table, episodes_table.c.id == credits.c.id)
        .where(credits.c.feedback.in_(list(found)))
    ):
        shares[share.feedback].append((share.episode_id, share.reward, share.weight, share.used))
    return [
        (
            key,
            {
                "at": row.at,
                "source": row.source,
                "reward": row.reward,
                "recall_id": row.recall_id,
                "run_id": row.run_id,
                "intent": row.intent,
                "void": row.void,
                "shares": shares[key],
            },
        )
        for key, row in found.items()
    ]


def _private(path: Path) -> IO[str]:
    """A new file that its owner alone can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _line(entry: Json) -> str:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n"


def _parsed(number: int, line: str) -> Json:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise InvalidArguments(f"line {number}: not a JSON object")
    return entry


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a file.

    Raises:
        InvalidArguments: It cannot be read, or is not text.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except OSError as error:
        raise InvalidArguments(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArguments(f"{path}: is not text in UTF-8") from None
