"""302 of a phone: its number is dialled with the rights of the phone's extension, its host never."""

from __future__ import annotations

import pytest

from softswitch.sim.behaviour import reject
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

RESTRICTED = """
[[extension]]
number = "2001"
password = "secret-2001"
"""


def moved(contact):
    return reject(302, headers=(("Contact", f"<{contact}>"),))


@simulated()
async def test_to_another_extension_whatever_host_it_names():
    async with World(1) as world:
        caller, target = await world.phone("1001"), await world.phone("1003")
        await world.phone("1002", behaviour=moved("sip:1003@203.0.113.66:5999"))
        call = await caller.call("1002")
        await call.answered()
        assert (await target.incoming()).state == "up"
        assert not [e for e in world.trace if e.destination[0] == "203.0.113.66"]
        (entry,) = world.journal.of_kind("call-forwarded")
        assert (entry.data["by"], entry.data["to"]) == ("1002", "1003")
        call.hang_up()
        await world.settle()


@simulated()
async def test_outside_only_with_the_rights_of_who_redirects():
    async with World(2, office=small_office(more=RESTRICTED)) as world:
        caller = await world.phone("1001")
        carrier = await world.trunk("carrier-1")
        await world.phone("2001", behaviour=moved("sip:90123@office.example"))
        call = await caller.call("2001")
        await call.ended()
        assert call.status == 403
        assert not carrier.past
        await world.phone("1002", behaviour=moved("sip:90123@office.example"))
        call = await caller.call("1002")
        await call.answered()
        assert (await carrier.incoming()).invite.request.request_uri.username == "0123"
        call.hang_up()
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    "behaviour", [reject(302), moved("urn:service:sos"), moved("sip:host.example")]
)
async def test_a_redirection_to_nowhere_is_no_answer(behaviour):
    async with World(3) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=behaviour)
        call = await caller.call("1002")
        await call.ended()
        assert call.status == 480
        await world.settle()


@simulated()
async def test_two_phones_that_redirect_to_each_other_stop():
    async with World(4) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=moved("sip:1003@office.example"))
        await world.phone("1003", behaviour=moved("sip:1002@office.example"))
        call = await caller.call("1002")
        await call.ended()
        assert call.status == 480
        assert len(world.journal.of_kind("call-forwarded")) == 5
        await world.settle()


@simulated()
async def test_a_redirection_stands_though_another_phone_of_the_extension_declines():
    async with World(5) as world:
        caller, target = await world.phone("1001"), await world.phone("1003")
        await world.phone("1002", behaviour=moved("sip:1003@office.example"))
        await world.phone("1002", behaviour=reject(486, after_s=2.0))
        call = await caller.call("1002")
        await call.answered()
        assert (await target.incoming()).state == "up"
        call.hang_up()
        await world.settle()
