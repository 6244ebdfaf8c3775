"""Calls that come back to where they were: hops are counted down through us (RFC 7332), and somebody stops."""

from __future__ import annotations

import pytest

from softswitch.sim.behaviour import ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import EXCHANGE, World, small_office

ROUND = """
[[trunk]]
name = "round"
uri = "sip:10.0.1.9:5060"
from_addresses = ["10.0.1.9:5060"]
health_check_s = 0
max_calls = 200
max_calls_per_s = 200

[[outbound]]
prefix = "7"
permission = "internal"
trunks = ["round"]

[[inbound]]
number = "7*"
from = "round"
to = "trunk:round"
"""


def send_back(world):
    """A proxy at the address of a carrier that sends every request back to the exchange, and answers too."""
    here = world.network.bind("10.0.1.9", 5060)

    def take(data, source):
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        at = next(i for i, line in enumerate(lines) if line.startswith(b"Via:"))
        if data.startswith(b"SIP/2.0"):
            del lines[at]
        else:
            branch = lines[at].split(b"branch=")[1].split(b";")[0]
            lines.insert(at, b"Via: SIP/2.0/UDP 10.0.1.9:5060;branch=" + branch + b".p")
            hops = next(i for i, line in enumerate(lines) if line.startswith(b"Max-Forwards:"))
            lines[hops] = b"Max-Forwards: %d" % max(int(lines[hops][14:]) - 1, 0)
            body = body.replace(b"10.0.0.1", b"10.0.1.9")
        here.send_to(b"\r\n".join(lines) + b"\r\n\r\n" + body, EXCHANGE)

    here.start(take)


@simulated()
@pytest.mark.parametrize(("said", "told"), [("70", "69"), ("5", "4"), ("255", "70"), ("2", "1")])
async def test_what_goes_on_has_a_hop_less(said, told):
    async with World(1) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=ring())
        call = await caller.call("1002", headers=(("Max-Forwards", said),))
        there = await callee.incoming()
        assert there.invite.request.headers.get("Max-Forwards") == told
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_a_call_in_a_circle_of_trunks_ends_with_483():
    async with World(2, office=small_office(more=ROUND)) as world:
        send_back(world)
        caller = await world.phone("1001")
        call = await caller.call("7123")
        await call.ended()
        assert call.status == 483
        invites = {
            e.data.split(b"Call-ID: ")[1][:24] for e in world.trace if e.data.startswith(b"INVITE ")
        }
        assert len(invites) == 1 + 35  # the telephone's, and one of ours for every two hops
        await world.settle()
