"""Taking an episode up: cleaned, compared with what is there, on disk before it is acknowledged."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from hub.clock import Clock
from hub.errors import InvalidArguments, TooLarge, UnknownName
from hub.memory import episodes, hygiene
from hub.memory.episode import GLOBAL, Episode, Provenance, Scope
from hub.memory.exchange import PAGE, Exchanged
from hub.memory.meaning import Meaning
from hub.memory.telling import digest, first_line, rendered
from hub.settings import MemorySettings
from hub.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hub.memory.episodes import Kept

_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, slots=True)
class Draft:
    """An episode as it was handed in; `Memory.store` says what each part means."""

    experience: str
    intent: str | None = None
    outcome: str | None = None
    scope: Scope | None = None
    provenance: Provenance = field(default_factory=Provenance)
    actor: str | None = None
    thread: str | None = None
    happened_at: float | None = None
    parent_ids: tuple[str, ...] = ()
    pinned: bool = False
    subject: str | None = None
    valid_from: float | None = None
    supersedes: tuple[str, ...] = ()


class Ids:
    """Makes names that leave the hub: a prefix for the kind, the time in milliseconds, 50 bits of chance.

    They sort by time, and two runs of a seeded hub at different times do not make the same ones.
    """

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng

    def __call__(self, prefix: str) -> str:
        bits = int(self._clock.now() * 1000) << 50 | self._rng.getrandbits(50)
        return f"{prefix}_" + "".join(_ID_ALPHABET[bits >> shift & 31] for shift in range(90, -5, -5))


class Storing:
    """Takes episodes up."""

    def __init__(
        self, store: Store, meaning: Meaning, settings: MemorySettings, clock: Clock, new_id: Ids
    ) -> None:
        self._store = store
        self._meaning = meaning
        self._settings = settings
        self._clock = clock
        self._new_id = new_id

    async def keep(self, draft: Draft) -> Episode:
        """Keep one episode; what says the same as another replaces that one's wording."""
        kept = await self.keep_with(draft, lambda connection: True)
        assert kept is not None
        return kept

    async def keep_with(self, draft: Draft, also: Callable[[Connection], bool]) -> Episode | None:
        """Keep one episode and do something else in the same transaction.

        Args:
            also: Done first; when it returns false nothing is kept.
        """
        episode = self._made(draft)
        vector = await self._meaning.embed(rendered(episode))
        sense = self._meaning.sense

        def write(connection: Connection) -> tuple[int, Episode, Kept | None] | None:
            if not also(connection):
                return None
            twin = episodes.twin(connection, episode)
            ended = episodes.supersede(connection, episode.supersedes, episode.created_at)
            if len(ended) < len(episode.supersedes):
                unknown = ", ".join(sorted(set(episode.supersedes) - set(ended)))
                raise UnknownName(f"there is no episode {unknown} to take the place of")
            if twin is None:
                key, kept = episodes.add(connection, episode), episode
            else:
                key, kept = twin.key, episodes.say_again(connection, twin, episode)
            if sense is not None and vector is not None:
                episodes.put_vector(connection, key, sense.embedder.id, vector)
            return key, kept, twin

        written = await self._store.write(write)
        if written is None:
            return None
        key, kept, twin = written
        if sense is not None and vector is not None:
            before = None if twin is None else twin.episode
            if before is None or digest(before) != digest(kept):
                sense.vectors.added(key, kept, vector, replaces=before)
        elif sense is not None:
            self._meaning.catch_up()
        return kept

    async def keep_all(self, drafts: Sequence[Draft]) -> Exchanged:
        """Keep many; those that are there already are skipped. Their vectors follow."""
        made = [self._made(draft) for draft in drafts if draft.experience.strip()]

        def write(connection: Connection, page: Sequence[Episode]) -> int:
            kept = 0
            for episode in page:
                if episodes.twin(connection, episode) is None:
                    episodes.add(connection, episode)
                    kept += 1
            return kept

        kept = 0
        for start in range(0, len(made), PAGE):
            kept += await self._store.write(partial(write, page=made[start : start + PAGE]))
        return Exchanged(kept, skipped=len(made) - kept)

    def _made(self, draft: Draft) -> Episode:
        """A new episode as it may be kept."""
        now = self._clock.now()
        experience = draft.experience.strip()
        intent = (draft.intent or draft.subject or "").strip() or first_line(experience)
        outcome = (draft.outcome or "").strip()
        if not experience:
            raise InvalidArguments("an episode needs a text")
        size, most = len(experience) + len(intent) + len(outcome), self._settings.episode_chars_max
        if size > most:
            raise TooLarge(
                f"an episode may have {most:,} characters and this one has {size:,} "
                "(memory.episode_chars_max). Store what matters of it"
            )
        subject = (draft.subject or "").strip() or None
        scope = draft.scope
        if scope is None:
            project = draft.provenance.project
            scope = GLOBAL if project is None else Scope("project", project)
        parts = [hygiene.cleaned(part) for part in (experience, intent, outcome)]
        return Episode(
            episode_id=self._new_id("ep"),
            kind="episode" if subject is None else "fact",
            scope=scope,
            experience=parts[0].text,
            intent=parts[1].text,
            outcome=parts[2].text or None,
            actor=draft.actor,
            thread=draft.thread,
            happened_at=now if draft.happened_at is None else draft.happened_at,
            created_at=now,
            updated_at=now,
            provenance=draft.provenance,
            pinned=draft.pinned,
            parent_ids=draft.parent_ids,
            flags=tuple(sorted(set().union(*(part.flags for part in parts)))),
            q_updated_at=now,
            subject=subject,
            valid_from=now if draft.supersedes and draft.valid_from is None else draft.valid_from,
            supersedes=draft.supersedes,
        )
