"""The header fields of a message: an ordered multi-map with canonical names (RFC 3261 7.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct, field

from softswitch.errors import LocalProtocolError, RemoteProtocolError
from softswitch.sip.grammar import LWS, is_token, split_commas

COMPACT_FORMS: Final[dict[str, str]] = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}

_NAMES: Final = """
    Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow Allow-Events
    Authentication-Info Authorization Call-ID Call-Info Contact Content-Disposition
    Content-Encoding Content-Language Content-Length Content-Type CSeq Date Diversion Error-Info
    Event Expires Flow-Timer From Geolocation History-Info Identity Identity-Info In-Reply-To
    Info-Package Join Max-Breadth Max-Forwards MIME-Version Min-Expires Min-SE Organization
    P-Access-Network-Info P-Asserted-Identity P-Called-Party-ID P-Charging-Vector P-Early-Media
    P-Preferred-Identity Path Priority Privacy Proxy-Authenticate Proxy-Authorization
    Proxy-Require RAck Reason Record-Route Recv-Info Refer-Sub Refer-To Referred-By Reject-Contact
    Remote-Party-ID Replaces Reply-To Request-Disposition Require Retry-After Route RSeq
    Security-Client Security-Server Security-Verify Server Service-Route Session-Expires
    Session-ID SIP-ETag SIP-If-Match Subject Subscription-State Supported Suppress-If-Match
    Target-Dialog Timestamp To Unsupported User-Agent User-to-User Via Warning WWW-Authenticate
"""
KNOWN_NAMES: Final[tuple[str, ...]] = tuple(_NAMES.split())

# Every spelling seen in the field, so that the usual case is one dict look-up and no new string.
SPELLINGS: Final[dict[str, str]] = {}
for _name in KNOWN_NAMES:
    for _spelling in (_name, _name.lower(), _name.upper(), _name.title()):
        SPELLINGS[_spelling] = _name
for _compact, _name in COMPACT_FORMS.items():
    SPELLINGS[_compact] = SPELLINGS[_compact.upper()] = _name
SPELLINGS["Cseq"] = "CSeq"

# A second line of one of these is an attack or a broken peer: 400 (RFC 3261 7.3.1, RFC 4475 3.3.8).
_SINGLE: Final = """
    Call-ID CSeq From To Max-Forwards Content-Length Content-Type Content-Disposition Date Event
    Expires Min-Expires MIME-Version RAck RSeq Refer-To Referred-By Replaces Retry-After
    Session-Expires Min-SE SIP-ETag SIP-If-Match Subscription-State Subject Timestamp
    Target-Dialog Organization Priority Reply-To Server User-Agent
"""
SINGLE_VALUE: Final[frozenset[str]] = frozenset(_SINGLE.split())

_SHORT: Final = 160
"""Lists of tokens up to this length are remembered: every telephone says the same in each message."""


def canonical_name(name: str) -> str:
    """The canonical spelling of a header name, compact forms expanded; unknown names stay as is.

    Raises RemoteProtocolError when `name` is not a token.
    """
    known = SPELLINGS.get(name)
    if known is not None:
        return known
    if not is_token(name):  # ASCII from here on: lower() cannot turn a Kelvin sign into "k"
        raise RemoteProtocolError("malformed header name")
    return SPELLINGS.get(name.lower(), name)


_NO_LINES: Final[Any] = ()
"""Of headers without a repetition."""


class Headers(Struct, eq=False, gc=False):
    """Ordered header lines, looked up by name in any case or compact form.

    Names are canonical where known and as received otherwise; values are text decoded as UTF-8
    with surrogateescape (any octet survives a round trip), without folding and outer white space.
    A list-valued header keeps its lines; `values` splits them at commas. Typed values that message
    properties parse are cached in `parsed` and forgotten at any change.

    `first` is the value of each name's first line, to be read only: what `get` looks into, for those who
    know the canonical name; `some_repeat` tells whether any name stands here twice. As long as none does
    `first` is all there is, in the order of the lines; from then on `_lines` has them.

    Called with a dict, the class takes over checked lines with canonical names; `of` takes any.
    """

    first: dict[str, str] = field(default_factory=dict)
    parsed: dict[str, Any] = field(default_factory=dict)
    some_repeat: bool = False
    _lines: list[tuple[str, str]] = _NO_LINES  # a list of its own as soon as some repeat

    @classmethod
    def of(cls, lines: Iterable[tuple[str, str]]) -> Headers:
        """Lines of (name, value) in this order."""
        headers = cls()
        headers.extend(lines)
        return headers

    @classmethod
    def of_canonical(cls, names: list[str], values: list[str]) -> Headers:
        """Lines of two parallel lists that the parser has already checked."""
        headers = cls(dict(zip(names, values, strict=True)))
        if len(headers.first) != len(names):
            headers._adopt(list(zip(names, values, strict=True)))
        return headers

    def _adopt(self, lines: list[tuple[str, str]]) -> None:
        self.first = dict(lines)
        self.some_repeat = len(self.first) != len(lines)
        self._lines = _NO_LINES
        if self.some_repeat:
            self.first = dict(reversed(lines))
            self._lines = lines
        self.parsed.clear()

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of the first line called `name`."""
        known = SPELLINGS.get(name)
        if known is not None:
            return self.first.get(known, default)
        found = self.get_all(name)
        return found[0] if found else default

    def get_all(self, name: str) -> list[str]:
        """The value of every line called `name`, in order, commas left alone."""
        known = SPELLINGS.get(name) or SPELLINGS.get(name.lower())
        if known is not None:
            value = self.first.get(known)
            if value is None:
                return []
            if not self.some_repeat:
                return [value]
            return [value for key, value in self._lines if key == known]
        lower = name.lower()
        return [value for key, value in self.items() if key.lower() == lower]

    def values(self, name: str) -> list[str]:
        """All elements of a comma-separated header over all its lines; empty ones are dropped."""
        found: list[str] = []
        for line in self.get_all(name):
            if "," in line:
                found += [part for part in split_commas(line) if part]
            elif line:
                found.append(line)
        return found

    def lists(self, name: str, tag: str) -> bool:
        """Whether `tag` (lower case) stands in a list of tokens such as Supported; `name` is the canonical
        one. Tokens have no quotes, so nothing in the line can be wrong enough to raise: what is no token is
        just not `tag`."""
        line = self.first.get(name)
        if line is None:
            return False
        if not self.some_repeat:
            return tag in tokens_of(line)
        return any(tag in tokens_of(each) for each in self.get_all(name))

    def set(self, name: str, value: str) -> None:
        """Make `value` the only line called `name`, where its first line stood, else at the end."""
        positions = self._positions(name)
        if not positions:
            self.add(name, value)
            return
        _check_value(value)
        lines = list(self.items())
        lines[positions[0]] = lines[positions[0]][0], value
        for position in reversed(positions[1:]):
            del lines[position]
        self._adopt(lines)

    def add(self, name: str, value: str) -> None:
        """Append a line."""
        known = SPELLINGS.get(name) or _checked_name(name)
        if "\r" in value or "\n" in value:
            _check_value(value)
        if self.some_repeat:
            self._lines.append((known, value))
            self.first.setdefault(known, value)
        elif known in self.first:
            self._lines = [*self.first.items(), (known, value)]
            self.some_repeat = True
        else:
            self.first[known] = value
        self.parsed.clear()

    def extend(self, lines: Iterable[tuple[str, str]]) -> None:
        """Append lines, (name, value) each."""
        first = self.first
        for name, value in lines:
            known = SPELLINGS.get(name)
            if (
                known is None
                or known in first
                or self.some_repeat
                or "\r" in value
                or "\n" in value
            ):
                self.add(name, value)  # which says what is wrong
            else:
                first[known] = value
        self.parsed.clear()

    def take(self, lines: Mapping[str, str]) -> None:
        """Append lines of ours, whose names are canonical; the same as `extend` for less."""
        text = "".join(lines.values())
        if (
            self.some_repeat
            or "\r" in text
            or "\n" in text
            or not self.first.keys().isdisjoint(lines)
        ):
            self.extend(lines.items())
            return
        self.first.update(lines)
        self.parsed.clear()

    def prepend(self, name: str, value: str) -> None:
        """Put a line before all others."""
        if self.some_repeat or name in self.first or SPELLINGS.get(name) != name:
            self._insert(0, name, value)
            return
        if "\r" in value or "\n" in value:
            _check_value(value)  # which says so
        self.first = {name: value, **self.first}

    def replace_first(self, name: str, value: str) -> None:
        """Change only the first line called `name`; LocalProtocolError where there is none."""
        known = SPELLINGS.get(name, name)
        if known not in self.first:
            raise LocalProtocolError(f"no {name} to replace")
        self._replace(known, value)
        self.parsed.clear()

    def replace_top_via(self, value: str) -> None:
        """Change the first Via's text but for sent-by and branch, so that what has been parsed still holds."""
        self._replace("Via", value)
        self.parsed.pop("vias", None)

    def _replace(self, known: str, value: str) -> None:
        _check_value(value)
        if self.some_repeat:
            self._lines[self._positions(known)[0]] = known, value
        self.first[known] = value

    def _insert(self, position: int, name: str, value: str) -> None:
        known = SPELLINGS.get(name) or _checked_name(name)
        _check_value(value)
        lines = list(self.items())
        lines.insert(position, (known, value))
        self._adopt(lines)

    def remove(self, name: str) -> None:
        """Drop every line called `name`; silent where there is none."""
        lines = list(self.items())
        for position in reversed(self._positions(name)):
            del lines[position]
        self._adopt(lines)

    def _positions(self, name: str) -> list[int]:
        known = SPELLINGS.get(name) or SPELLINGS.get(name.lower())
        if known is not None:
            return [i for i, (key, _) in enumerate(self.items()) if key == known]
        lower = name.lower()
        return [i for i, (key, _) in enumerate(self.items()) if key.lower() == lower]

    def count(self, name: str) -> int:
        """How many lines are called `name`."""
        return len(self._positions(name))

    def repeated(self) -> frozenset[str]:
        """The single-value headers that stand here more than once (each a reason for 400)."""
        if not self.some_repeat:
            return frozenset()
        names = [name for name, _ in self._lines]
        return frozenset(n for n in self.first if n in SINGLE_VALUE and names.count(n) > 1)

    def __contains__(self, name: str) -> bool:
        known = SPELLINGS.get(name)
        if known is None:
            return bool(self.get_all(name))
        return known in self.first

    def __len__(self) -> int:
        return len(self._lines) if self.some_repeat else len(self.first)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return list(self.items()) == list(other.items())

    __hash__ = None  # type: ignore[assignment]

    def items(self) -> Iterator[tuple[str, str]]:
        """The lines in order as (name, value)."""
        return iter(self._lines if self.some_repeat else self.first.items())

    def text(self) -> str:
        """The lines as they are sent, each with its line break."""
        if self.some_repeat:
            return "".join([f"{name}: {value}\r\n" for name, value in self._lines])
        first = self.first
        pieces = _LINE * len(first)
        pieces[::4] = first
        pieces[2::4] = first.values()
        return "".join(pieces)

    def copy(self) -> Headers:
        """An independent copy."""
        headers = Headers(self.first.copy())
        if self.some_repeat:
            headers._lines = self._lines.copy()
            headers.some_repeat = True
        return headers

    def __repr__(self) -> str:
        return f"Headers({list(self.items())!r})"


_LINE: Final = ["", ": ", "", "\r\n"]


def _checked_name(name: str) -> str:
    try:
        return canonical_name(name)
    except RemoteProtocolError:
        raise LocalProtocolError(f"not a header name: {name!r}") from None


def tokens_of(line: str) -> frozenset[str]:
    """The elements of a list of tokens in lower case."""
    return _tokens(line) if len(line) <= _SHORT else _tokens.__wrapped__(line)


@lru_cache(256)
def _tokens(line: str) -> frozenset[str]:
    return frozenset([part.strip(LWS).lower() for part in line.split(",")])


def _check_value(value: str) -> None:
    # The last line of defence against header injection from our own code. Other control octets may
    # stand in a quoted-pair (RFC 4475 3.1.1.2).
    if "\r" in value or "\n" in value:
        raise LocalProtocolError("a header value holds a line break")
