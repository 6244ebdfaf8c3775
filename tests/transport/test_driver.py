"""The driver: order of work, one timer, a broken call dies alone."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable

import pytest

from softswitch.errors import SoftswitchError
from softswitch.sim.link import PERFECT
from softswitch.sim.loop import VirtualClock, simulated, virtual_loop
from softswitch.sim.network import SimNetwork
from softswitch.sip.events import InviteReceived, RequestReceived, ResponseReceived, SipEvent
from softswitch.sip.flow import Flow
from softswitch.sip.gate import OpenGate
from softswitch.sip.rank import Rank
from softswitch.sip.stack import SipStack, StackConfig
from softswitch.sip.uri import NameAddr
from softswitch.transport.driver import Driver
from softswitch.transport.intake import Intake
from softswitch.transport.interface import Passing
from softswitch.transport.standing import StandingPolicy

A = ("10.0.0.1", 5060)
B = ("10.0.0.2", 5060)


OPTIONS = (
    b"OPTIONS sip:b@10.0.0.3 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKg%d\r\n"
    b"From: <sip:a@10.0.0.1>;tag=1\r\nTo: <sip:b@10.0.0.3>\r\nCall-ID: g%d@10.0.0.1\r\n"
    b"CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


class Node:
    """A stack, its driver and the events it has had."""

    def __init__(self, network: SimNetwork, address: tuple[str, int]) -> None:
        numbers = itertools.count()
        self.stack = SipStack(
            StackConfig(), lambda: f"{address[0].replace('.', '')}x{next(numbers):08}", OpenGate()
        )
        self.events: list[tuple[float, SipEvent]] = []
        self.react: Callable[[SipEvent, float], None] = lambda event, now_s: None
        self.driver = Driver(self.stack, VirtualClock(virtual_loop()), virtual_loop(), self._take)
        self.driver.attach(network.transport(*address))

    def _take(self, event: SipEvent, now_s: float) -> None:
        self.events.append((now_s, event))
        self.react(event, now_s)

    def options(self, remote: tuple[str, int]) -> int:
        uri = NameAddr(f"sip:{remote[0]}")
        flow = self.driver.flow_to(remote)
        now_s = virtual_loop().time()
        handle = self.stack.request(
            "OPTIONS", f"sip:{remote[0]}", flow, from_=uri, to=uri, now_s=now_s
        )
        self.driver.pump()
        return handle

    def invite(self, remote: tuple[str, int]) -> int:
        uri = NameAddr(f"sip:x@{remote[0]}")
        flow = self.driver.flow_to(remote)
        session = self.stack.invite(
            target=f"sip:x@{remote[0]}",
            flow=flow,
            from_=uri,
            to=uri,
            sdp=b"v=0\r\n",
            timeout_s=60,
            now_s=virtual_loop().time(),
        )
        self.driver.pump()
        return session


@simulated()
async def test_a_request_and_its_response_pass_both_drivers() -> None:
    network = SimNetwork(default=PERFECT)
    a, b = Node(network, A), Node(network, B)

    def answer(event: SipEvent, now_s: float) -> None:
        assert isinstance(event, RequestReceived)
        b.stack.respond(event.handle, 200, now_s=now_s)
        b.driver.pump()  # inside a handler: the running pump goes on by itself

    b.react = answer
    handle = a.options(B)
    await asyncio.sleep(1)
    event = a.events[0][1]
    assert isinstance(event, ResponseReceived)
    assert (event.handle, event.response.status) == (handle, 200)
    assert a.driver.counters.sent == b.driver.counters.received == 1
    assert b.driver.snapshot()["exceptions"] == 0


@simulated()
async def test_the_timer_drives_retransmissions_at_their_times() -> None:
    network = SimNetwork(default=PERFECT)
    a = Node(network, A)
    sent: list[float] = []
    network.tap = lambda data, source, destination, now_s: sent.append(now_s)
    a.options(B)
    assert a.driver.snapshot()["timers"] == 1
    await asyncio.sleep(60)
    # RFC 3261 17.1.2.2: timer E doubles from T1 to T2, timer F ends it at 64 T1.
    assert sent == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
    assert [type(event).__name__ for _, event in a.events] == ["RequestFailed"]
    assert a.events[0][0] == pytest.approx(32)
    assert a.driver.snapshot()["timers"] == 0


@simulated()
async def test_while_many_messages_come_timers_have_their_turn_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = SimNetwork(default=PERFECT)
    a, loop = Node(network, A), virtual_loop()
    sent: list[float] = []
    woken: list[float] = []
    network.tap = lambda data, source, destination, now_s: sent.append(now_s)
    fire = a.driver._fire_timer
    monkeypatch.setattr(a.driver, "_fire_timer", lambda: (woken.append(loop.time()), fire()))
    flow = Flow("udp", A, B)

    async def read_for(seconds: float) -> None:
        until_s = loop.time() + seconds
        while loop.time() < until_s:
            a.driver.gather(lambda: a.driver.feed(b"\r\n\r\n", flow))
            await asyncio.sleep(0.003)

    await read_for(0.3)
    began_s = loop.time()
    a.options(B)
    await read_for(2.0)
    # RFC 3261 17.1.2.2: with the next message after their time, and not one waking of their own more.
    assert [at - began_s for at in sent] == pytest.approx([0, 0.5, 1.5], abs=0.0031)
    assert all(at >= began_s + due for at, due in zip(sent, (0, 0.5, 1.5), strict=True))
    assert len(woken) <= 2
    await asyncio.sleep(10)
    # Nobody comes any more: the first is a little late, those after it are not.
    apart_s = [later - earlier for earlier, later in itertools.pairwise(sent[2:])]
    assert apart_s == pytest.approx([2.04, 4.0, 4.0])
    a.driver.close()


@simulated()
async def test_many_transactions_share_one_timer() -> None:
    network = SimNetwork(default=PERFECT)
    a = Node(network, A)
    loop = virtual_loop()
    for _ in range(100):
        a.options(B)
    armed = [timer for timer in loop._scheduled if not timer.cancelled()]
    ours = [timer for timer in armed if "_fire_timer" in repr(timer)]
    assert len(ours) == 1
    await asyncio.sleep(40)
    assert len(a.events) == 100


@simulated()
async def test_a_broken_handler_ends_its_own_call_only(caplog: pytest.LogCaptureFixture) -> None:
    network = SimNetwork(default=PERFECT)
    a, b = Node(network, A), Node(network, B)

    def answer_the_second(event: SipEvent, now_s: float) -> None:
        if not isinstance(event, InviteReceived):
            return
        if len(b.events) == 1:
            raise RuntimeError("a bug in one call")
        b.stack.answer(event.session, b"v=0\r\n", now_s)

    b.react = answer_the_second
    first = a.invite(B)
    await asyncio.sleep(1)
    second = a.invite(B)
    await asyncio.sleep(1)
    outcome = {getattr(event, "session", None): type(event).__name__ for _, event in a.events}
    assert outcome == {first: "Failed", second: "Answered"}
    assert b.driver.counters.exceptions == 1
    assert "a bug in one call" in caplog.text
    a.stack.hang_up(second, now_s=virtual_loop().time())
    a.driver.pump()
    await asyncio.sleep(70)
    assert b.stack.snapshot()["sessions"] == 0


@simulated()
async def test_what_to_do_with_a_broken_call_can_be_decided() -> None:
    network = SimNetwork(default=PERFECT)
    a = Node(network, A)
    broken: list[tuple[SipEvent, Exception]] = []

    def fail(event: SipEvent, now_s: float) -> None:
        raise KeyError("no such thing")

    driver = Driver(
        a.stack,
        VirtualClock(virtual_loop()),
        virtual_loop(),
        fail,
        on_broken=lambda event, error: broken.append((event, error)),
    )
    driver.attach(network.transport("10.0.0.3", 5060))
    uri = NameAddr("sip:x@10.0.0.2")
    a.stack.request(
        "OPTIONS", "sip:10.0.0.2", driver.flow_to(B), from_=uri, to=uri, now_s=0.0, timeout_s=1
    )
    driver.pump()
    await asyncio.sleep(40)
    assert [type(error) for _, error in broken] == [KeyError]


@simulated()
async def test_tracebacks_are_limited(caplog: pytest.LogCaptureFixture) -> None:
    network = SimNetwork(default=PERFECT)
    a, b = Node(network, A), Node(network, B)

    def fail(event: SipEvent, now_s: float) -> None:
        raise RuntimeError

    b.react = fail
    with caplog.at_level(logging.ERROR, "softswitch.transport"):
        for _ in range(50):
            a.options(B)
        await asyncio.sleep(1)
        assert b.driver.counters.exceptions == 50
        assert len(caplog.records) == 20
        await asyncio.sleep(100)
        a.options(B)
        await asyncio.sleep(1)
        assert len(caplog.records) == 21


@simulated()
async def test_a_dead_peer_is_known_at_once() -> None:
    network = SimNetwork(default=PERFECT, icmp=True)
    a = Node(network, A)
    network.bind(B[0], 9)
    a.options(B)
    await asyncio.sleep(0.1)
    assert [type(event).__name__ for _, event in a.events] == ["RequestFailed"]
    assert a.events[0][1].status == 503  # type: ignore[union-attr]
    assert a.driver.counters.unreachable == 1


@simulated()
async def test_the_tap_sees_everything() -> None:
    network = SimNetwork(default=PERFECT)
    a, b = Node(network, A), Node(network, B)
    seen: list[tuple[str, bytes]] = []
    b.driver.tap = lambda passing: seen.append((_way(passing), passing[3][:11]))
    b.react = lambda event, now_s: b.stack.respond(event.handle, 486, now_s=now_s)  # type: ignore[union-attr]
    a.options(B)
    await asyncio.sleep(1)
    assert seen == [("in", b"OPTIONS sip"), ("out", b"SIP/2.0 486")]


@simulated()
async def test_addresses_are_attached_once_and_flows_match_them() -> None:
    network = SimNetwork()
    a = Node(network, A)
    with pytest.raises(SoftswitchError, match="attached already"):
        a.driver.attach(_Copy(A))
    assert a.driver.flow_to(B) == Flow("udp", A, B)
    with pytest.raises(SoftswitchError, match="no udp transport"):
        a.driver.flow_to(("2001:db8::1", 5060))
    with pytest.raises(SoftswitchError, match="no tcp transport"):
        a.driver.flow_to(B, "tcp")


@simulated()
async def test_loopback_is_for_loopback_peers() -> None:
    network = SimNetwork()
    a = Node(network, ("127.0.0.1", 5060))
    assert a.driver.flow_to(B).local == ("127.0.0.1", 5060)
    a.driver.attach(network.transport(*A))
    assert a.driver.flow_to(B).local == A
    assert a.driver.flow_to(("127.0.0.5", 5060)).local == ("127.0.0.1", 5060)
    a.driver.attach(network.transport("::", 5060))
    assert a.driver.flow_to(("2001:db8::1", 5060)).local == ("::", 5060)


@simulated()
async def test_a_flow_nobody_has_is_counted() -> None:
    network = SimNetwork()
    a = Node(network, A)
    uri = NameAddr("sip:x@10.0.0.2")
    strange = Flow("udp", ("10.0.0.77", 5060), B)
    a.stack.request("OPTIONS", "sip:10.0.0.2", strange, from_=uri, to=uri, now_s=0.0)
    a.driver.pump()
    assert a.driver.counters.unroutable == 1


@simulated()
async def test_a_closed_driver_is_quiet() -> None:
    network = SimNetwork(default=PERFECT)
    a, b = Node(network, A), Node(network, B)
    a.options(B)
    a.driver.close()
    a.driver.close()
    await asyncio.sleep(100)
    assert a.events == []
    assert network.snapshot()["endpoints"] == 1
    b.driver.close()


def _way(passing: Passing) -> str:
    return "in" if passing[1] else "out"


def _request(method: str, number: int, to_tag: str = "") -> bytes:
    tag = f";tag={to_tag}" if to_tag else ""
    return (
        f"{method} sip:x@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK{number};rport\r\n"
        f"From: <sip:y@10.0.0.1>;tag=f\r\nTo: <sip:x@10.0.0.2>{tag}\r\nCall-ID: {number}\r\n"
        f"CSeq: 1 {method}\r\nContact: <sip:y@10.0.0.1>\r\nMax-Forwards: 70\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def _by_method(data: bytes, flow: Flow, now_s: float) -> Rank | None:
    ranks = {b"INVITE": Rank.TRUNK_CALL, b"OPTIONS": Rank.GOING, b"REGISTER": Rank.PHONE}
    return ranks.get(data.partition(b" ")[0])


@simulated()
async def test_what_waits_is_handled_by_rank_and_who_has_none_is_not_looked_at() -> None:
    network = SimNetwork(default=PERFECT)
    b = Node(network, B)
    waits: list[float] = []
    b.driver.on_waited = waits.append
    b.driver.use_ranks(_by_method)
    flow = Flow("udp", B, A)
    for number, method in enumerate(("REGISTER", "INVITE", "OPTIONS", "MESSAGE")):
        b.driver.defer(_request(method, number), flow)
    b.driver.feed(_request("OPTIONS", 9), flow)  # may not overtake
    assert b.events == []
    await asyncio.sleep(0.1)
    methods = [
        e.request.method if isinstance(e, RequestReceived) else "INVITE" for _, e in b.events
    ]
    assert methods == ["OPTIONS", "OPTIONS", "INVITE", "REGISTER"]
    assert (b.driver.counters.deferred, b.driver.counters.sieved) == (4, 1)
    assert waits == [0.0]
    b.driver.close()


@simulated()
async def test_while_calls_have_to_wait_too_long_new_ones_are_refused_from_their_octets() -> None:
    network = SimNetwork(default=PERFECT)
    b = Node(network, B)
    caller = network.transport(*A)
    heard: list[bytes] = []
    caller.start(lambda data, flow: heard.append(data), lambda flow: None)
    b.driver.use_ranks(_by_method)
    b.driver._serving = True  # busy with something else
    flow = Flow("udp", B, A)
    for number in range(8):
        b.driver.defer(_request("INVITE", number), flow)
        await asyncio.sleep(0.04)
    refused = [data for data in heard if data.startswith(b"SIP/2.0 503 ")]
    assert len(refused) == 8 - len(b.driver.intake)
    assert len(refused) >= 3
    tag = refused[0].partition(b"To: <sip:x@10.0.0.2>;tag=")[2].partition(b"\r\n")[0].decode()
    received = b.stack.snapshot()["received"]
    b.driver.defer(_request("ACK", 7, tag), flow)
    b.driver._serve()
    await asyncio.sleep(0.01)
    b.driver.feed(_request("ACK", 7, tag), flow)
    assert b.driver.counters.acks_absorbed == 2
    assert b.stack.snapshot()["received"] == received + 8 - len(refused)
    b.driver.feed(_request("INVITE", 7), flow)  # the retransmission that has crossed the answer
    await asyncio.sleep(0.01)
    assert sum(isinstance(event, InviteReceived) for _, event in b.events) == 8 - len(refused)
    b.driver.close()


class _Copy:
    """A transport that claims an address."""

    name = "udp"

    def __init__(self, local: tuple[str, int]) -> None:
        self.local = local

    def start(self, receive: object, unreachable: object) -> None: ...

    def send(self, data: bytes, flow: Flow) -> None: ...

    def close(self) -> None: ...

    def snapshot(self) -> dict[str, int]:
        return {}


@simulated()
async def test_what_is_served_in_one_turn_leaves_together_refusals_too() -> None:
    network = SimNetwork(default=PERFECT)
    b = Node(network, B)
    course: list[str] = []
    b.driver.use_ranks(_by_method)
    b.driver.tap = lambda passing: course.append(_way(passing))
    b.driver.intake = Intake(
        lambda data, flow: b"503",
        StandingPolicy(target_s=0.0, interval_s=0.0),
    )
    flow = Flow("udp", B, A)

    def read() -> None:
        for number, method in enumerate(("OPTIONS", "OPTIONS")):
            b.driver.defer(_request(method, number), flow)
        b.driver.defer(_request("INVITE", 9), flow)
        course.append("read")

    def answer(event: SipEvent, now_s: float) -> None:
        assert isinstance(event, RequestReceived)
        b.stack.respond(event.handle, 200, now_s=now_s)

    b.react = answer
    b.driver.gather(read)
    assert course == ["read", "out"]
    await asyncio.sleep(0.1)
    assert course[2:] == ["in", "in", "out", "out"]
    b.driver.close()


@simulated()
async def test_what_messages_read_together_bring_leaves_after_them_and_media_hears_once() -> None:
    network = SimNetwork(default=PERFECT)
    a, b = Node(network, A), Node(network, B)
    course: list[str] = []
    b.driver = Driver(
        b.stack,
        VirtualClock(virtual_loop()),
        virtual_loop(),
        lambda event, now_s: course.append("answered") or b.react(event, now_s),
        tap=lambda passing: course.append(_way(passing)),
        before_sending=lambda: course.append("media"),
    )
    transport = network.transport("10.0.0.3", 5060)
    b.driver.attach(transport)

    def answer(event: SipEvent, now_s: float) -> None:
        assert isinstance(event, RequestReceived)
        b.stack.respond(event.handle, 200, now_s=now_s)

    b.react = answer
    flow = Flow("udp", ("10.0.0.3", 5060), A)

    def read() -> None:
        for number in range(2):
            b.driver.feed(OPTIONS % (number, number), flow)

    b.driver.gather(read)
    assert course == ["in", "answered", "in", "answered", "media", "out", "out"]

    def fail() -> None:
        b.driver.feed(OPTIONS % (7, 7), flow)
        raise OSError("the socket has gone")

    with pytest.raises(OSError, match="gone"):
        b.driver.gather(fail)
    assert course[7:] == ["in", "answered", "media", "out"]
    b.driver.feed(OPTIONS % (8, 8), flow)  # alone: at once
    assert course[11:] == ["in", "answered", "media", "out"]
    assert a.driver.counters.unroutable == b.driver.counters.unroutable == 0

    def read_and_close() -> None:
        b.driver.feed(OPTIONS % (9, 9), flow)
        b.driver.close()

    b.driver.gather(read_and_close)
    assert course[15:] == ["in", "answered"]
