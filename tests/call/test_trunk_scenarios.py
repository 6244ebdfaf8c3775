"""Trunks that fail, come back, move, ask for passwords and say why: on virtual time."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from softswitch.call.trunk_health import Condition
from softswitch.sim.behaviour import answer, reject, ring
from softswitch.sim.loop import simulated
from softswitch.sim.trunk import VirtualTrunk
from softswitch.sim.world import EXCHANGE, World, small_office
from softswitch.sip.digest import Authenticator, ha1
from softswitch.sip.gate import Admitted, Refuse
from softswitch.sip.reason import ReasonHeader
from softswitch.transport.targets import Srv

NUMBER = "901065551234"


def record(world, name="carrier-1"):
    return world.switch.trunks.named(name)


async def dial(world, caller, number=NUMBER):
    call = await caller.call(number)
    await call.answered()
    call.hang_up()
    await asyncio.sleep(0.5)
    return call.times["up"] - call.times["calling"]


@simulated()
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_sick_trunk_costs_nothing_and_is_passed_over_after_three(status):
    async with World(1, office=small_office(trunks=2)) as world:
        caller = await world.phone("1001")
        first = await world.trunk("carrier-1", behaviour=reject(status))
        second = await world.trunk("carrier-2")
        for _ in range(3):
            assert await dial(world, caller) < 0.2
        assert record(world).condition is Condition.DOWN
        assert len(first.past) == 3
        await dial(world, caller)
        assert len(first.past) == 3, "the circuit is open"
        assert len(second.past) == 4
        first.behaviour = answer()
        await asyncio.sleep(31)
        await dial(world, caller)
        assert record(world).condition is Condition.UP
        assert record(world).load.calls == record(world, "carrier-2").load.calls == 0
        await world.settle()


@simulated()
async def test_a_carrier_that_says_retry_after_is_left_alone_for_so_long():
    async with World(1, office=small_office(trunks=2)) as world:
        caller = await world.phone("1001")
        busy = reject(503, headers=(("Retry-After", "40 (at lunch)"),))
        first = await world.trunk("carrier-1", behaviour=busy)
        await world.trunk("carrier-2")
        await dial(world, caller)
        assert record(world).condition is Condition.DOWN
        assert record(world).snapshot()["why"] == "calls answered 503, again after 40 s"
        await asyncio.sleep(20)
        await dial(world, caller)
        assert len(first.past) == 1
        first.behaviour = answer()
        await asyncio.sleep(21)
        await dial(world, caller)
        assert len(first.past) == 2
        assert record(world).condition is Condition.UP
        await world.settle()


@simulated()
async def test_silence_costs_two_seconds_three_times_and_then_none():
    async with World(2, office=small_office(trunks=2)) as world:
        caller = await world.phone("1001")
        await world.trunk("carrier-2")
        world.network.cut("10.0.1.1")
        took = [await dial(world, caller) for _ in range(5)]
        assert all(1.5 < each < 2.0 for each in took[:3])
        assert all(each < 0.2 for each in took[3:])
        assert record(world).snapshot()["why"] == "silent"
        await world.settle(silent=[("10.0.1.1", 5060)])


@simulated()
async def test_a_port_where_nobody_listens_costs_nothing():
    async with World(3, office=small_office(trunks=2)) as world:
        world.network._icmp = True
        caller = await world.phone("1001")
        gone = await world.trunk("carrier-1")
        world.network.bind("10.0.1.1", 9)
        await gone.close()
        world._agents.remove(gone)
        await world.trunk("carrier-2")
        assert await dial(world, caller) < 0.2
        await world.settle(silent=[("10.0.1.1", 5060)])


@simulated()
async def test_when_all_are_down_they_are_tried_all_the_same():
    async with World(4, office=small_office(trunks=2)) as world:
        caller = await world.phone("1001")
        first = await world.trunk("carrier-1", behaviour=reject(503))
        second = await world.trunk("carrier-2", behaviour=reject(503))
        for _ in range(3):
            call = await caller.call(NUMBER)
            await call.ended()
            assert call.status == 503
        assert {record(world, f"carrier-{n}").condition for n in (1, 2)} == {Condition.DOWN}
        first.behaviour = second.behaviour = answer()
        await dial(world, caller)
        await world.settle()


@simulated()
async def test_options_find_a_dead_trunk_before_any_call_does():
    async with World(5, office=small_office(trunks=2, health_check_s=20)) as world:
        caller = await world.phone("1001")
        first = await world.trunk("carrier-1")
        await world.trunk("carrier-2")
        await asyncio.sleep(30)
        assert record(world).condition is Condition.UP
        asked = [e for e in first.received if e.request.method == "OPTIONS"]
        assert len(asked) == 2
        world.network.cut("10.0.1.1")
        await asyncio.sleep(20 + 3 * 11)
        assert record(world).condition is Condition.DOWN
        assert record(world).snapshot()["why"] == "no answer"
        assert await dial(world, caller) < 0.2
        world.network.mend("10.0.1.1")
        await asyncio.sleep(12)
        assert record(world).condition is Condition.UP
        first.available = False
        await asyncio.sleep(40)
        assert record(world).condition is Condition.DOWN
        rows = {row["name"]: row for row in world.switch.snapshot()["trunks"]}
        assert rows["carrier-1"]["why"] == "OPTIONS answered 503"
        assert rows["carrier-2"]["state"] == "up"


@simulated()
async def test_a_trunk_that_answers_options_and_refuses_calls_stays_passed_over():
    """A call every five seconds for ten minutes: three find out, then ever fewer ask again, one at a time."""
    async with World(7, office=small_office(trunks=2, health_check_s=20)) as world:
        caller = await world.phone("1001")
        first = await world.trunk("carrier-1", behaviour=reject(503))
        second = await world.trunk("carrier-2")
        tried_s, states = [], set()
        for number in range(120):
            before = len(first.past)
            await dial(world, caller)
            if len(first.past) > before:
                tried_s.append(5 * number)
            if number > 2:
                states.add(record(world).condition.value)
            await asyncio.sleep(5.0 - asyncio.get_running_loop().time() % 5.0)
        answered = [e for e in first.received if e.request.method == "OPTIONS"]
        assert len(answered) >= 30, "and each had its 200"
        assert len(second.past) == 120
        assert states == {"down", "half-open"}
        assert len(tried_s) <= 3 + 7, tried_s
        waits = [b - a for a, b in itertools.pairwise(tried_s[2:])]
        assert waits == sorted(waits)
        assert 120 <= waits[-1] <= 130
        first.behaviour = answer()
        await asyncio.sleep(121)
        rows = {row["name"]: row for row in world.switch.snapshot()["trunks"]}
        assert (rows["carrier-1"]["state"], rows["carrier-1"]["why"]) == (
            "half-open",
            "calls answered 503",
        )
        await dial(world, caller)
        assert record(world).condition is Condition.UP
        before = len(first.past)
        await dial(world, caller)
        assert len(first.past) == before + 1, "calls go there again"
        assert record(world).load.calls == record(world, "carrier-2").load.calls == 0


@simulated()
async def test_only_one_of_many_calls_at_once_tries_a_sick_trunk_again():
    async with World(9, office=small_office(trunks=2)) as world:
        caller = await world.phone("1001")
        first = await world.trunk("carrier-1", behaviour=reject(503))
        await world.trunk("carrier-2")
        for _ in range(3):
            await dial(world, caller)
        first.behaviour = reject(503, after_s=1.0)
        await asyncio.sleep(11)
        before = len(first.past)
        calls = [await caller.call(NUMBER) for _ in range(4)]
        for call in calls:
            await call.answered()
        assert len(first.past) == before + 1
        for call in calls:
            call.hang_up()
        await asyncio.sleep(1)
        await world.settle()


@simulated()
async def test_callers_who_leave_before_anything_was_heard_tell_nothing_of_a_trunk():
    async with World(10, office=small_office(trunks=2)) as world:
        caller = await world.phone("1001")
        await world.trunk("carrier-2")
        world.network.cut("10.0.1.1")
        for number in range(3):
            await dial(world, caller)
            assert record(world).condition is not Condition.UP
            if number == 1:
                for _ in range(5):
                    call = await caller.call(NUMBER)
                    await asyncio.sleep(1.0)
                    call.hang_up()
                    await call.ended()
        assert record(world).condition is Condition.DOWN
        await world.settle(silent=[("10.0.1.1", 5060)])


NAMED = """
[[trunk]]
name = "named"
uri = "sip:carrier.example"
from_addresses = ["10.0.1.7", "10.0.1.8"]
health_check_s = 0

[[outbound]]
prefix = "8"
strip = 1
trunks = ["named"]
"""


async def server(world, host):
    from softswitch.sim.trunk import VirtualTrunk

    carrier = VirtualTrunk(
        world.network, name=host, server=("10.0.0.1", 5060), host=host, port=5060, sound=False
    )
    await carrier.open()
    world._agents.append(carrier)
    return carrier


def zone(world, *records, ttl_s=30.0):
    world.environment.dns.set("_sip._udp.carrier.example", "SRV", *records, ttl_s=ttl_s)
    world.environment.dns.set("a.carrier.example", "A", "10.0.1.7", ttl_s=ttl_s)
    world.environment.dns.set("b.carrier.example", "A", "10.0.1.8", ttl_s=ttl_s)


A, B = Srv(10, 0, 5060, "a.carrier.example"), Srv(20, 0, 5060, "b.carrier.example")


def named_world(seed):
    world = World(seed, office=small_office(more=NAMED))
    zone(world, A, B)
    return world


@simulated()
async def test_the_servers_of_a_name_are_tried_in_the_order_of_their_records():
    async with named_world(6) as world:
        caller = await world.phone("1001")
        first, second = await server(world, "10.0.1.7"), await server(world, "10.0.1.8")
        await dial(world, caller, "801065551234")
        first.behaviour = reject(503)
        await dial(world, caller, "801065551234")
        assert (len(first.past), len(second.past)) == (2, 1)
        assert record(world, "named").load.calls == 0
        zone(world, B)
        await asyncio.sleep(31)
        await dial(world, caller, "801065551234")
        assert (len(first.past), len(second.past)) == (2, 2), "the records have changed"
        (row,) = [r for r in world.switch.snapshot()["trunks"] if r["name"] == "named"]
        assert [t["address"] for t in row["targets"]] == ["10.0.1.8:5060"]
        await world.settle()


@simulated()
@pytest.mark.parametrize("fault", ["missing", "failing", "stall", "hostile"])
async def test_calls_go_on_while_the_dns_is_ill(fault, row):
    async with named_world(7) as world:
        caller = await world.phone("1001")
        await server(world, "10.0.1.7")
        if fault == "stall":
            world.environment.dns.delay_s = 10.0
        elif fault == "hostile":
            for name in ("a", "b"):
                world.environment.dns.set(f"{name}.carrier.example", "A", "255.255.255.255")
        else:
            getattr(world.environment.dns, fault).add("*")
        for _ in range(20):
            await asyncio.sleep(300)
            assert await dial(world, caller, "801065551234") < 0.2
        assert record(world, "named").problem
        await asyncio.sleep(24 * 3600)
        call = await caller.call("801065551234")
        await call.ended()
        assert call.status == 503, "an address older than a day is not used"
        row(41, f"DNS: {fault}", calls=20, lost=0, stale_for_s_at_most=86_400)


@simulated()
async def test_calls_go_on_while_records_change_all_the_time(row):
    """A TTL of nothing, and another server in each answer."""
    async with named_world(9) as world:
        caller = await world.phone("1001")
        first, second = await server(world, "10.0.1.7"), await server(world, "10.0.1.8")
        for number in range(20):
            zone(world, (A, B)[number % 2], ttl_s=0.0)
            await asyncio.sleep(300)
            assert await dial(world, caller, "801065551234") < 0.2
        went = [len(each.past) for each in (first, second)]
        row(41, "DNS: TTL 0 and changed records", calls=20, lost=20 - sum(went), of_each=went)
        assert went == [10, 10]


@simulated()
async def test_an_office_starts_without_dns_and_its_trunk_comes_up_later():
    world = World(8, office=small_office(more=NAMED))
    world.environment.dns.delay_s = 60.0
    async with world:
        caller = await world.phone("1001")
        await server(world, "10.0.1.7")
        call = await caller.call("801065551234")
        await call.ended()
        assert call.status == 503
        world.environment.dns.delay_s = 0.0
        zone(world, A)
        await asyncio.sleep(70)
        await dial(world, caller, "801065551234")


# -- registration -----------------------------------------------------------------------------------

REGISTERED = """
[[trunk]]
name = "registrar"
uri = "sip:10.0.1.9:5060"
username = "office"
password = "trunk-secret"
register = true
from_addresses = ["10.0.1.9:5060"]
caller_id = "+861065551000"
health_check_s = 0

[[outbound]]
prefix = "8"
strip = 1
trunks = ["registrar"]

[[inbound]]
number = "+861065551777"
to = "extension:1001"
"""


class CarrierGate:
    """Asks for the password of every request, as carriers do."""

    def __init__(self, password="trunk-secret", realm="10.0.1.9"):
        secret = {"office": password}
        self.authenticator = Authenticator(
            realm,
            b"c" * 32,
            lambda user, algorithm: (
                ha1(user, realm, secret[user], algorithm) if user in secret else None
            ),
        )
        self.admitted = []

    def admit(self, request, flow, now_s):
        result = self.authenticator.check(
            request.headers.get_all("Authorization"), request.method, request.uri, now_s, "x"
        )
        if not result.ok:
            challenges = self.authenticator.challenges(now_s, "x")
            return Refuse(401, [("WWW-Authenticate", each) for each in challenges])
        self.admitted.append(request.method)
        return Admitted("office")


@simulated()
async def test_registration_refresh_and_calls_with_digest():
    async with World(9, office=small_office(more=REGISTERED)) as world:
        gate = CarrierGate()
        carrier = await world.trunk("registrar", gate=gate)
        await asyncio.sleep(60)
        caller = await world.phone("1001")
        row = next(r for r in world.switch.snapshot()["trunks"] if r["name"] == "registrar")
        assert row["registration"] == "registered"
        await dial(world, caller, "801065551234")
        assert "INVITE" in gate.admitted
        await asyncio.sleep(3600)
        registers = [e.request for e in carrier.received if e.request.method == "REGISTER"]
        assert len(registers) == 2
        assert len({request.call_id for request in registers}) == 1
        numbers = [request.cseq.number for request in registers]
        assert numbers == sorted(set(numbers))
        contact = registers[0].contacts[0].uri
        assert (contact.user, contact.host) == ("office", "10.0.0.1")
        # A carrier sends calls to our contact, and names the number elsewhere.
        party = (("P-Called-Party-ID", "<sip:+861065551777@10.0.1.9>"),)
        inward = await carrier.call("sip:office@10.0.0.1", headers=party)
        await inward.answered()
        inward.hang_up()
        await inward.ended()
        await world.switch.trunk_care.stop()
        await asyncio.sleep(1)
        last = [e.request for e in carrier.received if e.request.method == "REGISTER"][-1]
        assert last.expires == 0, "leaving, we say good-bye"


@simulated()
async def test_a_wrong_password_is_shown_and_not_hammered():
    async with World(10, office=small_office(more=REGISTERED)) as world:
        gate = CarrierGate(password="another-secret")
        await world.trunk("registrar", gate=gate)
        await asyncio.sleep(3600)
        assert record(world, "registrar").registration == "refused: answered 401"
        tries = [e for e in world.arrived.requests("REGISTER") if e.destination[0] == "10.0.1.9"]
        assert len(tries) <= 2 * 8


@simulated()
@pytest.mark.parametrize("realm", ["10.0.1.9", "who.calls.through.it"])
async def test_only_the_realms_of_a_trunk_get_a_digest(realm):
    """What its own proxy asks, and not who is behind it; `status` says why nothing came of it."""
    named = REGISTERED.replace("register = true", 'register = true\nrealms = ["10.0.1.9"]')
    async with World(10, office=small_office(more=named)) as world:
        gate = CarrierGate(realm=realm)
        await world.trunk("registrar", gate=gate)
        caller = await world.phone("1001")
        await asyncio.sleep(10)
        call = await caller.call("801065551234")
        await asyncio.sleep(10)
        sent = [e for e in world.arrived.requests() if e.destination[0] == "10.0.1.9"]
        answered = [e.method for e in sent if b"uthorization: " in e.data]
        if realm == "10.0.1.9":
            assert answered == ["REGISTER", "INVITE", "ACK"]
            assert call.state == "up"
            call.hang_up()
            return
        assert answered == []
        assert call.status == 500, "a challenge is never passed on"
        why = 'asks for a password of realm "who.calls.through.it", which is not in its `realms`'
        assert record(world, "registrar").registration == f"refused: {why}"
        assert record(world, "registrar").snapshot()["why"] == why


@simulated()
async def test_a_challenge_of_another_host_gets_no_digest():
    """A trunk without a password, and a phone that challenges us: no credentials leave the house."""
    office = small_office(trunks=2, more=REGISTERED)
    async with World(11, office=office) as world:
        caller = await world.phone("1001")
        gate = CarrierGate()
        await world.trunk("carrier-1", gate=gate)
        await world.trunk("carrier-2")
        await dial(world, caller)
        sent = [entry for entry in world.trace.requests() if entry.source[0] == "10.0.0.1"]
        answered = [e for e in sent if b"Authorization:" in e.data]
        assert {entry.destination[0] for entry in answered} <= {"10.0.1.9"}


# -- sound -----------------------------------------------------------------------------------------


@simulated()
@pytest.mark.parametrize("media_from", ["sdp", "source"])
async def test_sound_of_a_carrier_behind_a_nat(media_from):
    """Only where the office says so is any port of the address that signals believed, as of telephones."""
    office = small_office().replace('"10.0.1.1:5060"', '"10.0.1.1"')
    office = office.replace("health_check_s", f'media_from = "{media_from}"\nhealth_check_s')
    async with World(61, office=office) as world:
        callee = await world.phone("1001")
        nat = world.network.nat("10.0.1.1")
        options = {"name": "carrier-1", "server": EXCHANGE, "host": "192.168.5.5", "port": 5060}
        carrier = VirtualTrunk(nat, sound=False, **options)
        await carrier.open()
        call = await carrier.call("+861000", from_user="+8613800000001")
        await call.answered()
        await callee.incoming()
        params = world.media.stream_at(call.agreed.remote[1]).params
        assert params.remote[0] == "192.168.5.5"
        assert params.nat is (media_from == "source")
        assert params.signalled_host == ("10.0.1.1" if media_from == "source" else None)
        call.hang_up()
        await asyncio.sleep(70)
        await carrier.close()
        await world.settle()


# -- why a call has failed ---------------------------------------------------------------------------


@simulated()
async def test_the_cause_that_a_carrier_tells_is_told_on():
    """A status says little; the Reason beside it says more (RFC 6432), and is what the caller and the record
    are told."""
    reason = (("Reason", 'SIP;cause=480, Q.850;cause=22;text="Number changed"'),)
    async with World(17) as world:
        caller = await world.phone("1001")
        await world.trunk("carrier-1", behaviour=reject(404, headers=reason))
        call = await caller.call(NUMBER)
        await call.ended()
        assert call.status == 404
        told = next(e for e in reversed(list(caller.history)) if e.status == 404)
        assert b"Reason: Q.850;cause=22" in told.data
        (ended,) = world.journal.of_kind("call-ended")
        assert ended.data["q850"] == 22
        await world.settle()


@simulated()
@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_call_that_a_carrier_says_was_taken_elsewhere_is_no_missed_one(elsewhere):
    async with World(18) as world:
        phone = await world.phone("1001", behaviour=ring())
        carrier = await world.trunk("carrier-1")
        call = await carrier.call("+861000")
        theirs = await phone.incoming()
        cause = ReasonHeader("SIP", 200, "Call completed elsewhere") if elsewhere else None
        carrier.stack.hang_up(call.session, cause=cause, now_s=carrier.now_s())
        carrier.driver.pump()
        end = await theirs.ended()
        assert (end.cause is not None and end.cause.elsewhere) is elsewhere
        await world.settle()
