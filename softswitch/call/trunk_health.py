"""Whether one target of a trunk takes calls, from OPTIONS and from what becomes of calls. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, assert_never

MISSES_MAX = 3
FAILURES_MAX = 3
PROBE_SOON_S = 5.0
TRIAL_FIRST_S = 10.0
TRIAL_S_MAX = 120.0
RETRY_AFTER_S_MAX = 600.0  # whatever it says: who is asked for a day has gone wrong
VERDICT_S = 35.0  # longer than a silent call lasts: then the trial has told nothing
# What says that a server, not a number, is the matter. 501, 505, 513 speak of the request.
_SICK = frozenset({408, 500, 502, 503, 504})


class Condition(Enum):
    """UNKNOWN: not heard of yet, and tried as if it were UP. HALF_OPEN: calls had failed, and one shall
    tell whether they still do."""

    UNKNOWN = "unknown"
    UP = "up"
    HALF_OPEN = "half-open"
    DOWN = "down"


class Due(Enum):
    """What a timer is for: to ask by OPTIONS, or to let a call try."""

    PROBE = "probe"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True)
class Watch:
    """Begin."""


@dataclass(frozen=True, slots=True)
class ProbeAnswered:
    """A final response to our OPTIONS."""

    status: int


@dataclass(frozen=True, slots=True)
class ProbeFailed:
    """No response, or no way to send; `why` in a few words."""

    why: str


@dataclass(frozen=True, slots=True)
class CallSent:
    """An INVITE goes there."""


@dataclass(frozen=True, slots=True)
class CallTaken:
    """A call got any sign of life but a refusal that says the server is sick."""


@dataclass(frozen=True, slots=True)
class CallFailed:
    """A call got `status` as its first sign of life; 408 is silence, 503 also a refused connection. With
    `retry_after_s` it said that it wants no more for so long (RFC 3261 21.5.4)."""

    status: int
    why: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class HealthTimer:
    """The timer that `SetHealthTimer` asked for."""

    due: Due


HealthEvent: TypeAlias = (
    Watch | ProbeAnswered | ProbeFailed | CallSent | CallTaken | CallFailed | HealthTimer
)


@dataclass(frozen=True, slots=True)
class SendProbe:
    """Send OPTIONS."""


@dataclass(frozen=True, slots=True)
class SetHealthTimer:
    """Come back in `after_s`; replaces the timer before that was `due` for the same."""

    after_s: float
    due: Due = Due.PROBE


@dataclass(frozen=True, slots=True)
class WentDown:
    """From now on others come first."""

    why: str


@dataclass(frozen=True, slots=True)
class CameUp:
    """It is as good as others again."""


HealthEffect: TypeAlias = SendProbe | SetHealthTimer | WentDown | CameUp


def is_sick(status: int) -> bool:
    """Whether a final status says that the server, not the number called, is the matter."""
    return status in _SICK


class TargetHealth:
    """The condition of one address that calls are sent to.

    Down after three missed OPTIONS, and up with the first that is answered. Down too after three calls
    in a row that found it silent, unreachable or sick (the circuit is open), and then an answer to
    OPTIONS is not enough: a server may well answer them and refuse every call. One that says Retry-After is
    believed at once, and for as long as it says. After a while it is
    HALF_OPEN: one call tries it, the others pass it over until that one is taken (up) or fails (down,
    and the next trial after twice the time). No call tries what leaves OPTIONS unanswered too; where it
    answers them again after three, one does at once. Any call that is taken ends it all.

    Parameters: `every_s` between OPTIONS; 0: none, and calls alone tell.
    """

    __slots__ = (
        "_distrusted",
        "_every_s",
        "_failures",
        "_misses",
        "_overdue",
        "_probing",
        "_trying",
        "_wait_s",
        "condition",
        "since_s",
        "why",
    )

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._misses = 0
        self._failures = 0
        self._probing = False
        self._distrusted = False  # calls have failed; only a call makes up for it
        self._trying = False  # the call of a trial is out
        self._overdue = False  # a trial was due while OPTIONS were not answered
        self._wait_s = TRIAL_FIRST_S
        self.condition = Condition.UNKNOWN
        self.since_s = 0.0
        self.why = ""

    @property
    def down(self) -> bool:
        """Whether a call goes elsewhere first."""
        return self.condition is Condition.DOWN or self._trying

    def is_told(self, event: HealthEvent) -> bool:
        """Whether a call says nothing new: it is sent to, or taken by, a target that nothing is wrong with.
        `handle` has no effects then and changes nothing."""
        if isinstance(event, CallSent):
            return self.condition is not Condition.HALF_OPEN or self._trying
        if not isinstance(event, CallTaken) or self.condition is not Condition.UP:
            return False
        ill = self._misses or self._failures or self._distrusted
        return not ill and self._wait_s == TRIAL_FIRST_S

    def handle(self, event: HealthEvent, now_s: float) -> list[HealthEffect]:
        """One input, the effects it asks for."""
        match event:
            case Watch():
                return self._probe() if self._every_s else []
            case HealthTimer():
                return self._probe() if event.due is Due.PROBE else self._trial_due(now_s)
            case ProbeAnswered():
                self._probing = False
                if is_sick(event.status):
                    return self._missed(f"OPTIONS answered {event.status}", now_s)
                return [*self._answered(now_s), SetHealthTimer(self._every_s)]
            case ProbeFailed():
                self._probing = False
                return self._missed(event.why, now_s)
            case CallSent():
                return self._call_sent()
            case CallTaken():
                return self._call_taken(now_s)
            case CallFailed():
                return self._call_failed(event, now_s)
            case _:
                assert_never(event)

    # -- OPTIONS -----------------------------------------------------------------------------------

    def _probe(self) -> list[HealthEffect]:
        if self._probing:
            return []
        self._probing = True
        return [SendProbe()]

    def _missed(self, why: str, now_s: float) -> list[HealthEffect]:
        self._misses += 1
        effects: list[HealthEffect] = [SetHealthTimer(min(self._every_s, PROBE_SOON_S))]
        if self._misses < MISSES_MAX:
            return effects
        if self.condition is Condition.DOWN:
            self.why = why
            return effects
        if not self._distrusted:
            effects.append(WentDown(why))
        self._become(Condition.DOWN, why, now_s)
        return effects

    def _answered(self, now_s: float) -> list[HealthEffect]:
        may_try = self._overdue or self._misses >= MISSES_MAX
        self._misses = 0
        if self._distrusted:
            return self._half_open(now_s) if may_try else []
        if self.condition is Condition.UP:
            return []
        was_down = self.condition is Condition.DOWN
        if was_down:
            self._failures = 0  # they were of the outage
        self._become(Condition.UP, "", now_s)
        return [CameUp()] if was_down else []

    # -- calls -------------------------------------------------------------------------------------

    def _call_sent(self) -> list[HealthEffect]:
        if self.condition is not Condition.HALF_OPEN or self._trying:
            return []
        self._trying = True
        return [SetHealthTimer(VERDICT_S, Due.TRIAL)]

    def _call_taken(self, now_s: float) -> list[HealthEffect]:
        was_bad = self.condition in (Condition.DOWN, Condition.HALF_OPEN)
        self._misses = self._failures = 0
        self._distrusted, self._wait_s = False, TRIAL_FIRST_S
        if self.condition is not Condition.UP:
            self._become(Condition.UP, "", now_s)
        return [CameUp()] if was_bad else []

    def _call_failed(self, event: CallFailed, now_s: float) -> list[HealthEffect]:
        if not is_sick(event.status):
            return self._call_taken(now_s)
        if self.condition is Condition.DOWN:
            return []  # tried because nothing else was left
        why = event.why or f"calls answered {event.status}"
        asked_s = min(event.retry_after_s, RETRY_AFTER_S_MAX)
        if self.condition is Condition.HALF_OPEN:
            self._become(Condition.DOWN, why, now_s)
            self._wait_s = min(2 * self._wait_s, TRIAL_S_MAX)
            return [SetHealthTimer(asked_s or self._wait_s, Due.TRIAL)]
        self._failures += 1
        if self._failures < FAILURES_MAX and not asked_s:
            return []
        self._distrusted, self._failures = True, 0
        self._become(Condition.DOWN, why, now_s)
        wait_s = asked_s or self._wait_s
        effects: list[HealthEffect] = [WentDown(why), SetHealthTimer(wait_s, Due.TRIAL)]
        return effects + (self._probe() if self._every_s else [])

    def _trial_due(self, now_s: float) -> list[HealthEffect]:
        self._trying = False
        if not self._distrusted or self.condition is not Condition.DOWN:
            return []
        if self._misses:
            self._overdue = True
            return []
        return self._half_open(now_s)

    def _half_open(self, now_s: float) -> list[HealthEffect]:
        self._become(Condition.HALF_OPEN, self.why, now_s)
        return []

    def _become(self, condition: Condition, why: str, now_s: float) -> None:
        self.condition, self.why, self.since_s = condition, why, now_s
        self._trying = self._overdue = False
