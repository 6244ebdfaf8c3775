"""Alembic's entry: the connection is handed over by `softswitch.store.migrate`."""

from __future__ import annotations

from alembic import context

from softswitch.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite cannot alter a column in place: alembic copies the table.
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
