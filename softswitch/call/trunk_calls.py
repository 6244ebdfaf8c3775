"""Calls out over trunks: what is sent, whose place they take, and what they tell of a trunk's health."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from softswitch.call.diversion import Diversion
from softswitch.call.endpoint import TrunkEndpoint, TrunkTarget
from softswitch.call.events import DialEvent, LegAnswered, LegEnded, LegFailed, LegRang
from softswitch.call.identity import Identity, PhoneIdentity, TrunkIdentity
from softswitch.call.leg import LegPlan
from softswitch.call.numbering import Numbering
from softswitch.call.shown import Shown
from softswitch.call.trunk_health import CallFailed, CallSent, CallTaken
from softswitch.call.trunk_identity import present
from softswitch.call.trunks import credentials_of, why_withheld
from softswitch.config.derived import FromOffice, extensions_by_number
from softswitch.errors import SoftswitchError
from softswitch.sip.uri import NameAddr, SipUri

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.trunks import TrunkRecord, Trunks
    from softswitch.call.wiring import Wiring
    from softswitch.config import Trunk
    from softswitch.sip.flow import Flow


_log = logging.getLogger("softswitch.trunks")
_SENT, _TAKEN = CallSent(), CallTaken()


@dataclass(slots=True)
class TrunkLeg:
    """A leg over a trunk: `heard` once there was any sign of life."""

    record: TrunkRecord
    target: TrunkTarget
    flow: Flow
    heard: bool = False


class TrunkCalls:
    """Plans legs over trunks and follows them."""

    def __init__(self, wiring: Wiring, trunks: Trunks) -> None:
        self._wiring = wiring
        self._trunks = trunks
        self._extensions = FromOffice(wiring, extensions_by_number)
        self._numbering = FromOffice(wiring, lambda office: Numbering(office.office.country))

    def plan(
        self,
        call: Call,
        leg_id: int,
        endpoint: TrunkEndpoint,
        behalf: Identity | None = None,
    ) -> LegPlan:
        """How to call this endpoint; takes one place of the trunk. `behalf`: who calls, where it is not
        the call's own caller. Raises `SoftswitchError`."""
        record = self._trunks.named(endpoint.trunk)
        if record is None:
            raise SoftswitchError(f"trunk {endpoint.trunk} does not exist")
        target = endpoint.target or next(iter(record.in_order()), None)
        if target is None:
            raise SoftswitchError(f"trunk {endpoint.trunk}: {record.problem or 'no address'}")
        flow = self._wiring.flow_to(target.address, target.transport, target.server_name)
        if not record.load.take(self._wiring.now_s()):
            raise SoftswitchError(f"trunk {endpoint.trunk} is full")
        call.trunks_taken.append(endpoint.trunk)
        call.trunk_legs[leg_id] = TrunkLeg(record, target, flow)
        self._trunks.note(record, target, _SENT)
        return self._plan(call, endpoint, record, flow, behalf)

    def _plan(
        self,
        call: Call,
        endpoint: TrunkEndpoint,
        record: TrunkRecord,
        flow: Flow,
        behalf: Identity | None,
    ) -> LegPlan:
        trunk = record.config
        # A name where the office has one: carriers know their own domain, not the address behind it.
        host, port = trunk.host, trunk.port
        to = SipUri("sip", self._number_for(trunk, endpoint.number), host, port)
        number, hidden = self._shown_number(call, record, behalf)
        shown = present(
            trunk,
            self._wiring.office.office.domain,
            number,
            "" if hidden or behalf is not None else call.caller_name,
            hidden=hidden,
            diversions=() if behalf is not None else self._diversions(call, record),
            target=to,
        )
        return LegPlan(
            label=endpoint.label,
            target=str(to),
            flow=flow,
            from_=shown.from_,
            to=NameAddr(str(to), None),
            credentials=credentials_of(trunk),
            permitted_hosts=record.hosts,
            follow_contact=True,
            headers=shown.headers,
            who=Shown("", endpoint.number),
        )

    def _number_for(self, trunk: Trunk, number: str) -> str:
        """A number as the trunk wants those that it calls; what is no whole number stays as it is."""
        if trunk.numbers == "as-dialled":
            return number
        whole = self._numbering().e164(number)
        if whole is None:
            return number
        return whole if trunk.numbers == "e164" else whole[1:]

    def _shown_number(
        self, call: Call, record: TrunkRecord, behalf: Identity | None
    ) -> tuple[str, bool]:
        """The number that the office vouches for: one that it owns by its configuration, never what a
        phone wrote; a call in transit keeps the number its trunk vouched for."""
        trunk = record.config
        identity, hidden = behalf or call.identity, call.hidden and behalf is None
        if isinstance(identity, TrunkIdentity):
            return call.number_from, hidden
        if isinstance(identity, PhoneIdentity):
            extension = self._extensions().get(identity.extension)
            if extension is not None:
                number = extension.caller_id or trunk.caller_id or identity.extension
                return number, hidden or extension.hide_number
        return trunk.caller_id or call.number_from, call.hidden

    def _diversions(self, call: Call, record: TrunkRecord) -> list[Diversion]:
        """Who has sent the call on, our own by numbers that the world can call."""
        return [
            each if each.host else replace(each, number=self._outside_number(each.number, record))
            for each in call.diversions
        ]

    def _outside_number(self, number: str, record: TrunkRecord) -> str:
        extension = self._extensions().get(number)
        own = extension.caller_id if extension is not None else None
        return own or record.config.caller_id or number

    def follow(self, call: Call, event: DialEvent) -> None:
        """What has become of a leg; those that are over give their place back."""
        leg = call.trunk_legs.get(getattr(event, "leg", 0))
        if leg is None:
            return
        match event:
            case LegRang() | LegAnswered():
                if not leg.heard:
                    leg.heard = True
                    leg.record.withheld = ""
                    self._trunks.note(leg.record, leg.target, _TAKEN)
            case LegFailed():
                if not leg.heard:
                    self._failed(leg, event)
                self.give_back(call, event.leg)
            case LegEnded():
                self.give_back(call, event.leg)
            case _:
                pass

    def _failed(self, leg: TrunkLeg, event: LegFailed) -> None:
        record = leg.record
        withheld = why_withheld(record.config, event.realm)
        if withheld != record.withheld and withheld:
            _log.warning("trunk %s %s", record.config.name, withheld)
        record.withheld = withheld
        why = self._wiring.why_unreachable(leg.flow) if event.status == 503 else ""
        failed = CallFailed(event.status, why or _words(event), retry_after_s=event.retry_after_s)
        self._trunks.note(record, leg.target, failed)

    def give_back(self, call: Call, leg_id: int) -> None:
        """The leg is over though its call may go on: its place is free."""
        leg = call.trunk_legs.pop(leg_id, None)
        if leg is not None and leg.record.config.name in call.trunks_taken:
            call.trunks_taken.remove(leg.record.config.name)
            leg.record.load.give_back()


def _words(event: LegFailed) -> str:
    if event.status == 408:
        return "silent"
    later = f", again after {event.retry_after_s} s" if event.retry_after_s else ""
    return f"calls answered {event.status}{later}"
