"""Call progress: the tones of every country, fax, beeps, and nothing in speech."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from media.dsp import tones
from media.dsp.levels import VoiceActivity, to_int16
from media.dsp.progress import AnswerClassifier, Heard, ProgressDetector, pure_frequencies
from media.plane.player import read_source
from media.protocol import File

PROMPTS = Path(__file__).parents[2] / "prompts"


def listen(audio: np.ndarray, country: str, row: int = 1) -> list[tuple[str, float]]:
    detector = ProgressDetector(3, country)
    told = []
    for at in range(0, len(audio) - 159, 160):
        for heard in detector.process(np.array([row]), audio[None, at : at + 160]):
            assert heard == Heard(row, heard.what)
            told.append((heard.what, (at + 160) / 8000))
    return told


def looped(country: str, name: str, seconds: float, shift: int = 0) -> np.ndarray:
    period = tones.render(country, name)
    return np.r_[np.zeros(shift, np.int16), np.resize(period, int(seconds * 8000))]


CASES = [
    (country, name)
    for country, plan in tones.TONES.items()
    for name in plan
    if name not in ("call-waiting",)
    and not (country == "JP" and name in ("ringback", "congestion"))
]


@pytest.mark.parametrize(("country", "name"), CASES)
def test_each_tone_of_each_country_is_known(country, name) -> None:
    told = listen(looped(country, name, 12.0, shift=1237), country)
    same = {
        other
        for other, tone in tones.TONES[country].items()
        if tone.steps == tones.TONES[country][name].steps
    }
    assert {what for what, _ in told} <= same
    assert told
    assert told[0][1] < (8.0 if name != "unobtainable" else 10.0)


def test_ringback_is_reported_early_and_once() -> None:
    told = listen(looped("CN", "ringback", 20.0), "CN")
    assert [what for what, _ in told] == ["ringback"]
    assert told[0][1] < 2.6


def test_ringing_then_busy() -> None:
    audio = np.r_[looped("CN", "ringback", 10.0), looped("CN", "busy", 4.0)]
    assert [what for what, _ in listen(audio, "CN")] == ["ringback", "busy"]


def test_tones_in_line_noise_and_at_low_level() -> None:
    rng = np.random.default_rng(1)
    for gain in (0.2, 1.0):
        audio = gain * (looped("US", "busy", 5.0) + rng.normal(0, 150, 40000))
        assert [what for what, _ in listen(to_int16(audio), "US")] == ["busy"]


def test_fax_calling_and_answering() -> None:
    quiet = np.zeros(8000, np.int16)
    cng = np.r_[quiet, tones.beep(hz=1100.0, duration_s=0.5), np.zeros(24000, np.int16)]
    assert [what for what, _ in listen(cng, "CN")] == ["cng"]
    ced = np.r_[quiet, tones.beep(hz=2100.0, duration_s=3.0)]
    assert [what for what, _ in listen(ced, "CN")] == ["ced"]


@pytest.mark.parametrize("hz", [800.0, 1000.0, 1400.0, 2000.0])
def test_a_beep_is_heard_when_it_ends(hz) -> None:
    audio = np.r_[
        np.zeros(4000, np.int16), tones.beep(hz=hz, duration_s=0.4), np.zeros(1600, np.int16)
    ]
    told = listen(audio, "CN")
    assert [what for what, _ in told] == ["beep"]
    assert told[0][1] == pytest.approx(0.92, abs=0.06)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_people_say_is_no_beep_and_no_tone(language) -> None:
    """Vowels said high are sines of 200 to 310 Hz to the ear of a machine: they were taken for beeps."""
    said = [
        speech
        for name in ("main-menu", "mailbox-menu", "mailbox-greeting-standard", "wait-about")
        if (speech := PROMPTS / language / f"{name}.flac").exists()
    ]
    assert len(said) == 4
    for speech in said:
        spoken = read_source(File(str(speech)))
        assert listen(np.r_[spoken, np.zeros(8000, np.int16)], "CN") == [], speech.name


def test_pure_frequencies() -> None:
    for hz in [(450.0,), (440.0, 480.0), (400.0, 450.0), (350.0, 440.0), (2100.0,)]:
        found = pure_frequencies(to_int16(tones.sines(hz, 800)))
        assert found == pytest.approx(hz, abs=3.0)
    rng = np.random.default_rng(2)
    assert pure_frequencies(to_int16(rng.normal(0, 2000, 800))) == ()
    assert pure_frequencies(np.zeros(800, np.int16)) == ()


def test_rows_are_independent_and_reset() -> None:
    detector = ProgressDetector(4, "CN")
    rows = np.array([3, 0])
    audio = np.stack([looped("CN", "busy", 4.0), np.zeros(32000, np.int16)])
    told = []
    for at in range(0, 32000, 160):
        told += detector.process(rows, audio[:, at : at + 160])
    assert told == [Heard(3, "busy")]
    detector.reset(3)
    told = []
    for at in range(0, 32000, 160):
        told += detector.process(rows, audio[:, at : at + 160])
    assert told == [Heard(3, "busy")]
    with pytest.raises(ValueError, match="allowed: 160"):
        detector.process(rows, audio[:, :80])


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng for speech")
def test_speech_is_no_tone_and_its_length_tells_machine_from_person() -> None:
    def say(text: str) -> np.ndarray:
        sound = subprocess.run(
            ["espeak-ng", "-v", "en", "-s", "150", "--stdout", text],
            capture_output=True,
            check=True,
        ).stdout
        speech = resample_poly(np.frombuffer(sound[44:], "<i2").astype(float), 160, 441)
        return to_int16(np.r_[np.zeros(4000), speech, np.zeros(24000)])

    greeting = (
        "You have reached the office of Example Trading. Nobody can take your call at the moment. "
        "Please leave a message after the tone and we will call you back."
    )
    for text, wanted in (("Hello?", "person"), (greeting, "machine")):
        audio = say(text)
        assert listen(audio, "CN") == []
        voice, classifier = VoiceActivity(2), AnswerClassifier(2)
        told = []
        for at in range(0, len(audio) - 159, 160):
            active = voice.process(np.array([1]), audio[None, at : at + 160])
            told += classifier.process(np.array([1]), active)
        assert told == [(1, wanted)]


def test_silence_and_a_hesitant_caller_are_unsure() -> None:
    classifier = AnswerClassifier(3)
    rows = np.array([0, 2])
    told = []
    for block in range(300):
        now = block * 0.02
        # Row 2 says a short word each 0.9 s, never long enough silent to be a person's answer.
        speaking = np.array([False, (now % 0.7) < 0.1 and now < 2.0])
        told += classifier.process(rows, speaking)
    assert dict(told)[0] == "unsure"
    assert dict(told)[2] == "person"
    classifier.reset(0)
    assert classifier.verdict[0] == ""
    assert classifier.process(np.array([0]), np.array([True])) == []
