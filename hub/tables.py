"""The tables of the store, as SQLAlchemy Core sees them.

Sessions and their turns; episodes, their vectors and what was learned about them.
Moments are seconds since the epoch, UTC; JSON columns hold plain objects and lists.
A change here comes with a migration in `hub/migrations/versions`, and `HEAD` names
the newest one, so that a store that is current opens without importing Alembic.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

HEAD = "0001"
"""The newest migration."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", String(128), primary_key=True),
    Column("title", Text),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False, index=True),
    Column("consolidated_seq", Integer, nullable=False, server_default="0"),
)
"""Conversations with the agent. Turns up to `consolidated_seq` have become episodes."""

turns = Table(
    "turns",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column(
        "session_id",
        String(128),
        ForeignKey("sessions.session_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("seq", Integer, nullable=False),
    Column("started_at", Float, nullable=False, index=True),
    Column("ended_at", Float),
    Column("status", String(32), nullable=False),
    Column("caller", JSON, nullable=False),
    Column("input", Text, nullable=False),
    Column("output", Text),
    Column("messages", JSON, nullable=False),
    Column("tool_calls", JSON, nullable=False),
    Column("usage", JSON),
    Column("model", String(255)),
    Column("recall_id", String(64)),
    Column("prompt", String(64), ForeignKey("prompts.digest")),
    Column("context", JSON),
    Column("timings", JSON),
    Column("error", Text),
    UniqueConstraint("session_id", "seq"),
)
"""One row for each turn, written once when the turn ends; `seq` counts from 1 in a session."""

prompts = Table(
    "prompts",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("system", Text, nullable=False),
    Column("tools", JSON, nullable=False),
)
"""System prompts with the tools offered beside them, each distinct pair once, by its SHA-256."""

steps = Table(
    "steps",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("session_id", String(128), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("caller", JSON, nullable=False),
    Column("messages", JSON, nullable=False),
)
"""What a turn that still runs has completed; moved into its row of `turns` when it ends."""

results = Table(
    "results",
    metadata,
    Column("result_id", String(64), primary_key=True),
    Column("session_id", String(128), nullable=False, index=True),
    Column("run_id", String(64), nullable=False),
    Column("at", Float, nullable=False),
    Column("name", String(255), nullable=False),
    Column("text", Text, nullable=False),
)
"""Tool results that were too long for a model to read whole; the latest of each session."""

summaries = Table(
    "summaries",
    metadata,
    Column(
        "session_id",
        String(128),
        ForeignKey("sessions.session_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("seq", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("text", Text, nullable=False),
)
"""What the prompt says instead of a session's turns up to `seq`; the turns themselves stay as they are."""

episodes = Table(
    "episodes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("episode_id", String(64), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("scope_kind", String(16), nullable=False),
    Column("scope_key", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("experience", Text, nullable=False),
    Column("outcome", Text),
    Column("subject", String(255), index=True),
    Column("valid_from", Float),
    Column("valid_to", Float),
    Column("supersedes", JSON, nullable=False),
    Column("actor", String(255)),
    Column("thread", String(255)),
    Column("position", Integer),
    Column("happened_at", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("gist", String(64), nullable=False),
    Column("seen", Integer, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("deleted_at", Float),
    Column("source", String(16), nullable=False),
    Column("client", String(255)),
    Column("run_id", String(64)),
    Column("project", Text),
    Column("parent_ids", JSON, nullable=False),
    Column("flags", JSON, nullable=False),
    Column("meta", JSON, nullable=False),
    Column("q_value", Float, nullable=False),
    Column("q_updated_at", Float, nullable=False),
    Column("visits", Integer, nullable=False),
    Column("successes", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("direct_visits", Float, nullable=False, server_default="0"),
    Column("direct_rewards", Float, nullable=False, server_default="0"),
    Index(None, "scope_kind", "scope_key", "gist"),
    Index(None, "thread", "position"),
    Index(None, "run_id"),
    sqlite_autoincrement=True,
)
"""What happened, and facts about a `subject`. `id` is its key in the store, `episode_id` its name outside."""

vectors = Table(
    "vectors",
    metadata,
    Column("id", Integer, ForeignKey("episodes.id", ondelete="CASCADE"), primary_key=True),
    Column("embedder", String(255), nullable=False, index=True),
    Column("vector", LargeBinary, nullable=False),
)
"""One unit vector for each episode, float32 little-endian, and the embedder that made it."""

recalls = Table(
    "recalls",
    metadata,
    Column("recall_id", String(64), primary_key=True),
    Column("at", Float, nullable=False, index=True),
    Column("client", String(255)),
    Column("run_id", String(64), index=True),
    Column("query", Text, nullable=False),
    Column("embedder", String(255)),
    Column("vector", LargeBinary),
)
"""The latest recalls, so that feedback can name one."""

recall_hits = Table(
    "recall_hits",
    metadata,
    Column(
        "recall_id",
        String(64),
        ForeignKey("recalls.recall_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("rank", Integer, primary_key=True),
    Column(
        "id",
        Integer,
        ForeignKey("episodes.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("score", Float, nullable=False),
)
"""What each recall returned; `rank` counts from 1."""

feedback = Table(
    "feedback",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("source", String(255), nullable=False),
    Column("reward", Float, nullable=False),
    Column("recall_id", String(64)),
    Column("run_id", String(64)),
    Column("intent", Integer, ForeignKey("intents.id", ondelete="SET NULL"), index=True),
    Column("void", Boolean, nullable=False),
    Index(None, "source", "at"),
    Index(None, "recall_id", "source"),
    sqlite_autoincrement=True,
)
"""Every judgement, append-only. One that its source took back, by judging the same again, is `void`."""

credits = Table(
    "credits",
    metadata,
    Column(
        "feedback",
        Integer,
        ForeignKey("feedback.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column(
        "id",
        Integer,
        ForeignKey("episodes.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    Column("reward", Float, nullable=False),
    Column("weight", Float, nullable=False),
    Column("used", Boolean),
)
"""How each judgement was shared out: `used` is false for an episode that was shown and not used.

Values are a replay of this table in order of `feedback`.
"""

intents = Table(
    "intents",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("embedder", String(255), nullable=False),
    Column("vector", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False, index=True),
    sqlite_autoincrement=True,
)
"""Past queries that were judged, near ones merged: the neighbourhoods of contextual value."""

intent_values = Table(
    "intent_values",
    metadata,
    Column(
        "intent",
        Integer,
        ForeignKey("intents.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column(
        "id",
        Integer,
        ForeignKey("episodes.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    Column("visits", Float, nullable=False),
    Column("rewards", Float, nullable=False),
)
"""For each past intent and episode: the weight of the judgements and the sum of their rewards."""

blocks = Table(
    "blocks",
    metadata,
    Column("scope_kind", String(16), primary_key=True),
    Column("scope_key", Text, primary_key=True),
    Column("label", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    Column("description", Text),
    Column("chars_max", Integer, nullable=False),
    Column("read_only", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("updated_by", String(255)),
)
"""Core blocks: short texts that are part of every turn's prompt."""
