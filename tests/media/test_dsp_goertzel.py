"""In-band DTMF: what ITU-T Q.24 wants accepted is, what it wants refused is, speech is not a digit."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from scipy.signal import lfilter, resample_poly

from media.dsp import g711, tones
from media.dsp.goertzel import BLOCK, DtmfDetector, pair_share
from media.dsp.levels import peak_of_dbm0
from media.wire.telephone_event import digit_of

KEYS = "".join(tones.DTMF_KEYS)


def detect(audio: np.ndarray, tick: int = 160) -> list[list[tuple[str, bool, int, int]]]:
    """(digit, ended, duration, tick) of each row of (N, n) int16."""
    detector = DtmfDetector(len(audio))
    rows = np.arange(len(audio))
    told: list[list[tuple[str, bool, int, int]]] = [[] for _ in rows]
    for at in range(0, audio.shape[1] - tick + 1, tick):
        reports = detector.process(rows, audio[:, at : at + tick])
        for row, event, ended, duration in zip(
            reports.stream, reports.event, reports.ended, reports.duration, strict=True
        ):
            told[row].append((digit_of(int(event)), bool(ended), int(duration), at))
    return told


def digits(told: list[tuple[str, bool, int, int]]) -> str:
    return "".join(text for text, ended, _, _ in told if not ended)


def trials(
    count: int,
    on_ms: float,
    *,
    off: tuple[float, float] = (0.0, 0.0),
    level_dbm0: float = -10.0,
    twist_db: float = 0.0,
    snr_db: float | None = None,
    seed: int = 1,
) -> tuple[np.ndarray, list[str]]:
    """One digit a row, at every alignment; `off` the relative error of (low, high), either sign."""
    rng = np.random.default_rng(seed)
    audio = np.zeros((count, 1600))
    wanted = []
    low_db = level_dbm0 + min(0.0, -twist_db)
    high_db = level_dbm0 + min(0.0, twist_db)
    for row in range(count):
        key = KEYS[row % 16]
        wanted.append(key)
        hz = np.array(tones.frequencies_of(key)) * (1 + np.array(off) * rng.choice([-1, 1], 2))
        samples = round(on_ms * 8)
        time_s = np.arange(samples) / 8000
        phase = rng.uniform(0, 2 * np.pi, 2)
        at = 300 + row * 7 % 163
        peaks = peak_of_dbm0(low_db), peak_of_dbm0(high_db)
        for peak, tone_hz, start in zip(peaks, hz, phase, strict=True):
            audio[row, at : at + samples] += peak * np.sin(2 * np.pi * tone_hz * time_s + start)
        if snr_db is not None:
            power = (peaks[0] ** 2 + peaks[1] ** 2) / 2
            audio[row] += rng.normal(0, np.sqrt(power * 10 ** (-snr_db / 10)), 1600)
    coded = g711.encode_alaw(np.clip(np.rint(audio), -32768, 32767).astype(np.int16))
    return g711.decode_alaw(coded), wanted


CASES = [
    {},
    {"off": (0.015, 0.015)},
    {"off": (0.017, 0.017)},
    {"off": (0.015, 0.0), "twist_db": 4.0},
    {"off": (0.0, 0.015), "twist_db": -8.0},
    {"off": (0.015, 0.015), "twist_db": 4.0, "level_dbm0": -26.0},
    {"off": (0.015, 0.015), "twist_db": -8.0, "level_dbm0": -22.0},
    {"level_dbm0": -30.0},
    {"level_dbm0": -3.0},
    {"level_dbm0": 0.0},
    {"snr_db": 15.0, "off": (0.015, 0.015)},
    {"snr_db": 15.0, "twist_db": -8.0, "off": (0.015, 0.015)},
    {"snr_db": 15.0, "twist_db": 4.0, "level_dbm0": -25.0},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forty_milliseconds_are_a_digit(case) -> None:
    audio, wanted = trials(163 * 2, 40.0, **case)
    told = detect(audio)
    assert [digits(row) for row in told] == wanted
    assert all(len(row) == 2 and row[1][1] for row in told)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_sines_explain_what_a_digit_fills(case) -> None:
    """The second look at a packet refuses nobody whom the detector would hear: see `Hush`."""
    audio, _ = trials(163 * 2, 40.0, **case)
    blocks = audio[:, : 1600 // BLOCK * BLOCK].reshape(len(audio), -1, BLOCK)
    begin = 300 + np.arange(len(audio)) * 7 % 163
    first = -(-begin // BLOCK)  # the first block that is filled, and two more are
    for later in range(3):
        filled = blocks[np.arange(len(audio)), first + later].astype(np.float32)
        assert pair_share(filled).min() > 0.85


def test_two_sines_do_not_explain_noise_nor_most_of_what_sounds_like_speech() -> None:
    noise = np.random.default_rng(3).normal(0, 1000, (500, BLOCK)).astype(np.float32)
    assert pair_share(noise).max() < 0.6
    speech = babble(24, 8000).reshape(-1, BLOCK).astype(np.float32)
    speech = speech[np.abs(speech).max(axis=1) > 500]
    # One in five of these vowels, made for false digits; of real speech fewer.
    assert np.mean(pair_share(speech) > 0.75) < 0.25
    assert pair_share(np.zeros((2, BLOCK), np.float32)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("on_ms", "case"),
    [
        (20.0, {}),
        (23.0, {}),
        (23.0, {"snr_db": 15.0}),
        (23.0, {"level_dbm0": -3.0}),
        (100.0, {"off": (0.035, 0.0)}),
        (100.0, {"off": (0.0, 0.035)}),
        (100.0, {"off": (0.035, 0.035), "snr_db": 15.0}),
        (100.0, {"off": (0.05, 0.05)}),
        (100.0, {"twist_db": 8.0}),
        (100.0, {"twist_db": -12.0}),
        (100.0, {"level_dbm0": -40.0}),
    ],
    ids=str,
)
def test_this_is_no_digit(on_ms, case) -> None:
    audio, _ = trials(163 * 2, on_ms, **case)
    assert {digits(row) for row in detect(audio)} == {""}


@pytest.mark.parametrize("tick", [80, 160, 240, 480])
@pytest.mark.parametrize("offset", [0, 31, 79])
def test_all_sixteen_with_the_shortest_tones_and_pauses(offset, tick) -> None:
    audio = np.r_[np.zeros(offset, np.int16), tones.dtmf(KEYS * 2, on_ms=40, off_ms=40)]
    audio = np.r_[audio, np.zeros(1440 - len(audio) % 480, np.int16)]
    told = detect(audio[None], tick)[0]
    assert digits(told) == KEYS * 2
    assert all(abs(duration - 320) <= 80 for _, ended, duration, _ in told if ended)


def test_the_same_digit_repeated_is_counted() -> None:
    audio = np.r_[tones.dtmf("5555555", on_ms=60, off_ms=45), np.zeros(800, np.int16)]
    assert digits(detect(audio[None, : len(audio) // 160 * 160])[0]) == "5555555"


def test_a_break_of_ten_milliseconds_does_not_make_two() -> None:
    audio = tones.dtmf("8", on_ms=200, off_ms=100)
    for at in range(700, 780, 9):
        broken = audio.copy()
        broken[at : at + 80] = 0
        told = detect(broken[None])[0]
        assert digits(told) == "8"
        assert told[1][2] == pytest.approx(1600, abs=80)


def test_a_digit_is_reported_within_forty_milliseconds_and_suspected_before() -> None:
    audio = np.r_[np.zeros(167, np.int16), tones.dtmf("3", on_ms=500, off_ms=100)]
    detector = DtmfDetector(1)
    row = np.array([0])
    suspected = reported = None
    for at in range(0, 4160, 80):
        told = detector.process(row, audio[None, at : at + 80])
        if suspected is None and detector.suspects(row)[0]:
            suspected = at + 80 - 167
        if reported is None and len(told.stream):
            reported = at + 80 - 167
    assert suspected is not None
    assert reported is not None
    assert suspected <= 240
    assert suspected <= reported <= 320


def test_changing_straight_from_one_digit_to_another() -> None:
    audio = np.r_[tones.dtmf("19", on_ms=100, off_ms=0), np.zeros(480, np.int16)]
    told = detect(audio[None, : len(audio) // 160 * 160])[0]
    assert [text for text, ended, _, _ in told if ended] == ["1", "9"]


def test_rows_are_independent_and_reset_forgets() -> None:
    detector = DtmfDetector(100)
    audio = np.zeros((3, 160), np.int16)
    audio[1] = tones.dtmf("7", on_ms=100, off_ms=0)[:160]
    rows = np.array([90, 5, 17])
    detector.process(rows, audio)
    assert detector.run[rows].tolist() == [0, 2, 0]
    detector.reset(np.array([5]))
    assert len(detector.process(rows, audio).stream) == 0
    assert detector.process(rows, audio).stream.tolist() == [5]
    detector.reset(5)
    assert not detector.active.any()
    for wrong in (0, 79, 100):
        with pytest.raises(ValueError, match="multiple of 80"):
            detector.process(rows, np.zeros((3, wrong), np.int16))


def test_supervisory_tones_noise_and_music_are_no_digits() -> None:
    rng = np.random.default_rng(3)
    rows = [
        np.resize(tones.render(country, name), 16000)
        for country, plan in tones.TONES.items()
        for name in plan
    ]
    rows += [np.resize(tones.beep(hz=hz), 16000) for hz in (697, 1209, 1336, 1100, 2100)]
    rows += [tones.to_int16(rng.normal(0, 4000, 16000)) for _ in range(10)]
    for root in range(48, 84):  # chords of a piano, equal temperament
        hz = tuple(440 * 2 ** ((root + step - 69) / 12) for step in (0, 4, 7))
        rows.append(tones.to_int16(tones.sines(hz, 16000, level_dbm0=-14.0)))
    assert {digits(row) for row in detect(np.stack(rows))} == {""}


def babble(rows: int, samples: int) -> np.ndarray:
    """Speech-like sound: a gliding pulse train through gliding formants, with pauses."""
    rng = np.random.default_rng(11)
    out = np.zeros((rows, samples))
    for row in out:
        at = 0
        while at < samples:
            length = int(rng.integers(500, 3200))
            pitch = rng.uniform(80, 350) * np.linspace(1, rng.uniform(0.8, 1.25), length)
            phase = np.cumsum(pitch / 8000)
            sound = np.diff(np.floor(phase), prepend=0.0) + rng.normal(0, 0.003, length)
            for hz, width in zip(
                (rng.uniform(300, 950), rng.uniform(900, 1800), 2700), (60, 80, 150), strict=True
            ):
                radius = np.exp(-np.pi * width / 8000)
                sound = lfilter(
                    [1 - radius], [1, -2 * radius * np.cos(2 * np.pi * hz / 8000), radius**2], sound
                )
            sound *= (
                rng.uniform(2000, 9000) / (np.abs(sound).max() + 1e-9) * np.hanning(length) ** 0.3
            )
            row[at : at + length] = sound[: samples - at]
            at += length + int(rng.integers(0, 800))
    return tones.to_int16(out)


def test_speech_like_sound_is_hardly_ever_a_digit() -> None:
    # Harsher than speech: four minutes of vowels alone, pitch and formants made for false digits.
    assert sum(len(digits(row)) for row in detect(babble(24, 8000 * 10))) <= 2


WORDS = {
    "en": "You knew nine women who were away in May. Seven, zero, five, two. Oh, ooh, aah, eee, mmm.",
    "cmn": "你好，请问您需要什么帮助？喂，喂，听得到吗？妈妈骑马，马慢，妈妈骂马。一二三四五六七。",
    "de": "Hallo, guten Tag, ich möchte gern eine Bestellung aufgeben. Null, drei, sieben, neun.",
    "it": "Buongiorno, vorrei parlare con il signor Bianchi. Uno, due, otto, nove, aiuola.",
}


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng for speech")
def test_synthetic_speech_is_no_digit() -> None:
    rows = []
    for voice, text in WORDS.items():
        for variant in ("", "+f3", "+m5"):
            for pitch in ("20", "80"):
                command = ["espeak-ng", "-v", voice + variant, "-p", pitch, "--stdout", text]
                sound = subprocess.run(command, capture_output=True, check=True).stdout
                rows.append(resample_poly(np.frombuffer(sound[44:], "<i2").astype(float), 160, 441))
    length = max(len(row) for row in rows) // 160 * 160 + 160
    audio = np.stack([tones.to_int16(np.pad(row, (0, length - len(row)))) for row in rows])
    assert audio.size > 8000 * 100
    assert {digits(row) for row in detect(audio)} == {""}
    # And a digit on top of quiet speech is one.
    audio = (audio * 0.03).astype(np.int16)
    audio[:, 8000:8480] += tones.dtmf("6", on_ms=60, off_ms=0)
    assert {digits(row) for row in detect(audio)} == {"6"}
