"""Bringing a database to a revision of the schema."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.errors import StoreError

HEAD = "0031"
"""The newest revision; a test compares it with the files. Known here so that a start on a database that
is up to date need not import alembic (a quarter of a second)."""


def revision_of(connection: sa.Connection) -> str | None:
    """The revision a database is at; None for an empty one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def revisions() -> list[str]:
    """All that are known, the newest first."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "softswitch.store:migrations")
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    return [script.revision for script in scripts]


def migrate(connection: sa.Connection, revision: str = HEAD) -> None:
    """Upgrade, or downgrade to an older `revision` ("base" is before the first).

    Raises `StoreError` for a database that a newer version has made.
    """
    current = revision_of(connection)
    if current == revision:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "softswitch.store:migrations")
    config.attributes["connection"] = connection
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if current is not None and current not in known:
        raise StoreError(
            f"the database is of a newer version (schema {current}, known up to {HEAD}); "
            "downgrade it with the version that made it"
        )
    # `known` is newest first; whatever is behind the current revision is a downgrade.
    downgrade = current is not None and (
        revision == "base" or known.index(revision) > known.index(current)
    )
    (command.downgrade if downgrade else command.upgrade)(config, revision)
