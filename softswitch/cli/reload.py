"""`softswitch reload`: have the running server read its office file again."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from softswitch.cli.place import HERE, Place


def register(app: typer.Typer) -> None:
    @app.command()
    def reload(
        place: Place = HERE,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Have the running server read its office file again, calls going on.

        A file with a mistake is refused, with every problem and its line; nothing has changed then.
        """
        from softswitch.api.admin import ask
        from softswitch.cli.place import storage_directory

        answer = next(ask(storage_directory(place), "reload"))
        if as_json:
            typer.echo(json.dumps(answer))
            return
        typer.echo(f"changed: {', '.join(answer['changed']) or 'nothing'}")
        for key in answer["restart"]:
            typer.echo(f"restart needed for {key}: it is only read at a start")
