"""The non-INVITE server transaction: RFC 3261 section 17.2.2 (figure 8)."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from softswitch.sip.effects import (
    TERMINATE,
    Clocking,
    Fail,
    PassRequest,
    RequestArrived,
    ResponseGiven,
    Send,
    TransactionEffect,
    TransactionInput,
    TransportFailed,
)


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


class NonInviteServerTransaction:
    """Passes one request up and repeats the answer to its retransmissions."""

    __slots__ = ("_clocking", "_last", "reliable", "state")

    def __init__(self, reliable: bool, clocking: Clocking) -> None:
        self.reliable = reliable
        self.state = _IDLE
        self._clocking = clocking
        self._last = b""

    def handle(self, event: TransactionInput, now_s: float) -> list[TransactionEffect]:
        """One input, the effects it asks for; inputs that mean nothing now are absorbed."""
        state = self.state
        if state is _TRYING or state is _PROCEEDING:
            return self._working(event)
        if state is _IDLE:
            return self._idle(event)
        return self._completed(event) if state is _COMPLETED else []

    def _idle(self, event: TransactionInput) -> list[TransactionEffect]:
        if isinstance(event, RequestArrived):
            self.state = _TRYING
            return [PassRequest(event.request)]
        return []

    def _working(self, event: TransactionInput) -> list[TransactionEffect]:
        if isinstance(event, ResponseGiven):
            self._last = event.data
            if event.status < 200:
                self.state = _PROCEEDING
                return [Send(event.data)]
            if self.reliable:
                self.state = _TERMINATED
                return [Send(event.data), TERMINATE]
            self.state = _COMPLETED
            return [Send(event.data), self._clocking.timer_j]
        if isinstance(event, RequestArrived):
            # Retransmissions in Trying are discarded, in Proceeding answered again.
            return [Send(self._last)] if self.state is _PROCEEDING else []
        if isinstance(event, TransportFailed):
            return self._fail(503)
        return []

    def _completed(self, event: TransactionInput) -> list[TransactionEffect]:
        if isinstance(event, RequestArrived):
            return [Send(self._last)]
        if isinstance(event, TransportFailed):
            return self._fail(503)
        return []

    def _fail(self, status: int) -> list[TransactionEffect]:
        self.state = _TERMINATED
        return [Fail(status), TERMINATE]
