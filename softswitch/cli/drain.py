"""`softswitch drain`: empty a media worker and put a fresh process in its place."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from softswitch.cli.place import HERE, Place


def register(app: typer.Typer) -> None:
    @app.command()
    def drain(
        worker: Annotated[int, typer.Argument(help="Number of the worker, as `status` shows it.")],
        place: Place = HERE,
        undo: Annotated[bool, typer.Option("--undo", help="Let it take calls again.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Give a media worker no new calls; when its last call is over a fresh process takes its place."""
        from softswitch.api.admin import ask
        from softswitch.cli.place import storage_directory

        for answer in ask(storage_directory(place), "drain", worker=worker, on=not undo):
            for row in answer["workers"]:
                if row["worker"] == worker:
                    typer.echo(json.dumps(row) if as_json else told(row, on=not undo))


def told(row: dict[str, object], *, on: bool) -> str:
    """One line about a worker of whom `on` was asked."""
    if row.get("draining"):
        return f"worker {row['worker']} gets no new calls and is renewed after its {row['streams']} streams"
    if on:
        return f"worker {row['worker']} had no calls: a fresh process takes its place now"
    return f"worker {row['worker']} takes calls"
