"""One generator: agents, sound and meters around a scenario, on real sockets or virtual ones."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any, Self

from softswitch.errors import SoftswitchError
from softswitch.load.agent import Account, LoadAgent, Reception
from softswitch.load.arrivals import Arrivals
from softswitch.load.caller import Caller, Pair, ScenarioFailed
from softswitch.load.distribution import Distribution
from softswitch.load.faults import PacketFaults, parse_faults
from softswitch.load.ladder import Ladders
from softswitch.load.leg import CallCutOff, Leg
from softswitch.load.measure import Meter
from softswitch.load.network import LoadNetwork
from softswitch.load.plan import Plan
from softswitch.load.samples import compare, said_by
from softswitch.load.signature import Directory
from softswitch.load.sound import SoundPlane, codecs_offered, raise_file_limit
from softswitch.load.stamped_io import clock_us
from softswitch.load.streams import StreamFacts
from softswitch.load.verdict import (
    Finding,
    callee_identity,
    caller_identity,
    judge_call,
    judge_loose,
    stranger_identity,
)
from softswitch.sim.behaviour import Behaviour
from softswitch.sim.datagram import PhoneNetwork
from softswitch.sim.loop import SimulationError
from softswitch.sim.phone_call import CallNotAnswered
from softswitch.sip.message import SipRequest
from softswitch.sip.status import reason_of

Scenario = Callable[["Caller"], Awaitable[None]]

_PROBES_MAX = 20
_PROBE_EVERY = 10
_DRAIN_S = 40.0
_MARK = "X-Load-Call"
_SAMPLE_MIN = 0.8


class Lab:
    """A generator: process `index` of those that `plan` asks for.

    `network` is the machine's own by default; on a `SimNetwork` everything runs on virtual time,
    without sound. `prepare` runs before the first call (agents log in), `finish` after the last.
    """

    def __init__(
        self,
        plan: Plan,
        scenario: Scenario,
        *,
        index: int = 0,
        network: PhoneNetwork | None = None,
        prepare: Callable[[Lab], Awaitable[None]] | None = None,
    ) -> None:
        self.plan = plan
        self.index = index
        self.meter = Meter()
        self.hold = Distribution.parse(plan.hold, "hold")
        self.patience = Distribution.parse(plan.patience, "patience")
        self.answer_after = Distribution.parse(plan.answer, "answer")
        self.sound: SoundPlane | None = None
        self.callers: LoadAgent
        self.callees: LoadAgent
        self.phones: LoadAgent
        self.loose: list[Leg] = []
        self.loose_tolerates: set[str] = set()
        self.free_callees: deque[Account] = deque()
        self.live = 0
        self.faults = parse_faults(plan.faults)
        self.on_close: list[Callable[[], None]] = []
        self.extra: list[asyncio.Task[Any]] = []
        self.receive: Callable[[SipRequest], Reception | None] | None = None
        self._scenario = scenario
        self._prepare = prepare
        self._network = network
        self.rng = random.Random(f"lab {plan.seed} {index}")
        self.ladders = Ladders(self._note_bye)
        self._accounts = plan.caller_accounts[index :: plan.processes] or [Account("load")]
        self._waiting: dict[str, deque[Caller]] = defaultdict(deque)
        self._pair_of: dict[int, Pair] = {}
        self._slots: asyncio.Semaphore | None = None
        self._probes = 0
        self._probe_tells: bool | None = None
        self._unpaired = 0
        self._start_s = 0.0
        self._stopping = False
        self._cpu_before = 0.0
        self._cpu_at = 0.0

    # -- life ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Bind everything and run the scenario's preparation."""
        plan = self.plan
        raise_file_limit(2 * plan.streams_max + 512)
        faults = self.faults
        if plan.media and self._network is None:
            packet_faults = (
                PacketFaults(faults.up, faults.down, plan.seed) if faults.worsens else None
            )
            self.sound = SoundPlane(
                plan.host,
                capacity=plan.streams_max,
                run=plan.run,
                faults=packet_faults,
                rebind_s=faults.rebind_s,
            )
            self.meter.precise = self.sound.precise
        network = self._network or LoadNetwork(plan.transport, faults, plan.seed)
        domain = plan.domain or plan.target[0]
        ports = plan.callee_ports
        common: dict[str, Any] = {
            "domain": domain,
            "peer": ((plan.host, ports[self.index]) if plan.option("self", "") else plan.target),
            "sound_plane": self.sound,
            "ladders": self.ladders,
            "codecs": codecs_offered(plan.codecs),
            "receive": self._receive,
            "on_leg": self._took,
            "on_state": self._note_state,
        }
        seed = plan.seed * 1000 + self.index + plan.run
        self.callers = LoadAgent(network, user="load", host=plan.host, seed=seed, **common)
        await self.callers.open()
        self.callees = LoadAgent(
            network,
            user="load",
            host=plan.callee_host or plan.host,
            port=ports[self.index] if self.index < len(ports) else 0,
            seed=seed + 500,
            **common,
        )
        await self.callees.open()
        self.phones = LoadAgent(
            network, user="load", host=plan.phone_host or plan.host, seed=seed + 700, **common
        )
        await self.phones.open()
        self.free_callees.extend(plan.callee_accounts[self.index :: plan.processes])
        if plan.register and self.free_callees:
            await self.register_all(list(self.free_callees), self.phones)
        if self._prepare is not None:
            await self._prepare(self)

    async def close(self) -> None:
        """Free everything; exceptions of our own are raised."""
        for task in self.extra:
            task.cancel()
        await asyncio.gather(*self.extra, return_exceptions=True)
        for close in self.on_close:
            close()
        if self.sound is not None:
            self.sound.close()
        for agent in (self.callers, self.callees, self.phones):
            await agent.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def now_s(self) -> float:
        """Seconds of the loop's clock (virtual where the network is)."""
        return self.callers.now_s()

    def at_s(self) -> float:
        """Seconds since the first call was due."""
        return self.now_s() - self._start_s

    async def register_all(self, accounts: list[Account], agent: LoadAgent) -> None:
        """Register accounts, some at a time. Raises `SoftswitchError` when one is refused."""
        slots = asyncio.Semaphore(50)

        async def one(account: Account) -> None:
            async with slots:
                began_s = self.now_s()
                response = await agent.register(account, 3600)
                if response.status != 200:
                    raise SoftswitchError(
                        f"{account.number} cannot register: {response.status} {response.reason}"
                    )
                self.meter.time("register", 1e6 * (self.now_s() - began_s), 0.0)

        await asyncio.gather(*(one(account) for account in accounts))

    # -- running ---------------------------------------------------------------------------------

    async def run(self, start_s: float | None = None) -> Meter:
        """Make all calls; `start_s` is when the first is due, on the loop's clock."""
        plan = self.plan
        self._start_s = start_s if start_s is not None else self.now_s()
        self._cpu_before, self._cpu_at = time.process_time(), time.perf_counter()
        share = max(1, plan.concurrent // plan.processes) if plan.concurrent else 0
        self._slots = asyncio.Semaphore(share) if share else None
        arrivals = Arrivals(
            plan.rate,
            plan.calls,
            plan.duration_s,
            plan.ramp_s,
            plan.poisson,
            self.index,
            plan.processes,
            plan.seed,
        )
        watch = asyncio.create_task(self._watch())
        tasks: set[asyncio.Task[None]] = set()
        try:
            for number, due_s in arrivals.times():
                if self._stopping:
                    break
                await self._until(self._start_s + due_s)
                intended_s = self._start_s + due_s
                if self._slots is not None:
                    if self._slots.locked():
                        self.meter.count("held_back", self.at_s())
                        await self._slots.acquire()
                        intended_s = self.now_s()
                    else:
                        await self._slots.acquire()
                task = asyncio.create_task(self._one(number, intended_s))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            if tasks:
                await asyncio.wait(tasks, timeout=self.hold.mean_s * 10 + plan.timeout_s + _DRAIN_S)
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._last_answers()
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        self._judge_loose()
        self._finish()
        return self.meter

    async def _last_answers(self) -> None:
        """The last BYEs may still be on their way."""
        until_s = self.now_s() + self.plan.limits.hanging_s
        for _ in range(int(self.plan.limits.hanging_s / 0.05) + 1):
            if not self.ladders.unanswered_byes(self.now_s()) or self.now_s() >= until_s:
                return
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        """Begin no more calls; those that are up go on to their end."""
        self._stopping = True

    async def _until(self, at_s: float) -> None:
        wait_s = at_s - self.now_s()
        # Also when we are late the loop must breathe, or nobody answers what has come.
        await asyncio.sleep(max(0.0, wait_s))

    async def _one(self, number: int, intended_s: float) -> None:
        caller = Caller(self, number, intended_s)
        self.meter.time("late", 1e6 * (self.now_s() - intended_s), self.at_s())
        self.meter.count("attempted", self.at_s())
        self.live += 1
        cause = ""
        try:
            await self._scenario(caller)
        except CallNotAnswered as error:
            words = reason_of(error.status) if error.status else str(error)
            cause = f"{error.status} {words}" if error.status else f"ended: {words}"
        except CallCutOff as error:
            cause = f"cut off: {error}"
        except SoftswitchError as error:
            cause = str(error) or type(error).__name__
        except asyncio.CancelledError:
            cause = "not over when the run ended"
        except Exception as error:
            cause = f"scenario: {type(error).__name__}: {error}"
        finally:
            self.live -= 1
            if self._slots is not None:
                self._slots.release()
        await self._settle(caller, cause)

    async def _settle(self, caller: Caller, cause: str) -> None:
        """Both ends must be over soon; then the call is judged."""
        pair = caller.pair
        for leg in pair.legs:
            leg.hang_up()
        limit_s = self.plan.limits.hanging_s
        hanging = [leg for leg in pair.taken if leg.end is None]
        if hanging:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    for leg in hanging:
                        await leg.ended()
        found: list[Finding] = []
        left = [leg for leg in pair.taken if leg.end is None]
        for leg in left:
            found.append(
                Finding("dialog leak", f"the callee's leg was still up after {limit_s:g} s")
            )
            leg.hang_up()
        found += await self._probe(pair)
        if pair.number < self.plan.samples:
            found += self._compare(pair)
        self._forget(caller)
        at_s = self.at_s()
        self._judge(caller, found)
        if cause:
            self.meter.count("failed", at_s)
            call_id = pair.legs[0].call_id if pair.legs else caller.sipp_call_id
            ladder = self.ladders.of(call_id) if call_id else None
            self.meter.failure(cause, ladder)
        else:
            self.meter.count("completed", at_s)
        for leg in (*pair.legs, *pair.taken):
            self.ladders.forget(leg.call_id)
        self.ladders.forget(caller.sipp_call_id)

    async def _probe(self, pair: Pair) -> list[Finding]:
        """Of some calls: does the target still know the dialog that has ended?

        Only where a BYE for a dialog that never was is answered 481; there are those who answer any.
        """
        if not pair.legs or pair.number % _PROBE_EVERY or self._probes >= _PROBES_MAX:
            return []
        leg = pair.legs[0]
        if leg.dialog is None or leg.end is None or leg.end.by != "local":
            return []
        self._probes += 1
        if self._probe_tells is None:
            self._probe_tells = False
            made_up = {**leg.dialog, "call_id": f"{leg.call_id}-not"}
            self._probe_tells = await self.callers.probe(leg, made_up) == 481
        if not self._probe_tells:
            return []
        await asyncio.sleep(0.5)
        status = await self.callers.probe(leg)
        self.meter.count("probed", self.at_s())
        if 200 <= status < 300:
            return [Finding("dialog leak", f"a BYE after the end was answered {status}, not 481")]
        return []

    def _judge(self, caller: Caller, found: list[Finding]) -> None:
        pair = caller.pair
        at_s = self.at_s()
        legs = [leg for leg in pair.legs if leg.state == "ended" and "up" in leg.times]
        taken = [leg for leg in pair.taken if "up" in leg.times]
        for leg in (*legs, *taken):
            if leg.facts is not None:
                self.meter.stream(leg.facts, at_s)
                self._note_wrong(leg.facts)
        if legs and legs[0].facts is not None:
            leg = legs[0]
            other = taken[-1].facts if taken else None
            talk_s = leg.times["ended"] - leg.times["up"]
            assert leg.facts is not None
            found += judge_call(
                leg.facts,
                other,
                self.plan.limits,
                own_allowed=caller.own_sound_is_right,
                talk_s=talk_s,
            )
        tolerated = set(caller.tolerates)
        if any(finding.code == "dialog leak" for finding in found):
            tolerated.add("cut")  # who is left alone hears nothing: once is enough
        found = [finding for finding in found if finding.code not in tolerated]
        self.meter.faults(found, f"call {pair.number}")

    def _note_wrong(self, facts: StreamFacts) -> None:
        for heard in facts.others[:2]:
            if facts.expects:
                self.meter.heard_wrong(facts.expects, heard)

    # -- calls -----------------------------------------------------------------------------------

    def account_of(self, number: int) -> Account:
        """The account that makes call `number`."""
        return self._accounts[(number // self.plan.processes) % len(self._accounts)]

    def next_callee(self) -> Account:
        """The registered callee whose turn it is. Raises `SoftswitchError` when there are none."""
        if not self.free_callees:
            raise SoftswitchError("this scenario needs --callees that register")
        self.free_callees.rotate(-1)
        return self.free_callees[-1]

    def number_to_dial(self, caller: Caller) -> str:
        """`--dial` filled in, or the next callee that is free."""
        text = (
            self.plan.option(f"dial_{caller.role.replace('-', '_')}", self.plan.dial) or "{callee}"
        )
        callee = self.next_callee().number if self.free_callees and "{callee}" in text else ""
        number = (
            text.replace("{callee}", callee)
            .replace("{process2}", f"{self.index:02d}")
            .replace("{process}", str(self.index))
        )
        number = number.replace("{call}", f"{caller.number:06d}").replace(
            "{caller}", caller.account.number
        )
        if not number:
            raise SoftswitchError("nobody to call: --dial NUMBER or --callees")
        return number

    def dial(
        self,
        caller: Caller,
        number: str,
        account: Account,
        intended_s: float,
        timeout_s: float | None = None,
        events: bool = True,
    ) -> Leg:
        """See `Caller.dial`."""
        identity = caller_identity(caller.number, len(caller.pair.legs))
        leg = self.callers.dial(
            number,
            account=account,
            identity=identity,
            expects=0,
            intended_s=intended_s,
            headers=((_MARK, str(caller.number)),),
            timeout_s=timeout_s if timeout_s is not None else self.plan.timeout_s,
            events=events,
        )
        caller.pair.legs.append(leg)
        if leg.stream is not None and caller.number < self.plan.samples:
            self._sample_speech(leg)
        self._pair_of[identity] = caller.pair
        self._waiting[_user_of(number)].append(caller)
        return leg

    def _forget(self, caller: Caller) -> None:
        for leg in caller.pair.taken:
            self._pair_of.pop(leg.identity, None)
        for number in caller.awaited:
            self._forget_waiting(number, caller)
        for leg in caller.pair.legs:
            self._pair_of.pop(leg.identity, None)
            self._forget_waiting(_user_of(leg.number), caller)

    def _sample_speech(self, leg: Leg) -> None:
        """Speech instead of a signature: nobody can be told by it, but how it arrived can."""
        assert leg.stream is not None
        assert self.sound is not None
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
            self.meter.sample(result.correlation, result.pesq)
            if result.correlation < _SAMPLE_MIN:
                found.append(
                    Finding("unknown sound", f"speech correlates {result.correlation:.2f}")
                )
        return found

    def _forget_waiting(self, number: str, caller: Caller) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None:
            with contextlib.suppress(ValueError):
                waiting.remove(caller)
            if not waiting:
                del self._waiting[number]

    def expect_call(self, number: str, caller: Caller) -> None:
        """The next call to `number` will be a part of this caller's (after a transfer)."""
        caller.awaited.append(number)
        self._waiting[number].append(caller)

    def _receive(self, request: SipRequest) -> Reception:
        """Who is being called by whom: by our mark where it has come through, else by the number."""
        if self.receive is not None:
            special = self.receive(request)
            if special is not None:
                return special
        behaviour = Behaviour(ring_s=self.answer_after.draw(self.rng))
        leg = self._caller_of(request)
        if leg is None:
            self._unpaired += 1
            number = (self.index << 18) + self._unpaired
            return Reception(stranger_identity(number), 0, behaviour)
        pair = self._pair_of[leg.identity]
        identity = callee_identity(leg.identity, len(pair.taken))
        if leg.stream is not None and not leg.stream.sampled:
            leg.stream.expect(identity)
        self._pair_of[identity] = pair
        return Reception(identity, leg.identity, behaviour)

    def _caller_of(self, request: SipRequest) -> Leg | None:
        mark = request.headers.get(_MARK)
        if mark is not None and mark.isdecimal() and len(mark) < 10:
            pair = self._pair_of.get(caller_identity(int(mark)))
            if pair is not None:
                return pair.legs[-1]
        waiting = self._waiting.get(request.request_uri.user or "")
        if not waiting:
            return None
        caller = waiting.popleft()
        return caller.pair.legs[-1]

    def _took(self, leg: Leg) -> None:
        pair = self._pair_of.get(leg.identity)
        if pair is not None:
            pair.taken.append(leg)
            if leg.stream is not None and pair.number < self.plan.samples:
                self._sample_speech(leg)
        elif leg.stream is not None:
            self.loose.append(leg)
        self.meter.count("received", self.at_s())

    # -- measuring ---------------------------------------------------------------------------------

    def _note_state(self, leg: Leg, state: str) -> None:
        if not leg.outgoing or not leg.identity:
            return  # an incoming call, or an agent who logs in
        now_s = leg.times[state]
        at_s = now_s - self._start_s
        match state:
            case "ringing":
                self.meter.time("ring", 1e6 * (now_s - leg.intended_s), at_s)
            case "up":
                self.meter.count("answered", at_s)
                self.meter.time("setup", 1e6 * (now_s - leg.intended_s), at_s)

    def _note_bye(self, seconds: float, status: int) -> None:
        at_s = self.at_s()
        self.meter.time("bye", 1e6 * seconds, at_s)
        own_ms = 0.0
        if self.sound is not None:
            _, own_ms = self.sound.own_lateness(clock_us() - int(1e6 * seconds))
        if seconds * 1000 > self.plan.limits.bye_ms + own_ms:
            self.meter.faults([Finding("slow BYE", f"answered after {seconds:.1f} s")], "a call")

    async def _watch(self) -> None:
        """Each second: what is up, how we are ourselves, and who has hung up without a caller."""
        for number in itertools.count():
            await self._until(self._start_s + number + 1)
            self._sample(number)
            self._judge_loose()

    def _judge_loose(self) -> None:
        """Calls that came without a caller that we know are judged alone when they are over."""
        over = [leg for leg in self.loose if leg.end is not None]
        if not over:
            return
        self.loose = [leg for leg in self.loose if leg.end is None]
        for leg in over:
            if leg.facts is not None and "up" in leg.times:
                self.meter.stream(leg.facts, self.at_s())
                talk_s = leg.times["ended"] - leg.times["up"]
                found = judge_loose(leg.facts, self.plan.limits, talk_s)
                found = [finding for finding in found if finding.code not in self.loose_tolerates]
                self.meter.faults(found, f"a call to {leg.number}")

    def _sample(self, number: int) -> None:
        now, cpu = time.perf_counter(), time.process_time()
        share = (cpu - self._cpu_before) / max(now - self._cpu_at, 1e-6)
        self._cpu_before, self._cpu_at = cpu, now
        second = self.meter.second(number)
        second.live = self.live
        second.cpu = share
        self.meter.cpu_peak = max(self.meter.cpu_peak, share)
        self.meter.cpu_s = cpu
        if self.sound is not None:
            counters = self.sound.counters
            second.delay.merge(counters.delay)
            self.meter.delay.merge(counters.delay)
            second.late_ms = counters.pacer_late.percentile(99) / 1000
            self.meter.pacer_late.merge(counters.pacer_late)
            counters.delay, counters.pacer_late = type(counters.delay)(), type(counters.delay)()
            if self.sound.live:
                self._renew_directory()

    def _renew_directory(self) -> None:
        assert self.sound is not None
        known = self.sound.identities()
        if len(known) <= 4096:
            self.sound.listener.directory = Directory(known)

    def _finish(self) -> None:
        self._sample(max(self.meter.seconds, default=0))
        counts = self.meter.counts
        counts["resent"] += self.ladders.resent
        counts["received_again"] += self.ladders.received_again
        counts["messages_in"] += self.ladders.messages_in
        counts["messages_out"] += self.ladders.messages_out
        for method, many in self.ladders.methods.items():
            counts[f"sent_{method}"] += many
        if self.sound is not None:
            counts["rebindings"] += self.sound.rebindings
            counts["frames_skipped"] += self.sound.counters.skipped_frames
        late = [s for s in self.ladders.unanswered_byes(self.now_s()) if s > 1.0]
        counts["byes_unanswered"] += len(late)
        for agent in (self.callers, self.callees, self.phones):
            left = agent.snapshot()
            counts["sessions_left"] += left["sessions"]


def _user_of(number: str) -> str:
    user = number.removeprefix("sip:").removeprefix("sips:")
    return user.partition("@")[0].partition(";")[0]


__all__ = ["Caller", "Lab", "Pair", "Scenario", "ScenarioFailed", "SimulationError"]
