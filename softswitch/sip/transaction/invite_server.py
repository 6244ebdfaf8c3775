"""The INVITE server transaction: RFC 3261 section 17.2.1 (figure 7) with RFC 6026's Accepted."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from softswitch.sip.effects import (
    TERMINATE,
    ClearTimer,
    Clocking,
    Fail,
    PassRequest,
    RequestArrived,
    ResponseGiven,
    Send,
    SetTimer,
    TimerFired,
    TransactionEffect,
    TransactionInput,
    TransportFailed,
)

_CLEAR_G = ClearTimer("G")
_CLEAR_H = ClearTimer("H")


class State(Enum):
    IDLE = auto()
    PROCEEDING = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    ACCEPTED = auto()
    TERMINATED = auto()


# Asked for several times a message: a member of an Enum is looked up in its class each time.
_IDLE: Final = State.IDLE
_PROCEEDING: Final = State.PROCEEDING
_COMPLETED: Final = State.COMPLETED
_CONFIRMED: Final = State.CONFIRMED
ACCEPTED: Final = State.ACCEPTED
_TERMINATED: Final = State.TERMINATED


class InviteServerTransaction:
    """Answers one INVITE, repeats what was said, and waits for the ACK of a refusal.

    2xx are repeated by the user until their ACK (RFC 3261 13.3.1.4), which passes up from Accepted.
    """

    __slots__ = ("_clocking", "_interval_s", "_last", "reliable", "state")

    def __init__(self, reliable: bool, clocking: Clocking) -> None:
        self.reliable = reliable
        self.state = _IDLE
        self._clocking = clocking
        self._last = b""
        self._interval_s = clocking.t1_s

    def handle(self, event: TransactionInput, now_s: float) -> list[TransactionEffect]:
        """One input, the effects it asks for; inputs that mean nothing now are absorbed."""
        state = self.state
        if state is _PROCEEDING:
            return self._proceeding(event)
        if state is ACCEPTED:
            return self._accepted(event)
        if state is _IDLE:
            return self._idle(event)
        if state is _COMPLETED:
            return self._completed(event)
        return []  # confirmed: further ACKs are absorbed

    def _idle(self, event: TransactionInput) -> list[TransactionEffect]:
        if isinstance(event, RequestArrived) and event.request.method == "INVITE":
            self.state = _PROCEEDING
            return [PassRequest(event.request)]
        return []

    def _proceeding(self, event: TransactionInput) -> list[TransactionEffect]:
        if isinstance(event, ResponseGiven):
            if 200 <= event.status < 300:
                self.state = ACCEPTED
                self._last = b""  # the user repeats his 2xx
                return [Send(event.data), self._clocking.timer_l]
            self._last = event.data
            if event.status < 200:
                return [Send(event.data)]
            self.state = _COMPLETED
            effects: list[TransactionEffect] = [Send(event.data)]
            if not self.reliable:
                effects.append(self._clocking.timer_g)
            effects.append(self._clocking.timer_h)
            return effects
        if isinstance(event, RequestArrived) and event.request.method == "INVITE":
            return [Send(self._last)] if self._last else []
        if isinstance(event, TransportFailed):
            return self._fail(503)
        return []

    def _completed(self, event: TransactionInput) -> list[TransactionEffect]:
        if isinstance(event, RequestArrived):
            if event.request.method == "ACK":
                return self._acknowledged()
            return [Send(self._last)]
        if isinstance(event, TimerFired):
            if event.name == "G":
                self._interval_s = min(2 * self._interval_s, self._clocking.t2_s)
                return [Send(self._last), SetTimer("G", self._interval_s)]
            if event.name == "H":
                return self._fail(408)
        if isinstance(event, TransportFailed):
            return self._fail(503)
        return []

    def _acknowledged(self) -> list[TransactionEffect]:
        if self.reliable:
            self.state = _TERMINATED
            return [TERMINATE]
        self.state = _CONFIRMED
        return [_CLEAR_G, _CLEAR_H, self._clocking.timer_i]

    def _accepted(self, event: TransactionInput) -> list[TransactionEffect]:
        if isinstance(event, RequestArrived):
            # A retransmitted INVITE is absorbed (RFC 6026 7.1): the user repeats the 2xx anyway.
            return [PassRequest(event.request)] if event.request.method == "ACK" else []
        if isinstance(event, ResponseGiven):
            return [Send(event.data)] if 200 <= event.status < 300 else []
        return []

    def _fail(self, status: int) -> list[TransactionEffect]:
        self.state = _TERMINATED
        return [Fail(status), TERMINATE]
