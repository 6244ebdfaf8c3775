"""A telephone that is registered and has gone mad, as baresip's module for message lamps does now and then: it
sends 20,000 requests a second for ever, each new, with credentials that look right. Calls of others, and other
telephones that register, are to notice nothing.

    pytest -m soak tests/soak/test_mad_phone.py
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from softswitch.load.demo import cpu_ticks
from softswitch.sim import audio
from softswitch.sim.behaviour import answer
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.real_network import RealNetwork
from softswitch.sip.credentials import Credentials
from softswitch.sip.digest import answer_challenge
from softswitch.sip.message import SipResponse
from softswitch.sip.parser import parse_message
from tests.interop.peers.server import OfficeFile, Server, password_of
from tests.rows import Row

pytestmark = pytest.mark.soak

MAD, PER_S, FOR_S = "1500", 20_000, 20.0
IN_A_ROW = 100
"""Requests between two looks at the clock."""
REGISTER_EVERY_S, SPOKEN_S = 0.25, 1.2
MESSAGE = (
    "{method} sip:{to}@{host}:{port} SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bK{n};rport\r\n"
    "From: <sip:1500@interop.example>;tag=mad\r\nTo: <sip:{to}@interop.example>{tag}\r\n"
    "Call-ID: mad{n}@127.0.0.1\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n"
    "Contact: <sip:1500@127.0.0.1:{own}>\r\n{extra}Content-Length: 0\r\n\r\n"
)
KINDS = {
    "SUBSCRIBE": ("SUBSCRIBE", "1500", "", "Event: message-summary\r\nExpires: 600\r\n"),
    "REGISTER": ("REGISTER", "1500", "", "Expires: 600\r\n"),
    "NOTIFY": ("NOTIFY", "1500", ";tag=gone", "Event: refer\r\n"),
}


class Mad:
    """The socket of the telephone, from which it has registered."""

    def __init__(self, server: Server) -> None:
        host, port = server.address.split(":")
        self.server = (host, int(port))
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.settimeout(5.0)

    def message(self, kind: str, n: object, more: str = "") -> bytes:
        method, to, tag, extra = KINDS[kind]
        return MESSAGE.format(
            method=method, to=to, tag=tag, n=n, host=self.server[0], port=self.server[1],
            own=self.sock.getsockname()[1], extra=extra + more,
        ).encode()  # fmt: skip

    def _asked(self, data: bytes) -> SipResponse:
        self.sock.sendto(data, self.server)
        while True:
            answer = parse_message(self.sock.recv(4096))
            if isinstance(answer, SipResponse):
                return answer

    def credentials(self, kind: str, n: object) -> str:
        """Right ones, for a request like this."""
        plain = self.message(kind, n)
        challenge, request = self._asked(plain), parse_message(plain)
        value = answer_challenge(
            challenge.headers.get_all("WWW-Authenticate"),
            Credentials(MAD, password_of(MAD)),
            request.method, request.uri, cnonce="c",
        )  # fmt: skip
        return f"Authorization: {value}\r\n"

    def register(self) -> None:
        line = self.credentials("REGISTER", "reg0")
        assert self._asked(self.message("REGISTER", "reg1", line)).status == 200

    def flood(self, kind: str, line: str, over: Event) -> None:
        """In a process of its own."""
        before, after = self.message(kind, "NUMBER", line).split(b"NUMBER", 1)
        after, rest = after.split(b"NUMBER", 1)
        began_s, sent = time.monotonic(), 0
        while not over.is_set():
            for number in range(sent, sent + IN_A_ROW):
                n = b"%d" % number
                with contextlib.suppress(OSError):
                    self.sock.sendto(before + n + after + n + rest, self.server)
            sent += IN_A_ROW
            time.sleep(max(0.0, began_s + sent / PER_S - time.monotonic()))


@dataclass
class Seen:
    calls: int = 0
    heard_least: float = 1.0
    registered_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    over: bool = False


@contextlib.asynccontextmanager
async def phones(server: Server, *numbers: str) -> AsyncIterator[list[VirtualPhone]]:
    host, port = server.address.split(":")
    async with contextlib.AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(
                VirtualPhone(
                    RealNetwork(), number=number, password=password_of(number),
                    server=(host, int(port)), domain="interop.example", behaviour=answer(),
                )
            )
            for number in numbers
        ]  # fmt: skip
        for each in made:
            assert (await each.register()).status == 200
        yield made


async def calls(caller: VirtualPhone, callee: VirtualPhone, seen: Seen) -> None:
    said = audio.speech(1, SPOKEN_S), audio.speech(2, SPOKEN_S)
    while not seen.over:
        try:
            async with asyncio.timeout(10.0):
                call = await caller.call("1002")
                await call.answered()
                (taken,) = callee.calls.values()
                await asyncio.sleep(0.2)
                await asyncio.gather(call.play(said[0]), taken.play(said[1]))
                await asyncio.sleep(0.3)
                for spoken, heard in ((said[0], taken.heard()), (said[1], call.heard())):
                    found = audio.match_in_pieces(spoken, heard)
                    seen.heard_least = min(seen.heard_least, found)
                call.hang_up()
                await call.ended()
                await taken.ended()
            seen.calls += 1
        except Exception as error:
            seen.failed.append(repr(error))
            await asyncio.sleep(0.5)


async def registers(phone: VirtualPhone, seen: Seen) -> None:
    while not seen.over:
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(5.0):
                assert (await phone.register()).status == 200
        except Exception as error:
            seen.failed.append(f"register {error!r}")
        seen.registered_s.append(time.monotonic() - began_s)
        await asyncio.sleep(REGISTER_EVERY_S)


async def beside(server: Server, mad: Mad, kind: str, line: str) -> tuple[Seen, float]:
    seen = Seen()
    over = multiprocessing.Event()
    flood = multiprocessing.Process(target=mad.flood, args=(kind, line, over), daemon=True)
    async with phones(server, "1001", "1002", "1003") as (caller, callee, third):
        before_s = cpu_ticks([server.pid]) / 100
        flood.start()
        tasks = [
            asyncio.create_task(each)
            for each in (calls(caller, callee, seen), registers(third, seen))
        ]
        await asyncio.sleep(FOR_S)
        seen.over = True
        await asyncio.gather(*tasks)
        over.set()
        flood.join(5.0)
        return seen, cpu_ticks([server.pid]) / 100 - before_s


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_registered_telephone_gone_mad_harms_nobody(kind: str, tmp_path: Path, row: Row) -> None:
    server = Server(tmp_path, OfficeFile(extensions=("1001", "1002", "1003", MAD)))
    server.start()
    mad = Mad(server)
    try:
        mad.register()
        line = mad.credentials(kind, "own") if kind != "NOTIFY" else ""
        seen, cpu_s = asyncio.run(beside(server, mad, kind, line))
        server.wait_idle()
        rows = [record.row for record in server.records(len(server.written()))]
        own = [row for row in rows if row["number_from"] == "1001"]
        # The account of the last call may not have been written yet.
        legs = [leg["quality"] for row in own for leg in row["legs"] if leg.get("quality")]
        late = sum(leg["late"] for leg in legs)
        lost = sum(leg["lost"] for leg in legs)
    finally:
        server.stop()
        mad.sock.close()
    slowest_ms = round(1000 * max(seen.registered_s))
    row(
        35,
        f"a registered telephone sends 20,000 {kind} a second",
        calls=seen.calls,
        failed=seen.failed[:3],
        heard_least=round(seen.heard_least, 2),
        late=late,
        lost=lost,
        registrations=len(seen.registered_s),
        slowest_registration_ms=slowest_ms,
        cpu_share=round(cpu_s / FOR_S, 2),
    )
    assert seen.failed == []
    assert seen.calls >= 5
    assert seen.heard_least > 0.95
    assert len(legs) >= seen.calls
    assert (late, lost) == (0, 0)
    assert slowest_ms < 500
