"""How one webhook is told: in order, one at a time, again and again with growing pauses, and not for ever.
Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

PAUSES_S = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Between attempts; after the last an event is given up."""

FAILURES_MAX = 20
"""Failed attempts in a row after which the webhook is switched off."""

WAITING_MAX = 1_000
SIGNATURE_HEADER = "X-Softswitch-Signature"


@dataclass(frozen=True, slots=True)
class Telling:
    """One event to be told: its position, kind and body, and the number of its entry in the journal."""

    event: str
    kind: str
    body: bytes
    entry: int = 0


# -- inputs ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Happened:
    telling: Telling


@dataclass(frozen=True, slots=True)
class Answered:
    """The other side has answered with a status."""

    status: int
    took_ms: float


@dataclass(frozen=True, slots=True)
class Unreached:
    """There was no answer; `why` in words."""

    why: str
    took_ms: float


@dataclass(frozen=True, slots=True)
class PauseOver:
    """The timer has fired."""


Input: TypeAlias = Happened | Answered | Unreached | PauseOver


# -- effects -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Tell it now; `attempt` counts from 1."""

    telling: Telling
    attempt: int


@dataclass(frozen=True, slots=True)
class Pause:
    after_s: float


@dataclass(frozen=True, slots=True)
class Log:
    """What became of an event: delivered, failed or dropped."""

    telling: Telling
    status: str
    attempts: int
    detail: str
    took_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class SwitchOff:
    """It fails too often."""

    why: str


Effect: TypeAlias = Send | Pause | Log | SwitchOff


class Delivery:
    """States: idle; sending the first of those that wait; pausing before it is sent again; off."""

    def __init__(self) -> None:
        self._waiting: deque[Telling] = deque()
        self._attempt = 0
        self._sending = False
        self._failures = 0
        self.off = False
        self.trouble = ""
        """Why the last attempt failed; "" once one has succeeded."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def first(self) -> Telling | None:
        """Of those that wait; all before it have had their end."""
        return self._waiting[0] if self._waiting else None

    @property
    def attempts(self) -> int:
        """How often the first of those that wait has been tried in vain."""
        return self._attempt - self._sending

    def handle(self, event: Input) -> list[Effect]:
        """Take one event; what to do."""
        if self.off:
            return []
        match event:
            case Happened(telling):
                return self._take(telling)
            case Answered(status, took_ms) if 200 <= status < 300:
                return self._delivered(f"{status}", took_ms)
            case Answered(410, took_ms):
                return self._switch_off("the other side answered 410 Gone", took_ms)
            case Answered(status, took_ms):
                return self._failed(f"answered {status}", took_ms)
            case Unreached(why, took_ms):
                return self._failed(why, took_ms)
            case PauseOver():
                return self._send() if self._waiting and not self._sending else []

    def end(self, why: str) -> list[Log]:
        """No more, for a reason that is none of the other side's: what becomes of those that wait."""
        self.off = True
        logs = [Log(telling, "dropped", 0, why) for telling in self._waiting]
        self._waiting.clear()
        return logs

    def _take(self, telling: Telling) -> list[Effect]:
        effects: list[Effect] = []
        if len(self._waiting) >= WAITING_MAX:
            # The oldest but the one that is being sent.
            dropped = self._waiting[1]
            del self._waiting[1]
            effects.append(Log(dropped, "dropped", 0, f"more than {WAITING_MAX} events wait"))
        self._waiting.append(telling)
        return [*effects, *(self._send() if len(self._waiting) == 1 else [])]

    def _send(self) -> list[Effect]:
        self._sending = True
        self._attempt += 1
        return [Send(self._waiting[0], self._attempt)]

    def _delivered(self, detail: str, took_ms: float) -> list[Effect]:
        self._failures = 0
        self.trouble = ""
        return [self._done("delivered", detail, took_ms), *self._next()]

    def _failed(self, why: str, took_ms: float) -> list[Effect]:
        self._failures += 1
        self.trouble = why
        if self._failures >= FAILURES_MAX:
            return self._switch_off(f"{self._failures} attempts in a row failed: {why}", took_ms)
        if self._attempt > len(PAUSES_S):
            return [self._done("failed", why, took_ms), *self._next()]
        self._sending = False
        return [Pause(PAUSES_S[self._attempt - 1])]

    def _switch_off(self, why: str, took_ms: float) -> list[Effect]:
        self.off = True
        log = self._done("failed", why, took_ms)
        return [log, *self.end("the webhook was switched off"), SwitchOff(why)]

    def _done(self, status: str, detail: str, took_ms: float) -> Log:
        attempts, self._attempt, self._sending = self._attempt, 0, False
        return Log(self._waiting.popleft(), status, attempts, detail, took_ms)

    def _next(self) -> list[Effect]:
        return self._send() if self._waiting else []


def signature(secret: str, body: bytes, at_s: int) -> str:
    """What the signature header holds: ``t=TIME,v1=HEX``, HMAC-SHA256 of time, a full stop and body. The other
    side compares it, and refuses times that are more than five minutes off."""
    mac = hmac.new(secret.encode(), b"%d." % at_s + body, hashlib.sha256)
    return f"t={at_s},v1={mac.hexdigest()}"
