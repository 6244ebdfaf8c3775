"""The non-INVITE client transaction: RFC 3261 section 17.1.2 (figure 6)."""

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

if TYPE_CHECKING:
    from softswitch.sip.message import SipRequest, SipResponse

_CLEAR_E = ClearTimer("E")
_CLEAR_F = ClearTimer("F")


class State(Enum):
    IDLE = auto()
    TRYING = auto()
    PROCEEDING = auto()
    COMPLETED = auto()
    TERMINATED = auto()


# Asked for several times a message: a member of an Enum is looked up in its class each time.
_IDLE: Final = State.IDLE
_TRYING: Final = State.TRYING
_PROCEEDING: Final = State.PROCEEDING
_COMPLETED: Final = State.COMPLETED
_TERMINATED: Final = State.TERMINATED


class NonInviteClientTransaction:
    """Sends one request until a final response comes or timer F ends the waiting."""

    __slots__ = (
        "_clocking", "_data", "_interval_s", "_sent_again", "reliable", "request", "state",
    )  # fmt: skip

    def __init__(self, request: SipRequest, reliable: bool, clocking: Clocking) -> None:
        self.request = request
        self.reliable = reliable
        self.state = _IDLE
        self._clocking = clocking
        self._data = request.serialise()
        self._interval_s = clocking.t1_s
        self._sent_again = False

    @property
    def size(self) -> int:
        """Octets of the request."""
        return len(self._data)

    def handle(self, event: TransactionInput, now_s: float) -> list[TransactionEffect]:
        """One input, the effects it asks for; inputs that mean nothing now are absorbed."""
        state = self.state
        if state is _TRYING or state is _PROCEEDING:
            return self._waiting(event)
        if state is _IDLE:
            return self._idle(event)
        return []  # completed: what comes again is absorbed

    def _idle(self, event: TransactionInput) -> list[TransactionEffect]:
        if not isinstance(event, Started):
            return []
        self.state = _TRYING
        clocking = self._clocking
        return [Send(self._data), clocking.timer_f if self.reliable else clocking.timer_e]

    def _waiting(self, event: TransactionInput) -> list[TransactionEffect]:
        if isinstance(event, ResponseArrived):
            return self._answered(event.response)
        if isinstance(event, TimerFired):
            if event.name == "E":
                # Once the peer has shown life only T2 counts (17.1.2.2).
                trying = self.state is _TRYING
                longer_s = 2 * self._interval_s if trying else self._clocking.t2_s
                self._interval_s = min(longer_s, self._clocking.t2_s)
                again: list[TransactionEffect] = [
                    Send(self._data),
                    SetTimer("E", self._interval_s),
                ]
                if not self._sent_again:
                    self._sent_again = True
                    again.append(self._clocking.timer_f_later)
                return again
            if event.name == "F":
                return self._fail(408)
        if isinstance(event, TransportFailed):
            return self._fail(503)
        return []

    def _answered(self, response: SipResponse) -> list[TransactionEffect]:
        if response.status < 200:
            self.state = _PROCEEDING
            return [PassResponse(response)]
        self._data = b""  # it will not be sent again
        if self.reliable:
            self.state = _TERMINATED
            return [PassResponse(response), TERMINATE]
        self.state = _COMPLETED
        done: list[TransactionEffect] = [
            _CLEAR_E,
            self._clocking.timer_k,
            PassResponse(response),
        ]
        if self._sent_again:
            done.insert(0, _CLEAR_F)
        return done

    def _fail(self, status: int) -> list[TransactionEffect]:
        self.state = _TERMINATED
        return [Fail(status), TERMINATE]
