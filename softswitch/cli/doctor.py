"""`softswitch doctor [FILE]`: would the exchange run well on this machine?"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from softswitch.config import Office

_FILES_MIN = 1024
_FREE_BYTES_MIN = 1 << 30
_YEAR_MIN = 2025
_PEERS = (
    ("sipp", "sip-tester", "load and scenario tests"),
    ("baresip", "baresip-core", "a real phone for tests"),
    ("espeak-ng", "espeak-ng", "spoken prompts from text"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `good` True, False, or None for what is optional and missing."""

    what: str
    good: bool | None
    says: str


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(
        file: Annotated[
            Path | None, typer.Argument(help="A configuration whose ports and directory to try.")
        ] = None,
    ) -> None:
        """Look at this machine: Python, packages, ports, directory, clock, optional programs."""
        from softswitch.apps.checks import OFFICE_CHECKS
        from softswitch.cli.place import office_file
        from softswitch.config import load_office

        office = load_office(office_file(file), checks=OFFICE_CHECKS) if file is not None else None
        findings = list(examine(office))
        for finding in findings:
            mark = {True: "ok  ", False: "BAD ", None: "-   "}[finding.good]
            typer.echo(f"{mark} {finding.what}: {finding.says}")
        if any(finding.good is False for finding in findings):
            raise typer.Exit(1)


def examine(office: Office | None) -> Iterator[Finding]:
    """All findings; those about ports and the directory only for an office."""
    yield _python()
    yield _packages()
    yield _clock()
    yield _time_zones()
    yield _files()
    yield _batches()
    yield _rank()
    yield _g729()
    if office is not None:
        from softswitch.api.admin import runs

        directory = office.storage.directory
        yield _directory(directory)
        if runs(directory):
            yield Finding("ports", True, "not tried: the server of this office runs and has them")
        else:
            yield from _ports(office)
    for command, package, purpose in _PEERS:
        path = shutil.which(command)
        says = path or f"not installed; {purpose}: apt-get install {package}"
        yield Finding(command, True if path else None, says)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), f"{version} ({sys.executable})")


def _packages() -> Finding:
    from softswitch.cli.packages import strangers

    found = strangers()
    return Finding("packages", not found, "; ".join(found) or "softswitch, media, routing are ours")


def _clock() -> Finding:
    from datetime import UTC, datetime

    from softswitch.clock import SystemClock

    clock = SystemClock()
    now = datetime.fromtimestamp(clock.wall_s(), UTC)
    steady = clock.monotonic_s() <= clock.monotonic_s()
    good = now.year >= _YEAR_MIN and steady
    says = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    return Finding("clock", good, says if good else f"{says} is wrong; set up NTP")


def _time_zones() -> Finding:
    from zoneinfo import available_timezones

    zones = available_timezones()
    says = f"{len(zones)} known" if zones else "no data: apt-get install tzdata"
    return Finding("time zones", bool(zones), says)


def _files() -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    says = f"{soft} (up to {hard})"
    good = soft >= _FILES_MIN
    return Finding("open files", good, says if good else f"{says}; run: ulimit -n {_FILES_MIN}")


def _rank() -> Finding:
    import resource

    from media.plane.scheduling import NICE

    limit = resource.getrlimit(resource.RLIMIT_NICE)[0] if sys.platform == "linux" else 0
    if os.geteuid() == 0 or limit == resource.RLIM_INFINITY or limit >= 20 - NICE:
        return Finding("rank of sound", True, f"media workers may go before others (nice {NICE})")
    says = "media workers wait their turn like others: LimitNICE=-10 in the unit, ulimit -e 30"
    return Finding("rank of sound", None, says)


def _g729() -> Finding:
    from media.dsp import g729

    if g729.available():
        return Finding("G.729", True, "libbcg729; list G729 in [media] codecs to offer it")
    return Finding("G.729", None, "no libbcg729 here: not offered (Debian: libbcg729-0)")


def _batches() -> Finding:
    import ctypes

    library = ctypes.CDLL(None)
    if hasattr(library, "recvmmsg") and hasattr(library, "sendmmsg"):
        return Finding("packet batches", True, "recvmmsg and sendmmsg")
    return Finding("packet batches", None, "no recvmmsg here: audio costs about twice the CPU")


def _directory(directory: Path) -> Finding:
    existing = directory
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding("directory", False, f"{directory} cannot be written by this user")
    free = shutil.disk_usage(existing).free
    says = f"{directory}, {free / (1 << 30):.1f} GiB free"
    if free < _FREE_BYTES_MIN:
        return Finding("directory", False, f"{says}: too little for recordings")
    return Finding("directory", True, says)


def _ports(office: Office) -> Iterator[Finding]:
    for listen in office.sip.listen:
        kind = socket.SOCK_DGRAM if listen.transport == "udp" else socket.SOCK_STREAM
        yield _port(f"sip {listen}", listen.host, listen.port, kind)
    http = office.http.listen
    yield _port(f"http {http}", http.host, http.port, socket.SOCK_STREAM)
    media = office.media
    even = range(media.ports.low + media.ports.low % 2, media.ports.high + 1, 2)
    tried = even[:: max(1, len(even) // 64)]
    for host in filter(None, (media.address, media.other_address)):
        host = "0.0.0.0" if host == "auto" else host
        taken = [port for port in tried if _bind_error(host, port, socket.SOCK_DGRAM) is not None]
        says = f"{host}, {len(even)} even ports" + (f", in use: {taken[:5]}" if taken else "")
        yield Finding("media ports", len(taken) < len(tried), says)


def _port(what: str, host: str, port: int, kind: socket.SocketKind) -> Finding:
    error = _bind_error(host, port, kind)
    return Finding(what, error is None, "free" if error is None else error)


def _bind_error(host: str, port: int, kind: socket.SocketKind) -> str | None:
    try:
        family = socket.getaddrinfo(host, port, type=kind)[0][0]
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    return None
