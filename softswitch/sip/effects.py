"""What the machines of the SIP core hear and what they want done.

Inputs (past tense) go into `handle`, effects (imperative) come out, in the order in which they are
to be performed. Timers are effects that come back as `TimerFired`; a machine ignores those that no
longer concern it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softswitch.sip.message import SipRequest, SipResponse

# -- inputs of a transaction -----------------------------------------------------------------------


@dataclass(slots=True)
class Started:
    """The client transaction's request is to be sent now."""


@dataclass(slots=True)
class RequestArrived:
    """A request that matches a server transaction: the first one, a retransmission or an ACK."""

    request: SipRequest


@dataclass(slots=True)
class ResponseArrived:
    """A response that matches a client transaction."""

    response: SipResponse


@dataclass(slots=True)
class ResponseGiven:
    """The transaction user answers with these octets."""

    status: int
    data: bytes


@dataclass(slots=True)
class TimerFired:
    """A timer armed by `SetTimer` is due."""

    name: str


@dataclass(slots=True)
class TransportFailed:
    """The transport could not send."""


TransactionInput = (
    Started | RequestArrived | ResponseArrived | ResponseGiven | TimerFired | TransportFailed
)

# -- effects of a transaction ----------------------------------------------------------------------


@dataclass(slots=True)
class Send:
    """Put these octets on the transaction's flow."""

    data: bytes


@dataclass(slots=True)
class SetTimer:
    """Arm the timer `name` to fire in `after_s`, replacing one of the same name."""

    name: str
    after_s: float


@dataclass(slots=True)
class ClearTimer:
    """Disarm the timer `name` if it is armed."""

    name: str


@dataclass(slots=True)
class PassRequest:
    """Hand the request to the transaction user (the first one, or the ACK of a 2xx)."""

    request: SipRequest


@dataclass(slots=True)
class PassResponse:
    """Hand the response to the transaction user."""

    response: SipResponse


@dataclass(slots=True)
class Fail:
    """Tell the user that the transaction failed: 408 timed out, 503 transport error."""

    status: int


@dataclass(slots=True)
class Terminate:
    """Forget the transaction and every timer of it."""


TransactionEffect = Send | SetTimer | ClearTimer | PassRequest | PassResponse | Fail | Terminate

TERMINATE = Terminate()
STARTED = Started()
TRANSPORT_FAILED = TransportFailed()


@dataclass(frozen=True, slots=True)
class Clocking:
    """The base intervals of RFC 3261 table 4, in seconds."""

    t1_s: float = 0.5
    t2_s: float = 4.0
    t4_s: float = 5.0

    @property
    def give_up_s(self) -> float:
        """64*T1: timers B, D, F, H, J, L and M."""
        return 64 * self.t1_s
