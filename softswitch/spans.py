"""Traces of calls, put together from what the journal is told: one tree a call, with a span for each leg and
each stay in a queue. Pure; `softswitch.telemetry` sends them away.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

CALLS_MAX = 20_000
SPANS_MAX = 64
"""Legs and queue stays of one call."""

EVENTS_MAX = 256
"""Events of one call, in all its spans."""

Attribute = str | int | float | bool


@dataclass(slots=True)
class Span:
    """One stretch of time. `events` are (name, at_s, attributes); `end_s` None: it has not ended."""

    name: str
    start_s: float
    attributes: dict[str, Attribute] = field(default_factory=dict)
    events: list[tuple[str, float, dict[str, Attribute]]] = field(default_factory=list)
    end_s: float | None = None
    failed: bool = False


@dataclass(slots=True)
class CallTrace:
    """A call and what was in it. Children that are still open when it is finished end with it."""

    root: Span
    children: list[Span] = field(default_factory=list)
    dropped: int = 0
    _legs: dict[int, Span] = field(default_factory=dict)
    _stay: Span | None = None
    _events: int = 0

    def take(self, kind: str, data: dict[str, Any], at_s: float) -> None:
        """One entry of the journal about this call."""
        match kind:
            case "call-routed" | "call-answered" | "recording-started" | "recording-stopped":
                self._event(self.root, kind, data, at_s, ("kind", "name", "reason"))
            case "leg-started":
                leg = self._child("leg", data, at_s, ("role", "endpoint"))
                if leg is not None:
                    self._legs[data["leg"]] = leg
            case "leg-ringing" | "leg-answered":
                self._event(self._leg(data), kind, data, at_s, ("codec",))
            case "leg-ended":
                self._end(self._leg(data), data, at_s, ("by", "status", "cause"))
            case "leg-quality":
                leg = self._leg(data)
                if leg is not None:
                    leg.attributes |= _kept(data, ("lost", "late", "jitter_ms", "mos"))
            case "acd-queued":
                self._stay = self._child("queue", data, at_s, ("queue", "media"))
            case "acd-offered" | "acd-offer-ended":
                self._event(self._stay, kind, data, at_s, ("agent", "offer", "reason"))
            case "acd-connected":
                self._end(self._stay, data, at_s, ("agent", "waited_s"))
            case "acd-closed":
                self._end(self._stay, data, at_s, ("outcome", "reason"))
            case "call-ended":
                self._end(self.root, data, at_s, ("by", "status", "q850", "outcome", "duration_s"))
                self.root.failed = int(data.get("status") or 0) >= 500

    def _leg(self, data: dict[str, Any]) -> Span | None:
        return self._legs.get(data.get("leg", 0))

    def _child(
        self, name: str, data: dict[str, Any], at_s: float, keys: tuple[str, ...]
    ) -> Span | None:
        if len(self.children) >= SPANS_MAX:
            self.dropped += 1
            return None
        span = Span(name, at_s, _kept(data, keys))
        self.children.append(span)
        return span

    def _event(
        self, span: Span | None, kind: str, data: dict[str, Any], at_s: float, keys: tuple[str, ...]
    ) -> None:
        if span is None or self._events >= EVENTS_MAX:
            self.dropped += span is not None
            return
        self._events += 1
        span.events.append((kind, at_s, _kept(data, keys)))

    @staticmethod
    def _end(span: Span | None, data: dict[str, Any], at_s: float, keys: tuple[str, ...]) -> None:
        if span is not None and span.end_s is None:
            span.attributes |= _kept(data, keys)
            span.end_s = at_s


_NUMBERS = ("number_from", "number_to")


class CallTraces:
    """The calls that go on. `numbers`: whether who called whom is to be told; it is about people, and those
    who look at traces are seldom those who may know.
    """

    def __init__(self, *, numbers: bool = False) -> None:
        self._numbers = numbers
        self._calls: OrderedDict[str, CallTrace] = OrderedDict()
        self.forgotten = 0

    def take(self, kind: str, call_id: str, data: dict[str, Any], at_s: float) -> bool:
        """One entry of the journal; whether the call has ended with it. What is known of its quality comes
        after that: call `finish` a little later."""
        if kind == "call-started":
            keys = ("direction", "trunk", "extension")
            own = _kept(data, (*keys, *_NUMBERS) if self._numbers else keys)
            self._calls[call_id] = CallTrace(Span("call", at_s, {"call.id": call_id, **own}))
            if len(self._calls) > CALLS_MAX:
                self._calls.popitem(last=False)
                self.forgotten += 1
            return False
        trace = self._calls.get(call_id)
        if trace is None:
            return False
        trace.take(kind, data, at_s)
        return kind == "call-ended"

    def finish(self, call_id: str) -> CallTrace | None:
        """All of a call that has ended, which is forgotten here. None for an unknown one."""
        trace = self._calls.pop(call_id, None)
        if trace is None or trace.root.end_s is None:
            return None
        for span in trace.children:
            span.end_s = max(span.start_s, trace.root.end_s if span.end_s is None else span.end_s)
        return trace

    def take_over(self, other: CallTraces, but: Collection[str]) -> None:
        """Go on with the calls that `other` follows, `but` some; numbers only where they are told here."""
        for call_id in [known for known in other._calls if known not in but]:
            trace = other._calls.pop(call_id)
            if not self._numbers:
                for name in _NUMBERS:
                    trace.root.attributes.pop(name, None)
            self._calls[call_id] = trace

    def __len__(self) -> int:
        return len(self._calls)


def _kept(data: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Attribute]:
    return {
        k: data[k] for k in keys if isinstance(data.get(k), str | int | float) and data[k] != ""
    }
