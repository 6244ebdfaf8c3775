"""SIP messages copied to a collector as they pass (HEP), each with the call that it belongs to."""

from __future__ import annotations

from collections.abc import Callable

from softswitch.hep import HepExporter
from softswitch.sip.flow import Flow
from softswitch.tokens import Tokens
from softswitch.trace import Trace, TracedMessage, passed
from softswitch.traced_calls import TracedCalls
from softswitch.transport.interface import Passing

Knows = Callable[[Flow, float], bool]


class Copies:
    """A tap for the driver: `trace` keeps every message, `hep` gets a copy.

    Of what passes between us and strangers, beside calls, `strangers_per_s` are copied and the others counted
    as left out: a flood fills neither the line to the collector nor its disk.

    Parameters: `wall_of` gives the wall clock's time at a moment of the monotonic one; `knows(flow, now_s)`
    says whether who is there is a trunk, or has proven who he is.
    """

    def __init__(
        self,
        hep: HepExporter,
        trace: Trace,
        calls: TracedCalls,
        wall_of: Callable[[float], float],
        *,
        knows: Knows,
        strangers_per_s: float,
    ) -> None:
        self._hep = hep
        self._trace = trace
        self._calls = calls
        self._wall_of = wall_of
        self._knows = knows
        self._strangers = Tokens(strangers_per_s)

    def tap(self, passing: Passing) -> None:
        """One message."""
        self._trace.tap(passing)
        message = TracedMessage(*passing)
        now_s, flow = message.at_s, message.flow
        call_id = message.call_id
        call = self._calls.call_of(call_id)
        if call or self._knows(flow, now_s) or self._strangers.take(now_s):
            self._hep.send(passed(message, self._wall_of(now_s)), call or call_id)
        else:
            self._hep.left_out += 1
