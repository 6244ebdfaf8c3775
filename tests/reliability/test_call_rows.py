"""Rows 9, 15, 17, 32, 38, 39 and 42 of the reliability programme: credentials that stay at home, what a stolen
password costs, a network that doubles and shuffles, telephones that vanish or move, session timers."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.sim.behaviour import answer, reject
from softswitch.sim.link import Link
from softswitch.sim.loop import simulated
from softswitch.sim.phone_call import PhoneCall
from softswitch.sim.world import World, small_office
from softswitch.sip import session_timer
from softswitch.sip.flow import Flow, Outgoing
from softswitch.sip.message import SipRequest
from softswitch.sip.stack_config import StackConfig
from tests.rows import Row

CHALLENGES = (
    (401, "WWW-Authenticate", 'Digest realm="office.example", nonce="1", algorithm=MD5'),
    (407, "Proxy-Authenticate", 'Digest realm="elsewhere.example", nonce="2", algorithm=MD5'),
    (401, "WWW-Authenticate", 'Digest realm="carrier-9", nonce="3", qop="auth", algorithm=SHA-256'),
    (407, "WWW-Authenticate", 'Basic realm="office.example"'),
)
REFRESHED_S = 1_000.0
SECRET = """
[[trunk]]
name = "carrier-9"
uri = "sip:10.0.1.9:5060"
from_addresses = ["10.0.1.9:5060"]
username = "office"
password = "trunk-secret-9"
health_check_s = 0
"""


async def challenged(world: World, rounds: int) -> int:
    """How many challenges to the exchange's own requests came: INVITE from callee and carrier, then re-INVITE
    and BYE inside calls that are up."""
    caller = await world.phone("1001", calls_max=2_000)
    callee = await world.phone("1002", calls_max=2_000)
    carrier = await world.trunk("carrier-1")
    made = 0
    for number in range(rounds):
        status, name, value = CHALLENGES[number % len(CHALLENGES)]
        callee.behaviour = carrier.behaviour = reject(status, headers=((name, value),))
        for called in ("1002", "913800000000"):
            call = await caller.call(called)
            await call.ended()
            assert call.status not in (401, 407)
            made += 1
        callee.behaviour = carrier.behaviour = answer()
        for peer, called in ((callee, "1002"), (carrier, "913800000000")):
            call = await caller.call(called)
            await call.answered()
            theirs = next(iter(peer.calls.values()))
            challenger = Challenger(world, theirs, status, name, value)
            await asyncio.sleep(REFRESHED_S)  # the exchange keeps the session alive (RFC 4028)
            call.hang_up()
            await asyncio.sleep(1.0)
            made += challenger.stop()
            theirs.hang_up()
            await asyncio.sleep(1.0)
    return made


class Challenger:
    """Takes the place of a party in the network: what the exchange sends there inside the dialog is
    challenged."""

    def __init__(self, world: World, call: PhoneCall, status: int, name: str, value: str) -> None:
        self._stack = call._agent.stack
        self._kept = self._stack.receive_datagram
        self._line = f"SIP/2.0 {status} Prove it"
        self._header = f"{name}: {value}"
        self.challenges = 0
        self._stack.receive_datagram = self._receive

    def _receive(self, data: bytes, flow: Flow, now_s: float) -> None:
        method = data.partition(b" ")[0]
        if method not in (b"INVITE", b"UPDATE", b"BYE") or b";tag=" not in _line(data, b"To:"):
            self._kept(data, flow, now_s)
            return
        kept = [
            _line(data, name).decode()
            for name in (b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:")
        ]
        text = "\r\n".join([self._line, *kept, self._header, "Content-Length: 0", "", ""])
        self.challenges += 1
        self._stack.outbox.append(Outgoing(text.encode(), flow))  # leaves with what else does

    def stop(self) -> int:
        self._stack.receive_datagram = self._kept
        return self.challenges


def _line(data: bytes, name: bytes) -> bytes:
    return next((line for line in data.split(b"\r\n") if line.startswith(name)), b"")


async def credentials_stay_at_home(rounds: int, row: Row) -> int:
    async with World(15, office=small_office(more=SECRET)) as world:
        made = await challenged(world, rounds)
        leaks = [
            entry
            for entry in world.trace.requests()
            if entry.source == ("10.0.0.1", 5060) and b"authorization:" in entry.data.lower()
        ]
        row(
            15,
            "INVITE, re-INVITE and BYE challenged by callee and foreign trunk",
            challenges=made,
            leaks=len(leaks),
        )
        assert leaks == []
        await world.settle()
    return made


@simulated(limit_s=1e7)
async def test_nobody_but_the_trunk_itself_gets_credentials(row: Row):
    """Callees and a trunk without a password challenge; another trunk's password is not for them."""
    assert await credentials_stay_at_home(200, row) >= 1_000


@simulated()
async def test_a_stolen_password_costs_no_more_than_the_caps(row: Row):
    """Ten calls a second to foreign numbers with an extension's own password, for a minute."""
    office = small_office().replace(
        'permissions = ["internal", "local", "national"]',
        'permissions = ["internal", "national", "international"]\noutside_calls = 4\n'
        "international_per_h = 20",
        1,
    )
    async with World(17, office=office) as world:
        thief = await world.phone("1001", calls_max=1_000)
        carrier = await world.trunk("carrier-1", behaviour=answer(hang_up_after_s=5.0))
        began_s, most, tried = world.clock.wall_s(), 0, 0
        for _ in range(600):
            await thief.call("90044207946" + f"{tried % 10_000:04}")
            tried += 1
            most = max(most, len(carrier.calls))
            await asyncio.sleep(0.1)
        await asyncio.sleep(30)
        alarm_s = world.journal.of_kind("toll-cap-reached")[0].at_s - began_s
        row(
            17,
            "a stolen password, 10 calls a second abroad",
            tried=tried,
            connected=len(carrier.past),
            at_once=most,
            alarm_after_s=round(alarm_s, 1),
        )
        assert len(carrier.past) <= 20
        assert most <= 4
        assert alarm_s < 10
        for call in list(thief.calls.values()):
            call.hang_up()
        await world.settle()


def answered_before_ringing(world: World) -> int:
    """In how many calls, of the last ones that are remembered, the 200 came before the 180."""
    answered: set[tuple[str, tuple[str, int]]] = set()
    late: set[tuple[str, tuple[str, int]]] = set()
    for entry in world.arrived:
        call = (entry.call_id, entry.destination)
        if entry.status == 200 and entry.header("CSeq").endswith("INVITE"):
            answered.add(call)
        elif entry.status == 180 and call in answered:
            late.add(call)
    return len(late)


def cancelled_when_answered(world: World) -> int:
    """In how many calls, of the last ones that are remembered, CANCEL crossed the 200."""
    cancelled: set[str] = set()
    crossed: set[str] = set()
    for entry in world.arrived:
        if entry.method == "CANCEL":
            cancelled.add(entry.call_id)
        elif entry.status == 200 and entry.method == "INVITE" and entry.call_id in cancelled:
            crossed.add(entry.call_id)
    return len(crossed)


async def doubled_and_shuffled(count: int, row: Row) -> int:
    """How many calls have begun: a CANCEL may come before the challenged INVITE did."""
    rough = Link(duplicate=0.2, reorder=0.2, delay_s=0.005, jitter_s=0.01)
    async with World(32, link=rough) as world:
        caller = await world.phone("1001", calls_max=20_000)
        # It rings for so short a time that the 200 may overtake the 180.
        callee = await world.phone("1002", calls_max=20_000, behaviour=answer(after_s=0.01))
        for number in range(count):
            call = await caller.call("1002")
            if number % 4 == 3:
                await asyncio.sleep(0.04 + 0.001 * (number % 61))  # until about when the 200 comes
                call.hang_up()  # CANCEL, which may cross it
            else:
                await call.answered()
                *_, theirs = callee.calls.values()
                # Both hold at once: one of the two meets 491 or waits.
                await asyncio.gather(call.hold(), theirs.hold(), return_exceptions=True)
                (call if number % 2 else theirs).hang_up()
            await call.ended()
            await asyncio.sleep(0.5)
        await world.settle()
        ended = [entry.call_id for entry in world.journal.of_kind("call-ended")]
        started = [entry.call_id for entry in world.journal.of_kind("call-started")]
        ghosts = len(world.switch.control.calls) + len(caller.calls) + len(callee.calls)
        row(
            32,
            "20 % doubled, 20 % reordered, CANCEL and hold crossing",
            calls=len(started),
            ghosts=ghosts,
            double_records=len(ended) - len(set(ended)),
            met_491=len({(e.call_id, e.cseq) for e in world.trace.responses(491)}),
            answered_before_ringing=answered_before_ringing(world),
            cancelled_when_answered=cancelled_when_answered(world),
        )
        assert ghosts == 0
        assert len(started) <= count
        assert sorted(ended) == sorted(set(started))
        return len(started)


@simulated(limit_s=1e6)
async def test_a_network_that_doubles_and_shuffles_makes_one_call_of_one(row: Row):
    await doubled_and_shuffled(500, row)


@pytest.mark.soak
@simulated(limit_s=1e7)
async def test_ten_thousand_calls_doubled_and_shuffled(row: Row):
    assert await doubled_and_shuffled(10_100, row) >= 10_000


@simulated()
async def test_a_call_whose_telephones_have_vanished_ends(row: Row):
    """No BYE from either side. No media: the timeout of the media plane ends it. On hold, where silence
    is right: the session timer does."""
    count = 20
    async with World(38) as world:
        caller = await world.phone("1001", calls_max=100)
        await world.phone("1002", calls_max=100)
        calls = [await caller.call("1002") for _ in range(count)]
        await asyncio.gather(*(call.answered() for call in calls))
        for call in calls[count // 2 :]:
            await call.hold()
        held_at_s = world.clock.wall_s()
        for phone in list(world._agents):
            await phone.close()
        world._agents.clear()
        for call in calls:  # the one who holds may be silent
            stream = world.media.stream_at(call.agreed.remote[1])
            world.media.fall_silent(stream.local.stream_id)
        await asyncio.sleep(1)
        by_media = [e.data["by"] for e in world.journal.of_kind("call-ended")]
        await asyncio.sleep(2_000)
        ends = world.journal.of_kind("call-ended")
        late_s = max(entry.at_s for entry in ends) - held_at_s
        row(
            38,
            "both telephones vanish",
            calls=count,
            ended_by_media=len(by_media),
            ended_by_session_timer=len(ends) - len(by_media),
            after_s=round(late_s),
            ports_left=world.media.snapshot()["ports_used"],
        )
        assert by_media == ["media"] * (count // 2)
        assert len(ends) == count
        assert late_s < 1_800
        assert world.media.snapshot()["ports_used"] == 0


def test_the_eight_cases_of_session_timers(row: Row):
    """RFC 4028 section 9, table 2: who refreshes, by what the UAC supports and asks."""
    cases = {
        (False, ""): "uas",
        (False, "uac"): "uas",
        (False, "uas"): "uas",
        (True, ""): "uac",
        (True, "uac"): "uac",
        (True, "uas"): "uas",
    }
    right = 0
    for (supported, asked), refresher in cases.items():
        request = SipRequest("INVITE", "sip:x@y")
        request.headers.add("Session-Expires", f"600;refresher={asked}" if asked else "600")
        if supported:
            request.headers.add("Supported", "timer")
        timer, headers = session_timer.granted(request, StackConfig())
        assert timer is not None
        right += headers["Session-Expires"] == f"600;refresher={refresher}"
        assert timer.we_refresh is (refresher == "uas")
    short = SipRequest("INVITE", "sip:x@y")
    short.headers.add("Session-Expires", "30")
    right += session_timer.too_small(short, StackConfig()) is None  # no 422 for who knows none
    short.headers.add("Supported", "timer")
    right += session_timer.too_small(short, StackConfig()) == StackConfig().min_se_s
    row(39, "session timers", right=f"{right}/8")
    assert right == 8


@simulated()
async def test_a_telephone_that_moves_is_heard_where_it_is(row: Row):
    """It comes up at another address in the middle of a call (from wire to air) and says so by
    re-INVITE: its audio goes there at once, the other party is not troubled."""
    moves, gaps_s = 20, []
    async with World(42) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        await callee.incoming()
        stream = world.media.stream_at(call.agreed.remote[1])
        for move in range(moves):
            before = len(callee.history.requests("INVITE"))
            caller._silent[id(call)] = port = 45_000 + 2 * move
            moved_at_s = world.clock.monotonic_s()
            await call.reinvite()
            assert stream.params.remote[1] == port
            gaps_s.append(world.clock.monotonic_s() - moved_at_s)
            assert len(callee.history.requests("INVITE")) == before
        row(42, "audio moves in a call", moves=moves, gap_max_ms=round(1000 * max(gaps_s), 1))
        assert max(gaps_s) < 1.0
        call.hang_up()
        await world.settle()


@simulated()
@pytest.mark.parametrize("roams", [False, True])
async def test_signalling_from_a_new_address_goes_on_once_it_is_proven(roams: bool, row: Row):
    """The NAT forgets its mapping, or the telephone comes up behind another one: its re-INVITE is taken
    (challenged where the address is another), and what the exchange sends it goes there."""
    async with World(42) as world:
        nat = world.network.nat("203.0.113.7")
        caller = await world.phone("1001", network=nat, host="192.168.1.5")
        callee = await world.phone("1002", calls_max=100)
        moves, took_s = 20, []
        for move in range(moves):
            call = await caller.call("1002")
            await call.answered()
            theirs = next(iter(callee.calls.values()))
            if roams:
                nat.public_host = f"203.0.113.{100 + move}"
            nat.rebind()
            moved_at_s = world.clock.monotonic_s()
            await call.reinvite()
            took_s.append(world.clock.monotonic_s() - moved_at_s)
            theirs.hang_up()
            await call.ended()
            assert call.end is not None
            assert call.end.by == "remote"
        what = "another address" if roams else "another port"
        row(42, f"signalling from {what}", moves=moves, taken_after_ms=round(1000 * max(took_s), 1))
        assert max(took_s) < 1.0


@simulated()
@pytest.mark.parametrize("calls_out", [True, False])
async def test_a_call_follows_a_telephone_that_registers_from_elsewhere(calls_out: bool, row: Row):
    """The NAT has forgotten it, and all that it says is a REGISTER: the BYE of its call finds it all the same,
    and so does what it subscribed to."""
    async with World(44) as world:
        nat = world.network.nat("203.0.113.7")
        moving = await world.phone("1001", network=nat, host="192.168.1.5")
        other = await world.phone("1002", calls_max=100)
        moves, took_s = 10, []
        for _ in range(moves):
            if calls_out:
                call = await moving.call("1002")
                await call.answered()
                theirs = next(iter(other.calls.values()))
            else:
                theirs = await other.call("1001")
                await theirs.answered()
                call = next(iter(moving.calls.values()))
            nat.rebind()
            assert (await moving.register()).status == 200
            hung_up_at_s = world.clock.monotonic_s()
            theirs.hang_up()
            await call.ended()
            took_s.append(world.clock.monotonic_s() - hung_up_at_s)
            assert call.end is not None
            assert call.end.by == "remote"
        what = "a REGISTER only, calls " + ("out" if calls_out else "in")
        row(42, what, moves=moves, bye_after_ms=round(1000 * max(took_s), 1))
        assert max(took_s) < 0.5


@simulated()
async def test_who_cannot_prove_to_be_the_telephone_moves_nothing():
    """A stranger who knows all of the dialog (he has seen it on the wire) is challenged and no more."""
    async with World(43) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        theirs = await callee.incoming()
        stranger = world.network.bind("203.0.113.66", 5060)
        answers: list[bytes] = []
        stranger.start(lambda data, source: answers.append(data))
        invite = world.trace.requests("INVITE")[-1].data  # the exchange's own, to the callee
        line = {name: _line(invite, name) for name in (b"From:", b"To:", b"Call-ID:")}
        tag = callee.stack.dialog_of(theirs.session)["local_tag"].encode()
        for method in (b"BYE", b"INVITE", b"INFO", b"REFER"):
            stranger.send_to(
                method
                + b" sip:1001@10.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bKx"
                + method
                + b"\r\nFrom:"
                + line[b"To:"][3:]
                + b";tag="
                + tag
                + b"\r\nTo:"
                + line[b"From:"][5:]
                + b"\r\n"
                + line[b"Call-ID:"]
                + b"\r\nCSeq: 900 "
                + method
                + b"\r\nMax-Forwards: 70\r\nContact: <sip:x@203.0.113.66>\r\nContent-Length: 0\r\n\r\n",
                ("10.0.0.1", 5060),
            )
        await asyncio.sleep(1.0)
        assert [each[8:11] for each in answers] == [b"401"] * 4
        assert call.end is None
        assert theirs.end is None
        assert world.switch.driver.stack.snapshot()["foreign_source"] == 4
        call.hang_up()
        await call.ended()


@simulated(limit_s=1e4)
async def test_no_header_that_we_do_not_know_goes_from_one_call_to_the_other(row: Row) -> None:
    """Row 9, its second half: what would have to be the same octet by octet is nothing. With whatever headers
    the caller's INVITE comes, the callee's and the carrier's have the names that they have without."""
    passed = 0
    async with World(9, office=small_office()) as world:
        caller = await world.phone("1001")
        peers = (
            ("1002", await world.phone("1002")),
            ("913800000000", await world.trunk("carrier-1")),
        )
        for _, peer in peers:
            peer.behaviour = answer()
        names: dict[str, set[str]] = {}
        for number in range(100):
            extra = [
                (name, f'{number};\u4f60="{"x" * (number * 7 % 90)}"')
                for name in (
                    f"X-Ours-{number}",
                    "P-Unheard-Of",
                    "User-to-User",
                    "Alert-Info",
                    "x-secret",
                )
            ]
            for called, peer in peers:
                call = await caller.call(called, headers=extra if number else ())
                await call.answered()
                (taken,) = peer.calls.values()
                assert taken.invite is not None
                got = {name for name, _ in taken.invite.request.headers.items()}
                passed += len(got - names.setdefault(called, got))
                call.hang_up()
                await call.ended()
                await asyncio.sleep(0.1)
    row(9, "headers that we do not know, from one leg to the other", calls=200, passed=passed)
    assert passed == 0
