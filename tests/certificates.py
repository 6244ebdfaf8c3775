"""An authority of the test's own, and the certificates that it issues."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """PEM files of a certificate (with its chain) and its key."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority of the test's own; `file` is its certificate."""

    def __init__(self, directory: Path, name: str, parent: Authority | None = None) -> None:
        self.name = name
        self.directory = directory
        self._parent = parent
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        issuer = parent._subject if parent else self._subject
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self._subject)
            .issuer_name(issuer)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 30 * DAY)
            .not_valid_after(now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(parent._key if parent else self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)
        self.file = directory / f"{name}.ca.pem"
        self.file.write_bytes(self.pem)

    def issue(
        self,
        *hosts: str,
        begins: datetime.timedelta = -DAY,
        ends: datetime.timedelta = DAY,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
        self_signed: bool = False,
        weak: bool = False,
        chain: bool = True,
    ) -> Issued:
        key: Any = ec.generate_private_key(ec.SECP256R1())
        if weak:
            key = rsa.generate_private_key(65537, 1024)
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.SubjectAlternativeName([_name(h) for h in hosts]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(key if self_signed else self._key, hashes.SHA256())
        )
        stem = f"{self.name}-{certificate.serial_number:x}"
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        if chain and self._parent is not None:
            pem += self.pem
        issued = Issued(self.directory / f"{stem}.pem", self.directory / f"{stem}.key")
        issued.certificate.write_bytes(pem)
        issued.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return issued


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
