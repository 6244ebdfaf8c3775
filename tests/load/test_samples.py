"""Speech on a few calls: how much alike, how late, and how good it sounds by PESQ where that is installed."""

from __future__ import annotations

from importlib import util

import numpy as np
import pytest

from media.dsp import g711
from softswitch.load import samples
from softswitch.load.samples import RATE_HZ, Recording, compare, said_by
from tests.load.test_broken_servers import plan, simulated

SAID = said_by(2)
needs_pesq = pytest.mark.skipif(
    util.find_spec("pesq") is None, reason="pip install pesq (needs a C compiler)"
)


def noisy(amplitude: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, amplitude, len(SAID))
    return np.clip(SAID + noise, -32_768, 32_767).astype(np.int16)


def test_each_party_says_something_of_its_own() -> None:
    assert np.array_equal(said_by(2), SAID)
    other = compare(SAID, said_by(3))
    assert other is not None
    assert other.correlation < 0.3


def test_what_is_late_and_coded_is_the_same_speech() -> None:
    coded = g711.decode_alaw(g711.encode_alaw(SAID))
    late = np.concatenate([np.zeros(RATE_HZ // 10, np.int16), coded])
    for heard in (coded, late, coded[RATE_HZ // 10 :]):
        found = compare(SAID, heard)
        assert found is not None
        assert found.correlation > 0.99
    assert compare(SAID, coded[: RATE_HZ // 2]) is None


def test_without_pesq_there_is_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples.util, "find_spec", lambda _: None)
    found = compare(SAID, SAID)
    assert found is not None
    assert found.pesq is None


@needs_pesq
def test_pesq_of_g711_is_near_the_best_and_of_noise_is_bad() -> None:
    coded = samples.pesq(SAID, g711.decode_alaw(g711.encode_alaw(SAID)))
    assert coded is not None
    assert coded > 4.2
    slightly, badly = samples.pesq(SAID, noisy(60)), samples.pesq(SAID, noisy(800))
    assert slightly is not None
    assert badly is not None
    assert coded > slightly > badly
    assert badly < 2.5
    assert samples.pesq(np.zeros(RATE_HZ, np.int16), np.zeros(RATE_HZ, np.int16)) is None


def test_a_recording_puts_packets_where_their_time_says() -> None:
    recording = Recording()
    for number in (3, 1, 0):
        recording.add((0xFFFFFF60 + 160 * number) & 0xFFFFFFFF, np.full(160, number + 1, np.int16))
    assert recording.samples().reshape(4, 160)[:, 0].tolist() == [1, 2, 0, 4]
    assert len(Recording().samples()) == 0


@pytest.mark.parametrize(
    ("fault", "names"),
    [("", set()), ("wrong-file", {"unknown sound"}), ("one-way", {"one-way audio"})],
)
def test_sampled_calls_are_compared_with_what_was_said(fault: str, names: set[str]) -> None:
    result = simulated(plan(hold="9", calls=2, samples=2), fault)
    assert {entry["code"] for entry in result.findings} == names, result.findings
    if not fault:
        assert result.figures["sample_match_p5"] > 0.99
        if util.find_spec("pesq") is not None:
            assert result.figures["pesq_p5"] > 4.0
    if fault == "wrong-file":
        assert result.figures["sample_match_p50"] < 0.4
