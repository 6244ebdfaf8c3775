"""Sockets in bulk: what is sent arrives once, in order, with the kernel's time, from whom it came."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from softswitch.load import port_io
from softswitch.load.port_io import PortIo, Received, clock_us
from softswitch.load.sim_port_io import SimPortIo
from softswitch.load.sound import SoundPlane
from softswitch.sim.loop import simulated
from softswitch.sim.network import SimNetwork
from softswitch.sip.sdp import AudioNegotiated

WIDTH = 652


@pytest.fixture(params=["bulk", "portable"])
def io(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[PortIo]:
    if request.param == "portable":
        monkeypatch.setattr(port_io, "available", lambda: False)
    elif not port_io.available():
        pytest.skip("no recvmmsg here")
    made = PortIo(1024, WIDTH)
    assert made.precise is (request.param == "bulk")
    yield made
    made.close()


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    """Somebody who sends to ports of the lab."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        yield sender


def ports_of(io: PortIo, *ports: int) -> list[tuple[str, int]]:
    """Open some; the addresses that they have."""
    return [io.bind(port, "127.0.0.1") for port in ports]


def packets(batches: list[Received]) -> list[tuple[int, bytes]]:
    """(port, octets) of everything, in order of arrival."""
    return [
        (int(port), octets[:length].tobytes())
        for batch in batches
        for port, octets, length in zip(batch.ports, batch.packets, batch.lengths, strict=True)
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_thousand_streams_send_to_each_other(io: PortIo, host: str) -> None:
    """Two of them a pair; more of them than one call takes."""
    count = 600
    names = [io.bind(port, host) for port in range(count)]
    for port in range(count):
        io.set_destination(port, names[port ^ 1])
    streams = np.arange(count)
    io.tx.octets[:count, :4] = streams.astype("<u4").view(np.uint8).reshape(count, 4)
    assert io.send(np.full(count, 4, np.int32), streams, streams).all()
    found = io.receive(streams)
    assert sorted(packets(found)) == [(p, (p ^ 1).to_bytes(4, "little")) for p in range(count)]
    for batch in found:
        wanted = [io.source_key(port, names[port ^ 1]) for port in batch.ports.tolist()]
        assert batch.keys.tolist() == wanted
    assert io.receive(streams) == []


def test_more_than_one_look_takes_comes_in_order_and_nothing_twice(
    io: PortIo, sender: socket.socket
) -> None:
    """What has gathered is fetched to the last, whatever the window."""
    (one, other) = ports_of(io, 5, 9)
    for number in range(11):
        sender.sendto(bytes([number]) * 30, one)
    sender.sendto(b"alone", other)
    found = packets(io.receive(np.array([5, 9])))
    assert [octets for port, octets in found if port == 5] == [bytes([n]) * 30 for n in range(11)]
    assert [octets for port, octets in found if port == 9] == [b"alone"]
    assert io.receive(np.array([5, 9])) == []


def test_a_packet_bears_the_time_of_its_arrival_not_of_our_looking(
    io: PortIo, sender: socket.socket
) -> None:
    (one,) = ports_of(io, 0)
    before = clock_us()
    sender.sendto(b"early", one)
    sent = clock_us()
    time.sleep(0.05)
    (batch,) = io.receive(np.array([0]))
    looked = clock_us()
    if io.precise:
        assert before - 1000 <= batch.at_us[0] <= sent + 1000
    else:
        assert sent + 45_000 <= batch.at_us[0] <= looked


class _LateNotes(socket.socket):
    """Of a kernel that begins to note arrivals when three datagrams have been fetched, or never."""

    fetched = 0
    late = 3

    def recvmsg(self, *arguments: Any) -> Any:
        octets, notes, flags, sender = super().recvmsg(*arguments)
        _LateNotes.fetched += 1
        if _LateNotes.fetched <= _LateNotes.late:
            now = struct.pack("@qq", *divmod(time.time_ns(), 1_000_000_000))
            notes = [(level, kind, now) for level, kind, _ in notes]
        return octets, notes, flags, sender


@pytest.mark.skipif(not port_io.available(), reason="no recvmmsg here")
@pytest.mark.parametrize("late", [3, 1 << 30])
def test_nothing_is_called_exact_before_the_kernel_notes_arrivals(
    monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """Who asks first for its notes has them when a kernel thread has had its turn; on a busy machine a third
    of all first datagrams came before that, and bore the moment of our looking."""
    monkeypatch.setattr(_LateNotes, "fetched", 0)
    monkeypatch.setattr(_LateNotes, "late", late)
    monkeypatch.setattr(port_io.socket, "socket", _LateNotes)
    monkeypatch.setattr(port_io, "_STAMPS_WITHIN_S", 0.1 if late > 3 else 60.0)
    io = PortIo(4, WIDTH)
    assert io.precise is (late == 3)
    assert _LateNotes.fetched >= 4
    io.close()


def test_who_is_held_up_between_two_clocks_shifts_no_packet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a busy machine a process rests wherever it is: twice here, for 4 ms, between the two readings."""
    now_us, rests = 1_000_000, [4_000, 4_000, 0]

    def wall_ns() -> int:
        nonlocal now_us
        now_us += rests.pop(0)
        return (now_us + 5_000_000_000) * 1_000

    def monotonic_us() -> int:
        nonlocal now_us
        now_us += 1
        return now_us

    monkeypatch.setattr(port_io.time, "time_ns", wall_ns)
    monkeypatch.setattr(port_io, "clock_us", monotonic_us)
    read_us, offset_us = port_io._wall_clock()
    assert (read_us, offset_us) == (now_us, 5_000_000_000)
    assert rests == []


def test_what_came_while_a_port_rested_is_thrown_away(sender: socket.socket) -> None:
    io = PortIo(4, WIDTH)
    if not io.precise:
        pytest.skip("the portable back end is read whoever is live")
    (one,) = ports_of(io, 0)
    for _ in range(9):
        sender.sendto(b"for the call before", one)
    io.drain(0)
    sender.sendto(b"for this call", one)
    assert packets(io.receive(np.array([0]))) == [(0, b"for this call")]
    io.close()


def test_a_long_datagram_is_cut_and_a_closed_port_sends_nothing(
    io: PortIo, sender: socket.socket
) -> None:
    (one,) = ports_of(io, 0)
    io.set_destination(0, sender.getsockname())
    sender.sendto(b"x" * 1400, one)
    (batch,) = io.receive(np.array([0]))
    assert batch.packets.shape == (1, WIDTH)
    assert batch.lengths[0] == 1400
    io.close_port(0)
    assert not io.send(np.array([4], np.int32), np.array([0]), np.array([0])).any()
    assert io.receive(np.array([0])) == []


AGREED = {
    "codec": "PCMU",
    "payload_type": 0,
    "dtmf_payload_type": None,
    "ptime_ms": 20,
    "direction": "sendrecv",
    "receive_payload_type": 0,
}


class FullPortIo(SimPortIo):
    """A system without room for every third packet."""

    def send(self, octets: Any, ports: Any, rows: Any) -> Any:
        self.turn = getattr(self, "turn", 0) + 1
        if self.turn % 3 == 0:
            return np.zeros(len(rows), np.bool_)
        return super().send(octets, ports, rows)


@simulated(seed=1)
async def test_what_our_own_system_refuses_is_no_loss_of_the_targets() -> None:
    network = SimNetwork(seed=1)
    one = SoundPlane("10.0.0.1", capacity=1, ports=FullPortIo(network, WIDTH))
    other = SoundPlane("10.0.0.2", capacity=1, ports=SimPortIo(network, WIDTH))
    speaker, listener = one.open_stream(2, 3), other.open_stream(3, 2)
    for stream, peer in ((speaker, listener), (listener, speaker)):
        host, port = peer.local
        stream.configure(AudioNegotiated(remote_host=host, remote_port=port, **AGREED))
    await asyncio.sleep(3.0)
    speaker.close()
    listener.close()
    one.close()
    other.close()
    assert speaker.facts is not None
    assert listener.facts is not None
    assert one.counters.skipped_frames == pytest.approx(50, abs=2)
    assert speaker.facts.sent == pytest.approx(100, abs=2)
    assert (listener.facts.lost, listener.facts.received) == (0, pytest.approx(100, abs=3))


@simulated(seed=1)
async def test_the_next_call_on_a_port_hears_nothing_of_the_last_one() -> None:
    network = SimNetwork(seed=1)
    plane = SoundPlane("10.0.0.1", capacity=1, ports=SimPortIo(network, WIDTH))
    stranger = network.bind("10.0.0.2")
    host, port = stranger.local
    agreed = AudioNegotiated(remote_host=host, remote_port=port, **AGREED)
    received = []
    for _ in range(2):
        stream = plane.open_stream(2)
        stream.configure(agreed)
        await asyncio.sleep(0.1)
        stream.close()
        assert stream.facts is not None
        received.append(stream.facts.received)
        stranger.send_to(bytes([0x80, 0]) + bytes(170), stream.local)  # late
        await asyncio.sleep(1.0)
    plane.close()
    assert received == [0, 0]
