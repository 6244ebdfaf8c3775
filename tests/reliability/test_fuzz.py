"""Rows 6, 8 and 9: whatever SIP arrives is a message or the typed error, in bounded time, and written as read.

`make test` bends 200,000 messages; `make soak` ten million (`SOFTSWITCH_FUZZ_SCALE` scales it). A failure names
the seed and the input. The other parsers: `test_parsers.py`.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from itertools import islice

import numpy as np
import pytest

from softswitch.sip.parser import ParseError, parse_message
from tests.reliability.anomalies import message, sweep
from tests.rows import Row, memory_kb
from tests.sip.test_sip_fuzz import SEEDS, exercise, mutate

SCALE = float(os.environ.get("SOFTSWITCH_FUZZ_SCALE", "1"))
SEED = int(os.environ.get("SOFTSWITCH_SEED", "1"))
AGAIN_US = 5_000


# -- row 6 ------------------------------------------------------------------------------------------


def mutated_sip(seed: int, count: int, row: Row) -> tuple[float, float, int]:
    """The time of 99 of 100 messages in microseconds, the longest in milliseconds, KB grown."""
    source = random.Random(seed)
    took_us = np.full(count, -1.0, np.float32)  # touched, or its pages would be counted as growth
    messages = 0
    before_kb = 0
    for number in range(count):
        data = mutate(source.choice(SEEDS), source)
        began = time.thread_time_ns()  # whoever else runs here is no part of it
        try:
            messages += exercise(data)
        except Exception as error:
            raise AssertionError(
                f"seed {seed}, message {number}: {error!r} for {data!r}"
            ) from error
        took_us[number] = (time.thread_time_ns() - began) / 1000
        if (
            took_us[number] > AGAIN_US
        ):  # the collector, or the machine? What is the message's own comes again
            began = time.thread_time_ns()
            exercise(data)
            took_us[number] = min(took_us[number], (time.thread_time_ns() - began) / 1000)
        if number == count // 20:
            before_kb = memory_kb()
    grown_kb = memory_kb() - before_kb  # before numpy's own code and tables for what follows
    p99_us, max_ms = float(np.percentile(took_us, 99)), float(took_us.max()) / 1000
    row(
        6,
        "mutated SIP messages",
        seed=seed,
        messages=count,
        parsed=messages,
        unhandled=0,
        grown_KB=grown_kb,
        p99_us=round(p99_us),
        max_ms=round(max_ms, 1),
    )
    assert 0 < messages < count
    return p99_us, max_ms, grown_kb


@pytest.mark.unhurried
@pytest.mark.parametrize("seed", range(2))
def test_mutated_sip(seed: int, row: Row) -> None:
    mutated_sip(100 + seed, 100_000, row)


@pytest.mark.soak
def test_ten_million_mutated_messages(row: Row) -> None:
    p99_us, max_ms, grown_kb = mutated_sip(SEED, int(10_000_000 * SCALE), row)
    assert p99_us < 500
    assert max_ms < 10
    assert grown_kb < 1024 or SCALE < 1  # what is kept once is there after the first half million


# -- row 8 ------------------------------------------------------------------------------------------


def test_the_price_of_an_octet_does_not_rise_with_the_length(row: Row) -> None:
    """The figure beside `tests/sip/test_linear_time.py`, which proves it by counting lines."""

    def ns_of(size: int, unit: bytes) -> tuple[int, int]:
        """The shortest time, and the octets."""
        head = message(1, body=b"", length=b"0")[:-4] + b"\r\nX-Bomb: "
        data = head + unit * ((size - len(head) - 4) // len(unit)) + b"\r\n\r\n"
        return min(_timed(data) for _ in range(7)), len(data)

    def _timed(data: bytes) -> int:
        began = time.perf_counter_ns()
        with contextlib.suppress(ParseError):
            parse_message(data)
        return time.perf_counter_ns() - began

    worst = longest_ms = 0.0
    for unit in (b",", b'"', b" ", b";a=b", b"<", b"\\", b"\xe4"):
        (large_ns, large), (small_ns, small) = ns_of(65_536, unit), ns_of(1024, unit)
        worst = max(worst, large_ns / large / (small_ns / small))
        longest_ms = max(longest_ms, large_ns / 1e6)
    row(
        8,
        "ns an octet at 64 KiB against 1 KiB, worst of 7 bombs",
        ratio=round(worst, 2),
        longest_ms=round(longest_ms, 2),
    )


# -- row 9 ------------------------------------------------------------------------------------------


def round_trips(count: int, row: Row) -> None:
    source = random.Random(SEED)
    names = [b"X-%d" % n for n in range(50)]
    odd = bytes(octet for octet in range(32, 256) if octet != 127)
    plain = message(1)
    at = plain.index(b"Content-Length")
    for _ in range(count):
        extra = b"".join(
            source.choice(names) + b": " + bytes(source.choices(odd, k=source.randrange(40))).strip(b" ")
            + b"\r\n"
            for _ in range(source.randrange(4))
        )  # fmt: skip
        body = source.randbytes(source.randrange(80))
        data = plain[:at] + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body
        first = parse_message(data)
        written = first.serialise()
        assert written == data, (data, written)
        assert parse_message(written) == first
    row(9, "generated messages written as read", seed=SEED, messages=count, differences=0)


def test_what_is_generated_is_written_as_read(row: Row) -> None:
    round_trips(30_000, row)


@pytest.mark.soak
def test_a_million_round_trips(row: Row) -> None:
    round_trips(int(1_000_000 * SCALE), row)


def test_the_sweep_is_the_same_every_time() -> None:
    assert [data for _, data in islice(sweep(), 500)] == [data for _, data in islice(sweep(), 500)]
