"""`softswitch backup` and `softswitch restore`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softswitch.cli.place import HERE, Place

if TYPE_CHECKING:
    from softswitch.backup import Contents

_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    @app.command()
    def backup(
        file: Annotated[Path, typer.Argument(help="The file to be written, as in office.tar.gz.")],
        place: Place = HERE,
        recordings: Annotated[
            bool,
            typer.Option("--recordings", help="With the recordings of calls, which are large."),
        ] = False,
        as_json: _AsJson = False,
    ) -> None:
        """Save the database, keys, voicemail and prompts into one file, while the server runs.

        The file is read back and compared before it gets its name. The office file is not in it.
        """
        from softswitch.api.admin import ServerNotRunning, ask
        from softswitch.backup import make_backup
        from softswitch.cli.place import storage_at

        directory, database = storage_at(place)
        with contextlib.suppress(ServerNotRunning):
            next(ask(directory, "flush"))
        made = make_backup(directory, file, recordings=recordings, database=database)
        _tell(file, made, "saved", as_json)

    @app.command()
    def restore(
        file: Annotated[Path, typer.Argument(help="A file that `backup` has written.")],
        place: Place = HERE,
        force: Annotated[
            bool, typer.Option("--force", help="Set aside what is there, instead of refusing.")
        ] = False,
        check: Annotated[
            bool, typer.Option("--check", help="Only verify the file, octet by octet.")
        ] = False,
        as_json: _AsJson = False,
    ) -> None:
        """Bring a backup back. The server must not run; nothing is changed before all has been verified."""
        from softswitch.api.admin import ServerNotRunning, ask
        from softswitch.backup import ASIDE, verify
        from softswitch.backup import restore as bring_back
        from softswitch.cli.place import keep_from_others, storage_at
        from softswitch.errors import SoftswitchError

        if not file.is_file():
            raise SoftswitchError(f"{file}: there is no such file")
        keep_from_others()
        if check:
            _tell(file, verify(file), "good", as_json)
            return
        directory, database = storage_at(place)
        with contextlib.suppress(ServerNotRunning):
            next(ask(directory, "status"))
            raise SoftswitchError(f"the server on {directory} runs: stop it first")
        before = set(directory.glob(f"{ASIDE}*"))
        found = bring_back(file, directory, force=force, database=database)
        _tell(file, found, "restored", as_json)
        for aside in set(directory.glob(f"{ASIDE}*")) - before:
            typer.echo(f"what was there is in {aside}", err=True)


def _tell(file: Path, contents: Contents, word: str, as_json: bool) -> None:
    rows = sum(contents.rows.values())
    if as_json:
        found = {"files": len(contents.files), "octets": contents.octets, "rows": contents.rows}
        typer.echo(json.dumps(found, indent=2))
        return
    size = f"{contents.octets / 1e6:.1f} MB"
    typer.echo(f"{file}: {word}, {len(contents.files)} files, {size}, {rows} rows")
