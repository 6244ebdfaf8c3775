"""`softswitch why`: why a call went to the agent it went to, in words, from the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from softswitch.cli.place import HERE, Place


def register(app: typer.Typer) -> None:
    @app.command()
    def why(
        call: Annotated[str, typer.Argument(help="The call's id (from `calls`), or its end.")],
        place: Place = HERE,
        as_json: Annotated[bool, typer.Option("--json", help="Print the entries as JSON.")] = False,
    ) -> None:
        """Say why a call went where it went: who was asked, who was not and why."""
        import json

        from softswitch.apps.acd_story import tell

        found = _found(place, call)
        if as_json:
            rows = [{"at_s": at_s, "kind": kind, **data} for at_s, kind, data in found]
            typer.echo(json.dumps(rows, indent=2))
            return
        for line in tell(found):
            typer.echo(line)


def _found(place: Path, call: str) -> list[tuple[float, str, dict[str, Any]]]:
    """The journal of a call: from the server that runs, or from the database where none does."""
    from urllib.parse import quote

    from softswitch.cli.remote import Remote
    from softswitch.store.entries import ENTRIES_MAX

    remote = Remote.found(place)
    if remote is None:
        import asyncio

        return asyncio.run(_entries(place, call))
    path = f"/calls/{quote(call, safe='')}/journal"
    entries = remote.pages(path, ENTRIES_MAX, by_end="true", story="true")
    return [(e["at_s"], e["kind"], e["data"]) for e in entries]


async def _entries(place: Path, call: str) -> list[tuple[float, str, dict[str, Any]]]:
    from softswitch.cli.place import storage_at
    from softswitch.store import Store

    directory, database = storage_at(place)
    store = await Store.open(directory, database=database, read_only=True)
    try:
        found = await store.entries.of_story(await store.entries.call_named(call))
        return [(entry.at_s, entry.kind, entry.data()) for entry in found]
    finally:
        await store.close()
