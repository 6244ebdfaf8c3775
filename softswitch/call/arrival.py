"""A call that comes in: who calls whom, as far as it is proven, and whether it may begin at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.call.call import MAX_FORWARDS
from softswitch.call.diversion import diversions_of
from softswitch.call.identity import PhoneIdentity, TrunkIdentity
from softswitch.call.leg import Leg
from softswitch.call.shown import Shown
from softswitch.call.trunk_identity import Caller, called_of, caller_of, wants_privacy
from softswitch.errors import RemoteProtocolError

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.dialplan import Dialplan
    from softswitch.call.table import CallTable
    from softswitch.call.trunks import Trunks
    from softswitch.call.wiring import Wiring
    from softswitch.sip.events import InviteReceived
    from softswitch.sip.message import SipRequest

Refuse = Callable[["Call", int, str], None]


class Arrivals:
    """Makes a `Call` of an INVITE, or refuses it.

    Parameters: `refuse(call, status, why)` ends a call that has begun.
    """

    def __init__(
        self,
        wiring: Wiring,
        control: CallControl,
        table: CallTable,
        trunks: Trunks,
        dialplan: Dialplan,
        refuse: Refuse,
    ) -> None:
        self._wiring = wiring
        self._control = control
        self._table = table
        self._trunks = trunks
        self._dialplan = dialplan
        self._refuse = refuse

    def invited(self, event: InviteReceived) -> None:
        """One INVITE outside any dialog; the gate has proven its sender."""
        wiring, identity = self._wiring, event.identity
        assert isinstance(identity, PhoneIdentity | TrunkIdentity)
        leg_id = wiring.next_number()
        try:
            number_to, caller = self._parties(event.request, identity)
        except RemoteProtocolError as error:
            wiring.stack.reject(event.session, error.status_hint or 400, now_s=wiring.now_s())
            return
        if isinstance(identity, TrunkIdentity) and not self._take_trunk(identity.trunk):
            busy = (("Retry-After", "5"),)
            wiring.stack.reject(event.session, 503, headers=busy, now_s=wiring.now_s())
            return
        call = self._control.new_call(identity, caller.number, number_to, caller.name)
        call.hidden = caller.hidden
        hops = event.request.max_forwards
        if hops is not None:  # 0 has been refused
            call.max_forwards = min(hops - 1, MAX_FORWARDS)
        if isinstance(identity, TrunkIdentity):
            call.trunks_taken.append(identity.trunk)
            call.diversions = diversions_of(event.request)
        leg = Leg.incoming(wiring, call, leg_id, event, label=_label(identity))
        leg.who = Shown(call.caller_name, call.number_from)
        leg.told = call.number_to
        call.caller = leg
        self._table.enter(call)
        self._table.adopt(call, leg)
        self._begin(call, event)

    def _begin(self, call: Call, event: InviteReceived) -> None:
        problem = call.caller.offer_problem()
        if problem is not None:
            self._refuse(call, problem, "offer")
            return
        replaces = event.request.headers.get("Replaces")
        if replaces is not None:
            status = self._control.pick_ups.replace(call, replaces)
            if status is not None:
                self._refuse(call, status, "Replaces")
            return
        self._control.running.came_in(call)
        self._control.route(call, self._dialplan.route(call.number_to, call.identity))

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
        return request.called, caller

    def _take_trunk(self, name: str) -> bool:
        trunk = self._trunks.named(name)
        return trunk is not None and trunk.load.take(self._wiring.now_s())


def _label(identity: PhoneIdentity | TrunkIdentity) -> str:
    if isinstance(identity, PhoneIdentity):
        return f"extension:{identity.extension}"
    return f"trunk:{identity.trunk}"
