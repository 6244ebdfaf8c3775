"""The course of a call: where the dial plan sends it, and where it goes when nobody has answered there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from softswitch.call.dialplan import Refused, Route, ToTrunks
from softswitch.call.diversion import Diversion
from softswitch.call.endpoint import Outcome, PhoneEndpoint, Step
from softswitch.call.forwarding import DIVERTED_MAX, FORWARDS_MAX, forward_after, ring_s_of
from softswitch.call.identity import PhoneIdentity
from softswitch.call.running import APOLOGY
from softswitch.call.steps import (
    RING_S_DEFAULT,
    Registered,
    steps_to_extension,
    steps_to_ring_group,
    steps_to_trunks,
)
from softswitch.call.toll_caps import TollCaps
from softswitch.call.turns import Turns
from softswitch.chance import chance
from softswitch.config import Destination
from softswitch.config.derived import FromOffice, extensions_by_number
from softswitch.errors import CallError
from softswitch.sip.causes import q850_of_status

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.dialling import Dialling
    from softswitch.call.dialplan import Dialplan
    from softswitch.call.line import Line, Lines
    from softswitch.call.table import CallTable
    from softswitch.call.wiring import Wiring
    from softswitch.config import Office, RingGroup

# What a caller hears of who does not want to be disturbed, or talks and wants no second call.
_BUSY = Outcome("busy", 486, 17, by="switch")

_log = logging.getLogger("softswitch.call")


class Courses:
    """Sends the calls of a `CallControl` where they are to go."""

    def __init__(
        self,
        wiring: Wiring,
        control: CallControl,
        dialling: Dialling,
        dialplan: Dialplan,
        registered: Registered,
        lines: Lines,
        table: CallTable,
    ) -> None:
        self._wiring = wiring
        self._control = control
        self._dialling = dialling
        self._dialplan = dialplan
        self._all_phones = registered
        self._lines = lines
        self._table = table
        self._caps = TollCaps()
        self._extensions = FromOffice(wiring, extensions_by_number)
        self._groups = FromOffice(wiring, _groups_by_number)
        self._turns = Turns(chance(wiring.token))

    def route(self, call: Call, route: Route) -> None:
        """Send a fresh call where the dialplan says, or one that goes on after a conversation."""
        call.ringing_extension = call.ringing_group = None  # who was rung before has no say in it
        match route:
            case Refused():
                self.refuse(call, route.status, route.why)
            case ToTrunks():
                capped = self._capped(call, self._payer(call), route.number)
                if capped is not None:
                    self.refuse(call, 403, capped)
                    return
                self._record(call, "trunk", route.number)
                self._control.running.goes_out(call, route.number)
                self._dialling.start(call, steps_to_trunks(route))
            case Destination("extension"):
                self._record(call, route.kind, route.name)
                self._ring_extension(call, route.name)
            case Destination("ring_group"):
                self._record(call, route.kind, route.name)
                call.ringing_group = route.name
                self._dialling.start(call, self._steps(call, route, RING_S_DEFAULT))
            case Destination("hangup") if call.caller.answered:
                self._control.end_call(call, by="switch", q850=16)
            case Destination("hangup"):
                self.refuse(call, 480, "hang up")
            case Destination("number"):
                rights = call.forwarded_by or ""
                self.route(call, self._dialplan.forward_rights(route.name, rights))
            case Destination():
                self._record(call, route.kind, route.name)
                self._start_app(call, route)

    @staticmethod
    def _payer(call: Call) -> str:
        """The extension with whose rights a call goes outside, "" for none."""
        number = call.identity.extension if isinstance(call.identity, PhoneIdentity) else ""
        return call.forwarded_by or number

    def _capped(self, call: Call, by: str, number: str) -> str | None:
        """Why a call outside is one too many for whose rights it uses; None if it is not."""
        extension = self._extensions().get(by)
        if extension is None:
            return None
        why = self._caps.refusal(
            by,
            self._wiring.now_s(),
            calls=self._table.legs_of(f"extension:{by}"),
            calls_max=extension.outside_calls,
            dear=self._dialplan.numbering.permission(number) in ("international", "premium"),
            dear_per_h=extension.international_per_h,
        )
        if why is not None:
            _log.warning("extension %s has reached its limit: %s", by, why)
            self._wiring.records.capped(call, self._wiring.wall_s(), by, why)
        return why

    def refuse(self, call: Call, status: int, why: str) -> None:
        """End a call that goes nowhere; who has been answered already is told in words."""
        _log.info("call %s refused: %s (%d)", call.call_id, why, status)
        self._wiring.records.refused(call, self._wiring.wall_s(), status, why)
        if call.caller.answered and self._control.running.has(APOLOGY):
            self._control.running.start(call, Destination(APOLOGY, "unreachable"))
            return
        q850 = q850_of_status(status)
        self._control.end_call(call, by="switch", q850=q850, status=status, outcome="rejected")

    def dial(
        self, call: Call, targets: tuple[str, ...], ring_s: float, *, ringback: bool = True
    ) -> None:
        """For `Call.dial`: destinations that ring together on behalf of the caller."""
        steps: list[Step] = []
        for target in targets:
            kind, colon, name = target.partition(":")
            if colon and kind in ("extension", "ring_group"):
                steps.extend(self._steps(call, Destination(kind, name), ring_s))
                continue
            route = self._dialplan.route(target, call.identity)
            if isinstance(route, ToTrunks):
                capped = self._capped(call, self._payer(call), route.number)
                if capped is not None:
                    raise CallError(f"{target} is not called: {capped}")
                self._control.running.goes_out(call, route.number)
                steps.extend(steps_to_trunks(route))
            elif isinstance(route, Destination) and route.kind in ("extension", "ring_group"):
                steps.extend(self._steps(call, route, ring_s))
            else:
                raise CallError(f"{target} is not something that can be rung")
        together = tuple(e for step in steps for e in step.endpoints)
        merged = (Step(together, ring_s),) if together and len(targets) > 1 else tuple(steps)
        self._dialling.start(call, merged, ringback=ringback)

    def steps_on_behalf(
        self, call: Call, number: str, rights: PhoneIdentity, ring_s: float
    ) -> tuple[Step, ...]:
        """Whom to ring when an extension calls `number` while it talks; none where nothing can be rung."""
        for _ in range(FORWARDS_MAX + 1):
            route = self._dialplan.route(number, rights)
            match route:
                case ToTrunks():
                    capped = self._capped(call, rights.extension, route.number)
                    return () if capped is not None else steps_to_trunks(route)
                case Destination("ring_group"):
                    return self._steps(call, route, ring_s)
                case Destination("extension"):
                    onward = self._lines.of(route.name).forward_always
                    if onward is None:
                        return self._steps(call, route, ring_s)
                    if onward.kind not in ("number", "extension", "ring_group"):
                        return ()
                    number, rights = onward.name, PhoneIdentity(route.name)
                case _:
                    return ()
        return ()

    def dialled(self, call: Call, outcome: Outcome) -> None:
        """An attempt to reach somebody, or the conversation that came of it, is over."""
        if call.dial_finished(outcome) or call.ended:
            return
        rung, call.ringing_extension = call.ringing_extension, None
        group, call.ringing_group = call.ringing_group, None
        redirected, call.redirected_to = call.redirected_to, None
        if rung is not None and self._goes_on(call, rung, outcome, redirected):
            return
        if group is not None and self._goes_beyond(call, group, outcome):
            return
        answered = outcome.answered
        if not answered and self._control.transfers.failed(call, outcome):
            return
        if not answered and self._apologises(call, outcome):
            self._control.running.start(call, Destination(APOLOGY, outcome.result))
            return
        status, by = (200, outcome.by) if answered else (outcome.status, "callee")
        self._control.end_call(
            call, by=outcome.by or by, q850=outcome.q850, status=status, outcome=outcome.result
        )

    def _ring_extension(self, call: Call, number: str) -> None:
        extension = self._extensions().get(number)
        if extension is None:
            self.refuse(call, 404, "the extension was removed")
            return
        line = self._lines.of(number)
        at_once = line.forward_always
        if at_once is not None and self._forward(call, number, at_once, "unconditional"):
            return
        call.ringing_extension = number
        if self._wants_no_call(number, line):
            self.dialled(call, _BUSY)
            return
        in_order = extension.ring == "in-order"
        steps = steps_to_extension(self._all_phones, number, ring_s_of(line), in_order=in_order)
        self._dialling.start(call, steps)

    def registered(self, extension: str) -> tuple[PhoneEndpoint, ...]:
        """The phones of an extension that may be rung now."""
        if self._wants_no_call(extension, self._lines.of(extension)):
            return ()
        return self._all_phones(extension)

    def _wants_no_call(self, extension: str, line: Line) -> bool:
        if line.do_not_disturb:
            return True
        return not line.call_waiting and self._table.has_leg(f"extension:{extension}")

    def _goes_on(self, call: Call, rung: str, outcome: Outcome, redirected: str | None) -> bool:
        """Whether the call is forwarded, since the extension that was rung did not take it; `redirected`: to
        where one of its phones has sent it."""
        if outcome.result in ("answered", "cancelled"):
            return False
        extension = self._extensions().get(rung)
        if extension is None:
            return False  # it was removed while it rang
        onward, reason = forward_after(self._lines.of(rung), outcome)
        if redirected is not None and extension.redirects:
            # Not where it says, but the number it names: dialled with that extension's rights.
            onward, reason = Destination("number", redirected), "deflection"
        return onward is not None and self._forward(call, rung, onward, reason)

    def _goes_beyond(self, call: Call, number: str, outcome: Outcome) -> bool:
        """Whether a call that nobody of a ring group has taken goes elsewhere."""
        group = self._groups().get(number)
        if outcome.result in ("answered", "cancelled") or group is None or group.otherwise is None:
            return False
        reason = {"busy": "user-busy", "no-answer": "no-answer"}.get(outcome.result, "unavailable")
        return self._forward(call, number, group.otherwise, reason)

    def _forward(self, call: Call, by: str, to: Destination, reason: str) -> bool:
        """Send the call on with the rights of the extension that forwards; False: too many times, here
        or on its way to us."""
        before = sum(each.counter for each in call.diversions)
        if call.forwards >= FORWARDS_MAX or before >= DIVERTED_MAX:
            return False
        call.forwards += 1
        call.diversions = (Diversion(by, reason), *call.diversions)
        call.forwarded_by = by
        call.ringing_extension = call.ringing_group = None
        self._wiring.records.forwarded(call, self._wiring.wall_s(), by, str(to))
        call.caller.forwarded()
        self.route(call, to)
        return True

    def _apologises(self, call: Call, outcome: Outcome) -> bool:
        """Whether the caller is to be told in words: no status can tell him who was answered before,
        by a menu for one."""
        unheard = call.caller.answered and outcome.result != "cancelled"
        return unheard and self._control.running.has(APOLOGY)

    def _start_app(self, call: Call, route: Destination) -> None:
        if not self._control.running.has(route.kind):
            self.refuse(call, 501, f"no application for {route.kind}")
            return
        self._control.transfers.reached(call)
        self._control.running.start(call, route)

    def _steps(self, call: Call, destination: Destination, ring_s: float) -> tuple[Step, ...]:
        if destination.kind == "ring_group":
            group = self._groups().get(destination.name)
            if group is None:
                return ()  # it was removed
            caller = call.identity.extension if isinstance(call.identity, PhoneIdentity) else ""
            return steps_to_ring_group(group, self._turns.members(group, caller), self.registered)
        return steps_to_extension(self.registered, destination.name, ring_s)

    def _record(self, call: Call, kind: str, name: str) -> None:
        self._wiring.records.routed(call, self._wiring.wall_s(), kind, name)


def _groups_by_number(office: Office) -> dict[str, RingGroup]:
    return {group.number: group for group in office.ring_groups}
