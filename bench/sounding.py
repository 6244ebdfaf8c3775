"""A few calls with sound through the switch while something else happens, and how late their packets are.

Both ends are here: a packet carries the time of its sending, the kernel stamps its arrival, so what is
told is the way through the switch and not how busy this process' core is. SIP is written by hand: one INVITE
from one trunk, one 200 by another.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import select
import socket
import struct
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

HOST_A, HOST_B = "127.0.0.4", "127.0.0.5"
PACE_S = 0.02
LATE_S = 0.06
"""More than a telephone's play-out buffer holds: such a packet is heard as a gap."""
_HEAD = struct.Struct("!BBHII")
_STAMP = struct.Struct("!d")
_KERNEL = struct.Struct("@qq")
_SO_TIMESTAMPNS = 35
_SILENCE = bytes([0xD5]) * (160 - _STAMP.size)

OFFICE = """\
[[trunk]]
name = "talker"
uri = "sip:{talker}"
from_addresses = ["{talker}"]
health_check_s = 0
max_calls = 1000
max_calls_per_s = 1000
[[trunk]]
name = "listener"
uri = "sip:{listener}"
from_addresses = ["{listener}"]
health_check_s = 0
max_calls = 1000
max_calls_per_s = 1000
[[inbound]]
from = "talker"
number = "7*"
to = "trunk:listener"
"""


def office(talker: int, listener: int) -> str:
    """The trunks of both ends, at these ports, for an office file."""
    return OFFICE.format(talker=f"{HOST_A}:{talker}", listener=f"{HOST_B}:{listener}")


@dataclass(frozen=True, slots=True)
class Heard:
    """`late`: of `sent` packets those that came later than `LATE_S` or never; delays in milliseconds."""

    calls: int
    sent: int
    lost: int
    late: int
    p50_ms: float
    p99_ms: float
    worst_ms: float

    @property
    def late_share(self) -> float:
        """Percent."""
        return 100.0 * self.late / max(1, self.sent)

    @property
    def words(self) -> str:
        return (
            f"{self.calls} calls, {self.sent} packets, {self.lost} lost, {self.late} later than "
            f"{1000 * LATE_S:.0f} ms; p50/p99/most {self.p50_ms:.1f}/{self.p99_ms:.1f}/{self.worst_ms:.0f} ms"
        )


class Sounding:
    """Calls that go on, in a process of their own, from `start` until `stop`."""

    def __init__(
        self, server: tuple[str, int], talker: int, listener: int, calls: int, core: int
    ) -> None:
        ours, theirs = multiprocessing.Pipe()
        self._pipe = ours
        self._process = multiprocessing.Process(
            target=_carry_on, args=(theirs, server, talker, listener, calls, core)
        )

    def start(self) -> None:
        """Returns once all calls are up."""
        self._process.start()
        said = self._pipe.recv() if self._pipe.poll(30) else "not up after 30 s"
        if said != "up":
            self._process.kill()
            raise RuntimeError(f"bench: the calls with sound do not come about: {said}")

    def stop(self) -> Heard:
        self._pipe.send("stop")
        heard: Heard = self._pipe.recv()
        self._process.join()
        return heard


def _carry_on(
    pipe: Connection, server: tuple[str, int], talker: int, listener: int, calls: int, core: int
) -> None:
    os.sched_setaffinity(0, {core})
    with contextlib.suppress(OSError):  # else its sending is as late as its core is busy
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    talk = _Talk(server, talker, listener, calls)
    try:
        talk.set_up()
    except OSError as error:
        pipe.send(str(error))
        return
    pipe.send("up")
    pipe.send(talk.run(pipe))


class _Talk:
    def __init__(self, server: tuple[str, int], talker: int, listener: int, calls: int) -> None:
        self._server, self._calls = server, calls
        self._caller, self._called = _bound(HOST_A, talker), _bound(HOST_B, listener)
        self._legs = [_bound(host, 0) for _ in range(calls) for host in (HOST_A, HOST_B)]
        for leg in self._legs:
            leg.setblocking(False)
            leg.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            leg.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._towards: list[tuple[str, int]] = [("", 0)] * (2 * calls)
        self._byes: list[bytes] = []
        self.sent = 0
        self.delays_s: list[float] = []

    def set_up(self) -> None:
        for number in range(self._calls):
            head = (
                f"Via: SIP/2.0/UDP {_where(self._caller)};branch=z9hG4bKs{number}{{n}};rport\r\n"
                f"From: <sip:{number}@{HOST_A}>;tag=s{number}\r\n"
                f"To: <sip:7{number:04}@bench.example>{{tag}}\r\nCall-ID: sound{number}@{HOST_A}\r\n"
                f"CSeq: {{n}} {{method}}\r\nContact: <sip:s@{_where(self._caller)}>\r\n"
                "Max-Forwards: 70\r\n"
            )
            line = f"INVITE sip:7{number:04}@bench.example SIP/2.0\r\n"
            invite = line + head.format(n=1, tag="", method="INVITE")
            self._caller.sendto(_with_sdp(invite, self._legs[2 * number]), self._server)
            offer, source = _read(self._called, b"INVITE ")
            self._towards[2 * number + 1] = _rtp_of(offer)
            self._called.sendto(self._answer(offer, number), source)
            answer, _ = _read(self._caller, b"SIP/2.0 200 ")
            self._towards[2 * number] = _rtp_of(answer)
            _read(self._called, b"ACK ")
            tag = _find(rb"\r\nTo:[^\r\n]*(;tag=[^\r\n;]+)", answer)
            target = _find(rb"\r\nContact:[^<\r\n]*<([^>]+)>", answer)
            for method, n in (("ACK", 1), ("BYE", 2)):
                text = f"{method} {target} SIP/2.0\r\n" + head.format(n=n, tag=tag, method=method)
                data = (text + "Content-Length: 0\r\n\r\n").encode()
                if method == "ACK":
                    self._caller.sendto(data, self._server)
                else:
                    self._byes.append(data)

    def _answer(self, offer: bytes, number: int) -> bytes:
        lines = re.findall(rb"(?im)^(?:Via|From|To|Call-ID|CSeq)[ \t]*:[^\r\n]*", offer)
        head = "\r\n".join(line.decode() for line in lines)
        head = re.sub(r"(?im)^(To[ \t]*:[^\r\n]*)", rf"\1;tag=u{number}", head)
        head = f"SIP/2.0 200 OK\r\n{head}\r\nContact: <sip:u@{_where(self._called)}>\r\n"
        return _with_sdp(head, self._legs[2 * number + 1])

    def run(self, pipe: Connection) -> Heard:
        """Send at 50 packets a second each way until something comes by `pipe`."""
        poll = select.epoll()
        of = {leg.fileno(): leg for leg in self._legs}
        for descriptor in of:
            poll.register(descriptor, select.EPOLLIN)
        began_s = time.monotonic()
        slots = len(self._legs)
        ends_s, sent_until = None, 0
        while ends_s is None or time.monotonic() < ends_s:
            for descriptor, _ in poll.poll(0.001):
                self._hear(of[descriptor])
            if ends_s is not None:
                continue
            if pipe.poll():
                ends_s = time.monotonic() + 0.5
                continue
            due = int((time.monotonic() - began_s) / PACE_S * slots)
            for step in range(sent_until, due):
                self._send(step % slots, step // slots)
            sent_until = due
        for bye in self._byes:
            self._caller.sendto(bye, self._server)
        return self._heard()

    def _send(self, leg: int, tick: int) -> None:
        head = _HEAD.pack(0x80, 8, tick & 0xFFFF, tick * 160 & 0xFFFFFFFF, 1000 + leg)
        data = head + _STAMP.pack(time.time()) + _SILENCE
        with contextlib.suppress(OSError):
            self._legs[leg].sendto(data, self._towards[leg])
        self.sent += 1

    def _hear(self, leg: socket.socket) -> None:
        while True:
            try:
                data, ancillary, _, _ = leg.recvmsg(2048, 64)
            except OSError:
                return
            if len(data) != _HEAD.size + 160 or data[1] & 0x7F != 8:
                continue  # RTCP
            came_s = time.time()
            for _, kind, stamp in ancillary:
                if kind == _SO_TIMESTAMPNS:
                    seconds, nanoseconds = _KERNEL.unpack(stamp)
                    came_s = seconds + nanoseconds / 1e9
            self.delays_s.append(came_s - _STAMP.unpack_from(data, _HEAD.size)[0])

    def _heard(self) -> Heard:
        delays_ms = 1000.0 * np.array(self.delays_s or [0.0])
        lost = self.sent - len(self.delays_s)
        late = lost + int((delays_ms > 1000.0 * LATE_S).sum())
        p50, p99 = (float(np.percentile(delays_ms, part)) for part in (50, 99))
        return Heard(self._calls, self.sent, lost, late, p50, p99, float(delays_ms.max()))


def _bound(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, port))
    made.settimeout(5.0)
    return made


def _where(sock: socket.socket) -> str:
    host, port = sock.getsockname()
    return f"{host}:{port}"


def _read(sock: socket.socket, beginning: bytes) -> tuple[bytes, tuple[str, int]]:
    """The next message that begins so."""
    while True:
        data, source = sock.recvfrom(8192)
        if data.startswith(beginning):
            return data, source


def _find(pattern: bytes, data: bytes) -> str:
    found = re.search(pattern, data, re.IGNORECASE)
    return found[1].decode() if found else ""


def _rtp_of(message: bytes) -> tuple[str, int]:
    host = _find(rb"\r\nc=IN IP4 ([0-9.]+)", message)
    return host, int(_find(rb"\r\nm=audio ([0-9]+)", message))


def _with_sdp(head: str, leg: socket.socket) -> bytes:
    host, port = leg.getsockname()
    sdp = (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    )
    end = f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n"
    return (head + end + sdp).encode()
