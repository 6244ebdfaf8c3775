"""One media worker process as seen from the control plane: spawn, talk, notice the end, reap."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import media
from media.errors import MediaError, ProtocolViolation
from media.protocol import MESSAGE_OCTETS_MAX, Command, MediaEvent, encode, pack, unpack_events

_SEND_BUFFER_OCTETS = 1 << 20
_PATIENCE_S = 0.05
_REAP_EVERY_S = 0.02
_REAP_PATIENCE_S = 2.0
_BLAS_THREADS = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def worker_environment() -> dict[str, str]:
    """Return the environment of a worker: our packages on its path, one BLAS thread.

    A worker runs with -P, so that no file beside the user's shell can pose as one of our packages.
    """
    environment = dict(os.environ)
    root = str(Path(str(media.__file__)).resolve().parent.parent)
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = root if not inherited else f"{root}{os.pathsep}{inherited}"
    for name in _BLAS_THREADS:
        environment[name] = "1"
    return environment


class WorkerProcess:
    """A worker process and our end of its control socket.

    `on_event(event)` for everything it says; `on_end()` once, when the socket has closed, whatever
    the reason. Sending never waits: what one turn of the loop brings leaves at its end in one packet,
    for each wakes the worker; what the socket does not take then is queued in order. Of what can wait
    (`patient`) nothing wakes it within 50 ms: it leaves with the next command that cannot.
    """

    def __init__(self, on_event: Callable[[MediaEvent], None], on_end: Callable[[], None]) -> None:
        self._on_event = on_event
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._outbox: deque[bytes] = deque()
        self._lent: deque[tuple[bytes, tuple[int, ...]]] = (
            deque()
        )  # of the outbox, what has descriptors
        self.gathering = False
        self._soon: asyncio.TimerHandle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._writing = False
        self.ended = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_OCTETS)
            ours.setblocking(False)
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "media.plane.worker",
                    "--control",
                    str(theirs.fileno()),
                ],
                env=worker_environment(),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            ours.close()
            raise MediaError(f"no media worker could be started: {error}") from error
        finally:
            theirs.close()
        self._sock = ours
        self._loop.add_reader(ours.fileno(), self._read)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(
        self, command: Command, descriptors: tuple[int, ...] = (), *, patient: bool = False
    ) -> None:
        """Send a command, with duplicates of `descriptors` beside it; they must stay open until
        the queue is empty, as sockets of the control plane do."""
        if self.ended:
            return
        encoded = encode(command)
        self._outbox.append(encoded)
        if descriptors:
            self._lent.append((encoded, descriptors))
        if self._writing or self.gathering:
            return
        if not patient:
            self.gathering = True
            # At the end of this turn; unlike `call_soon` it costs no turn of its own if `flush` comes first.
            self._soon = self._loop.call_later(0.0, self.flush)
        elif self._later is None:
            self._later = self._loop.call_later(_PATIENCE_S, self._lose_patience)

    def flush(self) -> None:
        """Send what has gathered in this turn now, if any of it cannot wait."""
        if self.gathering and not self._writing:
            self._write()

    def _write(self) -> None:
        self.gathering = False
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        outbox, lent = self._outbox, self._lent
        while outbox:
            try:
                if not lent:
                    data, count = pack(outbox)
                    self._sock.send(data)
                elif outbox[0] is lent[0][0]:  # what has descriptors with it travels alone
                    data, count = pack((outbox[0],))
                    socket.send_fds(self._sock, [data], lent[0][1])
                    lent.popleft()
                else:
                    data, count = pack(takewhile(_is_not(lent[0][0]), outbox))
                    self._sock.send(data)
            except BlockingIOError:
                if not self._writing:
                    self._writing = True
                    self._loop.add_writer(self._sock.fileno(), self._write)
                return
            except OSError:
                outbox.clear()
                lent.clear()
                break  # the reader will see the end
            if count == len(outbox):
                outbox.clear()
                break
            for _ in range(count):
                outbox.popleft()
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._sock.fileno())

    def _lose_patience(self) -> None:
        """The timer of the first command that could wait. It may have left with others since, and what
        waits now has waited for less: to be early costs less than a timer for each."""
        self._later = None
        if not self._writing:
            self._write()

    def _stop_waiting(self) -> None:
        for timer in (self._soon, self._later):
            if timer is not None:
                timer.cancel()
        self._soon = self._later = None

    def read_all(self) -> None:
        """Hear all that the worker has said so far."""
        while not self.ended and self._read():
            pass

    def _read(self) -> bool:
        """Read one packet; False if there is none. The loop calls again while there are more: to ask
        each time whether there is another costs more than that."""
        try:
            data = self._sock.recv(MESSAGE_OCTETS_MAX)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._finish()
            return False
        try:
            events = unpack_events(data)
        except ProtocolViolation:
            self.kill()
            return False
        for event in events:
            self._on_event(event)
            if self.ended:
                return False
        return True

    def _finish(self) -> None:
        if self.ended:
            return
        self.ended = True
        self._loop.remove_reader(self._sock.fileno())
        if self._writing:
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._outbox.clear()
        self._lent.clear()
        self._stop_waiting()
        self._reap(0.0)
        self._on_end()

    def _reap(self, waited_s: float) -> None:
        if self._process.poll() is not None:
            return
        if waited_s >= _REAP_PATIENCE_S:
            self.kill()
        self._loop.call_later(_REAP_EVERY_S, self._reap, waited_s + _REAP_EVERY_S)

    def kill(self) -> None:
        """End the process at once; `on_end` follows."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the control socket without `on_end`; a worker that lives ends by itself."""
        self._on_end = lambda: None
        self._finish()

    async def gone(self, patience_s: float) -> None:
        """Wait for the end of the process; kill it after `patience_s`."""
        waited_s = 0.0
        while self._process.poll() is None:
            if waited_s >= patience_s:
                self.kill()
            await asyncio.sleep(_REAP_EVERY_S)
            waited_s += _REAP_EVERY_S


def _is_not(encoded: bytes) -> Callable[[bytes], bool]:
    return lambda other: other is not encoded
