"""`softswitch serve FILE`: run the exchange until Ctrl-C or SIGTERM."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softswitch.cli.place import HERE, OfficeFile

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_log = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    @app.command()
    def serve(
        file: OfficeFile = HERE,
        verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every call.")] = False,
        log_json: Annotated[
            bool, typer.Option("--log-json", help="Log JSON, one object a line.")
        ] = False,
        syslog: Annotated[
            str, typer.Option(help="Send the log to a syslog collector as well, HOST:PORT by UDP.")
        ] = "",
    ) -> None:
        """Run the exchange that FILE describes until Ctrl-C or SIGTERM."""
        from softswitch.collector import nothing_collected

        with nothing_collected():
            _serve(file, verbose=verbose, log_json=log_json, syslog=syslog)


def _serve(file: Path, *, verbose: bool, log_json: bool, syslog: str) -> None:
    import asyncio

    from softswitch.cli.packages import require_ours
    from softswitch.cli.place import keep_from_others, office_file
    from softswitch.logs import set_up
    from softswitch.switch import Switch

    require_ours()
    keep_from_others()

    address = _address(syslog) if syslog else None
    written = set_up(json_lines=log_json, verbose=verbose, syslog=address)
    switch = Switch.from_toml(office_file(file))
    switch.notice = _say

    def announce() -> None:
        loop = asyncio.get_running_loop()
        written.tell(lambda why: _in(loop, switch.alarm, "log", why))
        for line in switch.ready_lines():
            _say(line)

    switch.run(on_ready=announce)


def _say(line: str) -> None:
    """A line that cannot be printed stops nothing."""
    try:
        typer.echo(line)
    except OSError as error:
        _log.error("standard output cannot be written: %s", error.strerror)


def _in(loop: AbstractEventLoop, what: Callable[..., None], *values: str) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(what, *values)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise typer.BadParameter("--syslog is HOST:PORT, for example 127.0.0.1:514")
    return host.strip("[]"), int(port)
