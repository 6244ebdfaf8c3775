"""What one received datagram costs: our UDP transport, asyncio's DatagramProtocol, asyncio-dgram.

    .venv/bin/python bench/udp_receive.py [--rounds 2000] [--json]

Datagrams of 500 octets are put into the socket's buffer in bursts, then the CPU time of this process
is taken while the loop reads them; sending is not counted. A burst of 1 is a quiet exchange (every
datagram wakes the loop by itself), 64 a busy one. The cost of one turn of the loop without any
datagram is measured too and taken off.

asyncio reads each datagram into a new 256 KiB block. What that costs depends on the history of the
process: glibc maps, shrinks and unmaps such a block by three system calls each time, until some
larger block has been freed once, after which it comes from the heap. Both states are measured, in
processes of their own whose allocator is held in that state by environment variables.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import asyncio_dgram

from softswitch.sip.flow import Flow
from softswitch.transport.udp import UdpTransport

BURSTS = (1, 8, 64)
DATAGRAM = b"x" * 500

Address = tuple[str, int]


class Counter:
    """Counts arrivals and wakes the measurement when the burst is complete."""

    def __init__(self) -> None:
        self._missing = 0
        self._complete: asyncio.Future[None] | None = None

    def expect(self, count: int) -> asyncio.Future[None]:
        self._missing = count
        self._complete = asyncio.get_running_loop().create_future()
        return self._complete

    def arrived(self) -> None:
        self._missing -= 1
        if self._missing == 0 and self._complete is not None:
            self._complete.set_result(None)


async def open_ours(counter: Counter) -> tuple[Address, Callable[[], None]]:
    transport = UdpTransport.bind("127.0.0.1", 0)

    def receive(data: bytes, flow: Flow) -> None:
        counter.arrived()

    transport.start(receive, lambda flow: None)
    return transport.local, transport.close


async def open_protocol(counter: Counter) -> tuple[Address, Callable[[], None]]:
    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Address) -> None:
            counter.arrived()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Protocol, ("127.0.0.1", 0))
    enlarge(transport.get_extra_info("socket"))
    return transport.get_extra_info("sockname"), transport.close


async def open_dgram(counter: Counter) -> tuple[Address, Callable[[], None]]:
    stream = await asyncio_dgram.bind(("127.0.0.1", 0))
    enlarge(stream.socket)

    async def read() -> None:
        while True:
            await stream.recv()
            counter.arrived()

    task = asyncio.create_task(read())

    def close() -> None:
        task.cancel()
        stream.close()

    return stream.sockname, close


def enlarge(sock: socket.socket | asyncio.trsock.TransportSocket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)


async def loop_turn_us(rounds: int) -> float:
    """CPU of waiting for a future that the loop sets: the part that is not the datagram's."""
    loop = asyncio.get_running_loop()
    spent: list[float] = []
    for _ in range(rounds):
        future = loop.create_future()
        started = time.process_time()
        loop.call_soon(future.set_result, None)
        await future
        spent.append(time.process_time() - started)
    return statistics.median(spent) * 1e6


Opener = Callable[[Counter], Awaitable[tuple[Address, Callable[[], None]]]]


async def measure(open_: Opener, burst: int, rounds: int, turn_us: float) -> float:
    """Median CPU microseconds a datagram."""
    counter = Counter()
    address, close = await open_(counter)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(address)
    spent: list[float] = []
    for _ in range(rounds):
        complete = counter.expect(burst)
        for _ in range(burst):
            sender.send(DATAGRAM)
        started = time.process_time()
        await complete
        spent.append(time.process_time() - started)
    close()
    sender.close()
    await asyncio.sleep(0)
    return max(0.0, statistics.median(spent) * 1e6 - turn_us) / burst


async def main(rounds: int) -> dict[str, dict[int, float]]:
    turn_us = await loop_turn_us(rounds)
    ways: dict[str, Opener] = {
        "add_reader + recvfrom_into": open_ours,
        "asyncio DatagramProtocol": open_protocol,
        "asyncio-dgram": open_dgram,
    }
    found: dict[str, dict[int, float]] = {name: {} for name in ways}
    for burst in BURSTS:
        for name, open_ in ways.items():
            found[name][burst] = await measure(open_, burst, max(100, rounds // burst), turn_us)
    return found


ALLOCATORS = {
    "blocks mapped anew": {"MALLOC_MMAP_THRESHOLD_": "131072"},
    "blocks from the heap": {
        "MALLOC_MMAP_THRESHOLD_": "33554432",
        "MALLOC_TRIM_THRESHOLD_": "67108864",
    },
}


def run_with_allocator(settings: dict[str, str], rounds: int) -> dict[str, dict[str, float]]:
    """Measure in a process of its own, whose allocator is fixed in one of its two states."""
    done = subprocess.run(
        [sys.executable, __file__, "--rounds", str(rounds), "--here"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, dict[str, float]] = json.loads(done.stdout)
    return result


def show(state: str, result: dict[str, dict[str, float]]) -> None:
    print(f"\n{state}; CPU us a datagram, burst of" + "".join(f"{burst:>8}" for burst in BURSTS))
    for name, row in result.items():
        cells = "".join(f"{row[str(burst)]:8.1f}" for burst in BURSTS)
        print(f"{name:{len(state) + 31}}{cells}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4000)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--here", action="store_true", help="measure in this process, as it is")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(asyncio.run(main(options.rounds))))
        sys.exit()
    results = {
        state: run_with_allocator(settings, options.rounds)
        for state, settings in ALLOCATORS.items()
    }
    if options.json:
        print(json.dumps(results))
    else:
        for state, result in results.items():
            show(state, result)
