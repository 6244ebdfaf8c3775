"""`softswitch drain`: empty a media worker and put a fresh process in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def drain(
        worker: Annotated[int, typer.Argument(help="Number of the worker, as `status` shows it.")],
        place: Annotated[Path, typer.Argument(help="office.toml or the storage directory.")] = Path(
            "office.toml"
        ),
        undo: Annotated[bool, typer.Option("--undo", help="Let it take calls again.")] = False,
    ) -> None:
        """Give a media worker no new calls; when its last call is over a fresh process takes its place."""
        from softswitch.api.admin import ask
        from softswitch.cli.place import storage_directory

        for answer in ask(storage_directory(place), "drain", worker=worker, on=not undo):
            for row in answer["workers"]:
                if row["worker"] == worker:
                    typer.echo(told(row))


def told(row: dict[str, object]) -> str:
    """One line about a worker."""
    if row.get("draining"):
        return f"worker {row['worker']} gets no new calls and is renewed after its {row['streams']} streams"
    return f"worker {row['worker']} takes calls"
