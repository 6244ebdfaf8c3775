"""Free ports: given out once, to one process."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Container, Iterator
from multiprocessing.synchronize import Event

import pytest

from softswitch.errors import SoftswitchError
from softswitch.ports import FIRST, LAST, PIECE_MAX, SLICE, FreePorts, free_port

OURS = f"softswitch-test-{os.getpid()}"


def made(last: int = LAST, bound: Container[tuple[str, int]] = ()) -> FreePorts:
    """Ports that have nothing to do with what other runs on this machine hold or have `bound`."""
    return FreePorts(FIRST, last, OURS, lambda *at: at not in bound)


@pytest.fixture
def ports() -> Iterator[FreePorts]:
    ours = made()
    yield ours
    ours.close()


def test_ports_are_given_out_once_and_even() -> None:
    given = [free_port() for _ in range(300)]
    assert len(set(given)) == 300
    assert all(FIRST <= port < LAST and port % 2 == 0 for port in given)


def test_what_somebody_has_bound_is_not_given_out() -> None:
    ports = FreePorts()
    first = ports.take()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", first + 2))
        assert ports.take() > first + 2
    ports.close()


def test_an_address_and_another_are_looked_at_each() -> None:
    bound: set[tuple[str, int]] = set()
    ports = made(bound=bound)
    first = ports.take()
    bound |= {("127.0.0.1", first + 2), ("127.0.0.2", first + 6)}
    assert ports.take() == first + 4
    assert ports.take("127.0.0.1", 2) == first + 6
    bound |= {("127.0.0.2", first + 9)}
    assert ports.take(("127.0.0.1", "127.0.0.2"), 2) == first + 10
    ports.close()


def test_a_range_is_in_one_piece(ports: FreePorts) -> None:
    ports.take()
    whole = ports.take(count=SLICE)
    assert (whole - FIRST) % SLICE == 0
    assert ports.take(count=2) not in range(whole, whole + SLICE)


def test_a_large_piece_is_of_slices_that_nobody_has(ports: FreePorts) -> None:
    one = ports.take()
    large = ports.take(count=PIECE_MAX)
    ours = range(large, large + PIECE_MAX)
    assert one not in ours
    other = made()
    theirs = other.take(count=SLICE + 1)
    assert not set(ours) & set(range(theirs, theirs + 2 * SLICE))
    assert not any(ports.take(count=SLICE // 2) in ours for _ in range(10))
    other.close()
    with pytest.raises(SoftswitchError, match="at most"):
        ports.take(count=PIECE_MAX + 1)


def test_a_large_piece_that_is_not_to_be_had_holds_nothing() -> None:
    small = made(FIRST + 2 * SLICE)
    other = made(FIRST + 2 * SLICE)
    small.take()
    with pytest.raises(SoftswitchError, match=f"no {SLICE + 1} free ports in one piece"):
        other.take(count=SLICE + 1)
    small.close()
    assert other.take(count=SLICE + 1) == FIRST
    other.close()


def test_a_process_keeps_to_its_share_and_goes_round(ports: FreePorts) -> None:
    given = [ports.take(count=SLICE // 2) for _ in range(18)]
    assert len(set(given)) == 16
    assert given[16:] == given[:2]


def test_where_others_hold_all_ports_are_shared() -> None:
    small = made(FIRST + SLICE)
    held = small.take()
    other = made(FIRST + SLICE)
    assert other.take() == held
    small.close()
    other.close()


def test_where_others_hold_all_and_use_some_the_rest_is_found() -> None:
    last = FIRST + 12 * SLICE
    others = [made(last), made(last)]
    for other in others:
        for _ in range(8):
            other.take(count=SLICE)
    bound = {("127.0.0.1", FIRST + number * SLICE + 100) for number in range(12) if number != 8}
    late = made(last, bound)
    assert late.take(count=200) == FIRST + 8 * SLICE
    assert late.take(count=200) == FIRST + 8 * SLICE, "better shared than none"
    for each in (*others, late):
        each.close()


def test_what_is_given_back_is_there_for_others() -> None:
    small = made(FIRST + SLICE)
    first = small.take()
    small.close()
    other = made(FIRST + SLICE)
    assert other.take() == first
    assert small.take() == first, "shared, as nothing else is left"
    other.close()
    assert small.take() == first + 2
    small.close()


def _many(put: multiprocessing.SimpleQueue[list[int]], done: Event) -> None:
    put.put([free_port() for _ in range(400)])
    done.wait(30)  # what a process has is its own while it lives


def test_two_processes_never_get_the_same() -> None:
    context = multiprocessing.get_context("fork")
    put: multiprocessing.SimpleQueue[list[int]] = context.SimpleQueue()
    done = context.Event()
    ours = [free_port()]
    children = [context.Process(target=_many, args=(put, done)) for _ in range(3)]
    for child in children:
        child.start()
    given = [put.get() for _ in children]
    done.set()
    for child in children:
        child.join()
    every = [*ours, *(port for ports in given for port in ports)]
    assert len(every) == len(set(every)) == 1201
