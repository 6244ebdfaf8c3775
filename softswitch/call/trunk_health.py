"""Whether one target of a trunk takes calls, from OPTIONS and from what becomes of calls. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, assert_never

MISSES_MAX = 3
FAILURES_MAX = 3
PROBE_SOON_S = 5.0
TRIAL_AFTER_S = 30.0
# What says that a server, not a number, is the matter. 501, 505, 513 speak of the request.
_SICK = frozenset({408, 500, 502, 503, 504})


class Condition(Enum):
    """UNKNOWN: not heard of yet, and tried as if it were UP."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


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
class CallTaken:
    """A call got any sign of life but a refusal that says the server is sick."""


@dataclass(frozen=True, slots=True)
class CallFailed:
    """A call got `status` as its first sign of life; 408 is silence, 503 also a refused connection."""

    status: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class HealthTimer:
    """The timer that `SetHealthTimer` asked for."""


HealthEvent: TypeAlias = Watch | ProbeAnswered | ProbeFailed | CallTaken | CallFailed | HealthTimer


@dataclass(frozen=True, slots=True)
class SendProbe:
    """Send OPTIONS."""


@dataclass(frozen=True, slots=True)
class SetHealthTimer:
    """Come back in `after_s`; replaces the timer before."""

    after_s: float


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

    Down after three missed OPTIONS, or three calls in a row that found it silent, unreachable or
    sick; up again with the first answer to OPTIONS or call that is taken. While it is down it is asked
    every few seconds. Where OPTIONS are switched off (`every_s` 0) it is tried with a call again after
    30 s, and one more failure is then enough.
    """

    __slots__ = ("_every_s", "_failures", "_misses", "_probing", "condition", "since_s", "why")

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._misses = 0
        self._failures = 0
        self._probing = False
        self.condition = Condition.UNKNOWN
        self.since_s = 0.0
        self.why = ""

    @property
    def down(self) -> bool:
        return self.condition is Condition.DOWN

    def handle(self, event: HealthEvent, now_s: float) -> list[HealthEffect]:
        """One input, the effects it asks for."""
        match event:
            case Watch():
                return self._probe() if self._every_s else []
            case HealthTimer():
                return self._timer(now_s)
            case ProbeAnswered():
                self._probing = False
                if is_sick(event.status):
                    return self._missed(f"OPTIONS answered {event.status}", now_s)
                return [*self._well(now_s), SetHealthTimer(self._every_s)]
            case ProbeFailed():
                self._probing = False
                return self._missed(event.why, now_s)
            case CallTaken():
                return self._well(now_s)
            case CallFailed():
                return self._call_failed(event, now_s)
            case _:
                assert_never(event)

    def _timer(self, now_s: float) -> list[HealthEffect]:
        if self._every_s:
            return self._probe()
        if not self.down:
            return []
        self._become(Condition.UNKNOWN, "", now_s)
        self._failures = FAILURES_MAX - 1
        return [CameUp()]

    def _probe(self) -> list[HealthEffect]:
        if self._probing:
            return []
        self._probing = True
        return [SendProbe()]

    def _missed(self, why: str, now_s: float) -> list[HealthEffect]:
        self._misses += 1
        effects: list[HealthEffect] = [SetHealthTimer(min(self._every_s, PROBE_SOON_S))]
        if self._misses >= MISSES_MAX:
            effects += self._ill(why, now_s)
        return effects

    def _call_failed(self, event: CallFailed, now_s: float) -> list[HealthEffect]:
        if not is_sick(event.status):
            return self._well(now_s)
        self._failures += 1
        if self._failures < FAILURES_MAX or self.down:
            return []
        effects = self._ill(event.why or f"calls answered {event.status}", now_s)
        return effects + (self._probe() if self._every_s else [SetHealthTimer(TRIAL_AFTER_S)])

    def _ill(self, why: str, now_s: float) -> list[HealthEffect]:
        if self.down:
            self.why = why
            return []
        self._become(Condition.DOWN, why, now_s)
        return [WentDown(why)]

    def _well(self, now_s: float) -> list[HealthEffect]:
        self._misses = self._failures = 0
        was_down = self.down
        if self.condition is not Condition.UP:
            self._become(Condition.UP, "", now_s)
        return [CameUp()] if was_down else []

    def _become(self, condition: Condition, why: str, now_s: float) -> None:
        self.condition, self.why, self.since_s = condition, why, now_s
