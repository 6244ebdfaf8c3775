"""What the media plane costs: a worker alone on a core, beside a C program and rtpengine doing the same.

    python bench/media_plane.py --save            # everything, about four minutes; keeps it for RESULTS.md
    python bench/media_plane.py --only record

Calls of G.711, 20 ms, both ways, over loopback; CPU is the worker's alone, what the kernel does for it
included. The comparison runs in the same minute on the same machine: shares of a core mean little on
their own, ratios more. `bench/callgen.py` measures the whole exchange.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import figures, paced, rtpengine
from bench.figures import Figure
from bench.media_relay import Account, Run, gap_line, measure
from bench.rtp_generator import Outcome

Measured = Iterator[Figure]
_TRIES = 2


class TooBusy(Exception):
    """Nothing could be measured: the generator did not keep its pace."""


def outcome(run: Run) -> tuple[Outcome, Account]:
    """Carry one run out and show it; once more, and then never mind, if the machine was too busy."""
    for _ in range(_TRIES):
        with tempfile.TemporaryDirectory() as directory:
            found, account = measure(run, Path(directory))
        if isinstance(found, str):
            raise TypeError(found)
        print("  " + found.line(run.mode, run.calls), flush=True)
        if found.kept_pace:
            return found, account
    raise TooBusy(f"{run.mode} of {run.calls}: something else takes the machine")


def note(found: Outcome) -> str:
    """What belongs to a share of a core."""
    return (
        f"{found.lost} of {found.sent} packets lost, "
        f"delay p50 {found.p50_ms:.1f} p99 {found.p99_ms:.1f} ms, generator's own part included"
    )


def relayed(seconds: float) -> Measured:
    """Relay at 100 and 800 calls, the floor and rtpengine in between."""
    for calls, bar in ((100, 0.12), (800, 0.06)):
        ours, _ = outcome(Run("relay", calls, seconds))
        floor, _ = outcome(Run("floor", calls, seconds))
        yield Figure(f"relayed call, of {calls}", ours.core / calls, "% core", bar, note=note(ours))
        yield Figure(f"the same in C, of {calls}", floor.core / calls, "% core", note=note(floor))
        yield Figure(
            f"ratio to the C program, {calls} calls",
            ours.core / floor.core,
            "x",
            1.3 if calls >= 800 else None,
        )
        if rtpengine.available():
            theirs, _ = outcome(Run("rtpengine", calls, seconds))
            yield Figure(
                f"rtpengine in user space, of {calls}",
                theirs.core / calls,
                "% core",
                note=note(theirs),
            )


def portable(seconds: float) -> Measured:
    """The back end for systems without recvmmsg."""
    for calls in (100, 400):
        found, _ = outcome(Run("relay", calls, seconds, "portable"))
        yield Figure(
            f"relayed call, portable back end, of {calls}",
            found.core / calls,
            "% core",
            0.10,
            note=note(found),
        )


def recorded(seconds: float) -> Measured:
    """Relayed and written to a stereo WAV."""
    for calls in (100, 400):
        found, account = outcome(Run("record", calls, seconds))
        told = f"; recordings ended by {dict(account.recordings)}" if account.recordings else ""
        yield Figure(
            f"recorded call, of {calls}",
            found.core / calls,
            "% core",
            0.09,
            note=note(found) + told,
        )


def digits(seconds: float) -> Measured:
    """What looking for digits in the sound of a call adds, decoding included and without."""
    calls = 400
    for speech, what in ((False, "noise"), (True, "speech")):
        plain, _ = outcome(Run("relay", calls, seconds, speech=speech))
        found, _ = outcome(Run("dtmf", calls, seconds, speech=speech))
        yield Figure(
            f"in-band digits looked for in {what}, adds to a relayed call, of {calls}",
            (found.core - plain.core) / calls,
            "% core",
            0.01,
            note=f"decoding included; {plain.core / calls:.4f} % without",
        )
    yield Figure(
        "in-band digits, the detector alone",
        2 * detector_us() * 50 / 1e4,
        "% core",
        0.01,
        note="both directions; bench/media_dsp.py --only 'dtmf in band'",
    )


def detector_us() -> float:
    """Microseconds a stream and tick of the detector over 800 streams."""
    from bench.media_dsp import best_us, hearing_cases

    for name, streams, work in hearing_cases(800):
        if name.startswith("dtmf"):
            return best_us(work, 0.5) / streams
    raise LookupError("dtmf")


def conference(seconds: float) -> Measured:
    """One room; each hears the sum of the others."""
    for parties in (200, 300):
        found, account = outcome(Run("conference", parties, seconds))
        yield Figure(
            f"conference participant, of {parties}",
            found.core / parties,
            "% core",
            0.05 if parties == 200 else None,
            note=f"{account.drops['lost']} packets lost on the way in",
        )


def delayed(seconds: float) -> Measured:
    """How long a packet stays in the worker where that has half of its core to do, and four fifths: of the
    worker alone, whatever the generator is late by (`paced.py`)."""
    for title, mode, share, p50_ms, p99_ms in (
        ("relayed calls, half a core", "relay", 50.0, 2.0, 5.0),
        ("relayed calls, 80 % of a core", "relay", 80.0, 4.0, 10.0),
        ("recorded calls, 80 % of a core", "record", 80.0, 4.0, 10.0),
    ):
        calls = paced.calls_for(share, mode)
        # That all calls begin at once is no part of it: what has gathered then is gone when it counts.
        found = paced.measure(Run(mode, calls, max(8.0, seconds), warm_s=5.0))
        print("  " + found.line(), flush=True)
        note = f"{calls} calls on {found.core:.0f} %, evenly paced; {found.pacer_line()}"
        lost_note = f"of {found.pacer['sent']}"
        yield Figure(f"{title}: CPU of a call", found.core / calls, "% core", note=note)
        yield Figure(f"{title}: lost", found.lost, "packets", 0, note=lost_note)
        yield Figure(f"{title}: added delay p50", found.p50_ms, "ms", p50_ms)
        longest = max(found.gaps, key=lambda load: load.gap_ms, default=None)
        told = "" if longest is None else f"longest without a fetch {gap_line(longest)}"
        yield Figure(f"{title}: added delay p99", found.p99_ms, "ms", p99_ms, note=told)


def killed(seconds: float) -> Measured:
    """kill -9 of the worker under load."""
    for calls in (50, 400):
        with tempfile.TemporaryDirectory() as directory:
            told, _ = measure(Run("kill", calls, seconds), Path(directory))
        print("  " + str(told), flush=True)
        silent_ms = float(str(told).partition("silent for ")[2].split()[0])
        yield Figure(
            f"kill -9 of the worker, {calls} calls: longest silence", silent_ms, "ms", 1000
        )


PARTS: dict[str, Callable[[float], Measured]] = {
    "relay": relayed,
    "portable": portable,
    "record": recorded,
    "digits": digits,
    "conference": conference,
    "delay": delayed,
    "kill": killed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=sorted(PARTS))
    parser.add_argument("--without", choices=sorted(PARTS), help="leave this one out")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each run")
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    chosen = parser.parse_args()
    for name, part in PARTS.items():
        if chosen.only not in (None, name) or name == chosen.without:
            continue
        try:
            for figure in part(chosen.seconds):
                figures.show([figure])
                if chosen.save:
                    figures.save("media_plane", [figure])
        except TooBusy as error:
            print(f"bench: {name}: {error}; its figures are left as they were", file=sys.stderr)


if __name__ == "__main__":
    main()
