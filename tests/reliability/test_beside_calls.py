"""Rows 6, 12, 14, 16, 18 and 23 against a whole exchange on real sockets, with what the programme asks of every
row: telephones call each other meanwhile and hear each other, OPTIONS is answered, nothing is unhandled, and
what was there before is there afterwards and no more.

The attackers, the telephones and the exchange share one loop: what the first two take is in the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from softswitch import Switch
from softswitch.config import parse_office
from softswitch.ports import free_port
from softswitch.sim.behaviour import answer
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.real_network import RealNetwork
from softswitch.sip.credentials import Credentials
from softswitch.sip.digest import answer_challenge
from softswitch.sip.message import SipResponse
from softswitch.sip.parser import parse_message
from tests.canary import Canary
from tests.rows import Row, memory_kb
from tests.sip.test_sip_fuzz import SEEDS, mutate
from tests.sip.test_strangers import METHODS, Wire, shape

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("unlogged")]

SCALE = float(os.environ.get("SOFTSWITCH_FUZZ_SCALE", "1"))
OFFICE = """
[office]
domain = "office.example"
[sip]
listen = ["udp://127.0.0.1:{sip}"]
[media]
ports = "{low}-{high}"
workers = 1
[storage]
directory = "{directory}"
[[trunk]]
name = "carrier"
uri = "sip:127.0.0.1:{trunk}"
from_addresses = ["127.0.0.1:{trunk}"]
health_check_s = 0
[[extension]]
number = "1001"
password = "secret-1001"
permissions = ["internal", "local", "national", "international"]
[[extension]]
number = "1002"
password = "secret-1002"
[[extension]]
number = "1500"
password = "secret-1500"
[[outbound]]
trunks = ["carrier"]
permission = "international"
prefix = "00"
"""
LINGERS_S = 45.0
AT_ONCE = 8
"""Messages between two turns of the others: some 500 a second."""
BENT_AT_ONCE = 24
TURN_S = 0.015
NONCE_S = 60.0


class Sources(asyncio.DatagramProtocol):
    """Sockets of many addresses; an answer goes to who waits for its Call-ID."""

    def __init__(self, exchange: tuple[str, int]) -> None:
        self._exchange = exchange
        self._sockets: list[asyncio.DatagramTransport] = []
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self.statuses: Counter[int] = Counter()
        self.sent = self.octets_out = self.octets_in = 0
        self.at_once = AT_ONCE

    async def open(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for number in range(count):
            local = (f"127.0.{1 + number // 250}.{1 + number % 250}", 0)
            await loop.create_datagram_endpoint(lambda: self, local_addr=local)

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._sockets.append(transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.octets_in += len(data)
        if not data.startswith(b"SIP/2.0 "):  # whoever is registered is asked whether he is there
            line = data.partition(b"\r\n")[0]
            self._sockets[0].sendto(data.replace(line, b"SIP/2.0 200 OK", 1), address)
        else:
            self.statuses[int(data[8:11])] += 1
            waiting = self._waiting.pop(_call_id(data), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(data)

    async def send(self, data: bytes, source: int | None = None) -> None:
        """From the next address, or from one: a nonce is for who has been given it."""
        number = self.sent if source is None else source
        self.sent += 1
        self.octets_out += len(data)
        self._sockets[number % len(self._sockets)].sendto(data, self._exchange)
        if self.sent % self.at_once == 0:
            await asyncio.sleep(TURN_S)

    async def ask(self, data: bytes, source: int | None = None) -> bytes:
        waiting = self._waiting[_call_id(data)] = asyncio.get_running_loop().create_future()
        await self.send(data, source)
        async with asyncio.timeout(5.0):
            return await waiting

    def close(self) -> None:
        for each in self._sockets:
            each.close()


def _call_id(data: bytes) -> bytes:
    return data.partition(b"\r\nCall-ID: ")[2].partition(b"\r\n")[0]


class Carrier(asyncio.DatagramProtocol):
    """The trunk: whatever the exchange would have it call."""

    def __init__(self) -> None:
        self.invites = 0

    def datagram_received(self, data: bytes, _: Any) -> None:
        self.invites += data.startswith(b"INVITE ")


@dataclass
class Beside:
    """One attack on a running exchange."""

    switch: Switch
    canary: Canary
    sources: Sources
    carrier: Carrier


@contextlib.asynccontextmanager
async def beside(directory: Path) -> AsyncIterator[Beside]:
    sip, trunk, low = free_port(), free_port(), free_port(count=64)
    text = OFFICE.format(sip=sip, trunk=trunk, low=low, high=low + 63, directory=directory)
    switch = Switch(parse_office(text))
    await switch.start()
    loop = asyncio.get_running_loop()
    carried, carrier = await loop.create_datagram_endpoint(Carrier, local_addr=("127.0.0.1", trunk))
    sources = Sources(("127.0.0.1", sip))
    await sources.open(250)
    async with contextlib.AsyncExitStack() as stack:
        phones = [
            await stack.enter_async_context(
                VirtualPhone(
                    RealNetwork(), number=number, password=f"secret-{number}",
                    server=("127.0.0.1", sip), domain="office.example", behaviour=answer(),
                )
            )
            for number in ("1001", "1002")
        ]  # fmt: skip
        for each in phones:
            assert (await each.register()).status == 200
        canary = Canary((phones[0], phones[1]), "1002")
        run = Beside(switch, canary, sources, carrier)
        await canary.call()  # what is made once is there
        before = (len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")))
        calling = asyncio.create_task(canary.calls())
        probing = asyncio.create_task(canary.probes(sip))
        try:
            yield run
        finally:
            canary.over = True
            await calling
            unanswered = probing.exception() if probing.done() else None
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        await canary.call()  # the next one, when it is over
        for _ in range(int(LINGERS_S)):
            left = switch.snapshot()["sip"]
            if not left["transactions"]:
                break
            await asyncio.sleep(1.0)
        after = (len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")))
    counters = switch.driver.counters
    sources.close()
    carried.close()
    await switch.stop()
    assert unanswered is None
    assert counters.exceptions == counters.stack_exceptions == 0
    assert canary.seen.failed == []
    assert canary.seen.heard_least > 0.9
    assert canary.seen.probe_ms < 200.0
    assert (left["transactions"], left["dialogs"]) == (0, 0), left
    assert after[0] <= before[0], "tasks"
    assert after[1] <= before[1], "descriptors"


def authorisation(challenge: bytes, plain: bytes, user: str, password: str) -> str:
    found = parse_message(challenge)
    request = parse_message(plain)
    assert isinstance(found, SipResponse)
    value = answer_challenge(
        found.headers.get_all("WWW-Authenticate"), Credentials(user, password),
        request.method, request.uri, cnonce="c",
    )  # fmt: skip
    return f"Authorization: {value}\r\n"


async def told_apart(run: Beside, count: int) -> dict[str, object]:
    """Row 12: 1,000 numbers by three methods, 1001, 1002 and 1500 of them known."""
    wire, told = Wire(), 0
    for method in ("REGISTER", "INVITE", "OPTIONS"):
        shapes = set()
        for user in map(str, range(1000, 1000 + count)):
            data = wire.request(method, user)
            found = await run.sources.ask(data)
            # The address from which it was asked is the asker's own.
            lines = [line for line in found.split(b"\r\n") if not line.startswith(b"Via:")]
            shapes.add(shape(b"\r\n".join(lines), user))
        told += len(shapes) - 1
    return {"numbers": count, "methods": 3, "told_apart": told}


async def replayed(run: Beside, count: int) -> dict[str, object]:
    """Row 14: credentials that were taken once, again by eight methods from 250 addresses, then from their
    owner's own when their nonce has ended."""
    wire, began_s = Wire(), time.monotonic()
    plain = wire.request("REGISTER", "1500")
    challenge = await run.sources.ask(plain, 0)
    line = authorisation(challenge, plain, "1500", "secret-1500")
    owner = await run.sources.ask(wire.request("REGISTER", "1500", extra=line), 0)
    assert owner[8:11] == b"200", "the owner's own is taken"
    accepted_before = run.sources.statuses[200]
    for number in range(count):
        await run.sources.send(wire.request(METHODS[number % len(METHODS)], "1500", extra=line))
    await asyncio.sleep(max(1.0, began_s + NONCE_S + 1.0 - time.monotonic()))
    late = count // 10
    for number in range(late):
        await run.sources.send(wire.request(METHODS[number % len(METHODS)], "1500", extra=line), 0)
    await asyncio.sleep(1.0)
    accepted = run.sources.statuses[200] - accepted_before
    return {"replayed": count, "when_the_nonce_had_ended": late, "accepted": accepted}


FORGED = (
    "",
    "P-Asserted-Identity: <sip:1001@office.example>\r\n",
    "Remote-Party-ID: <sip:1001@office.example>;privacy=off\r\n",
    "Route: <sip:127.0.0.1;lr>\r\n",
    "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKtrunk\r\n",
)


async def called(run: Beside, count: int) -> dict[str, object]:
    """Row 16: prefixes by forged identities; the trunk and the telephones see what goes out."""
    wire = Wire()
    for number, extra in itertools.islice(itertools.product(range(2000), FORGED), count):
        to = f"00{number:04d}972595144544"
        await run.sources.send(wire.request("INVITE", "1001", to=to, extra=extra))
    await asyncio.sleep(1.0)
    wrong = sum(n for status, n in run.sources.statuses.items() if status != 401)
    ratio = run.sources.octets_in / run.sources.octets_out
    assert ratio <= 1.1, "row 23"
    return {
        "invites": count,
        "calls_of_the_trunk": run.carrier.invites,
        "answers_but_401": wrong,
        "octets_out_for_in": round(ratio, 2),
    }


async def taken(run: Beside, count: int) -> dict[str, object]:
    """Row 18: who has proven himself registers for somebody else."""
    wire, refused = Wire(), 0
    for number in range(count):
        to = "1002" if number % 2 else f"{2000 + number}"
        plain = wire.request("REGISTER", "1500", to=to)
        challenge = await run.sources.ask(plain, number)
        line = authorisation(challenge, plain, "1500", "secret-1500")
        found = await run.sources.ask(wire.request("REGISTER", "1500", to=to, extra=line), number)
        refused += found[8:11] == b"403"
    return {"registers": count, "taken": count - refused}


async def bent(run: Beside, count: int) -> dict[str, object]:
    """Row 6 by UDP, three times as fast as the others."""
    source = random.Random(6)
    run.sources.at_once = BENT_AT_ONCE
    for _ in range(count):
        await run.sources.send(mutate(source.choice(SEEDS), source)[:65_000])
    await asyncio.sleep(1.0)
    return {"messages": count, "answered": run.sources.statuses.total()}


Attack = Callable[[Beside, int], Coroutine[Any, Any, dict[str, object]]]


@pytest.mark.parametrize(
    ("number", "attack", "count", "nothing"),
    [
        (6, bent, 120_000, ()),
        (12, told_apart, 1000, ("told_apart",)),
        (14, replayed, 10_000, ("accepted",)),
        (16, called, 10_000, ("calls_of_the_trunk", "answers_but_401")),
        (18, taken, 1000, ("taken",)),
    ],
    ids=["bent", "told apart", "replayed", "called", "taken"],
)
async def test_while_telephones_call(
    number: int, attack: Attack, count: int, nothing: tuple[str, ...], tmp_path: Path, row: Row
) -> None:
    async with beside(tmp_path / "var") as run:
        before_kb = memory_kb()
        found = await attack(run, max(20, int(count * SCALE)))
        found["grown_KB"] = memory_kb() - before_kb
    seen = run.canary.seen
    row(
        number,
        f"{attack.__name__.replace('_', ' ')}, while telephones call",
        **found,
        calls=seen.calls,
        failed=len(seen.failed),
        heard_least=round(seen.heard_least, 2),
        slowest_options_ms=round(seen.probe_ms, 1),
    )
    assert seen.calls > 0
    assert [found[name] for name in nothing] == [0] * len(nothing)
    assert run.carrier.invites == 0
