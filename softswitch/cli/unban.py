"""`softswitch unban`: forgive an address that has guessed too many passwords."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from softswitch.cli.place import HERE, Place


def register(app: typer.Typer) -> None:
    @app.command()
    def unban(
        address: Annotated[str, typer.Argument(help="The IP address, as `status` shows it.")],
        place: Place = HERE,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Lift the ban of an address."""
        from softswitch.api.admin import ask
        from softswitch.cli.place import storage_directory

        for answer in ask(storage_directory(place), "unban", address=address):
            lifted = answer["lifted"]
            if as_json:
                typer.echo(json.dumps({"address": address, "lifted": lifted}))
                continue
            typer.echo(f"{address}: {'may try again' if lifted else 'was not banned'}")
