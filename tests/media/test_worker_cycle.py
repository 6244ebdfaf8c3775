"""How long datagrams gather before they are fetched: adaptive batching."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from media.plane import worker as worker_module
from media.plane.worker import ControlSocket, Worker, cycle_s
from media.protocol import (
    AddPort,
    Connect,
    DigitReceived,
    JoinRoom,
    OpenStream,
    ReleaseStream,
    Setup,
    Stop,
    StreamClosed,
    StreamParams,
    StreamStats,
    WorkerLoad,
    encode,
    pack,
    unpack_events,
)


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
            events = unpack_events(sock.recv(65_536))
            found.append([event.stream_id for event in events if type(event) is not WorkerLoad])
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


class Clock:
    """A worker's time, which passes only while it sleeps; `turns` counts how often it does."""

    def __init__(self):
        self.now_s, self.turns = 50.0, 0
        self.due = []
        """(time, what to do then), in order."""

    def monotonic(self):
        return self.now_s

    time = thread_time = process_time = monotonic

    def sleep(self, pause_s):
        self.turns += 1
        self.go(self.now_s + pause_s)

    def go(self, until_s):
        while self.due and self.due[0][0] <= until_s:
            self.due.pop(0)[1]()
        self.now_s = until_s

    def wait(self, timeout_s):
        if timeout_s > 0.0 and not self._wait(0.0):
            self.turns += 1
            soon_s = self.due[0][0] if self.due else float("inf")
            self.go(min(self.now_s + timeout_s, max(self.now_s, soon_s)))
        return self._wait(0.0)

    def rest(self, timeout_s):
        self.turns += 1
        self.go(self.now_s + timeout_s)

    def take(self, worker):
        """Let this worker sleep by this clock."""
        self._wait = worker._io.wait
        worker._io.wait, worker._io.rest = self.wait, self.rest


@pytest.fixture
def make_worker(control, monkeypatch, tmp_path):
    """A worker on a clock of the test's, and the other end of its control socket."""
    ours = control[1]
    clock = Clock()
    monkeypatch.setattr(worker_module, "time", clock)
    worker = Worker(Setup(0, str(tmp_path), streams_max=64, back_end="portable"), control[0])
    clock.take(worker)
    return worker, clock, ours


def a_call(number):
    """The commands of a whole call, as they are sent."""
    params = StreamParams(("127.0.0.9", 4000))
    a, b = 2 * number, 2 * number + 1
    begin = [OpenStream(a, 0, params=params), OpenStream(b, 0, params=params), Connect(a, b)]
    return [begin, [ReleaseStream(a), ReleaseStream(b)]]


def packed(commands):
    return pack([encode(command) for command in commands])[0]


def rush(worker, clock, ours, *looks):
    """800 calls at 200 a second through a worker; returns what it has said, and what each of `looks` (seconds,
    what to ask for then) found."""
    said, found = [], []

    def send(commands):
        ours.send(packed(commands))
        said.extend(heard(ours))

    for number in range(800):
        for place, commands in enumerate(a_call(number)):
            at_s = clock.now_s + number / 200 + 0.001 * place
            clock.due.append((at_s, lambda commands=commands: send(commands)))
    clock.due.append((clock.now_s + 4.2, lambda: send([Stop()])))
    for second, look in looks:
        clock.due.append((clock.now_s + second, lambda look=look: found.append(look())))
    clock.due.sort(key=lambda each: each[0])
    worker.run()
    said.extend(heard(ours))
    return said, found


def test_a_worker_that_gets_nothing_but_commands_looks_at_them_ten_times_a_second(make_worker):
    worker, clock, ours = make_worker
    said, turns = rush(worker, clock, ours, (1.2, lambda: clock.turns), (3.2, lambda: clock.turns))
    assert 19 <= turns[1] - turns[0] <= 30
    assert sum(map(len, said)) == 1_600  # two accounts a call


def test_more_commands_than_are_taken_at_once_do_not_wait_for_another_rest(
    make_worker, monkeypatch
):
    worker, clock, ours = make_worker
    monkeypatch.setattr(worker_module, "_COMMANDS_PER_TURN", 8)
    monkeypatch.setattr(worker_module, "_COMMANDS_OF_A_REST", 8)
    held = (4.15, lambda: worker.engine.snapshot()["streams"])
    said, found = rush(worker, clock, ours, held)
    assert found == [0]
    assert sum(map(len, said)) == 1_600


def test_a_worker_that_gets_nothing_is_woken_once_a_second(make_worker):
    worker, clock, ours = make_worker
    clock.due.append((clock.now_s + 20.0, lambda: ours.send(packed([Stop()]))))
    worker.run()
    events = []
    while True:
        try:
            events += unpack_events(ours.recv(65_536))
        except BlockingIOError:
            break
    assert 19 <= len([event for event in events if type(event) is WorkerLoad]) <= 22
    assert clock.turns <= 45


def test_a_worker_that_is_woken_late_or_works_for_long_tells_its_engine_by_how_much(make_worker):
    worker, clock, ours = make_worker
    params = StreamParams(("127.0.0.9", 4000))
    room = [each for n in (0, 1) for each in (OpenStream(n, 0, params=params), JoinRoom(1, n))]
    lates, oversleeps, works = [], [0.041], [0.063]
    slept, polled = clock.sleep, worker.engine.poll

    def sleep(pause_s):
        slept(pause_s + (oversleeps.pop() if oversleeps and len(lates) > 100 else 0.0))

    def poll(now_s, late_s):
        lates.append(late_s)
        found = polled(now_s, late_s)
        clock.go(clock.now_s + (works.pop() if works and len(lates) > 200 else 0.0))
        return found

    clock.sleep, worker.engine.poll = sleep, poll
    clock.due.append((clock.now_s + 0.1, lambda: ours.send(packed(room))))
    clock.due.append((clock.now_s + 6.0, lambda: ours.send(packed([Stop()]))))
    worker.run()
    overslept_s, worked_s = (late_s for late_s in lates if late_s > 0.001)
    assert overslept_s == pytest.approx(0.041, abs=0.001)
    assert worked_s == pytest.approx(
        0.058, abs=0.006
    )  # the next was to be fetched 0 to 10 ms later


def test_ports_come_in_their_place_among_the_commands(make_worker):
    worker, _, ours = make_worker
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    order = []
    worker.engine.handle_all = lambda commands, now_s: order.extend(commands)
    worker._io.open_port = lambda port_id, sock: (order.append(port_id), sock.close())
    one, two, three = OpenStream(1, 0), OpenStream(2, 0), OpenStream(3, 0)
    ours.send(packed([one]))
    ours.send(packed([two]))
    port = packed([AddPort(4, "127.0.0.1", 4000)])
    socket.send_fds(ours, [port], [sock.fileno() for sock in sockets])
    ours.send(packed([three]))
    worker._take_commands(50.0)
    assert order == [one, two, 4, 5, three]
    for sock in sockets:
        sock.close()
    worker._io.close()
