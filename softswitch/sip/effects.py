"""What the machines of the SIP core hear and what they want done.

Inputs (past tense) go into `handle`, effects (imperative) come out, in the order in which they are
to be performed. Timers are effects that come back as `TimerFired`; a machine ignores those that no
longer concern it.

`gc=False`: what they hold never leads back to them, so the cycle collector need not know of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from softswitch.sip.message import SipRequest, SipResponse

# -- inputs of a transaction -----------------------------------------------------------------------


class Started(Struct, gc=False):
    """The client transaction's request is to be sent now."""


class RequestArrived(Struct, gc=False):
    """A request that matches a server transaction: the first one, a retransmission or an ACK."""

    request: SipRequest


class ResponseArrived(Struct, gc=False):
    """A response that matches a client transaction."""

    response: SipResponse


class ResponseGiven(Struct, gc=False):
    """The transaction user answers with these octets."""

    status: int
    data: bytes


class TimerFired(Struct, gc=False):
    """A timer armed by `SetTimer` is due."""

    name: str


class TransportFailed(Struct, gc=False):
    """The transport could not send."""


TransactionInput = (
    Started | RequestArrived | ResponseArrived | ResponseGiven | TimerFired | TransportFailed
)

# -- effects of a transaction ----------------------------------------------------------------------


class Send(Struct, gc=False):
    """Put these octets on the transaction's flow."""

    data: bytes


class SetTimer(Struct, gc=False):
    """Arm the timer `name` to fire in `after_s`, replacing one of the same name."""

    name: str
    after_s: float


class Linger(Struct, gc=False):
    """Stay for `after_s`, to absorb or repeat what comes again, then be forgotten without a further word: the
    timers D, I, J, K, L and M (`name`), which nothing disarms."""

    name: str
    after_s: float


class ClearTimer(Struct, gc=False):
    """Disarm the timer `name` if it is armed."""

    name: str


class PassRequest(Struct, gc=False):
    """Hand the request to the transaction user (the first one, or the ACK of a 2xx)."""

    request: SipRequest


class PassResponse(Struct, gc=False):
    """Hand the response to the transaction user."""

    response: SipResponse


class Fail(Struct, gc=False):
    """Tell the user that the transaction failed: 408 timed out, 503 transport error."""

    status: int


class Terminate(Struct, gc=False):
    """Forget the transaction and every timer of it."""


TransactionEffect = (
    Send | SetTimer | Linger | ClearTimer | PassRequest | PassResponse | Fail | Terminate
)

TERMINATE = Terminate()
STARTED = Started()
TRANSPORT_FAILED = TransportFailed()


class Clocking:
    """The base intervals of RFC 3261 table 4, in seconds, and as effects the timers that follow from them:
    the first A, E and G after T1, I and K after T4, the others after 64*T1.

    Most requests are answered before they are sent again. So over UDP B and F are armed with the second A
    or E, for what is left of 64*T1 then (`timer_b_later`, `timer_f_later`): the same moment, and mostly never.
    """

    __slots__ = (
        "give_up_s",
        "t1_s",
        "t2_s",
        "t4_s",
        "timer_a",
        "timer_b",
        "timer_b_later",
        "timer_d",
        "timer_e",
        "timer_f",
        "timer_f_later",
        "timer_g",
        "timer_h",
        "timer_i",
        "timer_j",
        "timer_k",
        "timer_l",
        "timer_m",
    )

    def __init__(self, t1_s: float = 0.5, t2_s: float = 4.0, t4_s: float = 5.0) -> None:
        self.t1_s = t1_s
        self.t2_s = t2_s
        self.t4_s = t4_s
        self.give_up_s = 64 * t1_s
        self.timer_a, self.timer_e, self.timer_g = [SetTimer(name, t1_s) for name in "AEG"]
        self.timer_b, self.timer_f, self.timer_h = [
            SetTimer(name, self.give_up_s) for name in "BFH"
        ]
        self.timer_i, self.timer_k = [Linger(name, t4_s) for name in "IK"]
        self.timer_d, self.timer_j, self.timer_l, self.timer_m = [
            Linger(name, self.give_up_s) for name in "DJLM"
        ]
        self.timer_b_later, self.timer_f_later = [
            SetTimer(name, self.give_up_s - t1_s) for name in "BF"
        ]
