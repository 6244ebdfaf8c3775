"""Test speech and the measure of its arrival."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from media.dsp import g711
from softswitch.sim.audio import (
    match,
    match_in_pieces,
    read_wav,
    silence,
    speech,
    spoken,
    tone,
    write_wav,
)


def test_speech_is_deterministic_and_distinct() -> None:
    first, again, other = speech(1, 4.0), speech(1, 4.0), speech(2, 4.0)
    assert first.dtype == np.int16
    assert len(first) == 32_000
    assert np.array_equal(first, again)
    assert match(first, other).correlation < 0.5
    assert 9_000 < np.abs(first).max() <= 12_000


def test_a_longer_speech_of_a_seed_sounds_alike_from_its_start() -> None:
    assert match(speech(3, 2.0), speech(3, 4.0)).correlation > 0.99


@pytest.mark.parametrize("duration_s", [0.0, 0.02, 1.0])
def test_speech_has_the_asked_length(duration_s: float) -> None:
    assert len(speech(5, duration_s)) == round(duration_s * 8000)


def test_speech_keeps_within_the_telephone_band() -> None:
    voice = speech(4, 4.0).astype(float)
    spectrum = np.abs(np.fft.rfft(voice)) ** 2
    frequency = np.fft.rfftfreq(len(voice), 1 / 8000)
    assert spectrum[frequency < 80].sum() < 0.05 * spectrum.sum()
    assert spectrum[(frequency > 200) & (frequency < 3600)].sum() > 0.8 * spectrum.sum()


@pytest.mark.parametrize("delay_ms", [0.0, 20.0, 137.5, 900.0])
@pytest.mark.parametrize("law", ["alaw", "ulaw"])
def test_match_finds_delayed_g711(delay_ms: float, law: str) -> None:
    sent = speech(6, 3.0)
    encode, decode = getattr(g711, f"encode_{law}"), getattr(g711, f"decode_{law}")
    received = np.concatenate([silence(delay_ms / 1000), decode(encode(sent)), silence(0.3)])
    found = match(sent, received)
    assert found.correlation > 0.99
    assert found.delay_ms == delay_ms


def test_match_finds_what_lost_its_beginning_or_end() -> None:
    sent = speech(7, 3.0)
    assert match(sent, sent[800:]).delay_ms == -100.0
    assert match(sent, sent[800:]).correlation > 0.999
    assert match(sent, sent[:16_000]).correlation > 0.999


def test_match_is_blind_to_loudness_and_sees_polarity() -> None:
    sent = speech(8, 2.0)
    assert match(sent, (sent // 4).astype(np.int16)).correlation > 0.99
    assert match(sent, -sent).correlation < 0.9


def test_match_sees_damage() -> None:
    sent = speech(9, 4.0)
    holes = sent.copy()
    for start in range(0, len(holes), 1600):
        holes[start : start + 400] = 0
    assert 0.7 < match(sent, holes).correlation < 0.95
    noise = np.random.default_rng(1).integers(-8000, 8000, len(sent)).astype(np.int16)
    assert match(sent, noise).correlation < 0.3


def test_a_short_accident_is_no_match() -> None:
    """A few samples at the very edge always correlate; they must not win."""
    assert match(speech(10, 2.0), speech(11, 2.0)).correlation < 0.5


def test_silence_matches_nothing() -> None:
    for a, b in ((silence(1), speech(1, 1)), (speech(1, 1), silence(1)), (silence(0), silence(0))):
        found = match(a, b)
        assert (found.correlation, found.delay_ms) == (0.0, 0.0)


def test_match_wants_one_party() -> None:
    with pytest.raises(ValueError, match="one party"):
        match(np.zeros((10, 2), np.int16), np.zeros(10, np.int16))


def test_wav_files_round_trip(tmp_path: Path) -> None:
    stereo = np.stack([speech(1, 0.5), speech(2, 0.5)], axis=1)
    write_wav(tmp_path / "both.wav", stereo)
    assert np.array_equal(read_wav(tmp_path / "both.wav"), stereo)


def test_other_rates_are_converted(tmp_path: Path) -> None:
    import soundfile

    time_s = np.arange(16_000) / 16_000
    wide = np.round(8000 * np.sin(2 * np.pi * 440 * time_s)).astype(np.int16)
    soundfile.write(tmp_path / "wide.wav", wide, 16_000, subtype="PCM_16")
    narrow = read_wav(tmp_path / "wide.wav")
    assert len(narrow) == 8000
    assert match(tone(440, 1.0), narrow).correlation > 0.999


def test_spoken_text() -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("install espeak-ng to test spoken samples")
    one, two = spoken("Good morning, this is one."), spoken("Quite another sentence it is.")
    assert one is not None
    assert two is not None
    assert len(one) > 4000
    assert np.abs(one).max() > 2000
    assert match(one, two).correlation < 0.6


def test_pieces_that_have_moved_by_a_frame_are_found() -> None:
    said = speech(7, 2.0)
    moved = np.concatenate([silence(0.3), said[:4000], silence(0.02), said[4000:]])
    assert match(said, moved).correlation < 0.9
    assert match_in_pieces(said, moved) > 0.99
    assert match_in_pieces(said, speech(8, 2.5)) < 0.4
    lost = said.copy()
    lost[4000:12_000] = 0
    assert match_in_pieces(said, lost) < 0.75
    assert match_in_pieces(said, silence(2.0)) == 0.0
