"""`softswitch unban`: forgive an address that has guessed too many passwords."""

from __future__ import annotations

from typing import Annotated

import typer

from softswitch.cli.place import HERE, Place


def register(app: typer.Typer) -> None:
    @app.command()
    def unban(
        address: Annotated[str, typer.Argument(help="The IP address, as `status` shows it.")],
        place: Place = HERE,
    ) -> None:
        """Lift the ban of an address."""
        from softswitch.api.admin import ask
        from softswitch.cli.place import storage_directory

        for answer in ask(storage_directory(place), "unban", address=address):
            lifted = answer["lifted"]
            typer.echo(f"{address}: {'may try again' if lifted else 'was not banned'}")
