"""What telephones do by keys while they talk: transfer, a conference of three, the recording's pause.

Performs what `Consultation` decides on the legs of a call.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, assert_never

from softswitch.call import consultation as machine
from softswitch.call.consultation import Consultation, Wish
from softswitch.call.dialplan import Refused
from softswitch.call.identity import PhoneIdentity
from softswitch.call.keys import CodeKeys
from softswitch.call.shown import Shown
from softswitch.config.derived import FromOffice, extensions_by_number
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.course import Courses
    from softswitch.call.dialling import Attempt, Dialling
    from softswitch.call.dialplan import Dialplan
    from softswitch.call.leg import Leg
    from softswitch.call.table import CallTable
    from softswitch.call.wiring import Wiring
    from softswitch.config import Office

RING_S = 60.0
_EXTENSION = "extension:"
_MUSIC = "music:default"
_RINGBACK = "tone:ringback"
_WISHES = {wish.value: wish for wish in Wish}
# Beyond the rooms of handlers and those of the office file.
_ROOMS_FROM = 1 << 33


class Trio:
    """One consultation on a call: who takes part, and what is under way for it."""

    __slots__ = (
        "attempt",
        "calls_third",
        "host",
        "machine",
        "other",
        "paused",
        "room",
        "third",
        "timer",
    )

    def __init__(self, wish: Wish, host: Leg, other: Leg, room: int) -> None:
        self.machine = Consultation(wish)
        self.host = host
        self.other = other
        self.room = room
        self.third: Leg | None = None
        self.attempt: Attempt | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.paused = False  # the recording, by us
        self.calls_third = False


class InCalls:
    """The keys of everybody who talks."""

    def __init__(
        self,
        wiring: Wiring,
        control: CallControl,
        table: CallTable,
        dialling: Dialling,
        dialplan: Dialplan,
        courses: Courses,
    ) -> None:
        self._wiring = wiring
        self._control = control
        self._table = table
        self._dialling = dialling
        self._dialplan = dialplan
        self._courses = courses
        self._codes = FromOffice(wiring, _codes_of)
        self._extensions = FromOffice(wiring, extensions_by_number)

    # -- what legs report --------------------------------------------------------------------------

    def digit(self, call: Call, leg: Leg, digit: str) -> bool:
        """A key of one of the call's telephones; True when it was for us and nobody else."""
        trio = call.trio
        if trio is None:
            return self._code(call, leg, digit)
        if leg is not trio.host:
            return False
        if trio.machine.state is machine.State.ASKING:
            self._feed(call, machine.KeyPressed(digit))
            return True
        wish = _WISHES.get(self._keys(call, leg).press(digit, self._wiring.now_s()) or "")
        if wish is not None:
            self._feed(call, machine.CodePressed(wish))
        return True

    def pass_on(self, call: Call, leg: Leg, digit: str) -> None:
        """Let the one whom a leg talks to have its digit, in the way that he understands."""
        other = _other_of(call, leg)
        if other is not None and other.stream is not None:
            self._control.audio.send_digits(call, digit, other)

    def left(self, call: Call, leg: Leg, by: str, status: int, q850: int) -> bool:
        """A leg has ended, or must be taken for lost. True when the call goes on without it or was
        ended here."""
        trio = call.trio
        if trio is None or (leg is not trio.host and leg is not trio.other):
            return False
        host_left = leg is trio.host
        self._table.drop(call, leg, by, status, q850)
        self._feed(call, machine.HostLeft() if host_left else machine.OtherLeft(), q850)
        return True

    def forget(self, call: Call) -> None:
        """The call is over."""
        trio, call.trio = call.trio, None
        if trio is not None and trio.timer is not None:
            trio.timer.cancel()

    def _keys(self, call: Call, leg: Leg) -> CodeKeys:
        found = call.code_keys.get(leg.leg_id)
        if found is None:
            found = call.code_keys[leg.leg_id] = CodeKeys(self._codes())
        return found

    def _code(self, call: Call, leg: Leg, digit: str) -> bool:
        """Look for a code in what a telephone of the office presses while it talks."""
        other = _other_of(call, leg)
        if other is None or not leg.label.startswith(_EXTENSION) or call.referral is not None:
            return False
        name = self._keys(call, leg).press(digit, self._wiring.now_s())
        if name is None:
            return False
        if name == "record_pause":
            self._pause_or_resume(call, leg)
        elif name == "record":
            audio = self._control.audio
            if not audio.record_no_more(call):
                audio.record_now(call)
        else:
            room = _ROOMS_FROM + self._wiring.next_number()
            call.trio = Trio(_WISHES[name], leg, other, room)
            self._perform(call, call.trio, call.trio.machine.start())
        self._control.pump()
        return True

    def _pause_or_resume(self, call: Call, leg: Leg) -> None:
        audio = self._control.audio
        if call.recording is None:
            return
        paused = audio.is_paused(call)
        if paused:
            audio.resume_recording(call)
        else:
            audio.pause_recording(call)
        said = "recording-resumed" if paused else "recording-paused"
        audio.play(call, said, leg=leg, mix=True)

    # -- the machine -----------------------------------------------------------------------------

    def _feed(self, call: Call, event: machine.Event, q850: int = 16) -> None:
        trio = call.trio
        if trio is not None and not call.ended:
            self._perform(call, trio, trio.machine.handle(event), q850)
            self._control.pump()

    def _perform(
        self, call: Call, trio: Trio, effects: list[machine.Effect], q850: int = 16
    ) -> None:
        if trio.machine.state is machine.State.OVER:
            self.forget(call)
        for effect in effects:
            self._record(call, trio, effect)
            match effect:
                case machine.AskNumber():
                    self._ask(call, trio)
                case machine.WaitForKey():
                    self._wait(call, trio, effect)
                case machine.StopAsking():
                    self._control.audio.stop_play(call, trio.host)
                case machine.SendOn():
                    self._send_on(call, trio, effect.number)
                case machine.CallThird():
                    self._call_third(call, trio, effect.number)
                case machine.DropThird():
                    self._drop_third(call, trio)
                case machine.Join():
                    self._join(call, trio, effect)
                case machine.HandOver():
                    self._hand_over(call, trio, answered=effect.answered)
                case machine.GoOnWithThird():
                    self._go_on_with_third(call, trio)
                case machine.EndCall():
                    self._control.end_call(call, by="callee", q850=q850)
                case _:
                    assert_never(effect)

    def _record(self, call: Call, trio: Trio, effect: machine.Effect) -> None:
        """From when to when somebody consulted a third, and what came of it."""
        records, now_s = self._wiring.records, self._wiring.wall_s()
        if isinstance(effect, machine.CallThird):
            trio.calls_third = True
            records.consulting(call, trio.host, now_s, effect.number)
            return
        match effect:
            case machine.Join(machine.Joined.HOST_AND_OTHER, sorry):
                outcome = "unreached" if sorry else "back"
            case machine.Join(machine.Joined.ALL):
                outcome = "conference"
            case machine.HandOver():
                outcome = "transferred"
            case machine.GoOnWithThird() | machine.EndCall():
                outcome = "other-left"
            case _:
                return
        if trio.calls_third:
            trio.calls_third = False
            records.consulted(call, trio.host, now_s, outcome)

    def _ask(self, call: Call, trio: Trio) -> None:
        audio = self._control.audio
        if call.recording is not None and not audio.is_paused(call):
            trio.paused = audio.pause_recording(call)
        self._part(trio.host, trio.other)
        with contextlib.suppress(CallError):  # an office may take the music away; then it is silent
            audio.play(call, _MUSIC, repeat=True, leg=trio.other)
        audio.play(call, "transfer-number", leg=trio.host)

    def _wait(self, call: Call, trio: Trio, effect: machine.WaitForKey) -> None:
        if trio.timer is not None:
            trio.timer.cancel()

        def expire() -> None:
            if call.trio is trio:
                self._feed(call, machine.KeysTimedOut(effect.generation))

        trio.timer = asyncio.get_running_loop().call_later(effect.after_s, expire)

    def _send_on(self, call: Call, trio: Trio, number: str) -> None:
        self._control.audio.stop_play(call, trio.host)
        self._control.audio.stop_play(call, trio.other)
        route = self._dialplan.route(number, _rights(trio.host))
        if isinstance(route, Refused):
            self._join(call, trio, machine.Join(machine.Joined.HOST_AND_OTHER, sorry=True))
            return
        self._control.audio.play(call, _RINGBACK, repeat=True, leg=trio.host)
        self._control.transfers.send_on(call, trio.host, number, route)

    def _call_third(self, call: Call, trio: Trio, number: str) -> None:
        audio, extension = self._control.audio, trio.host.label.removeprefix(_EXTENSION)
        rights = _rights(trio.host)
        steps = self._courses.steps_on_behalf(call, number, rights, RING_S)
        if not steps:
            self._feed(call, machine.ThirdLeft())
            return
        audio.play(call, _RINGBACK, repeat=True, leg=trio.host)
        trio.attempt = self._dialling.begin_beside(
            call,
            steps,
            connected=lambda leg: self._third_answered(call, trio, leg),
            finished=lambda _: self._third_left(call, trio),
            shown=Shown(self._name_of(extension), extension),
            identity=rights,
        )

    def _name_of(self, extension: str) -> str:
        known = self._extensions().get(extension)
        return known.name if known is not None else ""

    def _third_answered(self, call: Call, trio: Trio, leg: Leg) -> None:
        trio.third = leg
        if call.trio is trio:
            self._feed(call, machine.ThirdAnswered())

    def _third_left(self, call: Call, trio: Trio) -> None:
        if call.trio is trio:
            trio.third = None
            self._feed(call, machine.ThirdLeft())

    def _drop_third(self, call: Call, trio: Trio) -> None:
        if trio.third is not None:
            self._leave_room(trio)
        if trio.attempt is not None:
            self._dialling.give_up(call, trio.attempt)
        trio.third = None

    # -- who hears whom ----------------------------------------------------------------------------

    def _join(self, call: Call, trio: Trio, effect: machine.Join) -> None:
        audio = self._control.audio
        audio.stop_play(call, trio.host)
        match effect.who:
            case machine.Joined.HOST_AND_THIRD:
                assert trio.third is not None
                self._connect(trio.host, trio.third)
            case machine.Joined.ALL:
                audio.stop_play(call, trio.other)
                self._enter_room(trio)
                self._resume_recording(call, trio)
            case machine.Joined.HOST_AND_OTHER:
                audio.stop_play(call, trio.other)
                self._leave_room(trio)
                self._connect(trio.host, trio.other)
                self._resume_recording(call, trio)
                if effect.sorry:
                    audio.play(call, "unavailable", leg=trio.host, mix=True)

    def _resume_recording(self, call: Call, trio: Trio) -> None:
        if trio.paused:
            trio.paused = False
            self._control.audio.resume_recording(call)

    def _hand_over(self, call: Call, trio: Trio, *, answered: bool) -> None:
        """The host has left: the other talks to the third, or hears his phone ring."""
        assert trio.attempt is not None
        records, label = self._wiring.records, trio.host.label
        records.transferred(call, self._wiring.wall_s(), "attended", label, trio.machine.number)
        self._begin_anew(call, trio, trio.other)
        if answered:
            assert trio.third is not None
            call.partner = trio.third
            self._control.join(call)
        else:
            call.transferred_by = label
            self._control.audio.play(call, _RINGBACK, repeat=True)

    def _go_on_with_third(self, call: Call, trio: Trio) -> None:
        assert trio.third is not None
        self._begin_anew(call, trio, trio.host)
        call.partner = trio.third
        self._control.join(call)

    def _begin_anew(self, call: Call, trio: Trio, caller: Leg) -> None:
        """One of two has left: from now on `caller` and the third are the call."""
        assert trio.attempt is not None
        self._control.audio.stop_recording(call)
        self._leave_room(trio)
        call.caller, call.partner = caller, None
        self._control.audio.stop_play(call)
        call.leave_conversation()
        self._dialling.promote(call, trio.attempt)

    def _enter_room(self, trio: Trio) -> None:
        assert trio.third is not None
        self._part(trio.host, trio.third)
        for leg in (trio.host, trio.other, trio.third):
            self._bring_beside(trio.host, leg)
            if leg.stream is not None:
                self._wiring.plane.join_room(trio.room, leg.stream.stream_id)

    def _leave_room(self, trio: Trio) -> None:
        for leg in (trio.host, trio.other, trio.third):
            if leg is not None and leg.stream is not None and leg.is_live:
                self._wiring.plane.leave_room(leg.stream.stream_id)
        if trio.third is not None:
            self._part(trio.host, trio.third)

    def _connect(self, a: Leg, b: Leg) -> None:
        self._bring_beside(a, b)
        if a.stream is not None and b.stream is not None:
            self._wiring.plane.connect(a.stream.stream_id, b.stream.stream_id)

    @staticmethod
    def _bring_beside(a: Leg, b: Leg) -> None:
        if a.stream is not None and b.stream is not None and a.stream.worker != b.stream.worker:
            b.rehome()

    def _part(self, a: Leg, b: Leg) -> None:
        if a.stream is not None and b.stream is not None:
            self._wiring.plane.disconnect(a.stream.stream_id, b.stream.stream_id)


def _other_of(call: Call, leg: Leg) -> Leg | None:
    """Whom a leg talks to; None while it does not."""
    caller, partner = call.caller, call.partner
    if partner is None or not caller.answered or not partner.answered:
        return None
    if leg is caller:
        return partner
    return caller if leg is partner else None


def _codes_of(office: Office) -> dict[str, str]:
    return {getattr(office.codes, name): name for name in (*_WISHES, "record_pause", "record")}


def _rights(host: Leg) -> PhoneIdentity:
    return PhoneIdentity(host.label.removeprefix(_EXTENSION))
