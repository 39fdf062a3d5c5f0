"""Sessions, episodes and what is learned about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blocks",
        sa.Column("scope_kind", sa.String(length=16), nullable=False),
        sa.Column("scope_key", sa.Text(), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("chars_max", sa.Integer(), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("updated_by", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("scope_kind", "scope_key", "label", name=op.f("pk_blocks")),
    )
    op.create_table(
        "episodes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("episode_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("scope_kind", sa.String(length=16), nullable=False),
        sa.Column("scope_key", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=False),
        sa.Column("experience", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("subject", sa.String(length=255), nullable=True),
        sa.Column("valid_from", sa.Float(), nullable=True),
        sa.Column("valid_to", sa.Float(), nullable=True),
        sa.Column("supersedes", sa.JSON(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=True),
        sa.Column("thread", sa.String(length=255), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("happened_at", sa.Float(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("gist", sa.String(length=64), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("deleted_at", sa.Float(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("client", sa.String(length=255), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("parent_ids", sa.JSON(), nullable=False),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.Column("q_value", sa.Float(), nullable=False),
        sa.Column("q_updated_at", sa.Float(), nullable=False),
        sa.Column("visits", sa.Integer(), nullable=False),
        sa.Column("successes", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("direct_visits", sa.Float(), server_default="0", nullable=False),
        sa.Column("direct_rewards", sa.Float(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_episodes")),
        sa.UniqueConstraint("episode_id", name=op.f("uq_episodes_episode_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_episodes_run_id"), "episodes", ["run_id"], unique=False)
    op.create_index(
        op.f("ix_episodes_scope_kind_scope_key_gist"),
        "episodes",
        ["scope_kind", "scope_key", "gist"],
        unique=False,
    )
    op.create_index(op.f("ix_episodes_subject"), "episodes", ["subject"], unique=False)
    op.create_index(op.f("ix_episodes_thread_position"), "episodes", ["thread", "position"], unique=False)
    op.create_table(
        "intents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("embedder", sa.String(length=255), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intents")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_intents_updated_at"), "intents", ["updated_at"], unique=False)
    op.create_table(
        "prompts",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("tools", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_prompts")),
    )
    op.create_table(
        "recalls",
        sa.Column("recall_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("client", sa.String(length=255), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("embedder", sa.String(length=255), nullable=True),
        sa.Column("vector", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("recall_id", name=op.f("pk_recalls")),
    )
    op.create_index(op.f("ix_recalls_at"), "recalls", ["at"], unique=False)
    op.create_index(op.f("ix_recalls_run_id"), "recalls", ["run_id"], unique=False)
    op.create_table(
        "results",
        sa.Column("result_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("result_id", name=op.f("pk_results")),
    )
    op.create_index(op.f("ix_results_session_id"), "results", ["session_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("consolidated_seq", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_updated_at"), "sessions", ["updated_at"], unique=False)
    op.create_table(
        "steps",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("caller", sa.JSON(), nullable=False),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "n", name=op.f("pk_steps")),
    )
    op.create_index(op.f("ix_steps_session_id"), "steps", ["session_id"], unique=False)
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("reward", sa.Float(), nullable=False),
        sa.Column("recall_id", sa.String(length=64), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("intent", sa.Integer(), nullable=True),
        sa.Column("void", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["intent"], ["intents.id"], name=op.f("fk_feedback_intent"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_feedback_intent"), "feedback", ["intent"], unique=False)
    op.create_index(op.f("ix_feedback_recall_id_source"), "feedback", ["recall_id", "source"], unique=False)
    op.create_index(op.f("ix_feedback_source_at"), "feedback", ["source", "at"], unique=False)
    op.create_table(
        "intent_values",
        sa.Column("intent", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("visits", sa.Float(), nullable=False),
        sa.Column("rewards", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["id"], ["episodes.id"], name=op.f("fk_intent_values_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["intent"], ["intents.id"], name=op.f("fk_intent_values_intent"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("intent", "id", name=op.f("pk_intent_values")),
    )
    op.create_index(op.f("ix_intent_values_id"), "intent_values", ["id"], unique=False)
    op.create_table(
        "recall_hits",
        sa.Column("recall_id", sa.String(length=64), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["episodes.id"], name=op.f("fk_recall_hits_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["recall_id"], ["recalls.recall_id"], name=op.f("fk_recall_hits_recall_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("recall_id", "rank", name=op.f("pk_recall_hits")),
    )
    op.create_index(op.f("ix_recall_hits_id"), "recall_hits", ["id"], unique=False)
    op.create_table(
        "summaries",
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.session_id"], name=op.f("fk_summaries_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", "seq", name=op.f("pk_summaries")),
    )
    op.create_table(
        "turns",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("caller", sa.JSON(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.Column("tool_calls", sa.JSON(), nullable=False),
        sa.Column("usage", sa.JSON(), nullable=True),
        sa.Column("model", sa.String(length=255), nullable=True),
        sa.Column("recall_id", sa.String(length=64), nullable=True),
        sa.Column("prompt", sa.String(length=64), nullable=True),
        sa.Column("context", sa.JSON(), nullable=True),
        sa.Column("timings", sa.JSON(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["prompt"], ["prompts.digest"], name=op.f("fk_turns_prompt")),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.session_id"], name=op.f("fk_turns_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_turns")),
        sa.UniqueConstraint("session_id", "seq", name=op.f("uq_turns_session_id_seq")),
    )
    op.create_index(op.f("ix_turns_started_at"), "turns", ["started_at"], unique=False)
    op.create_table(
        "vectors",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("embedder", sa.String(length=255), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["episodes.id"], name=op.f("fk_vectors_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vectors")),
    )
    op.create_index(op.f("ix_vectors_embedder"), "vectors", ["embedder"], unique=False)
    op.create_table(
        "credits",
        sa.Column("feedback", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reward", sa.Float(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(
            ["feedback"], ["feedback.id"], name=op.f("fk_credits_feedback"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["id"], ["episodes.id"], name=op.f("fk_credits_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("feedback", "id", name=op.f("pk_credits")),
    )
    op.create_index(op.f("ix_credits_id"), "credits", ["id"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE episode_words USING fts5"
            "(scope, text, context, tokenize = 'porter unicode61 remove_diacritics 2')"
        )
