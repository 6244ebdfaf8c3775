"""Transfers by REFER: blind (RFC 3515, RFC 5589 6) and attended (Replaces, RFC 3891, RFC 5589 7).

We are a B2BUA: a REFER is ours to carry out, it is never passed to the other party. The transferor's
rights decide where the call may go; he keeps the call when the transfer fails, and is called back when he has
hung up meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from softswitch.call.dialplan import Dialplan, Refused, Route
from softswitch.call.identity import PhoneIdentity
from softswitch.config import Destination
from softswitch.errors import RemoteProtocolError, SipError
from softswitch.sip.events import RequestReceived
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.status import reason_of
from softswitch.sip.tel import is_tel, number_of
from softswitch.sip.uri import NameAddr

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.endpoint import Outcome
    from softswitch.call.leg import Leg
    from softswitch.call.wiring import Wiring

_RINGBACK = "tone:ringback"
_SIPFRAG = "message/sipfrag;version=2.0"


@dataclass(slots=True)
class Transfer:
    """A transfer under way: who asked for it, and whether he wants to hear of it (RFC 4488)."""

    transferor: Leg
    number: str
    notify: bool
    event: str = "refer"  # of the NOTIFYs, with an id from the second REFER of a dialog on


@dataclass(frozen=True, slots=True)
class Replaces:
    """A dialog named by a Replaces header field, tags as its receiver sees them; `early_only`: only while it
    rings."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    @classmethod
    def parse(cls, value: str) -> Replaces | None:
        call_id, *params = (part.strip(" \t") for part in value.split(";"))
        pairs = (param.partition("=")[::2] for param in params[:8])
        tags = {name.strip(" \t").lower(): value.strip(" \t") for name, value in pairs}
        if not call_id or "to-tag" not in tags or "from-tag" not in tags:
            return None
        return cls(call_id, tags["to-tag"], tags["from-tag"], "early-only" in tags)


class Transfers:
    """Carries REFER requests out on the calls of a `CallControl`."""

    def __init__(self, wiring: Wiring, control: CallControl, dialplan: Dialplan) -> None:
        self._wiring = wiring
        self._control = control
        self._dialplan = dialplan

    def refer(self, event: RequestReceived, now_s: float) -> None:
        """One REFER: answer it, and begin what it asks for."""
        status = self._refer(event, now_s)
        if status is not None:
            self._wiring.stack.respond(event.handle, status, now_s=now_s)

    def _refer(self, event: RequestReceived, now_s: float) -> int | None:
        """The status to refuse with, or None when the REFER has been accepted."""
        known = self._control.leg_of(event.session)
        if known is None:
            return 481 if event.session is not None else 403
        call, leg = known
        targets = event.request.headers.get_all("Refer-To")
        if len(targets) != 1:
            return 400  # RFC 3515 2.4.1
        if not leg.label.startswith("extension:"):
            return 403
        busy = call.referral is not None or call.trio is not None
        if busy or call.partner is None or not leg.answered:
            return 491
        try:
            target = NameAddr.parse(targets[0])
            number = number_of(target.uri_text)
            replaces = None if is_tel(target.uri_text) else _replaces_of(target.uri.headers)
        except RemoteProtocolError as error:
            return error.status_hint or 400
        notify = (event.request.headers.get("Refer-Sub") or "").lower() != "false"
        transfer = Transfer(leg, number, notify, _event_of(event, leg))
        if replaces is not None:
            return self._attended(event, call, transfer, replaces, now_s)
        return self._blind(event, call, transfer, now_s)

    # -- blind ---------------------------------------------------------------------------------------

    def _blind(
        self, event: RequestReceived, call: Call, transfer: Transfer, now_s: float
    ) -> int | None:
        rights = PhoneIdentity(transfer.transferor.label.removeprefix("extension:"))
        route = self._dialplan.route(transfer.number, rights)
        if isinstance(route, Refused):
            return route.status
        self._accept(event, transfer, now_s)
        self._notify(transfer, 100)
        self._begin(call, transfer, route)
        return None

    def send_on(self, call: Call, transferor: Leg, number: str, route: Route) -> None:
        """A blind transfer by keys: `transferor`'s partner goes where `route` says. The transferor may
        stay and have him back should that fail."""
        self._begin(call, Transfer(transferor, number, notify=False), route)

    def _begin(self, call: Call, transfer: Transfer, route: Route) -> None:
        transferor = transfer.transferor
        stays = call.partner if transferor is call.caller else call.caller
        assert stays is not None
        self._control.audio.stop_recording(call)
        self._disconnect(call)
        call.caller, call.partner = stays, None
        call.dial_machine = None
        call.leave_conversation()
        call.referral = transfer
        call.transferred_by = transferor.label
        self._wiring.records.transferred(
            call, self._wiring.wall_s(), "blind", transferor.label, transfer.number
        )
        self._control.audio.play(call, _RINGBACK, repeat=True)
        self._control.route(call, route)

    def reached(self, call: Call) -> None:
        """The target has answered (or an application has taken the call): the transferor may go."""
        transfer, call.referral = call.referral, None
        if transfer is None:
            return
        self._control.audio.stop_play(call)
        self._notify(transfer, 200)
        self._release(call, transfer.transferor)

    def failed(self, call: Call, outcome: Outcome) -> bool:
        """The target was not reached; True when the transferor has the call back, or is being called."""
        transfer, call.referral = call.referral, None
        if transfer is None:
            return False
        self._notify(transfer, outcome.status)
        transferor = transfer.transferor
        if transferor.leg_id not in call.legs:
            return outcome.result != "cancelled" and self._recall(call, transferor)
        self._control.audio.stop_play(call)
        self._control.audio.stop_play(call, transferor)
        call.partner = transferor
        self._control.join(call)
        if not transfer.notify:  # nothing else tells him
            self._control.audio.play(call, "unavailable", leg=transferor, mix=True)
        return True

    def _recall(self, call: Call, transferor: Leg) -> bool:
        """Send who is left to him whose transfer failed after he had hung up; once: `referral` is over."""
        kind, _, number = transferor.label.partition(":")
        if kind != "extension" or not self._wiring.office.sip.transfer_recall:
            return False
        self._wiring.records.transferred(
            call, self._wiring.wall_s(), "recall", transferor.label, number
        )
        self._control.audio.stop_play(call)
        self._control.route(call, Destination("extension", number))
        return True

    # -- attended ------------------------------------------------------------------------------------

    def _attended(
        self,
        event: RequestReceived,
        call: Call,
        transfer: Transfer,
        replaces: Replaces,
        now_s: float,
    ) -> int | None:
        find = self._wiring.stack.find_session
        session = find(replaces.call_id, replaces.to_tag, replaces.from_tag)
        known = self._control.leg_of(session)
        if known is None or known[1].label != transfer.transferor.label:
            return 481
        consultation, second = known
        if consultation is call:
            return 400
        target = consultation.partner if second is consultation.caller else consultation.caller
        if target is None or not target.answered:
            # He lets go while the target still rings: the same as a blind transfer to that number.
            transfer.number = consultation.number_to
            refused = self._blind(event, call, transfer, now_s)
            if refused is None:
                self._control.end_call(consultation, by="caller", q850=16, status=487)
            return refused
        self._accept(event, transfer, now_s)
        transferor = transfer.transferor
        stays = call.partner if transferor is call.caller else call.caller
        assert stays is not None
        self._control.audio.stop_recording(call)
        self._disconnect(call)
        records, at_s = self._wiring.records, self._wiring.wall_s()
        records.consulted(call, transferor, at_s, "transferred", consultation)
        records.transferred(call, at_s, "attended", transferor.label, consultation.number_to)
        self._control.move_leg(target, consultation, call)
        call.caller, call.partner, call.dial_machine = stays, target, None
        call.leave_conversation()
        self._control.end_call(consultation, by="caller", q850=16)
        for leg in (stays, target):  # he had put one of them on hold, or both
            self._control.audio.stop_play(call, leg)
        self._control.join(call)
        self._notify(transfer, 200)
        self._release(call, transferor)
        return None

    # -- parts of both -------------------------------------------------------------------------------

    def _accept(self, event: RequestReceived, transfer: Transfer, now_s: float) -> None:
        """202; who asked to hear nothing more is told that he will not (RFC 4488 4)."""
        headers = () if transfer.notify else (("Refer-Sub", "false"),)
        self._wiring.stack.respond(event.handle, 202, headers=headers, now_s=now_s)
        transfer.transferor.referred = True

    def _disconnect(self, call: Call) -> None:
        if call.partner is not None and call.partner.stream and call.caller.stream:
            a, b = call.caller.stream.stream_id, call.partner.stream.stream_id
            self._wiring.plane.disconnect(a, b)

    def _release(self, call: Call, leg: Leg) -> None:
        if leg.leg_id in call.legs:
            leg.hang_up(ReasonHeader("Q.850", 16, "Transferred"))
            self._control.drop_leg(call, leg, "switch", 200, 16)

    def _notify(self, transfer: Transfer, status: int) -> None:
        """Tell the transferor how it goes, as a SIP fragment (RFC 3515 2.4.5)."""
        leg = transfer.transferor
        if not transfer.notify or leg.session is None:
            return
        over = status >= 200
        state = "terminated;reason=noresource" if over else "active;expires=60"
        try:
            self._wiring.stack.request_in_dialog(
                leg.session,
                "NOTIFY",
                headers=(("Event", transfer.event), ("Subscription-State", state)),
                body=f"SIP/2.0 {status} {reason_of(status)}\r\n".encode(),
                content_type=_SIPFRAG,
                now_s=self._wiring.now_s(),
            )
        except SipError:
            return  # he has hung up already: nobody is left to be told


def _event_of(event: RequestReceived, leg: Leg) -> str:
    """The Event of the NOTIFYs for a REFER: from the second one of a dialog on they say for which (RFC 3515
    2.4.6)."""
    return f"refer;id={event.request.cseq.number}" if leg.referred else "refer"


def _replaces_of(uri_headers: str) -> Replaces | None:
    """The Replaces header that a Refer-To URI carries, percent-encoded (RFC 3891 3)."""
    for pair in uri_headers.split("&")[:16]:
        name, _, value = pair.partition("=")
        if name.lower() == "replaces":
            return Replaces.parse(unquote(value))
    return None
