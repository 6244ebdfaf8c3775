"""The canary of the reliability programme: telephones that call each other and hear each other while something
else happens to their exchange, and OPTIONS that it must answer."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from dataclasses import dataclass, field

from softswitch.sim import audio
from softswitch.sim.phone import VirtualPhone
from tests.reliability.conftest import PROBE

SPOKEN_S, EVERY_S = 1.2, 2.0


@dataclass
class Seen:
    """What the office's own saw meanwhile."""

    calls: int = 0
    heard_least: float = 1.0
    probes: int = 0
    probe_ms: float = 0.0
    failed: list[str] = field(default_factory=list)


class Canary:
    """Two registered telephones of an exchange; the second has `number` and answers."""

    def __init__(self, phones: tuple[VirtualPhone, VirtualPhone], number: str) -> None:
        self._phones, self._number = phones, number
        self.seen = Seen()
        self.over = False

    async def call(self) -> None:
        """One call, heard both ways."""
        caller, callee = self._phones
        said = audio.speech(1, SPOKEN_S), audio.speech(2, SPOKEN_S)
        call = await caller.call(self._number)
        await call.answered()
        (taken,) = callee.calls.values()
        await asyncio.sleep(0.2)
        await asyncio.gather(call.play(said[0]), taken.play(said[1]))
        await asyncio.sleep(0.2)
        heard = (
            audio.match_in_pieces(said[0], taken.heard()),
            audio.match_in_pieces(said[1], call.heard()),
        )
        self.seen.heard_least = min(self.seen.heard_least, *heard)
        call.hang_up()
        await call.ended()
        await taken.ended()
        self.seen.calls += 1

    async def calls(self) -> None:
        """One every two seconds, until it is `over`."""
        while not self.over:
            began_s = time.monotonic()
            try:
                async with asyncio.timeout(10.0):
                    await self.call()
            except Exception as error:
                self.seen.failed.append(repr(error))
            await asyncio.sleep(max(0.0, began_s + EVERY_S - time.monotonic()))

    async def probes(self, port: int) -> None:
        """OPTIONS five times a second, until cancelled."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            for number in itertools.count(1):
                probe = PROBE.format(n=number, host="127.0.0.1", port=sock.getsockname()[1])
                began_s = time.monotonic()
                await loop.sock_sendto(sock, probe.encode(), ("127.0.0.1", port))
                async with asyncio.timeout(5.0):
                    await loop.sock_recv(sock, 65_536)
                self.seen.probe_ms = max(self.seen.probe_ms, 1000 * (time.monotonic() - began_s))
                self.seen.probes += 1
                await asyncio.sleep(0.2)
