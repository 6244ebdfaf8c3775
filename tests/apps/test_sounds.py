"""Sounds made at run time, texts spoken and files converted; what is missing is told at the start."""

from __future__ import annotations

import os
import shutil
import stat

import numpy as np
import pytest
import soundfile

from softswitch.call.loudness import quiet_tail, repaired, voiced_s
from softswitch.config import InvalidOffice, load_office
from softswitch.errors import CallError
from softswitch.prompts import Prompts
from softswitch.sim import audio
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office
from softswitch.sounds import SOUND_S_MAX, TEXT_MAX, MadeSounds


@pytest.fixture
def speaker(tmp_path):
    """A synthesiser that says a second of silence for whatever it is told, and counts."""
    program = tmp_path / "speak"
    wav = tmp_path / "second.wav"
    soundfile.write(wav, np.zeros(22_050, np.int16), 22_050)
    program.write_text(
        f'#!/bin/sh\ncat >> "{tmp_path}/said"\necho >> "{tmp_path}/said"\ncat "{wav}"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def said(tmp_path):
    return (tmp_path / "said").read_text("utf-8").split("\n")[:-1]


def prompts_in(tmp_path, program=None, **options):
    made = MadeSounds(tmp_path / "sounds", program=program, **options)
    return Prompts("en", own=tmp_path / "prompts", made=made)


async def test_a_text_is_spoken_once_and_found_again_after_a_restart(tmp_path, speaker):
    text = 'text:"您好 $(reboot) --help"'
    prompts = prompts_in(tmp_path, speaker)
    assert prompts.needs_making(text)
    with pytest.raises(CallError):
        prompts.find(text)
    await prompts.make(text)
    assert not prompts.needs_making(text)
    path = prompts.find(text)
    assert soundfile.info(path).frames == 22_050
    assert prompts.needs_making(text, "zh"), "another language, another sound"
    again = prompts_in(tmp_path, speaker)
    await again.make(text)
    assert again.find(text) == path
    assert said(tmp_path) == ["您好 $(reboot) --help"]


@pytest.mark.limit("text to be spoken", "sounds made")
async def test_texts_are_bounded_in_length_and_number(tmp_path, speaker):
    prompts = prompts_in(tmp_path, speaker, sounds_max=3)
    await prompts.make("text:" + "x" * TEXT_MAX)
    for words in ("", "x" * (TEXT_MAX + 1)):
        with pytest.raises(CallError):
            await prompts.make(f"text:{words}")
    os.utime(prompts.find("text:" + "x" * TEXT_MAX), (1, 1))
    for number in range(2, 6):
        await prompts.make(f"text:{number}")
        # Files of one second differ in nothing but their time.
        newest = prompts.find(f"text:{number}")
        os.utime(newest, (number, number))
        assert len(list((tmp_path / "sounds").glob("*.wav"))) == min(number, 3)
        assert prompts.needs_making("text:" + "x" * TEXT_MAX) == (number > 3), "the oldest goes"
        assert not prompts.needs_making(f"text:{number}")
    assert [n for n in range(2, 6) if prompts.needs_making(f"text:{n}")] == [2]


@pytest.mark.parametrize("program", [None, "/nowhere/espeak-ng", "/bin/false"])
async def test_where_nothing_speaks_a_text_is_refused(tmp_path, program):
    prompts = prompts_in(tmp_path, program)
    with pytest.raises(CallError):
        await prompts.make("text:hello")
    assert not list(tmp_path.glob("sounds/*"))


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
async def test_espeak_speaks(tmp_path):
    prompts = prompts_in(tmp_path, shutil.which("espeak-ng"))
    for text, language in (("text:good morning", "en"), ("text:早上好", "zh")):
        await prompts.make(text, language)
        assert 0.3 < soundfile.info(prompts.find(text, language)).duration < 3


def sound(seconds=1.0, parties=1, rate=44_100):
    t = np.arange(round(seconds * rate)) / rate
    return np.tile(0.3 * np.sin(2 * np.pi * 440 * t)[:, None], (1, parties))


@pytest.mark.parametrize(
    ("name", "options", "converts"),
    [
        ("plain.wav", {"subtype": "PCM_16"}, False),
        ("ulaw.wav", {"subtype": "ULAW"}, False),
        ("studio.wav", {"subtype": "PCM_24"}, True),
        ("float.wav", {"subtype": "FLOAT"}, True),
        ("small.flac", {"subtype": "PCM_16"}, True),
    ],
)
async def test_files_of_a_studio_are_converted(tmp_path, name, options, converts):
    file = tmp_path / name
    soundfile.write(file, sound(parties=2), 44_100, **options)
    prompts = prompts_in(tmp_path)
    assert prompts.needs_making(str(file)) == converts
    if converts:
        await prompts.make(str(file))
    path = prompts.find(str(file))
    assert (path == file) == (not converts)
    if converts:
        info = soundfile.info(path)
        assert (info.channels, info.subtype, info.samplerate) == (1, "PCM_16", 44_100)
        heard, _ = soundfile.read(path)
        assert np.corrcoef(heard, sound()[:, 0])[0, 1] > 0.999


async def test_what_is_no_sound_or_too_long_is_refused(tmp_path):
    prompts = prompts_in(tmp_path)
    rubbish = tmp_path / "rubbish.wav"
    rubbish.write_bytes(b"not a sound at all")
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros(round((SOUND_S_MAX + 1) * 100)), 100, subtype="PCM_24")
    for file in (rubbish, long):
        assert prompts.needs_making(str(file))
        with pytest.raises(CallError):
            await prompts.make(str(file))
    assert not list((tmp_path / "sounds").glob("*"))


# -- at the start -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        ("main-menue", 'did you mean "main-menu"'),
        ("nowhere.wav", "does not exist"),
        ("rubbish.wav", "could not be made"),
    ],
)
def test_sounds_that_are_not_there_are_told_at_the_start(tmp_path, greeting, words):
    (tmp_path / "rubbish.wav").write_bytes(b"RIFF")
    file = tmp_path / "office.toml"
    file.write_text(
        small_office(more=f'[[ivr]]\nname = "a"\ngreeting = "{greeting}"\n'), encoding="utf-8"
    )

    @simulated()
    async def start():
        async with World(1, office=load_office(file)):
            raise AssertionError("it started")

    with pytest.raises(InvalidOffice) as refused:
        start()
    assert refused.value.key_path == "ivr[0].greeting"
    assert words in str(refused.value)


def test_a_greeting_is_found_beside_the_office_file(tmp_path):
    soundfile.write(tmp_path / "hello.wav", sound(rate=8000), 8000, subtype="PCM_24")
    file = tmp_path / "office.toml"
    text = '[[ivr]]\nname = "a"\nnumber = "7000"\ngreeting = "hello.wav"\n'
    file.write_text(small_office(more=text), encoding="utf-8")

    @simulated()
    async def call_it():
        async with World(1, office=load_office(file)) as world:
            caller = await world.phone("1001")
            call = await caller.call("7000")
            await call.answered()
            (stream,) = world.media.streams.values()
            assert soundfile.info(stream.playing[1].path).subtype == "PCM_16"
            call.hang_up()
            await call.ended()
            await world.settle()

    call_it()


# -- how much is said in a recording ------------------------------------------------------------------


def test_speech_is_told_from_silence(tmp_path):
    file = tmp_path / "message.wav"
    spoken = audio.speech(1, 2.0)
    audio.write_wav(file, np.concatenate([spoken, audio.silence(3.0)]))
    assert 1.0 < voiced_s(file) < 2.01
    assert quiet_tail(file, 2.5)
    assert not quiet_tail(file, 3.5)
    assert not quiet_tail(file, 60.0), "not as long as that"
    assert repaired(file) == pytest.approx(5.0)
    noise = np.random.default_rng(1).normal(0, 30, 8000).astype(np.int16)
    audio.write_wav(file, noise)
    assert voiced_s(file) == 0.0
    for missing in (tmp_path / "nothing.wav", tmp_path):
        assert (repaired(missing), voiced_s(missing), quiet_tail(missing, 1.0)) == (0.0, 0.0, False)
