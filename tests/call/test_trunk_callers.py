"""Who calls and who is called, as carriers are told it and tell it: on virtual time."""

from __future__ import annotations

import pytest

from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

NUMBER = "901065551234"
SHOWN = """
[[extension]]
number = "3001"
password = "secret-3001"
permissions = ["internal", "national"]
caller_id = "+861065553001"

[[extension]]
number = "3002"
password = "secret-3002"
permissions = ["internal", "national"]
hide_number = true

[[extension]]
number = "3003"
password = "secret-3003"
permissions = ["internal", "national"]
forward = { always = "901065559999" }

[[inbound]]
number = "+861065553003"
to = "extension:3003"
"""


async def outside(world, number_of_caller, headers=()):
    caller = await world.phone(number_of_caller)
    call = await caller.call(NUMBER, headers=headers)
    await call.answered()
    leg = await world.trunks["carrier-1"].incoming()
    call.hang_up()
    return leg.invite.request


@simulated()
async def test_numbers_shown_outside_are_owned_and_privacy_is_kept():
    async with World(12, office=small_office(more=SHOWN)) as world:
        await world.trunk("carrier-1")
        plain = await outside(world, "1001", [("P-Asserted-Identity", "<sip:+44999@evil>")])
        assert plain.from_.uri.user == "+861000"
        assert plain.headers.get_all("P-Asserted-Identity") == ["<sip:+861000@office.example>"]
        own = await outside(world, "3001")
        assert own.from_.uri.user == "+861065553001"
        hidden = await outside(world, "3002")
        assert hidden.from_.uri_text == "sip:anonymous@anonymous.invalid"
        assert hidden.headers.get("Privacy") == "id"
        assert hidden.headers.get("P-Asserted-Identity") == "<sip:+861000@office.example>"
        assert b"3002" not in hidden.serialise()
        asked = await outside(world, "1002", [("Privacy", "id")])
        assert asked.from_.uri_text == "sip:anonymous@anonymous.invalid"
        await world.settle()


@simulated()
@pytest.mark.parametrize("asserted", [True, False])
async def test_a_carrier_that_knows_its_customers_by_their_account(asserted):
    """From says who pays, in the carrier's own domain; the number is told beside it."""
    lines = 'from_user = "account"\nusername = "office"\npassword = "trunk-secret"\n'
    lines += f'from_domain = "carrier.example"\nasserted_identity = {str(asserted).lower()}\n'
    office = small_office(more=SHOWN).replace("health_check_s", f"{lines}health_check_s")
    async with World(12, office=office) as world:
        await world.trunk("carrier-1")
        told = await outside(world, "3001")
        assert told.from_.uri_text == "sip:office@carrier.example"
        number = "<sip:+861065553001@carrier.example>"
        names = ("P-Asserted-Identity", "P-Preferred-Identity")
        found = [told.headers.get(name) for name in names]
        assert found == ([number, None] if asserted else [None, number])
        hidden = await outside(world, "3002")
        assert hidden.from_.uri_text == "sip:office@carrier.example"
        assert hidden.headers.get("Privacy") == ("id" if asserted else "user")
        assert (hidden.headers.get(names[0]) is not None) is asserted
        assert hidden.headers.get(names[1]) is None
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("numbers", "dialled", "called"),
    [
        ("as-dialled", "901065551234", "01065551234"),
        ("e164", "901065551234", "+861065551234"),
        ("e164-digits", "901065551234", "861065551234"),
        ("e164", "9+861065551234", "+861065551234"),
        ("e164", "9110", "110"),
        ("e164", "910086", "10086"),
    ],
)
async def test_numbers_as_a_carrier_wants_them(numbers, dialled, called):
    office = small_office().replace("health_check_s", f'numbers = "{numbers}"\nhealth_check_s')
    async with World(13, office=office) as world:
        caller, carrier = await world.phone("1001"), await world.trunk("carrier-1")
        call = await caller.call(dialled)
        await call.answered()
        request = (await carrier.incoming()).invite.request
        assert (request.request_uri.user, request.to.uri.user) == (called, called)
        call.hang_up()
        await world.settle()


@simulated()
@pytest.mark.parametrize("how", ["diversion", "history-info", "none"])
async def test_a_forwarded_call_says_who_forwarded_it(how):
    office = small_office(more=SHOWN).replace(
        "health_check_s", f'diversion = "{how}"\nhealth_check_s'
    )
    async with World(13, office=office) as world:
        carrier = await world.trunk("carrier-1")
        call = await carrier.call("+861065553003", from_user="+8613800000001")
        onward = await carrier.incoming()
        request = onward.invite.request
        assert request.from_.uri.user == "+8613800000001"
        diversion, history = (request.headers.get(n, "") for n in ("Diversion", "History-Info"))
        shown = {"diversion": diversion, "history-info": history}
        for name, value in shown.items():
            assert value.startswith("<sip:+861000@office.example") is (name == how)
        reasons = {"diversion": ";reason=unconditional;counter=1", "history-info": ";cause=302>"}
        lines = " ".join([diversion, *request.headers.get_all("History-Info")])
        assert how == "none" or reasons[how] in lines
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
@pytest.mark.parametrize("how", ["diversion", "history-info"])
async def test_who_forwarded_a_call_before_it_came_is_shown_and_told_on(how):
    office = small_office(more=SHOWN).replace(
        "health_check_s", f'diversion = "{how}"\nhealth_check_s'
    )
    before = {
        "diversion": ("Diversion", "<sip:+86777@far.example>;reason=no-answer;counter=2"),
        "history-info": (
            "History-Info",
            "<sip:+86777@far.example>;index=1, <sip:+861000@office.example;cause=408>;index=1.1",
        ),
    }
    async with World(15, office=office) as world:
        carrier, phone = await world.trunk("carrier-1"), await world.phone("1001")
        call = await carrier.call("+861000", from_user="+8613800000001", headers=[before[how]])
        await call.answered()
        invite = (await phone.incoming()).invite.request
        (shown,) = invite.headers.get_all("Diversion")
        assert shown.startswith("<sip:+86777@far.example>;reason=no-answer")
        call.hang_up()
        await call.ended()

        call = await carrier.call("+861065553003", headers=[before[how]])
        onward = (await carrier.incoming()).invite.request
        written = ", ".join(onward.headers.get_all(before[how][0]))
        first, second = ("+861000@", "+86777@")[:: 1 if how == "diversion" else -1]
        assert written.index(first) < written.index(second), written
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
@pytest.mark.limit("of them, with those by others")
async def test_a_call_that_has_been_forwarded_too_often_is_not_forwarded_again():
    async with World(16, office=small_office(more=SHOWN)) as world:
        carrier = await world.trunk("carrier-1")
        for counter, goes_on in ((9, True), (10, False)):
            told = [("Diversion", f"<sip:+86777@far.example>;counter={counter}")]
            call = await carrier.call("+861065553003", headers=told)
            if goes_on:
                await carrier.incoming()
                call.hang_up()
            await call.ended()
            assert goes_on or call.status == 480
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ((), "+8613800000001"),
        ((("P-Asserted-Identity", '"Li" <sip:+8613900000009@c>'),), "+8613900000009"),
        ((("P-Asserted-Identity", "<tel:+86-139-0000-0009>"),), "+8613900000009"),
        ((("P-Asserted-Identity", "nonsense <<<"),), "+8613800000001"),
        (
            (("P-Asserted-Identity", "<sip:+8613900000009@c>"), ("Privacy", "id")),
            "anonymous",
        ),
    ],
)
async def test_the_number_that_a_trunk_asserts_is_the_callers(headers, shown):
    async with World(14, office=small_office()) as world:
        phone = await world.phone("1001")
        carrier = await world.trunk("carrier-1")
        call = await carrier.call("+861000", from_user="+8613800000001", headers=headers)
        await call.answered()
        assert (await phone.incoming()).invite.request.from_.uri.user == shown
        call.hang_up()
        await call.ended()
        await world.settle()
