"""Levels and voice activity."""

from __future__ import annotations

import numpy as np
import pytest

from media.dsp import tones
from media.dsp.levels import (
    SILENCE_DBOV,
    VoiceActivity,
    level_dbov,
    peak_of_dbm0,
    rms_of_dbov,
    to_int16,
)

RNG = np.random.default_rng(2)


def test_reference_levels() -> None:
    square = np.where(np.arange(160) % 2, 32767, -32768).astype(np.int16)
    sine = to_int16(32767 * np.sin(2 * np.pi * np.arange(160) / 16))
    level = level_dbov(np.stack([square, sine, np.zeros(160, np.int16)]))
    assert level == pytest.approx([0.0, -3.01, SILENCE_DBOV], abs=0.01)
    assert peak_of_dbm0(3.14) == pytest.approx(32768)
    assert float(rms_of_dbov(-20.0)) == pytest.approx(3276.8)
    assert to_int16(np.array([1e9, -1e9, 0.6])).tolist() == [32767, -32768, 1]


def test_who_speaks_is_found_over_a_noisy_line() -> None:
    voice = VoiceActivity(4)
    rows = np.array([3, 1])
    noise_rms = float(rms_of_dbov(-48.0))

    def run(talk: bool, ticks: int) -> list[list[bool]]:
        said = []
        for _ in range(ticks):
            block = RNG.normal(0, noise_rms, (2, 160))
            if talk:
                block[0] += tones.sines((200.0, 700.0), 160, level_dbm0=-20.0)
            said.append(voice.process(rows, to_int16(block)).tolist())
        return said

    run(False, 150)
    assert not any(any(row) for row in run(False, 50))
    assert voice.silence_s[3] > 0.9
    talking = run(True, 50)
    assert all(row == [True, False] for row in talking)
    assert voice.speech_s[3] == pytest.approx(1.0)
    after = run(False, 50)
    held = [row[0] for row in after].index(False)
    assert held == pytest.approx(10, abs=1)
    assert not any(row[1] for row in after)
    assert voice.silence_s[3] == pytest.approx(0.8, abs=0.05)
    assert not voice.active[[0, 2]].any()
    voice.reset(3)
    assert voice.silence_s[3] == 0


def test_digital_silence_and_steady_hum_are_no_speech() -> None:
    voice = VoiceActivity(2)
    rows = np.arange(2)
    hum = np.stack([np.zeros(160), tones.sines((50.0,), 160, level_dbm0=-55.0)])
    for _ in range(100):
        assert not voice.process(rows, to_int16(hum)).any()
