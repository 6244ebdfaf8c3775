"""Who somebody is to the one he talks to, as a telephone displays it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from softswitch.sip.uri import NameAddr, SipUri


class Shown(NamedTuple):
    """A name, "" for none, and a number."""

    name: str
    number: str


def connected_lines(who: Shown, domain: str) -> tuple[tuple[str, str], ...]:
    """The header that tells a telephone whom it is connected to (RFC 3325 9.1, as RFC 4916 has need of it):
    displays follow it in answers and in UPDATE, where From must stay."""
    address = NameAddr(str(SipUri("sip", who.number or "anonymous", domain)), who.name or None)
    return (("P-Asserted-Identity", str(address)),)
