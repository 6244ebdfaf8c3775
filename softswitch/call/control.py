"""Call control: the table of calls, and the one place where SIP, media and dialling events meet."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from media import protocol as media_events
from softswitch.call.audio import CallAudio, PromptShelf
from softswitch.call.call import Call
from softswitch.call.dialling import Dialling
from softswitch.call.dialplan import Dialplan, Refused, Route, ToTrunks
from softswitch.call.endpoint import Outcome, Step
from softswitch.call.events import CallerEnded, LegAnswered, LegEnded, LegFailed, LegRang
from softswitch.call.forwarding import (
    FORWARDS_MAX,
    forward_after,
    forward_at_once,
    redirection_of,
    ring_s_of,
)
from softswitch.call.identity import Identity, PhoneIdentity, TrunkIdentity
from softswitch.call.info import HIDDEN_DIGIT, digit_of_info
from softswitch.call.leg import Leg
from softswitch.call.office_calls import OfficeCalls
from softswitch.call.pick_up import PickUps
from softswitch.call.running import APOLOGY, Apps, Running
from softswitch.call.steps import (
    RING_S_DEFAULT,
    Registered,
    steps_to_extension,
    steps_to_ring_group,
    steps_to_trunks,
)
from softswitch.call.transfer import Transfers
from softswitch.call.trunk_identity import Caller, called_of, caller_of, wants_privacy
from softswitch.config import Destination
from softswitch.errors import CallError, RemoteProtocolError
from softswitch.sip import events as sip_events
from softswitch.sip.causes import q850_of_status
from softswitch.sip.reason import ReasonHeader

if TYPE_CHECKING:
    from softswitch.call.trunks import Trunks
    from softswitch.call.wiring import Wiring
    from softswitch.config import Customer
    from softswitch.sip.message import SipRequest

_log = logging.getLogger("softswitch.call")


class CallControl:
    """Owns every call of the exchange.

    Parameters: `dialplan` says where a number goes, `registered` where an extension's phones are;
    `apps` answer destinations by kind (``echo``, ``ivr``, ``queue``...).
    """

    def __init__(
        self,
        wiring: Wiring,
        *,
        dialplan: Dialplan,
        registered: Registered,
        trunks: Trunks,
        prompts: PromptShelf,
        apps: Apps,
    ) -> None:
        self._wiring = wiring
        self._dialplan = dialplan
        self._registered = registered
        self._trunks = trunks
        self.audio = CallAudio(wiring, prompts)
        self.running = Running(self, apps)
        self._extensions = {e.number: e for e in wiring.office.extensions}
        self._calls: dict[str, Call] = {}
        self._sessions: dict[int, tuple[Call, Leg]] = {}
        self._streams: dict[int, tuple[Call, Leg]] = {}
        self._closing: dict[int, tuple[str, int]] = {}
        self._dialling = Dialling(
            wiring,
            trunks,
            adopt=self._adopt,
            drop=self._drop,
            connected=self.connect_partner,
            finished=self._dial_finished,
            audio=self.audio,
        )
        self.transfers = Transfers(wiring, self, dialplan)
        self.office_calls = OfficeCalls(wiring, self, self._dialling, dialplan, registered)
        self.pick_ups = PickUps(wiring, self, self._dialling)
        self.broken = 0
        self.total = 0

    # -- from the SIP side -----------------------------------------------------------------------

    def handle_sip(self, event: sip_events.SipEvent, now_s: float) -> bool:
        """One event of the stack; False when it is not about a call."""
        match event:
            case sip_events.InviteReceived():
                self._invited(event)
            case sip_events.RequestReceived() | sip_events.ResponseReceived():
                return False
            case sip_events.RequestFailed():
                return False
            case sip_events.SubscriptionEnded() | sip_events.NotifyReceived():
                return False
            case _:
                known = self._sessions.get(event.session)
                if known is not None:
                    self._leg_event(*known, event)
        return True

    def break_call(self, session: int, error: Exception) -> None:
        """A handler failed on an event of this session: that call ends, the exchange goes on."""
        self.broken += 1
        known = self._sessions.get(session)
        if known is not None:
            self.end_call(known[0], by="switch", q850=41, status=500, outcome="failed")
        else:
            self._wiring.stack.hang_up(session, now_s=self._wiring.now_s())

    def _invited(self, event: sip_events.InviteReceived) -> None:
        wiring = self._wiring
        request, identity = event.request, event.identity
        assert isinstance(identity, PhoneIdentity | TrunkIdentity)
        leg_id = wiring.next_number()
        try:
            number_to, caller = self._parties(request, identity)
        except RemoteProtocolError as error:
            wiring.stack.reject(event.session, error.status_hint or 400, now_s=wiring.now_s())
            return
        if isinstance(identity, TrunkIdentity) and not self._take_trunk(identity.trunk):
            wiring.stack.reject(
                event.session, 503, headers=(("Retry-After", "5"),), now_s=wiring.now_s()
            )
            return
        call = self.new_call(identity, caller.number, number_to, caller.name)
        call.hidden = caller.hidden
        if isinstance(identity, TrunkIdentity):
            call.trunks_taken.append(identity.trunk)
        leg = Leg.incoming(wiring, call, leg_id, event, label=_label(identity))
        call.caller = leg
        self.enter(call)
        self._adopt(call, leg)
        problem = leg.offer_problem()
        if problem is not None:
            self._refuse(call, problem, "offer")
            return
        replaces = request.headers.get("Replaces")
        if replaces is not None:
            status = self.pick_ups.replace(call, replaces)
            if status is not None:
                self._refuse(call, status, "Replaces")
            return
        self.route(call, self._dialplan.route(number_to, identity))

    def _parties(
        self, request: SipRequest, identity: PhoneIdentity | TrunkIdentity
    ) -> tuple[str, Caller]:
        """The number called, and who calls as far as it is proven. Raises `RemoteProtocolError`."""
        if isinstance(identity, TrunkIdentity):
            trunk = self._trunks.named(identity.trunk)
            if trunk is not None:
                return called_of(request, trunk.config), caller_of(request, trunk.config)
        name = request.from_.display_name or ""
        number = identity.extension if isinstance(identity, PhoneIdentity) else ""
        caller = Caller(number, name, wants_privacy(request))
        return request.request_uri.username or "", caller

    def new_call(
        self, identity: Identity, number_from: str, number_to: str, caller_name: str
    ) -> Call:
        """A call that is not in the table yet; `enter` puts it there."""
        wiring = self._wiring
        return Call(
            self,
            call_id=f"c{int(wiring.wall_s() * 1000):x}-{wiring.token()[:6]}",
            number=wiring.next_number(),
            identity=identity,
            number_from=number_from[:64],
            number_to=number_to[:64],
            caller_name=caller_name[:64],
            started_at_s=wiring.wall_s(),
            language=wiring.office.office.language,
        )

    def enter(self, call: Call) -> None:
        """The call begins."""
        self.total += 1
        self._calls[call.call_id] = call
        self._wiring.records.started(call, call.started_at_s)

    def _take_trunk(self, name: str) -> bool:
        trunk = self._trunks.named(name)
        return trunk is not None and trunk.load.take(self._wiring.now_s())

    def _leg_event(self, call: Call, leg: Leg, event: sip_events.SipEvent) -> None:
        match event:
            case sip_events.Progressed():
                early = leg.take_early_media(event.sdp) if event.sdp else False
                if not leg.rang:
                    leg.rang = True
                    self._wiring.records.leg_ringing(call, leg, self._wiring.wall_s())
                self._dialling.feed(call, LegRang(leg.leg_id, early))
            case sip_events.Answered():
                self._callee_answered(call, leg, event)
            case sip_events.Failed():
                call.redirected_to = redirection_of(event.response)
                self._drop(call, leg, "remote", event.status, q850_of_status(event.status))
                self._dialling.feed(call, LegFailed(leg.leg_id, event.status, event.reason))
            case sip_events.Cancelled():
                self._caller_left(call, "caller", _cause(event.cause), status=487)
            case sip_events.Ended():
                self._leg_over(call, leg, event)
            case sip_events.Confirmed():
                if event.sdp is not None and not leg.take_answer(event.sdp):
                    self.end_call(call, by="switch", q850=65, status=488, outcome="failed")
            case sip_events.ReofferReceived():
                self._reoffered(call, leg, event)
            case sip_events.ReofferAnswered():
                if event.sdp is not None:
                    leg.take_answer(event.sdp)
            case sip_events.InfoReceived():
                digit = digit_of_info(event.content_type, event.body)
                if digit:
                    self._digit(call, leg, digit)
            case _:
                pass

    def _callee_answered(self, call: Call, leg: Leg, event: sip_events.Answered) -> None:
        if event.sdp is None or not leg.take_answer(event.sdp):
            leg.hang_up(ReasonHeader("Q.850", 65, "No common codec"))
            self._drop(call, leg, "switch", 488, 65)
            self._dialling.feed(call, LegFailed(leg.leg_id, 488))
            return
        leg.answered = True
        self._wiring.records.leg_answered(call, leg, self._wiring.wall_s())
        self._dialling.feed(call, LegAnswered(leg.leg_id))

    def _leg_over(self, call: Call, leg: Leg, event: sip_events.Ended) -> None:
        q850 = _cause(event.cause)
        by = "timer" if event.by == "timer" else "remote"
        if leg is call.caller:
            self._caller_left(call, "caller" if by == "remote" else by, q850)
            return
        was_partner = leg is call.partner
        self._drop(call, leg, by, 200, q850)
        if call.dial_machine is not None or leg.leg_id in call.attempts:
            self._dialling.feed(call, LegEnded(leg.leg_id, by, q850))
        elif was_partner:
            self.end_call(call, by="callee", q850=q850)

    def _caller_left(self, call: Call, by: str, q850: int, status: int = 200) -> None:
        self._drop(call, call.caller, by, status, q850)
        if call.dial_machine is not None:
            self._dialling.feed(call, CallerEnded(by, q850))
        if not call.ended:
            answered = call.answered_at_s is not None
            outcome = "answered" if answered else "cancelled"
            self.end_call(call, by=by, q850=q850, status=status, outcome=outcome)

    def _reoffered(self, call: Call, leg: Leg, event: sip_events.ReofferReceived) -> None:
        was_held = leg.held
        if not leg.answer_reoffer(event.sdp):
            return
        if leg.held != was_held:
            self._wiring.records.held(call, leg, self._wiring.wall_s(), on=leg.held)
            self.audio.entertain(call, leg)

    # -- routing ---------------------------------------------------------------------------------

    def route(self, call: Call, route: Route) -> None:
        """Send a fresh call where the dialplan says."""
        match route:
            case Refused():
                self._refuse(call, route.status, route.why)
            case ToTrunks():
                self._record_route(call, "trunk", route.number)
                self._dialling.start(call, steps_to_trunks(route))
            case Destination("extension"):
                self._record_route(call, route.kind, route.name)
                self._ring_extension(call, route.name)
            case Destination("ring_group"):
                self._record_route(call, route.kind, route.name)
                self._dialling.start(call, self._steps(route, RING_S_DEFAULT))
            case Destination("hangup") if call.caller.answered:
                self.end_call(call, by="switch", q850=16)
            case Destination("hangup"):
                self._refuse(call, 480, "hang up")
            case Destination("number"):
                rights = call.forwarded_by or ""
                self.route(call, self._dialplan.forward_rights(route.name, rights))
            case Destination():
                self._record_route(call, route.kind, route.name)
                self._start_app(call, route)

    def _ring_extension(self, call: Call, number: str) -> None:
        extension = self._extensions[number]
        at_once = forward_at_once(extension)
        if at_once is not None and self._forward(call, number, at_once):
            return
        call.ringing_extension = number
        self._dialling.start(
            call, steps_to_extension(self._registered, number, ring_s_of(extension))
        )

    def _forward(self, call: Call, by: str, to: Destination) -> bool:
        """Send the call on with the rights of the extension that forwards; False: too many times."""
        if call.forwards >= FORWARDS_MAX:
            return False
        call.forwards += 1
        call.forwarded_by = by
        call.ringing_extension = None
        self._wiring.records.forwarded(call, self._wiring.wall_s(), by, str(to))
        self.route(call, to)
        return True

    def _record_route(self, call: Call, kind: str, name: str) -> None:
        self._wiring.records.routed(call, self._wiring.wall_s(), kind, name)

    def _steps(self, destination: Destination, ring_s: float) -> tuple[Step, ...]:
        if destination.kind == "ring_group":
            return steps_to_ring_group(self._wiring.office, self._registered, destination.name)
        return steps_to_extension(self._registered, destination.name, ring_s)

    def destination(self, call: Call, text: str) -> Route:
        """Where `Call.transfer` sends a call. Raises `CallError` for nowhere."""
        found = self._dialplan.onward(text, call.identity)
        if isinstance(found, Refused):
            raise CallError(f"{text} is nowhere to go: {found.why}")
        return found

    def customer_of(self, number: str) -> Customer | None:
        """Whose number this is."""
        return self._dialplan.customer_of(number)

    def _start_app(self, call: Call, route: Destination) -> None:
        if not self.running.has(route.kind):
            self._refuse(call, 501, f"no application for {route.kind}")
            return
        self.transfers.reached(call)
        self.running.start(call, route)

    def _refuse(self, call: Call, status: int, why: str) -> None:
        _log.info("call %s refused: %s (%d)", call.call_id, why, status)
        if call.caller.answered and self.running.has(APOLOGY):
            self.running.start(call, Destination(APOLOGY, "unreachable"))
            return
        self.end_call(
            call, by="switch", q850=q850_of_status(status), status=status, outcome="rejected"
        )

    # -- dialling --------------------------------------------------------------------------------

    def dial_destinations(
        self, call: Call, targets: tuple[str, ...], ring_s: float, *, ringback: bool = True
    ) -> None:
        """For `Call.dial`: destinations that ring together on behalf of the caller."""
        steps: list[Step] = []
        for target in targets:
            kind, colon, name = target.partition(":")
            if colon and kind in ("extension", "ring_group"):
                steps.extend(self._steps(Destination(kind, name), ring_s))
                continue
            route = self._dialplan.route(target, call.identity)
            if isinstance(route, ToTrunks):
                steps.extend(steps_to_trunks(route))
            elif isinstance(route, Destination) and route.kind in ("extension", "ring_group"):
                steps.extend(self._steps(route, ring_s))
            else:
                raise CallError(f"{target} is not something that can be rung")
        together = tuple(e for step in steps for e in step.endpoints)
        merged = (Step(together, ring_s),) if together and len(targets) > 1 else tuple(steps)
        self._dialling.start(call, merged, ringback=ringback)
        self._wiring.pump()

    def _adopt(self, call: Call, leg: Leg) -> None:
        call.legs[leg.leg_id] = leg
        if leg.session is not None:
            self._sessions[leg.session] = (call, leg)
        if leg.stream is not None:
            self._streams[leg.stream.stream_id] = (call, leg)
        leg.on_stream = self._stream_opened
        leg.on_stream_closed = self._forget_stream
        self._wiring.records.leg_started(call, leg, self._wiring.wall_s())

    def _stream_opened(self, call: Call, leg: Leg, stream_id: int) -> None:
        self._streams[stream_id] = (call, leg)

    def _drop(self, call: Call, leg: Leg, by: str, status: int, q850: int) -> None:
        if call.legs.pop(leg.leg_id, None) is None:
            return
        if leg.session is not None:
            self._sessions.pop(leg.session, None)
        if leg is call.caller or leg is call.partner:
            self.audio.stop_recording(call)  # before its streams go, so that it ends as wanted
        if call.partner is leg:
            call.partner = None
            if not call.ended and call.caller.leg_id in call.legs:
                call.caller.tune()
        if leg.stream is not None:
            self._streams.pop(leg.stream.stream_id, None)
            self._closing[leg.stream.stream_id] = (call.call_id, leg.leg_id)
            self._wiring.plane.release(leg.stream.stream_id)
        self._wiring.records.leg_ended(
            call, leg, self._wiring.wall_s(), by=by, status=status, q850=q850
        )
        leg.parted()

    def _forget_stream(self, stream_id: int) -> None:
        self._streams.pop(stream_id, None)

    def drop_leg(self, call: Call, leg: Leg, by: str, status: int, q850: int) -> None:
        """Forget a leg whose session has been ended; its stream and its record are closed."""
        self._drop(call, leg, by, status, q850)

    def move_leg(self, leg: Leg, source: Call, target: Call) -> None:
        """A leg changes its call (attended transfer); trunks it uses are counted there from now on."""
        source.legs.pop(leg.leg_id)
        target.legs[leg.leg_id] = leg
        leg.moved_to(target)
        if leg.session is not None:
            self._sessions[leg.session] = (target, leg)
        if leg.stream is not None:
            self._streams[leg.stream.stream_id] = (target, leg)
        now, records = self._wiring.wall_s(), self._wiring.records
        records.leg_ended(source, leg, now, by="transfer", status=200, q850=16)
        records.leg_started(target, leg, now)
        records.leg_answered(target, leg, now)
        target.trunks_taken += source.trunks_taken
        source.trunks_taken = []

    def connect_partner(self, call: Call, leg: Leg) -> None:
        """`leg` has answered: it is joined to the caller, who is answered where that is due."""
        call.partner = leg
        self.answer_caller(call, leg.codec)
        if not call.ended:
            self.transfers.reached(call)
            self.join(call)

    def join(self, call: Call) -> None:
        """Let caller and partner hear each other, recorded where the office wants it."""
        caller, partner = call.caller, call.partner
        if partner is None or caller.stream is None or partner.stream is None:
            return
        if caller.stream.worker != partner.stream.worker:
            partner.rehome()
        caller.tune()
        self._wiring.plane.connect(caller.stream.stream_id, partner.stream.stream_id)
        if call.to_be_recorded or self._wiring.office.recording.calls == "all":
            self.audio.start_recording(call)

    def _dial_finished(self, call: Call, outcome: Outcome) -> None:
        if call.dial_finished(outcome) or call.ended:
            return
        rung, call.ringing_extension = call.ringing_extension, None
        if rung is not None and outcome.result not in ("answered", "cancelled"):
            redirected, call.redirected_to = call.redirected_to, None
            onward = forward_after(self._extensions[rung], outcome)
            if redirected is not None:
                # Not where it says, but the number it names: dialled with that extension's rights.
                onward = Destination("number", redirected)
            if onward is not None and self._forward(call, rung, onward):
                return
        if not outcome.answered and self.transfers.failed(call, outcome):
            return
        if outcome.answered:
            self.end_call(
                call, by=outcome.by, q850=outcome.q850, status=200, outcome=outcome.result
            )
        elif self._apologises(call, outcome):
            self.running.start(call, Destination(APOLOGY, outcome.result))
        else:
            by = outcome.by or "callee"
            self.end_call(
                call, by=by, q850=outcome.q850, status=outcome.status, outcome=outcome.result
            )

    def _apologises(self, call: Call, outcome: Outcome) -> bool:
        """Whether the caller is to be told in words: no status can tell him who was answered before,
        by a menu for one."""
        return call.caller.answered and outcome.result != "cancelled" and self.running.has(APOLOGY)

    # -- verbs used by handlers and by this class ----------------------------------------------------

    def ring_caller(self, call: Call) -> None:
        if not call.caller.answered:
            call.caller.ring()
            self._wiring.pump()

    def early_media(self, call: Call) -> None:
        """Let a caller who has not been answered hear what is played to him (183, RFC 3960 3.2)."""
        if not call.caller.answered:
            codecs = call.caller.offered_codecs()
            call.caller.ring(early_codec=codecs[0] if codecs else None)
            self._wiring.pump()

    def pump(self) -> None:
        """Send what the stack has been told outside one of its events."""
        self._wiring.pump()

    def answer_caller(self, call: Call, codec: str | None = None) -> None:
        """Answer the caller where that is still due."""
        if call.caller.answered:
            return
        if not call.caller.answer(codec):
            self.end_call(call, by="switch", q850=65, status=488, outcome="failed")
            return
        now = self._wiring.wall_s()
        call.answered_at_s = now
        call.answered_monotonic_s = self._wiring.now_s()
        self._wiring.records.leg_answered(call, call.caller, now)
        self._wiring.records.answered(call, now)
        self._wiring.pump()

    def end_call(
        self,
        call: Call,
        *,
        by: str,
        q850: int,
        status: int = 200,
        outcome: str | None = None,
    ) -> None:
        """End every leg and stream of a call, tell its handler, write its record. Idempotent."""
        if call.ended:
            return
        call.ended = True
        self._calls.pop(call.call_id, None)
        for timer in call.timers:
            timer.cancel()
        call.timers.clear()
        call.dial_machine = None
        call.attempts.clear()
        cause = ReasonHeader("Q.850", q850)
        for leg in list(call.legs.values()):
            leg.hang_up(cause, status=status)
            self._drop(call, leg, by if leg is call.caller else "switch", status, q850)
        for name in call.trunks_taken:
            trunk = self._trunks.named(name)
            if trunk is not None:
                trunk.load.give_back()
        if outcome is None:
            outcome = "answered" if call.answered_at_s is not None else "failed"
        talked_s = 0.0
        if call.answered_monotonic_s is not None:
            talked_s = self._wiring.now_s() - call.answered_monotonic_s
        self._wiring.records.ended(
            call,
            self._wiring.wall_s(),
            by=by,
            status=status,
            q850=q850,
            outcome=outcome,
            duration_s=talked_s,
        )
        call.release_waits()
        self._wiring.pump()

    # -- from the media side ---------------------------------------------------------------------

    def handle_media(self, event: media_events.MediaEvent) -> None:
        """One event of the media plane."""
        match event:
            case media_events.DigitReceived():
                known = self._streams.get(event.stream_id)
                if known is not None:
                    self._digit(*known, event.digit)
            case media_events.MediaTimedOut():
                self._media_timed_out(event.stream_id)
            case media_events.PlayFinished():
                known = self._streams.get(event.stream_id)
                if known is not None:
                    known[0].play_finished(event.play_id)
            case media_events.RecordingStopped():
                self.audio.recording_stopped(event)
            case media_events.StreamClosed():
                self._stream_closed(event)
            case media_events.WorkerDied():
                _log.error(
                    "media worker %d died: %d streams, %d recordings; it is being replaced",
                    event.worker,
                    len(event.streams),
                    len(event.recordings),
                )
            case media_events.WorkerReplaced():
                _log.warning("media worker %d is back", event.worker)
            case media_events.CommandRefused():
                _log.error("media plane refused %s: %s", event.command, event.problem)
            case _:
                pass
        self._wiring.pump()

    def _digit(self, call: Call, leg: Leg, digit: str) -> None:
        shown = HIDDEN_DIGIT if call.hides_digits and leg is call.caller else digit
        self._wiring.records.digit(call, leg, self._wiring.wall_s(), shown)
        if leg is call.caller:
            call.digit_pressed(digit)

    def _media_timed_out(self, stream_id: int) -> None:
        known = self._streams.get(stream_id)
        if known is None:
            return
        call, leg = known
        if not leg.answered or leg.held or call.answered_at_s is None:
            return
        _log.info("call %s: no media from %s", call.call_id, leg.label)
        if leg is call.partner and call.outlives_partner:
            leg.hang_up(ReasonHeader("Q.850", 41))
            self._drop(call, leg, "media", 200, 41)
            self._dialling.feed(call, LegEnded(leg.leg_id, "media", 41))
            return
        self.end_call(call, by="media", q850=41, status=200, outcome="answered")

    def _stream_closed(self, event: media_events.StreamClosed) -> None:
        owner = self._closing.pop(event.stream_id, None)
        if owner is not None:
            stats = event.stats
            self._wiring.records.quality(
                owner[0],
                self._wiring.wall_s(),
                owner[1],
                {
                    "packets_in": stats.packets_in,
                    "packets_out": stats.packets_out,
                    "lost": stats.lost,
                    "late": stats.late,
                    "jitter_ms": round(stats.jitter_ms, 2),
                    "round_trip_ms": _rounded(stats.round_trip_ms),
                    "mos": _rounded(stats.mos),
                },
            )

    # -- the whole ---------------------------------------------------------------------------------

    async def stop(self) -> None:
        """End every call (cause 41: the exchange goes) and wait for their handlers."""
        for call in list(self._calls.values()):
            self.end_call(call, by="switch", q850=41, status=503, outcome=None)
        await self.running.stop()

    def leg_of(self, session: int | None) -> tuple[Call, Leg] | None:
        """The call and leg of a session of the stack."""
        return self._sessions.get(session) if session is not None else None

    @property
    def calls(self) -> list[Call]:
        return list(self._calls.values())

    def snapshot(self) -> dict[str, int]:
        """Table sizes: all 0 after the last hang-up, but for `total` and `broken`, which count."""
        return {
            "calls": len(self._calls),
            "legs": sum(len(call.legs) for call in self._calls.values()),
            "sessions": len(self._sessions),
            "streams": len(self._streams),
            "closing_streams": len(self._closing),
            "recordings": self.audio.recordings_open,
            "handlers": len(self.running),
            "total": self.total,
            "broken": self.broken + self.running.broken,
        }


def _label(identity: PhoneIdentity | TrunkIdentity) -> str:
    if isinstance(identity, PhoneIdentity):
        return f"extension:{identity.extension}"
    return f"trunk:{identity.trunk}"


def _cause(reason: ReasonHeader | None) -> int:
    """The Q.850 cause that a Reason header names, 16 (normal) where it names none."""
    if reason is not None and reason.protocol.upper() == "Q.850" and 0 < reason.cause < 128:
        return reason.cause
    return 16


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
