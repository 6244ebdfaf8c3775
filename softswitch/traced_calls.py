"""Which SIP messages belong to which call: the Call-IDs of its legs, kept for a while after its end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.ladder import distinct

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.leg import Leg

CALLS_MAX = 2_000
LEGS_MAX = 64


class TracedCalls:
    """Follows calls as a `CallWatcher`; the oldest are forgotten beyond `CALLS_MAX`.

    Parameters: `sip_call_id(session)` gives the Call-ID of a session of the stack.
    """

    def __init__(self, sip_call_id: Callable[[int], str]) -> None:
        self._sip_call_id = sip_call_id
        self._legs: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._calls: dict[bytes, str] = {}
        self.has: Callable[[bytes], bool] = self._calls.__contains__
        """Whether a SIP Call-ID, as it is on the wire, belongs to a call; asked for every message."""

    def legs_of(self, call_id: str) -> dict[str, str]:
        """The names of a call's legs by their SIP Call-ID, of which no two are the same; none where the call is
        not known."""
        legs = self._legs.get(call_id, {})
        return dict(zip(legs, distinct(legs.values()), strict=True))

    def named(self, part: str) -> list[str]:
        """The calls whose id is `part`, or begins or ends with it, as people copy it; the newest first. The
        whole Call-ID of a leg, as a carrier names it, will do too."""
        if part in self._legs:
            return [part]
        if call := self.call_of(part):
            return [call]
        return [
            name for name in reversed(self._legs) if name.startswith(part) or name.endswith(part)
        ]

    def call_of(self, sip_call_id: str) -> str:
        """The call that a SIP Call-ID belongs to, "" for none."""
        return self._calls.get(sip_call_id.encode("utf-8", "surrogateescape"), "")

    def snapshot(self) -> dict[str, int]:
        return {"calls": len(self._legs)}

    # -- as a CallWatcher --------------------------------------------------------------------------

    def call_started(self, call: Call) -> None:
        self._legs[call.call_id] = {}
        if len(self._legs) > CALLS_MAX:
            _, legs = self._legs.popitem(last=False)
            for name in legs:
                self._calls.pop(name.encode("utf-8", "surrogateescape"), None)

    def leg_started(self, call: Call, leg: Leg) -> None:
        legs = self._legs.get(call.call_id)
        if legs is None or leg.session is None or len(legs) >= LEGS_MAX:
            return
        name = self._sip_call_id(leg.session)
        if name:
            legs[name] = leg.label
            self._calls[name.encode("utf-8", "surrogateescape")] = call.call_id

    def call_routed(self, call: Call, kind: str, name: str) -> None:
        """Of no interest here, as the rest."""

    def leg_ended(self, call: Call, leg: Leg, by: str) -> None: ...

    def held(self, call: Call, leg: Leg, on: bool) -> None: ...

    def call_ended(self, call: Call, by: str) -> None: ...
