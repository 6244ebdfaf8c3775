"""Bodies of several parts (RFC 5621, RFC 2046 5.1): the session description among what carriers put beside it,
ISUP, a location, a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from softswitch.errors import RemoteProtocolError
from softswitch.sip.grammar import find_param, parse_params

MIXED: Final = "multipart/mixed"
TYPES: Final = (MIXED, "multipart/alternative", "multipart/related")
PARTS_MAX: Final = 16
_BOUNDARY_MAX: Final = 70
_DEPTH_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its media type in lower case without parameters, whether who sent it insists that it is
    understood, and its octets."""

    content_type: str
    required: bool
    body: bytes


def sdp_of_parts(content_type: str, body: bytes) -> bytes | None:
    """The first session description in a body with this Content-Type, None where there is none.

    Raises RemoteProtocolError where the body is not made as RFC 2046 says or has more than `PARTS_MAX` parts,
    with 415 where a part must be understood that is not.
    """
    found: bytes | None = None
    for part in parts_of(content_type, body):
        if part.content_type == "application/sdp":
            found = part.body if found is None else found
        elif part.required:
            raise RemoteProtocolError(f"a part of type {part.content_type}", status_hint=415)
    return found


def parts_of(content_type: str, body: bytes, depth: int = 1) -> Iterator[Part]:
    """The parts of a body, those of parts of parts included; raises as `sdp_of_parts`."""
    pieces = _pieces(body, _boundary(content_type))
    if len(pieces) > PARTS_MAX:
        raise RemoteProtocolError("too many parts")
    for piece in pieces:
        lines, value, inner = _headers(piece)
        kind = _kind(value)
        if kind in TYPES and depth < _DEPTH_MAX:
            yield from parts_of(value, inner, depth + 1)
            continue
        disposition = lines.get("content-disposition", "").replace(" ", "").lower()
        yield Part(kind, "handling=required" in disposition, inner)


def _boundary(content_type: str) -> bytes:
    _, semicolon, rest = content_type.partition(";")
    boundary = find_param(parse_params(semicolon + rest), "boundary")
    if not boundary or len(boundary) > _BOUNDARY_MAX or not boundary.isascii():
        raise RemoteProtocolError("a body of several parts without a boundary")
    return b"--" + boundary.encode()


def _pieces(body: bytes, delimiter: bytes) -> list[bytes]:
    """What stands between the delimiters; what stands before the first and after the last tells nothing."""
    found = (b"\r\n" + body).split(b"\r\n" + delimiter, PARTS_MAX + 2)
    pieces: list[bytes] = []
    for piece in found[1:]:
        if piece.startswith(b"--"):
            return pieces
        line, end, rest = piece.partition(b"\r\n")
        if not end or line.strip(b" \t"):
            raise RemoteProtocolError("a boundary that is none")
        pieces.append(rest)
    raise RemoteProtocolError("a body of several parts without an end")


def _headers(piece: bytes) -> tuple[dict[str, str], str, bytes]:
    """The header lines of a part by their names in lower case, its Content-Type, and its body."""
    if piece.startswith(b"\r\n"):
        return {}, "", piece[2:]
    head, _, inner = piece.partition(b"\r\n\r\n")
    lines: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").replace("\r\n ", " ").split("\r\n")[:16]:
        name, _, value = line.partition(":")
        lines[name.strip().lower()] = value.strip()
    return lines, lines.get("content-type", lines.get("c", "")), inner


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower() or "text/plain"
