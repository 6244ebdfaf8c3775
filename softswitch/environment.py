"""What a switch stands on: sockets, the media plane, the store, clocks and randomness of this machine."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from media.protocol import MediaEvent
from softswitch.apps.ask import Asker, GuardedAsker
from softswitch.apps.mailer import SendMail, smtp
from softswitch.call.cdr import JournalWriter
from softswitch.call.plane import MediaPlane
from softswitch.clock import Clock, SystemClock
from softswitch.config import Office
from softswitch.transport.address import own_address
from softswitch.transport.dns_lookup import DnsLookup, Lookup, addresses_of
from softswitch.transport.interface import Transport
from softswitch.transport.listeners import bind_listeners
from softswitch.transport.resolver import Resolver

if TYPE_CHECKING:
    from softswitch.store import Store, StoreAlarm
    from softswitch.telemetry import Telemetry

_TOKEN_OCTETS = 10
_TOKENS_A_DRAW = 64


class RunningPlane(MediaPlane, Protocol):
    """A media plane with a beginning and an end."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def flush(self) -> None:
        """Carry out what was asked for so far before anything else happens."""
        ...

    def drain(self, worker: int, *, on: bool = True) -> None:
        """Give a media worker no new calls, and a fresh process in its place when it has none; raises
        `MediaError` for a number that no worker has."""
        ...


class Environment(Protocol):
    """What a switch stands on. The default is this machine; `softswitch.sim` has a virtual one."""

    clock: Clock

    def transports(self, office: Office) -> list[Transport]:
        """Bound transports for `[sip] listen`; raises `ConfigError` where one cannot be bound."""
        ...

    def plane(
        self, office: Office, directory: Path, on_event: Callable[[MediaEvent], None]
    ) -> RunningPlane: ...

    async def store(
        self, office: Office, directory: Path, on_alarm: Callable[[StoreAlarm], None]
    ) -> tuple[JournalWriter, Store | None]:
        """The journal, and the database behind it where there is one; `on_alarm` is told when it
        fails and when it works again."""
        ...

    def lookup(self, office: Office) -> Lookup:
        """The DNS."""
        ...

    def token(self) -> str:
        """64 random bits or more as letters and digits."""
        ...

    def admin(self) -> bool:
        """Whether the admin socket is to be opened."""
        ...

    def http(self) -> bool:
        """Whether ``[http]`` is to be served, where the office has that table."""
        ...

    def mail(self, office: Office) -> SendMail:
        """How mail is sent."""
        ...

    def asker(self, office: Office) -> Asker:
        """How flows ask other programs."""
        ...

    def telemetry(self, office: Office) -> Telemetry | None:
        """Where traces of calls and requests go; None: nowhere. Raises `ConfigError`."""
        ...


class Machine:
    """The real world: sockets, worker processes, SQLite, the system's clocks and randomness."""

    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.token = _token_source()

    def transports(self, office: Office) -> list[Transport]:
        return bind_listeners(office, self.clock)

    def plane(
        self, office: Office, directory: Path, on_event: Callable[[MediaEvent], None]
    ) -> RunningPlane:
        from media.client import MediaClient

        workers, address = office.media.workers, office.media.address
        return MediaClient(
            address=own_address() if address == "auto" else address,
            other_address=office.media.other_address or None,
            ports=office.media.ports,
            workers=(os.cpu_count() or 1) if workers == "auto" else workers,
            recordings_dir=directory / "recordings",
            on_event=on_event,
            one_port_per_stream=office.media.one_port_per_stream,
            orphan_s=office.media.orphan_s,
            orphan_dir=directory,
        )

    async def store(
        self, office: Office, directory: Path, on_alarm: Callable[[StoreAlarm], None]
    ) -> tuple[JournalWriter, Store | None]:
        from softswitch.apps.ticket_desk import rule_tickets
        from softswitch.store import Store

        store = await Store.open(
            directory,
            database=office.storage.database,
            on_alarm=on_alarm,
        )
        rule_tickets(store, office)
        return store.journal, store

    def lookup(self, office: Office) -> Lookup:
        return DnsLookup(tuple((host, port or 53) for host, port in office.sip.nameservers))

    def admin(self) -> bool:
        return True

    def http(self) -> bool:
        return True

    def mail(self, office: Office) -> SendMail:
        return smtp(office.mail, office.tls.trusted)

    def asker(self, office: Office) -> Asker:
        return GuardedAsker(office.look_up.hosts, addresses_of(self.lookup(office)))

    def telemetry(self, office: Office) -> Telemetry | None:
        if office.telemetry is None:
            return None
        from softswitch.telemetry import Telemetry

        return Telemetry(office.telemetry)


def resolver_of(environment: Environment, office: Office, transports: list[Transport]) -> Resolver:
    """Asks only for what the listeners can send to."""
    six = any(":" in transport.local[0] for transport in transports)
    four = any(":" not in transport.local[0] for transport in transports) or any(
        transport.local[0] == "::" for transport in transports
    )
    kinds = [kind for kind, wanted in (("A", four), ("AAAA", six)) if wanted]
    names = [transport.name for transport in transports]
    return Resolver(environment.lookup(office), environment.clock.monotonic_s, names, kinds)


def key_source(token: Callable[[], str]) -> Callable[[int], bytes]:
    """Random octets for keys, from eight tokens of 80 bits each."""

    def draw(octets: int) -> bytes:
        text = "".join(token() for _ in range(8))
        return hashlib.shake_256(text.encode("ascii")).digest(octets)

    return draw


def _token_source() -> Callable[[], str]:
    """Tokens of 80 random bits, each given once; the system is asked for many at a time."""
    supply: list[str] = []

    def token() -> str:
        if not supply:
            drawn = secrets.token_hex(_TOKEN_OCTETS * _TOKENS_A_DRAW)
            digits = 2 * _TOKEN_OCTETS
            supply.extend([drawn[at : at + digits] for at in range(0, len(drawn), digits)])
        return supply.pop()

    return token
