"""Menus and messages over real sockets and the real media plane: what is heard, and what is kept."""

from __future__ import annotations

import asyncio
import contextlib
import shutil

import pytest

from softswitch import Call, Switch
from softswitch.config import parse_office
from softswitch.ports import free_port
from softswitch.prompts import Prompts
from softswitch.sim import audio
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.real_network import RealNetwork
from tests.punctual import punctual, watched

pytestmark = [pytest.mark.slow, pytest.mark.realtime]

OFFICE = """
[sip]
listen = ["udp://127.0.0.1:{sip_port}"]

[media]
ports = "{media_low}-{media_high}"
workers = 1

[storage]
directory = "{directory}"

[[extension]]
number = "1001"
password = "secret-1001"

[[extension]]
number = "1002"
password = "secret-1002"
voicemail = {{ pin = "4712" }}

[[conference]]
number = "8000"

[[ivr]]
name = "main"
number = "7000"
greeting = "main-menu"
options = {{ "3" = "voicemail:1002" }}

[[ivr]]
name = "spoken"
number = "7001"
greeting = 'text:"Good morning, this is a spoken menu"'
options = {{ "1" = "hangup" }}
"""


@contextlib.asynccontextmanager
async def running(tmp_path, prepare=None):
    port = free_port()
    # Not among those that the system hands out: a phone inside our own range would be refused.
    low = free_port(count=64)
    text = OFFICE.format(
        sip_port=port, media_low=low, media_high=low + 63, directory=tmp_path / "var"
    )
    switch = Switch(parse_office(text))
    if prepare is not None:
        prepare(switch)
    await switch.start()
    failed = True
    try:
        yield switch
        failed = False
    finally:
        await watched(switch, failed)
        await switch.stop()


@contextlib.asynccontextmanager
async def phone(switch, number):
    listen = switch.office.sip.listen[0]
    async with VirtualPhone(
        RealNetwork(),
        number=number,
        password=f"secret-{number}",
        server=(listen.host, listen.port),
        domain=switch.office.office.domain,
    ) as made:
        assert (await made.register()).status == 200
        yield made


@punctual
async def test_the_menu_is_heard_and_the_message_holds_what_was_said(tmp_path):
    said = audio.speech(3, 3.0)
    async with running(tmp_path) as switch, phone(switch, "1001") as caller:
        call = await caller.call("7000")
        await call.answered()
        await asyncio.sleep(3.5)
        menu = audio.read_wav(Prompts("en").find("main-menu"))[: 3 * audio.RATE_HZ]
        assert audio.match_in_pieces(menu, call.heard()) > 0.9
        call.press("3")
        await asyncio.sleep(1.0)
        call.press("#")  # no need to hear the greeting
        await asyncio.sleep(1.2)
        await call.play(said)
        call.press("#")
        await asyncio.sleep(1.0)
        call.press("1")  # send it as it is, before the choices are read out
        mailboxes = switch.catalogue.mailboxes
        for _ in range(50):
            if mailboxes.counts("1002") != (0, 0):
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        saved = audio.read_wav(Prompts("en").find("voicemail-saved"))[: audio.RATE_HZ]
        assert audio.match_in_pieces(saved, call.heard()) > 0.9
        call.hang_up()
        await call.ended()
        (message,) = mailboxes.messages("1002")
        kept = audio.read_wav(mailboxes.path_of(message))
        assert audio.match_in_pieces(said, kept) > 0.9
        assert message.duration_s == pytest.approx(len(kept) / audio.RATE_HZ)


@punctual
async def test_a_text_is_spoken_and_a_silent_caller_is_not_recorded_for_ever(tmp_path):
    recorded = []

    def prepare(switch):
        @switch.extension("7777")
        async def listen(call: Call) -> None:
            await call.answer()
            recorded.append(await call.record("said.wav", max_s=20.0, silence_s=1.0))

    async with running(tmp_path, prepare) as switch, phone(switch, "1001") as caller:
        call = await caller.call("7777")
        await call.answered()
        await call.play(audio.speech(4, 2.0))
        await call.ended()
        assert recorded[0].reason == "stopped"
        assert 2.5 < recorded[0].duration_s < 8.0
        if shutil.which("espeak-ng") is None:
            pytest.skip("espeak-ng is not installed: no text is spoken")
        call = await caller.call("7001")
        await call.answered()
        await asyncio.sleep(2.5)
        (made,) = (switch.directory / "sounds").glob("*.wav")
        words = audio.read_wav(made)
        assert audio.match_in_pieces(words[: 2 * audio.RATE_HZ], call.heard()) > 0.9
        call.hang_up()
        await call.ended()


@punctual
async def test_two_in_a_conference_hear_each_other(tmp_path):
    async with (
        running(tmp_path) as switch,
        phone(switch, "1001") as one,
        phone(switch, "1002") as two,
    ):
        first = await one.call("8000")
        await first.answered()
        await asyncio.sleep(2.5)  # "you are the first"
        second = await two.call("8000")
        await second.answered()
        await asyncio.sleep(1.0)
        said = {1: audio.speech(5, 2.5), 2: audio.speech(6, 2.5)}
        await asyncio.gather(first.play(said[1]), second.play(said[2]))
        await asyncio.sleep(0.4)
        assert audio.match_in_pieces(said[2], first.heard()) > 0.9
        assert audio.match_in_pieces(said[1], second.heard()) > 0.9
        assert audio.match_in_pieces(said[1], first.heard()) < 0.5, "nobody hears himself"
        for call in (first, second):
            call.hang_up()
            await call.ended()
