"""`softswitch downgrade`: give the database back to an older version."""

from __future__ import annotations

from typing import Annotated

import typer

from softswitch.cli.place import HERE, OfficeFile


def register(app: typer.Typer) -> None:
    @app.command()
    def downgrade(
        file: OfficeFile = HERE,
        to: Annotated[
            str, typer.Option(help="The schema that the older version knows, as in 0027.")
        ] = "",
    ) -> None:
        """Take the database back to an older schema, for a version that refuses it as too new.

        The server must not be running. What only newer schemas have a place for is gone then; what
        was journaled stays, and is read again after an upgrade. Without --to: which schemas there are.
        """
        import asyncio

        from softswitch.cli.place import keep_from_others, office_file
        from softswitch.config import load_office
        from softswitch.store import Store
        from softswitch.store.migrate import HEAD, revisions

        if not to:
            typer.echo(f"this version: {HEAD}; older ones: {', '.join(revisions()[1:])}")
            return
        keep_from_others()
        office = load_office(office_file(file))

        async def go_back() -> None:
            store = await Store.open(office.storage.directory, database=office.storage.database)
            try:
                await store.downgrade(to)
            finally:
                await store.close()

        asyncio.run(go_back())
        typer.echo(
            f"the database has the schema {to} now; a newer version brings it up to date again"
        )
