"""Dialling: from a list of steps to one answered leg, or to the reason why not.

Pure: events in, effects out. Legs of one step ring together (parallel forking), steps follow each other
(serial hunting); the first answer wins, all others are cancelled as "completed elsewhere". The
choice of the status that the caller is told follows RFC 3261 16.7 (6).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import assert_never

from msgspec import structs

from softswitch.call.endpoint import Endpoint, Outcome, PhoneEndpoint, Step, TrunkEndpoint
from softswitch.call.events import (
    CallerEnded,
    ConnectCaller,
    DialEffect,
    DialEvent,
    EndLeg,
    Finish,
    LegAnswered,
    LegEnded,
    LegFailed,
    LegRang,
    RingCaller,
    StartLeg,
    StartTimer,
    TimerExpired,
)
from softswitch.sip.causes import q850_of_status

# A trunk that says one of these has not judged the number: the next trunk is asked.
_NEXT_TRUNK = frozenset({401, 403, 407, 408, 430, *range(500, 600)})
# A flow to a phone that leads nowhere: another one may (RFC 5626 section 5.3; 430 is an edge proxy's word).
_FLOW_FAILED = frozenset({408, 430, 503})
_BUSY = frozenset({486, 600})
_DECLINED = frozenset({403, 603, 607, 608})
_NO_ANSWER = frozenset({408, 480, 487})


class DialState(Enum):
    IDLE = "idle"
    HUNTING = "hunting"
    TALKING = "talking"
    OVER = "over"


def outcome_of_status(status: int) -> Outcome:
    """The trade word for a final status (RFC 3261 21), with its Q.850 cause."""
    if status in _BUSY:
        result = "busy"
    elif status in _NO_ANSWER:
        result = "no-answer"
    elif status in _DECLINED:
        result = "rejected"
    elif status in (404, 410, 484, 604):
        result = "unreachable"
    else:
        result = "failed"
    return Outcome(result, status, q850_of_status(status))


class Dial:
    """One attempt to reach somebody on behalf of one caller.

    Parameters: `steps` in the order of trying; `leg_ids`, a source of fresh leg numbers.
    """

    __slots__ = (
        "_alive",
        "_causes",
        "_declined",
        "_extensions",
        "_failures",
        "_generation",
        "_leg_ids",
        "_others",
        "_rang",
        "_step",
        "_steps",
        "_trunk_legs",
        "state",
        "winner",
    )

    def __init__(self, steps: tuple[Step, ...], leg_ids: Callable[[], int]) -> None:
        self._steps = steps
        self._leg_ids = leg_ids
        self._step = -1
        self._generation = 0
        self._alive: list[int] = []
        self._trunk_legs: set[int] = set()
        self._others: dict[int, tuple[PhoneEndpoint, ...]] = {}
        self._extensions: dict[int, str] = {}  # of the legs to telephones
        self._declined: set[str] = set()
        self._failures: list[int] = []
        self._causes: dict[int, int] = {}
        self._rang = False
        self.state = DialState.IDLE
        self.winner: int | None = None

    def snapshot(self) -> dict[str, object]:
        return {
            "state": self.state.value,
            "step": self._step,
            "ringing": list(self._alive),
            "winner": self.winner,
        }

    def start(self) -> list[DialEffect]:
        """Begin with the first step."""
        if self.state is not DialState.IDLE:
            return []
        self.state = DialState.HUNTING
        return self._next_step()

    def take_over(self, leg: int) -> list[DialEffect]:
        """A leg that is no step's has come to take the call, as if it had rung and answered."""
        if self.state is not DialState.HUNTING:
            return []
        self._alive.append(leg)
        return self._leg_answered(LegAnswered(leg))

    def handle(self, event: DialEvent) -> list[DialEffect]:
        """One event of a leg, of the caller or of a timer; events out of season change nothing."""
        if self.state in (DialState.IDLE, DialState.OVER):
            return []
        match event:
            case LegRang():
                return self._leg_rang(event)
            case LegAnswered():
                return self._leg_answered(event)
            case LegFailed():
                return self._leg_failed(event)
            case LegEnded():
                return self._leg_ended(event)
            case CallerEnded():
                return self._caller_ended(event)
            case TimerExpired():
                return self._timer_expired(event)
            case _:
                assert_never(event)

    def _next_step(self) -> list[DialEffect]:
        self._step += 1
        if self._step >= len(self._steps):
            return self._give_up()
        step = self._steps[self._step]
        wanted = [each for each in step.endpoints if not self._has_declined(each)]
        if not wanted:
            return self._next_step()
        self._generation += 1
        effects: list[DialEffect] = []
        effects.extend(self._start_leg(endpoint) for endpoint in wanted)
        effects.append(StartTimer("ring", self._generation, step.ring_s))
        return effects

    def _has_declined(self, endpoint: Endpoint) -> bool:
        return isinstance(endpoint, PhoneEndpoint) and endpoint.extension in self._declined

    def _start_leg(self, endpoint: Endpoint) -> StartLeg:
        leg = self._leg_ids()
        self._alive.append(leg)
        if isinstance(endpoint, TrunkEndpoint):
            self._trunk_legs.add(leg)
        else:
            self._extensions[leg] = endpoint.extension
            if endpoint.others:
                self._others[leg] = endpoint.others
        return StartLeg(leg, endpoint, self._steps[self._step].silence_s)

    def _leg_rang(self, event: LegRang) -> list[DialEffect]:
        if self.state is not DialState.HUNTING or event.leg not in self._alive:
            return []
        # Audio of several ringing phones cannot be shown to one caller: then he hears plain ringing.
        early = event.early_media and len(self._alive) == 1
        if self._rang and not early:
            return []
        self._rang = True
        return [RingCaller(event.leg, early)]

    def _leg_answered(self, event: LegAnswered) -> list[DialEffect]:
        if event.leg not in self._alive:
            return [EndLeg(event.leg, elsewhere=True)]
        if self.state is not DialState.HUNTING:
            return []
        self.state = DialState.TALKING
        self.winner = event.leg
        losers = [leg for leg in self._alive if leg != event.leg]
        self._alive = [event.leg]
        ends: list[DialEffect] = [EndLeg(leg, q850=26, elsewhere=True) for leg in losers]
        return [ConnectCaller(event.leg), *ends]

    def _leg_failed(self, event: LegFailed) -> list[DialEffect]:
        if event.leg not in self._alive:
            return []
        self._alive.remove(event.leg)
        others = self._others.pop(event.leg, ())
        if others and event.status in _FLOW_FAILED and self.state is DialState.HUNTING:
            return [self._start_leg(structs.replace(others[0], others=others[1:]))]
        extension = self._extensions.get(event.leg)
        status = event.status
        if status == 503 and extension is not None and not event.ours:
            # A telephone that is gone: told on, it would say that we are out of service (RFC 3261 16.7 (6)).
            status = 480
        self._failures.append(status)
        if event.q850:
            self._causes.setdefault(status, event.q850)
        if self.state is DialState.TALKING:
            return self._finish(outcome_of_status(status))
        if event.status >= 600 and extension is not None:
            return self._decline(extension)
        if self._alive:
            return []
        if event.leg in self._trunk_legs and event.status not in _NEXT_TRUNK:
            return self._give_up()
        return self._next_step()

    def _decline(self, extension: str) -> list[DialEffect]:
        """A 6xx speaks for every device of the user (RFC 3261 16.7 (5)), and for nobody else who is rung."""
        self._declined.add(extension)
        own = [leg for leg in self._alive if self._extensions.get(leg) == extension]
        self._alive = [leg for leg in self._alive if leg not in own]
        ends: list[DialEffect] = [EndLeg(leg) for leg in own]
        return ends if self._alive else ends + self._next_step()

    def _leg_ended(self, event: LegEnded) -> list[DialEffect]:
        if event.leg not in self._alive:
            return []
        self._alive.remove(event.leg)
        if self.state is DialState.TALKING:
            return self._finish(Outcome("answered", 200, event.q850, by="callee"))
        self._failures.append(480)
        return [] if self._alive else self._next_step()

    def _caller_ended(self, event: CallerEnded) -> list[DialEffect]:
        ends: list[DialEffect] = [
            EndLeg(leg, q850=event.q850, elsewhere=event.elsewhere) for leg in self._alive
        ]
        self._alive = []
        if self.state is DialState.TALKING:
            return ends + self._finish(Outcome("answered", 200, event.q850, by="caller"))
        return ends + self._finish(Outcome("cancelled", 487, event.q850, by="caller"))

    def _timer_expired(self, event: TimerExpired) -> list[DialEffect]:
        if self.state is not DialState.HUNTING or event.generation != self._generation:
            return []
        silent, self._alive = self._alive, []
        self._failures.extend(480 for _ in silent)
        ends: list[DialEffect] = [EndLeg(leg, q850=19) for leg in silent]
        return ends + self._next_step()

    def _give_up(self) -> list[DialEffect]:
        failures = self._failures
        if len(set(self._extensions.values())) > 1:
            # One of several has declined; what became of the others says more.
            failures = [status for status in failures if status < 600] or failures
        outcome = outcome_of_status(best_status(failures))
        told = self._causes.get(outcome.status)
        if told is not None:
            # Carriers know more than a status says: a busy circuit (34) from no circuit at all (38).
            outcome = structs.replace(outcome, q850=told)
        elif outcome.status == 480:
            # Q.850: "no answer" only where it rang, else "subscriber absent".
            outcome = structs.replace(outcome, q850=19 if self._rang else 20)
        return self._finish(outcome)

    def _finish(self, outcome: Outcome) -> list[DialEffect]:
        self.state = DialState.OVER
        return [Finish(outcome)]


def _shown(status: int) -> int:
    """What a caller may be told: a challenge was meant for us, and so were a redirection and a lost flow."""
    if status in (401, 407):
        return 500
    return 480 if 300 <= status < 400 or status == 430 else status


def best_status(failures: list[int]) -> int:
    """The one status that tells the caller most, of all that the legs ended with (RFC 3261 16.7 (6)).

    A 6xx wins, then busy, then no answer, then the rest of 4xx, then 5xx. A challenge meant for us
    (401, 407) is never passed on: it becomes 500. No failure at all (nobody to ring) is 480.
    """
    if not failures:
        return 480
    shown = [_shown(status) for status in failures]

    def rank(status: int) -> tuple[int, int]:
        if status >= 600:
            return (0, status)
        if status == 486:
            return (1, status)
        if status in (480, 408):
            return (2, status)
        return (3 if status < 500 else 4, status)

    return min(shown, key=rank)
