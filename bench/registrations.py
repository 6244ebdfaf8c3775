"""Ten thousand phones: what their registrations cost, a storm of all at once, memory a phone.

    python bench/registrations.py [--phones 10000] [--seconds 60] [--day 60] [--storms 5] [--save]

Each phone has a socket and an address of its own in 127.0.0.0/8, proves its password by digest with the
nonce it has until that is stale, and retransmits as RFC 3261 17.1.2 says. The switch runs on one core,
the phones in this process on another. During the storm calls between two trunks go on and are judged. What
registrations cost on any day is measured for `--day` seconds at the rate of all phones, so with as many of
them as register in that time.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import heapq
import os
import re
import resource
import select
import socket
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import figures, sipp
from bench.figures import Figure
from bench.serving import SERVER, TRUNKS, Serving, other_core, spent
from bench.sip_calls import Background

REALM = "bench.example"
STORM_FIGURES = 3
QUIET_S = 50.0
"""Until the storm's transactions are over (32 s) and what they held has been given back."""
NONCE_S = 66.0
"""Until what each was given is stale, as it is for who registers once a minute."""
T1_S, T2_S, TIMEOUT_S = 0.5, 4.0, 32.0
_CHALLENGE = re.compile(rb"WWW-Authenticate: Digest ([^\r]*)", re.IGNORECASE)
_NONCE = re.compile(rb'nonce="([^"]+)"')


class Phone:
    """One phone: its socket, its account, the REGISTER it waits for an answer to."""

    __slots__ = (
        "cnonce", "cseq", "done_s", "file", "ha1", "head", "host", "nc", "nonce", "number", "port",
        "resend_s", "resent", "sent", "sent_s", "sock",
    )  # fmt: skip

    def __init__(self, number: int, server: tuple[str, int]) -> None:
        self.number = f"{100_000 + number}"
        self.host = f"127.{10 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.sock.bind((self.host, 0))
        self.sock.connect(server)
        self.port = self.sock.getsockname()[1]
        secret = f"{self.number}:{REALM}:{password(number)}"
        self.ha1 = hashlib.md5(secret.encode()).hexdigest()
        self.cseq, self.nc, self.nonce = 0, 0, b""
        self.sent: bytes | None = None
        self.sent_s = self.done_s = self.resend_s = 0.0
        self.resent = 0
        self.head = (
            f"From: <sip:{self.number}@{REALM}>;tag=t{self.number}\r\n"
            f"To: <sip:{self.number}@{REALM}>\r\nCall-ID: r{self.number}@{self.host}\r\n"
            f"Contact: <sip:{self.number}@{self.host}:{self.port}>\r\nExpires: 120\r\n"
            "Max-Forwards: 70\r\nUser-Agent: Benchphone/1.0\r\n"
        )

    def register(self, now_s: float) -> None:
        """Send a REGISTER, with credentials where there is a nonce."""
        self.cseq += 1
        lines = f"Via: SIP/2.0/UDP {self.host}:{self.port};rport;branch=z9hG4bK{self.number}c{self.cseq}"
        text = (
            f"REGISTER sip:{REALM} SIP/2.0\r\n{lines}\r\n{self.head}CSeq: {self.cseq} REGISTER\r\n"
        )
        if self.nonce:
            text += self._credentials()
        self.sent = (text + "Content-Length: 0\r\n\r\n").encode()
        self.sent_s, self.resent = now_s, 0
        self.resend_s = now_s + T1_S
        self._send()

    def _credentials(self) -> str:
        self.nc += 1
        nonce, count = self.nonce.decode(), f"{self.nc:08x}"
        ha2 = hashlib.md5(f"REGISTER:sip:{REALM}".encode()).hexdigest()
        answer = f"{self.ha1}:{nonce}:{count}:c0ffee{self.number}:auth:{ha2}"
        response = hashlib.md5(answer.encode()).hexdigest()
        return (
            f'Authorization: Digest username="{self.number}",realm="{REALM}",nonce="{nonce}",'
            f'uri="sip:{REALM}",response="{response}",algorithm=MD5,qop=auth,nc={count},'
            f'cnonce="c0ffee{self.number}"\r\n'
        )

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # as lost on the way
            self.sock.send(self.sent or b"")

    def resend(self, now_s: float) -> float | None:
        """Timer E; when the next is due, None when there is nothing to send any more."""
        if self.sent is None or now_s - self.sent_s > TIMEOUT_S:
            return None
        self.resent += 1
        self._send()
        self.resend_s = now_s + min(T2_S, T1_S * 2**self.resent)
        return self.resend_s

    def hear(self, now_s: float) -> str:
        """Read one answer: "ok", "again" (a challenge was answered), "" for what is of no interest."""
        try:
            data = self.sock.recv(4096)
        except OSError:
            return ""
        if self.sent is None or f"CSeq: {self.cseq} ".encode() not in data:
            return ""
        status = data[8:11]
        if status == b"200":
            self.sent, self.done_s = None, now_s
            return "ok"
        if status == b"401":
            challenge = _CHALLENGE.search(data)
            nonce = _NONCE.search(challenge[1]) if challenge else None
            if nonce:
                self.nonce, self.nc = nonce[1], 0
                self.register(now_s)
                return "again"
        return "refused"


def password(number: int) -> str:
    return f"secret-{number:06d}-of-a-phone"


class Phones:
    """All phones in one loop of epoll and one heap of retransmissions."""

    def __init__(self, count: int, server: tuple[str, int]) -> None:
        self.all = [Phone(number, server) for number in range(count)]
        self._of = {phone.sock.fileno(): phone for phone in self.all}
        self._epoll = select.epoll()
        for descriptor in self._of:
            self._epoll.register(descriptor, select.EPOLLIN)
        self._due: list[tuple[float, int]] = []
        self.messages = self.resent = self.refused = 0

    def close(self) -> None:
        self._epoll.close()
        for phone in self.all:
            phone.sock.close()

    def register_over(
        self, seconds: float, patience_s: float, some: list[Phone] | None = None
    ) -> list[float]:
        """Have all, or `some`, register once, evenly spread; the sorted times from the beginning until each was
        registered, of those that were within `patience_s` of the last."""
        some = self.all if some is None else some
        began_s = time.monotonic()
        starts = [(began_s + seconds * i / len(some), p) for i, p in enumerate(some)]
        at, left = 0, len(some)
        while left and time.monotonic() - began_s < seconds + patience_s:
            now_s = time.monotonic()
            while at < len(starts) and starts[at][0] <= now_s:
                phone = starts[at][1]
                phone.register(now_s)
                self._watch(phone)
                at += 1
                if at % 64 == 0:
                    break  # answers have their turn
            left -= self._turn(0.002 if at < len(starts) else 0.02)
        return sorted(p.done_s - began_s for p in some if p.sent is None)

    def _watch(self, phone: Phone) -> None:
        heapq.heappush(self._due, (phone.resend_s, phone.sock.fileno()))

    def _turn(self, patience_s: float) -> int:
        done = 0
        for descriptor, _ in self._epoll.poll(patience_s, 512):
            phone = self._of[descriptor]
            found = phone.hear(time.monotonic())
            done += found == "ok"
            self.refused += found == "refused"
            if found == "again":
                self._watch(phone)
        now_s = time.monotonic()
        while self._due and self._due[0][0] <= now_s:
            due_s, descriptor = heapq.heappop(self._due)
            phone = self._of[descriptor]
            if (
                phone.sent is not None
                and phone.resend_s == due_s
                and phone.resend(now_s) is not None
            ):
                self.resent += 1
                self._watch(phone)
        return done


def office(count: int) -> str:
    lines = [TRUNKS]
    for number in range(count):
        lines.append(
            f'[[extension]]\nnumber = "{100_000 + number}"\npassword = "{password(number)}"\n'
        )
    return "".join(lines)


def measure(folder: Path, chosen: argparse.Namespace, *, storm_only: bool) -> list[Figure]:
    count: int = chosen.phones
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 1000), hard))
    driver = other_core(chosen.core)
    os.sched_setaffinity(0, {driver})
    with sipp.between(folder / "switch", office(count), chosen.core) as (switch, where):
        phones = Phones(count, (SERVER, switch.sip_port))
        try:
            sipp.call(folder / "warm", *where, calls=50, rate=20)
            empty_kib = switch.rss_kib()
            found = _storm(folder, switch, phones, where)
            if storm_only:
                return found
            return found + _day(switch, phones, chosen.seconds, chosen.day, empty_kib)
        finally:
            phones.close()


def _storm(folder: Path, switch: Serving, phones: Phones, where: sipp.Where) -> list[Figure]:
    """All at once, and the calls meanwhile."""
    count = len(phones.all)
    calls = Background(folder / "calls", *where, calls=150, rate=10)
    time.sleep(2.0)
    before = switch.cpu_s()
    storm = phones.register_over(1.0, 60.0)
    storm_cpu = spent(before, switch.cpu_s())
    stormed = calls.wait()
    status = switch.status()
    registered = len(status["registrations"])
    return [
        Figure(
            f"storm of {count} phones in 1 s: the last is registered after",
            storm[-1] if storm else 999.0, "s", 20,
            note=f"{registered} registered; {phones.resent} resent, {phones.refused} refused, "
            f"{1e6 * storm_cpu['total'] / count:.0f} us of CPU each",
        ),
        Figure(
            "calls during the storm that came about", float(stormed.successful), "calls",
            float(stormed.calls), at_least=True,
            note=f"of {stormed.calls}: {stormed.refused} refused, {stormed.failed} failed, "
            f"{stormed.resent} resent; INVITE to 200 p50 {stormed.p50:.0f} ms; {shed(status)}",
        ),
        Figure("INVITE to 200 during the storm, p99", stormed.percentile(0.99), "ms", 1000),
    ]  # fmt: skip


def _day(
    switch: Serving, phones: Phones, every_s: float, day_s: float, empty_kib: int
) -> list[Figure]:
    """The same phones once the storm is over: all have a nonce and a binding, as on any morning."""
    count = len(phones.all)
    time.sleep(QUIET_S)
    kib = (switch.rss_kib() - empty_kib) / max(1, len(switch.status()["registrations"]))
    time.sleep(max(0.0, NONCE_S - QUIET_S))
    some = phones.all[: round(count * min(1.0, day_s / every_s))]
    share, stale = _registered_anew(switch, phones, some, day_s)
    third = some[
        -len(some) // 3 :
    ]  # who registered last has a nonce that is good for as long again
    _, good = _registered_anew(switch, phones, third, day_s / 3)
    return [
        Figure(
            f"{count} phones that register every {every_s:g} s", share, "% of a core", 10,
            note=f"{stale}; with a nonce that is good still {good}",
        ),
        Figure("memory of an idle registered phone", kib, "KB", 4),
    ]  # fmt: skip


def _registered_anew(
    switch: Serving, phones: Phones, some: list[Phone], seconds: float
) -> tuple[float, str]:
    """What that takes of a core, in percent, and in words what each does and how many were challenged."""
    asked = sum(phone.cseq for phone in some)
    before, began_s = switch.cpu_s(), time.monotonic()
    again = phones.register_over(seconds, 30.0, some)
    used, took_s = spent(before, switch.cpu_s()), time.monotonic() - began_s
    each = 1e6 * used["total"] / max(1, len(again))
    challenged = sum(phone.cseq for phone in some) - asked - len(some)
    words = f"{len(again)} in {took_s:.0f} s, {challenged} challenged, {each:.0f} us each"
    return 100 * used["total"] / took_s, words


def shed(status: dict[str, Any]) -> str:
    """What `status` shows of those who had to wait, in words."""
    told = [
        f"{row['class']} "
        + "/".join(str(row[n]) for n in ("waited", "repeated", "dropped", "refused"))
        for row in status["overload"]["classes"]
        if row["waited"] or row["dropped"] or row["refused"]
    ]
    return f"waited/repeated/dropped/refused: {', '.join(told) or 'none'}"


def worst(of: tuple[Figure, ...]) -> Figure:
    """The worst of the same figure in several runs, with all of them in its note."""
    chosen = (min if of[0].at_least else max)(of, key=lambda figure: figure.value)
    if len(of) == 1:
        return chosen
    all_of_them = ", ".join(f"{figure.value:.4g}" for figure in of)
    return replace(chosen, note=f"worst of {all_of_them}; {chosen.note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--phones", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--day", type=float, default=60.0, help="seconds of registering anew")
    parser.add_argument("--storms", type=int, default=1, help="each with a new switch")
    parser.add_argument("--only", choices=("storm",))
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as temporary:
        runs = []
        for number in range(chosen.storms):
            folder = Path(temporary) / str(number)
            folder.mkdir()
            more = number > 0 or chosen.only == "storm"
            runs.append(measure(folder, chosen, storm_only=more))
    storms = [run[:STORM_FIGURES] for run in runs]
    found = [*map(worst, zip(*storms, strict=True)), *runs[0][STORM_FIGURES:]]
    figures.show(found)
    if chosen.save:
        figures.save("registrations", found)


if __name__ == "__main__":
    main()
