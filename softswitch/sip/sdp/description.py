"""Session descriptions as values: bounded, lenient parsing and exact writing (RFC 8866).

Lenient where peers are sloppy (bare LF, missing s=, t= or o=, unknown lines, odd order), strict
where sloppiness would be dangerous (numbers, addresses, counts). Only `SdpError` leaves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from softswitch.errors import RemoteProtocolError
from softswitch.sip.grammar import parse_number
from softswitch.sip.sdp.codecs import STATIC_FORMATS, AudioFormat
from softswitch.sip.sdp.direction import DIRECTIONS

OCTETS_MAX: Final = 65_536
LINES_MAX: Final = 1024
MEDIA_MAX: Final = 16
FORMATS_MAX: Final = 64
ATTRIBUTES_MAX: Final = 256

_HOST: Final = re.compile(r"[0-9A-Za-z.:_\-]{1,255}")
_MEDIA: Final = re.compile(
    r"([!-~]{1,64})[ \t]++([0-9]{1,5})(?:/([0-9]{1,5}))?+[ \t]++([!-~]{1,64})"
    r"((?:[ \t]++[!-~]++)*+)[ \t]*+"
)
_RTPMAP: Final = re.compile(
    r"([0-9]{1,3})[ \t]++([!-.0-~]{1,64})/([0-9]{1,6})(?:/([0-9]{1,2}))?+[ \t]*+"
)
_FMTP: Final = re.compile(r"([0-9]{1,3})[ \t]++(.*+)")
_CONNECTION: Final = re.compile(r"[ \t]*+[iI][nN][ \t]++([iI][pP][46])[ \t]++([^ \t]++)[ \t]*+")
_PAYLOAD_TYPE: Final = re.compile(r"[0-9]{1,3}")

_BEFORE_CONNECTION: Final = frozenset("iuep")
_TIMES: Final = frozenset("trz")

_TELLING: Final = frozenset({"rtpmap", "fmtp"})
_REMEMBERED_ATTRIBUTES_MAX: Final = 32

Attributes = tuple[tuple[str, str | None], ...]
Lines = tuple[tuple[str, str], ...]

_ALWAYS: Final[Lines] = (("t", "0 0"),)


class SdpError(RemoteProtocolError):
    """A description we cannot read (400) or cannot agree to (488)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The o= line; `version` rises by one with every change of the description (RFC 3264 8)."""

    session_id: str
    version: int
    host: str
    username: str = "-"

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} IN {_address(self.host)}"


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One m= section.

    `port` 0 means rejected; `formats` as written; `host` of its own c= line or None; `attributes`
    in order as (name, value or None); `other` the lines of other types.
    """

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    host: str | None = None
    attributes: Attributes = ()
    port_count: int = 1
    other: Lines = ()

    def attribute(self, name: str) -> str | None:
        """The first attribute called `name`; "" for a property, None where absent."""
        for key, value in self.attributes:
            if key == name:
                return value or ""
        return None

    @property
    def direction(self) -> str | None:
        """Its direction attribute, or None where the session's holds."""
        return _direction(self.attributes)

    @property
    def payload_types(self) -> tuple[int, ...]:
        """The formats that are RTP payload types, in order of preference."""
        return tuple(
            int(text)
            for text in self.formats
            if _PAYLOAD_TYPE.fullmatch(text) is not None and int(text) < 128
        )

    def audio_formats(self) -> Mapping[int, AudioFormat]:
        """What each payload type means: its rtpmap, else the static table of RFC 3551.

        Order of preference kept; numbers nobody explains are left out.
        """
        telling = tuple(pair for pair in self.attributes if pair[0] in _TELLING)
        if len(telling) > _REMEMBERED_ATTRIBUTES_MAX:
            return _audio_formats.__wrapped__(self.payload_types, telling)
        return _audio_formats(self.payload_types, telling)

    @property
    def ptime_ms(self) -> int | None:
        """The packet time its writer would like to receive, in ms, or None."""
        return _milliseconds(self.attribute("ptime"))

    @property
    def maxptime_ms(self) -> int | None:
        """The largest packet time its writer accepts, in ms, or None."""
        return _milliseconds(self.attribute("maxptime"))


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description; `host` is the session-level c= address or None.

    `other` holds the session-level lines of other types in the order of RFC 8866 5; there is always
    a time among them.
    """

    origin: Origin
    media: tuple[MediaDescription, ...] = ()
    host: str | None = None
    attributes: Attributes = ()
    name: str = "-"
    other: Lines = _ALWAYS

    @classmethod
    def parse(cls, data: bytes) -> SessionDescription:
        """Parse a body of type application/sdp; raises SdpError."""
        return _Reader().read(data)

    def serialise(self) -> bytes:
        """The octets, in the order of RFC 8866 5, CRLF line ends."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name}"]
        lines += [f"{kind}={value}" for kind, value in self.other if kind in _BEFORE_CONNECTION]
        if self.host is not None:
            lines.append(f"c=IN {_address(self.host)}")
        lines += [f"{kind}={value}" for kind, value in self.other if kind not in _BEFORE_CONNECTION]
        lines += _attribute_lines(self.attributes)
        for media in self.media:
            lines += _media_lines(media)
        lines.append("")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape")

    def host_of(self, media: MediaDescription) -> str | None:
        """The address of `media`: its own c=, else the session's."""
        return media.host if media.host is not None else self.host

    def direction_of(self, media: MediaDescription) -> str:
        """The direction of `media`: its own, else the session's, else sendrecv (RFC 8866 6.7)."""
        return media.direction or _direction(self.attributes) or "sendrecv"

    def same_session(self, other: SessionDescription) -> bool:
        """True when nothing but the version could differ: the other side changed nothing."""
        return replace(self, origin=replace(self.origin, version=0)) == replace(
            other, origin=replace(other.origin, version=0)
        )


def _address(host: str) -> str:
    return f"IP6 {host}" if ":" in host else f"IP4 {host}"


def _direction(attributes: Attributes) -> str | None:
    for name, _ in attributes:
        if name in DIRECTIONS:
            return name
    return None


def _milliseconds(text: str | None) -> int | None:
    # "20.5" and "20 " exist in the wild; whole milliseconds are all anybody means.
    return None if text is None else parse_number(text.strip(" \t").partition(".")[0], 1000)


def _attribute_lines(attributes: Attributes) -> list[str]:
    return [f"a={name}" if value is None else f"a={name}:{value}" for name, value in attributes]


def _media_lines(media: MediaDescription) -> list[str]:
    count = f"/{media.port_count}" if media.port_count != 1 else ""
    formats = "".join(f" {text}" for text in media.formats)
    lines = [f"m={media.kind} {media.port}{count} {media.protocol}{formats}"]
    lines += [f"{kind}={value}" for kind, value in media.other if kind == "i"]
    if media.host is not None:
        lines.append(f"c=IN {_address(media.host)}")
    lines += [f"{kind}={value}" for kind, value in media.other if kind != "i"]
    return lines + _attribute_lines(media.attributes)


def _rank(line: tuple[str, str]) -> int:
    """Where a session-level line belongs: i u e p, (c,) b, times, the rest (RFC 8866 5)."""
    kind = line[0]
    if kind in _BEFORE_CONNECTION:
        return 0
    return 1 if kind == "b" else 2 if kind in _TIMES else 3


class _Reader:
    """Collects the lines of one description; every count is checked as it grows."""

    def __init__(self) -> None:
        self.origin: Origin | None = None
        self.name = "-"
        self.host: str | None = None
        self.attributes: list[tuple[str, str | None]] = []
        self.other: list[tuple[str, str]] = []
        self.media: list[MediaDescription] = []
        self.section: _Section | None = None

    def read(self, data: bytes) -> SessionDescription:
        if len(data) > OCTETS_MAX:
            raise SdpError("session description too large")
        if data.count(b"\n") > LINES_MAX:
            raise SdpError("too many lines in a session description")
        if b"\0" in data:
            raise SdpError("NUL in a session description")
        text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
        if "\r" in text:
            raise SdpError("bare CR in a session description")
        seen = False
        for line in text.split("\n"):
            if not line:
                continue
            if line[1:2] != "=" or not "a" <= line[0] <= "z":
                raise SdpError("line without type in a session description")
            seen = True
            self._line(line[0], line[2:])
        if not seen:
            raise SdpError("empty session description")
        self._close_section()
        if not any(kind in _TIMES for kind, _ in self.other):
            self.other += _ALWAYS
        self.other.sort(key=_rank)
        origin = self.origin or Origin("0", 0, self.host or "0.0.0.0")
        return SessionDescription(
            origin,
            tuple(self.media),
            self.host,
            tuple(self.attributes),
            self.name,
            tuple(self.other),
        )

    def _line(self, kind: str, value: str) -> None:
        match kind:
            case "m":
                self._close_section()
                if len(self.media) == MEDIA_MAX:
                    raise SdpError("too many media lines")
                self.section = _Section(value)
            case "c":
                host = _parse_connection(value)
                if self.section is None:
                    self.host = host
                elif self.section.host is None:
                    self.section.host = host
            case "a":
                attributes = self.attributes if self.section is None else self.section.attributes
                if len(attributes) == ATTRIBUTES_MAX:
                    raise SdpError("too many attributes")
                name, colon, content = value.partition(":")
                attributes.append((name.strip(" \t"), content if colon else None))
            case "v":
                if value.strip(" \t") != "0":
                    raise SdpError("unknown version of SDP")
            case "o" if self.section is None:
                self.origin = _parse_origin(value)
            case "s" if self.section is None:
                self.name = value or "-"
            case _:
                (self.other if self.section is None else self.section.other).append((kind, value))

    def _close_section(self) -> None:
        if self.section is not None:
            self.media.append(self.section.close())
            self.section = None


class _Section:
    """The m= section being read."""

    def __init__(self, value: str) -> None:
        match = _MEDIA.fullmatch(value)
        if match is None:
            raise SdpError("malformed media line")
        kind, port, count, protocol, formats = match.groups()
        self.kind = kind.lower()
        self.protocol = protocol
        self.port = int(port)
        self.port_count = int(count) if count is not None else 1
        self.formats = tuple(formats.split())
        if self.port > 65_535:
            raise SdpError("media port out of range")
        if len(self.formats) > FORMATS_MAX:
            raise SdpError("too many formats in a media line")
        self.host: str | None = None
        self.attributes: list[tuple[str, str | None]] = []
        self.other: list[tuple[str, str]] = []

    def close(self) -> MediaDescription:
        self.other.sort(key=lambda line: line[0] != "i")  # the one that goes before c=
        return MediaDescription(
            self.kind,
            self.port,
            self.protocol,
            self.formats,
            self.host,
            tuple(self.attributes),
            self.port_count,
            tuple(self.other),
        )


def _parse_connection(value: str) -> str:
    match = _CONNECTION.fullmatch(value)
    if match is None:
        raise SdpError("malformed connection line")
    host = match.group(2).partition("/")[0]  # a multicast TTL or count; the address says enough
    if match.group(1)[2] == "6":
        host = host.strip("[]")
    if _HOST.fullmatch(host) is None:
        raise SdpError("malformed connection address")
    return host


def _parse_origin(value: str) -> Origin:
    # A user name with spaces is wrong and common: the last five fields are what counts.
    fields = [field for field in value.replace("\t", " ").split(" ") if field]
    if len(fields) < 5:
        raise SdpError("malformed origin line")
    session_id, version, network, family, host = fields[-5:]
    host = host.strip("[]")
    if (
        network.upper() != "IN"
        or family.upper() not in ("IP4", "IP6")
        or _HOST.fullmatch(host) is None
    ):
        raise SdpError("malformed origin address")
    number = parse_number(version, 2**63 - 1)
    if number is None:
        raise SdpError("malformed origin version")
    return Origin(session_id, number, host, " ".join(fields[:-5]) or "-")


@lru_cache(512)
def _audio_formats(
    payload_types: tuple[int, ...], attributes: Attributes
) -> Mapping[int, AudioFormat]:
    """See `MediaDescription.audio_formats`; remembered, for a telephone offers the same in each call."""
    maps: dict[int, re.Match[str]] = {}
    parameters: dict[int, str] = {}
    for name, value in attributes:
        if name == "rtpmap" and (found := _RTPMAP.fullmatch(value or "")) is not None:
            maps.setdefault(int(found.group(1)), found)
        elif name == "fmtp" and (found := _FMTP.fullmatch(value or "")) is not None:
            parameters.setdefault(int(found.group(1)), found.group(2).strip(" \t"))
    formats: dict[int, AudioFormat] = {}
    for number in payload_types:
        known = STATIC_FORMATS.get(number)
        if number in maps:
            _, encoding, clock, channels = maps[number].groups()
            name = encoding.lower()
            formats[number] = AudioFormat(
                name, int(clock), int(channels or 1), parameters.get(number)
            )
        elif known is not None:
            formats[number] = replace(known, fmtp=parameters.get(number))
    return MappingProxyType(formats)
