"""Our certificate and whom we trust: the TLS contexts of all transports, read again when renewed."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from softswitch.errors import SoftswitchError

if TYPE_CHECKING:
    from cryptography.x509 import GeneralName

_log = logging.getLogger("softswitch.transport")

_LOOK_EVERY_S = 60.0
_VALID_DAYS = 3650
CERTIFICATE_NAME = "certificate.pem"
KEY_NAME = "key.pem"


class TlsIdentity:
    """A certificate with its key, and the authorities that we and our peers are checked against.

    Parameters: `certificate` (a chain, ours first) and `key` are PEM files; `trusted`, a PEM file of
    authorities beside those of the system, for servers we connect to; `clients`, a PEM file of
    authorities: with it, whoever connects to us must show a certificate that one of them has signed.
    `now_s` says when to look at the files again: a renewed certificate is taken without a restart, one
    that cannot be read leaves the old in place. Raises `SoftswitchError` in one line.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        *,
        trusted: Path | None = None,
        clients: Path | None = None,
        now_s: Callable[[], float],
    ) -> None:
        self._now_s = now_s
        self.use(certificate, key, trusted, clients)

    def use(self, certificate: Path, key: Path, trusted: Path | None, clients: Path | None) -> None:
        """Read these files, for the connections that begin from now on. Raises `SoftswitchError`: all is
        as it was then."""
        server, client = _context(ssl.PROTOCOL_TLS_SERVER), _context(ssl.PROTOCOL_TLS_CLIENT)
        client.load_default_certs(ssl.Purpose.SERVER_AUTH)
        _trust(client, trusted)
        if clients is not None:
            server.verify_mode = ssl.CERT_REQUIRED
            _trust(server, clients)
        _load(server, certificate, key)
        _load(client, certificate, key)  # shown to trunks that ask for one
        self._certificate, self._key = certificate, key
        self._looked_s = self._now_s()
        self._stamp = self._stamps()
        self._server, self._client = server, client

    def server_context(self) -> ssl.SSLContext:
        """For connections made to us."""
        self._look()
        return self._server

    def client_context(self) -> ssl.SSLContext:
        """For connections we make: chain and name are verified."""
        self._look()
        return self._client

    def _stamps(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in (self._certificate, self._key))
        except OSError:
            return ()

    def _look(self) -> None:
        now_s = self._now_s()
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now_s
        stamp = self._stamps()
        if not stamp or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            # Half a renewal must not break the rest.
            _load(_context(ssl.PROTOCOL_TLS_SERVER), self._certificate, self._key)
            _load(self._server, self._certificate, self._key)
            _load(self._client, self._certificate, self._key)
        except SoftswitchError as error:
            _log.error("the certificate stays as it was: %s", error)
        else:
            _log.info("%s has been renewed", self._certificate)


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise SoftswitchError(f"{certificate}: {reason}") from None


def _trust(context: ssl.SSLContext, authorities: Path | None) -> None:
    if authorities is None:
        return
    try:
        context.load_verify_locations(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise SoftswitchError(f"{authorities}: {reason}") from None


def _no_password() -> str:
    raise ValueError("the key asks for a password")


def ensure_certificate(directory: Path, hosts: Sequence[str]) -> tuple[Path, Path]:
    """Paths of certificate and key in `directory`, made there (self-signed, P-256) if missing.

    `hosts` are the names and addresses that phones reach us by; the first is the subject. Both have
    mode 0600. Raises `SoftswitchError` in one line.
    """
    certificate, key = directory / CERTIFICATE_NAME, directory / KEY_NAME
    if certificate.exists() and key.exists():
        return certificate, key
    pem, key_pem = self_signed(hosts)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(key, key_pem, 0o600)
        _write(certificate, pem, 0o600)
    except OSError as error:
        raise SoftswitchError(f"{error.filename}: {error.strerror}") from None
    return certificate, key


def self_signed(hosts: Sequence[str]) -> tuple[bytes, bytes]:
    """A certificate for `hosts` signed by itself, and its key, both PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([_general_name(host) for host in dict.fromkeys(hosts)]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _general_name(host: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
