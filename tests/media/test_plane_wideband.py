"""Wideband: what G.722, Opus and L16 at 16 kHz carry above 3.4 kHz reaches whoever can hear it.

L16 is the instrument: what it carries is exact, so sums can be compared sample by sample.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from media.dsp import tones, wav
from media.dsp.codecs import codec_of
from media.protocol import (
    Connect,
    DigitReceived,
    File,
    JoinRoom,
    Monitor,
    PlayFinished,
    RecordingStopped,
    ReleaseStream,
    StartPlay,
    StartRecording,
    StopRecording,
)
from tests.media.party import Party, level, needs_opus, talk

WIDE = ["G722", "L16/16000", pytest.param("opus", marks=needs_opus)]


@pytest.mark.parametrize("left", WIDE)
@pytest.mark.parametrize("right", WIDE)
def test_transcoding_between_wideband_codecs_keeps_5_khz(world, make_talker, left, right):
    a = Party(world, make_talker, 1, left).tone((5000, 6000), (700, 4000))
    b = Party(world, make_talker, 2, right).tone((6000, 6000), (900, 4000))
    world.do(Connect(1, 2))
    sent = talk(world, (a, b), 75)
    to_a, to_b = a.heard(sent), b.heard(sent)
    assert 0.7 * 6000 < level(to_b, 5000, 16_000) < 1.3 * 6000
    assert 0.7 * 4000 < level(to_b, 700, 16_000) < 1.3 * 4000
    assert 0.7 * 6000 < level(to_a, 6000, 16_000) < 1.3 * 6000


@needs_opus
def test_5_khz_passes_a_room_of_wideband_parties_and_spares_the_narrowband_one(world, make_talker):
    a = Party(world, make_talker, 1, "G722").tone((5000, 5000))
    b = Party(world, make_talker, 2, "opus").tone((1000, 5000))
    c = Party(world, make_talker, 3, "PCMU").tone((2000, 5000))
    d = Party(world, make_talker, 4, "L16/16000").tone((6500, 3000))
    parties = (a, b, c, d)
    for party in parties:
        world.do(JoinRoom(1, party.number))
    sent = talk(world, parties, 75)
    to_a, to_b, to_c, to_d = (party.heard(sent) for party in parties)
    for sound, said in (
        (to_b, (5000, 2000, 6500)),
        (to_d, (5000, 2000, 1000)),
        (to_a, (1000, 2000)),
    ):
        for hz in said:
            wanted = 3000 if hz == 6500 else 5000
            assert 0.7 * wanted < level(sound, hz, 16_000) < 1.3 * wanted, hz
    assert level(to_a, 5000, 16_000) < 60, "nobody hears himself"
    assert 0.9 * 5000 < level(to_c, 1000, 8_000) < 1.1 * 5000
    # What 8 kHz cannot carry is gone, and not folded down to 3,000 and 1,500.
    assert level(to_c, 3000, 8_000) < 60
    assert level(to_c, 1500, 8_000) < 60


def test_the_mix_at_16_khz_is_the_sum_sample_by_sample(world, make_talker):
    rng = np.random.default_rng(1)
    parties = [Party(world, make_talker, number, "L16/16000") for number in (1, 2, 3)]
    for party in parties:
        party.says = rng.integers(-9000, 9000, 16_000).astype(np.int16)
        world.do(JoinRoom(1, party.number))
    sent = talk(world, parties, 50)
    for party in parties:
        others = sum(each.says.astype(int) for each in parties if each is not party)
        heard = party.heard(sent)
        delay = 640  # two packets of play-out delay
        assert np.array_equal(heard[delay : delay + 12_000], others[:12_000])


def test_narrowband_parties_of_a_mixed_room_hear_each_other_untouched(world, make_talker):
    rng = np.random.default_rng(2)
    a, b = (Party(world, make_talker, number, "L16") for number in (1, 2))
    c = Party(world, make_talker, 3, "L16/16000")  # silent
    for party in (a, b, c):
        world.do(JoinRoom(1, party.number))
    a.says, b.says = (rng.integers(-9000, 9000, 8_000).astype(np.int16) for _ in range(2))
    sent = talk(world, (a, b, c), 50)
    assert np.array_equal(a.heard(sent)[320 : 320 + 6000], b.says[:6000])
    assert np.array_equal(b.heard(sent)[320 : 320 + 6000], a.says[:6000])


def test_gain_and_mute_hold_across_rates(world, make_talker):
    a = Party(world, make_talker, 1, "L16").tone((1000, 2000))
    b = Party(world, make_talker, 2, "L16").tone((1500, 2000))
    c = Party(world, make_talker, 3, "L16/16000").tone((2000, 2000))
    world.do(JoinRoom(1, 1, gain=2.0))
    world.do(JoinRoom(1, 2, mute=True))
    world.do(JoinRoom(1, 3, gain=0.5))
    sent = talk(world, (a, b, c), 75)
    to_c, to_a = c.heard(sent), a.heard(sent)
    assert level(to_c, 1000, 16_000) == pytest.approx(4000, rel=0.02)
    assert level(to_c, 1500, 16_000) < 5
    assert level(to_a, 2000, 8_000) == pytest.approx(1000, rel=0.02)


def test_a_supervisor_of_another_rate_hears_the_call_and_whispers(world, make_talker):
    a = Party(world, make_talker, 1, "L16/16000").tone((5000, 3000))
    b = Party(world, make_talker, 2, "L16/16000").tone((1200, 3000))
    narrow = Party(world, make_talker, 3, "L16").tone((700, 3000))
    wide = Party(world, make_talker, 4, "L16/16000").tone((6000, 3000))
    world.do(Connect(1, 2))
    world.do(Monitor(3, 1, "whisper"))
    world.do(Monitor(4, 2, "listen"))
    sent = talk(world, (a, b, narrow, wide), 75)
    assert level(narrow.heard(sent), 1200, 8_000) == pytest.approx(3000, rel=0.02)
    assert level(narrow.heard(sent), 3000, 8_000) < 10
    assert level(wide.heard(sent), 5000, 16_000) == pytest.approx(3000, rel=0.02)
    to_a = a.heard(sent)
    assert level(to_a, 700, 16_000) == pytest.approx(3000, rel=0.02)
    assert level(to_a, 1200, 16_000) == pytest.approx(3000, rel=0.02)
    assert level(to_a, 6000, 16_000) < 10
    assert level(b.heard(sent), 700, 16_000) < 10


def recorded(world, name="1.wav"):
    world.do(StopRecording(1))
    world.engine.poll(world.now_s + 0.2)
    (done,) = world.events_of(RecordingStopped)
    rate_hz, sides = wav.read(io.BytesIO(Path(done.path).read_bytes()))
    assert (rate_hz, sides.shape[1]) == (done.rate_hz, done.frames)
    return rate_hz, sides


def test_a_wideband_call_is_recorded_as_it_was_said(world, make_talker):
    rng = np.random.default_rng(3)
    a, b = (Party(world, make_talker, number, "L16/16000") for number in (1, 2))
    a.says, b.says = (rng.integers(-9000, 9000, 32_000).astype(np.int16) for _ in range(2))
    world.do(Connect(1, 2))
    world.do(StartRecording(1, 1, 2, "1.wav"))
    talk(world, (a, b), 100)
    assert world.engine.snapshot()["feeds"] == 2
    rate_hz, sides = recorded(world)
    assert rate_hz == 16_000
    assert np.array_equal(sides[0], a.says)
    assert np.array_equal(sides[1], b.says)


def test_a_mixed_call_is_recorded_at_the_better_rate_and_aligned(world, make_talker):
    a = Party(world, make_talker, 1, "L16/16000").tone((5000, 3000), (1000, 3000))
    b = Party(world, make_talker, 2, "L16").tone((1000, 3000))
    world.do(Connect(1, 2))
    world.do(StartRecording(1, 1, 2, "1.wav"))
    talk(world, (a, b), 100)
    rate_hz, (left, right) = recorded(world)
    assert rate_hz == 16_000
    assert np.array_equal(left, a.says)
    wanted = 3000 * np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000)
    assert np.abs(right[400:-400] - wanted[400:-400]).max() < 30


def test_a_recording_goes_on_when_the_codec_changes(world, make_talker):
    a = Party(world, make_talker, 1, "L16").tone((1000, 3000))
    b = Party(world, make_talker, 2, "L16").tone((1500, 3000))
    world.do(Connect(1, 2))
    world.do(StartRecording(1, 1, 2, "1.wav"))
    talk(world, (a, b), 50)
    world.configure(1, a.address, codec="L16/16000", payload_type=98)
    wide = Party.__new__(Party)
    wide.__dict__.update(a.__dict__)
    wide.codec, wide.encoder, wide.rate_hz, wide.frame = (
        "L16/16000",
        codec_of("L16/16000", 1),
        16_000,
        320,
    )
    wide.talker.payload_type, wide.at = 98, 0
    wide.tone((1000, 3000))
    talk(world, (wide, b), 50)
    rate_hz, (left, right) = recorded(world)
    assert (rate_hz, len(left)) == (8_000, 16_000)
    for part in (left[:8000], left[8400:16_000]):
        assert level(part.astype(float), 1000, 8_000) == pytest.approx(3000, rel=0.02)
    assert level(right.astype(float), 1500, 8_000) == pytest.approx(3000, rel=0.02)
    for number in (1, 2):
        world.do(ReleaseStream(number))
    assert world.engine.snapshot()["slots"] == 0


def test_digits_as_sound_are_heard_in_a_wideband_codec(world, make_talker):
    a = Party(world, make_talker, 1, "G722", inband_dtmf=True)
    a.says = np.concatenate([np.zeros(3200, np.int16), tones.dtmf("270#", rate_hz=16_000)])
    talk(world, (a,), 60)
    assert [report.digit for report in world.events_of(DigitReceived)] == ["2", "7", "0", "#"]


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
@pytest.mark.parametrize("stored_hz", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("codec", ["L16", "L16/16000"])
def test_prompts_are_played_at_the_rate_of_the_party(
    world, make_talker, tmp_path, kind, stored_hz, codec
):
    party = Party(world, make_talker, 1, codec)
    at = np.arange(stored_hz) / stored_hz
    sound = 4000 * np.sin(2 * np.pi * 1000 * at)
    wide = stored_hz > 8_000
    sound += 3000 * np.sin(2 * np.pi * 6000 * at) if wide else 0.0
    path = tmp_path / f"p.{kind.lower()}"
    soundfile.write(path, np.rint(sound).astype(np.int16), stored_hz, subtype="PCM_16", format=kind)
    world.do(StartPlay(1, 5, File(str(path))))
    heard = party.heard(talk(world, (party,), 60))
    assert len(heard) == party.rate_hz
    middle = heard[: -party.rate_hz // 5]
    assert level(middle, 1000, party.rate_hz) == pytest.approx(4000, rel=0.02)
    if party.rate_hz == 16_000:
        wanted = 3000 if wide else 0
        assert level(middle, 6000, 16_000) == pytest.approx(wanted, rel=0.02, abs=20)
    else:
        assert level(middle, 2000, 8_000) < 10, "6 kHz is not folded down"
    assert world.events_of(PlayFinished) == [PlayFinished(1, 5, "end")]


def test_a_prompt_goes_on_at_the_new_rate_when_the_codec_changes(world, make_talker, tmp_path):
    party = Party(world, make_talker, 1, "L16")
    rate_hz = 16_000
    sweep = np.arange(3 * rate_hz)  # a ramp says where in the file we are
    path = tmp_path / "p.wav"
    soundfile.write(path, (sweep // 2).astype(np.int16), rate_hz, subtype="PCM_16")
    world.do(StartPlay(1, 5, File(str(path))))
    before = party.heard(talk(world, (), 25))
    world.configure(1, party.address, codec="L16/16000", payload_type=98)
    party.codec, party.decoder = "L16/16000", codec_of("L16/16000", 1)
    after = party.heard(talk(world, (), 25))
    assert len(before) == 25 * 160
    assert len(after) == 25 * 320
    assert after[0] == pytest.approx(before[-1], abs=25)
    assert after[100] - after[0] == pytest.approx(50, abs=2)


def test_pure_narrowband_traffic_knows_nothing_of_it(world, make_talker):
    a = Party(world, make_talker, 1, "PCMU").tone((1000, 3000))
    b = Party(world, make_talker, 2, "L16").tone((1500, 3000))
    world.do(Connect(1, 2))
    talk(world, (a, b), 20)
    timelines = world.engine._timelines
    assert timelines.wide == 0
    assert timelines._all == (timelines.narrow,)


@pytest.mark.parametrize("hearer", ["L16", "L16/16000"])
def test_a_digit_that_is_heard_does_not_sound_on_in_the_mix(world, make_talker, hearer):
    a = Party(world, make_talker, 1, "L16", inband_dtmf=True)
    b = Party(world, make_talker, 2, hearer)
    speech = np.rint(3000 * np.sin(2 * np.pi * 500 * np.arange(4000) / 8000)).astype(np.int16)
    a.says = np.concatenate([speech, tones.dtmf("5", on_ms=400, off_ms=100), speech])
    for party in (a, b):
        world.do(JoinRoom(1, party.number))
    world.do(StartRecording(1, 1, None, "1.wav"))
    heard = b.heard(talk(world, (a, b), 80))
    assert [report.digit for report in world.events_of(DigitReceived)] == ["5"]
    scale = b.rate_hz // 8000
    start = 320 + 4000
    digit = heard[start * scale : (start + 3200) * scale].reshape(20, -1)
    loud = np.abs(digit).max(axis=1) > 1000
    assert loud.sum() <= 2, "20 ms are needed to suspect it"
    assert not loud[2:].any()
    assert np.abs(heard[320 * scale : start * scale]).max() > 2500, "speech goes on as it was"
    assert np.abs(heard[-3000 * scale :]).max() > 2500
    _, sides = recorded(world)
    assert np.abs(sides[0][4000:7200]).max() > 5000, "what was said is recorded"


def test_loud_talkers_of_another_rate_bend_and_are_not_cut_off(world, make_talker):
    """Their sum goes through a converter, which would cut its tops flat."""
    loud = [
        Party(world, make_talker, number, "PCMU").tone((hz, 16_000))
        for number, hz in enumerate((310, 430, 570, 710), 1)
    ]
    listener = Party(world, make_talker, 5, "L16/16000")
    for number in range(1, 6):
        world.do(JoinRoom(7, number))
    heard = listener.heard(talk(world, [*loud, listener], 60))[8_000:]
    # A top that is cut off is a run of equal samples.
    assert np.abs(heard).max() > 30_000
    flat = (np.abs(heard[1:]) > 32_000) & (np.diff(heard) == 0)
    assert flat.mean() < 0.01
