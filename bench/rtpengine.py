"""rtpengine in user space (Debian's package, without its kernel module), told what to do by its ng protocol."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_HOST = "127.0.0.1"
_PORTS = (40_000, 49_999)
_PATIENCE_S = 2.0
_SDP = """\
v=0\r
o=- 1 1 IN IP4 {host}\r
s=-\r
c=IN IP4 {host}\r
t=0 0\r
m=audio {port} RTP/AVP 0\r
a=rtpmap:0 PCMU/8000\r
"""

Address = tuple[str, int]


def available() -> bool:
    """Tell whether the program is here."""
    return shutil.which("rtpengine") is not None


def bencode(value: object) -> bytes:
    """Encode text, numbers, lists and dictionaries."""
    match value:
        case str():
            data = value.encode()
            return b"%d:%s" % (len(data), data)
        case int():
            return b"i%de" % value
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case dict():
            parts = (bencode(key) + bencode(item) for key, item in sorted(value.items()))
            return b"d" + b"".join(parts) + b"e"
    raise TypeError(type(value).__name__)


def bdecode(data: bytes, at: int = 0) -> tuple[object, int]:
    """Decode one value at `at`; returns it and where the next begins."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in b"ld":
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = bdecode(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2], strict=True))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(), end


@dataclass(slots=True)
class Rtpengine:
    """A running one."""

    pid: int
    control: socket.socket
    asked: int = 0

    def ask(self, **command: object) -> dict[str, object]:
        """Send one command, wait for its answer; raises `RuntimeError` if that is no "ok"."""
        self.asked += 1
        cookie = str(self.asked).encode()
        named = {key.replace("_", "-"): value for key, value in command.items()}
        for _ in range(5):
            self.control.send(cookie + b" " + bencode(named))
            try:
                told, _, body = self.control.recv(65_536).partition(b" ")
            except TimeoutError:
                continue
            answer, _ = bdecode(body)
            if told == cookie and isinstance(answer, dict):
                if answer.get("result") not in ("ok", "pong"):
                    raise RuntimeError(f"rtpengine: {answer}")
                return answer
        raise RuntimeError("rtpengine does not answer")

    def bridge(self, number: int, first: Address, second: Address) -> tuple[Address, Address]:
        """Set one call up between two parties; returns where the first and the second send to."""
        call = {"call_id": f"bench-{number}", "from_tag": "a", "flags": ["trust-address"]}
        offered = self.ask(command="offer", sdp=_SDP.format(host=first[0], port=first[1]), **call)
        answered = self.ask(
            command="answer",
            to_tag="b",
            sdp=_SDP.format(host=second[0], port=second[1]),
            **call,
        )
        return _port_of(answered["sdp"]), _port_of(offered["sdp"])


def _port_of(sdp: object) -> Address:
    for line in str(sdp).splitlines():
        if line.startswith("m=audio "):
            return _HOST, int(line.split()[1])
    raise RuntimeError(f"rtpengine: no audio in {sdp!r}")


@contextmanager
def running(directory: Path) -> Iterator[Rtpengine]:
    """Start it, wait until it answers, stop it by its own id."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((_HOST, 0))
        port = probe.getsockname()[1]
    log = (directory / "rtpengine.log").open("wb")
    command = ["rtpengine", "--foreground", "--table=-1", f"--interface={_HOST}", "--log-stderr"]
    command += [f"--listen-ng={_HOST}:{port}", f"--pidfile={directory / 'rtpengine.pid'}"]
    command += [f"--port-min={_PORTS[0]}", f"--port-max={_PORTS[1]}", "--log-level=3"]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    control.settimeout(_PATIENCE_S)
    try:
        control.connect((_HOST, port))
        engine = Rtpengine(child.pid, control)
        for _ in range(50):
            try:
                engine.ask(command="ping")
                break
            except (OSError, RuntimeError):
                time.sleep(0.1)
        yield engine
    finally:
        control.close()
        child.send_signal(signal.SIGTERM)
        child.wait(10)
        log.close()
