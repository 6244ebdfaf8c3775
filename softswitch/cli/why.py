"""`softswitch why`: why a call went to the agent it went to, in words, from the journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from softswitch.store.entry import Entry


def register(app: typer.Typer) -> None:
    @app.command()
    def why(
        call: Annotated[str, typer.Argument(help="The call's id (from `calls`), or its end.")],
        place: Annotated[Path, typer.Argument(help="office.toml or the storage directory.")] = Path(
            "office.toml"
        ),
        as_json: Annotated[bool, typer.Option("--json", help="Print the entries as JSON.")] = False,
    ) -> None:
        """Say why a call went where it went: who was asked, who was not and why."""
        import asyncio
        import json

        from softswitch.apps.acd_story import tell

        found = asyncio.run(_entries(place, call))
        if as_json:
            rows = [{"at_s": e.at_s, "kind": e.kind, **e.data()} for e in found]
            typer.echo(json.dumps(rows, indent=2))
            return
        for line in tell((e.at_s, e.kind, e.data()) for e in found):
            typer.echo(line)


async def _entries(place: Path, call: str) -> list[Entry]:
    from softswitch.cli.place import storage_directory
    from softswitch.errors import StoreError
    from softswitch.store import Store

    store = await Store.open(storage_directory(place), read_only=True)
    try:
        found = await store.entries.of_call(call)
        if not found:
            ids = await store.entries.call_ids(call)
            if len(ids) > 1:
                raise StoreError(f"{call} is the end of several calls: {', '.join(ids)}...")
            found = await store.entries.of_call(ids[0]) if ids else []
        if not found:
            raise StoreError(f"there is no call {call}; `softswitch calls` lists them")
        return found
    finally:
        await store.close()
