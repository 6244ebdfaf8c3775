"""Bad input on the wire: answered with an error or dropped, and the next call works."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.server import Server, Trunk
from tests.interop.peers.sipp import Sipp

Serve = Callable[..., Server]
Peer = Callable[..., Sipp]

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 20000 RTP/AVP 0\r\n"
)


def request(
    method: bytes, branch: bytes, port: int, *, extra: bytes = b"", length: bytes | None = None
) -> bytes:
    """A request that is well formed as long as `extra` and `length` leave it so."""
    body = SDP if method == b"INVITE" else b""
    size = b"%d" % len(body) if length is None else length
    return (
        b"%s sip:88100@127.0.0.1 SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%s;rport\r\n"
        b"Max-Forwards: 70\r\n"
        b"From: <sip:someone@127.0.0.1>;tag=%s\r\n"
        b"To: <sip:88100@127.0.0.1>\r\n"
        b"Call-ID: %s@garbage\r\n"
        b"CSeq: 1 %s\r\n"
        b"Contact: <sip:someone@127.0.0.1:%d>\r\n"
        b"%sContent-Type: application/sdp\r\nContent-Length: %s\r\n\r\n%s"
    ) % (method, port, branch, branch, branch, method, port, extra, size, body)


def truncated(port: int) -> Iterator[bytes]:
    """Every eleventh beginning of an INVITE that would be a call if it were whole."""
    whole = request(b"INVITE", b"cut", port)
    for length in range(0, len(whole) - len(SDP) // 2, 11):
        yield whole[:length].replace(b"cut", b"cut%d" % length)


def oversized(port: int) -> Iterator[bytes]:
    yield request(b"OPTIONS", b"big1", port, extra=b"X-Long: " + b"a" * 64_000 + b"\r\n")
    yield request(b"INVITE", b"big2", port, extra=b"Subject: " + b"," * 64_000 + b"\r\n")
    yield request(b"OPTIONS", b"big3", port, extra=b"X: y\r\n" * 10_000)
    yield request(b"INVITE", b"big4", port, extra=b"Via: SIP/2.0/UDP a;branch=z9\r\n" * 2_000)
    yield request(
        b"OPTIONS", b"big5", port, extra=b"Route: " + b"<sip:a>," * 8_000 + b"<sip:a>\r\n"
    )
    yield request(b"OPTIONS", b"big6", port, extra=b"X:\r\n" + b" \r\n" * 20_000)


def wrong_lengths(port: int) -> Iterator[bytes]:
    for index, length in enumerate(
        (b"999", b"-1", b"1_0", b"+10", b"0x10", b"9" * 5_000, b"", b"1 2", b"\xd9\xa1", b"1e3")
    ):
        yield request(b"INVITE", b"len%d" % index, port, length=length)
    yield request(b"INVITE", b"twice", port, extra=b"Content-Length: 3\r\n")


def noise(seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for _ in range(1_000):
        yield chance.randbytes(chance.randrange(0, 1_400))


def bent(port: int, seed: int) -> Iterator[bytes]:
    """Whole requests with some octets changed, cut out or doubled."""
    chance = random.Random(seed)
    for index in range(1_000):
        data = bytearray(request(b"OPTIONS", b"bent%d" % index, port))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randrange(1, 20)]
                case _:
                    data[at:at] = data[at : at + chance.randrange(1, 20)]
        yield bytes(data)


def drain(sender: socket.socket) -> list[bytes]:
    answers = []
    sender.settimeout(0.0)
    while True:
        try:
            answers.append(sender.recv(65_535))
        except BlockingIOError:
            return answers


def alive(server: Server, answers: list[bytes], sender: socket.socket, branch: bytes) -> None:
    """An OPTIONS that is right is answered, over the same socket, after all that was sent before;
    what else arrives meanwhile goes to `answers`."""
    port = sender.getsockname()[1]
    wanted = b"z9hG4bK" + branch
    for _ in range(20):
        sender.sendto(request(b"OPTIONS", branch, port), (HOST, server.office.sip_port))
        sender.settimeout(1.0)
        try:
            while True:
                answer = sender.recv(65_535)
                if wanted in answer:
                    return
                answers.append(answer)
        except TimeoutError:
            continue
    raise AssertionError("the server answers nothing any more")


@pytest.mark.parametrize("source", ["stranger", "trunk"])
def test_garbage_is_refused_and_the_next_call_works(serve: Serve, sipp: Peer, source: str) -> None:
    """From a stranger the gate sees it first; from a trunk it reaches everything behind."""
    carrier = Trunk("carrier", f"{HOST}:{free_port()}")
    sink = Trunk("sink", f"{HOST}:{free_port()}")
    transit = '[[inbound]]\nfrom = "carrier"\nnumber = "88*"\nto = "trunk:sink"\n'
    server = serve(trunks=[carrier, sink], more=transit)
    carrier_port, sink_port = (int(t.address.rpartition(":")[2]) for t in (carrier, sink))
    port = carrier_port if source == "trunk" else free_port()

    answers: list[bytes] = []
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.bind((HOST, port))
        batches = [truncated(port), oversized(port), wrong_lengths(port), noise(1), bent(port, 2)]
        for index, batch in enumerate(batches):
            for sent, datagram in enumerate(batch):
                sender.sendto(datagram, (HOST, server.office.sip_port))
                if sent % 50 == 49:  # at the server's pace, so that its socket buffer never fills
                    alive(server, answers, sender, b"pace%d-%d" % (index, sent))
            alive(server, answers, sender, b"after%d" % index)
        answers += drain(sender)

    for answer in answers:
        status = answer[8:11]
        assert answer.startswith(b"SIP/2.0 "), answer[:200]
        # 1xx and 2xx can only be answers to a bent OPTIONS that stayed right, or to an INVITE whose
        # body was cut: never an established call
        to_invite = re.search(
            rb"\r\nCSeq: [0-9]+ INVITE\r\n", answer
        )  # Allow names it in any answer
        assert not (status == b"200" and to_invite), answer[:400]
    assert any(answer[8:11] == b"400" for answer in answers), "nothing was answered with 400"

    called = sipp("uas", port=sink_port, calls=1)
    calling = sipp("uac", server=server.address, port=carrier_port, number="88100")
    counts = calling.wait()
    assert (counts.successful, counts.failed) == (1, 0), counts
    assert called.wait().successful == 1
    server.wait_idle(timeout_s=60)


def test_an_answer_to_a_stranger_is_hardly_larger_than_what_he_sent(serve: Serve) -> None:
    """Nobody can use the switch to amplify traffic towards a forged address."""
    server = serve()
    methods = (b"INVITE", b"REGISTER", b"OPTIONS", b"SUBSCRIBE", b"BYE", b"ACK", b"CANCEL")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.bind((HOST, 0))
        port = sender.getsockname()[1]
        for index, method in enumerate(methods):
            answers: list[bytes] = []
            datagram = request(method, b"amp%d" % index, port)
            sender.sendto(datagram, (HOST, server.office.sip_port))
            alive(server, answers, sender, b"after%d" % index)
            answered = sum(map(len, answers))
            assert answered <= 1.5 * len(datagram), (method, answered, len(datagram), answers)
