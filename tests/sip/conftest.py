"""A small world for the SIP core: stacks on virtual time, joined by a link that may misbehave."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from softswitch.sip.events import SipEvent
from softswitch.sip.flow import Flow
from softswitch.sip.gate import Gate, OpenGate
from softswitch.sip.stack import SipStack
from softswitch.sip.stack_config import StackConfig
from softswitch.sip.uri import NameAddr

GAUGES = ("transactions", "dialogs", "sessions", "handles", "timers", "events_waiting")
OFFER = b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
ANSWER = OFFER.replace(b"10.0.0.1", b"10.0.0.2")


def counting_token(prefix: str) -> Callable[[], str]:
    """Unique and repeatable; not unpredictable, which no test needs."""
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers):07d}"


def _label(data: bytes) -> str:
    """`INVITE` for a request, `180 INVITE` for a response; tampered ones as far as readable."""
    words = data.split(b"\r\n", 1)[0].decode(errors="replace").split(" ")
    if not words[0].startswith("SIP/"):
        return words[0]
    cseq = data.partition(b"\r\nCSeq: ")[2].split(b"\r\n", 1)[0].decode(errors="replace")
    return f"{words[1]} {cseq.rpartition(' ')[2]}"


class Station:
    """One stack with an address, everything that happened to it, and an optional autopilot."""

    def __init__(self, world: World, name: str, host: str, config: StackConfig, gate: Gate) -> None:
        self.world = world
        self.name = name
        self.address = (host, 5060)
        self.stack = SipStack(config, counting_token(name), gate)
        self.events: list[SipEvent] = []
        self.on_event: Callable[[SipEvent], None] = lambda event: None

    def flow_to(self, other: Station, transport: str = "udp") -> Flow:
        connection = 1 if transport != "udp" else 0
        return Flow(transport, self.address, other.address, connection)

    def call(self, other: Station, **options: object) -> int:
        """INVITE the other station's user with OFFER unless told otherwise."""
        settings: dict[str, object] = {
            "target": f"sip:{other.name}@{other.address[0]}",
            "flow": self.flow_to(other, str(options.pop("transport", "udp"))),
            "from_": NameAddr(f"sip:{self.name}@{self.address[0]}"),
            "to": NameAddr(f"sip:{other.name}@{other.address[0]}"),
            "sdp": OFFER,
            "timeout_s": 60.0,
            "now_s": self.world.now_s,
        }
        settings.update(options)
        session = self.stack.invite(**settings)  # type: ignore[arg-type]
        self.world.settle()
        return session

    def do(self, command: str, *arguments: object, **options: object) -> object:
        """Run a command of the stack now and let the messages flow."""
        result = getattr(self.stack, command)(*arguments, now_s=self.world.now_s, **options)
        self.world.settle()
        return result

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def last(self, kind: type) -> object:
        return [event for event in self.events if type(event) is kind][-1]

    def gauges(self) -> dict[str, int]:
        snapshot = self.stack.snapshot()
        return {name: snapshot[name] for name in GAUGES if snapshot[name]}


class World:
    """Virtual time, stations, and the link between them: seeded loss, duplicates and delay.

    Without delay `settle` runs messages at once; `run` goes on through timers.
    """

    def __init__(self, seed: int = 1) -> None:
        self.now_s = 0.0
        self.random = random.Random(seed)
        self.loss = 0.0
        self.duplicate = 0.0
        self.delay_s = (0.0, 0.0)
        self.stations: dict[tuple[str, int], Station] = {}
        self.wire: list[str] = []
        self.raw: list[tuple[bytes, Flow]] = []
        self.cut: Callable[[bytes, Flow], bool] = lambda data, flow: False
        self.tamper: Callable[[bytes], bytes] = lambda data: data
        self._in_flight: list[tuple[float, int, bytes, Flow]] = []
        self._order = itertools.count()

    def station(
        self, name: str, host: str, config: StackConfig | None = None, gate: Gate | None = None
    ) -> Station:
        station = Station(self, name, host, config or StackConfig(), gate or OpenGate())
        self.stations[station.address] = station
        return station

    def inject(self, data: bytes, station: Station, source: tuple[str, int]) -> None:
        """A datagram from an address where no stack lives; answers to it land in `raw`."""
        station.stack.receive_datagram(data, Flow("udp", station.address, source), self.now_s)
        self.settle()

    def _send(self, station: Station, data: bytes, flow: Flow) -> None:
        if flow.remote not in self.stations:
            self.raw.append((data, flow))
            return
        self.wire.append(f"{station.name}> {_label(data)}")
        if self.cut(data, flow):
            return
        copies = 1 + (self.random.random() < self.duplicate)
        for _ in range(copies):
            if self.random.random() >= self.loss:
                at_s = self.now_s + self.random.uniform(*self.delay_s)
                heapq.heappush(self._in_flight, (at_s, next(self._order), data, flow))

    def _flush(self) -> None:
        for station in self.stations.values():
            for outgoing in station.stack.datagrams_to_send():
                self._send(station, outgoing.data, outgoing.flow)
            while (event := station.stack.next_event()) is not None:
                station.events.append(event)
                station.on_event(event)
                for outgoing in station.stack.datagrams_to_send():
                    self._send(station, outgoing.data, outgoing.flow)

    def _deliver_due(self) -> bool:
        delivered = False
        while self._in_flight and self._in_flight[0][0] <= self.now_s:
            _, _, data, flow = heapq.heappop(self._in_flight)
            receiver = self.stations[flow.remote]
            back = Flow(flow.transport, flow.remote, flow.local, flow.connection_id)
            receiver.stack.receive_datagram(self.tamper(data), back, self.now_s)
            delivered = True
            self._flush()
        return delivered

    def settle(self) -> None:
        """Everything that happens without time passing."""
        self._flush()
        while self._deliver_due():
            self._flush()

    def _next_at(self) -> float | None:
        times = [self._in_flight[0][0]] if self._in_flight else []
        for station in self.stations.values():
            timer_s = station.stack.get_timer()
            if timer_s is not None:
                times.append(timer_s)
        return min(times, default=None)

    def run(self, for_s: float = 1e9) -> None:
        """Let time pass: `for_s` seconds, or until nothing is left to happen."""
        end_s = self.now_s + for_s
        self.settle()
        while (at_s := self._next_at()) is not None and at_s <= end_s:
            self.now_s = max(self.now_s, at_s)
            for station in self.stations.values():
                station.stack.handle_timer(self.now_s)
            self.settle()
        if for_s < 1e9:
            self.now_s = end_s

    def assert_empty(self) -> None:
        """Nothing is remembered anywhere."""
        assert {s.name: s.gauges() for s in self.stations.values() if s.gauges()} == {}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make_world() -> Callable[[int], World]:
    return World


@pytest.fixture
def pair(world: World) -> tuple[World, Station, Station]:
    """A world with Alice and Bob in it."""
    return world, world.station("alice", "10.0.0.1"), world.station("bob", "10.0.0.2")


@pytest.fixture
def sdp() -> tuple[bytes, bytes]:
    """An offer and an answer."""
    return OFFER, ANSWER
