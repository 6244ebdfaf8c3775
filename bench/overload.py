"""What is left of the capacity when twice as many calls are offered, and under a flood of strangers.

    python bench/overload.py [--rates 300,400,500,600] [--flood 20000] [--sources 1,10000]
                             [--seconds 52] [--runs 5] [--save]

Capacity is the best rate of completed calls over the rates tried; which those are is found by stepping up
until calls are lost and then halving the distance. Each run then offers that rate, twice that rate twice, and
that rate again, with the retransmissions of RFC 3261, and compares the calls completed a second: the best
of many steps is the luckiest one, and what the machine's other guests do to its memory makes the same switch
a third faster or slower a minute later, while neighbours in time differ little. Beside each stands what the
processors did and what the kernel dropped (`beside.py`), and whether anything makes it doubtful.

The flood comes from a process of its own: REGISTER, INVITE, OPTIONS and garbage from addresses in
127.0.0.0/8, while calls are made and others, with sound, go on; both are judged.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import resource
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import figures, sipp, sounding
from bench.beside import Beside
from bench.figures import Figure
from bench.peak import next_rate
from bench.registrations import office, shed
from bench.serving import SERVER, TRUNKS, Serving, other_core, spent
from bench.sip_calls import Background
from bench.watch import Watch
from softswitch.ports import free_port

CALLS_P99_MS = 500.0
SOUNDING_CALLS = 10
SEARCH_S, REST_S = 7.0, 2.0
"""Of each step of the search, and between two."""
TURN_S, TURN_SETTLE_S, TURN_REST_S = 4.4, 1, 0.5
"""Of each of the four parts of a run, until its second begins to count, and between two."""


def goodput(found: sipp.Outcome) -> float:
    """Completed calls a second while more were offered, without the first seconds."""
    return found.steady_per_s


@dataclass(frozen=True, slots=True)
class Step:
    """So many calls a second were offered; what became of them, and what went on beside."""

    offered: float
    found: sipp.Outcome
    beside: Beside
    refused: int
    """By our own count, for which SIPp's is a check."""

    @property
    def words(self) -> str:
        found = self.found
        return (
            f"offered {self.offered:.0f}/s: {goodput(found):.0f}/s completed, {found.refused} refused "
            f"({self.refused} by our count), {found.failed} failed, {found.resent} resent, set-up p50/p99 "
            f"{found.p50:.0f}/{found.percentile(0.99):.0f} ms; in each second "
            f"{' '.join(map(str, found.each_s))}; {self.beside.words}"
        )


@dataclass(frozen=True, slots=True)
class Run:
    """Steps at the peak's rate, and with more offered between them."""

    once: tuple[Step, Step]
    more: tuple[Step, Step]

    @property
    def peak(self) -> float:
        """Calls completed a second where no more was offered."""
        return statistics.mean(goodput(step.found) for step in self.once)

    @property
    def completed(self) -> float:
        """Calls completed a second where more was offered."""
        return statistics.mean(goodput(step.found) for step in self.more)

    @property
    def words(self) -> str:
        """All of it."""
        return f"{self.completed:.0f} of {self.peak:.0f}/s: {'; then '.join(s.words for s in self.more)}"


class Offering:
    """Offers calls to one switch, a step at a time."""

    def __init__(self, switch: Serving, where: sipp.Where, folder: Path, core: int) -> None:
        self._switch, self._where, self._folder, self._core = switch, where, folder, core

    def step(
        self,
        rate: float,
        seconds: float,
        settle_s: int = sipp.SETTLE_S,
        rest_s: float = REST_S,
    ) -> Step:
        """Offer `rate` calls a second for so long."""
        before = _refused(self._switch)
        calls = int(rate * seconds)
        with Watch(self._switch, self._core, self._where[3]) as watch:
            found = sipp.call(self._folder, *self._where, calls=calls, rate=rate, settle_s=settle_s)
        beside = watch.found(settle_s, seconds, begun=found.begun_per_s or rate, offered=rate)
        step = Step(rate, found, beside, _refused(self._switch) - before)
        print(f"  {step.words}", flush=True)
        time.sleep(rest_s)
        return step

    def run(self, peak: float, times: float) -> Run:
        """The peak's rate, so many times as much twice, and the peak's rate again."""
        rates = (peak, times * peak, times * peak, peak)
        steps = [self.step(rate, TURN_S, TURN_SETTLE_S, TURN_REST_S) for rate in rates]
        return Run((steps[0], steps[3]), (steps[1], steps[2]))

    def peak(self, rates: list[float]) -> list[Step]:
        """In search of the most calls completed a second, offer `rates`, or what the search wants."""
        steps: list[Step] = []
        wanted = iter(rates)

        def wants() -> float | None:
            tried = [(step.offered, goodput(step.found)) for step in steps]
            return next(wanted, None) if rates else next_rate(tried)

        while (rate := wants()) is not None:
            steps.append(self.step(rate, SEARCH_S))
        return steps


def capacity(folder: Path, rates: list[float], runs: int, core: int) -> list[Figure]:
    ports = free_port(sounding.HOST_A), free_port(sounding.HOST_B)
    text = TRUNKS + sounding.office(*ports)
    with sipp.between(folder / "capacity", text, core) as (switch, there):
        sipp.call(folder / "warm", *there, calls=200, rate=50)
        offering = Offering(switch, there, folder / "calls", core)
        steps = offering.peak(rates)
        best = max(goodput(step.found) for step in steps)
        twice = [offering.run(best, 2) for _ in range(runs)]
        fivefold = offering.run(best, 5)
        server = (SERVER, switch.sip_port)
        sounds = sounding.Sounding(server, *ports, SOUNDING_CALLS, other_core(core))
        sounds.start()
        beside = offering.step(2 * best, TURN_S, TURN_SETTLE_S, TURN_REST_S)
        heard = sounds.stop()
        told = shed(switch.status())
        time.sleep(REST_S)
        after = offering.step(best / 2, 4.0, TURN_SETTLE_S).found
    tried = ", ".join(f"{step.offered:.0f}" for step in steps)
    again = [goodput(step.found) for run in twice for step in run.once]
    of_best = 100 * statistics.mean(run.completed for run in twice) / best
    return [
        Figure("capacity: completed calls", best, "a second",
               note=f"no media, one core; the best of {tried} offered; {told}"),
        Figure("capacity: completed calls, offered again", statistics.mean(again), "a second",
               note=f"{', '.join(f'{each:.0f}' for each in again)}; in turn with twice as many"),
        *(
            Figure(f"goodput at twice the capacity, run {number}", 100 * run.completed / run.peak,
                   "% of the peak", 90, at_least=True, note=run.words)
            for number, run in enumerate(twice, 1)
        ),
        Figure("goodput at twice the capacity, of the best step", of_best, "% of it",
               note=f"the mean of {runs} runs against the luckiest of {len(steps)} steps"),
        Figure("goodput at five times the capacity", 100 * fivefold.completed / fivefold.peak,
               "% of the peak", 80, at_least=True, note=fivefold.words),
        Figure("late audio of calls that are up, at twice the capacity", heard.late_share, "%", 0,
               note=f"{heard.words}; {goodput(beside.found):.0f}/s completed meanwhile"),
        Figure("calls at half the capacity just after it", 100 * after.successful / after.calls, "%",
               100, at_least=True),
    ]  # fmt: skip


def _refused(switch: Serving) -> int:
    return sum(row["refused"] for row in switch.status()["overload"]["classes"])


# -- a flood ----------------------------------------------------------------------------------------


def flood_messages(count: int, domain: str) -> list[bytes]:
    """Requests of strangers and garbage, all different."""
    rng = random.Random(35)
    made = []
    for number in range(count):
        method = ("REGISTER", "INVITE", "OPTIONS", "")[number % 4]
        if not method:
            made.append(rng.randbytes(rng.randrange(20, 800)))
            continue
        token = f"{rng.getrandbits(64):x}"
        made.append(
            f"{method} sip:{rng.randrange(10_000)}@{domain} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK{token};rport\r\n"
            f"From: <sip:{number}@{domain}>;tag={token}\r\nTo: <sip:{number}@{domain}>\r\n"
            f"Call-ID: {token}@flood\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:{number}@198.51.100.7>\r\nContent-Length: 0\r\n\r\n".encode()
        )
    return made


def pour(server: tuple[str, int], rate: float, sources: int, core: int, stop, sent) -> None:  # type: ignore[no-untyped-def]
    """Send `rate` datagrams a second from `sources` addresses until `stop` is set."""
    os.sched_setaffinity(0, {core})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, sources + 200), hard))
    sockets = []
    for number in range(sources):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        made.bind((f"127.{100 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}", 0))
        sockets.append(made)
    messages = flood_messages(4000, "bench.example")
    began_s, at = time.monotonic(), 0
    while not stop.is_set():
        wanted = int((time.monotonic() - began_s) * rate)
        if at >= wanted:
            time.sleep(0.001)
            continue
        until = min(wanted, at + 500)
        while at < until:
            with contextlib.suppress(OSError):
                sockets[at % sources].sendto(messages[at % len(messages)], server)
            at += 1
    sent.value = at


def flood(folder: Path, rate: float, seconds: float, sources: int, core: int) -> list[Figure]:
    """A flood from so many addresses for so long, calls and calls with sound meanwhile."""
    driver = other_core(core)
    ports = free_port(sounding.HOST_A), free_port(sounding.HOST_B)
    text = office(10) + sounding.office(*ports)
    with sipp.between(folder / f"flood{sources}", text, core) as (switch, where):
        server = (SERVER, switch.sip_port)
        sipp.call(folder / "warm", *where, calls=50, rate=20)
        sounds = sounding.Sounding(server, *ports, SOUNDING_CALLS, driver)
        sounds.start()
        time.sleep(1.0)
        empty_kib, before = switch.rss_kib(), switch.cpu_s()
        stop, sent = multiprocessing.Event(), multiprocessing.Value("l", 0)
        pouring = multiprocessing.Process(
            target=pour, args=(server, rate, sources, driver, stop, sent)
        )
        pouring.start()
        time.sleep(2.0)
        calls = Background(
            folder / "calls", *where, calls=int(20 * seconds), rate=20, patience_s=seconds + 120
        )
        time.sleep(seconds)
        used = spent(before, switch.cpu_s())["total"] / (seconds + 2.0)
        judged = calls.wait()
        heard = sounds.stop()
        grown = (switch.rss_kib() - empty_kib) / 1024
        stop.set()
        pouring.join()
        time.sleep(1.0)
        told = shed(switch.status())
    share = 100 * judged.successful / max(1, judged.calls)
    name = f"flood of {rate:g}/s from {sources} sources"
    note = (
        f"{judged.calls} calls in {seconds:.0f} s, {judged.refused} refused, {judged.failed} failed, "
        f"{judged.resent} resent; {100 * used:.0f} % of the core; {told}"
    )
    return [
        Figure(f"{name}: calls that came about", share, "%", 99.9, at_least=True, note=note),
        Figure(f"{name}: INVITE to 200, p99", judged.percentile(0.99), "ms", CALLS_P99_MS),
        Figure(f"{name}: late audio", heard.late_share, "%", 0.1, note=heard.words),
        Figure(f"{name}: memory grown", grown, "MiB", 50, note=f"{sent.value} datagrams"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rates", help="to offer in search of the capacity (found by steps)")
    parser.add_argument("--seconds", type=float, help="of each flood (52)")
    parser.add_argument("--flood", type=float, default=20_000.0)
    parser.add_argument("--runs", type=int, default=5, help="at twice the capacity")
    parser.add_argument("--sources", default="1,10000")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--only", choices=("capacity", "flood"))
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    chosen = parser.parse_args()
    rates = [float(rate) for rate in chosen.rates.split(",")] if chosen.rates else []
    parts: dict[str, Callable[[Path], list[Figure]]] = {
        "capacity": lambda folder: capacity(folder, rates, chosen.runs, chosen.core),
        **{
            f"flood {sources}": partial(
                flood,
                rate=chosen.flood,
                seconds=chosen.seconds or 52.0,
                sources=int(sources),
                core=chosen.core,
            )
            for sources in chosen.sources.split(",")
        },
    }
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as temporary:
        folder = Path(temporary)
        for name, measure in parts.items():
            if chosen.only in (None, name.partition(" ")[0]):
                found = measure(folder)
                figures.show(found)
                if chosen.save:
                    figures.save("overload", found)


if __name__ == "__main__":
    main()
