"""Row 24 of the reliability programme over real ports: the whole range is sprayed at up to 100,000 packets a
second before, during and after 200 call set-ups, and nobody but the parties is heard or sent to.

    pytest -s -m soak tests/soak/test_rtp_bleed.py
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from media.client import MediaClient
from media.protocol import StreamLatched, StreamParams
from tests.rows import Row

pytestmark = [pytest.mark.soak, pytest.mark.realtime]

FIRST_PORT, PORTS = 30_000, 10_000
CALLS, AT_ONCE, PACKETS = 200, 20, 20
FORGED = b"\xee" * 160

SPRAYER = """
import json, socket, struct, sys, time
host, first, ports, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
sock.bind((host, 0))
sock.setblocking(False)
sent = got = number = 0
targets = [("127.0.0.1", first + at) for at in range(ports)]
begin = time.monotonic()
print("ready", flush=True)
import select
while not select.select([sys.stdin], [], [], 0)[0]:
    packet = struct.pack(">BBHII", 0x80, 0, number & 0xFFFF, 160 * number & 0xFFFFFFFF, 0xBAD)
    packet += b"\\xee" * 160
    number += 1
    for start in range(0, ports, 500):
        for target in targets[start:start + 500]:
            try:
                sock.sendto(packet, target)
                sent += 1
            except OSError:
                pass
        try:
            while sock.recv(2048):
                got += 1
        except OSError:
            pass
        ahead = begin + sent / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
print(json.dumps({"sprayed": sent, "bled": got, "pps": round(sent / (time.monotonic() - begin))}))
"""


class Sprayer:
    """A process that sends a packet to every port of the range, over and over."""

    def __init__(self, host: str, rate: int) -> None:
        words = [sys.executable, "-c", SPRAYER, host, str(FIRST_PORT), str(PORTS), str(rate)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def stop(self) -> dict[str, int]:
        out, _ = self.process.communicate("stop\n", timeout=30)
        figures: dict[str, int] = json.loads(out)
        return figures


class Party:
    """A telephone: one socket, what it says and what it hears."""

    def __init__(self, host: str, ssrc: int) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.setblocking(False)
        self.address = self.sock.getsockname()
        self.ssrc, self.number = ssrc, 0

    def say(self, to: tuple[str, int]) -> None:
        head = struct.pack(">BBHII", 0x80, 0, self.number & 0xFFFF, 160 * self.number, self.ssrc)
        self.sock.sendto(head + self.ssrc.to_bytes(4, "big") * 40, to)
        self.number += 1

    def heard(self) -> list[bytes]:
        packets = []
        while True:
            try:
                packets.append(self.sock.recv(2048))
            except BlockingIOError:
                self.sock.close()
                return [packet[12:] for packet in packets if len(packet) == 172]


async def one_call(client: MediaClient, number: int, *, nat: bool, host: str) -> dict[str, int]:
    parties = [Party(host, 2 * number + 1), Party(host, 2 * number + 2)]
    streams = [client.reserve(group=number, signalled_host=host) for _ in parties]
    await asyncio.sleep(0.05)  # as long as signalling takes
    for party, stream in zip(parties, streams, strict=True):
        announced = ("192.0.2.7", 4000) if nat else party.address
        params = StreamParams(announced, nat=nat, signalled_host=host if nat else None)
        client.configure(stream.stream_id, params)
    client.connect(streams[0].stream_id, streams[1].stream_id)
    for _ in range(PACKETS):
        for party, stream in zip(parties, streams, strict=True):
            party.say((stream.host, stream.port))
        await asyncio.sleep(0.02)
    found = {"injected": 0, "heard": 0, "strange": 0}
    worst = 0
    for party, other in (parties, parties[::-1]):
        own = other.ssrc.to_bytes(4, "big") * 40
        payloads = party.heard()
        forged = payloads.count(FORGED)
        worst = max(worst, forged)
        found["injected"] += forged
        found["heard"] += payloads.count(own)
        found["strange"] += len(payloads) - payloads.count(own) - forged
    for stream in streams:
        client.release(stream.stream_id)
    await asyncio.sleep(0.05)
    return found | {"worst_call": worst}


@pytest.mark.parametrize(
    ("nat", "one_port", "sprayer_host"),
    [
        (False, False, "127.0.0.66"),
        (False, False, "127.0.0.2"),
        (False, True, "127.0.0.66"),
        (True, True, "127.0.0.66"),
        (True, True, "127.0.0.2"),
        (True, False, "127.0.0.2"),
    ],
)
async def test_row_24_over_the_whole_port_range(
    tmp_path: Path, row: Row, nat: bool, one_port: bool, sprayer_host: str
) -> None:
    """`sprayer_host` 127.0.0.2 is where the parties are: a sprayer behind the same NAT."""
    latched: list[StreamLatched] = []
    client = MediaClient(
        address="127.0.0.1",
        ports=(FIRST_PORT, FIRST_PORT + PORTS - 1),
        workers=1,
        recordings_dir=tmp_path,
        on_event=lambda event: latched.append(event) if isinstance(event, StreamLatched) else None,
        one_port_per_stream=one_port,
        spare=False,
    )
    await client.start()
    sprayer = Sprayer(sprayer_host, 100_000)
    figures: dict[str, Any] = {"injected": 0, "heard": 0, "strange": 0, "worst_call": 0}
    began_s = time.monotonic()
    try:
        await asyncio.sleep(1.0)
        for start in range(0, CALLS, AT_ONCE):
            calls = [
                one_call(client, number, nat=nat, host="127.0.0.2")
                for number in range(start, start + AT_ONCE)
            ]
            for found in await asyncio.gather(*calls):
                figures["worst_call"] = max(figures["worst_call"], found.pop("worst_call"))
                for name, count in found.items():
                    figures[name] += count
        await asyncio.sleep(1.0)
    finally:
        sprayed = sprayer.stop()
        await client.stop()
    same_host = sprayer_host == "127.0.0.2"
    name = "RTP bleed over 10,000 real ports, " + ("NAT" if nat else "no NAT")
    name += (", a port each" if one_port else "") + (
        ", sprayer on the same host" if same_host else ""
    )
    row(24, name, calls=CALLS, **sprayed, **figures, took_s=round(time.monotonic() - began_s, 1))
    assert sprayed["bled"] == figures["strange"] == 0
    assert figures["worst_call"] <= (4 if nat and same_host else 0)
    assert figures["heard"] >= CALLS * 2 * (PACKETS - 8)
