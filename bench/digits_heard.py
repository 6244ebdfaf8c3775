"""Digits in the sound of a call: how many are heard in noise and over speech, how many are imagined.

    python bench/digits_heard.py --save

Digits of 50 ms through G.711, at every alignment with the tick; white noise below them; speech of the
prompts (all that are shipped, both languages) below them, by the power of the whole piece, so that its
vowels come nearer; and the same speech at full level without any digit. Everything goes through the
detector in ticks, as in a worker.
"""

from __future__ import annotations

import argparse
import sys
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from bench import figures
from bench.figures import Figure
from media.dsp import g711, tones
from media.dsp.goertzel import DtmfDetector
from media.wire.telephone_event import digit_of

ROOT = Path(__file__).resolve().parent.parent
KEYS = "".join(tones.DTMF_KEYS)
TICK = 160
ROWS = 1600
SAMPLES = 3200


def heard(audio: np.ndarray) -> list[str]:
    """The digits found in each row of (N, n) int16."""
    detector, rows = DtmfDetector(len(audio)), np.arange(len(audio))
    found = [""] * len(audio)
    for at in range(0, audio.shape[1] - TICK + 1, TICK):
        reports = detector.process(rows, audio[:, at : at + TICK])
        for row, event, ended in zip(reports.stream, reports.event, reports.ended, strict=True):
            if not ended:
                found[row] += digit_of(int(event))
    return found


def spoken() -> np.ndarray:
    """All prompts one after the other, int16 at 8,000 a second, each at the same peak."""
    pieces = []
    for path in sorted((ROOT / "prompts").rglob("*.flac")):
        if path.parent.name in ("music", "sounds"):
            continue
        samples, rate_hz = soundfile.read(path, dtype="float64")
        part = gcd(rate_hz, 8000)
        sound = resample_poly(samples, 8000 // part, rate_hz // part)
        pieces.append(sound / max(1e-9, float(np.abs(sound).max())))
    if not pieces:
        sys.exit("bench: there are no prompts")
    return tones.to_int16(np.concatenate(pieces) * 16_000)


def dialled(rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """One digit a row, anywhere in it."""
    audio, wanted = np.zeros((ROWS, SAMPLES)), []
    for row in range(ROWS):
        wanted.append(KEYS[row % 16])
        sound = tones.dtmf(wanted[-1], on_ms=50, off_ms=0).astype(float)
        at = int(rng.integers(400, 1600))
        audio[row, at : at + len(sound)] = sound
    return audio, wanted


def level(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(audio[audio != 0]))))


def coded(audio: np.ndarray) -> np.ndarray:
    return g711.decode_ulaw(g711.encode_ulaw(tones.to_int16(audio)))


def measure() -> list[Figure]:
    rng = np.random.default_rng(7)
    clean, wanted = dialled(rng)
    digit = level(clean)
    speech = spoken()
    loud = speech[: len(speech) // SAMPLES * SAMPLES].reshape(-1, SAMPLES).astype(float)
    loud = loud[np.abs(loud).max(axis=1) > 1000]
    over = loud[rng.integers(0, len(loud), ROWS)]
    over /= np.sqrt(np.mean(np.square(over), axis=1, keepdims=True))
    noise = rng.normal(0, 1, clean.shape)
    found = []
    for name, other, below_db, bar in (
        ("nothing", noise, 200, 99),
        ("white noise 15 dB below", noise, 15, 99),
        ("speech 20 dB below", over, 20, 99),
        ("speech 15 dB below", over, 15, None),
    ):
        told = heard(coded(clean + digit * 10 ** (-below_db / 20) * other))
        right = 100 * float(np.mean([a == b for a, b in zip(told, wanted, strict=True)]))
        wrong = sum(a not in ("", b) for a, b in zip(told, wanted, strict=True))
        note = f"{ROWS} digits of 50 ms, through u-law; {wrong} heard wrongly"
        found.append(Figure(f"digits heard, {name}", right, "%", bar, True, note=note))
    alone = coded(speech[: len(speech) // TICK * TICK][None].astype(float))
    wrong = len(heard(alone)[0])
    note = f"{len(speech) / 8000 / 60:.1f} minutes of prompts, en and zh"
    found.append(Figure("digits imagined in speech", wrong, "digits", 0, note=note))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    chosen = parser.parse_args()
    found = measure()
    figures.show(found)
    if chosen.save:
        figures.save("digits_heard", found)


if __name__ == "__main__":
    main()
