"""One conformance suite for the back ends that move datagrams."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest

from media.plane import io_mmsg
from media.plane.io_mmsg import MmsgIo
from media.plane.io_portable import PortableIo
from media.plane.packet_io import BATCH, PACKET_OCTETS_MAX, packed_host

BACK_ENDS = [
    pytest.param(
        MmsgIo, marks=pytest.mark.skipif(not io_mmsg.available(), reason="needs recvmmsg")
    ),
    PortableIo,
]
HOSTS = ["127.0.0.1", "::1"]


def udp(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(5.0)
    return sock


def address(sock: socket.socket) -> tuple[str, int]:
    return sock.getsockname()[:2]


@pytest.fixture(params=HOSTS)
def host(request):
    try:
        udp(request.param).close()
    except OSError:
        pytest.skip(f"{request.param} is not there")
    return request.param


@pytest.fixture(params=BACK_ENDS)
def back_end(request):
    made = request.param(64)
    yield made
    made.close()


@pytest.fixture
def peers(host):
    made = [udp(host) for _ in range(3)]
    yield made
    for sock in made:
        sock.close()


def send(back_end, rows, ports, payloads, index=None):
    places = list(range(len(rows))) if index is None else index
    for place, payload in zip(places, payloads, strict=True):
        back_end.tx.octets[place, : len(payload)] = np.frombuffer(payload, np.uint8)
    octets = np.array([len(payload) for payload in payloads], np.int32)
    where = None if index is None else np.array(index, np.intp)
    return back_end.send(
        back_end.tx, where, octets, np.array(ports, np.uint16), np.array(rows, np.intp)
    )


def gather(back_end, count):
    found = []
    for _ in range(200):
        back_end.wait(0.05)
        for place in range(back_end.receive()):
            length = int(back_end.lengths[place])
            found.append(
                (
                    int(back_end.keys[place]),
                    back_end.source_of(place),
                    back_end.rx.octets[place, :length].tobytes(),
                    length,
                )
            )
        if len(found) >= count:
            break
    return found


def test_datagrams_arrive_with_source_and_key(back_end, host, peers):
    ours = [udp(host), udp(host)]
    targets = [address(sock) for sock in ours]
    for port_id, sock in zip((4, 7), ours, strict=True):
        back_end.open_port(port_id, sock)
    sent = []
    for number, peer in enumerate(peers):
        for port_id, target in zip((4, 7), targets, strict=True):
            payload = bytes([number, port_id]) * 50
            peer.sendto(payload, target)
            key = back_end.source_key(port_id, address(peer))
            sent.append((key, address(peer), payload, 100))
    assert sorted(gather(back_end, 6)) == sorted(sent)
    assert len({key for key, *_ in sent}) == 6


def test_batches_go_out_of_the_right_port_to_the_right_peer(back_end, host, peers):
    ours = [udp(host), udp(host)]
    sources = [address(sock) for sock in ours]
    for port_id, sock in zip((2, 300), ours, strict=True):
        back_end.open_port(port_id, sock)
    for row, peer in enumerate(peers):
        back_end.set_destination(10 + row, address(peer))
    rows, ports = [10, 11, 12, 10, 11, 12], [2, 300, 2, 300, 2, 300]
    payloads = [bytes([number]) * (40 + number) for number in range(6)]
    assert send(back_end, rows, ports, payloads, index=[5, 9, 2, 40, 0, 7]) == 6
    for row, peer in enumerate(peers):
        heard = [peer.recvfrom(2000) for _ in range(2)]
        expected = [
            (payload, sources[0] if port == 2 else sources[1])
            for payload, port, to in zip(payloads, ports, rows, strict=True)
            if to == 10 + row
        ]
        assert sorted((data, source[:2]) for data, source in heard) == sorted(expected)
    assert back_end.packets_sent == 6
    assert back_end.send_errors == 0


def test_longest_packet_and_one_octet_more(back_end, host, peers):
    ours = udp(host)
    target = address(ours)
    back_end.open_port(0, ours)
    for octets in (0, 1, PACKET_OCTETS_MAX, PACKET_OCTETS_MAX + 1, 5000):
        peers[0].sendto(b"x" * octets, target)
    lengths = [length for *_, length in gather(back_end, 5)]
    assert lengths[:3] == [0, 1, PACKET_OCTETS_MAX]
    assert len(lengths) == 5
    assert all(length > PACKET_OCTETS_MAX for length in lengths[3:])


def test_order_within_a_port_is_kept_and_batches_are_bounded(back_end, host, peers):
    ours = udp(host)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    target = address(ours)
    back_end.open_port(0, ours)
    for number in range(120):
        peers[0].sendto(number.to_bytes(2, "big"), target)
    found = gather(back_end, 120)
    assert [int.from_bytes(data, "big") for _, _, data, _ in found] == list(range(120))
    assert back_end.wait(0.0) is False
    assert back_end.receive() == 0


def test_one_bad_destination_does_not_stop_the_others(back_end, host, peers):
    ours = udp(host)
    back_end.open_port(0, ours)
    back_end.set_destination(0, address(peers[0]))
    back_end.set_destination(1, (host, 0))
    back_end.set_destination(2, address(peers[1]))
    assert send(back_end, [0, 1, 2], [0, 0, 0], [b"a", b"b", b"c"]) == 2
    assert peers[0].recv(10) == b"a"
    assert peers[1].recv(10) == b"c"
    assert back_end.send_errors == 1


def test_closed_and_unknown_ports_send_nothing(back_end, host, peers):
    ours = udp(host)
    back_end.open_port(6, ours)
    back_end.set_destination(0, address(peers[0]))
    back_end.close_port(6)
    back_end.close_port(6)
    assert ours.fileno() == -1
    assert send(back_end, [0, 0], [6, 8], [b"a", b"b"]) == 0
    assert back_end.send_errors == 2
    back_end.wait(0.0)
    assert back_end.receive() == 0


def test_a_port_id_can_be_used_again(back_end, host, peers):
    first, second = udp(host), udp(host)
    target = address(second)
    back_end.open_port(0, first)
    back_end.open_port(0, second)
    assert first.fileno() == -1
    peers[0].sendto(b"hello", target)
    assert [data for _, _, data, _ in gather(back_end, 1)] == [b"hello"]


def test_watched_descriptor_wakes(back_end):
    ours, theirs = socket.socketpair()
    back_end.watch(ours.fileno())
    assert back_end.wait(0.0) is False
    theirs.send(b"x")
    assert back_end.wait(1.0) is True
    assert back_end.receive() == 0
    ours.close()
    theirs.close()


def test_a_rest_ends_with_a_datagram_and_not_with_a_command(back_end, host, peers):
    ours, theirs = socket.socketpair()
    back_end.watch(ours.fileno())
    port = udp(host)
    back_end.open_port(0, port)
    theirs.send(b"x")
    began_s = time.monotonic()
    back_end.rest(0.02)
    assert time.monotonic() - began_s > 0.015
    assert back_end.wait(0.0) is True  # what was there meanwhile is told of
    assert ours.recv(9) == b"x"
    peers[0].sendto(b"sound", address(port))
    began_s = time.monotonic()
    back_end.rest(60.0)
    assert time.monotonic() - began_s < 30.0
    assert back_end.wait(0.0) is False
    assert back_end.receive() == 1
    back_end.unwatch(ours.fileno())
    back_end.rest(0.0)
    ours.close()
    theirs.close()


def test_no_more_than_a_batch_at_once(host, peers):
    assert BATCH >= 1024
    for kind in (MmsgIo, PortableIo):
        if kind is MmsgIo and not io_mmsg.available():
            continue
        small = kind(4, batch=16)
        ours = udp(host)
        small.open_port(0, ours)
        for number in range(40):
            peers[0].sendto(bytes([number]), ours.getsockname()[:2])
        counts = []
        while sum(counts) < 40:
            small.wait(0.2)
            counts.append(small.receive())
        assert max(counts) == 16
        small.close()


@pytest.mark.parametrize("text", ["", "example.org", "1.2.3", "1.2.3.4.5", "::g", "1.2.3.4 "])
def test_names_are_not_addresses(text):
    with pytest.raises(ValueError, match="numeric"):
        packed_host(text)


def test_keys_of_different_hosts_and_ports_differ(back_end):
    addresses = [
        (host, port)
        for host in ("10.0.0.1", "10.0.0.2", "::1", "2001:db8::1", "2001:db8::2")
        for port in (1, 256, 4000, 65_535)
    ]
    keys = {back_end.source_key(port_id, at) for at in addresses for port_id in (0, 1, 4095)}
    assert len(keys) == 3 * len(addresses)
