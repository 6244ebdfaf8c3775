"""STUN as a keep-alive: RFC 8489's Binding, and nothing for whom it does not concern."""

from __future__ import annotations

import random
import struct

import pytest

from softswitch.sim.loop import VirtualClock, simulated, virtual_loop
from softswitch.sim.network import SimNetwork
from softswitch.sip.flow import Flow
from softswitch.sip.gate import OpenGate
from softswitch.sip.rank import Rank
from softswitch.sip.stack import SipStack, StackConfig
from softswitch.transport.driver import Driver
from softswitch.transport.stun import binding_answer, is_stun

IDENTITY = b"\x21\x12\xa4\x42" + bytes(range(12))
FOUR, SIX = ("192.0.2.1", 32853), ("2001:db8:1234:5678:11:2233:4455:6677", 32853)


def request(*attributes: tuple[int, bytes], kind: int = 1) -> bytes:
    body = b"".join(
        struct.pack("!HH", name, len(value)) + value + bytes(-len(value) % 4)
        for name, value in attributes
    )
    return struct.pack("!HH", kind, len(body)) + IDENTITY + body


def test_the_address_is_masked_as_in_rfc_5769() -> None:
    """Its sections 2.2 and 2.3 have these two addresses, masked with another transaction's id."""
    identity = bytes.fromhex("2112a442b7e7a701bc34d686fa87dfae")
    asked = bytes.fromhex("00010000") + identity
    four, six = binding_answer(asked, FOUR), binding_answer(asked, SIX)
    assert four == bytes.fromhex("0101000c") + identity + bytes.fromhex("002000080001a147e112a643")
    masked = "00200014" + "0002a147" + "0113a9faa5d3f179bc25f4b5bed2b9d9"
    assert six == bytes.fromhex("01010018") + identity + bytes.fromhex(masked)


@pytest.mark.parametrize(
    ("data", "answered"),
    [
        (request(), True),
        (request((0x8022, b"baresip")), True),
        (request((0x0006, b"user")), False),  # who wants to be known by a name is not our guest
        (request(kind=0x0011), False),
        (request()[:-1], False),
        (request() + b"\0", False),
        (request((0x8022, b"x" * 524)), True),
        (request((0x8022, b"x" * 528)), False),
        (struct.pack("!HH", 1, 4) + IDENTITY + b"\x80\x22\x00\xff", False),
        (b"", False),
    ],
)
def test_what_is_answered(data: bytes, answered: bool) -> None:
    assert (binding_answer(data, FOUR) is not None) is answered


def test_nothing_hurts() -> None:
    dice = random.Random(5389)
    for _ in range(20_000):
        data = bytearray(request((0x8022, b"baresip"), (0x8028, b"1234")))
        for _ in range(dice.randrange(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        del data[dice.randrange(len(data) + 1) :]
        answer = binding_answer(bytes(data), FOUR)
        assert answer is None or len(answer) == 32


def test_it_is_no_sip() -> None:
    assert is_stun(request())
    for data in (
        b"",
        b"\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\n",
        b"SIP/2.0 200 OK\r\n",
        b"\0" * 20,
    ):
        assert not is_stun(data)


@simulated()
async def test_only_who_has_proven_himself_is_answered() -> None:
    network = SimNetwork(seed=1)
    ranks = {"10.0.0.2": Rank.PHONE, "10.0.0.3": Rank.STRANGER, "10.0.0.4": None}
    stack = SipStack(StackConfig(), lambda: "x" * 20, OpenGate())
    driver = Driver(stack, VirtualClock(virtual_loop()), virtual_loop(), lambda event, now_s: None)
    driver.use_ranks(lambda data, flow, now_s: ranks[flow.remote[0]])
    transport = network.transport("10.0.0.1", 5060)
    driver.attach(transport)
    sent: list[tuple[bytes, Flow]] = []
    transport.send = lambda data, flow: sent.append((data, flow))  # type: ignore[method-assign]
    for host in ranks:
        driver.feed(request(), Flow("udp", ("10.0.0.1", 5060), (host, 5070)))
    ((data, flow),) = sent
    assert flow.remote == ("10.0.0.2", 5070)
    assert data == binding_answer(request(), flow.remote)
    assert driver.counters.stun_answered == 1
    driver.close()
