"""An exchange as a process of its own, as it is served, and the telephones of its people in this one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softswitch.cli.remote import Remote
from softswitch.sim.behaviour import answer
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.phone_call import PhoneCall
from softswitch.sim.real_network import RealNetwork
from softswitch.sim.trunk import VirtualTrunk
from softswitch.store.database import FILE_NAME
from tests.interop.peers.ports import free_port
from tests.interop.peers.server import OfficeFile, Server, Trunk, password_of

TONE = (8_000 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 8_000)).astype(np.int16)

MORE = """
[[queue]]
name = "support"
number = "5000"
max_wait_s = 3600
[[agent]]
id = "lilei"
name = "Li Lei"
extension = "1001"
password = "console-secret-lilei"
queues = ["support"]
[[inbound]]
number = "+86100"
to = "queue:support"
"""


@dataclass
class Talk:
    """One conversation: both ends, and since when they talk."""

    call: PhoneCall
    other: PhoneCall
    sip_call_id: str
    since_s: float
    lasted_s: float = 0.0

    def hang_up(self) -> None:
        self.lasted_s = time.monotonic() - self.since_s
        self.call.hang_up()


class Office:
    """The exchange and its telephones, each a `kind`; extensions from 1001 on, which is the agent's."""

    def __init__(
        self, directory: Path, extensions: int, kind: type[VirtualPhone] = VirtualPhone
    ) -> None:
        self.kind = kind
        self.carrier_port = free_port()
        trunk = Trunk("carrier", f"127.0.0.1:{self.carrier_port}")
        self.numbers = [str(1001 + n) for n in range(extensions)]
        office = OfficeFile(
            extensions=tuple(self.numbers),
            trunks=[trunk],
            more=MORE,
            http=True,
            rtp_ports=8 * extensions,
        )
        self.server = Server(directory, office)
        text = self.server.file.read_text()
        self.server.file.write_text(
            text.replace("[office]\n", '[office]\ntimezone = "Europe/Berlin"\n', 1)
        )
        self.network = RealNetwork()
        self.phones: dict[str, VirtualPhone] = {}
        self.carriers: list[VirtualTrunk] = []

    def _where(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.office.sip_port

    async def phone(self, number: str) -> VirtualPhone:
        """The telephone of an extension, registered."""
        phone = self.kind(
            self.network,
            number=number,
            password=password_of(number),
            server=self._where(),
            domain="interop.example",
            host="127.0.0.1",
            port=0,
            behaviour=answer(),
            seed=int(number),
            sound=True,
        )
        await phone.open()
        self.phones[number] = phone
        assert (await phone.register(60)).status == 200
        return phone

    async def carrier(self) -> VirtualTrunk:
        carrier = VirtualTrunk(
            self.network,
            name="carrier",
            server=self._where(),
            host="127.0.0.1",
            port=self.carrier_port,
            behaviour=None,
            seed=1,
            sound=True,
        )
        await carrier.open()
        self.carriers.append(carrier)
        return carrier

    async def talk(self, one: str, other: str) -> Talk:
        """A conversation; both say a tone all the time."""
        call = await self.phones[one].call(other)
        await call.answered()
        since_s = time.monotonic()
        sip_call_id = self.phones[one].stack.call_id_of(call.session)
        reached = await self.phones[other].incoming()
        for each in (call, reached):
            each.play(TONE, repeat=True)
        return Talk(call, reached, sip_call_id, since_s)

    async def ask(self, *words: Any, **query: Any) -> Any:
        """Something of the API, as who may do everything."""
        return await asyncio.to_thread(lambda: Remote.of(self.server.file).ask(*words, **query))

    def failures(self) -> list[Any]:
        agents = [*self.phones.values(), *self.carriers]
        return [failure for agent in agents for failure in agent.failures]

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """What an independent reader of the database sees."""
        with contextlib.closing(sqlite3.connect(self.server.storage / FILE_NAME)) as database:
            return database.execute(query).fetchall()

    def records(self) -> dict[str, tuple[float, str]]:
        """Duration and status of each call between telephones by the Call-ID of its caller."""
        rows = self.sql("SELECT legs, duration_s, status FROM calls WHERE direction = 'internal'")
        return {
            leg["sip_call_id"]: (duration_s, status)
            for legs, duration_s, status in rows
            for leg in json.loads(legs)
            if leg["role"] == "caller"
        }

    async def close(self) -> None:
        for agent in (*self.phones.values(), *self.carriers):
            await agent.close()
        await asyncio.to_thread(self.server.stop)


def begin_listening(talks: list[Talk]) -> None:
    """From now on gaps count."""
    for talk in talks:
        for call in (talk.call, talk.other):
            call._sound().gap_s_max = 0.0


def silences(talks: list[Talk]) -> Iterator[float]:
    """The longest gap in what each end of each conversation has heard."""
    for talk in talks:
        for call in (talk.call, talk.other):
            audio = call._sound()
            silent_s = time.monotonic() - (audio.last_arrival_s or 0.0)
            yield max(audio.gap_s_max, silent_s)
