"""Builders shared by the tests of the media plane."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from media.plane.disk import InlineDisk
from media.plane.engine import Engine
from media.plane.io_memory import Datagram, MemoryIo
from media.protocol import Address, ConfigureStream, MediaEvent, OpenStream, StreamParams


class Talker:
    """A peer's side of one stream: makes RTP packets, 20 ms of G.711 each."""

    def __init__(
        self,
        address: Address,
        *,
        ssrc: int = 0x1234,
        payload_type: int = 0,
        sequence: int = 1000,
        timestamp: int = 5000,
    ) -> None:
        self.address = address
        self.ssrc = ssrc
        self.payload_type = payload_type
        self.sequence = sequence
        self.timestamp = timestamp
        self._rng = random.Random(ssrc)

    def packet(self, payload: bytes | None = None, *, payload_type: int | None = None) -> bytes:
        """The next packet; random payload unless given."""
        body = self._rng.randbytes(160) if payload is None else payload
        kind = self.payload_type if payload_type is None else payload_type
        head = struct.pack(
            ">BBHII", 0x80, kind, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, self.ssrc
        )
        self.sequence += 1
        self.timestamp += 160
        return head + body


class Rtp:
    """The fields of a packet that was sent."""

    def __init__(self, datagram: Datagram) -> None:
        first, second, self.sequence, self.timestamp, self.ssrc = struct.unpack_from(
            ">BBHII", datagram.data
        )
        self.first = first
        self.marker = bool(second & 0x80)
        self.payload_type = second & 0x7F
        self.payload = datagram.data[12:]
        self.remote = datagram.remote
        self.port_id = datagram.port_id


class World:
    """An engine on a network in memory, on a clock that the test moves."""

    def __init__(self, tmp_path: Path, **options: Any) -> None:
        streams_max = options.get("streams_max", 64)
        self.io = MemoryIo(2 * streams_max)
        for port_id in range(16):
            self.io.use_port(port_id)
        self.events: list[MediaEvent] = []
        self.now_s = 100.0
        self.recordings = tmp_path
        options.setdefault("streams_max", streams_max)
        self.engine = Engine(
            self.io,
            emit=self.events.append,
            disk=options.pop("disk", InlineDisk()),
            reader=InlineDisk(),
            recordings_dir=str(tmp_path),
            start_s=self.now_s - 0.005,  # ticks fall between the packets, not upon them
            rng=random.Random(7),
            **options,
        )

    def open(
        self,
        stream_id: int,
        remote: Address | None,
        *,
        port_id: int = 0,
        signalled_host: str | None = None,
        **params: Any,
    ) -> None:
        """A stream that is open and configured."""
        self.do(OpenStream(stream_id, port_id, signalled_host))
        self.configure(stream_id, remote, **params)

    def configure(self, stream_id: int, remote: Address | None, **params: Any) -> None:
        self.do(ConfigureStream(stream_id, StreamParams(remote, **params)))

    def do(self, command: Any) -> None:
        self.engine.handle(command, self.now_s)

    def hear(self, talker: Talker, payload: bytes | None = None, *, port_id: int = 0) -> bytes:
        """One packet of `talker` arrives and is handled; returns its payload."""
        packet = talker.packet(payload)
        self.io.deliver(port_id, talker.address, packet)
        self.engine.poll(self.now_s)
        return packet[12:]

    def run(self, duration_s: float, *talkers: Talker, step_s: float = 0.02) -> list[bytes]:
        """Let time pass; every talker sends a packet each 20 ms. Returns what was said."""
        said = []
        for _ in range(round(duration_s / step_s)):
            for talker in talkers:
                said.append(self.hear(talker))
            self.engine.poll(self.now_s)
            self.now_s += step_s
        return said

    def sent(self) -> list[Rtp]:
        """The RTP that the engine has sent since the last time."""
        return [
            Rtp(datagram) for datagram in self.io.take_sent() if not 192 <= datagram.data[1] <= 223
        ]

    def events_of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    def make(**options: Any) -> World:
        return World(tmp_path, **options)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture
def make_talker() -> type[Talker]:
    return Talker
