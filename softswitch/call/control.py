"""Call control: the one place where SIP, media and dialling events meet, and the verbs on calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from media.protocol import StreamClosed
from softswitch.call.arrival import Arrivals
from softswitch.call.audio import CallAudio, PromptShelf
from softswitch.call.call import Call
from softswitch.call.course import Courses
from softswitch.call.dialling import Dialling
from softswitch.call.dialplan import Dialplan, Refused, Route
from softswitch.call.in_call import InCalls
from softswitch.call.info import InfoKeys
from softswitch.call.leg_events import LegEvents
from softswitch.call.media_events import MediaEvents
from softswitch.call.office_calls import OfficeCalls
from softswitch.call.pick_up import PickUps
from softswitch.call.running import Apps, Running
from softswitch.call.table import CallTable
from softswitch.call.transfer import Transfers
from softswitch.errors import CallError
from softswitch.sip import events as sip_events
from softswitch.sip.reason import ReasonHeader

if TYPE_CHECKING:
    from media.protocol import MediaEvent
    from softswitch.call.identity import Identity
    from softswitch.call.leg import Leg
    from softswitch.call.line import Lines
    from softswitch.call.steps import Registered
    from softswitch.call.trunks import Trunks
    from softswitch.call.wiring import Wiring
    from softswitch.config import Customer


class CallControl:
    """Owns every call of the exchange.

    Parameters: `dialplan` says where a number goes, `registered` where an extension's phones are;
    `apps` answer destinations by kind (``echo``, ``ivr``, ``queue``...); `lines` are the settings of the
    extensions.
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
        lines: Lines,
    ) -> None:
        self._wiring = wiring
        self._dialplan = dialplan
        self._trunks = trunks
        self.audio = CallAudio(wiring, prompts)
        self.running = Running(self, apps)
        self._table = CallTable(wiring, self.audio)
        self._dialling = Dialling(
            wiring,
            trunks,
            adopt=self._table.adopt,
            drop=self._table.drop,
            connected=self.connect_partner,
            finished=lambda call, outcome: self._courses.dialled(call, outcome),
            audio=self.audio,
        )
        self._courses = Courses(
            wiring, self, self._dialling, dialplan, registered, lines, self._table
        )
        self._arrivals = Arrivals(wiring, self, self._table, trunks, dialplan, self._courses.refuse)
        self._in_calls = InCalls(wiring, self, self._table, self._dialling, dialplan, self._courses)
        self._leg_events = LegEvents(wiring, self, self._table, self._dialling, self._in_calls)
        self._of_legs, self._sessions = self._leg_events.by_type, self._table.sessions
        self._media_events = MediaEvents(
            self, self._table, self._dialling, self._leg_events, self._in_calls, InfoKeys(wiring)
        )
        self.transfers = Transfers(wiring, self, dialplan)
        self.office_calls = OfficeCalls(
            wiring, self, self._dialling, dialplan, self._courses.registered
        )
        self.pick_ups = PickUps(wiring, self, self._dialling)
        self.broken = 0

    # -- events ------------------------------------------------------------------------------------

    def handle_sip(self, event: sip_events.SipEvent, now_s: float) -> bool:
        """One event of the stack; False when it is not about a call."""
        if isinstance(event, sip_events.InviteReceived):
            self._arrivals.invited(event)
            return True
        return self.handle_of_leg(event)

    def handle_of_leg(self, event: sip_events.SipEvent) -> bool:
        """The same of events about a leg that is known; False of all others, an INVITE too."""
        handle = self._of_legs.get(type(event))
        if handle is None:
            return False
        of_leg: Any = event
        known = self._sessions.get(of_leg.session)
        if known is not None:
            handle(*known, event)
        return True

    def handle_media(self, event: MediaEvent) -> None:
        """One event of the media plane."""
        if type(event) is StreamClosed:  # which is only written down; every call has two
            self._table.stream_closed(event)
            return
        self._media_events.handle(event)
        self._wiring.pump()

    def break_call(self, session: int, error: Exception) -> None:
        """A handler failed on an event of this session: that call ends, the exchange goes on."""
        self.broken += 1
        known = self._table.of_session(session)
        if known is not None:
            self.end_call(known[0], by="switch", q850=41, status=500, outcome="failed")
        else:
            self._wiring.stack.hang_up(session, now_s=self._wiring.now_s())

    # -- the beginning of a call -----------------------------------------------------------------

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
        self._table.enter(call)

    def route(self, call: Call, route: Route) -> None:
        """Send a fresh call where the dialplan says."""
        self._courses.route(call, route)

    def dial_destinations(
        self, call: Call, targets: tuple[str, ...], ring_s: float, *, ringback: bool = True
    ) -> None:
        """For `Call.dial`: destinations that ring together on behalf of the caller."""
        self._courses.dial(call, targets, ring_s, ringback=ringback)
        self._wiring.pump()

    def destination(self, call: Call, text: str) -> Route:
        """Where `Call.transfer` sends a call. Raises `CallError` for nowhere."""
        found = self._dialplan.onward(text, call.identity)
        if isinstance(found, Refused):
            raise CallError(f"{text} is nowhere to go: {found.why}")
        return found

    def call_back(self, number: str, extension: str) -> Route:
        """For `Call.call_back`. Raises `CallError` for nowhere."""
        found = self._dialplan.call_back(number, extension)
        if isinstance(found, Refused):
            raise CallError(f"{number} is not called back: {found.why}")
        return found

    def customer_of(self, number: str) -> Customer | None:
        """Whose number this is."""
        return self._dialplan.customer_of(number)

    # -- legs --------------------------------------------------------------------------------------

    def drop_leg(self, call: Call, leg: Leg, by: str, status: int, q850: int) -> None:
        """Forget a leg whose session has been ended; its stream and its record are closed."""
        self._table.drop(call, leg, by, status, q850)

    def move_leg(self, leg: Leg, source: Call, target: Call) -> None:
        """A leg changes its call (attended transfer); trunks it uses are counted there from now on."""
        self._table.move(leg, source, target)

    def connect_partner(self, call: Call, leg: Leg) -> None:
        """`leg` has answered: it is joined to the caller, who is answered where that is due."""
        call.partner = leg
        self.answer_caller(call, leg.codec)
        if not call.ended:
            self.transfers.reached(call)
            self.join(call)
            if call.listening is not None:
                call.listening.partner_came()

    def join(self, call: Call) -> None:
        """Let caller and partner hear each other, recorded where the office wants it."""
        caller, partner = call.caller, call.partner
        if partner is None or caller.stream is None or partner.stream is None:
            return
        if caller.stream.worker != partner.stream.worker:
            partner.rehome()
        caller.tune()
        caller.tell(partner.who)
        partner.tell(caller.who)
        self._wiring.plane.connect(caller.stream.stream_id, partner.stream.stream_id)
        for leg in (caller, partner):
            if (
                leg.held
            ):  # still: who is given a call back after a transfer has put it on hold before
                self.audio.entertain(call, leg)
        wanted = call.to_be_recorded
        if wanted if wanted is not None else self._wiring.office.recording.calls == "all":
            self.audio.start_recording(call)

    # -- verbs used by handlers --------------------------------------------------------------------

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

    def note_held(self, call: Call, leg: Leg, *, on: bool) -> None:
        """Write down that `leg` holds its partner, or no longer does."""
        self._wiring.records.held(call, leg, self._wiring.wall_s(), on=on)

    def pump(self) -> None:
        """Send what the stack has been told outside one of its events."""
        self._wiring.pump()

    def answer_caller(self, call: Call, codec: str | None = None) -> None:
        """Answer the caller where that is still due."""
        if call.caller.answered:
            return
        if not call.caller.answer(codec, call.partner.who if call.partner is not None else None):
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
        self._table.remove(call)
        for timer in call.timers:
            timer.cancel()
        call.timers.clear()
        call.dial_machine = None
        call.attempts.clear()
        self._in_calls.forget(call)
        cause = ReasonHeader("Q.850", q850)
        for leg in list(call.legs.values()):
            leg.hang_up(cause, status=status)
            self._table.drop(call, leg, by if leg is call.caller else "switch", status, q850)
        for name in call.trunks_taken:
            trunk = self._trunks.named(name)
            if trunk is not None:
                trunk.load.give_back()
        self._record_end(call, by, q850, status, outcome)
        call.release_waits()
        self._wiring.pump()

    def _record_end(self, call: Call, by: str, q850: int, status: int, outcome: str | None) -> None:
        talked_s = 0.0
        if call.answered_monotonic_s is not None:
            talked_s = self._wiring.now_s() - call.answered_monotonic_s
        if outcome is None:
            outcome = "answered" if call.answered_at_s is not None else "failed"
        self._wiring.records.ended(
            call,
            self._wiring.wall_s(),
            by=by,
            status=status,
            q850=q850,
            outcome=outcome,
            duration_s=talked_s,
        )

    # -- the whole ---------------------------------------------------------------------------------

    async def stop(self) -> None:
        """End every call (cause 41: the exchange goes) and wait for their handlers."""
        for call in self._table.calls:
            self.end_call(call, by="switch", q850=41, status=503, outcome=None)
        await self.running.stop()

    def leg_of(self, session: int | None) -> tuple[Call, Leg] | None:
        """The call and leg of a session of the stack."""
        return self._table.of_session(session)

    @property
    def calls(self) -> list[Call]:
        return self._table.calls

    def named(self, call_id: str) -> Call | None:
        """A call that goes on, by its id."""
        return self._table.named(call_id)

    @property
    def total(self) -> int:
        """Calls that have begun since the start."""
        return self._table.total

    def snapshot(self) -> dict[str, int]:
        """Table sizes: all 0 after the last hang-up, but for `total` and `broken`, which count."""
        return {
            **self._table.snapshot(),
            "recordings": self.audio.recordings_open,
            "handlers": len(self.running),
            "broken": self.broken + self.running.broken,
        }
