"""Performs what `Dial` decides: starts and ends legs, tells the caller, joins the winner."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

from media.errors import MediaError
from softswitch.call.dial import Dial
from softswitch.call.endpoint import Outcome, PhoneEndpoint, Step, TrunkEndpoint
from softswitch.call.events import (
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
from softswitch.errors import SoftswitchError
from softswitch.sip.credentials import Credentials
from softswitch.sip.flow import Flow
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.uri import NameAddr, SipUri

if TYPE_CHECKING:
    from softswitch.call.audio import CallAudio
    from softswitch.call.call import Call
    from softswitch.call.trunks import Trunks
    from softswitch.call.wiring import Wiring


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
        self._adopt = adopt
        self._drop = drop
        self._connected = connected
        self._finished = finished
        self._audio = audio

    def start(self, call: Call, steps: tuple[Step, ...], *, ringback: bool = True) -> None:
        """Begin an attempt on behalf of `call`'s caller; with `ringback` he hears it ring even if he
        has been answered already."""
        call.ringback_wanted = ringback
        dial = Dial(steps, self._wiring.next_number)
        call.dial_machine = dial
        self._perform_all(call, dial, dial.start())

    def feed(self, call: Call, event: DialEvent) -> None:
        """One event for the call's current attempt, if there is one."""
        dial = call.dial_machine
        if dial is not None:
            self._perform_all(call, dial, dial.handle(event))

    def _perform_all(self, call: Call, dial: Dial, effects: list[DialEffect]) -> None:
        # A leg that cannot even start is an event of its own: worked off in order, never nested.
        waiting: deque[DialEffect] = deque(effects)
        while waiting:
            event = self._perform(call, dial, waiting.popleft())
            if event is not None:
                waiting.extend(dial.handle(event))

    def _perform(self, call: Call, dial: Dial, effect: DialEffect) -> DialEvent | None:
        match effect:
            case StartLeg():
                return self._start_leg(call, effect)
            case EndLeg():
                self._end_leg(call, effect)
            case RingCaller():
                self._ring_caller(call, effect)
            case ConnectCaller():
                self._audio.stop_ringback(call)
                self._connected(call, call.legs[effect.leg])
            case StartTimer():
                self._start_timer(call, dial, effect)
            case Finish():
                if call.dial_machine is dial:
                    call.dial_machine = None
                self._audio.stop_ringback(call)
                self._finished(call, effect.outcome)
            case _:
                assert_never(effect)
        return None

    def _start_timer(self, call: Call, dial: Dial, effect: StartTimer) -> None:
        def expire() -> None:
            if call.dial_machine is dial:
                self.feed(call, TimerExpired(effect.name, effect.generation))
                self._wiring.pump()

        call.timers.append(asyncio.get_running_loop().call_later(effect.after_s, expire))

    def _end_leg(self, call: Call, effect: EndLeg) -> None:
        leg = call.legs.get(effect.leg)
        if leg is None:
            return
        if effect.elsewhere:
            cause = ReasonHeader("SIP", 200, "Call completed elsewhere")
        else:
            cause = ReasonHeader("Q.850", effect.q850)
        leg.hang_up(cause)
        self._drop(call, leg, "switch", 200 if leg.answered else 487, effect.q850)

    def _ring_caller(self, call: Call, effect: RingCaller) -> None:
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

    def _start_leg(self, call: Call, effect: StartLeg) -> DialEvent | None:
        endpoint = effect.endpoint
        try:
            if isinstance(endpoint, PhoneEndpoint):
                plan = self._plan_phone(call, endpoint)
            else:
                plan = self._plan_trunk(call, endpoint)
            prefer = call.caller.offered_codecs()
            leg = Leg.outgoing(
                self._wiring, call, effect.leg, plan, prefer=prefer, silence_s=effect.silence_s
            )
        except (SoftswitchError, MediaError) as error:
            return LegFailed(effect.leg, 503, str(error))
        self._adopt(call, leg)
        return None

    def _plan_phone(self, call: Call, endpoint: PhoneEndpoint) -> LegPlan:
        office = self._wiring.office.office
        caller = SipUri("sip", call.number_from or "anonymous", office.domain)
        callee = SipUri("sip", endpoint.extension, office.domain)
        return LegPlan(
            label=endpoint.label,
            target=endpoint.contact_uri,
            flow=Flow(*endpoint.flow_key),
            from_=NameAddr(str(caller), call.caller_name or None),
            to=NameAddr(str(callee), None),
            media_by_source=True,
        )

    def _plan_trunk(self, call: Call, endpoint: TrunkEndpoint) -> LegPlan:
        trunk = self._trunks.named(endpoint.trunk)
        if trunk is None:
            raise SoftswitchError(f"trunk {endpoint.trunk} does not exist")
        if not trunk.load.take(self._wiring.now_s()):
            raise SoftswitchError(f"trunk {endpoint.trunk} is full")
        call.trunks_taken.append(endpoint.trunk)
        host, port = trunk.remote
        # The identity shown outside is one that the office owns (configuration), never what a
        # phone wrote; a call in transit keeps the number its trunk vouched for.
        shown = call.number_from or "anonymous"
        if isinstance(call.identity, PhoneIdentity) and trunk.config.caller_id:
            shown = trunk.config.caller_id
        own = self._wiring.office.office.domain
        credentials = None
        if trunk.config.username:
            credentials = Credentials(trunk.config.username, trunk.config.password or "")
        return LegPlan(
            label=endpoint.label,
            target=str(SipUri("sip", endpoint.number, host, port)),
            flow=self._wiring.flow_to(trunk.remote, trunk.config.transport),
            from_=NameAddr(str(SipUri("sip", shown, own)), call.caller_name or None),
            to=NameAddr(str(SipUri("sip", endpoint.number, host, port)), None),
            credentials=credentials,
            permitted_hosts=self._trunks.hosts(trunk),
            follow_contact=True,
        )
