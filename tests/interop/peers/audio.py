"""Speech to send, and how well what was heard matches it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from scipy import signal

RATE_HZ = 8000
LATE_S = 6.0  # silence before a voice that is to be heard after a hold
SOON_S = 2.0  # and before one that is to be heard when two have been brought together
SPOKEN_S = 3.3  # the longest sentence
TALK_S = SPOKEN_S + 1.5  # until it has been heard at the other end
Samples = npt.NDArray[np.float64]

SENTENCES = {
    "caller": "Good morning. I am calling about the order that I placed on Thursday, number four.",
    "callee": "Thank you for waiting. Your parcel left the warehouse yesterday and arrives soon.",
    "other": "This is the second desk speaking. Let me look into your invoice for a moment, please.",
}


def speech(who: str) -> Samples:
    """A sentence for "caller" or "callee": 8 kHz, float in -1..1, by espeak-ng if it is installed,
    else a made-up voice (pulses through moving formants) that differs as much between the two."""
    if shutil.which("espeak-ng"):
        spoken = subprocess.run(
            ["espeak-ng", "--stdout", "-s", "270", SENTENCES[who]], check=True, capture_output=True
        ).stdout
        samples = np.frombuffer(spoken[44:], dtype="<i2") / 32768.0
        samples = signal.resample_poly(samples, 160, 441)
    else:
        samples = _made_up_voice(seed=sorted(SENTENCES).index(who))
    return 0.5 * samples / np.abs(samples).max()


def _made_up_voice(seed: int, seconds: float = 3.2) -> Samples:
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(int(seconds / 0.1)):
        pitch_hz = random.uniform(90, 240)
        pulses = np.zeros(RATE_HZ // 10)
        pulses[:: int(RATE_HZ / pitch_hz)] = 1.0
        for formant_hz in random.uniform((300, 900, 2100), (800, 2000, 3300)):
            b, a = signal.iirpeak(formant_hz, 6.0, fs=RATE_HZ)
            pulses = pulses * 0.2 + signal.lfilter(b, a, pulses)
        frames.append(pulses * random.uniform(0.0, 1.0))
    return np.concatenate(frames)


def write_speech(path: Path, who: str, *, before_s: float = 0.5, after_s: float = 60.0) -> Samples:
    """Write `speech(who)` between silences as 16-bit WAV; the spoken part is returned as it was
    written. The silence after it keeps the call up: baresip hangs up at the end of its file."""
    samples = speech(who)
    silence = np.zeros(int(before_s * RATE_HZ)), np.zeros(int(after_s * RATE_HZ))
    whole = np.concatenate([silence[0], samples, silence[1]])
    soundfile.write(path, whole, RATE_HZ, subtype="PCM_16")
    return samples


def read_wav(path: Path) -> Samples:
    """Samples of a WAV at 8 kHz, one column a channel; a file still being written may be read."""
    samples, rate_hz = soundfile.read(path, always_2d=True)
    if rate_hz != RATE_HZ:  # a wideband phone writes down what it heard at its codec's rate
        samples = signal.resample_poly(samples, RATE_HZ, rate_hz, axis=0)
    return samples


@dataclass(frozen=True, slots=True)
class Match:
    correlation: float  # of the aligned signals, -1..1
    delay_s: float  # where in `heard` the reference begins
    complete: float  # 0..1: how much of the reference lies inside `heard`


def match(reference: Samples, heard: Samples) -> Match:
    """Find `reference` in `heard` (both mono, 8 kHz) and correlate the aligned parts."""
    if len(heard) < RATE_HZ // 2 or not np.any(heard):
        return Match(0.0, 0.0, 0.0)
    products = signal.correlate(heard, reference, mode="full", method="fft")
    offset = int(np.argmax(products)) - (len(reference) - 1)
    begin, end = max(offset, 0), min(offset + len(reference), len(heard))
    ours, theirs = reference[begin - offset : end - offset], heard[begin:end]
    scale = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    correlation = float(ours @ theirs) / scale if scale else 0.0
    return Match(correlation, offset / RATE_HZ, (end - begin) / len(reference))


def assert_heard(reference: Samples, heard: Samples, what: str, *, least: float = 0.95) -> None:
    found = match(reference, heard)
    assert found.correlation > least, f"{what}: {found}"
    assert found.complete > 0.95, f"{what}: {found}"


STEPS_MAX = 2
_STEP_S = 0.02  # what a play-out delay of ours grows or shrinks by is a multiple of it
_LAGS = range(-5, 6)
_STEP_COSTS = 0.01  # of all that is said: what a step that is one makes better by far more


@dataclass(frozen=True, slots=True)
class Stepped:
    """A reference found in what was heard, of which parts may come later or earlier than the others."""

    correlation: float  # of the whole, each part where it was found
    steps_s: tuple[float, ...]  # by how much each part comes later than the one before it
    complete: float  # as of `Match`


def match_in_steps(reference: Samples, heard: Samples) -> Stepped:
    """Find `reference` in `heard` (both mono, 8 kHz), in parts whose delays differ: `STEPS_MAX` steps at most,
    none more than 0.1 s from where most of it lies.

    For what is mixed or transcoded: who sends a packet some 30 ms late because his processor was busy
    elsewhere makes the exchange wait longer for him from then on (a play-out delay that follows the jitter, RFC
    3550 leaves it to us). All that he says is heard all the same, and as well: that is judged, by the same bar.
    Of `match` such a step in the middle of a sentence leaves 0.55 to 0.8 of a sound without a fault.
    """
    whole = match(reference, heard)
    size = round(_STEP_S * RATE_HZ)
    at = [round(whole.delay_s * RATE_HZ) + lag * size for lag in _LAGS]
    room = len(reference) + max(0, -at[0])
    padded = np.concatenate([np.zeros(room), heard, np.zeros(room)])
    count = len(reference) // size
    said = reference[: count * size].reshape(count, size)
    found = np.array([padded[room + p : room + p + count * size].reshape(count, size) for p in at])
    # (lags, frames): what each 20 ms would be mistaken by with that delay.
    mistake = np.square(found - said).sum(axis=2)
    path = _best_path(-mistake, _STEP_COSTS * float(np.square(said).sum()))
    chosen = found[path, np.arange(count)].ravel()
    scale = float(np.linalg.norm(said) * np.linalg.norm(chosen))
    correlation = float(said.ravel() @ chosen) / scale if scale else 0.0
    steps = np.diff(path)
    steps_s = tuple(round(float(step) * _STEP_S, 3) for step in steps[steps != 0])
    return Stepped(correlation, steps_s, whole.complete)


def _best_path(fit: Samples, change_costs: float) -> list[int]:
    """The lag of each frame for which they fit best together, with `STEPS_MAX` changes at most."""
    lags, count = fit.shape
    # best[steps, lag]: of all paths to here with so many changes.
    best = np.full((STEPS_MAX + 1, lags), -np.inf)
    best[0] = fit[:, 0]
    came = np.zeros((count, STEPS_MAX + 1, lags), np.intp)
    for frame in range(1, count):
        new = np.empty_like(best)
        for steps in range(STEPS_MAX + 1):
            new[steps], came[frame, steps] = best[steps], np.arange(lags)
            if steps:
                other = int(np.argmax(best[steps - 1]))
                there = best[steps - 1, other] - change_costs
                changed = there > new[steps]
                new[steps, changed], came[frame, steps, changed] = there, other
        best = new + fit[:, frame]
    steps, lag = (int(place) for place in np.unravel_index(np.argmax(best), best.shape))
    path = [lag]
    for frame in range(count - 1, 0, -1):
        before = int(came[frame, steps, lag])
        if before != lag:
            steps -= 1
        lag = before
        path.append(lag)
    return path[::-1]


def assert_heard_in_steps(reference: Samples, heard: Samples, what: str, *, least: float) -> None:
    """`assert_heard` for what is mixed or transcoded, whose delay may have grown meanwhile."""
    found = match_in_steps(reference, heard)
    assert found.correlation > least, f"{what}: {found}"
    assert found.complete > 0.95, f"{what}: {found}"


PIECE_S = 0.2
_SILENT = 0.1  # of the loudest piece: what is softer tells nothing


@dataclass(frozen=True, slots=True)
class Pieces:
    """How much of a reference was found piece by piece, each of `PIECE_S`."""

    found: float  # 0..1 of the pieces that are no silence: those found, in their order
    least: float  # the weakest correlation of those


def match_pieces(reference: Samples, heard: Samples, *, correlation: float = 0.8) -> Pieces:
    """Find the pieces of `reference` in `heard` (both mono, 8 kHz) in their order, each wherever it correlates
    best after the one before.

    For who plays by a clock of his own: between two pieces he may have left out or put in what he likes; a
    piece is found or is not.
    """
    size = int(PIECE_S * RATE_HZ)
    pieces = [reference[at : at + size] for at in range(0, len(reference) - size + 1, size)]
    loud = max((float(np.linalg.norm(piece)) for piece in pieces), default=0.0)
    told = [piece for piece in pieces if np.linalg.norm(piece) > _SILENT * loud]
    found: list[float] = []
    at = 0
    for piece in told:
        best, where = _best(piece, heard[at:])
        if best >= correlation:
            found.append(best)
            at += where + size // 2  # some of the end may have been cut away
    return Pieces(len(found) / len(told) if told else 0.0, min(found, default=0.0))


def _best(piece: Samples, heard: Samples) -> tuple[float, int]:
    """The best normalised correlation of a piece, and where."""
    if len(heard) < len(piece):
        return 0.0, 0
    products = signal.correlate(heard, piece, mode="valid", method="fft")
    energy = signal.correlate(heard**2, np.ones(len(piece)), mode="valid", method="fft")
    floor = 1e-4 * float(piece @ piece)
    scaled = products / np.sqrt(np.maximum(energy, floor) * float(piece @ piece))
    where = int(np.argmax(scaled))
    return float(scaled[where]), where


def assert_heard_in_pieces(reference: Samples, heard: Samples, what: str) -> None:
    """The same words in their order, by a listener whose own clock leaves gaps."""
    found = match_pieces(reference, heard)
    assert found.found >= 0.7, f"{what}: {found}"


def assert_not_heard(reference: Samples, heard: Samples, what: str) -> None:
    found = match(reference, heard)
    assert found.correlation < 0.3, f"{what}: {found}"
