"""Each key of the office file that menus, mailboxes and rooms obey does what it says: a test a key."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
import soundfile

from softswitch.config import parse_office
from softswitch.sim.behaviour import ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

PEOPLE = """
[[extension]]
number = "2001"
name = "Li Lei"
password = "secret-2001"
voicemail = { pin = "4711", email = "lilei@office.example" }

[[extension]]
number = "2002"
password = "secret-2002"
voicemail = { pin = "4712" }
forward = { no_answer = "voicemail", after_s = 7 }

[[ring_group]]
number = "1100"
members = ["1001"]

[[conference]]
number = "8000"
"""


def office(more=""):
    return small_office(extensions=2, more=PEOPLE + more)


def menu(**keys):
    lines = {"name": '"main"', "number": '"7000"', **keys}
    return "[[ivr]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def playing(world):
    """What the newest stream hears: folder and name of the file."""
    stream = world.media.streams[max(world.media.streams)]
    return "/".join(stream.playing[1].path.split("/")[-2:]) if stream.playing else ""


def destinations(world):
    return [entry.data["to"] for entry in world.journal.of_kind("menu-left")]


async def dial(world, number, phone="1002"):
    caller = world.phones.get(phone) or await world.phone(phone)
    call = await caller.call(number)
    await call.answered()
    await asyncio.sleep(0.1)
    return call


async def over(world, call):
    call.hang_up()
    await call.ended()
    await world.settle()


# -- [office] -----------------------------------------------------------------------------------------


@simulated()
async def test_office_language():
    text = office(menu()).replace("[office]", '[office]\nlanguage = "zh"', 1)
    async with World(1, office=text) as world:
        call = await dial(world, "7000")
        assert playing(world) == "zh/main-menu.flac"
        await over(world, call)


@simulated()
@pytest.mark.parametrize(("zone", "open_"), [("Asia/Shanghai", True), ("Europe/London", False)])
async def test_office_timezone(zone, open_):
    hours = '[[hours]]\nname = "h"\nopen = { mon = ["09:00-17:00"] }\n'
    text = office(hours + menu(hours='"h"', closed='"voicemail:2001"'))
    text = text.replace("[office]", f'[office]\ntimezone = "{zone}"', 1)
    async with World(2, office=text) as world:
        monday_10_in_china = datetime.fromisoformat("2026-01-05T10:00+08:00").timestamp()
        world.clock.shift_wall(monday_10_in_china - world.clock.wall_s())
        call = await dial(world, "7000")
        assert destinations(world) == ([] if open_ else ["voicemail:2001"])
        await over(world, call)


# -- [[ivr]] ------------------------------------------------------------------------------------------


@simulated()
async def test_ivr_number_and_name():
    async with World(3, office=office(menu(number='"7123"', name='"night"'))) as world:
        call = await dial(world, "7123")
        (routed,) = world.journal.of_kind("call-routed")
        assert (routed.data["kind"], routed.data["name"]) == ("ivr", "night")
        await over(world, call)


def test_ivr_greeting_is_a_prompt_a_file_or_a_text(tmp_path):
    file = tmp_path / "hello.wav"
    soundfile.write(file, [0.1] * 8000, 8000)

    @simulated()
    async def heard(greeting):
        async with World(4, office=office(menu(greeting=greeting))) as world:
            call = await dial(world, "7000")
            name = playing(world)
            await over(world, call)
            return name

    assert heard('"goodbye"') == "en/goodbye.flac"
    assert heard(f'"{file}"').endswith("/hello.wav")
    assert heard("'text:\"Good morning\"'").startswith("sounds/text-")


@simulated()
@pytest.mark.parametrize(
    "to",
    [
        "extension:1001",
        "ring_group:1100",
        "voicemail:2001",
        "conference:8000",
        "ivr:main",
        "hangup",
    ],
)
async def test_ivr_options(to):
    text = office(menu(options=f'{{ "5" = "{to}" }}', dial_extension="false"))
    async with World(5, office=text) as world:
        await world.phone("1001")
        call = await dial(world, "7000")
        world.media.press_newest("5")
        await asyncio.sleep(0.5)
        assert destinations(world) == [to]
        if to == "hangup":
            await call.ended()
        kinds = [entry.data["kind"] for entry in world.journal.of_kind("call-routed")]
        assert kinds == ["ivr", *([to.split(":")[0]] if to != "hangup" else [])]
        await over(world, call)


@simulated()
@pytest.mark.parametrize("on", [True, False])
async def test_ivr_dial_extension(on):
    text = office(menu(options='{ "9" = "hangup" }', dial_extension=str(on).lower()))
    async with World(6, office=text) as world:
        await world.phone("1001", behaviour=ring())
        call = await dial(world, "7000")
        world.media.press_newest("1001")
        await asyncio.sleep(0.5)
        assert destinations(world) == (["extension:1001"] if on else [])
        await over(world, call)


@simulated()
@pytest.mark.parametrize("invalid_max", [1, 2, 4])
async def test_ivr_invalid_max(invalid_max):
    keys = {
        "invalid_max": invalid_max,
        "otherwise": '"extension:1001"',
        "options": '{ "1" = "hangup" }',
    }
    async with World(7, office=office(menu(dial_extension="false", **keys))) as world:
        await world.phone("1001", behaviour=ring())
        call = await dial(world, "7000")
        for _ in range(invalid_max):
            assert destinations(world) == []
            world.media.press_newest("5")
            await asyncio.sleep(0.5)
        assert destinations(world) == ["extension:1001"]
        await over(world, call)


@simulated()
@pytest.mark.parametrize("timeout_s", [2, 9.5])
async def test_ivr_timeout_s(timeout_s):
    keys = {"timeout_s": timeout_s, "invalid_max": 1, "otherwise": '"extension:1001"'}
    async with World(8, office=office(menu(**keys))) as world:
        callee = await world.phone("1001", behaviour=ring())
        began_s = world.clock.monotonic_s()
        call = await dial(world, "7000")
        await callee.incoming()
        waited_s = world.clock.monotonic_s() - began_s
        assert waited_s == pytest.approx(2.0 + timeout_s, abs=0.2), "the greeting, then silence"
        await over(world, call)


@simulated()
async def test_ivr_otherwise():
    async with World(9, office=office(menu(otherwise='"voicemail:2001"'))) as world:
        call = await dial(world, "7000")
        await asyncio.sleep(3 * (4 + 6))
        assert destinations(world) == ["voicemail:2001"]
        await over(world, call)


@simulated()
@pytest.mark.parametrize("hours", [True, False])
async def test_ivr_hours_and_closed(hours):
    never = '[[hours]]\nname = "never"\nopen = {}\n'
    keys = {"hours": '"never"'} if hours else {}
    text = office(never + menu(closed='"voicemail:2001"', **keys))
    async with World(10, office=text) as world:
        call = await dial(world, "7000")
        assert destinations(world) == (["voicemail:2001"] if hours else [])
        await over(world, call)


# -- [[hours]] ----------------------------------------------------------------------------------------


@simulated()
@pytest.mark.parametrize(
    ("local", "open_"),
    [
        ("2026-09-28T08:59:59", False),
        ("2026-09-28T09:00:00", True),
        ("2026-09-28T11:59:59", True),
        ("2026-09-28T12:00:00", False),
        ("2026-10-02T13:30:00", False),  # a Friday, but a holiday
        ("2026-10-03T13:30:00", True),  # Saturday
        ("2026-10-04T13:30:00", False),
    ],
)
async def test_hours_open_and_holidays(local, open_):
    hours = (
        '[[hours]]\nname = "office-hours"\nholidays = ["2026-10-01", "2026-10-02"]\n'
        'open = { mon-fri = ["09:00-12:00", "13:00-18:00"], sat = ["10:00-14:00"] }\n'
    )
    text = office(hours + menu(hours='"office-hours"', closed='"voicemail:2001"'))
    async with World(11, office=text) as world:
        at = datetime.fromisoformat(local).replace(tzinfo=world.office.office.zone)
        caller = await world.phone("1002")
        world.clock.shift_wall(at.timestamp() - world.clock.wall_s())
        call = await caller.call("7000")
        await call.answered()
        await asyncio.sleep(0.5)
        assert destinations(world) == ([] if open_ else ["voicemail:2001"])
        await over(world, call)


# -- mailboxes and [codes] ------------------------------------------------------------------------------


@simulated()
async def test_extension_voicemail_pin():
    async with World(12, office=office()) as world:
        call = await dial(world, "*97", phone="2001")
        world.media.press_newest("4711#")
        await asyncio.sleep(0.5)
        assert playing(world) == "en/mailbox-no-messages.flac"
        await over(world, call)


@simulated()
async def test_extension_voicemail_email():
    text = office(menu(options='{ "1" = "voicemail:2001" }', dial_extension="false"))
    async with World(13, office=text) as world:
        call = await dial(world, "7000")
        world.media.press_newest("1")
        await asyncio.sleep(10)
        await over(world, call)
        assert [mail["To"] for mail in world.environment.mails] == ["lilei@office.example"]


@simulated()
async def test_extension_forward_to_voicemail_after_s():
    async with World(14, office=office()) as world:
        await world.phone("2002", behaviour=ring())
        began_s = world.clock.monotonic_s()
        call = await dial(world, "2002")
        assert world.clock.monotonic_s() - began_s == pytest.approx(7.1, abs=0.2)
        assert playing(world) == "en/voicemail-greeting.flac"
        await over(world, call)


@simulated()
async def test_codes_voicemail():
    text = office('[codes]\nvoicemail = "*55"\n')
    async with World(15, office=text) as world:
        call = await dial(world, "*55", phone="2001")
        assert playing(world) == "en/mailbox-pin.flac"
        call.hang_up()
        await call.ended()
        old = await world.phones["2001"].call("*97")
        await old.ended()
        assert old.status == 404
        await world.settle()


@simulated()
async def test_storage_directory_and_recording_retain_days():
    text = office(menu(options='{ "1" = "voicemail:2001" }', dial_extension="false"))
    text = text.replace("[recording]", "[recording]\nretain_days = 2", 1)
    async with World(16, office=text) as world:
        call = await dial(world, "7000")
        world.media.press_newest("1")
        await asyncio.sleep(10)
        await over(world, call)
        folder = world.switch.directory / "voicemail" / "2001"
        assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".wav"]
        await asyncio.sleep(2 * 86_400 - 300)
        assert len(list(folder.iterdir())) == 2
        await asyncio.sleep(86_400)
        assert list(folder.iterdir()) == []


# -- [[conference]] -------------------------------------------------------------------------------------


@simulated()
@pytest.mark.parametrize(("pin", "first"), [("", "conference-only-one"), ("77", "conference-pin")])
async def test_conference_number_and_pin(pin, first):
    text = office(f'[[conference]]\nnumber = "8123"\npin = "{pin}"\n')
    async with World(17, office=text) as world:
        call = await dial(world, "8123")
        assert playing(world) == f"en/{first}.flac"
        await over(world, call)


@simulated()
async def test_conference_max_participants():
    text = office('[[conference]]\nnumber = "8123"\nmax_participants = 2\n')
    async with World(18, office=text) as world:
        first, second = await dial(world, "8123", "1001"), await dial(world, "8123", "1002")
        third = await dial(world, "8123", "2001")
        assert playing(world) == "en/conference-full.flac"
        await third.ended()
        for call in (first, second):
            call.hang_up()
            await call.ended()
        await world.settle()


# -- [mail] ---------------------------------------------------------------------------------------------


@simulated()
async def test_mail_from():
    text = office(menu(options='{ "1" = "voicemail:2001" }', dial_extension="false"))
    async with World(19, office=text + '[mail]\nfrom = "pbx@example.net"\n') as world:
        call = await dial(world, "7000")
        world.media.press_newest("1")
        await asyncio.sleep(10)
        await over(world, call)
        assert [mail["From"] for mail in world.environment.mails] == ["pbx@example.net"]


def test_mail_server_and_security():
    mail = parse_office('[mail]\nserver = "192.0.2.1:465"\nsecurity = "tls"\n').mail
    assert (str(mail.server), mail.security) == ("192.0.2.1:465", "tls")
