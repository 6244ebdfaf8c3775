"""Telephones behind proxies (Path, RFC 3327) and with several flows (RFC 5626): how they are reached."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.sim.behaviour import busy, reject, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

EDGE = "<sip:edge.example;lr;ob>"


async def registers(phone, *, path=(), flow=0):
    """REGISTER once more, by a way of its own."""
    where = f"sip:{phone.user}@{phone.local[0]}:{phone.local[1]}"
    contact = f"<{where}>"
    if flow:
        contact = f'<{where};way={flow}>;reg-id={flow};+sip.instance="<urn:uuid:1>"'
    lines = [("Contact", contact), ("Supported", "path, outbound")]
    lines += [("Path", route) for route in path]
    response = await phone.request("REGISTER", to=phone.aor, contact="", headers=lines)
    assert response.status == 200
    return response


def routes(phone, method):
    """The Route headers of each request of this method that it was sent."""
    got = [e.data for e in phone.history if e.method == method and not e.status]
    return [[line for line in data.split(b"\r\n") if line.startswith(b"Route:")] for data in got]


@simulated()
async def test_a_phone_behind_a_proxy_is_reached_by_the_way_it_registered():
    office = small_office().replace("[sip]", '[sip]\nqualify = "all"', 1)
    async with World(1, office=office) as world:
        caller = await world.phone("1001")
        phone = await world.phone("1002", behaviour=ring())
        await phone.unregister()
        response = await registers(phone, path=[EDGE, "<sip:core.example;lr>"])
        assert response.headers.values("Path") == [EDGE, "<sip:core.example;lr>"]
        call = await caller.call("1002")
        await phone.incoming()
        call.hang_up()
        await call.ended()
        await caller.request(
            "MESSAGE", "sip:1002@office.example", body=b"hello", content_type="text/plain"
        )
        await asyncio.sleep(60)
        way = [b"Route: " + EDGE.encode(), b"Route: <sip:core.example;lr>"]
        for method in ("INVITE", "CANCEL", "ACK", "MESSAGE", "OPTIONS"):
            found = routes(phone, method)
            assert found, method
            assert all(each == way for each in found), method
        for each in (caller, phone):  # nobody is asked any more
            await each.unregister()
        await asyncio.sleep(60)
        await world.settle()


@simulated()
async def test_a_phone_with_two_flows_rings_once_by_the_one_it_refreshed_last():
    async with World(2) as world:
        caller = await world.phone("1001")
        phone = await world.phone("1002", behaviour=ring())
        await phone.unregister()
        for flow in (1, 2, 1):
            await registers(phone, flow=flow)
        rows = world.switch.registrar.rows(0.0)
        assert [row["extension"] for row in rows].count("1002") == 2
        call = await caller.call("1002")
        await phone.incoming()
        await asyncio.sleep(1)
        (invite,) = phone.history.requests("INVITE")
        assert b"INVITE sip:1002@10.0.2.2:5060;way=1 " in invite.data
        call.hang_up()
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("behaviour", "tried", "status"),
    [(reject(430), ["way=2", "way=1"], 480), (busy(), ["way=2"], 486)],
)
async def test_the_next_flow_is_tried_when_one_leads_nowhere(behaviour, tried, status):
    async with World(3) as world:
        caller = await world.phone("1001")
        phone = await world.phone("1002", behaviour=behaviour)
        await phone.unregister()
        for flow in (1, 2):
            await registers(phone, flow=flow)
        call = await caller.call("1002")
        await call.ended()
        found = [e.data.split(b" ")[1].split(b";")[1] for e in phone.history.requests("INVITE")]
        assert [each.decode() for each in found] == tried
        assert call.status == status
        await world.settle()
