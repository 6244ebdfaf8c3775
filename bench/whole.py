"""CPU of the whole exchange a call, measured with the project's own trunks and nothing else.

    python bench/whole.py [--setups 400] [--rate 40] [--calls 40] [--seconds 8]

Starts `softswitch serve` with two trunks, calls from one to the other with simulated carriers in this
process, and reads the server's CPU and memory (workers included) from /proc. Callgen, a C program, drives
more (bench/callgen.py); this needs nothing but the project.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

from softswitch.sim import audio
from softswitch.sim.real_network import RealNetwork
from softswitch.sim.trunk import VirtualTrunk

TICKS_A_S = os.sysconf("SC_CLK_TCK")
OFFICE = """
[office]
domain = "bench.example"
[sip]
listen = ["udp://127.0.0.1:{sip}"]
[media]
address = "127.0.0.1"
ports = "{low}-{high}"
workers = 1
[http]
listen = "127.0.0.1:{http}"
[recording]
calls = "{recording}"
[[trunk]]
name = "gen"
uri = "sip:127.0.0.2:{gen}"
from_addresses = ["127.0.0.2:{gen}"]
max_calls = 5000
max_calls_per_s = 5000
health_check_s = 0
[[trunk]]
name = "sink"
uri = "sip:127.0.0.3:{sink}"
from_addresses = ["127.0.0.3:{sink}"]
max_calls = 5000
max_calls_per_s = 5000
health_check_s = 0
[[inbound]]
from = "gen"
number = "9*"
to = "trunk:sink"
"""


def free_port(host: str, kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class Server:
    """`softswitch serve` with its workers, and what they use."""

    def __init__(self, directory: Path, recording: str) -> None:
        self.ports = {
            "sip": free_port("127.0.0.1"),
            "http": free_port("127.0.0.1", socket.SOCK_STREAM),
            "gen": free_port("127.0.0.2"),
            "sink": free_port("127.0.0.3"),
        }
        low = 21_000
        text = OFFICE.format(**self.ports, recording=recording, low=low, high=low + 1999)
        self.file = directory / "office.toml"
        self.file.write_text(text)

    async def start(self) -> None:
        command = Path(sys.executable).with_name("softswitch")
        self.process = await asyncio.create_subprocess_exec(
            command, "serve", self.file, stdout=asyncio.subprocess.PIPE
        )
        assert self.process.stdout is not None
        while b"ready on" not in await self.process.stdout.readline():
            pass

    async def stop(self) -> None:
        self.process.terminate()
        await self.process.communicate()

    def pids(self) -> list[int]:
        main = self.process.pid
        tasks = Path(f"/proc/{main}/task")
        children = " ".join((task / "children").read_text() for task in tasks.iterdir())
        return [main, *map(int, children.split())]

    def cpu_s(self) -> float:
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS_A_S

    def rss_kib(self) -> int:
        lines = [Path(f"/proc/{pid}/status").read_text() for pid in self.pids()]
        return sum(int(text.partition("VmRSS:")[2].split()[0]) for text in lines)


async def trunks(server: Server, *, sound: bool) -> tuple[VirtualTrunk, VirtualTrunk]:
    network, made = RealNetwork(), []
    for number, name in enumerate(("gen", "sink")):
        trunk = VirtualTrunk(
            network,
            name=name,
            server=("127.0.0.1", server.ports["sip"]),
            host=f"127.0.0.{number + 2}",
            port=server.ports[name],
            sound=sound,
            calls_max=2000,
        )
        await trunk.open()
        made.append(trunk)
    return made[0], made[1]


async def close(*made: VirtualTrunk) -> None:
    for trunk in made:
        await trunk.close()
    await asyncio.sleep(
        0.5
    )  # the loop closes its sockets a turn later; their ports are wanted again


async def setups(server: Server, count: int, rate: float) -> None:
    gen, sink = await trunks(server, sound=False)

    async def one() -> None:
        call = await gen.call("9123")
        await call.answered()
        call.hang_up()
        await call.ended()

    before_s, began_s = server.cpu_s(), time.monotonic()
    tasks = []
    for number in range(count):
        await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    used_s = server.cpu_s() - before_s
    print(f"set-up and tear-down, {rate:g} a second: {1e3 * used_s / count:.2f} ms of CPU a call")
    await close(gen, sink)


async def talking(server: Server, count: int, seconds: float, what: str) -> None:
    gen, sink = await trunks(server, sound=True)
    said = audio.speech(1, seconds + 5)
    empty_kib = server.rss_kib()
    calls = []
    for _ in range(count):
        call = await gen.call("9123")
        await call.answered()
        other = await sink.incoming()
        call.play(said)
        other.play(said)
        calls.append(call)
    before_s, began_s = server.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    used_s, took_s = server.cpu_s() - before_s, time.monotonic() - began_s
    share = 100 * used_s / took_s / count
    memory_kib = (server.rss_kib() - empty_kib) / count
    heard = sum(len(call.heard()) > 0 for call in calls)
    print(
        f"{count} {what} calls: {share:.3f} % of a core a call, {memory_kib:.0f} KB a call, heard by {heard}"
    )
    for call in calls:
        call.hang_up()
        await call.ended()
    await close(gen, sink)


async def main(options: argparse.Namespace) -> None:
    for recording, what in (("none", "relayed"), ("all", "relayed and recorded")):
        with tempfile.TemporaryDirectory() as directory:
            server = Server(Path(directory), recording)
            await server.start()
            try:
                if recording == "none":
                    await setups(server, options.setups, options.rate)
                await talking(server, options.calls, options.seconds, what)
            finally:
                await server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--setups", type=int, default=400)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=8.0)
    asyncio.run(main(parser.parse_args()))
