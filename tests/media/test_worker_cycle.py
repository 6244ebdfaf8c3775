"""How long datagrams gather before they are fetched: adaptive batching."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from media.plane.worker import ControlSocket, cycle_s
from media.protocol import DigitReceived, StreamClosed, StreamStats, unpack_events


def test_with_few_packets_each_is_fetched_at_once():
    assert cycle_s(0.0) == cycle_s(200.0) == 0.0


def test_with_hundreds_of_calls_they_gather_and_with_thousands_less_so():
    by_calls = {calls: cycle_s(100.0 * calls) for calls in (10, 40, 100, 400, 800, 2000)}
    assert by_calls[10] < by_calls[40] < by_calls[100]
    assert by_calls[100] > by_calls[400] > by_calls[800] > by_calls[2000] == 0.002


def test_after_commands_of_which_there_are_many_the_next_fetch_is_milliseconds_off():
    assert cycle_s(100.0) == 0.0
    assert cycle_s(100.0, commanded=True) == cycle_s(40_000.0, commanded=True) == 0.0035
    assert cycle_s(0.0, commanded=True) == 0.02  # nobody's packet waits
    assert cycle_s(1.0, commanded=True) == 0.0035


def test_it_changes_without_a_jump_and_never_makes_half_a_cycle_more_than_two_milliseconds():
    rates = np.arange(0.0, 200_000.0, 10.0)
    cycles = np.array([cycle_s(rate) for rate in rates])
    assert np.abs(np.diff(cycles)).max() < 0.0001
    # What comes at any moment waits half a cycle on the average: the bar of the delay is 2 ms.
    assert cycles.max() / 2 < 0.002
    assert cycles.max() == pytest.approx(0.0035)


@pytest.fixture
def control():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ControlSocket(theirs), ours
    ours.close()
    theirs.close()


def heard(sock):
    found = []
    while True:
        try:
            found.append([event.stream_id for event in unpack_events(sock.recv(65_536))])
        except BlockingIOError:
            return found


def test_where_calls_end_all_the_time_their_accounts_come_together(control):
    worker, ours = control
    for number, now_s in enumerate((5.0, 5.01, 5.02, 5.03, 5.04)):
        worker.emit(StreamClosed(number, StreamStats()))
        worker.flush_some(now_s)
        assert heard(ours) == ([[0, 1, 2, 3, 4]] if now_s == 5.04 else [])
    worker.emit(StreamClosed(5, StreamStats()))
    worker.flush_some(9.0)  # the time of the first that waits counts, not that of those before it
    assert heard(ours) == []
    worker.emit(DigitReceived(9, "1", 80))  # takes with it what has come before it
    worker.flush_some(9.01)
    assert heard(ours) == [[5, 9]]
    worker.emit(StreamClosed(6, StreamStats()))
    worker.flush()
    assert heard(ours) == [[6]]


def test_what_the_other_end_does_not_take_now_goes_as_soon_as_it_does(control):
    worker, ours = control
    sent = 0
    while worker._waiting or not sent:
        for _ in range(64):
            worker.emit(DigitReceived(sent, "1", 80))
            sent += 1
        worker.flush_some(1.0)
        if worker._waiting:
            break
    had = [number for packet in heard(ours) for number in packet]
    worker.flush_some(1.001)
    had += [number for packet in heard(ours) for number in packet]
    assert had == list(range(sent))
