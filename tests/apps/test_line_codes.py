"""Do not disturb, call waiting and call forwarding: set by telephone, said in words, and obeyed."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.sim.behaviour import busy, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

MAILBOX = """
[[extension]]
number = "1010"
password = "secret-1010"
voicemail = { pin = "4711" }
"""


async def dial(world, number, code, digits="", after_s=1.0):
    """Dial a code, press digits, and stay to the end; what was said."""
    said = []
    play = world.media.play

    def listen(stream_id, source, **options):
        parts = getattr(source, "parts", (source,))
        said.extend(part.path.rsplit("/", 1)[1].rsplit(".", 1)[0] for part in parts)
        play(stream_id, source, **options)

    world.media.play = listen
    phone = world.phones[number]
    call = await phone.call(code)
    await call.answered()
    if digits:
        await asyncio.sleep(after_s)
        stream = world.media.stream_at(call.agreed.remote[1])
        world.media.press(stream.local.stream_id, digits)
    await call.ended()
    world.media.play = play
    return said


@simulated()
async def test_do_not_disturb():
    async with World(1) as world:
        caller, _ = await world.phone("1001"), await world.phone("1002")
        assert await dial(world, "1002", "*78") == ["do-not-disturb-on"]
        call = await caller.call("1002")
        await call.ended()
        assert call.status == 486
        assert world.switch.snapshot()["lines"][0]["do_not_disturb"] is True
        assert await dial(world, "1002", "*79") == ["do-not-disturb-off"]
        call = await caller.call("1002")
        await call.answered()
        call.hang_up()
        await world.settle()
        entries = world.journal.of_kind("line-changed")
        assert [(e.data["setting"], e.data["value"]) for e in entries] == [
            ("do_not_disturb", True),
            ("do_not_disturb", False),
        ]


@simulated()
async def test_a_group_rings_those_who_may_be_disturbed():
    group = '[[ring_group]]\nnumber = "1100"\nmembers = ["1002", "1003"]\n'
    async with World(2, office=small_office(more=group)) as world:
        caller = await world.phone("1001")
        quiet, other = await world.phone("1002"), await world.phone("1003")
        world.switch.lines.set("1002", "do_not_disturb", True, by="test")
        call = await caller.call("1100")
        await call.answered()
        assert other.calls
        assert not quiet.calls
        call.hang_up()
        await world.settle()


@simulated()
async def test_call_waiting():
    async with World(3) as world:
        first, second = await world.phone("1001"), await world.phone("1003")
        await world.phone("1002")
        assert await dial(world, "1002", "*71") == ["call-waiting-off"]
        talking = await first.call("1002")
        await talking.answered()
        refused = await second.call("1002")
        await refused.ended()
        assert refused.status == 486
        world.switch.lines.set("1002", "call_waiting", True)
        waiting = await second.call("1002")
        await waiting.answered()
        talking.hang_up()
        waiting.hang_up()
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("code", "digits", "said"),
    [
        ("*721003", "", ["forward-always", "1", "0", "0", "3"]),
        ("*72", "1003#", ["forward-number", "forward-always", "1", "0", "0", "3"]),
        ("*72", "9", ["forward-number", "unknown-number"]),
        ("*725555", "", ["unknown-number"]),
        ("*721002", "", ["unknown-number"]),
        ("*72*97", "", ["unknown-number"]),
    ],
)
async def test_forwarding_always(code, digits, said):
    async with World(4) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        third = await world.phone("1003")
        assert await dial(world, "1002", code, digits) == said
        call = await caller.call("1002")
        await call.answered()
        taken = third if said[-1] == "3" else callee
        assert [phone for phone in (callee, third) if phone.calls] == [taken]
        call.hang_up()
        await call.ended()
        assert await dial(world, "1002", "*73") == ["forward-off"]
        call = await caller.call("1002")
        await call.answered()
        assert callee.calls
        call.hang_up()
        await world.settle()


@simulated()
async def test_forwarding_ends_by_its_own_code_and_silence_changes_nothing():
    async with World(5) as world:
        await world.phone("1001")
        line = world.switch.lines
        line.set("1001", "forward_busy", "1003")
        assert await dial(world, "1001", "*74") == ["forward-number"]
        assert str(line.of("1001").forward_busy) == "1003"
        assert await dial(world, "1001", "*74", "#") == ["forward-number", "forward-off"]
        assert line.of("1001").forward_busy is None
        await world.settle()


@simulated()
@pytest.mark.parametrize(("code", "behaviour"), [("*74", busy()), ("*75", ring())])
async def test_forwarding_when_busy_and_on_no_answer(code, behaviour):
    async with World(6) as world:
        caller, third = await world.phone("1001"), await world.phone("1003")
        await world.phone("1002", behaviour=behaviour)
        said = await dial(world, "1002", code + "1003")
        assert said[1:] == ["1", "0", "0", "3"]
        call = await caller.call("1002")
        await call.answered()
        assert third.calls
        assert call.times["up"] - call.times["calling"] < 27
        call.hang_up()
        await world.settle()


@simulated()
async def test_to_the_own_mailbox():
    async with World(7, office=small_office(more=MAILBOX)) as world:
        caller = await world.phone("1001")
        await world.phone("1010")
        assert await dial(world, "1010", "*72*97") == ["forward-always", "forward-mailbox"]
        call = await caller.call("1010")
        await call.answered()
        await asyncio.sleep(1)
        assert world.journal.of_kind("call-routed")[-1].data["kind"] == "voicemail"
        call.hang_up()
        await world.settle()


@simulated()
async def test_forwarded_with_the_rights_of_who_forwards_and_a_carrier_sets_nothing():
    async with World(8) as world:
        carrier = await world.trunk("carrier-1")
        for number in ("*78", "*721003"):
            tried = await carrier.call(number)
            await tried.ended()
            assert tried.status == 404
        assert world.switch.lines.rows() == []
        await world.settle()


@simulated()
async def test_phones_of_one_extension_in_order_of_their_preference():
    office = small_office(extensions=3).replace(
        'number = "1002"\n', 'number = "1002"\nring = "in-order"\n'
    )
    async with World(9, office=office) as world:
        caller = await world.phone("1001")
        desk = await world.phone("1002", behaviour=ring(), register=False)
        mobile = await world.phone("1002", register=False)
        for phone, q in ((desk, "0.9"), (mobile, "0.4")):
            contact = ("Contact", f"<{phone.contact}>;q={q}")
            response = await phone.request("REGISTER", to=phone.aor, headers=(contact,))
            assert response.status == 200
        call = await caller.call("1002")
        await call.ringing()
        assert desk.calls
        assert not mobile.calls
        await call.answered()
        assert call.times["up"] - call.times["calling"] == pytest.approx(30, abs=1)
        assert mobile.calls
        assert not desk.calls
        call.hang_up()
        await world.settle()
