"""From `[sip] listen` to bound transports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from softswitch.errors import ConfigError, SoftswitchError
from softswitch.transport.address import own_address, unmapped
from softswitch.transport.limits import ConnectionQuota
from softswitch.transport.tcp import TcpTransport
from softswitch.transport.udp import UdpTransport

if TYPE_CHECKING:
    from pathlib import Path

    from softswitch.clock import Clock
    from softswitch.config import Listen, Office
    from softswitch.transport.credential import TlsIdentity
    from softswitch.transport.interface import Transport

_log = logging.getLogger("softswitch.transport")

TLS_DIRECTORY = "tls"
_WILDCARDS = frozenset({"0.0.0.0", "::"})


def bind_listeners(office: Office, clock: Clock) -> list[Transport]:
    """A transport for each listener of the office, all stream transports under one quota.

    Raises `ConfigError` where one cannot be bound or the certificate cannot be used; none stays open.
    """
    listeners = _Listeners(office, clock)
    bound: list[Transport] = []
    try:
        for number, listen in enumerate(office.sip.listen):
            bound.append(listeners.bind(number, listen))
    except ConfigError:
        for transport in bound:
            transport.close()
        raise
    return bound


def check_tls(office: Office, transports: Iterable[Transport], clock: Clock) -> None:
    """Whether certificate and authorities of an office can be used. Raises `ConfigError`."""
    if any(isinstance(transport, SpeaksTls) for transport in transports):
        _Listeners(office, clock).tls_identity()


def use_tls(office: Office, transports: Iterable[Transport]) -> None:
    """Show the office's certificate in connections that begin from now on; a renewed one too."""
    for identity in {t.identity for t in transports if isinstance(t, SpeaksTls)}:
        try:
            identity.use(*own_certificate(office), office.tls.trusted, office.tls.clients)
        except SoftswitchError as error:  # it has changed since it was checked
            _log.error("the certificate stays as it was: %s", error)
    for transport in transports:
        if transport.name == "tls" and isinstance(transport, NamesPeers):
            transport.name_of = trunk_names(office)


@runtime_checkable
class SpeaksTls(Protocol):
    """A transport with a certificate."""

    identity: TlsIdentity


@runtime_checkable
class NamesPeers(Protocol):
    """A transport that checks who its peers are."""

    name_of: Callable[[str], str | None] | None


class _Listeners:
    def __init__(self, office: Office, clock: Clock) -> None:
        self._office = office
        self._clock = clock
        sip = office.sip
        self._quota = ConnectionQuota(
            sip.connections, sip.connections_per_source, sip.connections_per_source_per_s
        )
        self._identity: TlsIdentity | None = None

    def bind(self, number: int, listen: Listen) -> Transport:
        if listen.transport in ("tls", "wss"):
            identity = self.tls_identity()
        try:
            match listen.transport:
                case "udp":
                    return UdpTransport.bind(listen.host, listen.port)
                case "tcp":
                    return TcpTransport.bind(listen.host, listen.port, quota=self._quota)
                case "tls":
                    from softswitch.transport.tls import TlsTransport

                    return TlsTransport.bind(
                        listen.host,
                        listen.port,
                        quota=self._quota,
                        identity=identity,
                        name_of=trunk_names(self._office),
                    )
            from softswitch.transport.ws import WssTransport, WsTransport
            from softswitch.transport.ws_framing import OriginList

            allows = OriginList(self._office.sip.origins)
            host, port, quota = listen.host, listen.port, self._quota
            if listen.transport == "ws":
                return WsTransport.bind(host, port, quota=quota, allows=allows)
            return WssTransport.bind(host, port, quota=quota, allows=allows, identity=identity)
        except SoftswitchError as error:
            what = "an address of this machine and a free port"
            raise ConfigError(f"sip.listen[{number}]", str(error), what) from None

    def tls_identity(self) -> TlsIdentity:
        """Read once, for all listeners; made on the first start where the office names none."""
        if self._identity is None:
            from softswitch.transport.credential import TlsIdentity

            try:
                certificate, key = own_certificate(self._office)
                self._identity = TlsIdentity(
                    certificate,
                    key,
                    trusted=self._office.tls.trusted,
                    clients=self._office.tls.clients,
                    now_s=self._clock.monotonic_s,
                )
            except SoftswitchError as error:
                raise ConfigError("tls", str(error), "PEM files of certificate and key") from None
        return self._identity


def own_certificate(office: Office) -> tuple[Path, Path]:
    """The certificate that `office` shows and its key: the files it names, or its own, made here if missing."""
    from softswitch.transport.credential import ensure_certificate

    if office.tls.certificate is not None and office.tls.key is not None:
        return office.tls.certificate, office.tls.key
    return ensure_certificate(office.storage.directory / TLS_DIRECTORY, own_names(office))


def own_names(office: Office) -> list[str]:
    """The names and addresses that a certificate of ours is for: the domain first."""
    hosts = [unmapped(listen.host) for listen in office.sip.listen]
    named = [own_address() if host in _WILDCARDS else host for host in hosts]
    return list(dict.fromkeys([office.office.domain.partition(":")[0], *named]))


def trunk_names(office: Office) -> Callable[[str], str | None]:
    """By which name the trunk at an IP address must identify itself over TLS."""
    names = {
        unmapped(host): trunk.host for trunk in office.trunks for host, _ in trunk.from_addresses
    }
    return names.get
