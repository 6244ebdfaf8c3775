"""The INVITE client transaction: RFC 3261 section 17.1.1 (figure 5) with RFC 6026's Accepted."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from softswitch.sip.effects import (
    TERMINATE,
    ClearTimer,
    Clocking,
    Fail,
    PassResponse,
    ResponseArrived,
    Send,
    SetTimer,
    Started,
    TimerFired,
    TransactionEffect,
    TransactionInput,
    TransportFailed,
)
from softswitch.sip.message import SipRequest

if TYPE_CHECKING:
    from softswitch.sip.message import SipResponse

_CLEAR_A = ClearTimer("A")
_CLEAR_B = ClearTimer("B")


class State(Enum):
    IDLE = auto()
    CALLING = auto()
    PROCEEDING = auto()
    COMPLETED = auto()
    ACCEPTED = auto()
    TERMINATED = auto()


# Asked for several times a message: a member of an Enum is looked up in its class each time.
_IDLE: Final = State.IDLE
_CALLING: Final = State.CALLING
_PROCEEDING: Final = State.PROCEEDING
_COMPLETED: Final = State.COMPLETED
_ACCEPTED: Final = State.ACCEPTED
_TERMINATED: Final = State.TERMINATED


class InviteClientTransaction:
    """Sends one INVITE and acknowledges its refusals; 2xx belong to the user (RFC 6026 7.2).

    `request` carries our Via already; `reliable` tells whether the transport retransmits.
    """

    __slots__ = ("_ack", "_clocking", "_data", "_interval_s", "reliable", "request", "state")

    def __init__(self, request: SipRequest, reliable: bool, clocking: Clocking) -> None:
        self.request = request
        self.reliable = reliable
        self.state = _IDLE
        self._clocking = clocking
        self._data = request.serialise()
        self._interval_s = clocking.t1_s
        self._ack = b""

    @property
    def size(self) -> int:
        """Octets of the request."""
        return len(self._data)

    def handle(self, event: TransactionInput, now_s: float) -> list[TransactionEffect]:
        """One input, the effects it asks for; inputs that mean nothing now are absorbed."""
        state = self.state
        if state is _ACCEPTED:
            return self._accepted(event)
        if state is _PROCEEDING:
            return self._proceeding(event)
        if state is _CALLING:
            return self._calling(event)
        if state is _IDLE:
            return self._idle(event)
        return self._completed(event) if state is _COMPLETED else []

    def _idle(self, event: TransactionInput) -> list[TransactionEffect]:
        if not isinstance(event, Started):
            return []
        self.state = _CALLING
        clocking = self._clocking
        return [Send(self._data), clocking.timer_b if self.reliable else clocking.timer_a]

    def _calling(self, event: TransactionInput) -> list[TransactionEffect]:
        if isinstance(event, ResponseArrived):
            armed = self._armed()
            return [*armed, *self._first_answer(event.response)]
        if isinstance(event, TimerFired):
            if event.name == "A":
                first = self._interval_s == self._clocking.t1_s
                self._interval_s *= 2
                again: list[TransactionEffect] = [
                    Send(self._data),
                    SetTimer("A", self._interval_s),
                ]
                if first:
                    again.append(self._clocking.timer_b_later)
                return again
            if event.name == "B":
                return self._fail(408)
        if isinstance(event, TransportFailed):
            return self._fail(503)
        return []

    def _armed(self) -> tuple[ClearTimer, ...]:
        if self.reliable:
            return (_CLEAR_B,)
        return (_CLEAR_A,) if self._interval_s == self._clocking.t1_s else (_CLEAR_A, _CLEAR_B)

    def _proceeding(self, event: TransactionInput) -> list[TransactionEffect]:
        # No timer here: how long a telephone may ring is the user's decision (timer C).
        if isinstance(event, ResponseArrived):
            return self._first_answer(event.response)
        if isinstance(event, TransportFailed):
            return self._fail(503)
        return []

    def _first_answer(self, response: SipResponse) -> list[TransactionEffect]:
        self._data = (
            b""  # it will not be sent again, and this stays for as long as it rings and 32 s more
        )
        if response.status < 200:
            self.state = _PROCEEDING
            return [PassResponse(response)]
        if response.status < 300:
            self.state = _ACCEPTED
            return [self._clocking.timer_m, PassResponse(response)]
        self._ack = acknowledgement(self.request, response).serialise()
        if self.reliable:
            # Timer D is zero: nothing will be retransmitted to us.
            self.state = _TERMINATED
            return [Send(self._ack), PassResponse(response), TERMINATE]
        self.state = _COMPLETED
        # Timer D: "at least 32 seconds"; 64*T1 tracks the peer's timer H.
        return [
            Send(self._ack),
            self._clocking.timer_d,
            PassResponse(response),
        ]

    def _completed(self, event: TransactionInput) -> list[TransactionEffect]:
        if isinstance(event, ResponseArrived):
            return [Send(self._ack)] if event.response.status >= 300 else []
        if isinstance(event, TransportFailed):
            # Only our ACK was lost with it; the user has its final response already.
            self.state = _TERMINATED
            return [TERMINATE]
        return []

    def _accepted(self, event: TransactionInput) -> list[TransactionEffect]:
        if isinstance(event, ResponseArrived):
            return [PassResponse(event.response)] if 200 <= event.response.status < 300 else []
        return []

    def _fail(self, status: int) -> list[TransactionEffect]:
        self.state = _TERMINATED
        return [Fail(status), TERMINATE]


def acknowledgement(invite: SipRequest, response: SipResponse) -> SipRequest:
    """The ACK for a non-2xx final response (RFC 3261 17.1.1.3): same branch, Route and
    Request-URI as the INVITE, To from the response."""
    source = invite.headers
    ack = SipRequest("ACK", invite.uri)
    headers = ack.headers
    headers.add("Via", source.get("Via") or "")
    for value in source.get_all("Route"):
        headers.add("Route", value)
    headers.add("Max-Forwards", "70")
    headers.add("From", source.get("From") or "")
    headers.add("To", response.headers.get("To") or source.get("To") or "")
    headers.add("Call-ID", source.get("Call-ID") or "")
    headers.add("CSeq", f"{invite.cseq.number} ACK")
    return ack
