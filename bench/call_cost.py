"""What a call through the whole exchange costs its event loop, by layer: one process, no peers, no sockets.

Two trunks are played by a few lines below that hand ready-made messages to the driver: INVITE, 180, 200,
ACK, BYE and what answers them. Journal, database and media worker are the real ones. The players' own
part is measured alone and taken off. For comparing two versions of the program, which `sip_calls.py`
with its SIPp cannot do on a machine that others use.

    python bench/call_cost.py [--calls 3000] [--rate 0] [--profile] [--functions 40] [--of PACKAGE]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import os
import pstats
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.serving import CALLED, CALLER, HEAD, SERVER, TRUNKS, Serving, await_api
from softswitch import Switch
from softswitch.config import Office, load_office
from softswitch.environment import Machine
from softswitch.ports import free_port
from softswitch.sip.flow import Flow
from softswitch.transport.interface import Receive, Transport, Unreachable
from softswitch.transport.udp import Gather

SIP_PORT, PEER_PORT = 5060, 5070
FROM_CALLER = Flow("udp", (SERVER, SIP_PORT), (CALLER, PEER_PORT))
FROM_CALLED = Flow("udp", (SERVER, SIP_PORT), (CALLED, PEER_PORT))
WARM = 200

SDP = (
    "v=0\r\no=user1 53655765 2353687637 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    "m=audio 6000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\n"
)
OFFER = SDP.format(host=CALLER)
ANSWER = SDP.format(host=CALLED).encode()
HEADERS = (
    "Via: SIP/2.0/UDP {caller}:5070;branch=z9hG4bK-1-{number}-{step}\r\n"
    'From: "caller" <sip:1001@{caller}:5070>;tag=1c{number}\r\n'
    "To: <sip:9123@{server}:5060>{tag}\r\nCall-ID: {number}-1@{caller}\r\nCSeq: {cseq}\r\n"
)
TYPE = "Content-Type: application/sdp\r\n"


class Wires(Transport):
    """A transport that keeps what is sent."""

    name = "udp"
    local = (SERVER, SIP_PORT)

    def __init__(self) -> None:
        self.receive: Receive = lambda data, flow: None
        self.gather: Gather = lambda read: read()
        self.sent: list[tuple[bytes, Flow]] = []

    def start(self, receive: Receive, unreachable: Unreachable) -> None:
        self.receive = receive

    def read(self, data: bytes, flow: Flow) -> None:
        """As a socket does it: what one reading brings leaves together."""
        self.gather(lambda: self.receive(data, flow))

    def send(self, data: bytes, flow: Flow) -> None:
        self.sent.append((data, flow))

    def prove(self, flow: Flow) -> None: ...

    def close(self) -> None: ...

    def snapshot(self) -> dict[str, int]:
        return {}


class OnWires(Machine):
    """This machine without SIP sockets."""

    def __init__(self, wires: Wires) -> None:
        super().__init__()
        self._wires = wires

    def transports(self, office: Office) -> list[Transport]:
        return [self._wires]

    def admin(self) -> bool:
        return False


def _line(data: bytes, name: bytes) -> bytes:
    start = data.index(name)
    return data[start : data.index(b"\r\n", start)]


def _fill(text: str, number: int, step: str, cseq: str, tag: str = "") -> str:
    return text.format(caller=CALLER, server=SERVER, number=number, step=step, cseq=cseq, tag=tag)


class Players:
    """Both ends of every call; a call's messages follow each other, each in a turn of the loop."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self.own_s = 0.0
        self.done = 0

    def _take(self) -> list[tuple[bytes, Flow]]:
        sent, self._wires.sent = self._wires.sent, []
        return sent

    async def _feed(self, message: bytes, flow: Flow, since_s: float) -> float:
        """Hand it over; the time until then is the players' own."""
        self.own_s += time.thread_time() - since_s
        self._wires.read(message, flow)
        await asyncio.sleep(0)
        return time.thread_time()

    async def call(self, number: int) -> None:
        now_s = time.thread_time()
        headers = _fill(HEADERS, number, "1", "1 INVITE")
        invite = f"INVITE sip:9123@{SERVER}:5060 SIP/2.0\r\n{headers}"
        invite += f"Contact: <sip:1001@{CALLER}:5070>\r\nMax-Forwards: 70\r\n{TYPE}"
        invite += f"Content-Length: {len(OFFER)}\r\n\r\n{OFFER}"
        now_s = await self._feed(invite.encode(), FROM_CALLER, now_s)
        offered = next(data for data, _ in self._take() if data.startswith(b"INVITE"))
        echoed = b"\r\n".join(_line(offered, n) for n in (b"Via:", b"From:", b"Call-ID:", b"CSeq:"))
        echoed += b"\r\n%b;tag=2c%d\r\nContact: <sip:%b:5070>\r\n" % (
            _line(offered, b"To:"),
            number,
            CALLED.encode(),
        )
        ringing = b"SIP/2.0 180 Ringing\r\n%bContent-Length: 0\r\n\r\n" % echoed
        now_s = await self._feed(ringing, FROM_CALLED, now_s)
        head = b"SIP/2.0 200 OK\r\n%b%bContent-Length: %d\r\n\r\n"
        now_s = await self._feed(
            head % (echoed, TYPE.encode(), len(ANSWER)) + ANSWER, FROM_CALLED, now_s
        )
        answer = next(data for data, flow in self._take() if data.startswith(b"SIP/2.0 200"))
        tag = ";tag=" + _line(answer, b"To:").partition(b";tag=")[2].decode()
        target = _line(answer, b"Contact:").partition(b"<")[2].partition(b">")[0].decode()
        end = "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        ack = f"ACK {target} SIP/2.0\r\n{_fill(HEADERS, number, '2', '1 ACK', tag)}{end}"
        now_s = await self._feed(ack.encode(), FROM_CALLER, now_s)
        bye = f"BYE {target} SIP/2.0\r\n{_fill(HEADERS, number, '3', '2 BYE', tag)}{end}"
        now_s = await self._feed(bye.encode(), FROM_CALLER, now_s)
        sent = next(data for data, _ in self._take() if data.startswith(b"BYE"))
        parts = b"\r\n".join(
            _line(sent, n) for n in (b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:")
        )
        now_s = await self._feed(
            b"SIP/2.0 200 OK\r\n%b\r\nContent-Length: 0\r\n\r\n" % parts, FROM_CALLED, now_s
        )
        self._take()
        self.done += 1
        self.own_s += time.thread_time() - now_s


async def run(folder: Path, calls: int, rate: float, profile: cProfile.Profile | None) -> None:
    port = free_port(SERVER)
    text = (HEAD + TRUNKS).format(
        recording="none",
        server=SERVER,
        sip=SIP_PORT,
        http=port,
        caller=f"{CALLER}:{PEER_PORT}",
        called=f"{CALLED}:{PEER_PORT}",
    )
    text = text.replace('"var"', f'"{folder}/var"')
    office = folder / "office.toml"
    office.write_text(text)
    wires = Wires()
    switch = Switch(load_office(office), environment=OnWires(wires))
    await switch.start()
    wires.gather = switch.driver.gather
    await asyncio.to_thread(await_api, port, time.monotonic() + 60.0)
    players, serving = Players(wires), Serving(os.getpid(), SIP_PORT, folder)
    gc.collect()
    gc.freeze()
    gc.disable()
    number = 0
    while number < WARM:
        await players.call(number)
        number += 1
    await asyncio.sleep(0.5)
    players.own_s = 0.0
    before, began_s = serving.cpu_s(), time.thread_time()
    began_wall_s = time.monotonic()
    if profile is not None:
        profile.enable()
    while number < WARM + calls:
        await players.call(number)
        number += 1
        if rate:
            due_s = began_wall_s + (number - WARM) / rate
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
    await asyncio.sleep(0.5)
    if profile is not None:
        profile.disable()
    spent_s, after = time.thread_time() - began_s, serving.cpu_s()
    assert switch.store is not None
    journaled = switch.store.journal.snapshot()
    await switch.stop()
    assert players.done == WARM + calls
    each = {name: (after[name] - before[name]) / calls * 1e6 for name in ("threads", "media")}
    loop = (spent_s - players.own_s) / calls * 1e6
    print(
        f"call_cost: loop {loop:.0f} us, threads {each['threads']:.0f}, media {each['media']:.0f}, "
        f"total {loop + sum(each.values()):.0f} us a call of {calls} "
        f"(players {players.own_s / calls * 1e6:.0f}; {journaled['commits']} commits)"
    )


def _layer(file: str) -> str:
    if "/softswitch/" in file:
        parts = file.rpartition("/softswitch/")[2].split("/")
        return f"softswitch/{parts[0]}"
    if "/media/" in file:
        return "media"
    for known in ("asyncio", "sqlalchemy", "msgspec", "call_cost", "aiosqlite"):
        if known in file:
            return known
    return "rest of the library"


def by_layer(profile: cProfile.Profile, calls: int, functions: int, of: str) -> None:
    """Print time by layer; what built-in functions take counts for whoever calls them."""
    stats: Any = pstats.Stats(profile)
    own: Counter[tuple[str, str]] = Counter()
    numbers: Counter[tuple[str, str]] = Counter()
    for (file, line, name), (_, count, tottime, _, callers) in stats.stats.items():
        if file == "~":
            for (caller, caller_line, caller_name), found in callers.items():
                where = (caller, f"{caller_name}:{caller_line}")
                own[where] += found[2]
        else:
            own[file, f"{name}:{line}"] += tottime
            numbers[file, f"{name}:{line}"] += count
    total = sum(own.values())
    layers: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for (file, name), spent_s in own.items():
        layers[_layer(file)] += spent_s
        counts[_layer(file)] += numbers[file, name]
    for layer, spent_s in layers.most_common():
        print(
            f"{100 * spent_s / total:5.1f} %  {spent_s / calls * 1e6:7.1f} us  "
            f"{counts[layer] / calls:7.1f} functions  {layer}"
        )
    print()
    shown = [(f, s) for f, s in own.most_common() if of in _layer(f[0]) or of in f[0]]
    for (file, name), spent_s in shown[:functions]:
        short = file[-60:]
        print(
            f"{spent_s / calls * 1e6:7.2f} us {numbers[file, name] / calls:6.1f} x  {short} {name}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=0.0, help="a second; 0: as fast as it goes")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--functions", type=int, default=40)
    parser.add_argument("--of", default="", help="only functions of this layer")
    chosen = parser.parse_args()
    profile = cProfile.Profile() if chosen.profile else None
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as folder:
        asyncio.run(run(Path(folder), chosen.calls, chosen.rate, profile))
    if profile is not None:
        by_layer(profile, chosen.calls, chosen.functions, chosen.of)


if __name__ == "__main__":
    main()
