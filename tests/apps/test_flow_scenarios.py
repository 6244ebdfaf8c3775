"""Flows as callers meet them: whole calls on virtual time."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from softswitch.apps.checks import OFFICE_CHECKS
from softswitch.config import parse_office
from softswitch.saying import phrase
from softswitch.sim.behaviour import answer, busy
from softswitch.sim.centre import centre_office, heard, press, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

DOCUMENT = (Path(__file__).parents[2] / "docs" / "ivr.md").read_text()
CRM = "https://crm.office.example/orders"
MORE = """
[[hours]]
name = "office-hours"
open = { mon-fri = ["09:00-18:00"] }

[[extension]]
number = "2001"
password = "secret-2001"
voicemail = { pin = "4711" }

[[customer]]
phone = ["+8613800000001"]
name = "Wang Wei"
tags = ["vip"]

[[customer]]
phone = ["+8613800000002"]
name = "Li Na"
tags = ["chinese"]
"""
ORDER = {
    "status": "on its way",
    "total": {"amount": 12.05},
    "delivery": {"day": "2026-12-31"},
    "customer": {"language": "zh"},
}


def example() -> str:
    """The complete example of the documentation; its texts are spoken by no program here."""
    found = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.S)
    text = next(block for block in found if "[[flow]]" in block)
    return re.sub(r"'text:\"[^\"]*\"'", '"please-hold"', text.replace('"1001"', '"2001"'))


INBOUND = """
[[inbound]]
number = "+861065551009"
to = "flow:orders"
"""


def office(flow=None):
    return centre_office(more=MORE + (example() + INBOUND if flow is None else flow))


def set_time(world, day):
    """Ten in the morning in Shanghai."""
    wanted_s = datetime(2026, 1, day, 2, 0, tzinfo=UTC).timestamp()
    world.clock.shift_wall(wanted_s - world.clock.wall_s())


def on_monday(world):
    """On a Monday."""
    set_time(world, 5)


async def arrive(world, number="01055550001", to="+861065551009"):
    carrier = world.trunks.get("carrier-1") or await world.trunk("carrier-1")
    call = await carrier.call(to, from_user=number)
    await call.answered()
    await asyncio.sleep(0.5)
    return call


async def hears(world, call, word, within_s=30.0):
    """Wait until a prompt is heard."""
    async with asyncio.timeout(within_s):
        while heard(world, call) != word:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def left(world):
    return [(e.data["why"], e.data["to"]) for e in world.journal.of_kind("flow-left")]


def test_the_example_is_a_valid_office():
    text = next(b for b in re.findall(r"```toml\n(.*?)```", DOCUMENT, re.S) if "[[flow]]" in b)
    text = text.replace('"1001"', '"2001"')
    office = parse_office(centre_office(more=MORE + text), checks=OFFICE_CHECKS)
    assert [len(flow.steps) for flow in office.flows] == [19]


@simulated()
async def test_the_example_asks_looks_up_and_tells():
    async with World(1, office=office()) as world:
        on_monday(world)
        world.environment.answers[CRM] = ORDER
        call = await arrive(world)
        press(world, call, "47110#")  # into the welcome: it counts
        await hears(world, call, "12")
        assert world.environment.asked == [(CRM, {"number": "47110", "caller": "01055550001"})]
        for word in ("yuan", "and", "5", "fen"):
            await hears(world, call, word)
        await hears(world, call, phrase("day", "2026-12-31", "en")[0])
        await asyncio.sleep(5)
        press(world, call, "3")
        await hears(world, call, "voicemail-greeting")
        call.hang_up()
        await call.ended()
        await world.settle()
        (end,) = world.journal.of_kind("flow-left")
        assert end.data["why"] == "hung up"
        assert end.data["steps"][-2:] == ["more", "message"]
        assert end.data["variables"]["price"] == "12.05"
        (asked,) = world.journal.of_kind("flow-asked")
        assert asked.data["answered"] is True


@simulated()
async def test_a_vip_is_put_through_first_and_asked_how_it_was():
    async with World(2, office=office()) as world:
        on_monday(world)
        others = [await arrive(world, f"0105555100{n}", "+861065551001") for n in range(2)]
        call = await arrive(world, "13800000001")
        await hears(world, call, "music:default")
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        rung = await phone.incoming()
        assert rung.invite.request.from_.display_name == "support: Wang Wei"
        await asyncio.sleep(15)
        assert talks_to(world, call, rung)
        rung.hang_up()
        await hears(world, call, "survey-question")
        press(world, call, "5")
        await hears(world, call, "goodbye")
        await call.ended()
        assert [e.data["score"] for e in world.journal.of_kind("survey")] == [5]
        for other in others:
            other.hang_up()
        await asyncio.sleep(60)
        for agent_call in list(phone.calls.values()):
            agent_call.hang_up()
        await world.settle()


@simulated()
@pytest.mark.parametrize("after_s", [0.0, 2.5])
async def test_no_answer_in_time_leads_to_people_and_nobody_there_to_a_message(after_s):
    async with World(3, office=office()) as world:
        on_monday(world)
        world.environment.answer_after_s = after_s
        world.environment.answers[CRM] = ORDER if after_s else None
        call = await arrive(world)
        press(world, call, "4711#")
        await hears(world, call, "music:default")
        await asyncio.sleep(301)
        await hears(world, call, "voicemail-greeting")
        call.hang_up()
        await call.ended()
        await world.settle()
        assert world.journal.of_kind("flow-asked")[0].data["answered"] is False


@simulated()
async def test_closed_and_in_chinese():
    async with World(4, office=office()) as world:
        on_monday(world)
        call = await arrive(world, "13800000002")
        await asyncio.sleep(3)
        stream = next(s for s in world.media.streams.values() if s.playing)
        assert "/zh/" in str(stream.playing[1].path)
        call.hang_up()
        await call.ended()
        set_time(world, 4)
        call = await arrive(world)
        await hears(world, call, "closed", 2.0)
        call.hang_up()
        await call.ended()
        await world.settle()


STEPS = """
[[flow]]
name = "front"
number = "7200"

[[flow.step]]
do = "collect"
prompt = "mailbox-pin"
into = "pin"
min_digits = 4
max_digits = 4
secret = true
failed = "no-pin"

[[flow.step]]
do = "set"
customer = "+8613800000001"
skill = "lang.{language} >= 3"
variables = { greeted = "yes" }

[[flow.step]]
do = "dial"
to = ["extension:1004", "extension:1005"]
ring_s = 10
busy = "record"
failed = "flow:back"

[[flow.step]]
do = "hang-up"
prompt = "goodbye"

[[flow.step]]
name = "record"
do = "record"
into = "file"
max_s = 5
next = "flow:back"

[[flow.step]]
name = "no-pin"
do = "transfer"
to = "extension:1006"

[[flow]]
name = "back"

[[flow.step]]
do = "branch"
value = "{greeted}"
cases = [{ known = false, go = "hangup" }]

[[flow.step]]
do = "menu"
prompt = "main-menu"
dial_extension = true
options = { "9" = "queue:support" }
failed = "extension:1006"
"""


@simulated()
async def test_secrets_dialling_recording_and_variables_that_go_along():
    async with World(5, office=office(STEPS)) as world:
        await world.phone("1004", behaviour=busy())
        await world.phone("1005", behaviour=busy())
        caller = await world.phone("1001")
        call = await caller.call("7200")
        await call.answered()
        await asyncio.sleep(0.5)
        press(world, call, "4711")
        await hears(world, call, "beep")
        await asyncio.sleep(8)
        assert heard(world, call) == "main-menu", "of the second flow"
        press(world, call, "9")
        await asyncio.sleep(4)
        (contact,) = world.switch.centre.host.engine.contact_ids
        view = world.switch.centre.host.engine.view_contact(contact, world.clock.monotonic_s())
        assert view.priority == 0
        assert view.attributes["customer_number"] == "+8613800000001"
        assert "lang.en" in " ".join(view.rule)
        call.hang_up()
        await call.ended()
        await world.settle()
        first, second = world.journal.of_kind("flow-left")
        assert first.data["to"] == "flow:back"
        assert "pin" not in first.data["variables"], "a secret"
        assert second.data["variables"]["file"].endswith("-flow-1.wav")
        digits = "".join(e.data["digit"] for e in world.journal.of_kind("digit"))
        assert digits.startswith("????"), digits
        assert not [e for e in world.journal.entries if "4711" in str(e.data)]


@simulated()
async def test_a_conversation_that_a_flow_dials_goes_on_in_the_flow():
    async with World(6, office=office(STEPS)) as world:
        partner = await world.phone("1004", behaviour=answer(after_s=1, hang_up_after_s=10))
        caller = await world.phone("1001")
        call = await caller.call("7200")
        await call.answered()
        press(world, call, "1234")
        await asyncio.sleep(5)
        assert talks_to(world, call, next(iter(partner.calls.values())))
        await hears(world, call, "goodbye")
        await call.ended()
        await world.settle()
        assert left(world) == [("step[3]", "hangup")]


@simulated()
async def test_who_never_presses_anything_goes_where_failed_says():
    async with World(7, office=office(STEPS)) as world:
        last = await world.phone("1006")
        caller = await world.phone("1001")
        call = await caller.call("7200")
        await call.answered()
        await asyncio.sleep(40)
        assert (await last.incoming()).state == "up"
        assert left(world) == [("no-pin", "extension:1006")]
        call.hang_up()
        await call.ended()
        await world.settle()


FAX = """
[[inbound]]
number = "+861065551010"
to = "flow:fax"

[[flow]]
name = "fax"

[[flow.step]]
do = "hear"
what = "cng"
prompt = "please-hold"
heard = "extension:1001"

[[flow.step]]
do = "hang-up"
prompt = "goodbye"
"""


@simulated()
async def test_a_fax_that_calls_the_menu_is_sent_to_the_machine():
    async with World(3, office=centre_office(more=FAX)) as world:
        machine = await world.phone("1001", behaviour=answer())
        call = await arrive(world, "01055550001", "+861065551010")
        await hears(world, call, "please-hold")
        ((stream_id, stream),) = world.media.streams.items()
        assert stream.progress == "cn"
        world.media.hear(stream_id, "cng")
        rung = await machine.incoming()
        await asyncio.sleep(1)
        assert talks_to(world, call, rung)
        call.hang_up()
        await world.settle()


@simulated()
async def test_a_person_who_calls_the_menu_goes_on_when_the_prompt_is_over():
    async with World(3, office=centre_office(more=FAX)) as world:
        call = await arrive(world, "01055550001", "+861065551010")
        await hears(world, call, "please-hold")
        await hears(world, call, "goodbye")
        await call.ended()
        await world.settle()
