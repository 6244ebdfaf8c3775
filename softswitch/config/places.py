"""Places to be filled in in what an office writes to people about tickets."""

from __future__ import annotations

from collections.abc import Collection, Iterator

PLACES = (
    "ticket.id",
    "ticket.subject",
    "customer.name",
    "customer.phone",
    "agent.name",
    "call.number",
)
"""What can be filled in into templates and macros, written ``{{ticket.id}}``."""
ACKNOWLEDGED = ("ticket.id", "ticket.subject", "customer.name")
"""What can be into `[tickets] acknowledge`."""


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """`text` cut into what stands there as it is (False) and what stands between two pairs of braces (True), of
    nested ones the innermost."""
    first, *parts = text.split("{{")
    yield first, False
    for part in parts:
        name, closed, rest = part.partition("}}")
        if closed:
            yield name, True
            yield rest, False
        else:
            yield "{{" + part, False


def unknown_places(text: str, places: Collection[str] = PLACES) -> list[str]:
    """What stands like a place in `text`, and is none of `places`."""
    return [piece for piece, is_place in pieces(text) if is_place and piece.strip() not in places]


def filled(text: str, known: dict[str, str]) -> str:
    """`text` with its places filled in; one that is not known stays empty. Nothing else is expanded, and
    what is filled in is not looked at again."""
    found = []
    for piece, is_place in pieces(text):
        if is_place and piece.strip() in PLACES:
            found.append(known.get(piece.strip(), ""))
        else:
            found.append("{{" + piece + "}}" if is_place else piece)
    return "".join(found)
