"""What call control writes into the journal: one function an entry kind, so that the kinds are in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from softswitch.call.identity import Identity, PhoneIdentity, TrunkIdentity
from softswitch.sip.software import TEXT_MAX

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.leg import Leg


class JournalWriter(Protocol):
    """The append-only journal: `append` never blocks and never fails."""

    def append(
        self, kind: str, call_id: str | None, data: dict[str, Any], at_s: float
    ) -> object: ...


class CallWatcher(Protocol):
    """Somebody who follows what happens to calls. Told in the middle of it: what he does about it, he
    does later."""

    def call_started(self, call: Call) -> None: ...

    def call_routed(self, call: Call, kind: str, name: str) -> None: ...

    def leg_started(self, call: Call, leg: Leg) -> None: ...

    def leg_ended(self, call: Call, leg: Leg, by: str) -> None: ...

    def held(self, call: Call, leg: Leg, on: bool) -> None: ...

    def call_ended(self, call: Call, by: str) -> None: ...


class CallRecorder:
    """Turns what happens to a call into journal entries, stamped with wall time."""

    def __init__(self, journal: JournalWriter) -> None:
        self._journal = journal
        self._watchers: list[CallWatcher] = []
        self._phone_watchers: list[Callable[[Leg], None]] = []

    def watch(self, watcher: CallWatcher) -> None:
        """Tell `watcher` too, from now on."""
        self._watchers.append(watcher)

    def watch_phones(self, watcher: Callable[[Leg], None]) -> None:
        """Tell `watcher` of each telephone's leg that begins, rings, is answered or is over, in the middle
        of it."""
        self._phone_watchers.append(watcher)

    def _tell(self, leg: Leg) -> None:
        for watcher in self._phone_watchers:
            watcher(leg)

    def started(self, call: Call, at_s: float) -> None:
        direction, origin = _origin(call.identity)
        self._journal.append(
            "call-started",
            call.call_id,
            {
                "number_from": call.number_from,
                "number_to": call.number_to,
                "caller_name": call.caller_name,
                "direction": direction,
                **origin,
            },
            at_s,
        )
        for watcher in self._watchers:
            watcher.call_started(call)

    def routed(self, call: Call, at_s: float, kind: str, name: str) -> None:
        self._journal.append("call-routed", call.call_id, {"kind": kind, "name": name}, at_s)
        for watcher in self._watchers:
            watcher.call_routed(call, kind, name)

    def forwarded(self, call: Call, at_s: float, by: str, to: str) -> None:
        self._journal.append("call-forwarded", call.call_id, {"by": by, "to": to}, at_s)

    def refused(self, call: Call, at_s: float, status: int, why: str) -> None:
        self._journal.append("call-refused", call.call_id, {"status": status, "why": why}, at_s)

    def capped(self, call: Call, at_s: float, extension: str, why: str) -> None:
        self._journal.append(
            "toll-cap-reached", call.call_id, {"extension": extension, "why": why}, at_s
        )

    def transferred(self, call: Call, at_s: float, how: str, by: str, to: str) -> None:
        self._journal.append("transfer", call.call_id, {"how": how, "by": by, "to": to}, at_s)

    def consulting(self, call: Call, leg: Leg, at_s: float, number: str) -> None:
        """Who is at a leg calls a third, and the other waits."""
        data = {"leg": leg.leg_id, "number": number}
        self._journal.append("consult-started", call.call_id, data, at_s)

    def consulted(
        self, call: Call, leg: Leg, at_s: float, outcome: str, beside: Call | None = None
    ) -> None:
        """He is done with the third, with whom he has spoken in this call or in one `beside` it."""
        data: dict[str, Any] = {"leg": leg.leg_id, "outcome": outcome}
        if beside is not None:
            data |= {"number": beside.number_to, "call": beside.call_id}
            data["started_at_s"] = beside.started_at_s
        self._journal.append("consult-ended", call.call_id, data, at_s)

    def leg_started(self, call: Call, leg: Leg, at_s: float) -> None:
        role = "caller" if leg is call.caller else "callee"
        data: dict[str, Any] = {"leg": leg.leg_id, "role": role, "endpoint": leg.label}
        # What a support engineer finds the call by, whoever chose it: the peer, or we for him.
        sip_call_id = leg.sip_call_id
        if sip_call_id:
            data["sip_call_id"] = sip_call_id[:TEXT_MAX]
        if leg.user_agent:
            data["user_agent"] = leg.user_agent
            leg.agent_told = True
        self._journal.append("leg-started", call.call_id, data, at_s)
        if leg.is_phone:
            self._tell(leg)
        for watcher in self._watchers:
            watcher.leg_started(call, leg)

    def _name_agent(self, leg: Leg, data: dict[str, Any]) -> None:
        """Add what a telephone says it is (User-Agent, RFC 3261 20.41) to the first entry after it has."""
        if leg.user_agent and not leg.agent_told:
            data["user_agent"] = leg.user_agent
            leg.agent_told = True

    def leg_ringing(self, call: Call, leg: Leg, at_s: float) -> None:
        data: dict[str, Any] = {"leg": leg.leg_id}
        self._name_agent(leg, data)
        self._journal.append("leg-ringing", call.call_id, data, at_s)
        if leg.is_phone:
            self._tell(leg)

    def leg_answered(self, call: Call, leg: Leg, at_s: float) -> None:
        data: dict[str, Any] = {"leg": leg.leg_id, "codec": leg.codec or ""}
        self._name_agent(leg, data)
        self._journal.append("leg-answered", call.call_id, data, at_s)
        if leg.is_phone:
            self._tell(leg)

    def leg_ended(
        self, call: Call, leg: Leg, at_s: float, *, by: str, status: int, q850: int
    ) -> None:
        data: dict[str, Any] = {"leg": leg.leg_id, "by": by, "status": status, "cause": q850}
        self._name_agent(leg, data)
        self._journal.append("leg-ended", call.call_id, data, at_s)
        if leg.is_phone:
            self._tell(leg)
        for watcher in self._watchers:
            watcher.leg_ended(call, leg, by)

    def answered(self, call: Call, at_s: float) -> None:
        self._journal.append("call-answered", call.call_id, {}, at_s)

    def held(self, call: Call, leg: Leg, at_s: float, *, on: bool) -> None:
        self._journal.append(
            "call-held" if on else "call-resumed", call.call_id, {"leg": leg.leg_id}, at_s
        )
        for watcher in self._watchers:
            watcher.held(call, leg, on)

    def digit(self, call: Call, leg: Leg, at_s: float, digit: str) -> None:
        self._journal.append("digit", call.call_id, {"leg": leg.leg_id, "digit": digit}, at_s)

    def recording_started(self, call: Call, at_s: float, name: str) -> None:
        self._journal.append("recording-started", call.call_id, {"name": name}, at_s)

    def recording_stopped(
        self, call_id: str, at_s: float, name: str, frames: int, reason: str
    ) -> None:
        data = {"name": name, "frames": frames, "reason": reason}
        self._journal.append("recording-stopped", call_id, data, at_s)

    def quality(self, call_id: str, at_s: float, leg: int, stats: dict[str, Any]) -> None:
        self._journal.append("leg-quality", call_id, {"leg": leg, **stats}, at_s)

    def ended(
        self,
        call: Call,
        at_s: float,
        *,
        by: str,
        status: int,
        q850: int,
        outcome: str,
        duration_s: float,
    ) -> None:
        self._journal.append(
            "call-ended",
            call.call_id,
            {
                "by": by,
                "status": status,
                "q850": q850,
                "outcome": outcome,
                "duration_s": round(duration_s, 3),
            },
            at_s,
        )
        for watcher in self._watchers:
            watcher.call_ended(call, by)


def _origin(identity: Identity) -> tuple[str, dict[str, str]]:
    """The direction of a call, and who began it."""
    match identity:
        case PhoneIdentity():
            return "internal", {"extension": identity.extension}
        case TrunkIdentity():
            return "inbound", {"trunk": identity.trunk}
    return "outbound", {"queue": identity.queue}
