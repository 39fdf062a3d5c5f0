"""Alembic's entry: runs on the connection, and in the transaction, that the store hands over."""

from __future__ import annotations

from alembic import context

from hub.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter most things in place; Alembic copies the table instead.
    render_as_batch=True,
)
context.run_migrations()
