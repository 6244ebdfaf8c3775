"""Performs what `Dial` decides: starts and ends legs, tells the caller, joins the winner."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from media.errors import MediaError
from softswitch.call.dial import Dial
from softswitch.call.diversion import diversion_lines
from softswitch.call.endpoint import Outcome, PhoneEndpoint, Step
from softswitch.call.events import (
    CallerEnded,
    ConnectCaller,
    DialEffect,
    DialEvent,
    EndLeg,
    Finish,
    LegFailed,
    RingCaller,
    StartLeg,
    StartTimer,
    TimerExpired,
)
from softswitch.call.identity import PhoneIdentity
from softswitch.call.leg import Leg, LegPlan
from softswitch.call.ring_timers import RingTimers
from softswitch.call.shown import Shown
from softswitch.call.trunk_calls import TrunkCalls
from softswitch.config.derived import FromOffice, extensions_by_number
from softswitch.errors import SoftswitchError
from softswitch.sip.flow import Flow
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.uri import NameAddr, SipUri

if TYPE_CHECKING:
    from softswitch.call.audio import CallAudio
    from softswitch.call.call import Call
    from softswitch.call.identity import Identity
    from softswitch.call.trunks import Trunks
    from softswitch.call.wiring import Wiring


class Attempt:
    """A `Dial` beside a call's own: somebody is rung while the caller hears something else, as an agent is
    for a caller who waits.

    `connected(leg)` is called when somebody has answered, `finished(outcome)` when it came to nothing
    or that conversation is over; neither when the call itself ends. `shown` are the name and
    the number that phones display, `identity` who calls, where it is not the call's own caller.
    """

    __slots__ = ("connected", "dial", "finished", "identity", "shown")

    def __init__(
        self,
        dial: Dial,
        connected: Callable[[Leg], None],
        finished: Callable[[Outcome], None],
        shown: Shown,
        identity: Identity | None = None,
    ) -> None:
        self.dial = dial
        self.connected = connected
        self.finished = finished
        self.shown = shown
        self.identity = identity


class Dialling:
    """Runs the `Dial` machines of all calls.

    Parameters: `adopt(call, leg)` and `drop(call, leg, by, status, q850)` keep the owner's tables;
    `connected(call, leg)` is called when caller and winner are to be joined; `finished(call, outcome)`
    when an attempt is over; `audio` rings back to callers who have been answered already.
    """

    def __init__(
        self,
        wiring: Wiring,
        trunks: Trunks,
        *,
        adopt: Callable[[Call, Leg], None],
        drop: Callable[[Call, Leg, str, int, int], None],
        connected: Callable[[Call, Leg], None],
        finished: Callable[[Call, Outcome], None],
        audio: CallAudio,
    ) -> None:
        self._wiring = wiring
        self._trunks = trunks
        self._trunk_calls = TrunkCalls(wiring, trunks)
        self._extensions = FromOffice(wiring, extensions_by_number)
        self._adopt = adopt
        self._drop = drop
        self._connected = connected
        self._finished = finished
        self._audio = audio
        self._timers = RingTimers()
        self._own: dict[type, Callable[[Call, Dial, Any], DialEvent | None]] = {
            StartLeg: self._start_own_leg,
            EndLeg: self._end_own_leg,
            RingCaller: self._ring_caller,
            ConnectCaller: self._connect_caller,
            StartTimer: self._start_timer,
            Finish: self._finish,
        }

    def start(self, call: Call, steps: tuple[Step, ...], *, ringback: bool = True) -> None:
        """Begin an attempt on behalf of `call`'s caller; with `ringback` he hears it ring even if he
        has been answered already."""
        call.ringback_wanted = ringback
        dial = Dial(self._trunks.spread(steps), self._wiring.next_number)
        call.dial_machine = dial
        self._perform_all(call, dial, dial.start())

    def begin_beside(
        self,
        call: Call,
        steps: tuple[Step, ...],
        *,
        connected: Callable[[Leg], None],
        finished: Callable[[Outcome], None],
        shown: Shown | None = None,
        identity: Identity | None = None,
    ) -> Attempt:
        """Begin an attempt beside the call's own; see `Attempt`."""
        dial = Dial(self._trunks.spread(steps), self._wiring.next_number)
        attempt = Attempt(dial, connected, finished, shown or _caller_of(call), identity)
        self._perform_all(call, dial, dial.start(), attempt)
        return attempt

    def give_up(
        self, call: Call, attempt: Attempt, *, q850: int = 16, elsewhere: bool = False
    ) -> None:
        """End an attempt beside the call: its phones stop ringing, who has answered is hung up."""
        event = CallerEnded("switch", q850, elsewhere)
        self._perform_all(call, attempt.dial, attempt.dial.handle(event), attempt)

    def promote(self, call: Call, attempt: Attempt) -> None:
        """Who has answered is the caller's partner from now on: the attempt becomes the call's own."""
        _forget(call, attempt)
        call.dial_machine = attempt.dial

    def release(self, call: Call, attempt: Attempt) -> None:
        """Whoever answered is no longer followed as an attempt: what becomes of his leg is his own."""
        _forget(call, attempt)

    def take_over(self, call: Call, leg: int) -> None:
        """A leg of the call that has answered already wins its attempt (pick-up)."""
        dial = call.dial_machine
        if dial is not None:
            self._perform_all(call, dial, dial.take_over(leg))

    def feed(self, call: Call, event: DialEvent) -> None:
        """One event for the attempt it is about: the call's own, unless its leg is of one beside."""
        if call.trunk_legs:
            self._trunk_calls.follow(call, event)
        attempt = call.attempts.get(getattr(event, "leg", 0)) if call.attempts else None
        dial = attempt.dial if attempt is not None else call.dial_machine
        if dial is not None:
            self._perform_all(call, dial, dial.handle(event), attempt)

    def _perform_all(
        self, call: Call, dial: Dial, effects: list[DialEffect], attempt: Attempt | None = None
    ) -> None:
        # A leg that cannot even start is an event of its own: worked off in order, never nested.
        for effect in effects:
            if attempt is None:
                event = self._own[type(effect)](call, dial, effect)
            else:
                event = self._perform_beside(call, attempt, effect)
            if event is not None:
                effects.extend(dial.handle(event))

    def _start_own_leg(self, call: Call, dial: Dial, effect: StartLeg) -> DialEvent | None:
        return self._start_leg(call, effect, _caller_of(call))

    def _end_own_leg(self, call: Call, dial: Dial, effect: EndLeg) -> None:
        self._end_leg(call, effect)

    def _connect_caller(self, call: Call, dial: Dial, effect: ConnectCaller) -> None:
        if call.ringback_heard:
            self._audio.stop_ringback(call)
        self._connected(call, call.legs[effect.leg])

    def _finish(self, call: Call, dial: Dial, effect: Finish) -> None:
        if call.dial_machine is dial:
            call.dial_machine = None
        if call.ringback_heard:
            self._audio.stop_ringback(call)
        self._finished(call, effect.outcome)

    def _perform_beside(self, call: Call, attempt: Attempt, effect: DialEffect) -> DialEvent | None:
        match effect:
            case StartLeg():
                call.attempts[effect.leg] = attempt
                return self._start_leg(call, effect, attempt.shown, attempt.identity)
            case EndLeg():
                self._end_leg(call, effect)
            case RingCaller():
                pass
            case ConnectCaller():
                attempt.connected(call.legs[effect.leg])
            case StartTimer():
                self._start_timer(call, attempt.dial, effect, attempt)
            case Finish():
                _forget(call, attempt)
                attempt.finished(effect.outcome)
            case _:
                assert_never(effect)
        return None

    def _start_timer(
        self, call: Call, dial: Dial, effect: StartTimer, attempt: Attempt | None = None
    ) -> None:
        def expire() -> None:
            call.timers.discard(timer)
            own = call.dial_machine is dial  # an attempt may have become the call's own meanwhile
            if (own or attempt in call.attempts.values()) and not call.ended:
                event = TimerExpired(effect.name, effect.generation)
                self._perform_all(call, dial, dial.handle(event), None if own else attempt)
                self._wiring.pump()

        timer = self._timers.start(effect.after_s, expire)
        call.timers.add(timer)

    def _end_leg(self, call: Call, effect: EndLeg) -> None:
        leg = call.legs.get(effect.leg)
        if leg is None:
            return
        if effect.elsewhere:
            cause = ReasonHeader("SIP", 200, "Call completed elsewhere")
        else:
            cause = ReasonHeader("Q.850", effect.q850)
        leg.hang_up(cause)
        self._trunk_calls.give_back(call, effect.leg)
        self._drop(call, leg, "switch", 200 if leg.answered else 487, effect.q850)

    def _ring_caller(self, call: Call, dial: Dial, effect: RingCaller) -> None:
        leg = call.legs.get(effect.leg)
        if leg is None:
            return
        if call.caller.answered:
            self._audio.ring_back(call)
            return
        if effect.early_media and call.caller.ring(early_codec=leg.codec):
            assert call.caller.stream is not None
            assert leg.stream is not None
            self._wiring.plane.connect(call.caller.stream.stream_id, leg.stream.stream_id)
        else:
            call.caller.ring()

    def _start_leg(
        self, call: Call, effect: StartLeg, shown: Shown, identity: Identity | None = None
    ) -> DialEvent | None:
        endpoint = effect.endpoint
        try:
            if isinstance(endpoint, PhoneEndpoint):
                plan = self._plan_phone(call, endpoint, shown)
            else:
                plan = self._trunk_calls.plan(call, effect.leg, endpoint, identity)
            prefer = call.caller.offered_codecs()
            leg = Leg.outgoing(
                self._wiring, call, effect.leg, plan, prefer=prefer, silence_s=effect.silence_s
            )
        except (SoftswitchError, MediaError) as error:
            self._trunk_calls.give_back(call, effect.leg)
            return LegFailed(effect.leg, 503, str(error), ours=True)
        self._adopt(call, leg)
        return None

    def _plan_phone(self, call: Call, endpoint: PhoneEndpoint, shown: Shown) -> LegPlan:
        office = self._wiring.office.office
        caller = SipUri("sip", shown.number or "anonymous", office.domain)
        callee = SipUri("sip", endpoint.extension, office.domain)
        return LegPlan(
            label=endpoint.label,
            target=endpoint.contact_uri,
            flow=Flow(*endpoint.flow_key),
            from_=NameAddr(str(caller), shown.name or None),
            to=NameAddr(str(callee), None),
            headers=self._diversion(call),
            identity=PhoneIdentity(endpoint.extension),
            who=Shown(self._name_of(endpoint.extension), endpoint.extension),
            told=shown.number,
            route=endpoint.route,
        )

    def _name_of(self, number: str) -> str:
        extension = self._extensions().get(number)
        return extension.name if extension is not None else ""

    def _diversion(self, call: Call) -> tuple[tuple[str, str], ...]:
        """Whose call this was before it was forwarded, for the display (RFC 5806)."""
        shown = [each for each in call.diversions if not each.hidden]
        return tuple(diversion_lines(shown, self._wiring.office.office.domain))


def _caller_of(call: Call) -> Shown:
    """Who is at the caller's end: after a transfer not who has begun the call."""
    who = call.caller.who
    if who is not None and who.number != call.number_from:
        return who
    return Shown(call.caller_name, call.number_from)


def _forget(call: Call, attempt: Attempt) -> None:
    for leg_id in [leg_id for leg_id, other in call.attempts.items() if other is attempt]:
        del call.attempts[leg_id]
