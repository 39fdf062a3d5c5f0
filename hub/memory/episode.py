"""What the memory holds and hands out: scopes, provenance, episodes, hits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from hub.errors import InvalidArguments

ScopeKind = Literal["global", "project", "agent", "user", "session"]
Source = Literal["stored", "consolidated", "imported"]
Kind = Literal["episode", "fact"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom an episode is for: nobody's recall reaches into a scope that it did not name.

    Attributes:
        kind: `global` is for everyone; the others are one project, agent, user or session.
        key: Which one: a folder, a name, an id. Empty for `global` alone.
    """

    kind: ScopeKind
    key: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScopeKind):
            kinds = ", ".join(get_args(ScopeKind))
            raise InvalidArguments(f"scope kind {self.kind!r} is not one of {kinds}")
        if (self.kind == "global") != (self.key == ""):
            raise InvalidArguments(f"scope {self.kind!r} takes {'no' if self.kind == 'global' else 'a'} key")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The scope that `str` wrote: `global`, `project:/home/ada/site`.

        Raises:
            InvalidArguments: It is not a scope.
        """
        kind, _, key = text.partition(":")
        return cls(kind, key)  # type: ignore[arg-type]  # checked when it is made

    def __str__(self) -> str:
        return f"{self.kind}:{self.key}" if self.key else self.kind


GLOBAL = Scope("global")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an episode comes from.

    Attributes:
        client: The client's name and version.
        run_id: The agent's run that made it.
        project: The folder that client worked in.
        source: `stored` by someone's call, `consolidated` from a session, or `imported`.
    """

    client: str | None = None
    run_id: str | None = None
    project: str | None = None
    source: Source = "stored"


@dataclass(frozen=True, slots=True)
class Episode:
    """Something that happened, and how much remembering it has helped.

    Attributes:
        intent: What was wanted.
        experience: What was done or learned.
        outcome: How it ended, when that is known.
        actor: Who said or did it.
        thread: The conversation it belongs to; its neighbours there lend it relevance.
        happened_at: When it happened, seconds since the epoch, UTC.
        seen: How many times the same was stored.
        q_value: The learned value, 0 to 1; 0.5 is unknown.
        visits: How many judgements it has received.
        direct_visits: How many of them were about it alone, whatever the intent.
        direct_rewards: The sum of their rewards.
        subject: What a fact is about.
        valid_from: From when a fact holds; None for always.
        valid_to: Until when it held; None while it does.
        supersedes: The facts that it took the place of, which stay as they were until then.
        flags: What a scan of the text found, for example `secret`.
    """

    episode_id: str
    kind: Kind
    scope: Scope
    intent: str
    experience: str
    outcome: str | None
    actor: str | None
    thread: str | None
    happened_at: float
    created_at: float
    updated_at: float
    provenance: Provenance
    seen: int = 1
    pinned: bool = False
    parent_ids: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    q_value: float = 0.5
    q_updated_at: float = 0.0
    visits: int = 0
    successes: int = 0
    failures: int = 0
    direct_visits: float = 0.0
    direct_rewards: float = 0.0
    subject: str | None = None
    valid_from: float | None = None
    valid_to: float | None = None
    supersedes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """An episode that a recall returned, and why.

    Attributes:
        score: What it was ranked by, 0 to 1.
        similarity: Cosine with the query, -1 to 1; None without a sentence model.
        lexical: Share of the best word match among the candidates, 0 to 1.
        neighbour: How relevant the episodes next to it in its thread are, 0 to 1.
        recency: 1 for now, halving with age.
        value: What past judgements of similar intents add or take, -0.5 to 0.5; 0 is unknown.
        why: The reasons in words, strongest first.
    """

    episode: Episode
    score: float
    similarity: float | None
    lexical: float
    neighbour: float
    recency: float
    value: float
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recall:
    """What a recall returned, best first.

    Attributes:
        recall_id: The name by which feedback refers to it.
        degraded: What was missing for a full search, for a person; None when nothing was.
    """

    recall_id: str
    hits: tuple[Hit, ...]
    degraded: str | None = None
