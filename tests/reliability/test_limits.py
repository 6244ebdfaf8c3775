"""Every limit that `softswitch check --limits` prints is tested at N and at N+1.

A test says by `@pytest.mark.limit("...")` which limit it holds; the first test here walks the printed table
and fails for a limit that no test names. Then come the limits whose owner has no such test of its own.
"""

from __future__ import annotations

import ast
import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from softswitch.apps import messages
from softswitch.apps.messages import OCTETS_MAX, PENDING_MAX
from softswitch.call.waiting import DIGITS_MAX
from softswitch.cli.limits import limit_rows
from softswitch.sim.loop import simulated
from softswitch.sim.world import EXCHANGE, World, small_office
from softswitch.sip import uri
from softswitch.sip.parser import DEFAULT_LIMITS
from softswitch.sip.sdp import SessionDescription, description
from softswitch.sip.sdp.description import FORMATS_MAX, MEDIA_MAX
from softswitch.sip.uri import NameAddr, SipUri, Via
from tests.real_exchange import signalling
from tests.reliability.anomalies import SDP, message
from tests.reliability.conftest import attacked

TESTS = Path(__file__).parents[1]


@cache
def named_limits() -> Counter[str]:
    """The names in every `@pytest.mark.limit(...)` under tests/."""
    found: Counter[str] = Counter()
    for file in TESTS.rglob("test_*.py"):
        text = file.read_text()
        if "mark.limit(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.limit":
                found.update(str(ast.literal_eval(each)) for each in node.args)
    return found


@pytest.mark.parametrize("limit", [row[0] for row in limit_rows()])
def test_a_limit_that_is_printed_is_tested(limit: str) -> None:
    assert named_limits()[limit], f'no test says @pytest.mark.limit("{limit}")'


def test_a_test_names_limits_that_are_printed() -> None:
    assert set(named_limits()) <= {row[0] for row in limit_rows()}


def test_no_limit_is_printed_twice() -> None:
    names = [row[0] for row in limit_rows()]
    assert len(names) == len(set(names))


# -- limits whose owners have no test of their own -------------------------------------------------


@pytest.mark.limit("SIP addresses remembered")
@pytest.mark.parametrize("cache", [uri._sip_uri, uri.short_name_addr, uri._sent_by])
def test_addresses_of_strangers_push_each_other_out(cache) -> None:  # type: ignore[no-untyped-def]
    for number in range(uri.REMEMBERED_MAX + 1):
        SipUri.parse(f"sip:{number}@h")
        NameAddr.parse(f"<sip:{number}@h>")
        Via.parse(f"SIP/2.0/UDP h{number};branch=z9hG4bK1")
        if number == uri.REMEMBERED_MAX - 1:
            assert cache.cache_info().currsize == uri.REMEMBERED_MAX
    assert cache.cache_info().currsize == uri.REMEMBERED_MAX
    before = cache.cache_info().currsize
    SipUri.parse(f"sip:{'x' * 200}@h")
    NameAddr.parse(f"<sip:{'x' * 200}@h>")
    assert cache.cache_info().currsize == before


@pytest.mark.limit("SDP sections remembered")
@pytest.mark.parametrize(
    ("kind", "remembers"), [(b"audio", description._section), (b"AUDIO", description._lines_of)]
)
def test_session_descriptions_of_strangers_push_each_other_out(kind: bytes, remembers: Any) -> None:
    """As telephones write them, and as nobody does: other functions remember those."""
    most, sections = description.REMEMBERED_MAX, remembers.cache_info
    head = (
        b"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 h\r\nt=0 0\r\nm=%b 4000 RTP/AVP 0\r\n" % kind
    )
    for number in range(most):
        SessionDescription.parse(head + b"a=x:%d\r\n" % number)
    assert sections().currsize == most
    SessionDescription.parse(head + b"a=x:one-more\r\n")
    assert sections().currsize == most
    hits = sections().hits
    SessionDescription.parse(head + b"a=x:0\r\n")  # pushed out
    SessionDescription.parse(head + b"a=x:one-more\r\n")  # still there
    assert sections().hits == hits + 1


@pytest.mark.limit("SDP sections remembered")
def test_the_lines_before_the_media_of_strangers_push_each_other_out() -> None:
    most, beginnings = description.REMEMBERED_MAX, description._read_session.cache_info
    text = "v=0\r\no=- 1 1 IN IP4 h\r\ns={}\r\nc=IN IP4 h\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    for number in range(most + 1):
        SessionDescription.parse(text.format(number).encode())
        if number == most - 1:
            assert beginnings().currsize == most
    assert beginnings().currsize == most
    hits, misses = beginnings().hits, beginnings().misses
    SessionDescription.parse(text.format("long" * 300).encode())  # not remembered at all
    assert (beginnings().hits, beginnings().misses) == (hits, misses)


@pytest.mark.limit("parked calls")
@simulated()
async def test_as_many_calls_are_parked_as_may_and_the_next_goes_back() -> None:
    async with World(1, office=small_office(more="[parking]\nslots = 2\n")) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        calls = []
        for number in range(1, 4):
            calls.append(await caller.call("1002"))
            await calls[-1].answered()
            there = await callee.incoming()
            there.refer("<sip:*68@office.example>")
            await there.ended()
            if number == 3:
                back = await callee.incoming()  # at once: nobody waits two minutes for that
                assert back.times["ringing"] - there.times["ended"] < 5.0
            await asyncio.sleep(1.0)
            assert world.switch.snapshot()["apps"]["parking"]["parked"] == min(number, 2)
        assert [call.state for call in calls] == ["up"] * 3
        for call in calls:
            call.hang_up()
            await call.ended()
        await world.settle()


@pytest.mark.limit("message between extensions")
@simulated()
async def test_a_message_of_the_largest_size_passes_and_one_octet_more_is_413() -> None:
    async with World(1) as world:
        sender = await world.phone("1001")
        await world.phone("1002")
        statuses = [
            (await text_message(sender, b"x" * octets)).status
            for octets in (OCTETS_MAX, OCTETS_MAX + 1)
        ]
        assert statuses == [200, 413]


@pytest.mark.limit("messages under way")
@simulated()
async def test_so_many_messages_are_under_way_and_the_next_is_asked_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(messages, "BURST", 1e9)
    async with World(1) as world:
        sender = await world.phone("1001")
        callee = await world.phone("1002")
        world.network.cut(callee.local[0])  # nobody answers
        waiting = [asyncio.ensure_future(text_message(sender, b"x")) for _ in range(PENDING_MAX)]
        await asyncio.sleep(1.0)
        assert not any(each.done() for each in waiting)
        assert (await text_message(sender, b"x")).status == 503
        await asyncio.gather(*waiting)
        world.network.mend(callee.local[0])
        assert (await text_message(sender, b"x")).status == 200


async def text_message(sender, body: bytes):
    return await sender.request(
        "MESSAGE", "sip:1002@office.example", body=body, content_type="text/plain"
    )


@pytest.mark.limit("digits ahead")
@simulated()
async def test_so_many_digits_wait_and_then_the_oldest_are_forgotten() -> None:
    async with World(1) as world:
        caller = await world.phone("1001")
        await world.phone("1002")
        await (await caller.call("1002")).answered()
        (call,) = world.switch.control.calls
        for number in range(DIGITS_MAX):
            call.digit_pressed(str(number % 10))
        assert (len(call._digits), call._digits[0]) == (DIGITS_MAX, "0")
        call.digit_pressed("#")
        assert (len(call._digits), call._digits[0], call._digits[-1]) == (DIGITS_MAX, "1", "#")


@pytest.mark.limit("subscriptions")
@pytest.mark.parametrize(("limit", "refused"), [(2, 0), (1, 1)])
@simulated()
async def test_subscriptions_are_bounded(
    limit: int, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(1) as world:
        stack, phone = world.switch.driver.stack, await world.phone("1001")
        config = replace(stack.subscriptions._config, max_subscriptions=limit)
        monkeypatch.setattr(stack.subscriptions, "_config", config)
        for number in ("1001", "1002"):
            phone.subscribe("dialog", number)
        await asyncio.sleep(1.0)
        assert stack.snapshot()["subscriptions"] == limit
        answers = [e for e in world.trace.responses(503) if e.source == EXCHANGE]
        assert len(answers) == refused


# -- sizes of a message, on the wire ----------------------------------------------------------------

OFFICE = small_office(extensions=1, trunks=0, listen=["tcp://127.0.0.1:0"])
HEAD = (
    b"OPTIONS sip:1001@office.example SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\n"
    b"From: <sip:a@office.example>;tag=1\r\nTo: <sip:1001@office.example>\r\nCall-ID: c\r\n"
    b"CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n"
)
HEAD_LINES, HEAD_VIAS = 6, 1
CHALLENGED = (401, False)


def request(more: bytes = b"", body: bytes = b"") -> bytes:
    return HEAD + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def of_head(octets: int) -> bytes:
    """A request whose head has so many octets, without the empty line."""
    padding = octets - (len(request(b"Subject: \r\n")) - 4)
    return request(b"Subject: " + b"x" * padding + b"\r\n")


SIZES = [
    pytest.param(of_head, DEFAULT_LIMITS.head, (513, True), id="head"),
    pytest.param(lambda n: request(body=b"x" * n), DEFAULT_LIMITS.body, (413, True), id="body"),
    pytest.param(
        lambda n: request(b"X-A: 1\r\n" * (n - HEAD_LINES - 1)), DEFAULT_LIMITS.headers, (513, False),
        id="lines",
    ),
    pytest.param(
        lambda n: request(b"Via: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK2\r\n" * (n - HEAD_VIAS)),
        DEFAULT_LIMITS.vias, (400, False), id="Vias",
    ),
]  # fmt: skip


@pytest.mark.limit("SIP head", "SIP body", "SIP header lines", "Via entries")
@pytest.mark.parametrize(("made", "limit", "refusal"), SIZES)
async def test_the_largest_message_is_read_and_one_that_is_larger_refused(
    made: Callable[[int], bytes], limit: int, refusal: tuple[int, bool], tmp_path: Path
) -> None:
    async def asked(address: tuple[str, int], data: bytes) -> tuple[int, bool]:
        """The status that comes back, and whether the connection is closed then."""
        reader, writer = await asyncio.open_connection(*address)
        writer.write(data)
        async with asyncio.timeout(5.0):
            answer = await reader.readuntil(b"\r\n\r\n")
        try:
            async with asyncio.timeout(0.05):
                closed = not await reader.read()
        except TimeoutError:
            closed = False
        writer.close()
        return int(answer[8:11]), closed

    async with signalling(OFFICE, tmp_path) as exchange:
        (tcp,) = exchange.driver.transports
        assert await asked(tcp.local, made(limit)) == CHALLENGED
        assert await asked(tcp.local, made(limit + 1)) == refusal
        assert await asked(tcp.local, request()) == CHALLENGED, "and the next is served"


@pytest.mark.limit("SDP media lines", "SDP formats a line")
@pytest.mark.parametrize("what", ["lines", "formats"])
@simulated()
async def test_the_largest_offer_is_answered_and_one_that_is_larger_refused(what: str) -> None:
    head, line = SDP[: SDP.index(b"m=")], b"m=audio 40000 RTP/AVP 0"

    def offer(count: int) -> bytes:
        if what == "lines":
            return head + (line + b"\r\n") * count
        return head + line + b"".join(b" %d" % (n % 96) for n in range(1, count)) + b"\r\n"

    limit = MEDIA_MAX if what == "lines" else FORMATS_MAX
    async with attacked(1) as victim:
        for number, (count, status) in enumerate(((limit, b"200"), (limit + 1, b"400")), 1):
            found = await victim.after(message(number, body=offer(count)), "carrier", wait_s=1.0)
            finals = {each[8:11] for each in found if each[8:11] >= b"200" and b" INVITE" in each}
            assert finals == {status}, found
