"""The message flows of RFC 3665 with the exchange in the place of registrar and proxies, on virtual time:
a test a flow, named by its section. What each telephone sees is compared with the flow's messages.

The exchange is a B2BUA, so what the flows show of a request that passes through is shown here of two calls:

- 3.2: a second domain's proxy is a trunk to us. There is no Record-Route and no Via of the other side:
  either party knows the exchange only, and has a dialog of its own with it.
- 3.3: the flow's caller answers the second proxy's challenge through the first. Here the second challenge is
  the exchange's own to answer, with the trunk's password: a phone's password never leaves for a carrier, and
  what a carrier asks for never reaches a phone.
- 3.5: a SIP ALG in the signalling path, that writes its own addresses into Contact and SDP, is what the
  exchange is for every call.
"""

from __future__ import annotations

import asyncio

from softswitch.sim.behaviour import Behaviour, busy, reject, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import EXCHANGE, World, small_office
from tests.call.test_trunk_scenarios import CarrierGate


def seen(phone, *methods):
    """What passed between a telephone and the exchange: ``> INVITE`` it sent, ``< 180`` it got; of these
    methods only."""
    return [
        f"{'>' if entry.source == phone.local else '<'} {entry.status or entry.method}"
        for entry in phone.history
        if entry.method in methods and entry.status != 100
    ]


CALL = ("INVITE", "ACK", "BYE", "CANCEL", "PRACK")


async def two(world, **behaviour):
    caller, callee = await world.phone("1001"), await world.phone("1002", **behaviour)
    return caller, callee


@simulated()
async def test_2_1_successful_new_registration():
    async with World(21) as world:
        phone = await world.phone("1001")
        assert seen(phone, "REGISTER") == ["> REGISTER", "< 401", "> REGISTER", "< 200"]
        assert phone.registered


@simulated()
async def test_2_2_update_of_contact_list():
    async with World(22) as world:
        phone = await world.phone("1001")
        other = ("Contact", "<sip:1001@10.0.9.9:5060>")
        response = await phone.request("REGISTER", to=phone.aor, headers=(other,))
        assert response.status == 200
        assert {contact.uri.host for contact in response.contacts} == {"10.0.9.9", phone.local[0]}


@simulated()
async def test_2_3_request_for_current_contact_list():
    """A REGISTER without Contact asks and changes nothing; whoever asks must prove who he is all the same."""
    async with World(23) as world:
        phone = await world.phone("1001")
        desk = await world.phone("1001")
        before = world.switch.registrar.rows(0.0)
        uri = "sip:office.example"
        response = await phone.request("REGISTER", uri, to=phone.aor, contact="")
        assert response.status == 200
        hosts = {contact.uri.host for contact in response.contacts}
        assert hosts == {phone.local[0], desk.local[0]}
        assert all(0 < int(contact.param("expires")) <= 3600 for contact in response.contacts)
        asked = [e for e in phone.history if e.method == "REGISTER" and not e.status][-1]
        assert b"Contact" not in asked.data
        after = world.switch.registrar.rows(0.0)
        assert [row["contact"] for row in after] == [row["contact"] for row in before]


@simulated()
async def test_2_4_cancellation_of_registration():
    async with World(24) as world:
        phone = await world.phone("1001")
        response = await phone.unregister()
        assert (response.status, response.contacts) == (200, [])
        caller = await world.phone("1002")
        call = await caller.call("1001")
        await call.ended()
        assert call.status == 480


@simulated()
async def test_2_5_unsuccessful_registration():
    async with World(25) as world:
        phone = await world.phone("1001", register=False, password="not-the-password")
        response = await phone.register()
        assert response.status in (401, 403)
        assert world.switch.registrar.rows(0.0) == []


@simulated()
async def test_3_1_successful_session_establishment():
    async with World(31) as world:
        caller, callee = await two(world, behaviour=Behaviour(ring_s=1.0))
        call = await caller.call("1002")
        await call.answered()
        theirs = await callee.incoming()
        await asyncio.sleep(1)
        theirs.hang_up()
        await call.ended()
        challenged = ["> INVITE", "< 401", "> ACK"]
        up = ["> INVITE", "< 180", "< 200", "> ACK"]
        assert seen(caller, *CALL) == [*challenged, *up, "< BYE", "> 200"]
        assert seen(callee, *CALL) == ["< INVITE", "> 180", "> 200", "< ACK", "> BYE", "< 200"]
        await world.settle()


@simulated()
async def test_3_2_session_establishment_through_two_proxies():
    async with World(32) as world:
        caller = await world.phone("1001")
        carrier = await world.trunk("carrier-1", behaviour=Behaviour(ring_s=1.0))
        call = await caller.call("913800000000")
        await call.answered()
        theirs = await carrier.incoming()
        invite = theirs.invite.request
        assert len(invite.headers.get_all("Via")) == 1
        assert invite.headers.get("Record-Route") is None
        assert invite.call_id != caller.history.responses(200)[-1].call_id
        await asyncio.sleep(1)
        theirs.hang_up()
        await call.ended()
        up = ["> INVITE", "< 180", "< 200", "> ACK"]
        assert seen(caller, *CALL)[3:] == [*up, "< BYE", "> 200"]
        assert seen(carrier, *CALL) == ["< INVITE", "> 180", "> 200", "< ACK", "> BYE", "< 200"]
        await world.settle()


@simulated()
async def test_3_3_session_with_multiple_proxy_authentication():
    account = 'username = "office"\npassword = "trunk-secret"\nhealth_check_s'
    office = small_office().replace("health_check_s", account)
    async with World(33, office=office) as world:
        caller = await world.phone("1001")
        carrier = await world.trunk("carrier-1", gate=CarrierGate(realm="carrier.example"))
        call = await caller.call("913800000000")
        await call.answered()
        await carrier.incoming()
        await asyncio.sleep(1)
        once = ["> INVITE", "< 401", "> ACK", "> INVITE", "< 180", "< 200", "> ACK"]
        assert [step for step in seen(caller, *CALL) if step != "< 180"] == [
            step for step in once if step != "< 180"
        ], "the phone is asked for its own password only"
        invites = [e.data for e in carrier.history if e.method == "INVITE" and not e.status]
        assert b"uthorization:" not in invites[0]
        assert b'username="office"' in invites[1]
        assert b'realm="carrier.example"' in invites[1]
        assert b"secret" not in b"".join(e.data for e in world.trace)
        call.hang_up()
        await world.settle()


@simulated()
async def test_3_4_successful_session_with_proxy_failure():
    """The first next hop is dead: the second is tried (here: two trunks)."""
    async with World(34, office=small_office(trunks=2)) as world:
        phone, second = await world.phone("1001"), await world.trunk("carrier-2")
        call = await phone.call("913800000000")
        await call.answered()
        assert call.times["up"] - call.times["calling"] < 2.5
        assert len(second.calls) == 1
        call.hang_up()
        await call.ended()
        await world.settle(silent=[("10.0.1.1", 5060)])


@simulated()
async def test_3_5_session_through_a_sip_alg():
    """Neither telephone ever learns where the other is: Contact and SDP name the exchange."""
    async with World(35) as world:
        caller, callee = await two(world)
        call = await caller.call("1002")
        await call.answered()
        theirs = await callee.incoming()
        invite = theirs.invite.request
        assert caller.local[0].encode() not in invite.serialise()
        answer = caller.history.responses(200)[-1]
        assert callee.local[0].encode() not in answer.data
        assert invite.contacts[0].uri.host == EXCHANGE[0]
        for agreed in (call.agreed, theirs.agreed):
            assert agreed.remote[0] == EXCHANGE[0]
        call.hang_up()
        await world.settle()


@simulated()
async def test_3_6_successful_session_with_redirect_and_sdp_in_ack():
    async with World(36) as world:
        caller = await world.phone("1001")
        moved = (("Contact", "<sip:1003@office.example>"),)
        await world.phone("1002", behaviour=reject(302, headers=moved))
        third = await world.phone("1003")
        call = await caller.call("1002")
        await call.answered()
        assert third.calls
        await call.reinvite(sdp=False)  # our offer in the 200, the answer in the ACK
        assert call.state == "up"
        call.hang_up()
        await world.settle()


@simulated()
async def test_3_7_session_with_re_invite_of_another_address():
    async with World(37) as world:
        caller, callee = await two(world)
        call = await caller.call("1002")
        await call.answered()
        await callee.incoming()
        await call.reinvite()
        tail = ["> INVITE", "< 200", "> ACK"]
        await asyncio.sleep(1)
        assert seen(caller, *CALL)[-3:] == tail
        assert seen(callee, *CALL)[-1] == "< ACK", "the other leg is not troubled"
        call.hang_up()
        await world.settle()


@simulated()
async def test_3_8_unsuccessful_no_answer():
    async with World(38) as world:
        caller, callee = await two(world, behaviour=ring())
        call = await caller.call("1002")
        await call.ringing()
        await asyncio.sleep(2)
        call.hang_up()
        await call.ended()
        await asyncio.sleep(1)
        assert seen(caller, *CALL)[3:] == [
            "> INVITE",
            "< 180",
            "> CANCEL",
            "< 200",
            "< 487",
            "> ACK",
        ]
        assert seen(callee, *CALL) == ["< INVITE", "> 180", "< CANCEL", "> 200", "> 487", "< ACK"]
        await world.settle()


@simulated()
async def test_3_9_unsuccessful_busy():
    async with World(39) as world:
        caller, callee = await two(world, behaviour=busy())
        call = await caller.call("1002")
        await call.ended()
        await asyncio.sleep(1)
        assert seen(caller, *CALL)[3:] == ["> INVITE", "< 486", "> ACK"]
        assert seen(callee, *CALL) == ["< INVITE", "> 486", "< ACK"]
        await world.settle()


@simulated()
async def test_3_10_unsuccessful_no_response_from_user_agent():
    async with World(310) as world:
        caller, callee = await two(world)
        await callee.close()
        world.phones.pop("1002")
        call = await caller.call("1002")
        await call.ended()
        assert call.status in (408, 480)
        assert call.times["ended"] - call.times["calling"] < 62


@simulated()
async def test_3_11_unsuccessful_temporarily_unavailable():
    async with World(311) as world:
        caller, callee = await two(world, behaviour=reject(480, after_s=2.0))
        call = await caller.call("1002")
        await call.ended()
        assert seen(caller, *CALL)[3:5] == ["> INVITE", "< 180"]
        assert call.status == 480
        assert seen(callee, *CALL)[:3] == ["< INVITE", "> 180", "> 480"]
        await world.settle()
