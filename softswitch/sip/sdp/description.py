"""Session descriptions as values: bounded, lenient parsing and exact writing (RFC 8866).

Lenient where peers are sloppy (bare LF, missing s=, t= or o=, unknown lines, odd order), strict
where sloppiness would be dangerous (numbers, addresses, counts). Only `SdpError` leaves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace as change

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
    r"([!-~]{1,64})[ \t]++([0-9]{1,5})(?:/([0-9]{1,5}))?+[ \t]++([!-~][ \t!-~]*+)"
)
_USUAL_MEDIA: Final = re.compile(r"([a-z]{1,64}) ([0-9]{1,5}) (?=[!-~])")
_FORMATS: Final = re.compile(r"([!-~]{1,64})((?:[ \t]++[!-~]++)*+)[ \t]*+")
_RTPMAP: Final = re.compile(
    r"([0-9]{1,3})[ \t]++([!-.0-~]{1,64})/([0-9]{1,6})(?:/([0-9]{1,2}))?+[ \t]*+"
)
_FMTP: Final = re.compile(r"([0-9]{1,3})[ \t]++(.*+)")
_CONNECTION: Final = re.compile(r"[ \t]*+[iI][nN][ \t]++([iI][pP][46])[ \t]++([^ \t]++)[ \t]*+")
_PAYLOAD_TYPE: Final = re.compile(r"[0-9]{1,3}")
_ORIGIN: Final = re.compile(
    r"([!-~]++) ([!-~]++) ([0-9]{1,18}) IN IP[46] ([0-9A-Za-z.:_\-]{1,255})"
)
_USUAL_MS: Final = {str(ms): ms for ms in range(10, 201, 10)}

_BEFORE_CONNECTION: Final = frozenset("iuep")
_TIMES: Final = frozenset("trz")

_DIRECTIONS: Final = frozenset(DIRECTIONS)
_TELLING: Final = frozenset({"rtpmap", "fmtp"})
REMEMBERED_MAX: Final = 512
_REMEMBERED_OCTETS_MAX: Final = 1024

Attributes = tuple[tuple[str, str | None], ...]
Lines = tuple[tuple[str, str], ...]

_ALWAYS: Final[Lines] = (("t", "0 0"),)


class SdpError(RemoteProtocolError):
    """A description we cannot read (400) or cannot agree to (488)."""


class Origin(Struct, frozen=True):
    """The o= line; `version` rises by one with every change of the description (RFC 3264 8)."""

    session_id: str
    version: int
    host: str
    username: str = "-"

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} IN {_address(self.host)}"


@dataclass(slots=True, eq=False)
class Told:
    """What the lines of a section say, the same object as long as it is `remembered`, so that what follows
    from it can be remembered too; not of others, which would be kept, long as they may be, and never met
    again. `first` has the first attribute of each name."""

    formats: Final[Mapping[int, AudioFormat]]
    first: Final[Mapping[str, str | None]]
    direction: Final[str | None]
    ptime_ms: Final[int | None]
    maxptime_ms: Final[int | None]
    ssrc: Final[int | None]
    remembered: Final[bool]


@dataclass(slots=True, eq=False)
class Section:
    """An m= section but for its kind and port: the same in all descriptions of a telephone."""

    protocol: Final[str]
    formats: Final[tuple[str, ...]]
    host: Final[str | None]
    attributes: Final[Attributes]
    other: Final[Lines]
    told: Final[Told]
    text: Final[str] = ""
    """How it is written, known of ours."""

    @classmethod
    def of(cls, protocol: str, formats: tuple[str, ...], attributes: Attributes) -> Section:
        """One of ours, written."""
        text = "\r\n".join([" ".join((protocol, *formats)), *_attribute_lines(attributes)])
        told = _told(formats, attributes, remembered=True)
        return cls(protocol, formats, None, attributes, (), told, text)


@dataclass(slots=True, unsafe_hash=True)
class MediaDescription:
    """One m= section.

    `port` 0 means rejected; `formats` as written; `host` of its own c= line or None; `attributes`
    in order as (name, value or None); `other` the lines of other types.
    """

    kind: Final[str]
    port: Final[int]
    protocol: Final[str]
    formats: Final[tuple[str, ...]]
    host: Final[str | None] = None
    attributes: Final[Attributes] = ()
    port_count: Final[int] = 1
    other: Final[Lines] = ()
    told: Told = field(init=False, repr=False, compare=False)
    """What its lines say."""
    _text: str | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        self.told = _told(self.formats, self.attributes, remembered=False)

    @classmethod
    def known(
        cls, kind: str, port: int, section: Section, text: str | None = None
    ) -> MediaDescription:
        """One whose `section` is known already; `text` is how it is written after its port, where that is
        known too."""
        media: Any = cls.__new__(cls)
        media.kind, media.port = kind, port
        media.protocol, media.formats, media.host = section.protocol, section.formats, section.host
        media.attributes, media.other = section.attributes, section.other
        media.port_count = 1
        media.told, media._text = section.told, text
        return media  # type: ignore[no-any-return]

    def announce(self, ssrc: int) -> None:
        """Say which source it sends with (RFC 5576), before the last attribute; `text` says so already."""
        *first, last = self.attributes
        self.attributes = (*first, ("ssrc", f"{ssrc} cname:softswitch"), last)  # type: ignore[misc]

    def attribute(self, name: str) -> str | None:
        """The first attribute called `name`; "" for a property, None where absent."""
        first = self.told.first
        return (first[name] or "") if name in first else None

    @property
    def direction(self) -> str | None:
        """Its direction attribute, or None where the session's holds."""
        return self.told.direction

    @property
    def payload_types(self) -> tuple[int, ...]:
        """The formats that are RTP payload types, in order of preference."""
        return _payload_types.__wrapped__(self.formats)

    def audio_formats(self) -> Mapping[int, AudioFormat]:
        """What each payload type means: its rtpmap, else the static table of RFC 3551.

        Order of preference kept; numbers nobody explains are left out.
        """
        return self.told.formats

    @property
    def ptime_ms(self) -> int | None:
        """The packet time its writer would like to receive, in ms, or None."""
        return self.told.ptime_ms

    @property
    def maxptime_ms(self) -> int | None:
        """The largest packet time its writer accepts, in ms, or None."""
        return self.told.maxptime_ms


class SessionDescription(Struct, frozen=True):
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
        return _read(data)

    def serialise(self) -> bytes:
        """The octets, in the order of RFC 8866 5, CRLF line ends."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name}"]
        connection = [] if self.host is None else [f"c=IN {_address(self.host)}"]
        if self.other is _ALWAYS:  # as ours always are
            lines += connection
            lines.append("t=0 0")
        else:
            other = [f"{kind}={value}" for kind, value in self.other]
            first = len([kind for kind, _ in self.other if kind in _BEFORE_CONNECTION])
            lines += [*other[:first], *connection, *other[first:]]
        if self.attributes:
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
        return media.told.direction or _direction(self.attributes) or "sendrecv"

    def same_session(self, other: SessionDescription) -> bool:
        """True when nothing but the version could differ: the other side changed nothing."""
        return change(self, origin=change(self.origin, version=0)) == change(
            other, origin=change(other.origin, version=0)
        )


def _address(host: str) -> str:
    return f"IP6 {host}" if ":" in host else f"IP4 {host}"


def _direction(attributes: Attributes) -> str | None:
    for name, _ in attributes:
        if name in _DIRECTIONS:
            return name
    return None


def _milliseconds(text: str | None) -> int | None:
    # "20.5" and "20 " exist in the wild; whole milliseconds are all anybody means.
    if text is None:
        return None
    usual = _USUAL_MS.get(text)
    if usual is not None:
        return usual
    return parse_number(text.strip(" \t").partition(".")[0], 1000)


def _attribute_lines(attributes: Attributes) -> list[str]:
    return [f"a={name}" if value is None else f"a={name}:{value}" for name, value in attributes]


def _media_lines(media: MediaDescription) -> list[str]:
    if media._text is not None:
        return [f"m={media.kind} {media.port} {media._text}"]
    count = f"/{media.port_count}" if media.port_count != 1 else ""
    formats = " ".join((media.protocol, *media.formats))
    lines = [f"m={media.kind} {media.port}{count} {formats}"]
    if media.other:
        lines += [f"{kind}={value}" for kind, value in media.other if kind == "i"]
    if media.host is not None:
        lines.append(f"c=IN {_address(media.host)}")
    if media.other:
        lines += [f"{kind}={value}" for kind, value in media.other if kind != "i"]
    return lines + _attribute_lines(media.attributes)


def _rank(line: tuple[str, str]) -> int:
    """Where a session-level line belongs: i u e p, (c,) b, times, the rest (RFC 8866 5)."""
    kind = line[0]
    if kind in _BEFORE_CONNECTION:
        return 0
    return 1 if kind == "b" else 2 if kind in _TIMES else 3


def _read(data: bytes) -> SessionDescription:
    """A description of session lines, then sections that begin with m=; every count is checked."""
    if len(data) > OCTETS_MAX:
        raise SdpError("session description too large")
    if len(data) > LINES_MAX and data.count(b"\n") > LINES_MAX:
        raise SdpError("too many lines in a session description")
    if b"\0" in data:
        raise SdpError("NUL in a session description")
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    if "\r" in text:
        raise SdpError("bare CR in a session description")
    if text[:1] in ("", "\n") and not text.strip("\n"):
        raise SdpError("empty session description")
    session, *sections = f"\n{text}".split("\nm=")
    if len(sections) > MEDIA_MAX:
        raise SdpError("too many media lines")
    origin: Origin | None = None
    if session.startswith("\nv=0\no="):
        # The usual beginning. What follows it is the same in all descriptions of a telephone.
        line, _, session = session[len("\nv=0\no=") :].partition("\n")
        origin = _parse_origin(line)
    short = len(session) <= _REMEMBERED_OCTETS_MAX
    read = _read_session if short else _read_session.__wrapped__
    later, name, host, attributes, other = read(session)
    origin = later or origin
    media = tuple([_read_section(section) for section in sections])
    return SessionDescription(
        origin or Origin("0", 0, host or "0.0.0.0"), media, host, attributes, name, other
    )


def _by_type(text: str) -> tuple[list[str], Attributes, list[tuple[str, str]]]:
    """The lines of a part: the addresses of its c=, the attributes of its a=, the others. Each is a letter,
    an equals sign and a value."""
    hosts: list[str] = []
    attributes: list[tuple[str, str | None]] = []
    other: list[tuple[str, str]] = []
    for line in text.split("\n"):
        if not line:
            continue
        kind, value = line[0], line[2:]
        if line[1:2] != "=" or not "a" <= kind <= "z":
            raise SdpError("line without type in a session description")
        if kind == "a":
            name, colon, content = value.partition(":")
            attributes.append((name.strip(" \t"), content if colon else None))
        elif kind == "c":
            hosts.append(_parse_connection(value))
        elif kind != "v":
            other.append((kind, value))
        elif value.strip(" \t") != "0":
            raise SdpError("unknown version of SDP")
    if len(attributes) > ATTRIBUTES_MAX:
        raise SdpError("too many attributes")
    return hosts, tuple(attributes), other


@lru_cache(REMEMBERED_MAX)
def _read_session(text: str) -> tuple[Origin | None, str, str | None, Attributes, Lines]:
    """The lines before the first m=: origin, name, address, attributes, others."""
    origin: Origin | None = None
    name = "-"
    other: list[tuple[str, str]] = []
    hosts, attributes, lines = _by_type(text)
    for line in lines:
        if line[0] == "o":
            origin = _parse_origin(line[1])
        elif line[0] == "s":
            name = line[1] or "-"
        else:
            other.append(line)
    host = hosts[-1] if hosts else None
    if other == [_ALWAYS[0]]:
        return origin, name, host, attributes, _ALWAYS
    if not any(kind in _TIMES for kind, _ in other):
        other += _ALWAYS
    other.sort(key=_rank)
    return origin, name, host, attributes, tuple(other)


def _read_section(text: str) -> MediaDescription:
    """An m= section, from what follows its equals sign."""
    if len(text) <= _REMEMBERED_OCTETS_MAX:
        usual = _USUAL_MEDIA.match(text)
        if usual is not None:
            kind, port = usual.groups()
            if int(port) <= 65_535:
                return MediaDescription.known(kind, int(port), _section(text[usual.end() :]))
    line, _, rest = text.partition("\n")
    match = _MEDIA.fullmatch(line)
    if match is None:
        raise SdpError("malformed media line")
    kind, port, count, formats = match.groups()
    if int(port) > 65_535:
        raise SdpError("media port out of range")
    if len(text) <= _REMEMBERED_OCTETS_MAX:
        protocol, texts = _formats_of(formats)
        host, attributes, other = _lines_of(rest)
    else:
        protocol, texts = _formats_of.__wrapped__(formats)
        host, attributes, other = _lines_of.__wrapped__(rest)
    many = 1 if count is None else int(count)
    return MediaDescription(kind.lower(), int(port), protocol, texts, host, attributes, many, other)


@lru_cache(REMEMBERED_MAX)
def _section(text: str) -> Section:
    """A section, from what follows its port."""
    line, _, rest = text.partition("\n")
    protocol, formats = _formats_of(line)
    host, attributes, other = _lines_of(rest)
    told = _told(formats, attributes, remembered=True)
    return Section(protocol, formats, host, attributes, other, told)


def _told(formats: tuple[str, ...], attributes: Attributes, *, remembered: bool) -> Told:
    first = dict(attributes[::-1])
    telling = tuple([pair for pair in attributes if pair[0] in _TELLING])
    numbers = _payload_types if remembered else _payload_types.__wrapped__
    return Told(
        _audio_formats(numbers(formats), telling),
        first,
        _direction(attributes),
        _milliseconds(first.get("ptime")),
        _milliseconds(first.get("maxptime")),
        _ssrc(attributes) if "ssrc" in first else None,
        remembered,
    )


def _ssrc(attributes: Attributes) -> int | None:
    """The first source the peer announces (RFC 5576 4.1); two or more tell nothing."""
    ids = {value.partition(" ")[0] for name, value in attributes if name == "ssrc" and value}
    if len(ids) != 1:
        return None
    text = ids.pop()
    return int(text) if len(text) <= 10 and text.isascii() and text.isdigit() else None


@lru_cache(REMEMBERED_MAX)
def _formats_of(text: str) -> tuple[str, tuple[str, ...]]:
    """Protocol and formats of an m= line."""
    match = _FORMATS.fullmatch(text)
    if match is None:
        raise SdpError("malformed media line")
    protocol, formats = match.groups()
    texts = tuple(formats.split())
    if len(texts) > FORMATS_MAX:
        raise SdpError("too many formats in a media line")
    return protocol, texts


@lru_cache(REMEMBERED_MAX)
def _lines_of(text: str) -> tuple[str | None, Attributes, Lines]:
    """The lines below an m=: address, attributes, others, i= first, for it goes before c=."""
    hosts, attributes, other = _by_type(text)
    other.sort(key=lambda line: line[0] != "i")
    return hosts[0] if hosts else None, attributes, tuple(other)


@lru_cache(REMEMBERED_MAX)
def _payload_types(formats: tuple[str, ...]) -> tuple[int, ...]:
    numbers = [int(text) for text in formats if _PAYLOAD_TYPE.fullmatch(text) is not None]
    return tuple([number for number in numbers if number < 128])


def _parse_connection(value: str) -> str:
    return _connection(value) if len(value) <= 160 else _connection.__wrapped__(value)


@lru_cache(REMEMBERED_MAX)
def _connection(value: str) -> str:
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
    usual = _ORIGIN.fullmatch(value)
    if usual is not None:
        username, session_id, version, host = usual.groups()
        return Origin(session_id, int(version), host, username)
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


def _audio_formats(numbers: tuple[int, ...], attributes: Attributes) -> Mapping[int, AudioFormat]:
    """See `MediaDescription.audio_formats`."""
    maps: dict[int, re.Match[str]] = {}
    parameters: dict[int, str] = {}
    for name, value in attributes:
        if name == "rtpmap" and (found := _RTPMAP.fullmatch(value or "")) is not None:
            maps.setdefault(int(found.group(1)), found)
        elif name == "fmtp" and (found := _FMTP.fullmatch(value or "")) is not None:
            parameters.setdefault(int(found.group(1)), found.group(2).strip(" \t"))
    formats: dict[int, AudioFormat] = {}
    for number in numbers:
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
