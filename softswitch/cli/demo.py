"""`softswitch demo`: see and hear a call in ten seconds, with nothing configured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from softswitch.demo import Demo


def register(app: typer.Typer) -> None:
    @app.command()
    def demo(
        stay: Annotated[
            bool, typer.Option("--stay", help="Keep serving and print accounts for real phones.")
        ] = False,
        directory: Annotated[
            Path | None,
            typer.Option(help="Where the demo office lives; a new folder if not given."),
        ] = None,
    ) -> None:
        """Run an office on loopback: two phones, one call with speech both ways, recorded, verified."""
        import asyncio
        import tempfile

        from softswitch.demo import Demo

        home = directory or Path(tempfile.mkdtemp(prefix="softswitch-demo-"))
        good = asyncio.run(_run(Demo(home), stay=stay))
        raise typer.Exit(0 if good else 1)


async def _run(demo: Demo, *, stay: bool) -> bool:
    from rich.console import Console, Group
    from rich.live import Live

    from softswitch.cli.status import records_table, status_tables

    console = Console()
    await demo.start()
    try:
        for line in demo.switch.ready_lines():
            console.print(line)
        with Live(console=console, refresh_per_second=4, transient=False) as live:

            def show(snapshot: dict[str, Any]) -> None:
                live.update(Group(*status_tables(snapshot)))

            result = await demo.run(show)
        console.print(records_table([result.record]))
        console.print(f"recording: {result.recording}", soft_wrap=True)
        for hearing in result.hearings:
            verdict = "[green]same sound[/]" if hearing.good else "[red]NOT what was sent[/]"
            console.print(
                f"{hearing.listener}: {verdict} "
                f"(correlation {hearing.correlation:.3f}, {hearing.delay_ms:.0f} ms in)"
            )
        if stay:
            await _stay(demo, console)
        return result.good
    finally:
        await demo.stop()


async def _stay(demo: Demo, console: Any) -> None:
    import asyncio
    import signal

    host, port = demo.server
    console.print("\nStill serving. Register a phone on this machine with one of these accounts:")
    for number, password in demo.passwords.items():
        console.print(f"  server {host}:{port}  user {number}  password {password}")
    console.print("Dial *43 for the echo test; Ctrl-C ends it.")
    stopped = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, stopped.set)
    await stopped.wait()
