"""The command `softswitch`.

Each command lives in a module of its own that exports `register(app)`; those modules import what they
work with inside the command, so that `--help` and errors come at once.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from softswitch.errors import SoftswitchError

COMMANDS = (
    "init",
    "check",
    "serve",
    "status",
    "queues",
    "line",
    "why",
    "report",
    "people",
    "webhooks",
    "backup",
    "trace",
    "unban",
    "drain",
    "reload",
    "rebuild",
    "downgrade",
    "demo",
    "load",
    "doctor",
)
"""Modules of this package, in the order of `--help`."""


def _version(wanted: bool) -> None:
    if wanted:
        from softswitch import __version__

        typer.echo(f"softswitch {__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """The application with all commands."""
    app = typer.Typer(
        name="softswitch",
        help="A SIP/RTP telephone exchange and call centre.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def common(
        version: Annotated[
            bool,
            typer.Option(
                "--version", callback=_version, is_eager=True, help="Print the version and exit."
            ),
        ] = False,
    ) -> None:
        """A SIP/RTP telephone exchange and call centre."""

    for name in COMMANDS:
        import_module(f"softswitch.cli.{name}").register(app)
    return app


def run() -> None:
    """Entry point: an error is a line that says what to do, never a traceback (set SOFTSWITCH_DEBUG to
    see one)."""
    for stream in (sys.stdout, sys.stderr):
        # A name in Chinese on a terminal that has no Chinese is no reason to break off.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        build()()
    except SoftswitchError as error:
        _fail(str(error), error)
    except BrokenPipeError:
        # The reader has gone (`softswitch check FILE | head`); keep Python from telling at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", error)
    except Exception as error:
        words = str(error).split("\n")[0][:200]
        _fail(
            f"this is a bug ({type(error).__name__}: {words}); please report it with the output of "
            "the same command under SOFTSWITCH_DEBUG=1",
            error,
        )


def _fail(message: str, error: Exception) -> None:
    if os.environ.get("SOFTSWITCH_DEBUG"):
        raise error
    print(message, file=sys.stderr)
    sys.exit(1)
