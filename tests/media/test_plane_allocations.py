"""Nothing is allocated, and no line of Python runs, for a packet: only for a batch.

Whole calls go through an engine and the real sockets of a worker. The same cycles are run with few packets
in each and with ten times as many; what the second costs more, divided by its packets, is a packet's own.
"""

from __future__ import annotations

import ctypes
import random
import shutil
import socket
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from media.plane import io_mmsg
from media.plane.engine import Engine
from media.plane.io_portable import PortableIo
from media.protocol import ConfigureStream, Connect, OpenStream, StartRecording, StreamParams

LEGS = 2_000
PORTS = 8
PACKET = 172
CYCLES = 10
CYCLE_S = 0.02
FEW, MANY = LEGS // 10, LEGS
"""Packets in a cycle; both are beyond where a batch waits for others to come."""
COUNTER = r"""
#include <stddef.h>
typedef struct {
    void *context;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *);
} Allocator;
extern void PyMem_GetAllocator(int, Allocator *);
extern void PyMem_SetAllocator(int, Allocator *);
static Allocator usual[3];
static long count;
static void *count_malloc(void *of, size_t n) {
    Allocator *a = of; count++; return a->malloc(a->context, n); }
static void *count_calloc(void *of, size_t k, size_t n) {
    Allocator *a = of; count++; return a->calloc(a->context, k, n); }
static void *count_realloc(void *of, void *p, size_t n) {
    Allocator *a = of; count++; return a->realloc(a->context, p, n); }
static void count_free(void *of, void *p) { Allocator *a = of; a->free(a->context, p); }
void begin(void) {
    count = 0;
    for (int domain = 0; domain < 3; domain++) {
        PyMem_GetAllocator(domain, &usual[domain]);
        Allocator counting = {&usual[domain], count_malloc, count_calloc, count_realloc, count_free};
        PyMem_SetAllocator(domain, &counting);
    }
}
long end(void) {
    for (int domain = 0; domain < 3; domain++) PyMem_SetAllocator(domain, &usual[domain]);
    return count;
}
"""

needs_mmsg = pytest.mark.skipif(not io_mmsg.available(), reason="recvmmsg and its structures")
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="a C compiler is not here")


class NoDisk:
    """Takes everything and writes nothing: it is not what is measured."""

    def submit(self, job, octets=0):
        return True

    def close(self, timeout_s):
        return True


def bound():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind(("127.0.0.1", 0))
    return sock


class Plane:
    """An engine of 1,500 calls on loopback, and the telephones around it."""

    def __init__(self, tmp_path, *, io=None, recorded=False, **params):
        self.io = io_mmsg.MmsgIo(2 * LEGS) if io is None else io
        self.ports = []
        for number in range(2 * PORTS):
            sock = bound()
            self.ports.append(sock.getsockname())
            self.io.open_port(number, sock)
        self.phones = [bound() for _ in range(-(-LEGS // PORTS))]
        self.peers = io_mmsg.MmsgIo(LEGS)
        for number, sock in enumerate(self.phones):
            self.peers.open_port(number, sock)
        self.now_s, self.events = 100.0, []
        self.engine = Engine(
            self.io,
            emit=self.events.append,
            disk=NoDisk(),
            reader=NoDisk(),
            recordings_dir=str(tmp_path),
            start_s=self.now_s,
            rng=random.Random(1),
            streams_max=LEGS,
        )
        self.engine._next_report_s = float(
            "inf"
        )  # RTCP goes by the clock and by lot, not by packets
        self.said = np.zeros(LEGS, np.int64)
        noise = np.random.default_rng(1).integers(0, 256, (LEGS, PACKET - 12), np.uint8)
        self.sound = noise & 0x8F | 0x60  # soft, as u-law has it
        for leg in range(LEGS):
            self.open(leg, **params)
            if leg % 2:
                self.do(Connect(leg - 1, leg))
                if recorded:
                    self.do(StartRecording(leg, leg - 1, leg, f"{leg}.wav"))
        for _ in range(10):
            self.cycle(LEGS)

    def open(self, leg, **params):
        port = leg % PORTS
        self.do(OpenStream(leg, 2 * port, None))
        address = self.phones[leg // PORTS].getsockname()
        self.do(ConfigureStream(leg, StreamParams(address, **params)))
        self.peers.set_destination(leg, self.ports[2 * port])

    def do(self, command):
        self.engine.handle(command, self.now_s)

    def say(self, legs):
        """These legs each send a packet."""
        count = len(legs)
        words = self.peers.tx.words[:count]
        words[:, 0] = 0x80000000 | (self.said[legs] & 0xFFFF)
        words[:, 1] = round(8_000 * self.now_s)  # who was silent goes on in the time of the others
        words[:, 2] = legs + 1000
        self.peers.tx.octets[:count, 12:PACKET] = self.sound[:count]
        self.said[legs] += 1
        octets = np.full(count, PACKET, np.int32)
        assert (
            self.peers.send(self.peers.tx, np.arange(count), octets, legs // PORTS, legs) == count
        )

    def heard(self):
        """How many packets the legs have got."""
        self.peers.wait(0.0)
        return int((self.peers.lengths[: self.peers.receive()] == PACKET).sum())  # no RTCP

    def cycle(self, each, work=None):
        """The first `each` legs say something, and hear it of their partners."""
        self.say(np.arange(each))
        self.now_s += CYCLE_S
        (work or self.turn)()
        return self.heard()

    def turn(self):
        """What a worker does from one fetch to the next."""
        self.io.wait(0.0)
        self.engine.poll(self.now_s)

    def run(self, each, work=None):
        """How many packets went through in a row of cycles with `each` of them."""
        return sum(self.cycle(each, work) for _ in range(CYCLES))

    def close(self):
        self.io.close()
        self.peers.close()


SCENES = {
    "relayed": {},
    "recorded": {"recorded": True},
    "listened to for digits": {"inband_dtmf": True},
}


@pytest.fixture(scope="module", params=SCENES)
def plane(request, tmp_path_factory):
    made = Plane(tmp_path_factory.mktemp("plane"), **SCENES[request.param])
    yield made
    made.close()


def own(plane, measure):
    """What one packet costs by `measure(work) -> number`, beyond what its batch costs."""
    plane.run(MANY)
    spent = {}
    for each in (FEW, MANY):
        total = 0

        def work():
            nonlocal total
            total += measure(plane.turn)

        assert plane.run(each, work) == each * CYCLES, "all of it went through"
        spent[each] = total
    assert spent[FEW] > 0, "nothing was measured"
    return (spent[MANY] - spent[FEW]) / ((MANY - FEW) * CYCLES)


@pytest.fixture(scope="module")
def allocations(tmp_path_factory):
    """Counts what `work()` asks of Python's allocators."""
    folder = tmp_path_factory.mktemp("counter")
    source, library = folder / "counter.c", folder / "counter.so"
    source.write_text(COUNTER)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    counter = ctypes.PyDLL(str(library))
    counter.end.restype = ctypes.c_long

    def count(work):
        counter.begin()
        try:
            work()
        finally:
            found = counter.end()
        return found

    return count


@needs_mmsg
@needs_cc
def test_nothing_is_allocated_for_a_packet(plane, allocations):
    """Python keeps the numbers up to 256 made; each socket of a larger batch needs a few others."""
    assert own(plane, allocations) < 8 * PORTS / (MANY - FEW) < 0.04


@needs_mmsg
@needs_cc
def test_the_counter_sees_what_there_is_to_see(tmp_path, allocations):
    """The portable back end makes an address for each packet."""
    plane = Plane(tmp_path, io=PortableIo(2 * LEGS))
    assert own(plane, allocations) > 1
    plane.close()


def executed(work):
    """How many instructions of Python `work()` takes."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@needs_mmsg
def test_no_python_runs_for_a_packet(plane):
    assert own(plane, executed) < 0.01


@needs_mmsg
def test_memory_neither_grows_nor_is_held_by_packets(plane):
    alive = {}
    send = plane.io.send
    for each in (FEW, MANY):
        most = 0

        def watched(*arguments):
            nonlocal most
            most = max(most, sys.getallocatedblocks())
            return send(*arguments)

        plane.run(each)
        plane.io.send = watched
        before = sys.getallocatedblocks()
        plane.run(each)
        plane.io.send = send
        assert sys.getallocatedblocks() - before < 50, "what a cycle leaves behind"
        alive[each] = most - before
    # In the midst of a batch: as many objects for 400 packets as for 40.
    assert abs(alive[MANY] - alive[FEW]) < FEW


@needs_mmsg
def test_a_batch_takes_no_more_than_a_few_numbers_for_a_packet(tmp_path):
    """Temporary arrays grow with the batch, by what headers and routes take; never by its sound."""
    plane = Plane(tmp_path)
    plane.run(MANY)
    peaks = {}
    tracemalloc.start()
    try:
        for each in (FEW, MANY):
            peak = 0

            def work():
                nonlocal peak
                held, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
                plane.turn()
                peak = max(peak, tracemalloc.get_traced_memory()[1] - held)

            plane.run(each, work)
            peaks[each] = peak
    finally:
        tracemalloc.stop()
    plane.close()
    assert (peaks[MANY] - peaks[FEW]) / (MANY - FEW) < 300
