"""A look at the speed of the media plane for every run of the tests: ratios, nothing that can fail.

    python bench/ratio.py

The worker beside a C program that does the same on the same sockets, a second each, and what decoding,
mixing, encoding and listening for digits cost a stream. `bench/media_plane.py` measures in earnest.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.media_dsp import Case, best_us, codec_cases, hearing_cases, mixing_cases
from bench.media_relay import Run, measure
from bench.rtp_generator import Outcome

CALLS = 200
STREAMS = 500
PIECES: tuple[tuple[str, Callable[[int], Iterator[Case]], str], ...] = (
    ("decode", codec_cases, "g711 decode"),
    ("mix", mixing_cases, "mix conference"),
    ("encode", codec_cases, "g711 encode"),
    ("hear digits", hearing_cases, "dtmf"),
)


def us_a_packet(mode: str) -> tuple[float, Outcome]:
    """CPU of one packet's way through, microseconds."""
    with tempfile.TemporaryDirectory() as directory:
        found, _ = measure(Run(mode, CALLS, 1.0, warm_s=0.4), Path(directory))
    assert isinstance(found, Outcome)
    return 1e4 * found.core * found.seconds / max(1, found.sent), found


def piece_us(cases: Callable[[int], Iterator[Case]], name: str) -> float:
    """Microseconds a stream and 20 ms of one piece of work over many streams."""
    for found, streams, work in cases(STREAMS):
        if found.startswith(name):
            return best_us(work, 0.1) / streams
    raise LookupError(name)


def main() -> None:
    ours, found = us_a_packet("relay")
    line = f"relay of {CALLS} calls: {ours:.2f} us a packet, {found.lost} of {found.sent} lost"
    if shutil.which("cc"):
        floor, _ = us_a_packet("floor")
        line += f"; the same in C {floor:.2f} us: {ours / floor:.2f} times the floor"
    print(line)
    costs = [f"{name} {piece_us(cases, part):.2f}" for name, cases, part in PIECES]
    print(f"a stream and 20 ms, us: {', '.join(costs)}")


if __name__ == "__main__":
    main()
