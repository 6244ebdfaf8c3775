"""How long a call takes to reach the next trunk when the first refuses it with 503, or says nothing.

    python bench/failover.py [--calls 50] [--save]

Three sockets stand for a phone and two carriers: the first answers 503 at once, or never; the
time is that from its INVITE until the second carrier gets one.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import socket
import statistics
import tempfile
import time
from pathlib import Path

from bench import figures
from bench.figures import Figure
from bench.serving import CALLED, CALLER, SERVER, serving

OFFICE = """\
[[trunk]]
name = "first"
uri = "sip:{first}"
from_addresses = ["{first}"]
max_calls = 5000
max_calls_per_s = 5000
health_check_s = 0
[[trunk]]
name = "second"
uri = "sip:{second}"
from_addresses = ["{second}"]
max_calls = 5000
max_calls_per_s = 5000
health_check_s = 0
[[extension]]
number = "1001"
password = "a-long-secret-1001"
permissions = ["internal", "local", "national"]
[[outbound]]
prefix = "9"
strip = 1
trunks = ["first", "second"]
"""


def peer(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    return made


def invite(number: int, caller: socket.socket, nonce: str = "") -> bytes:
    """A call of extension 1001 to a number outside, with credentials once there is a nonce."""
    host, port = caller.getsockname()
    uri, cseq, proof = f"sip:913800000001@{SERVER}", 2 if nonce else 1, ""
    if nonce:
        ha1 = hashlib.md5(b"1001:bench.example:a-long-secret-1001").hexdigest()
        ha2 = hashlib.md5(f"INVITE:{uri}".encode()).hexdigest()
        response = hashlib.md5(f"{ha1}:{nonce}:00000001:c:auth:{ha2}".encode()).hexdigest()
        proof = (
            f'Authorization: Digest username="1001",realm="bench.example",nonce="{nonce}",uri="{uri}",'
            f'response="{response}",algorithm=MD5,qop=auth,nc=00000001,cnonce="c"\r\n'
        )
    return (
        f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bKf{number}c{cseq}\r\n"
        f"From: <sip:1001@bench.example>;tag=f{number}\r\nTo: <{uri}>\r\n"
        f"Call-ID: fail{number}-{port}@{host}\r\nCSeq: {cseq} INVITE\r\nMax-Forwards: 70\r\n"
        f"Contact: <sip:1001@{host}:{port}>\r\n{proof}Content-Length: 0\r\n\r\n"
    ).encode()


def challenge(number: int, caller: socket.socket, server: tuple[str, int]) -> str:
    """Send the first INVITE, again as Timer A says, and return the nonce of the 401 that comes."""
    for patience_s in (0.5, 1.0, 2.0, 4.0, 8.0):
        caller.sendto(invite(number, caller), server)
        caller.settimeout(patience_s)
        try:
            while (found := re.search(rb'nonce="([^"]+)"', caller.recv(65_536))) is None:
                continue
        except TimeoutError:
            continue
        return found[1].decode()
    raise SystemExit("bench: the switch does not answer")


def answer(request: bytes, status: str) -> bytes:
    lines = [
        line
        for line in request.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        if re.match(rb"(Via|From|Call-ID|CSeq):", line)
    ]
    to = re.search(rb"\r\nTo: ([^\r]*)", request)
    assert to is not None
    lines += [b"To: " + to[1] + b";tag=gone", b"Content-Length: 0"]
    return b"\r\n".join([f"SIP/2.0 {status}".encode(), *lines, b"", b""])


def next_invite(sock: socket.socket, patience_s: float) -> bytes | None:
    until_s = time.monotonic() + patience_s
    while (left_s := until_s - time.monotonic()) > 0:
        sock.settimeout(left_s)
        try:
            data = sock.recv(65_536)
        except TimeoutError:
            return None
        if data.startswith(b"INVITE "):
            return data
    return None


def times(folder: Path, count: int, core: int, refuses: bool) -> list[float]:
    """Milliseconds from the first carrier's INVITE to the second's, of each call that got there."""
    caller, first, second = peer(CALLER), peer(CALLED), peer("127.0.0.4")
    names = {
        name: "{}:{}".format(*sock.getsockname())
        for name, sock in (("first", first), ("second", second))
    }
    found: list[float] = []
    with serving(folder, OFFICE, core, **names) as switch:
        server = (SERVER, switch.sip_port)
        for number in range(count):
            nonce = challenge(number, caller, server)
            caller.sendto(invite(number, caller, nonce), server)
            asked = next_invite(first, 3.0)
            began_s = time.monotonic()
            if asked is not None and refuses:
                first.sendto(answer(asked, "503 Service Unavailable"), server)
            wanted = next_invite(second, 10.0)
            if wanted is None:
                continue
            if asked is not None:
                found.append(1e3 * (time.monotonic() - began_s))
            second.sendto(answer(wanted, "486 Busy Here"), server)
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    chosen = parser.parse_args()
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as temporary:
        for refuses, what, bar in (
            (True, "refuses with 503", 50.0),
            (False, "says nothing", 2000.0),
        ):
            # Once a carrier has failed three times it is tried last: a new switch for a few calls each.
            taken: list[float] = []
            for run in range(max(1, chosen.calls // 2)):
                taken += times(Path(temporary) / f"{refuses}{run}", 2, chosen.core, refuses)
            note = (
                f"{len(taken)} calls, median {statistics.median(taken):.1f} ms" if taken else "none"
            )
            worst = max(taken, default=1e6)
            found.append(Figure(f"first trunk {what}: the next after", worst, "ms", bar, note=note))
    figures.show(found)
    if chosen.save:
        figures.save("failover", found)


if __name__ == "__main__":
    main()
