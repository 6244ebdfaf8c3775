"""A media worker: one process, one engine, one control socket. `python -P -m media.plane.worker`.

The process waits for `Setup` (a spare may wait long, with everything imported), then serves until
its control socket closes or says `Stop`; either way the recordings are finished first. If the socket
closes without a word, calls that are relayed may keep their sound for a while (`Orphan`).
"""

from __future__ import annotations

import argparse
import gc
import signal
import socket
import sys
import time
import traceback
from array import array
from collections import deque
from pathlib import Path

from media.errors import ProtocolViolation
from media.plane import io_mmsg
from media.plane.chance import Chance
from media.plane.disk import DiskThread
from media.plane.engine import Engine
from media.plane.gaps import CollectorClock, Gaps
from media.plane.io_portable import PortableIo
from media.plane.orphan import Orphan
from media.plane.packet_io import PacketIo
from media.plane.scheduling import take_precedence, wake_at_once
from media.protocol import (
    MESSAGE_OCTETS_MAX,
    AddPort,
    Command,
    MediaEvent,
    Setup,
    Stop,
    StreamClosed,
    WorkerLoad,
    encode,
    pack,
    unpack_commands,
)

_COMMANDS_PER_TURN = 256
"""Before packets are fetched again."""
_COMMANDS_OF_A_REST = 1024
"""The same after a rest, in which so many may have gathered (at two thousand calls a second): what its first
packet is for is among them."""
_BESIDE_OCTETS = socket.CMSG_LEN(2 * array("i").itemsize)
_EVENTS_WAITING_MAX = 100_000
_LOAD_EVERY_S = 1.0
_LOAD_EARLY_S = 0.05
"""Rather so much sooner than that the worker is woken for it once more."""
_FAILURES_MAX = 10
"""Failed polls within a second; a worker that fails more often is better replaced."""
_CYCLES = (
    (200.0, 0.0),
    (1_000.0, 0.0015),
    (4_000.0, 0.003),
    (10_000.0, 0.0035),
    (20_000.0, 0.0031),
    (80_000.0, 0.0025),
    (120_000.0, 0.002),
)
"""(packets a second, seconds from one fetch of datagrams to the next): with few streams each packet
is served at once; with some a batch costs little more than a packet; with many the work itself takes
its time, and what waits must not wait for that as well."""

_NO_PAUSE_S = 0.0002
"""Sleeping for less is not worth its price; a fetch that takes longer has had to wait for something to come."""

_PATIENCE_S = 0.04
"""Of events that nobody waits for, where calls end all the time."""

_TICK_CYCLE_S = 0.01
"""Where nothing is relayed, nothing leaves before the next tick."""
_SILENT_CYCLE_S = 0.02
"""The same where not a packet has come for a second, for all the calls: there is none that could wait."""
_REST_S = 0.1
"""The same where nothing is said to anybody either: a waking costs the worker as much as ten calls. The first
packet that comes ends such a rest at once, so that only what we say ourselves begins so much later."""
_MANY_COMMANDS = 100.0
_COMMANDED_CYCLE_S = 0.0035
"""From a fetch that brought commands to the next, where there are more than 100 commands a second: a call has
five. No longer than the cycle of a hundred calls; more where not a packet comes. What a peer
sends once he knows where to is fetched after the commands, however long both have waited."""


def cycle_s(rate: float, *, commanded: bool = False) -> float:
    """Return how long after one fetch the next is due at `rate` packets a second; `commanded`: it has brought
    commands, and there are many."""
    if commanded:
        return max(_COMMANDED_CYCLE_S, cycle_s(rate)) if rate else _SILENT_CYCLE_S
    low_rate, low_s = _CYCLES[0]
    if rate <= low_rate:
        return 0.0
    for high_rate, high_s in _CYCLES[1:]:
        if rate <= high_rate:
            return low_s + (high_s - low_s) * (rate - low_rate) / (high_rate - low_rate)
        low_rate, low_s = high_rate, high_s
    return low_s


class ControlSocket:
    """The worker's end of the control connection: commands in, events out, never blocking."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.closed = False
        self._packet = memoryview(bytearray(MESSAGE_OCTETS_MAX))
        self._waiting: deque[bytes] = deque()
        self._pressing = False
        self._due_s: float | None = None

    def replace(self, sock: socket.socket) -> None:
        """Speak to another control plane, to which nothing of before means anything."""
        self.sock.close()
        self.sock, self.closed = sock, False
        self._waiting.clear()

    def receive(self) -> tuple[list[Command], list[int]] | None:
        """Return the commands of the next packet and the descriptors beside them, which are the only
        command's; None if there is none now."""
        try:
            octets, beside, _, _ = self.sock.recvmsg_into([self._packet], _BESIDE_OCTETS)
        except BlockingIOError:
            return None
        except OSError:
            octets, beside = 0, []
        if not octets:
            self.closed = True
            return None
        if not beside:
            return unpack_commands(self._packet[:octets]), []
        descriptors = array("i")
        for level, kind, data in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        return unpack_commands(self._packet[:octets]), list(descriptors)

    def emit(self, event: MediaEvent) -> None:
        """Queue an event; what nobody fetches is bounded."""
        if len(self._waiting) < _EVENTS_WAITING_MAX and not self.closed:
            self._waiting.append(encode(event))
            self._pressing |= type(event) is not StreamClosed

    def flush_some(self, now_s: float) -> None:
        """The same as `flush`, but accounts of streams that are closed, which are only written down, wait for
        up to `_PATIENCE_S` for others: each packet wakes the control plane."""
        if self._waiting and not self._pressing:
            if self._due_s is None:
                self._due_s = now_s + _PATIENCE_S
            if now_s < self._due_s:
                return
        self.flush()

    def flush(self) -> None:
        """Send what the other end takes now."""
        while self._waiting and not self.closed:
            data, count = pack(self._waiting)
            try:
                self.sock.send(data)
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                return
            for _ in range(count):
                self._waiting.popleft()
        self._pressing, self._due_s = False, None


class Worker:
    """One engine, its clock and its control socket."""

    def __init__(self, setup: Setup, control: ControlSocket) -> None:
        self._control = control
        self._setup = setup
        self._io: PacketIo = _packet_io(setup)
        self._io.watch(control.sock.fileno())
        self._disk = DiskThread("recordings")
        self._reader = DiskThread("prompts")
        self._rate = 0.0
        self._commands = 0
        self._many_commands = False
        self._behind = False
        """There may be more commands than were taken."""
        self._commanded = False
        self._stopping = False
        self._failures = 0
        self._orphan: Orphan | None = None
        self._attended = True
        """Somebody is at the other end of the control socket."""
        self._gaps = Gaps()
        self.engine = Engine(
            self._io,
            emit=control.emit,
            disk=self._disk,
            reader=self._reader,
            recordings_dir=setup.recordings_dir,
            start_s=time.monotonic(),
            rng=Chance(),
            streams_max=setup.streams_max,
            rtp_timeout_s=setup.rtp_timeout_s,
            unix_offset_s=time.time() - time.monotonic(),
        )

    def run(self) -> None:
        """Serve until told to stop; finishes the recordings."""
        wake_at_once()  # this thread only: those that write files need not be as quick
        clock, cpu_clock = time.monotonic, time.thread_time
        control, engine, io, gaps = self._control, self.engine, self._io, self._gaps
        collector = CollectorClock(clock)
        gc.callbacks.append(collector)
        self._report(0.0)  # says that we are ready
        reported_s = clock()
        next_load_s = max(engine.next_second_s, reported_s + _LOAD_EARLY_S + _LOAD_EARLY_S)
        cpu_s, packets = time.process_time(), 0
        fetched_s = clock()
        while not self._stopping:
            if (control.closed or self._orphan is not None) and not self._goes_on(clock()):
                break
            now_s = clock()
            resting = self._resting
            due_s = min(fetched_s + (_REST_S if resting else self._cycle_s()), engine.deadline_s())
            late_s = now_s - due_s  # by our own work
            pause = -late_s
            if pause > _NO_PAUSE_S and not self._behind:
                if resting:
                    io.rest(pause)
                    gaps.idle()  # it would have ended with a packet
                else:
                    time.sleep(pause)
                commanded = io.wait(0.0)
                until_s = due_s
            else:
                due_s = now_s
                until_s = min(engine.deadline_s(), next_load_s)
                commanded = io.wait(max(0.0, until_s - now_s))
            fetched_s = clock()
            late_s = max(late_s, fetched_s - until_s)
            if pause <= _NO_PAUSE_S < fetched_s - now_s:
                gaps.idle()  # nothing was there to be fetched
            gaps.fetched(fetched_s, due_s, cpu_clock(), collector.total_s)
            self._commanded = commanded
            most = _COMMANDS_OF_A_REST if resting else _COMMANDS_PER_TURN
            self._behind = commanded and self._take_commands(fetched_s, most)
            self._poll(fetched_s, late_s)
            if self._many_commands and not self._resting:
                control.flush_some(fetched_s)
            else:
                control.flush()
            now_s = clock()
            if now_s >= next_load_s - _LOAD_EARLY_S:
                elapsed, reported_s = now_s - reported_s, now_s
                self._failures = 0
                self._rate = (engine.packets_in - packets) / elapsed
                self._many_commands = self._commands > _MANY_COMMANDS * elapsed
                self._commands = 0
                spent = time.process_time()
                self._report((spent - cpu_s) / elapsed)
                cpu_s, packets = spent, engine.packets_in
                next_load_s = now_s + _LOAD_EVERY_S
        self._finish()

    def _goes_on(self, now_s: float) -> bool:
        """The control plane has gone: whether calls that are relayed keep their sound a while longer."""
        if self._orphan is None:
            if self._setup.orphan_s <= 0.0 or not self.engine.relaying:
                return False
            try:
                self._orphan = Orphan(Path(self._setup.orphan_dir), now_s, self._setup.orphan_s)
            except OSError as error:
                print(f"media worker: the exchange is gone, and so am I: {error}", file=sys.stderr)
                return False
            self._io.unwatch(self._control.sock.fileno())
            self._io.watch(self._orphan.listener.fileno())
            # Nobody can stop or pause a recording now, and the next life finds whole files.
            self.engine.finish()
            self._attended = False
        elif self._control.closed and self._attended:
            self._io.unwatch(self._control.sock.fileno())
            self._attended = False
        if not self._attended:
            successor = self._orphan.accept()
            if successor is not None:
                self._control.replace(successor)
                self._io.watch(successor.fileno())
                self._attended = True
        return not self._orphan.over(now_s, self.engine.packets_in)

    def _poll(self, now_s: float, late_s: float) -> None:
        """Drive the engine; what should never happen is told and survived, unless it goes on."""
        try:
            if self.engine.poll(now_s, late_s) and not self._rate:
                self._rate = (
                    1.0  # it is no longer silent; how much there is will be known within a second
                )
        except Exception:
            self._failures += 1
            if self._failures > _FAILURES_MAX:
                raise
            traceback.print_exc()

    @property
    def _resting(self) -> bool:
        """There are many commands and nothing else: they may gather, for nobody hears what they change."""
        busy = self._rate or self.engine.ticking
        return self._commanded and self._many_commands and not busy

    def _cycle_s(self) -> float:
        """How long datagrams may gather between two fetches."""
        commanded = self._commanded and self._many_commands
        if self.engine.relaying:
            return cycle_s(self._rate, commanded=commanded)
        return _TICK_CYCLE_S if self.engine.ticking else cycle_s(0.0, commanded=commanded)

    def _take_commands(self, now_s: float, most: int = _COMMANDS_PER_TURN) -> bool:
        """Carry out what has come, some `most` of it together: what surrounds the commands costs as much as
        some. True if there may be more."""
        taken = 0
        gathered: list[Command] = []
        while taken < most:
            received = self._control.receive()
            if received is None:
                break
            commands, descriptors = received
            taken += len(commands)
            if descriptors:
                self.carry_out(gathered, now_s)
                gathered = []
                self._take_port(commands[0], descriptors)
            else:
                gathered += commands
        self.carry_out(gathered, now_s)
        self._commands += taken
        return taken >= most

    def carry_out(self, commands: list[Command], now_s: float) -> None:
        """Carry out what came together."""
        for place, command in enumerate(commands):
            if type(command) is Stop:
                self._stopping = True
                commands = commands[:place]
                break
        self.engine.handle_all(commands, now_s)

    def _take_port(self, command: Command, descriptors: list[int]) -> None:
        for offset, descriptor in enumerate(descriptors):
            sock = socket.socket(fileno=descriptor)
            if isinstance(command, AddPort):
                self._io.open_port(command.port_id + offset, sock)
            else:
                sock.close()

    def _report(self, cpu: float) -> None:
        held, gap = self.engine.snapshot(), self._gaps.take()
        self._control.emit(
            WorkerLoad(
                worker=self._setup.worker,
                cpu=round(cpu, 4),
                streams=held["streams"],
                packets_in=self.engine.packets_in,
                packets_out=self.engine.packets_out,
                unknown_sources=held["unknown_sources"],
                gap_ms=gap.all_ms,
                gap_own_ms=gap.own_ms,
                gap_collector_ms=gap.collector_ms,
                gap_overslept_ms=gap.overslept_ms,
            )
        )

    def _finish(self) -> None:
        self.engine.finish()
        if self._orphan is not None:
            self._orphan.close()
            self.engine.release_all()
        self._disk.close(5.0)
        self.engine.drain_events()
        self._control.flush()
        self._io.close()


def _packet_io(setup: Setup) -> PacketIo:
    if setup.back_end != "portable" and io_mmsg.available():
        return io_mmsg.MmsgIo(2 * setup.streams_max)
    return PortableIo(2 * setup.streams_max)


def main(arguments: list[str] | None = None) -> int:
    """Run a worker on the control socket whose descriptor is named on the command line."""
    parser = argparse.ArgumentParser(prog="media.plane.worker")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the socket")
    options = parser.parse_args(arguments)
    # An interrupt from the terminal is for the control plane, which then closes our socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    take_precedence()
    control = ControlSocket(socket.socket(fileno=options.control))
    try:
        control.sock.setblocking(True)
        received = control.receive()
        if received is None:
            return 0
        setup, *others = received[0]
        if not isinstance(setup, Setup):
            raise ProtocolViolation("the first command is Setup")
        control.sock.setblocking(False)
        # Nothing that exists now will die: keep the collector from walking it in mid-tick.
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        worker = Worker(setup, control)
        worker.carry_out(others, time.monotonic())
        worker.run()
    except ProtocolViolation as error:
        print(f"media worker: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
