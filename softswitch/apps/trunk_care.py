"""Keeps trunks resolved, watched and registered: the adapter around three machines that decide."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, assert_never

from softswitch.call.endpoint import TrunkTarget
from softswitch.call.trunk_health import (
    CameUp,
    Due,
    HealthEvent,
    HealthTimer,
    ProbeAnswered,
    ProbeFailed,
    SendProbe,
    SetHealthTimer,
    Watch,
    WentDown,
)
from softswitch.call.trunks import credentials_of, why_withheld
from softswitch.errors import SoftswitchError
from softswitch.sip.authorise import realm_of
from softswitch.sip.events import RequestFailed, ResponseReceived
from softswitch.sip.outgoing_registration import (
    Begin,
    Leave,
    OutgoingRegistration,
    RegisterAnswered,
    RegisterDue,
    RegisterLost,
    RegistrationChanged,
    RegistrationInput,
    SendRegister,
    SetRegisterTimer,
)
from softswitch.sip.seconds import seconds_in
from softswitch.sip.uri import NameAddr, SipUri
from softswitch.transport.resolver import Resolution, ResolveFailed
from softswitch.transport.targets import NextHop, Target, in_order

if TYPE_CHECKING:
    from softswitch.call.trunks import TargetState, TrunkRecord, Trunks
    from softswitch.clock import Clock
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipResponse
    from softswitch.sip.stack import SipStack
    from softswitch.transport.driver import Driver
    from softswitch.transport.resolver import Resolver

_log = logging.getLogger("softswitch.trunks")

_PROBE_S = 6.0
_REGISTER_S = 32.0
_LEAVE_S = 1.0
_FIRST_S = 3.0
_RETRY_S = 15.0


@dataclass(slots=True)
class _Cared:
    """What is kept of one trunk; `timers` by what they are for."""

    record: TrunkRecord
    resolution: Resolution | None = None
    registration: OutgoingRegistration | None = None
    call_id: str = ""
    cseq: int = 0
    timers: dict[object, asyncio.TimerHandle] = field(default_factory=dict)


class TrunkCare:
    """Performs what `TargetHealth` and `OutgoingRegistration` decide, and asks the DNS again in time.

    Parameters: `uniform` draws from [0, 1). `start` waits a few seconds at most for the DNS: a trunk
    that cannot be resolved is down until it can.
    """

    def __init__(
        self,
        trunks: Trunks,
        stack: SipStack,
        driver: Driver,
        clock: Clock,
        resolver: Resolver,
        domain: str,
        uniform: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self._stack = stack
        self._driver = driver
        self._clock = clock
        self._resolver = resolver
        self._domain = domain
        self._uniform = uniform
        self._trunks = trunks
        self._token = token
        self._cared = {record.config.name: self._care_of(record) for record in trunks}
        self._asked: dict[int, tuple[_Cared, TargetState | None, Flow]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._left = asyncio.Event()
        self._closed = False
        trunks.on_health = self._on_health

    def _care_of(self, record: TrunkRecord) -> _Cared:
        cared = _Cared(record)
        if record.config.registers:
            cared.registration = OutgoingRegistration(self._uniform)
            cared.call_id = self._token()
        return cared

    def use_trunks(self, new: Iterable[TrunkRecord], old: Iterable[TrunkRecord]) -> None:
        """Care for the `new` from now on; take leave of the `old`."""
        for record in old:
            cared = self._cared.pop(record.config.name, None)
            if cared is None:
                continue
            self._feed_registration(cared, Leave())
            cared.registration = None
            record.set_targets([])
            for what in list(cared.timers):
                self._cancel(cared, what)
        for record in new:
            cared = self._cared[record.config.name] = self._care_of(record)
            self._resolve_soon(cared)
        self._driver.pump()

    async def start(self) -> None:
        """Resolve, begin to watch and to register."""
        tasks = [self._resolve_soon(cared) for cared in self._cared.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=_FIRST_S)

    async def stop(self) -> None:
        """Take our registrations away where that is quickly done, then let go of everything."""
        leaving = False
        for cared in self._cared.values():
            if cared.registration is not None:
                leaving = leaving or cared.registration.registered(self._clock.monotonic_s())
                self._feed_registration(cared, Leave())
        if leaving:
            self._driver.pump()
            try:
                async with asyncio.timeout(_LEAVE_S):
                    await self._left.wait()
            except TimeoutError:
                _log.info("a registrar did not answer to our leaving")
        self._closed = True
        for cared in self._cared.values():
            for timer in cared.timers.values():
                timer.cancel()
            cared.timers.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._resolver.close()

    def handle(self, event: ResponseReceived | RequestFailed, now_s: float) -> bool:
        """The end of a request; False when it was not one of ours."""
        known = self._asked.pop(event.handle, None)
        if known is None:
            return False
        cared, state, flow = known
        if isinstance(event, ResponseReceived):
            if state is not None:
                self._feed_health(cared, state, ProbeAnswered(event.response.status))
            else:
                self._registered(cared, event.response)
            return True
        why = "no answer" if event.status == 408 else self._driver.why_unreachable(flow)
        if state is not None:
            self._feed_health(cared, state, ProbeFailed(why or "unreachable"))
        else:
            self._feed_registration(cared, RegisterLost(why or "unreachable"))
        return True

    def snapshot(self) -> dict[str, int]:
        """Requests under way, and the resolver's tables."""
        return {"asked": len(self._asked), **self._resolver.snapshot()}

    # -- addresses ---------------------------------------------------------------------------------

    def _resolve_soon(self, cared: _Cared) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(
            self._resolve(cared), name=f"resolve {cared.record.config.name}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _resolve(self, cared: _Cared) -> None:
        record = cared.record
        if self._cared.get(record.config.name) is not cared:
            return  # the trunk is gone, or another one now
        trunk = record.config
        transport = trunk.transport if trunk.transport_given or trunk.port is not None else None
        hop = NextHop(trunk.host, trunk.port, transport, trunk.secure)
        problem = ""
        found: Resolution | None
        try:
            found = await self._resolver.resolve(hop, private=True)
        except ResolveFailed as error:
            found = None
            problem = str(error)
        if self._cared.get(record.config.name) is not cared:
            return
        if found is None:
            self._lost_addresses(cared, problem)
            return
        if found.problem and found.problem != record.problem:
            _log.warning("trunk %s keeps its last address: %s", trunk.name, found.problem)
        record.problem = found.problem
        self._take_addresses(cared, found)
        if found.fresh_until_s != float("inf"):
            after_s = max(1.0, found.fresh_until_s - self._clock.monotonic_s())
            self._arm(cared, "resolve", after_s, lambda: self._resolve_soon(cared))

    def _lost_addresses(self, cared: _Cared, problem: str) -> None:
        if cared.record.problem != problem:
            _log.error("trunk %s has no address: %s", cared.record.config.name, problem)
        cared.record.problem = problem
        cared.record.set_targets([])
        self._arm(cared, "resolve", _RETRY_S, lambda: self._resolve_soon(cared))

    def _take_addresses(self, cared: _Cared, found: Resolution) -> None:
        record = cared.record
        before = [state.target for state in record.targets]
        cared.resolution = found
        record.order = lambda: [_trunk_target(t) for t in in_order(found.candidates, self._uniform)]
        new = record.set_targets(_trunk_target(target) for target in found.targets)
        kept = {state.target for state in record.targets}
        for target in before:
            if target not in kept:
                for due in Due:
                    self._cancel(cared, (target, due))
        if self._closed:
            return
        for state in new:
            self._feed_health(cared, state, Watch())
        if cared.registration is not None and (not before or before[0] not in kept):
            self._feed_registration(cared, Begin())
        self._driver.pump()

    # -- health ------------------------------------------------------------------------------------

    def _on_health(self, record: TrunkRecord, state: TargetState, event: HealthEvent) -> None:
        cared = self._cared.get(record.config.name)
        if cared is not None and cared.record is record:
            self._feed_health(cared, state, event)

    def _feed_health(self, cared: _Cared, state: TargetState, event: HealthEvent) -> None:
        if self._closed or cared.record.state_of(state.target) is not state:
            return
        for effect in state.health.handle(event, self._clock.monotonic_s()):
            match effect:
                case SendProbe():
                    self._probe(cared, state)
                case SetHealthTimer():
                    self._arm(
                        cared,
                        (state.target, effect.due),
                        effect.after_s,
                        partial(self._feed_health, cared, state, HealthTimer(effect.due)),
                    )
                case WentDown():
                    _log.warning("trunk %s is down: %s", _named(cared, state), effect.why)
                case CameUp():
                    _log.warning("trunk %s is up again", _named(cared, state))
                case _:
                    assert_never(effect)

    def _probe(self, cared: _Cared, state: TargetState) -> None:
        trunk, target = cared.record.config, state.target
        uri = str(SipUri("sip", None, trunk.host, trunk.port))
        self._ask("OPTIONS", cared, state, target, uri, (), _PROBE_S, trunk.username)

    # -- registration ------------------------------------------------------------------------------

    def _feed_registration(self, cared: _Cared, event: RegistrationInput) -> None:
        registration = cared.registration
        if registration is None or self._closed:
            return
        name = cared.record.config.name
        for effect in registration.handle(event, self._clock.monotonic_s()):
            match effect:
                case SendRegister():
                    self._register(cared, effect.expires_s)
                case SetRegisterTimer():
                    self._arm(
                        cared,
                        "register",
                        effect.after_s,
                        lambda: self._feed_registration(cared, RegisterDue()),
                    )
                case RegistrationChanged():
                    if effect.registered:
                        _log.info("registered at trunk %s", name)
                    else:
                        _log.warning("not registered at trunk %s: %s", name, effect.why)
                case _:
                    assert_never(effect)
        state, why = registration.state.value, registration.why
        cared.record.registration = f"{state}: {why}" if why else state

    def _register(self, cared: _Cared, expires_s: int) -> None:
        trunk = cared.record.config
        ordered = [state for state in cared.record.targets if not state.health.down]
        state = next(iter(ordered or cared.record.targets), None)
        if state is None:
            lost = RegisterLost(cared.record.problem or "no address")
            asyncio.get_running_loop().call_soon(self._feed_registration, cared, lost)
            return
        uri = str(SipUri("sip", None, trunk.host, trunk.port))
        headers = (("Expires", str(expires_s)),)
        cared.cseq += 1
        self._ask("REGISTER", cared, None, state.target, uri, headers, _REGISTER_S, trunk.username)

    def _registered(self, cared: _Cared, response: SipResponse) -> None:
        # The answer to a challenge has used further numbers.
        cared.cseq = max(cared.cseq, response.cseq.number)
        if self._closed or not self._waits_for_registrar():
            self._left.set()
        self._feed_registration(
            cared,
            RegisterAnswered(
                response.status,
                _granted_s(response, cared.record.config.username or ""),
                seconds_in(response, "Min-Expires"),
                seconds_in(response, "Retry-After"),
                why_withheld(cared.record.config, realm_of(response)),
            ),
        )

    def _waits_for_registrar(self) -> bool:
        return any(state is None for _, state, _ in self._asked.values())

    # -- inside --------------------------------------------------------------------------------------

    def _ask(
        self,
        method: Literal["OPTIONS", "REGISTER"],
        cared: _Cared,
        state: TargetState | None,
        target: TrunkTarget,
        uri: str,
        headers: tuple[tuple[str, str], ...],
        timeout_s: float,
        user: str | None,
    ) -> None:
        trunk = cared.record.config
        registering = method == "REGISTER"
        own = NameAddr(str(SipUri("sip", user, trunk.host if registering else self._domain)))
        try:
            flow = self._driver.flow_to(target.address, target.transport, target.server_name)
            handle = self._stack.request(
                method,
                uri,
                flow,
                from_=own,
                to=own if registering else NameAddr(uri),
                headers=headers,
                credentials=credentials_of(trunk) if registering else None,
                call_id=cared.call_id if registering else None,
                cseq=cared.cseq if registering else 1,
                timeout_s=timeout_s,
                now_s=self._clock.monotonic_s(),
            )
        except SoftswitchError as error:
            self._fail_soon(cared, state, str(error))
            return
        self._asked[handle] = (cared, state, flow)
        # From a timer nobody else pumps; inside an event of the stack this does nothing.
        self._driver.pump()

    def _fail_soon(self, cared: _Cared, state: TargetState | None, why: str) -> None:
        """Never from inside the machine that wants it sent."""
        loop = asyncio.get_running_loop()
        if state is not None:
            loop.call_soon(self._feed_health, cared, state, ProbeFailed(why))
        else:
            loop.call_soon(self._feed_registration, cared, RegisterLost(why))

    def _arm(self, cared: _Cared, what: object, after_s: float, act: Callable[[], object]) -> None:
        if self._closed:
            return
        self._cancel(cared, what)
        loop = asyncio.get_running_loop()

        def fire() -> None:
            cared.timers.pop(what, None)
            act()

        cared.timers[what] = loop.call_later(after_s, fire)

    def _cancel(self, cared: _Cared, what: object) -> None:
        timer = cared.timers.pop(what, None)
        if timer is not None:
            timer.cancel()


def _trunk_target(target: Target) -> TrunkTarget:
    return TrunkTarget(target.transport, target.address, target.server_name)


def _named(cared: _Cared, state: TargetState) -> str:
    host, port = state.target.address
    return f"{cared.record.config.name} ({host}:{port})"


def _granted_s(response: SipResponse, user: str) -> int | None:
    """What the registrar grants our contact: its `expires` (10.2.4), else the Expires header."""
    for contact in response.contacts:
        if contact.uri.username == user:
            text = contact.param("expires")
            if text is not None and text.isascii() and text.isdecimal() and len(text) <= 9:
                return int(text)
    return response.expires
