"""Taking a call that rings somewhere else: by feature code, or by an INVITE with Replaces (RFC 3891)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softswitch.call.dial import DialState
from softswitch.call.identity import PhoneIdentity
from softswitch.call.transfer import Replaces
from softswitch.config.derived import FromOffice, extensions_by_number
from softswitch.sip.reason import ReasonHeader

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.dialling import Dialling
    from softswitch.call.leg import Leg
    from softswitch.call.wiring import Wiring
    from softswitch.config import Office

_EXTENSION = "extension:"


class PickUps:
    """Verbs of a `CallControl` for phones that answer in the place of others.

    Only calls that ring extensions by the dialplan are taken; those that a queue offers its agents are
    the queue's to give.
    """

    def __init__(self, wiring: Wiring, control: CallControl, dialling: Dialling) -> None:
        self._wiring = wiring
        self._control = control
        self._dialling = dialling
        self._members = FromOffice(wiring, _members_of)
        self._extensions = FromOffice(wiring, extensions_by_number)

    def take(self, picker: Call, extension: str | None = None) -> bool:
        """Let `picker`'s caller have the call that has rung longest at `extension`, by default at those
        who share a ring group with him. False: nothing rings there that he may have."""
        identity = picker.identity
        if not isinstance(identity, PhoneIdentity):
            return False
        if extension is not None:
            wanted = frozenset({extension})
        else:
            wanted = self._members().get(identity.extension, frozenset()) - {identity.extension}
        wanted = frozenset(each for each in wanted if self._may_take(identity, each))
        for ringing in self._control.calls:
            if ringing is not picker and self._rings_at(ringing, wanted) is not None:
                return self.take_call(picker, ringing)
        return False

    def _may_take(self, identity: PhoneIdentity, extension: str) -> bool:
        """Whether who rings there lets him take it."""
        rung = self._extensions().get(extension)
        if rung is None or rung.pick_up == "all" or extension == identity.extension:
            return True
        shares = self._members().get(extension, frozenset())
        return rung.pick_up == "group" and identity.extension in shares

    def take_call(self, picker: Call, ringing: Call) -> bool:
        """Answer `picker`'s caller and make him the one who took `ringing`; False: too late."""
        dial = ringing.dial_machine
        if dial is None or dial.state is not DialState.HUNTING or ringing.ended or picker.ended:
            return False
        self._control.answer_caller(picker, next(iter(ringing.caller.offered_codecs()), None))
        leg = picker.caller
        if not leg.answered:
            return True  # nothing in common to talk by: that call has been ended
        self._wiring.records.transferred(
            ringing, self._wiring.wall_s(), "pick-up", leg.label, picker.number_to
        )
        self._control.move_leg(leg, picker, ringing)
        self._dialling.take_over(ringing, leg.leg_id)
        self._control.end_call(picker, by="switch", q850=16)
        return True

    def retrieve(self, fetcher: Call, parked: Call) -> bool:
        """Join `fetcher`'s caller to the one who waits in `parked`; False: he has gone, or was fetched."""
        if parked.ended or parked.partner is not None or fetcher is parked:
            return False
        self._control.answer_caller(fetcher, parked.caller.codec)
        leg = fetcher.caller
        if not leg.answered:
            return True
        self._control.audio.silence(parked)
        self._wiring.records.transferred(
            parked, self._wiring.wall_s(), "retrieved", leg.label, fetcher.number_to
        )
        self._control.move_leg(leg, fetcher, parked)
        parked.partner = leg
        self._control.end_call(fetcher, by="switch", q850=16)
        self._control.join(parked)
        return True

    def replace(self, newcomer: Call, value: str) -> int | None:
        """An INVITE with Replaces: its caller takes the place of the leg that `value` names. A call that
        still rings may be taken by any phone of the office, one that is up only by its own extension,
        from another device. The status to refuse with, or None when it is done."""
        identity, replaces = newcomer.identity, Replaces.parse(value)
        if replaces is None:
            return 400
        find = self._wiring.stack.find_session
        call_id, ours, theirs = replaces.call_id, replaces.to_tag, replaces.from_tag
        known = self._control.leg_of(find(call_id, ours, theirs))
        if known is None:
            # Telephones that believe they are calling whom their lamp shows name the dialog from his side.
            known = self._control.leg_of(find(call_id, theirs, ours))
            if known is not None and known[1].answered:
                known = None
        if known is None:
            return 481
        call, old = known
        if not isinstance(identity, PhoneIdentity) or call is newcomer:
            return 403
        if not old.answered:
            if not self._may_take(identity, old.label.removeprefix(_EXTENSION)):
                return 403
            if old is call.caller or not self.take_call(newcomer, call):
                return 481  # RFC 3891 3: an early dialog only where we began it
            return None
        if replaces.early_only:
            return 486
        if old.label != _EXTENSION + identity.extension or call.partner is None:
            return 403
        self._swap(newcomer, call, old)
        return None

    def _swap(self, newcomer: Call, call: Call, old: Leg) -> None:
        control = self._control
        control.answer_caller(newcomer, old.codec)
        leg = newcomer.caller
        if not leg.answered:
            return
        control.audio.stop_recording(call)
        a, b = call.caller, call.partner
        if a.stream is not None and b is not None and b.stream is not None:
            self._wiring.plane.disconnect(a.stream.stream_id, b.stream.stream_id)
        number = old.label.removeprefix(_EXTENSION)
        self._wiring.records.transferred(call, self._wiring.wall_s(), "replaced", old.label, number)
        control.move_leg(leg, newcomer, call)
        if old is call.caller:
            call.caller = leg
        else:
            call.partner = leg
        call.dial_machine = None
        control.end_call(newcomer, by="switch", q850=16)
        old.hang_up(ReasonHeader("SIP", 200, "Replaced"))
        partner = call.partner
        control.drop_leg(call, old, "switch", 200, 16)
        call.partner = partner
        control.join(call)

    @staticmethod
    def _rings_at(call: Call, extensions: frozenset[str]) -> Leg | None:
        dial = call.dial_machine
        if dial is None or dial.state is not DialState.HUNTING:
            return None
        for leg in call.legs.values():
            if leg is not call.caller and leg.leg_id not in call.attempts:
                name = leg.label.removeprefix(_EXTENSION)
                if leg.label.startswith(_EXTENSION) and name in extensions and not leg.answered:
                    return leg
        return None


def _members_of(office: Office) -> dict[str, frozenset[str]]:
    """Extension -> all who share a ring group with it."""
    found: dict[str, frozenset[str]] = {}
    for group in office.ring_groups:
        for member in group.members:
            found[member] = found.get(member, frozenset()) | frozenset(group.members)
    return found
