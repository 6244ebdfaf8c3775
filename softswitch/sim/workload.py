"""Random telephony for a `World`: people who call, wait, give up, hold, refuse and hang up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass

from softswitch.sim.behaviour import Behaviour, answer, busy, reject, ring
from softswitch.sim.loop import SimulationError
from softswitch.sim.phone_call import CallNotAnswered, PhoneCall, ReofferRefused
from softswitch.sim.user_agent import UserAgent

_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Habits:
    """How people behave: probabilities, and seconds from 0 to the given one, drawn uniformly."""

    patience_s: float = 40.0
    talk_s: float = 60.0
    pause_s: float = 20.0
    hold: float = 0.2
    reinvite: float = 0.1
    press: float = 0.1
    wrong_number: float = 0.05
    callee_busy: float = 0.1
    callee_rejects: float = 0.1
    callee_absent: float = 0.15
    callee_rings_s: float = 25.0
    callee_hangs_up: float = 0.5


class Workload:
    """Makes each of `callers` place `calls_each` calls to `numbers`, one after the other.

    All chance comes from `seed`. `outcomes` counts how the calls ended, by words.
    """

    def __init__(
        self,
        seed: int,
        callers: list[UserAgent],
        numbers: list[str],
        *,
        calls_each: int = 10,
        habits: Habits | None = None,
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self._seed = seed
        self._callers = callers
        self._numbers = numbers
        self._calls_each = calls_each
        self._habits = habits if habits is not None else Habits()

    async def run(self) -> None:
        """Run to the last hang-up. Raises `SimulationError` when a call hangs for ten minutes."""
        await asyncio.gather(
            *(self._live(number, caller) for number, caller in enumerate(self._callers))
        )

    def behaviour(self, chance: random.Random) -> Behaviour:
        """How somebody takes the next call."""
        habits, draw = self._habits, chance.random()
        ring_s = chance.random() * habits.callee_rings_s
        if draw < habits.callee_busy:
            return busy()
        draw -= habits.callee_busy
        if draw < habits.callee_rejects:
            return reject(chance.choice((480, 486, 600, 603)), after_s=ring_s)
        draw -= habits.callee_rejects
        if draw < habits.callee_absent:
            return ring()
        hangs_up = chance.random() < habits.callee_hangs_up
        talk_s = chance.random() * habits.talk_s
        return answer(after_s=ring_s, hang_up_after_s=talk_s if hangs_up else None)

    async def _live(self, number: int, caller: UserAgent) -> None:
        chance = random.Random(f"workload {self._seed} {number}")
        for _ in range(self._calls_each):
            await asyncio.sleep(chance.random() * self._habits.pause_s)
            caller.behaviour = self.behaviour(chance)
            try:
                async with asyncio.timeout(_LIMIT_S):
                    await self._call(chance, caller)
            except TimeoutError:
                raise SimulationError(f"a call of {caller.user} hangs") from None

    async def _call(self, chance: random.Random, caller: UserAgent) -> None:
        habits = self._habits
        wrong = chance.random() < habits.wrong_number
        call = await caller.call("7777" if wrong else chance.choice(self._numbers))
        try:
            async with asyncio.timeout(chance.random() * habits.patience_s):
                await call.answered()
        except TimeoutError:
            call.hang_up()
        except CallNotAnswered:
            pass
        else:
            await self._talk(chance, call)
            call.hang_up()
        end = await call.ended()
        self.outcomes[f"{end.by} {end.status}"] += 1

    async def _talk(self, chance: random.Random, call: PhoneCall) -> None:
        habits = self._habits
        until_s = asyncio.get_running_loop().time() + chance.random() * habits.talk_s
        if chance.random() < habits.press and call.audio is not None:
            call.press("12#")
        try:
            if chance.random() < habits.reinvite and call.state == "up":
                await call.reinvite(sdp=chance.random() < 0.5)
            if chance.random() < habits.hold and call.state == "up":
                await call.hold()
                await asyncio.sleep(chance.random() * 5)
                if call.state == "up":
                    await call.resume()
        except ReofferRefused:
            pass
        rest_s = until_s - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(0.0, rest_s)):
                await call.ended()
        except TimeoutError:
            pass
