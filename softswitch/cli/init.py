"""`softswitch init DIR`: an office that works, with secrets of its own."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softswitch.errors import SoftswitchError
from softswitch.transport.address import own_address

if TYPE_CHECKING:
    from softswitch.config import Office

FILE_NAME = "office.toml"
PHONES_MAX = 100
# No letter or digit that is taken for another when it is typed into a phone.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_FIRST_NUMBER = 1001


def register(app: typer.Typer) -> None:
    @app.command()
    def init(
        directory: Annotated[Path, typer.Argument(help="Where the office is to live.")],
        address: Annotated[
            str, typer.Option(help="The IP address that phones reach this machine at.")
        ] = "auto",
        domain: Annotated[str, typer.Option(help="The office's SIP domain.")] = "office.example",
        phones: Annotated[
            int, typer.Option(min=1, max=PHONES_MAX, help="How many extensions to make.")
        ] = 3,
        port: Annotated[
            int, typer.Option(min=1, max=65534, help="The SIP port; TLS takes the next one.")
        ] = 5060,
        language: Annotated[str, typer.Option(help="Of prompts: en or zh.")] = "en",
        timezone: Annotated[
            str, typer.Option(help="As in Asia/Shanghai; auto is that of this machine.")
        ] = "auto",
        country: Annotated[
            str, typer.Option(help="Two letters; how local numbers are completed.")
        ] = "CN",
    ) -> None:
        """Write DIR/office.toml with generated passwords and print what to enter in the phones."""
        from softswitch.config import HostPort, load_office

        host = own_address() if address == "auto" else address
        accounts = {str(_FIRST_NUMBER + index): new_password() for index in range(phones)}
        zone = own_timezone() if timezone == "auto" else timezone
        text = office_text(
            host, port, domain, accounts, language=language, timezone=zone, country=country
        )
        file = write_office(directory, text)
        office = load_office(file)
        fingerprint = make_certificate(office)
        typer.echo(f"{file} is written. Start the exchange with: softswitch serve {file}\n")
        typer.echo("Enter in the phones:")
        for line in _phone_table(str(HostPort(host, port)), accounts, office):
            typer.echo(f"  {line}")
        typer.echo("\nThey call each other by these numbers; *43 is an echo test, *97 the mailbox.")
        typer.echo("Whoever is busy or does not answer within 25 s has his calls in the mailbox.")
        secured = HostPort(host, port + 1)
        typer.echo(f"Encrypted signalling: {secured} over TLS. Certificate (SHA-256):")
        typer.echo(f"  {fingerprint}")


def _phone_table(server: str, accounts: dict[str, str], office: Office) -> list[str]:
    pins = {
        extension.number: extension.voicemail.pin
        for extension in office.extensions
        if extension.voicemail
    }
    rows = [("server", "user", "password", "mailbox PIN")]
    rows += [
        (server, number, password, pins.get(number, "")) for number, password in accounts.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def make_certificate(office: Office) -> str:
    """Make the certificate that `office` will show, where there is none yet.

    Returns its SHA-256 fingerprint in hexadecimal, which people compare with what a phone shows.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    from softswitch.transport.listeners import own_certificate

    office.storage.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, _ = own_certificate(office)
    made = x509.load_pem_x509_certificate(certificate.read_bytes())
    return made.fingerprint(SHA256()).hex(":").upper()


def new_password(groups: int = 4) -> str:
    """A password of `groups` times four characters (4.95 bits each), made for typing."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(groups))


def new_pin() -> str:
    return f"{secrets.randbelow(1_000_000):06d}"


def own_timezone() -> str:
    """The name of this machine's time zone; UTC where it does not say."""
    from zoneinfo import available_timezones

    local = Path("/etc/localtime").resolve().as_posix().rpartition("/zoneinfo/")[2]
    return local if local in available_timezones() else "UTC"


def office_text(
    host: str,
    port: int,
    domain: str,
    accounts: dict[str, str],
    *,
    language: str = "en",
    timezone: str = "UTC",
    country: str = "CN",
) -> str:
    """The text of an office with these extensions (number -> password)."""
    from softswitch.config import HostPort

    extensions = "\n".join(
        _EXTENSION.format(number=number, password=password, pin=new_pin())
        for number, password in accounts.items()
    )
    values = {
        "domain": domain,
        "host": host,
        "at": str(HostPort(host, port)),
        "tls": str(HostPort(host, port + 1 if port else 0)),
        "language": language,
        "timezone": timezone,
        "country": country,
        "agent_password": new_password(),
    }
    return _TEXT.format(
        extensions=extensions, **{name: _quotable(text) for name, text in values.items()}
    )


def _quotable(text: str) -> str:
    """Only what stands in a TOML string as it is; the configuration's own checks do the rest."""
    if not re.fullmatch(r"[A-Za-z0-9.:\[\]_/+-]{1,255}", text):
        raise SoftswitchError(f"{text!r} cannot be a name or an address in the office file")
    return text


def write_office(directory: Path, text: str) -> Path:
    """Write `text` as a new office file, mode 0600, in a directory of mode 0700 if it is made here.

    Raises `SoftswitchError` where there is a file already or none can be made.
    """
    from softswitch.config import parse_office

    file = directory / FILE_NAME
    parse_office(text, source=str(file))
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if not directory.is_dir():
            raise SoftswitchError(f"{directory} is a file; name the folder to be made") from None
        raise SoftswitchError(f"{file} is there already and stays as it is") from None
    except OSError as error:
        raise SoftswitchError(f"{file} cannot be written: {error.strerror}") from None
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
    return file


_TEXT = """\
# An office of Softswitch. Every key: docs/configuration.md. After a change: softswitch check FILE.

[office]
name = "My office"
domain = "{domain}"           # phones may register at this domain or at the server's address
language = "{language}"               # of prompts: "en" or "zh"
timezone = "{timezone}"
country = "{country}"                # how local numbers are completed

[sip]
listen = ["udp://{at}", "tcp://{at}", "tls://{tls}"]

[media]
address = "{host}"            # where phones send their audio
ports = "20000-29999"
workers = "auto"              # one a core

[http]
listen = "127.0.0.1:8080"     # the API: this machine only

[storage]
directory = "var"             # beside this file

[recording]
calls = "none"                # or "queue", "all"

{extensions}
# A carrier. Calls come in from `from_addresses` only; extensions need the permission to call out.
# [[trunk]]
# name = "carrier"
# uri = "sip:192.0.2.10"
# from_addresses = ["192.0.2.10"]
#
# [[outbound]]
# prefix = "9"
# strip = 1
# permission = "national"
# trunks = ["carrier"]
#
# [[inbound]]
# number = "+15551234567"
# to = "queue:support"
#
# A call centre: who calls 5000 waits for an agent; an agent begins and ends his shift by *22 on his telephone.
# [[queue]]
# name = "support"
# number = "5000"
# overflow = "voicemail:1001"
#
# [[agent]]
# id = "agent-1"
# extension = "1001"
# password = "{agent_password}"   # of the API
# queues = ["support"]
"""

_EXTENSION = """\
[[extension]]
number = "{number}"
name = "Phone {number}"
password = "{password}"
permissions = ["internal"]
voicemail = {{ pin = "{pin}" }}
forward = {{ busy = "voicemail", no_answer = "voicemail", unreachable = "voicemail" }}
"""
