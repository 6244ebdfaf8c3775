"""`softswitch serve FILE`: run the exchange until Ctrl-C or SIGTERM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def serve(
        file: Annotated[Path, typer.Argument(help="The office's configuration, office.toml.")],
        verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every call.")] = False,
        log_json: Annotated[
            bool, typer.Option("--log-json", help="Log JSON, one object a line.")
        ] = False,
    ) -> None:
        """Run the exchange that FILE describes until Ctrl-C or SIGTERM."""
        import asyncio

        from softswitch.cli.packages import require_ours
        from softswitch.logs import set_up
        from softswitch.switch import Switch

        require_ours()

        set_up(json_lines=log_json, verbose=verbose)
        switch = Switch.from_toml(file)

        def announce() -> None:
            for line in switch.ready_lines():
                typer.echo(line)

        asyncio.run(switch.serve(on_ready=announce))
