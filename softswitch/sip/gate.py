"""Who may talk to us: the question the stack asks before it remembers anything about a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipRequest


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request may enter.

    `identity` is handed through to the event untouched. `permitted_hosts` are further source
    addresses that may send requests inside the dialog (a trunk's address set); `follow_contact`
    lets our in-dialog requests leave for the peer's Contact even when that is another host than
    the one the dialog was learned from: for trusted trunks only, never for a phone behind a NAT.
    """

    identity: object = None
    permitted_hosts: frozenset[str] = frozenset()
    follow_contact: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer statelessly with `status` and these extra headers (a challenge, Retry-After)."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Say nothing: a banned or flooding source learns nothing."""


Verdict = Admitted | Refuse | Drop


class Gate(Protocol):
    """Policy of the exchange; asked once for every request that belongs to no dialog or transaction.

    The answer for a retransmission of a refused request must not depend on hidden random state:
    the stack keeps none, so it asks again.
    """

    def admit(self, request: SipRequest, flow: Flow, now_s: float) -> Verdict: ...


class OpenGate:
    """Admits everybody with no identity: for tests and for phones, never for an exchange."""

    def admit(self, request: SipRequest, flow: Flow, now_s: float) -> Verdict:
        return Admitted()
