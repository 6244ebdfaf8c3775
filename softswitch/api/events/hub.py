"""Where events come by: numbered, kept for a while, handed to those whose filter they fit. Pure.

While nobody listens an event costs a few comparisons and a place in the replay buffer.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import msgspec

from softswitch.api.events.topics import topic_of

KEPT_MAX = 4_096
"""Events that can be had again after a connection broke."""

CALLS_MAX = 20_000

PLAIN = frozenset(
    {
        "call-routed",
        "call-answered",
        "leg-ringing",
        "leg-answered",
        "leg-ended",
        "leg-quality",
        "call-ended",
    }
)
"""Entries of a call that name no queue, agent, telephone or other thing."""

_PLAIN_OUTSIDE = frozenset({"call-started", "leg-started"})
"""Of these, those that are about trunks alone."""

_EXTENSION = "extension:"
_TRUNK = "trunk:"
_CALL = "call:"
_AGENT = "agent:"
_encoder = msgspec.json.Encoder(enc_hook=str)


class Event(msgspec.Struct, frozen=True):
    """One thing that happened. `number` counts from 1 since this start; `queues` and `agents` are those
    that the call has met so far, this entry included."""

    number: int
    at_s: float
    topic: str
    kind: str
    call_id: str
    queues: frozenset[str]
    agents: frozenset[str]
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted: of one of `topics`, and of that queue, agent and call where they are
    named."""

    topics: frozenset[str]
    queue: str = ""
    agent: str = ""
    call: str = ""

    def fits(self, event: Event) -> bool:
        return (
            event.topic in self.topics
            and (not self.queue or self.queue in event.queues)
            and (not self.agent or self.agent in event.agents)
            and (not self.call or self.call == event.call_id)
        )


class Listener(Protocol):
    """Whoever wants events. Told in the middle of what happens: must return at once."""

    def take(self, event: Event) -> None: ...


class TooOld(Exception):
    """The position is not of this run, or what came after it is no longer kept."""


@dataclass(frozen=True, slots=True)
class _Met:
    """Whom a call has met."""

    queues: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()


_NOBODY = _Met()

Before: TypeAlias = Callable[[str, str | None, dict[str, Any]], dict[str, Any]]

_Noted: TypeAlias = tuple[int, float, str, str, str, _Met, dict[str, Any]]
"""What is kept of an event until somebody asks: its fields, with whom the call had met by then."""


@dataclass(slots=True)
class Hub:
    """Parameters: `run`, a text that no other run of the exchange has; `agent_at` gives the agent of an
    extension, None for none; `before` has, by kind, who sees an entry first and says what its data is to be;
    `beside(kind, data)` hears of entries that have to do with more than a call."""

    run: str
    agent_at: Callable[[str], str | None] = lambda _: None
    before: Mapping[str, Before] = field(default_factory=dict)
    beside: Callable[[str, dict[str, Any]], None] = lambda kind, data: None
    kept_max: int = KEPT_MAX
    last: int = 0
    _kept: deque[_Noted] = field(init=False)
    _met: OrderedDict[str, _Met] = field(default_factory=OrderedDict)
    _listeners: dict[Listener, None] = field(default_factory=dict)
    _encoded: tuple[int, str] = (0, "")

    def __post_init__(self) -> None:
        self._kept = deque(maxlen=self.kept_max)

    # -- what happens ------------------------------------------------------------------------------

    def note(self, kind: str, call_id: str | None, data: dict[str, Any], at_s: float) -> None:
        """An entry of the journal."""
        before = self.before.get(kind)
        if before is not None:
            data = before(kind, call_id, data)
        # As nearly all that happens to calls that have nothing to do with a queue or an agent.
        if (
            call_id is not None
            and (kind in PLAIN or (kind in _PLAIN_OUTSIDE and _names_nobody(data)))
            and call_id not in self._met
        ):
            topic, met = "calls", _NOBODY
        else:
            self.beside(kind, data)
            thing = str(data["object"]) if "object" in data else ""
            topic = topic_of(kind, call_id, thing)
            if not topic:
                return
            if call_id is None and thing.startswith(_CALL):
                call_id = thing.removeprefix(_CALL)
            if thing.startswith(_AGENT) and "agent" not in data:
                data = {**data, "agent": thing.removeprefix(_AGENT)}
            met = self._meeting(kind, call_id, data)
        self.last = number = self.last + 1
        noted = (number, at_s, topic, kind, call_id or "", met, data)
        self._kept.append(noted)
        if self._listeners:
            event = _event_of(noted)
            for listener in list(self._listeners):
                listener.take(event)

    def _meeting(self, kind: str, call_id: str | None, data: dict[str, Any]) -> _Met:
        queue, agent = data.get("queue"), data.get("agent")
        endpoint = data.get("endpoint")
        if isinstance(endpoint, str) and endpoint.startswith(_EXTENSION):
            agent = self.agent_at(endpoint.removeprefix(_EXTENSION))
        if call_id is None:
            if not queue and not agent:
                return _NOBODY
            return _Met(_plus(frozenset(), queue), _plus(frozenset(), agent))
        known = self._met
        met = known.get(call_id, _NOBODY)
        if queue or agent:
            met = _Met(_plus(met.queues, queue), _plus(met.agents, agent))
        if met is _NOBODY:
            return met  # as most calls do: nothing to remember
        if kind == "call-ended":
            known.pop(call_id, None)
            return met
        known[call_id] = met
        known.move_to_end(call_id)
        if len(known) > CALLS_MAX:
            known.popitem(last=False)
        return met

    def met(self, call_id: str) -> tuple[frozenset[str], frozenset[str]]:
        """The queues and agents that a call has met so far."""
        met = self._met.get(call_id, _NOBODY)
        return met.queues, met.agents

    # -- who listens -------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Tell `listener` of every event from now on."""
        self._listeners[listener] = None

    def leave(self, listener: Listener) -> None:
        """Tell it no more."""
        self._listeners.pop(listener, None)

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def position(self, number: int | None = None) -> str:
        """The position after an event, by default after the last one."""
        return f"{self.run}.{self.last if number is None else number}"

    def since(self, position: str) -> Iterator[Event]:
        """The events after a position, oldest first. Raises `TooOld`."""
        run, _, digits = position.rpartition(".")
        if run != self.run or not (digits.isascii() and digits.isdecimal() and len(digits) < 16):
            raise TooOld
        number = int(digits)
        oldest = self._kept[0][0] if self._kept else self.last + 1
        if not oldest - 1 <= number <= self.last:
            raise TooOld
        return (_event_of(noted) for noted in list(self._kept) if noted[0] > number)

    def encode(self, event: Event) -> str:
        """An event as readers and webhooks get it: the inside of a JSON object, without its braces."""
        if self._encoded[0] == event.number:
            return self._encoded[1]  # one event goes to many readers
        text = _encoder.encode(
            {
                "position": self.position(event.number),
                "topic": event.topic,
                "kind": event.kind,
                "at_s": event.at_s,
                "call_id": event.call_id or None,
                "queues": sorted(event.queues),
                "agents": sorted(event.agents),
                "data": event.data,
            }
        )
        self._encoded = event.number, text[1:-1].decode()
        return self._encoded[1]

    def snapshot(self) -> dict[str, int]:
        return {
            "events": self.last,
            "kept": len(self._kept),
            "calls": len(self._met),
            "listeners": len(self._listeners),
        }


def _names_nobody(data: dict[str, Any]) -> bool:
    endpoint = data.get("endpoint")
    return "trunk" in data or (isinstance(endpoint, str) and endpoint.startswith(_TRUNK))


def _plus(names: frozenset[str], name: object) -> frozenset[str]:
    return names | {name} if isinstance(name, str) and name and name not in names else names


def _event_of(noted: _Noted) -> Event:
    number, at_s, topic, kind, call_id, met, data = noted
    return Event(number, at_s, topic, kind, call_id, met.queues, met.agents, _told(data))


def _told(data: dict[str, Any]) -> dict[str, Any]:
    """Without the explanation of a decision, which is large: `GET /calls/{id}/journal` has it."""
    return {k: v for k, v in data.items() if k != "why"} if "why" in data else data
