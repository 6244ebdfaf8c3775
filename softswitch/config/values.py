"""The kinds of value that an office file holds: text on one side, small frozen types on the other.

Each parser takes what TOML gave and raises the refusal that names what is allowed. Patterns are
ASCII only and anchored: `int()` and `str.isdigit()` take more than a telephone number may hold.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel as _BaseModel
from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator

from softswitch.config.problems import refusal

T = TypeVar("T")

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")
PERMISSIONS = ("internal", "local", "national", "international", "premium")
DESTINATION_KINDS = (
    "extension",
    "ring_group",
    "queue",
    "ivr",
    "flow",
    "conference",
    "voicemail",
    "trunk",
)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}
_TEXT_MAX = 1024
_DAY_MINUTES = 24 * 60

_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_.-]{1,253}))(?::([0-9]{1,5}))?")
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.?)*[A-Za-z0-9]?")
_DESTINATION_NAME = re.compile(r"[A-Za-z0-9+_.-]{1,64}")
_DIALLED = re.compile(r"\+?[0-9]{1,32}")
_PORTS = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
_PERIOD = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Section(_BaseModel):
    """Base of every table of the file: frozen, strict types, nothing unknown."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
        str_max_length=_TEXT_MAX,
    )


# -- plain values -----------------------------------------------------------------------------------


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def text_like(pattern: str, what: str) -> BeforeValidator:
    """A text that matches `pattern` as a whole; `what` says so in words."""
    compiled = re.compile(pattern)

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise refusal("is not a text", what)
        if not compiled.fullmatch(value):
            raise refusal("is not understood", what)
        return value

    return BeforeValidator(_told(check, {"pattern": f"^(?:{pattern})$", "description": what}))


def _told(check: T, schema: dict[str, Any]) -> T:
    """A validator with what a JSON schema says of what it takes: `table_schema` reads it."""
    check.json_schema = schema  # type: ignore[attr-defined]
    return check


def _check_password(value: Any) -> Any:
    if isinstance(value, str) and len(value) < 8:
        raise refusal("is too short", "8 characters or more")
    return value


Many = Annotated[tuple[T, ...], BeforeValidator(_as_tuple)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Name = Annotated[str, text_like(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "letters, digits, _ . -")]
Number = Annotated[str, text_like(r"[0-9]{1,32}", 'digits in quotes, as in "1001"')]
Outside = Annotated[
    str, text_like(r"\+?[0-9]{1,32}", 'digits in quotes with or without a +, as in "+861065551000"')
]
Code = Annotated[str, text_like(r"[*#][0-9*#]{1,7}", '* or # and up to 7 more keys, as in "*43"')]
Key = Annotated[str, text_like(r"[0-9*#]", "one key of the phone: 0-9, * or #")]
Pin = Annotated[str, text_like(r"[0-9]{4,12}", "4 to 12 digits in quotes")]
Qualify = Literal["off", "nat", "all"]
"""Which telephones are asked by OPTIONS whether they are there."""
Password = Annotated[str, BeforeValidator(_check_password), Field(max_length=128, repr=False)]
Permission = Annotated[
    str,
    text_like("|".join(PERMISSIONS), ", ".join(f'"{name}"' for name in PERMISSIONS)),
]


def one_text(what: str, parse: Callable[[str], T]) -> PlainValidator:
    """Validator of a value written as one text and kept as what `parse` makes of it."""

    def validate(value: Any) -> T:
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, tuple) or hasattr(value, "__dataclass_fields__"):
            return value  # type: ignore[no-any-return]  # an Office built in Python
        raise refusal("is not a text", what)

    return PlainValidator(_told(validate, {"type": "string", "description": what}))


# -- addresses --------------------------------------------------------------------------------------


class HostPort(NamedTuple):
    """An address with its port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Listen(NamedTuple):
    """Where signalling is awaited; port 0 lets the system choose."""

    transport: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.transport}://{HostPort(self.host, self.port)}"


class Source(NamedTuple):
    """Where a trunk's packets come from; `port` None is any port of that host."""

    host: str
    port: int | None

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        return str(HostPort(self.host, self.port))


class PortRange(NamedTuple):
    """UDP ports, both ends included."""

    low: int
    high: int


def plain_ip(host: str) -> str | None:
    """`host` in its one canonical form if it is an IP literal; mapped IPv4 is IPv4 (else an address
    set is by-passed by writing the same address the other way)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            return None
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return str(address)


def split_host_port(text: str) -> tuple[str, int | None] | None:
    """``host``, ``host:port``, ``[v6]:port``, or None for anything else."""
    bare = plain_ip(text)
    if bare is not None:
        return bare, None
    matched = _HOST_PORT.fullmatch(text)
    if matched is None:
        return None
    v6, name, port_text = matched.groups()
    port = int(port_text) if port_text is not None else None
    if port is not None and port > 65535:
        return None
    if v6 is not None:
        host = plain_ip(v6)
        return (host, port) if host is not None else None
    if re.fullmatch(r"[0-9.]+", name):
        host = plain_ip(name)
        return (host, port) if host is not None else None
    return (name, port) if _HOST_NAME.fullmatch(name) else None


def _parse_listen(text: str) -> Listen:
    what = '"udp://address:port", or tcp, tls, ws, wss'
    transport, separator, rest = text.partition("://")
    if not separator or transport not in TRANSPORTS:
        raise refusal("is not a listening address", what)
    found = split_host_port(rest)
    if found is None or plain_ip(found[0]) is None:
        raise refusal("has no IP address and port after the transport", what)
    host, port = found
    return Listen(transport, host, _DEFAULT_PORTS[transport] if port is None else port)


def parse_collector(text: str) -> Listen:
    """``udp://address:port`` of a Homer collector."""
    what = '"udp://address:port", as in "udp://192.0.2.9:9060"'
    transport, separator, rest = text.partition("://")
    found = split_host_port(rest) if separator and transport == "udp" else None
    if found is None or plain_ip(found[0]) is None or not found[1]:
        raise refusal("is not the address of a collector", what)
    return Listen(transport, found[0], found[1])


def _parse_http(text: str) -> HostPort:
    found = split_host_port(text)
    if found is None or found[1] is None:
        raise refusal("is not an address and a port", '"address:port", as in "127.0.0.1:8080"')
    return HostPort(found[0], found[1])


def _parse_source(text: str) -> Source:
    found = split_host_port(text)
    if found is None or plain_ip(found[0]) is None or found[1] == 0:
        raise refusal(
            "is not an IP address", 'an address with or without port, as in "192.0.2.10:5060"'
        )
    return Source(*found)


def _parse_ports(text: str) -> PortRange:
    what = '"low-high" within 1024-65535, at least 4 ports, as in "20000-29999"'
    matched = _PORTS.fullmatch(text)
    if matched is None:
        raise refusal("is not a range of ports", what)
    low, high = int(matched[1]), int(matched[2])
    if not 1024 <= low <= high <= 65535 or high - low < 3:
        raise refusal("is not a usable range of ports", what)
    return PortRange(low, high)


HostName = Annotated[
    str, text_like(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?", "a host name")
]
ListenAddress = Annotated[Listen, one_text('"udp://address:port"', _parse_listen)]
HttpAddress = Annotated[HostPort, one_text('"address:port"', _parse_http)]
SourceAddress = Annotated[Source, one_text('"address:port"', _parse_source)]
Ports = Annotated[PortRange, one_text('"low-high"', _parse_ports)]


# -- destinations -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a call goes: `kind` of `DESTINATION_KINDS` with the name or number of the thing, or
    "hangup" (no name), or "number" (a number to be dialled, in `forward` only)."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        if self.kind == "number":
            return self.name
        return f"{self.kind}:{self.name}" if self.name else self.kind


_DESTINATIONS = '"hangup" or one of ' + ", ".join(f"{kind}:..." for kind in DESTINATION_KINDS)


def parse_destination(text: str) -> Destination:
    """``queue:support``, ``hangup``...; raises the refusal that says what is allowed."""
    if text == "hangup":
        return Destination("hangup")
    kind, separator, name = text.partition(":")
    if not separator or kind not in DESTINATION_KINDS or not _DESTINATION_NAME.fullmatch(name):
        raise refusal("is not a destination", _DESTINATIONS)
    return Destination(kind, name)


def parse_forward(text: str) -> Destination:
    """A destination as `forward` of an extension takes it; raises `ValueError`."""
    if _DIALLED.fullmatch(text):
        return Destination("number", text)
    if text == "voicemail":
        return Destination("voicemail")
    return parse_destination(text)


To = Annotated[Destination, one_text(_DESTINATIONS, parse_destination)]
ForwardTo = Annotated[
    Destination, one_text('"voicemail", a number or a destination', parse_forward)
]
HANG_UP = Destination("hangup")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is said: `kind` "prompt" (an id), "file" (a WAV file) or "text" (to be spoken)."""

    kind: str
    value: str


def _parse_prompt(text: str) -> Prompt:
    what = 'a prompt\'s id, a WAV file, or text:"..." to be spoken'
    if text.startswith("text:"):
        spoken = text.removeprefix("text:").strip()
        if len(spoken) >= 2 and spoken[0] == spoken[-1] == '"':
            spoken = spoken[1:-1].strip()
        if not spoken or len(spoken) > _TEXT_MAX:
            raise refusal("has nothing, or too much, to say", what)
        return Prompt("text", spoken)
    if text.lower().endswith(".wav") and "\0" not in text and len(text) <= _TEXT_MAX:
        return Prompt("file", text)
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text):
        return Prompt("prompt", text)
    raise refusal("is not a prompt", what)


Greeting = Annotated[Prompt, one_text("a prompt's id, a WAV file or text:...", _parse_prompt)]


# -- hours ------------------------------------------------------------------------------------------


class Period(NamedTuple):
    """Open from `start_minute` up to, not including, `end_minute`; minutes since midnight."""

    start_minute: int
    end_minute: int

    def __str__(self) -> str:
        (hour, minute), (end_hour, end_minute) = divmod(self[0], 60), divmod(self[1], 60)
        return f"{hour:02}:{minute:02}-{end_hour:02}:{end_minute:02}"


Week = tuple[tuple[Period, ...], ...]
"""Seven days of open periods, Monday first, each day in order."""


def _parse_period(text: Any) -> Period:
    what = '"09:00-12:00", the end after the start; split a night at 24:00'
    matched = _PERIOD.fullmatch(text) if isinstance(text, str) else None
    if matched is None:
        raise refusal("holds a period that is not understood", what)
    hour, minute, end_hour, end_minute = (int(part) for part in matched.groups())
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if minute > 59 or end_minute > 59 or not start < end <= _DAY_MINUTES:
        raise refusal(f"holds {text}, which is no time of day", what)
    return Period(start, end)


def _parse_days(text: str) -> list[int]:
    first, separator, last = text.partition("-")
    if first not in DAYS or (separator and last not in DAYS):
        raise refusal(f'has no day called "{text[:32]}"', "mon ... sun, or a range as in mon-fri")
    if not separator:
        return [DAYS.index(first)]
    start, length = DAYS.index(first), (DAYS.index(last) - DAYS.index(first)) % 7 + 1
    return [(start + offset) % 7 for offset in range(length)]


def _parse_week(value: Any) -> Week:
    if isinstance(value, tuple) and len(value) == 7:
        return value
    what = '{ mon-fri = ["09:00-12:00", "13:00-18:00"], sat = ["10:00-14:00"] }'
    if not isinstance(value, dict):
        raise refusal("is not a table of days", what)
    days: list[list[Period]] = [[] for _ in DAYS]
    for key, periods in value.items():
        if not isinstance(periods, list) or len(periods) > 48:
            raise refusal(f"has no list of periods for {str(key)[:32]}", what)
        parsed = [_parse_period(period) for period in periods]
        for day in _parse_days(key):
            days[day].extend(parsed)
    for name, day_periods in zip(DAYS, days, strict=True):
        day_periods.sort()
        for before, after in pairwise(day_periods):
            if after.start_minute < before.end_minute:
                raise refusal(f"has two periods of {name} that overlap", what)
    return tuple(tuple(day) for day in days)


def week_text(week: Week) -> dict[str, list[str]]:
    """A week as the file would write it: days that follow each other and are alike together."""
    written: dict[str, list[str]] = {}
    first = 0
    for day in range(1, len(week) + 1):
        if day < len(week) and week[day] == week[first]:
            continue
        if week[first]:
            name = DAYS[first] if day - first == 1 else f"{DAYS[first]}-{DAYS[day - 1]}"
            written[name] = [str(period) for period in week[first]]
        first = day
    return written


def _parse_date(value: Any) -> date:
    if type(value) is date:  # TOML has dates of its own; a date-time is not one
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise refusal("is not a date", 'year-month-day, as in "2026-10-01"')


_WEEK_SCHEMA = {
    "type": "object",
    "description": 'Periods by day or days, as in { mon-fri = ["09:00-12:00", "13:00-18:00"] }.',
    "propertyNames": {"pattern": f"^({'|'.join(DAYS)})(-({'|'.join(DAYS)}))?$"},
    "additionalProperties": {
        "type": "array",
        "maxItems": 48,
        "items": {"type": "string", "pattern": f"^{_PERIOD.pattern}$"},
    },
}
_DATE_SCHEMA = {"type": "string", "format": "date"}
OpenHours = Annotated[Week, PlainValidator(_told(_parse_week, _WEEK_SCHEMA))]
Day = Annotated[date, PlainValidator(_told(_parse_date, _DATE_SCHEMA))]
