"""What is said of calls when they are over: both ends down, the sound right, the target's state gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.load.caller import Caller, Pair
from softswitch.load.ladder import Ladders
from softswitch.load.leg import Leg
from softswitch.load.measure import Meter
from softswitch.load.plan import Plan
from softswitch.load.samples import compare, said_by
from softswitch.load.streams import StreamFacts
from softswitch.load.verdict import Finding, judge_call, judge_loose

if TYPE_CHECKING:
    from softswitch.load.agent import LoadAgent
    from softswitch.load.sound import SoundPlane

_PROBES_MAX = 20
_PROBE_EVERY = 10
_FORGET_S = 0.5
_SAMPLE_MIN = 0.8


class Judge:
    """Writes into `meter`; `at_s` tells the run's time. `probes_by` asks after dialogs that are over."""

    def __init__(
        self, plan: Plan, meter: Meter, ladders: Ladders, at_s: Callable[[], float]
    ) -> None:
        self.sound: SoundPlane | None = None
        self.probes_by: LoadAgent | None = None
        self.loose: list[Leg] = []
        """Calls that came without a caller that we know."""
        self.loose_tolerates: set[str] = set()
        self._plan = plan
        self._meter = meter
        self._ladders = ladders
        self._at_s = at_s
        self._probes = 0
        self._probe_tells: bool | None = None

    async def settle(self, caller: Caller, cause: str) -> None:
        """Both ends must be over soon; then the call is judged. `cause` is why it failed, or ""."""
        pair = caller.pair
        for leg in pair.legs:
            leg.hang_up()
        found = await self._end(pair)
        if not found:  # a leak is told once
            found += await self._probe(pair)
        if pair.number < self._plan.samples:
            found += self._compare(pair)
        self._judge(caller, found)
        at_s = self._at_s()
        if cause:
            self._meter.count("failed", at_s)
            call_id = pair.legs[0].call_id if pair.legs else caller.sipp_call_id
            ladder = self._ladders.of(call_id) if call_id else None
            if ladder and all(message["way"] == "out" for message in ladder):
                # Then the status is our own, of a timer or of the system (RFC 3261 8.1.3.1).
                status = pair.legs[0].status if pair.legs else 0
                told = self.probes_by.why_no_answer(status) if self.probes_by is not None else cause
                cause = f"{told} ({cause})" if status == 0 else told
            self._meter.failure(cause, ladder, call_id)
        else:
            self._meter.count("completed", at_s)
        for leg in (*pair.legs, *pair.taken):
            self._ladders.forget(leg.call_id)
        self._ladders.forget(caller.sipp_call_id)

    async def _end(self, pair: Pair) -> list[Finding]:
        limit_s = self._plan.limits.hanging_s
        hanging = [leg for leg in pair.taken if leg.end is None]
        if hanging:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    for leg in hanging:
                        await leg.ended()
        found = []
        for leg in pair.taken:
            if leg.end is None:
                if leg.out_of_reach:
                    detail = "its NAT had forgotten the callee, who has said nothing since"
                    found.append(Finding("unreachable", detail))
                else:
                    detail = f"the callee's leg was still up after {limit_s:g} s"
                    found.append(Finding("dialog leak", detail))
                leg.hang_up()
        return found

    async def _probe(self, pair: Pair) -> list[Finding]:
        """Of some calls: does the target still know the dialog that has ended?

        Only where a BYE for a dialog that never was is answered 481; there are those who answer any.
        """
        agent = self.probes_by
        if agent is None or not pair.legs or pair.number % _PROBE_EVERY:
            return []
        leg = pair.legs[0]
        over = leg.dialog is not None and leg.end is not None and leg.end.by == "local"
        if not over or self._probes >= _PROBES_MAX:
            return []
        self._probes += 1
        if self._probe_tells is None:
            assert leg.dialog is not None
            self._probe_tells = False
            made_up = {**leg.dialog, "call_id": f"{leg.call_id}-not"}
            self._probe_tells = await agent.probe(leg, made_up) == 481
        if not self._probe_tells:
            return []
        await asyncio.sleep(_FORGET_S)
        status = await agent.probe(leg)
        self._meter.count("probed", self._at_s())
        if 200 <= status < 300:
            return [Finding("dialog leak", f"a BYE after the end was answered {status}, not 481")]
        return []

    def _judge(self, caller: Caller, found: list[Finding]) -> None:
        pair = caller.pair
        legs = [leg for leg in pair.legs if leg.state == "ended" and "up" in leg.times]
        taken = [leg for leg in pair.taken if "up" in leg.times]
        for leg in (*legs, *taken):
            if leg.facts is not None:
                self._meter.stream(leg.facts, self._at_s())
                self._note_wrong(leg.facts)
        facts = legs[0].facts if legs else None
        if facts is not None:
            found += judge_call(
                facts,
                taken[-1].facts if taken else None,
                self._plan.limits,
                own_allowed=caller.own_sound_is_right,
                talk_s=legs[0].times["ended"] - legs[0].times["up"],
            )
        tolerated = set(caller.tolerates)
        if any(finding.code in ("dialog leak", "unreachable") for finding in found):
            tolerated.add("cut")  # who is left alone hears nothing: once is enough
        found = [finding for finding in found if finding.code not in tolerated]
        ids = [leg.call_id for leg in (*pair.legs[:1], *pair.taken[-1:])]
        self._meter.faults(found, f"call {pair.number}", list(dict.fromkeys(ids)))

    def _note_wrong(self, facts: StreamFacts) -> None:
        for heard in facts.others[:2]:
            if facts.expects:
                self._meter.heard_wrong(facts.expects, heard)

    # -- calls without a caller ----------------------------------------------------------------------

    def judge_loose(self) -> None:
        """Calls that came without a caller that we know are judged alone when they are over."""
        over = [leg for leg in self.loose if leg.end is not None]
        if not over:
            return
        self.loose = [leg for leg in self.loose if leg.end is None]
        for leg in over:
            if leg.facts is not None and "up" in leg.times:
                self._meter.stream(leg.facts, self._at_s())
                talk_s = leg.times["ended"] - leg.times["up"]
                found = judge_loose(leg.facts, self._plan.limits, talk_s)
                found = [finding for finding in found if finding.code not in self.loose_tolerates]
                self._meter.faults(found, f"a call to {leg.number}", [leg.call_id])

    # -- samples of speech ---------------------------------------------------------------------------

    def sample_speech(self, leg: Leg, number: int) -> None:
        """The first calls say speech instead of a signature: nobody can be told by it, but how it
        arrived can."""
        if leg.stream is None or self.sound is None or number >= self._plan.samples:
            return
        leg.stream.expect(0)
        leg.stream.sampled = True
        leg.stream.recording = self.sound.record(leg.stream.slot)

    def _compare(self, pair: Pair) -> list[Finding]:
        """What each party of a sampled call heard, against what the other has said."""
        legs = [*pair.legs[:1], *pair.taken[-1:]]
        found = []
        for listener, speaker in zip(legs, legs[::-1], strict=True):
            stream = listener.stream
            if stream is None or stream.recording is None or "up" not in listener.times:
                continue
            result = compare(said_by(speaker.identity), stream.recording.samples())
            if result is None:
                continue
            self._meter.sample(result.correlation, result.pesq)
            if result.correlation < _SAMPLE_MIN:
                found.append(
                    Finding("unknown sound", f"speech correlates {result.correlation:.2f}")
                )
        return found

    # -- times ----------------------------------------------------------------------------------------

    def note_bye(self, call_id: str, seconds: float, status: int) -> None:
        """A BYE of ours was answered after so long."""
        self._meter.time("bye", 1e6 * seconds, self._at_s())
        own_ms = 0.0
        if self.sound is not None:
            _, own_ms = self.sound.own_lateness(self.sound.clock_us() - int(1e6 * seconds))
        if seconds * 1000 > self._plan.limits.bye_ms + own_ms:
            found = Finding("slow BYE", f"answered after {seconds:.1f} s")
            self._meter.faults([found], f"Call-ID {call_id}")
