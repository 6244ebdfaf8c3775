"""The few lexical rules of RFC 3261 section 25.1 every parser of this package shares.

All patterns are ASCII only and written so that they cannot backtrack (possessive quantifiers), and
white space is SP and HTAB and nothing else: ``str.strip()`` and ``\\s`` know far more, which is how
"Name\\x0b:" once slipped past filters.
"""

from __future__ import annotations

import re
from typing import Final

from softswitch.errors import RemoteProtocolError

LWS: Final = " \t"
TOKEN_CHARS: Final = r"A-Za-z0-9\-.!%*_+`'~"
TOKEN: Final = re.compile(rf"[{TOKEN_CHARS}]++")
QUOTED: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# A generic-param value: token, host (IPv6 with or without brackets) or what sloppy peers put there
# (base64 padding, "@", "/"); never white space, quotes, separators of the next outer level.
_PARAM_VALUE: Final = re.compile(r'[^\x00-\x20\x7f"<>,;]*+')
_PARAM_LIST: Final = re.compile(rf"(?:;[{TOKEN_CHARS}]++(?:=[^\x00-\x20\x7f\"<>,;=]++)?+)*+")
_LIST_STOP: Final = re.compile(r'[",<]')
_NUMBER: Final = re.compile(r"0*+([0-9]*+)")
_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)

PARAMS_MAX: Final = 64
"""Parameters of one URI or header element; more is no message anybody needs."""

Params = tuple[tuple[str, str | None], ...]


def is_token(text: str) -> bool:
    """True when `text` is an RFC 3261 token (ASCII only, not empty)."""
    return TOKEN.fullmatch(text) is not None


def parse_number(text: str, largest: int) -> int | None:
    """`text` as a decimal number clamped to `largest`, or None when it is not 1*DIGIT.

    ``int()`` is never asked about anything but ASCII digits: it takes "1_0", "+5" and Arabic ones.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or not text:
        return None
    digits = match.group(1)
    if len(digits) > 19:  # more than 64 bits: whatever it is, it is too large
        return largest
    return min(int(digits or "0"), largest)


def quote(text: str) -> str:
    """`text` as a quoted-string, with the quoted-pairs it needs."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(text: str) -> str:
    """The content of a quoted-string with its quoted-pairs undone; other text comes back as is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    inner = text[1:-1]
    if "\\" not in inner:
        return inner
    # Not by a template: for one, `re` looks a function of its own up by a new string each time, and Python's
    # cache of attributes, which goes by where a name lies, keeps such a string in each of its 4,096 places.
    return _PAIR.sub(_second, inner)


def _second(pair: re.Match[str]) -> str:
    return pair[1]


def split_commas(text: str, limit: int = 0) -> list[str]:
    """Split a header value at the commas that are outside quotes and angle brackets.

    Each part is stripped of SP and HTAB; empty parts are kept, callers decide. `limit` (when > 0)
    stops after that many parts. One pass, linear. Raises RemoteProtocolError at an unclosed quote
    or bracket.
    """
    if "," not in text:
        return [text.strip(LWS)]
    if '"' not in text and "<" not in text:
        parts = text.split(",", limit) if limit else text.split(",")
        return [part.strip(LWS) for part in (parts[:limit] if limit else parts)]
    parts = []
    start = position = 0
    while (stop := _LIST_STOP.search(text, position)) is not None:
        at = stop.start()
        character = text[at]
        if character == ",":
            parts.append(text[start:at].strip(LWS))
            if limit and len(parts) == limit:
                return parts
            start = position = at + 1
        elif character == '"':
            quoted = QUOTED.match(text, at)
            if quoted is None:
                raise RemoteProtocolError("unterminated quoted string")
            position = quoted.end()
        else:
            position = text.find(">", at) + 1
            if position == 0:
                raise RemoteProtocolError("unterminated angle bracket")
    parts.append(text[start:].strip(LWS))
    return parts


def parse_params(text: str) -> Params:
    """Parse ``;name=value;flag`` (text empty or starting with ";") into pairs, order kept.

    Values keep their quotes (see `unquote`), so that writing them again is exact. Raises
    RemoteProtocolError at empty parameters, bad names, bad values or more than PARAMS_MAX ";".
    """
    if not text:
        return ()
    if text.count(";") > PARAMS_MAX:
        raise RemoteProtocolError("too many parameters")
    if _PARAM_LIST.fullmatch(text) is not None:
        pairs: list[tuple[str, str | None]] = []
        for piece in text[1:].split(";"):
            name, equals, value = piece.partition("=")
            pairs.append((name, value if equals else None))
        return tuple(pairs)
    return _parse_params_slowly(text)


def _parse_params_slowly(text: str) -> Params:
    """The same with white space round separators and quoted values."""
    pairs: list[tuple[str, str | None]] = []
    position, end = 0, len(text)
    while position < end:
        if text[position] != ";":
            raise RemoteProtocolError("parameter without separator")
        position = _skip_lws(text, position + 1)
        name = TOKEN.match(text, position)
        if name is None:
            raise RemoteProtocolError("empty or malformed parameter name")
        position = _skip_lws(text, name.end())
        if position < end and text[position] == "=":
            position = _skip_lws(text, position + 1)
            pattern = QUOTED if text[position : position + 1] == '"' else _PARAM_VALUE
            value = pattern.match(text, position)
            if value is None:
                raise RemoteProtocolError("unterminated quoted string in a parameter")
            pairs.append((name.group(), value.group()))
            position = _skip_lws(text, value.end())
        else:
            pairs.append((name.group(), None))
    return tuple(pairs)


_LWS_RUN: Final = re.compile(r"[ \t]*+")


def _skip_lws(text: str, position: int) -> int:
    run = _LWS_RUN.match(text, position)
    return run.end() if run is not None else position


def find_param(params: Params, name: str) -> str | None:
    """The unquoted value of parameter `name` (lower case); "" for a flag, None where absent."""
    for key, value in params:
        if key == name or key.lower() == name:
            if value is None:
                return ""
            return unquote(value) if '"' in value else value
    return None


def replace_param(params: Params, name: str, value: str | None) -> Params:
    """`params` with `name` set to `value` (in place where it stood, else appended)."""
    found = False
    pairs: list[tuple[str, str | None]] = []
    for key, old in params:
        if key.lower() != name.lower():
            pairs.append((key, old))
        elif not found:
            found = True
            pairs.append((key, value))
    if not found:
        pairs.append((name, value))
    return tuple(pairs)


def write_params(params: Params) -> str:
    """The text of `params`, with the leading ";"."""
    return "".join([f";{n}" if v is None else f";{n}={v}" for n, v in params])
