"""Taking a call that rings somewhere else: by feature code, or by an INVITE with Replaces (RFC 3891)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softswitch.call.dial import DialState
from softswitch.call.identity import PhoneIdentity

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.dialling import Dialling
    from softswitch.call.leg import Leg
    from softswitch.call.wiring import Wiring

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
        self._members: dict[str, frozenset[str]] = {}
        for group in wiring.office.ring_groups:
            for member in group.members:
                known = self._members.get(member, frozenset())
                self._members[member] = known | frozenset(group.members)

    def take(self, picker: Call, extension: str | None = None) -> bool:
        """Let `picker`'s caller have the call that has rung longest at `extension`, by default at those
        who share a ring group with him. False: nothing rings there that he may have."""
        identity = picker.identity
        if not isinstance(identity, PhoneIdentity):
            return False
        if extension is not None:
            wanted = frozenset({extension})
        else:
            wanted = self._members.get(identity.extension, frozenset()) - {identity.extension}
        for ringing in self._control.calls:
            if ringing is not picker and self._rings_at(ringing, wanted) is not None:
                return self.take_call(picker, ringing)
        return False

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
