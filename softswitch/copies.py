"""SIP messages copied to a collector as they pass (HEP), each with the call that it belongs to."""

from __future__ import annotations

from collections.abc import Callable

from softswitch.hep import HepExporter
from softswitch.trace import Trace, TracedMessage, passed
from softswitch.traced_calls import TracedCalls
from softswitch.transport.interface import Passing


class Copies:
    """A tap for the driver: `trace` keeps every message, `hep` gets a copy; `wall_of` gives the wall clock's
    time at a moment of the monotonic one."""

    def __init__(
        self, hep: HepExporter, trace: Trace, calls: TracedCalls, wall_of: Callable[[float], float]
    ) -> None:
        self._hep = hep
        self._trace = trace
        self._calls = calls
        self._wall_of = wall_of

    def note(self, passing: Passing) -> None:
        """One message."""
        self._trace.tap(passing)
        message = TracedMessage(*passing)
        call = self._calls.call_of(message.call_id)
        self._hep.send(passed(message, self._wall_of(message.at_s)), call or message.call_id)
