"""What is left of the capacity when twice as many calls are offered, and under a flood of strangers.

    python bench/overload.py [--rates 300,400,500,600] [--flood 20000] [--sources 1,10000]
                             [--seconds 9] [--save]

Capacity is the best rate of completed calls over the rates tried; which those are is found by stepping up
until calls are lost and then halving the distance. Then twice that is offered, with the
retransmissions of RFC 3261, and the calls completed a second are compared. The flood comes from a
process of its own: REGISTER, INVITE, OPTIONS and garbage from addresses in 127.0.0.0/8, while calls
are made and others, with sound, go on; both are judged.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import resource
import socket
import tempfile
import time
from functools import partial
from pathlib import Path

import figures
import sipp
import sounding
from figures import Figure
from peak import next_rate
from registrations import office, shed
from serving import SERVER, TRUNKS, other_core, spent
from sip_calls import Background

from softswitch.ports import free_port

CALLS_P99_MS = 500.0
SOUNDING_CALLS = 10
SEARCH_S, REST_S = 7.0, 2.0
"""Of each step of the search, and between two."""


def goodput(found: sipp.Outcome) -> float:
    """Completed calls a second while more were offered, without the first seconds."""
    return found.steady_per_s


def find_peak(where: sipp.Where, folder: Path, rates: list[float]) -> tuple[float, list[float]]:
    """The most calls completed a second, and what was offered to find it: `rates`, or what the search wants."""
    tried: list[tuple[float, float]] = []
    wanted = iter(rates)
    while (rate := next(wanted, None) if rates else next_rate(tried)) is not None:
        found = _offered((folder, *where), rate, SEARCH_S)
        print(f"  offered {rate:.0f}/s: {_words(found)}", flush=True)
        tried.append((rate, goodput(found)))
        time.sleep(REST_S)
    return max(completed for _, completed in tried), [offered for offered, _ in tried]


def capacity(
    folder: Path, rates: list[float], seconds: float, runs: int, core: int
) -> list[Figure]:
    with sipp.between(folder / "capacity", TRUNKS, core) as (switch, there):
        where = (folder / "calls", *there)
        sipp.call(*where, calls=200, rate=50)
        best, tried = find_peak(there, folder / "calls", rates)
        twice = []
        for _ in range(runs):
            time.sleep(3 * REST_S)
            twice.append(_offered(where, 2 * best, seconds))
            print(
                f"  offered {2 * best:.0f}/s: {_words(twice[-1])}; in each second {_each(twice[-1])}",
                flush=True,
            )
        told = shed(switch.status())
        time.sleep(REST_S)
        after = _offered(where, best / 2, 4.0)
    return [
        Figure("capacity: completed calls", best, "a second",
               note=f"no media, one core; offered {', '.join(f'{rate:.0f}' for rate in tried)}; {told}"),
        *(
            Figure(f"goodput at twice the capacity, run {run}", 100 * goodput(found) / best,
                   "% of the peak", 90, at_least=True,
                   note=f"{_words(found)} of {found.calls}; in each second {_each(found)}")
            for run, found in enumerate(twice, 1)
        ),
        Figure("calls at half the capacity just after it", 100 * after.successful / after.calls, "%",
               100, at_least=True),
    ]  # fmt: skip


def _each(found: sipp.Outcome) -> str:
    return " ".join(str(count) for count in found.each_s)


def _offered(where: tuple[Path, str, str, int, int], rate: float, seconds: float) -> sipp.Outcome:
    return sipp.call(*where, calls=int(rate * seconds), rate=rate)


def _words(found: sipp.Outcome) -> str:
    return (
        f"{goodput(found):.0f}/s completed, {found.refused} refused, {found.failed} failed, "
        f"{found.resent} resent, set-up p50/p99 {found.p50:.0f}/{found.percentile(0.99):.0f} ms"
    )


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
    talker, listener = f"{sounding.HOST_A}:{ports[0]}", f"{sounding.HOST_B}:{ports[1]}"
    text = office(10) + sounding.OFFICE.format(talker=talker, listener=listener)
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
    parser.add_argument(
        "--seconds", type=float, help="of twice the capacity (9), of each flood (52)"
    )
    parser.add_argument("--flood", type=float, default=20_000.0)
    parser.add_argument("--runs", type=int, default=3, help="at twice the capacity")
    parser.add_argument("--sources", default="1,10000")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--only", choices=("capacity", "flood"))
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    chosen = parser.parse_args()
    rates = [float(rate) for rate in chosen.rates.split(",")] if chosen.rates else []
    parts = {
        "capacity": lambda folder: capacity(
            folder, rates, chosen.seconds or 9.0, chosen.runs, chosen.core
        ),
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
