"""`softswitch trace`: the SIP ladder of a call, from the running server, while it happens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def trace(
        place: Annotated[Path, typer.Argument(help="office.toml or the storage directory.")] = Path(
            "office.toml"
        ),
        call: Annotated[
            str, typer.Option(help="Only this call (its id from `status`), else all.")
        ] = "",
        follow: Annotated[
            bool, typer.Option("--follow/--no-follow", help="Go on with messages as they pass.")
        ] = True,
        raw: Annotated[bool, typer.Option("--raw", help="Print whole messages.")] = False,
    ) -> None:
        """Draw the SIP ladder of a live call, both legs."""
        from softswitch.api.admin import ask
        from softswitch.cli.place import storage_directory

        answers = ask(storage_directory(place), "trace", call=call, follow=follow)
        try:
            for line in ladder(answers, raw=raw):
                typer.echo(line)
        except KeyboardInterrupt:
            return


def ladder(answers: Any, *, raw: bool = False) -> Any:
    """Lines of a ladder: time since the first message, peer, arrow, first line, CSeq."""
    first_s: float | None = None
    for message in answers:
        if first_s is None:
            first_s = message["at_s"]
        arrow = "──▶ softswitch" if message["received"] else "◀── softswitch"
        what = message["first_line"].removesuffix(" SIP/2.0").removeprefix("SIP/2.0 ")
        yield (
            f"{message['at_s'] - first_s:9.3f} s  {message['peer']:>21} {arrow}  {what}"
            f"  ({message['cseq']})  {message['call_id'][:24]}"
        )
        if raw:
            yield message["raw"]
