"""What the tests of the reliability programme share: a switch that is attacked, and its report."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import zlib
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest

from softswitch.sim.behaviour import answer
from softswitch.sim.world import EXCHANGE, World, small_office

STRANGER = ("203.0.113.5", 5060)
CARRIER = ("10.0.1.1", 5060)
PASSWORD = "secret-1002"

PROBE = (
    "OPTIONS sip:office.example SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK-p{n};rport\r\n"
    "From: <sip:probe@office.example>;tag=p{n}\r\nTo: <sip:office.example>\r\n"
    "Call-ID: probe-{n}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


@pytest.fixture
def unlogged() -> Iterator[None]:
    """Hundreds of thousands of warnings that something is not understood are kept by nobody: pytest keeps them,
    and memory is measured."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)


class Attacked:
    """An office with two phones and a carrier, and sockets from which anything may be sent.

    `stranger` is nobody; `carrier` is the configured trunk, so that what comes from it is past the
    gate and reaches call control.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.answers: dict[str, list[bytes]] = {"stranger": [], "carrier": []}
        self._sockets = {}
        self._numbers = itertools.count(1)
        for name, address in (("stranger", STRANGER), ("carrier", CARRIER)):
            socket = world.network.bind(*address)
            socket.start(partial(self._take, name))
            self._sockets[name] = socket

    def _take(self, name: str, data: bytes, _: object) -> None:
        """Keep what comes back; a call that is answered is ended at once, or calls would pile up."""
        self.answers[name].append(data)
        if data.startswith(b"SIP/2.0 200 ") and b" INVITE\r\n" in data:
            for method in (b"ACK", b"BYE"):
                self.send(in_dialog(method, data), name)
        elif data.startswith(b"BYE "):
            self.send(data.replace(data.split(b"\r\n")[0], b"SIP/2.0 200 OK", 1), name)

    def send(self, data: bytes, source: str = "stranger") -> None:
        self._sockets[source].send_to(data, EXCHANGE)

    async def after(
        self, data: bytes, source: str = "stranger", wait_s: float = 0.05
    ) -> list[bytes]:
        """What comes back to `source` within `wait_s` of sending `data`."""
        kept = self.answers[source]
        kept.clear()
        self.send(data, source)
        await asyncio.sleep(wait_s)
        return list(kept)

    async def alive(self) -> bool:
        """Whether a right OPTIONS from the carrier is answered at once."""
        number = next(self._numbers)
        probe = PROBE.format(n=number, host=CARRIER[0], port=CARRIER[1]).encode()
        found = await self.after(probe, "carrier")
        return any(b"branch=z9hG4bK-p%d;" % number in each for each in found)

    def outbound(self) -> list[bytes]:
        """INVITEs that the exchange has sent to the carrier."""
        return [each for each in self.answers["carrier"] if each.startswith(b"INVITE ")]

    def failures(self) -> list[str]:
        """Exceptions that nobody handled, wherever they were raised."""
        counters = self.world.switch.driver.counters
        found = [f"a problem of the loop: {each}" for each in self.world._problems]
        if counters.exceptions or counters.stack_exceptions:
            found.append(
                f"{counters.exceptions} handlers, {counters.stack_exceptions} in the stack"
            )
        return found

    async def call_works(self) -> None:
        """A call between the two phones, set up and torn down."""
        call = await self.world.phones["1001"].call("1002")
        await call.answered()
        call.hang_up()
        await asyncio.sleep(0.5)

    async def at_rest(self) -> None:
        """Every table is as it was, after all that waits has timed out."""
        await self.call_works()
        # What rings or was answered by a trunk's bent INVITE ends by itself: no ACK, no answer.
        await asyncio.sleep(200.0)
        world = self.world
        baseline, now = world._baseline, world._tables()
        grown = {
            name: (baseline.get(name, 0), size)
            for name, size in now.items()
            if size > baseline.get(name, 0) and any(word in name for word in LEAKABLE)
        }
        assert not grown, grown


def in_dialog(method: bytes, answer: bytes) -> bytes:
    """A request in the dialog that a 200 to an INVITE has made."""
    lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
    kept = [line for line in lines if line.startswith((b"From:", b"To:", b"Call-ID:"))]
    number = {b"ACK": b"1", b"BYE": b"2"}[method]
    head = [
        method + b" sip:exchange@10.0.0.1:5060 SIP/2.0",
        b"Via: SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bK-"
        + method
        + b"%d;rport" % zlib.crc32(answer),
        *kept,
        b"CSeq: " + number + b" " + method,
        b"Max-Forwards: 70",
        b"Content-Length: 0",
    ]
    return b"\r\n".join(head) + b"\r\n\r\n"


LEAKABLE = ("transactions", "dialogs", "sessions", "calls", "legs", "streams", "timers", "handles")


@contextlib.asynccontextmanager
async def attacked(seed: int, *, more: str = "") -> AsyncIterator[Attacked]:
    """An exchange to attack, on virtual time; at the end nothing may have failed or be left."""
    async with World(seed, office=small_office(more=more)) as world:
        await world.phone("1001", behaviour=answer())
        await world.phone("1002", behaviour=answer())
        victim = Attacked(world)
        yield victim
        assert await victim.alive()
        await victim.at_rest()
        assert victim.failures() == []
