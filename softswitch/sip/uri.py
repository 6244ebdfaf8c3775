"""SIP URIs, name-addr, Via and CSeq as values (RFC 3261 19.1, 20, 25.1).

What is parsed is remembered and shared by every message that repeats it, so nothing here is ever
changed. That is written as `Final` and not as a frozen dataclass, which takes three times as long to make.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Any, Final

from msgspec import Struct

from softswitch.errors import RemoteProtocolError
from softswitch.sip.grammar import (
    LWS,
    QUOTED,
    TOKEN_CHARS,
    Params,
    find_param,
    parse_params,
    quote,
    replace_param,
    unquote,
    write_params,
)

_HOST: Final = r"\[[0-9A-Fa-f:.]{2,48}\]|[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,254})"
_SIP_URI: Final = re.compile(
    r"([sS][iI][pP][sS]?):"
    r"(?:([^@\x00-\x20\x7f\"<>]*+)@)?+"
    rf"({_HOST})(?::([0-9]{{1,5}}))?+"
    r"((?:;[^?\x00-\x20\x7f\"<>]*+)?+)"
    r"(?:\?([^\x00-\x20\x7f\"<>]*+))?+"
)
_ESCAPES_OK: Final = re.compile(r"[^%]*+(?:%[0-9A-Fa-f]{2}[^%]*+)*+")
_ANY_URI: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*+):[^\x00-\x20\x7f\"<>]++")
# Strict enough for RFC 4475 3.1.2.15 (an unquoted comma), lenient to non-ASCII and brackets.
_DISPLAY: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\",:;<>@=?\\]*+")
# What nearly every From, To and Contact looks like: one match instead of a walk.
_USUAL_NAME_ADDR: Final = re.compile(
    r"(?:\"([^\"\\]*+)\"[ \t]*+)?+"
    r"<([A-Za-z][A-Za-z0-9+.\-]*+:[^\x00-\x20\x7f\"<>]++)>((?:;[^\x00-\x20\x7f\"<>,]++)?+)"
)
_VIA: Final = re.compile(
    r"[sS][iI][pP][ \t]*+/[ \t]*+2\.0[ \t]*+/[ \t]*+"
    rf"([{TOKEN_CHARS}]++)[ \t]++({_HOST})(?:[ \t]*+:[ \t]*+([0-9]{{1,5}}))?+[ \t]*+"
)
# What nearly every Via is: one match says it all. It cannot backtrack: a token holds neither ";" nor "=".
_USUAL_VIA: Final = re.compile(rf"([^;,]++)(;rport)?+;branch=([{TOKEN_CHARS}]++)")
_RPORT: Final = (("rport", None),)
_CSEQ: Final = re.compile(rf"0*+([0-9]{{0,10}})[ \t]++([{TOKEN_CHARS}]++)")
_PORT: Final = re.compile(r"[0-9]{1,5}")
REMEMBERED_MAX: Final = 1024
"""URIs, addresses and sent-by of Vias that are remembered, of each kind."""
SHORT: Final = 160
"""Texts up to this length are remembered with what was read from them: the messages of a call, and those
of a telephone, repeat their addresses word for word. What is longer is read anew, so that nobody can fill
much memory this way."""

_MUST_MATCH: Final = ("transport", "user", "ttl", "method", "maddr")


@lru_cache(REMEMBERED_MAX)
def parse_host(text: str) -> str:
    """A host without brackets; IPv6 is checked, and the three-colon form of RFC 5118 4.10 repaired.

    Raises RemoteProtocolError when it is no IPv6 address.
    """
    if text[0] != "[":
        return text
    inner = text[1:-1].replace(":::", "::", 1)
    try:
        IPv6Address(inner)
    except AddressValueError:
        raise RemoteProtocolError("malformed IPv6 reference") from None
    return inner


def write_host(host: str, port: int | None) -> str:
    """``host[:port]`` with brackets round IPv6."""
    text = f"[{host}]" if ":" in host else host
    return text if port is None else f"{text}:{port}"


def _parse_port(text: str | None) -> int | None:
    if text is None:
        return None
    port = int(text)  # the pattern let only 1 to 5 ASCII digits through
    if not 0 < port < 65536:
        raise RemoteProtocolError("port out of range")
    return port


def unescape(text: str) -> str:
    """Undo %HH escapes exactly once; octets that are not UTF-8 become surrogate escapes."""
    if "%" not in text:
        return text
    octets = re.sub(
        rb"%([0-9A-Fa-f]{2})",
        lambda m: bytes((int(m.group(1), 16),)),
        text.encode("utf-8", "surrogateescape"),
    )
    return octets.decode("utf-8", "surrogateescape")


@dataclass(slots=True, unsafe_hash=True)
class SipUri:
    """A sip: or sips: URI; parts as received (escapes in place), IPv6 without brackets."""

    scheme: Final[str]
    user: Final[str | None]
    host: Final[str]
    port: Final[int | None] = None
    password: Final[str | None] = None
    params: Final[Params] = ()
    headers: Final[str] = ""

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """Parse `text`.

        Raises RemoteProtocolError: status_hint 416 for another scheme, 400 for bad syntax.
        """
        return _sip_uri(text) if len(text) <= SHORT else cls._read(text)

    @classmethod
    def _read(cls, text: str) -> SipUri:
        match = _SIP_URI.fullmatch(text)
        if match is None:
            other = _ANY_URI.fullmatch(text)
            if other is not None and other.group(1).lower() not in ("sip", "sips"):
                raise RemoteProtocolError("not a SIP URI", 416)
            raise RemoteProtocolError("malformed SIP URI")
        scheme, userinfo, host, port, params, headers = match.groups()
        if "%" in text and _ESCAPES_OK.fullmatch(text) is None:
            raise RemoteProtocolError("malformed escape in a URI")
        user, password = userinfo, None
        if userinfo is not None:
            user, colon, secret = userinfo.partition(":")
            if not user:
                raise RemoteProtocolError("empty user part")
            password = secret if colon else None
        return cls(
            scheme.lower(),
            user,
            parse_host(host),
            _parse_port(port),
            password,
            parse_params(params),
            headers or "",
        )

    def __str__(self) -> str:
        userinfo = ""
        if self.user is not None:
            secret = "" if self.password is None else f":{self.password}"
            userinfo = f"{self.user}{secret}@"
        headers = f"?{self.headers}" if self.headers else ""
        hostport = write_host(self.host, self.port)
        return f"{self.scheme}:{userinfo}{hostport}{write_params(self.params)}{headers}"

    @property
    def username(self) -> str | None:
        """The user part with its escapes undone."""
        return None if self.user is None else unescape(self.user)

    @property
    def transport(self) -> str | None:
        """The transport parameter in lower case."""
        value = self.param("transport")
        return value.lower() if value else None

    def param(self, name: str) -> str | None:
        """The value of a URI parameter, unescaped; "" for a flag such as lr, None where absent."""
        for key, value in self.params:
            if key == name or unescape(key).lower() == name:  # "%6C%72" is lr: RFC 4475 3.1.1.3
                return "" if value is None else unescape(value)
        return None

    def with_params(self, **params: str | None) -> SipUri:
        """A copy with parameters set; None writes a flag. An underscore in a name means "-"."""
        pairs = self.params
        for name, value in params.items():
            pairs = replace_param(pairs, name.replace("_", "-"), value)
        return replace(self, params=pairs)

    def without_params(self, *names: str) -> SipUri:
        """A copy without these parameters (without any when no name is given), nor headers."""
        drop = {name.lower() for name in names}
        kept = tuple(p for p in self.params if drop and p[0].lower() not in drop)
        return replace(self, params=kept, headers="")

    def equivalent(self, other: SipUri) -> bool:
        """Equality by RFC 3261 19.1.4: escapes, case and unknown parameters considered."""
        if (
            self.scheme != other.scheme
            or self.port != other.port
            or self.host.lower() != other.host.lower()
            or self.username != other.username
            or unescape(self.password or "") != unescape(other.password or "")
        ):
            return False
        mine = {unescape(n).lower(): unescape(v or "").lower() for n, v in self.params}
        theirs = {unescape(n).lower(): unescape(v or "").lower() for n, v in other.params}
        if any(mine.get(name) != theirs.get(name) for name in _MUST_MATCH):
            return False
        if any(mine[name] != theirs[name] for name in mine.keys() & theirs.keys()):
            return False
        return sorted(unescape(self.headers).split("&")) == sorted(
            unescape(other.headers).split("&")
        )


@dataclass(slots=True, unsafe_hash=True, init=False)
class NameAddr:
    """A name-addr or addr-spec with header parameters: From, To, Contact, Route...

    `uri_text` is the URI as received (any scheme); `display_name` is without quotes; values in
    `params` keep theirs. ``Contact: *`` has the uri_text ``*``.
    """

    uri_text: Final[str]
    display_name: Final[str | None]
    params: Final[Params]
    tag: Final[str | None] = field(init=False, repr=False, compare=False)
    """The tag parameter, which every message is asked for."""

    def __init__(
        self,
        uri_text: str,
        display_name: str | None = None,
        params: Params = (),
        tag: str | None = None,
    ) -> None:
        """`tag` saves looking for it in `params`."""
        self.uri_text = uri_text
        self.display_name = display_name
        self.params = params
        self.tag = tag or (find_param(params, "tag") if params else None)  # type: ignore[misc]

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Parse one element; raises RemoteProtocolError."""
        return short_name_addr(text) if len(text) <= SHORT else cls._read(text)

    @classmethod
    def _read(cls, text: str) -> NameAddr:
        usual = _USUAL_NAME_ADDR.fullmatch(text)
        if usual is not None:
            display_name, uri_text, params = usual.groups()
            tag = params[5:] if params.startswith(";tag=") else ""
            if tag.isalnum() and tag.isascii():  # From and To of a call, nearly always
                found: Any = cls.__new__(cls)  # to call the class costs more than all of this
                found.uri_text, found.display_name = uri_text, display_name
                found.params, found.tag = (("tag", tag),), tag
                return found  # type: ignore[no-any-return]
            return cls(uri_text, display_name, parse_params(params))
        text = text.strip(LWS)
        display: str | None = None
        start = text.find("<")
        if text[:1] == '"':
            quoted = QUOTED.match(text)
            if quoted is None:
                raise RemoteProtocolError("unterminated quoted string in a display name")
            display = unquote(quoted.group())
            start = text.find("<", quoted.end())
            if start < 0 or text[quoted.end() : start].strip(LWS):
                raise RemoteProtocolError("no <URI> after the display name")
        elif start > 0:
            display = text[:start].strip(LWS)
            if _DISPLAY.fullmatch(display) is None:
                # ";x=<" or a bare URI before "<": the bracket is not the start of a name-addr.
                raise RemoteProtocolError("malformed display name")
            display = display or None
        if start < 0:
            return cls._parse_addr_spec(text)
        end = text.find(">", start)
        uri_text = text[start + 1 : end]
        if end < 0 or _ANY_URI.fullmatch(uri_text) is None:
            raise RemoteProtocolError("malformed URI in <>")
        return cls(uri_text, display, parse_params(text[end + 1 :].lstrip(LWS)))

    @classmethod
    def _parse_addr_spec(cls, text: str) -> NameAddr:
        # Without brackets everything after the first ";" belongs to the header, and a URI with
        # "?" or "," is not allowed at all (RFC 3261 20.10).
        uri_text, semicolon, params = text.partition(";")
        uri_text = uri_text.rstrip(LWS)
        if uri_text == "*" and not semicolon:
            return cls("*")
        if "?" in uri_text or "," in uri_text or _ANY_URI.fullmatch(uri_text) is None:
            raise RemoteProtocolError("malformed address")
        return cls(uri_text, None, parse_params(semicolon + params))

    @property
    def uri(self) -> SipUri:
        """The URI parsed; RemoteProtocolError (416 for other schemes than SIP's)."""
        return SipUri.parse(self.uri_text)

    def param(self, name: str) -> str | None:
        """A header parameter, unquoted; "" for a flag, None where absent."""
        return find_param(self.params, name)

    def with_param(self, name: str, value: str | None) -> NameAddr:
        """A copy with a header parameter set; None writes a flag."""
        return NameAddr(self.uri_text, self.display_name, replace_param(self.params, name, value))

    def __str__(self) -> str:
        if self.uri_text == "*":
            return "*"
        name = f"{quote(self.display_name)} " if self.display_name is not None else ""
        return f"{name}<{self.uri_text}>{write_params(self.params) if self.params else ''}"


class Via(Struct, frozen=True, gc=False):
    """One Via element (RFC 3261 20.42, RFC 3581); host without brackets, transport upper case. `branch` is the
    parameter of that name, by which every message finds its transaction."""

    transport: str
    host: str
    port: int | None
    params: Params
    branch: str | None

    @classmethod
    def parse(cls, text: str) -> Via:
        """Parse one element; raises RemoteProtocolError. Only its first part is remembered: a branch is new
        in every request."""
        usual = _USUAL_VIA.fullmatch(text)
        params: Params
        if usual is not None:
            sent_by, rport, branch = usual.groups()
            params = (("branch", branch),) if rport is None else (*_RPORT, ("branch", branch))
        else:
            end = text.find(";")
            sent_by, rest = (text, "") if end < 0 else (text[:end], text[end:].rstrip(LWS))
            params = parse_params(rest)
            branch = find_param(params, "branch")
        read = _sent_by if len(sent_by) <= SHORT else _sent_by.__wrapped__
        transport, host, port = read(sent_by)
        return cls(transport, host, port, params, branch)

    @property
    def received(self) -> str | None:
        """The received parameter, IPv6 with or without brackets (RFC 5118 4.5): never with."""
        value = find_param(self.params, "received")
        return value.strip("[]") if value else value

    @property
    def rport(self) -> int | None:
        """The rport parameter: its port, 0 when it asks for one (flag), None where absent."""
        value = find_param(self.params, "rport")
        if value is None:
            return None
        return int(value) if _PORT.fullmatch(value) else 0

    def param(self, name: str) -> str | None:
        """A parameter, unquoted; "" for a flag, None where absent."""
        return find_param(self.params, name)

    def with_param(self, name: str, value: str | None) -> Via:
        """A copy with a parameter set; None writes a flag."""
        params = replace_param(self.params, name, value)
        return Via(self.transport, self.host, self.port, params, find_param(params, "branch"))

    def __str__(self) -> str:
        hostport = write_host(self.host, self.port)
        return f"SIP/2.0/{self.transport} {hostport}{write_params(self.params)}"


@dataclass(slots=True, unsafe_hash=True)
class CSeq:
    """Sequence number (0 to 2**31 - 1) and method."""

    number: Final[int]
    method: Final[str]

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Parse; raises RemoteProtocolError, also for a number of 2**31 or more (8.1.1.5)."""
        return short_cseq(text) if len(text) <= SHORT else cls._read(text)

    @classmethod
    def _read(cls, text: str) -> CSeq:
        match = _CSEQ.fullmatch(text)
        if match is None or text[0] in LWS:
            raise RemoteProtocolError("malformed CSeq")
        number = int(match.group(1) or "0")
        if number >= 2**31:
            raise RemoteProtocolError("CSeq out of range")
        return cls(number, match.group(2))

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@lru_cache(REMEMBERED_MAX)
def _sent_by(text: str) -> tuple[str, str, int | None]:
    """What stands before the parameters of a Via: the same in all messages of a peer."""
    match = _VIA.fullmatch(text)
    if match is None:
        raise RemoteProtocolError("malformed Via")
    transport, host, port = match.groups()
    return transport.upper(), parse_host(host), _parse_port(port)


_sip_uri = lru_cache(REMEMBERED_MAX)(SipUri._read)
short_name_addr = lru_cache(REMEMBERED_MAX)(NameAddr._read)
"""`NameAddr.parse` of a text no longer than `SHORT`."""
short_cseq = lru_cache(maxsize=256)(CSeq._read)
"""`CSeq.parse` of a text no longer than `SHORT`."""
