"""The tables of an office that describe the switch itself: who it is, where it listens and stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field

from softswitch.config.problems import nearest, refusal
from softswitch.config.values import (
    Code,
    HostName,
    HostPort,
    HttpAddress,
    Listen,
    ListenAddress,
    Many,
    Name,
    PortRange,
    Ports,
    Qualify,
    Section,
    SourceAddress,
    To,
    one_text,
    parse_collector,
    plain_ip,
    text_like,
)

PARKED_MAX = 99
"""Calls that an office may have parked at most: a slot is dialled with two digits."""


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zones = available_timezones()
        if not zones:
            raise refusal(
                "cannot be checked: this machine has no time zone data",
                "any zone after `pip install tzdata`",
            ) from None
        raise refusal(
            f"is no time zone{nearest(name, zones)}", 'a name such as "Asia/Shanghai" or "UTC"'
        ) from None
    return name


def _check_media_address(value: Any) -> Any:
    if value == "auto":
        return value
    host = plain_ip(value) if isinstance(value, str) else None
    if host is None or host in ("0.0.0.0", "::"):
        raise refusal("is not an address that can be put in SDP", '"auto" or one IP address')
    return host


def _check_other_address(value: Any) -> Any:
    return value if value == "" else _check_media_address("" if value == "auto" else value)


def _check_proxy(value: Any) -> str:
    host = plain_ip(value) if isinstance(value, str) else None
    if host is None:
        raise refusal("is not an address", 'one IP address, as in "127.0.0.1"')
    return host


def _check_workers(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= 256):
        return value
    raise refusal("is not a number of workers", '"auto" or 1 to 256')


def _check_directory(value: Any) -> Any:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise refusal("is not a directory", 'a path, as in "var"; from this file\'s own directory')
    return Path(value)


def _check_file(value: Any) -> Any:
    if value is None or isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise refusal(
            "is not a file", 'a path, as in "tls/chain.pem"; from this file\'s own directory'
        )
    return Path(value)


_File = Annotated[Path | None, BeforeValidator(_check_file)]
_Origin = Annotated[
    str,
    text_like(
        r"\*|https?://[A-Za-z0-9.:\[\]-]{1,255}",
        '"https://host" or "https://host:port", "*" for all',
    ),
]


class OfficeInfo(Section):
    """``[office]``: who this is."""

    name: str = Field(default="Example Trading", min_length=1, max_length=128)
    domain: HostName = "office.example"
    language: Literal["en", "zh"] = "en"
    timezone: Annotated[str, AfterValidator(_check_zone)] = "Asia/Shanghai"
    country: Annotated[str, text_like("[A-Z]{2}", 'a country code of two letters: "CN"')] = "CN"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class Sip(Section):
    """``[sip]``: where signalling is awaited and how phones are asked for their password."""

    listen: Annotated[Many[ListenAddress], Field(min_length=1, max_length=64)] = (
        Listen("udp", "127.0.0.1", 5060),
        Listen("tcp", "127.0.0.1", 5060),
    )
    # Offered in this order (RFC 8760 2.4). Many phones in use drop an answer that holds any challenge
    # but MD5's (libre before 2.0 wherever it stands, SIPp when it stands first), hence the default.
    digest: Annotated[Many[Literal["SHA-256", "MD5"]], Field(min_length=1, max_length=2)] = ("MD5",)
    connections: int = Field(default=4096, ge=1, le=100_000)
    connections_per_source: int = Field(default=64, ge=1, le=100_000)
    connections_per_source_per_s: float = Field(default=4.0, ge=0.1, le=100_000)
    origins: Annotated[Many[_Origin], Field(max_length=256)] = ()
    qualify: Qualify = "nat"
    qualify_s: float = Field(default=25.0, ge=5, le=3600)
    nameservers: Annotated[Many[SourceAddress], Field(max_length=8)] = ()
    connected_identity: bool = True
    transfer_recall: bool = True


class Tls(Section):
    """``[tls]``: our certificate and whom we trust, for tls:// and wss:// listeners and TLS trunks."""

    certificate: _File = None
    key: _File = None
    trusted: _File = None
    clients: _File = None


CodecName = Literal["PCMA", "PCMU", "G722", "opus", "L16", "L16/16000", "G729"]


class Media(Section):
    """``[media]``: the address put in SDP, the ports of RTP and the worker processes."""

    address: Annotated[str, BeforeValidator(_check_media_address)] = "127.0.0.1"
    other_address: Annotated[str, BeforeValidator(_check_other_address)] = ""
    ports: Ports = PortRange(20000, 29999)
    workers: Annotated[int | Literal["auto"], BeforeValidator(_check_workers)] = "auto"
    one_port_per_stream: bool = False
    orphan_s: Annotated[float, Field(ge=0.0, le=3_600.0)] = 120.0
    codecs: Annotated[Many[CodecName], Field(min_length=1, max_length=8)] = (
        "PCMA",
        "PCMU",
        "G722",
        "opus",
    )


_Proxy = Annotated[str, BeforeValidator(_check_proxy)]


class Http(Section):
    """``[http]``: API and web console."""

    listen: HttpAddress = HostPort("127.0.0.1", 8080)
    origins: Annotated[Many[_Origin], Field(max_length=256)] = ()
    proxies: Annotated[Many[_Proxy], Field(max_length=64)] = ()


class Oidc(Section):
    """``[oidc]``: an OpenID Connect issuer at which people may log in."""

    issuer: Annotated[
        str,
        text_like(
            r"https://[!-~]{1,500}|http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?(/[!-~]{0,200})?",
            'the issuer\'s https address, as in "https://login.example/realms/office"',
        ),
    ]
    client_id: str = Field(min_length=1, max_length=256)
    client_secret: str | None = Field(default=None, min_length=1, max_length=512, repr=False)
    public_url: Annotated[
        str,
        text_like(r"https?://[A-Za-z0-9.:\[\]-]{1,255}", 'where browsers reach us, "https://host"'),
    ]
    scopes: Annotated[Many[str], Field(min_length=1, max_length=32)] = (
        "openid",
        "profile",
        "email",
    )
    name_claim: str = Field(default="preferred_username", min_length=1, max_length=64)
    groups_claim: str = Field(default="groups", min_length=1, max_length=64)
    roles: dict[str, Literal["agent", "supervisor", "admin"]] = Field(default_factory=dict)


class Storage(Section):
    """``[storage]``: what is kept and where."""

    directory: Annotated[Path, BeforeValidator(_check_directory)] = Path("var")
    database: Annotated[
        str,
        text_like(
            r"sqlite|postgresql://[^\s/@]{1,200}@?[^\s/]{0,200}/[^\s/?]{1,64}(\?host=/[^\s?&]{1,100})?",
            '"sqlite", "postgresql://user@host/name" or ...@/name?host=/run/postgresql',
        ),
        Field(repr=False),
    ] = "sqlite"


class Routing(Section):
    """``[routing]``: how contacts and agents are brought together."""

    assignment: Literal["greedy", "joint"] = "greedy"
    batch_s: float = Field(default=0.0, ge=0, le=60)
    joint_max: int = Field(default=64, ge=2, le=1_000)


class Recording(Section):
    """``[recording]``: which calls are recorded."""

    calls: Literal["none", "queue", "all"] = "queue"
    layout: Literal["stereo"] = "stereo"
    format: Literal["pcm", "ulaw"] = "pcm"
    beep: bool = False
    archive: Literal["none", "flac", "opus"] = "none"
    retain_days: int = Field(default=180, ge=1, le=36_500)


class Mail(Section):
    """``[mail]``: the server that takes voicemail messages to their owners' addresses."""

    server: HttpAddress = HostPort("127.0.0.1", 25)
    security: Literal["none", "starttls", "tls"] = "none"
    sender: Annotated[
        str | None, text_like(r"[^@\s<>]{1,64}@[^@\s<>]{1,255}", "an e-mail address")
    ] = Field(default=None, alias="from")
    username: str | None = Field(default=None, min_length=1, max_length=128)
    password: str | None = Field(default=None, min_length=1, max_length=128, repr=False)


class Imap(Section):
    """``[imap]``: the mailbox whose letters become tickets."""

    server: HttpAddress
    security: Literal["tls", "starttls", "none"] = "tls"
    username: str = Field(min_length=1, max_length=254)
    password: str = Field(min_length=1, max_length=1_024, repr=False)
    folder: str = Field(default="INBOX", min_length=1, max_length=250, pattern=r"^[ -~]+$")
    every_s: float = Field(default=60.0, ge=10, le=86_400)


class Parking(Section):
    """``[parking]``: calls left to be taken up at another phone."""

    slots: int = Field(default=20, ge=1, le=PARKED_MAX)
    patience_s: float = Field(default=120.0, ge=5, le=86_400)
    back_to: To | None = None


class Trace(Section):
    """``[trace]``: how many SIP messages are kept for `softswitch trace`, and where they are copied to."""

    hep: Annotated[Listen | None, one_text('"udp://host:port"', parse_collector)] = None
    agent: int = Field(default=2001, ge=0, le=2**32 - 1)
    password: str | None = Field(default=None, min_length=1, max_length=128, repr=False)
    messages: int = Field(default=2_048, ge=100, le=1_000_000)
    strangers_per_s: float = Field(default=100.0, ge=0.0, le=100_000.0)


class Telemetry(Section):
    """``[telemetry]``: the OpenTelemetry collector that traces of calls and requests are sent to."""

    endpoint: Annotated[
        str,
        text_like(
            r"https?://[A-Za-z0-9.:\[\]-]{1,255}(/[!-~]{0,200})?",
            'the collector\'s address, as in "http://127.0.0.1:4318"',
        ),
    ] = "http://127.0.0.1:4318"
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    service: Name = "softswitch"
    sample: float = Field(default=1.0, ge=0.0, le=1.0)
    numbers: bool = False


class Codes(Section):
    """``[codes]``: the feature codes that phones dial."""

    echo_test: Code = "*43"
    voicemail: Code = "*97"
    agent_log_in_out: Code = "*22"
    agent_pause: Code = "*23"
    park: Code = "*68"
    pick_up: Code = "*8"
    record_pause: Code = "*77"
    record: Code = "*76"
    listen: Code = "*90"
    transfer: Code = "##"
    attended_transfer: Code = "*2"
    conference: Code = "*3"
    do_not_disturb: Code = "*78"
    do_not_disturb_off: Code = "*79"
    call_waiting: Code = "*70"
    call_waiting_off: Code = "*71"
    forward_always: Code = "*72"
    forward_busy: Code = "*74"
    forward_no_answer: Code = "*75"
    forward_off: Code = "*73"
