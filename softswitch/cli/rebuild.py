"""`softswitch rebuild`: make what is read from the journal anew."""

from __future__ import annotations

import typer

from softswitch.cli.place import HERE, OfficeFile


def register(app: typer.Typer) -> None:
    @app.command()
    def rebuild(
        file: OfficeFile = HERE,
    ) -> None:
        """Make call records, segments, queue visits, offers and agents' states anew from the journal.

        The server must not be running; what people wrote (customers, tickets, users) is not touched.
        """
        import asyncio

        from softswitch.cli.place import keep_from_others, office_file
        from softswitch.config import load_office
        from softswitch.store import Store

        keep_from_others()
        office = load_office(office_file(file))

        async def make_anew() -> int:
            store = await Store.open(office.storage.directory, database=office.storage.database)
            try:
                return await store.rebuild()
            finally:
                await store.close()

        typer.echo(f"{asyncio.run(make_anew())} call records were made anew from the journal")
