"""One generator: agents, sound and meters around a scenario, on real sockets or virtual ones."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any, Self

from softswitch.errors import SoftswitchError
from softswitch.load.agent import Account, LoadAgent
from softswitch.load.arrivals import Arrivals
from softswitch.load.caller import Caller, Pair, ScenarioFailed
from softswitch.load.causes import hints, refusal
from softswitch.load.codecs import codecs_offered
from softswitch.load.distribution import Distribution
from softswitch.load.faults import PacketFaults, parse_faults
from softswitch.load.gauges import Gauges
from softswitch.load.judge import Judge
from softswitch.load.ladder import Ladders
from softswitch.load.leg import CallCutOff, Leg
from softswitch.load.measure import Meter
from softswitch.load.network import LoadNetwork
from softswitch.load.plan import Plan
from softswitch.load.sim_port_io import SimPortIo
from softswitch.load.sound import WIDTH, SoundPlane, raise_file_limit
from softswitch.load.switchboard import MARK, Switchboard
from softswitch.load.verdict import caller_identity
from softswitch.sim.datagram import PhoneNetwork
from softswitch.sim.loop import SimulationError
from softswitch.sim.network import SimNetwork
from softswitch.sim.phone_call import CallNotAnswered

Scenario = Callable[["Caller"], Awaitable[None]]

_DRAIN_S = 40.0
_FINISH_S = 10.0


class Lab:
    """A generator: process `index` of those that `plan` asks for.

    `network` is the machine's own by default; on a `SimNetwork` everything runs on virtual time.
    `prepare` runs before the first call (agents log in), `finish` after the last (they log out).
    """

    def __init__(
        self,
        plan: Plan,
        scenario: Scenario,
        *,
        index: int = 0,
        network: PhoneNetwork | None = None,
        prepare: Callable[[Lab], Awaitable[None]] | None = None,
        finish: Callable[[Lab], Awaitable[None]] | None = None,
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
        self.rng = random.Random(f"lab {plan.seed} {index}")
        self.board = Switchboard(plan, index, lambda: self.answer_after.draw(self.rng))
        self.ladders = Ladders(lambda *told: self.judge.note_bye(*told))
        self.judge = Judge(plan, self.meter, self.ladders, self.at_s)
        self.gauges = Gauges(self.meter)
        self.live = 0
        self.faults = parse_faults(plan.faults)
        self.on_close: list[Callable[[], None]] = []
        self.extra: list[asyncio.Task[Any]] = []
        self.agents: list[Account] = []
        """Who has logged in at a queue."""
        self._agents: list[LoadAgent] = []
        self._scenario = scenario
        self._prepare = prepare
        self._finish = finish
        self._network = network
        self._slots: asyncio.Semaphore | None = None
        self._start_s = 0.0
        self._stopping = False

    # -- life ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Bind everything and run the scenario's preparation."""
        plan = self.plan
        raise_file_limit(2 * plan.streams_max + 512)
        faults = self.faults
        if plan.media:
            self._open_sound()
        seed = plan.seed * 1000 + self.index + plan.run
        network = self._network or LoadNetwork(plan.transport, faults, seed, plan.trusted)
        domain = plan.domain or plan.target[0]
        ports = plan.callee_ports
        common: dict[str, Any] = {
            "domain": domain,
            "peer": ((plan.host, ports[self.index]) if plan.option("self", "") else plan.target),
            "sound_plane": self.sound,
            "ladders": self.ladders,
            "codecs": codecs_offered(plan.codecs),
            "receive": self.board.receive,
            "on_leg": self._took,
            "on_state": self._note_state,
            "server_name": plan.server_name,
            "srtp": plan.srtp,
        }
        self.callers = LoadAgent(network, user="load", host=plan.host, seed=seed, **common)
        port = ports[self.index] if self.index < len(ports) else 0
        host = plan.callee_host or plan.host
        self.callees = LoadAgent(
            network, user="load", host=host, port=port, seed=seed + 500, **common
        )
        host = plan.phone_host or plan.host
        self.phones = LoadAgent(network, user="load", host=host, seed=seed + 700, **common)
        for agent in (self.callers, self.callees, self.phones):
            await agent.open()
            self._agents.append(agent)
        self.judge.probes_by = self.callers
        self.board.free_callees.extend(plan.callee_accounts[self.index :: plan.processes])
        if plan.register and self.board.free_callees:
            await self.register_all(list(self.board.free_callees), self.phones)
        if self._prepare is not None:
            await self._prepare(self)

    def _open_sound(self) -> None:
        """Sound, where the network can carry it: the machine's own and `SimNetwork`."""
        plan, faults = self.plan, self.faults
        ports = None
        if isinstance(self._network, SimNetwork):
            ports = SimPortIo(self._network, WIDTH)
        elif self._network is not None:
            return
        self.sound = SoundPlane(
            plan.host,
            capacity=plan.streams_max,
            run=plan.run,
            faults=PacketFaults(faults.up, faults.down, plan.seed) if faults.worsens else None,
            rebind_s=faults.rebind_s,
            ports=ports,
        )
        self.meter.precise = self.sound.precise
        self.judge.sound = self.gauges.sound = self.sound

    async def close(self) -> None:
        """Leave the target as it was found, as far as that goes in a short time, and free everything;
        exceptions of our own are raised."""
        if self._finish is not None:
            with contextlib.suppress(SoftswitchError, TimeoutError):
                async with asyncio.timeout(_FINISH_S):
                    await self._finish(self)
        for task in self.extra:
            task.cancel()
        await asyncio.gather(*self.extra, return_exceptions=True)
        if self.phones in self._agents:
            await self.phones.leave()
        for close in self.on_close:
            close()
        if self.sound is not None:
            self.sound.close()
        for agent in self._agents:
            await agent.close()

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            self._finish = None
            await self.close()
            raise
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
                try:
                    response = await agent.register(account, 3600)
                    why = refusal(response.status, response)
                except SimulationError as error:
                    why = str(error)
                else:
                    if response.status == 200:
                        self.meter.time("register", 1e6 * (self.now_s() - began_s), 0.0)
                        return
                more = "".join(f"; {hint}" for hint in hints([why], self.plan))
                raise SoftswitchError(f"{account.number} cannot register: {why}{more}")

        await asyncio.gather(*(one(account) for account in accounts))

    # -- running ---------------------------------------------------------------------------------

    async def run(self, start_s: float | None = None) -> Meter:
        """Make all calls; `start_s` is when the first is due, on the loop's clock."""
        plan = self.plan
        self._start_s = start_s if start_s is not None else self.now_s()
        self.gauges.begin()
        share = len(range(self.index, plan.concurrent, plan.processes))
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
        self.judge.judge_loose()
        agents = (self.callers, self.callees, self.phones)
        self.gauges.end(self.ladders, agents, self.now_s(), self.live, self._start_s)
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
            cause = self._refusal(caller, error)
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
        unusable = [leg.sound_error for leg in caller.pair.legs if leg.sound_error]
        await self.judge.settle(caller, unusable[0] if unusable else cause)
        self.board.forget(caller)

    @staticmethod
    def _refusal(caller: Caller, error: CallNotAnswered) -> str:
        if not error.status:
            return f"ended: {error}"
        refused = [leg.refusal for leg in caller.pair.legs if leg.refusal is not None]
        return refusal(error.status, refused[-1] if refused else None)

    # -- calls -----------------------------------------------------------------------------------

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
        leg = self.callers.dial(
            number,
            account=account,
            identity=caller_identity(caller.number, len(caller.pair.legs)),
            expects=0,
            intended_s=intended_s,
            headers=((MARK, str(caller.number)),),
            timeout_s=timeout_s if timeout_s is not None else self.plan.timeout_s,
            events=events,
        )
        self.board.called(caller, leg)
        self.judge.sample_speech(leg, caller.number)
        return leg

    def _took(self, leg: Leg) -> None:
        pair = self.board.took(leg)
        if pair is not None:
            self.judge.sample_speech(leg, pair.number)
        elif leg.stream is not None:
            self.judge.loose.append(leg)
        self.meter.count("received", self.at_s())

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

    async def _watch(self) -> None:
        """Each second: what is up, how we are ourselves, and who has hung up without a caller."""
        for number in itertools.count():
            await self._until(self._start_s + number + 1)
            self.gauges.read(number, self.live)
            self.judge.judge_loose()


__all__ = ["Caller", "Lab", "Pair", "Scenario", "ScenarioFailed", "SimulationError"]
