"""What a scenario is given: one caller, and the two ends of his calls."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from softswitch.errors import SoftswitchError
from softswitch.load.agent import Account
from softswitch.load.leg import Leg

if TYPE_CHECKING:
    from softswitch.load.lab import Lab


class ScenarioFailed(SoftswitchError):
    """A scenario's own verdict: this call was not what it should be."""


@dataclass(slots=True)
class Pair:
    """Both ends of one call through the target: `legs` that we called, `taken` what came of them."""

    number: int
    legs: list[Leg] = field(default_factory=list)
    taken: list[Leg] = field(default_factory=list)


class Caller:
    """What a scenario is given: one caller, who may dial as often as he likes.

    `number` counts the calls of the whole run, `account` is who calls, `rng` his own chance (the same
    for a seed), `lab` the generator. `tolerates` are findings that are none in this scenario,
    `own_sound_is_right` says that he is to hear himself (an echo test).
    """

    def __init__(self, lab: Lab, number: int, intended_s: float) -> None:
        self.lab = lab
        self.number = number
        self.intended_s = intended_s
        self.rng = random.Random(f"caller {lab.plan.seed} {number}")
        self.account = lab.board.account_of(number)
        self.pair = Pair(number)
        self.own_sound_is_right = False
        self.tolerates: set[str] = set()
        self.awaited: list[str] = []
        self.sipp_call_id = ""
        self.role = lab.plan.scenario
        self._first = True

    def dial(
        self,
        to: str | None = None,
        *,
        account: Account | None = None,
        timeout_s: float | None = None,
        events: bool = True,
    ) -> Leg:
        """Call `to`, by default the number that `--dial` says; go on with `await call.answered()`.

        Without `events` no telephone-events are offered, so that digits must be heard in the sound.
        """
        lab = self.lab
        number = to if to is not None else lab.board.number_to_dial(self)
        intended_s = self.intended_s if self._first else lab.now_s()
        self._first = False
        return lab.dial(self, number, account or self.account, intended_s, timeout_s, events)

    def hold_s(self) -> float:
        """How long to talk: one draw of `--hold`."""
        return self.lab.hold.draw(self.rng)

    def patience_s(self) -> float:
        """How long to wait: one draw of `--patience`."""
        return self.lab.patience.draw(self.rng)

    def fail(self, why: str) -> None:
        """End the scenario as failed. Raises `ScenarioFailed`."""
        raise ScenarioFailed(why)
