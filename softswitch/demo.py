"""The demonstration: a whole office on loopback, two virtual phones, one recorded call, checked by ear."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softswitch.config import parse_office
from softswitch.errors import SoftswitchError
from softswitch.ports import free_port
from softswitch.sim import audio
from softswitch.sim.behaviour import Behaviour
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.real_network import RealNetwork
from softswitch.switch import Switch

_TALK_S = 6.0
_SETTLE_S = 0.4
_MATCH_MIN = 0.95
_SETTLE_MAX_S = 5.0

_OFFICE = """
[office]
name = "Demo office"
domain = "demo.example"
country = "{country}"

[sip]
listen = ["udp://127.0.0.1:{sip_port}"]

[media]
address = "127.0.0.1"
ports = "{media_low}-{media_high}"
workers = 1

[http]
listen = "127.0.0.1:{http_port}"

[storage]
directory = "{directory}"

[recording]
calls = "all"

[[extension]]
number = "1001"
name = "Li Lei"
password = "{password_1}"

[[extension]]
number = "1002"
name = "Han Meimei"
password = "{password_2}"
"""


@dataclass(frozen=True, slots=True)
class Hearing:
    """What one listener heard of what was said: `correlation` 1.0 is the same sound."""

    listener: str
    correlation: float
    delay_ms: float

    @property
    def good(self) -> bool:
        return self.correlation > _MATCH_MIN


@dataclass(frozen=True, slots=True)
class DemoResult:
    record: dict[str, Any]
    recording: Path
    hearings: tuple[Hearing, ...]

    @property
    def good(self) -> bool:
        return all(hearing.good for hearing in self.hearings)


class Demo:
    """A demo office in `directory`; `switch` serves between `start` and `stop`."""

    def __init__(self, directory: Path) -> None:
        self.passwords = {"1001": secrets.token_urlsafe(12), "1002": secrets.token_urlsafe(12)}
        media_low = 20_000 + 2 * secrets.randbelow(5_000)  # below the ports that systems give out
        text = _OFFICE.format(
            country="US",
            sip_port=free_port(),
            http_port=free_port(),
            media_low=media_low,
            media_high=media_low + 999,
            directory=directory,
            password_1=self.passwords["1001"],
            password_2=self.passwords["1002"],
        )
        self.office = parse_office(text, source="demo")
        self.switch = Switch(self.office)
        self._network = RealNetwork()

    @property
    def server(self) -> tuple[str, int]:
        listen = self.office.sip.listen[0]
        return listen.host, listen.port

    async def start(self) -> None:
        await self.switch.start()

    async def stop(self) -> None:
        await self.switch.stop()

    async def run(self, watch: Callable[[dict[str, Any]], None]) -> DemoResult:
        """One call from 1001 to 1002, speech both ways; `watch` gets the status four times a second."""
        said = {
            "1001": _line(
                "Hello, this is extension one thousand and one. Can you hear me well?", 1
            ),
            "1002": _line("Yes, loud and clear. This call is being recorded by the switch.", 2),
        }
        watching = asyncio.create_task(self._watch(watch))
        try:
            async with self._phone("1001") as caller, self._phone("1002") as callee:
                callee.behaviour = Behaviour(ring_s=1.0, play=said["1002"])
                for phone in (caller, callee):
                    response = await phone.register()
                    if response.status != 200:
                        raise SoftswitchError(f"{phone.user} could not register: {response.status}")
                heard = await self._talk(caller, callee, said)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        record, recording = await self._record()
        left, right = _channels(recording)
        hearings = (
            _hearing("1002 heard 1001", said["1001"], heard["1002"]),
            _hearing("1001 heard 1002", said["1002"], heard["1001"]),
            _hearing("recording, left", said["1001"], left),
            _hearing("recording, right", said["1002"], right),
        )
        return DemoResult(record, recording, hearings)

    def _phone(self, number: str) -> VirtualPhone:
        return VirtualPhone(
            self._network,
            number=number,
            password=self.passwords[number],
            server=self.server,
            domain=self.office.office.domain,
        )

    async def _talk(
        self, caller: VirtualPhone, callee: VirtualPhone, said: dict[str, audio.Samples]
    ) -> dict[str, audio.Samples]:
        call = await caller.call("1002")
        await call.answered()
        await call.play(said["1001"])
        longest_s = max(len(samples) for samples in said.values()) / audio.RATE_HZ
        await asyncio.sleep(max(0.0, longest_s - len(said["1001"]) / audio.RATE_HZ) + _SETTLE_S)
        answered = await callee.incoming()
        heard = {"1001": call.heard(), "1002": answered.heard()}
        call.hang_up()
        await call.ended()
        await answered.ended()
        return heard

    async def _watch(self, watch: Callable[[dict[str, Any]], None]) -> None:
        while True:
            watch(self.switch.snapshot())
            await asyncio.sleep(0.25)

    async def _record(self) -> tuple[dict[str, Any], Path]:
        """The call's record, once the recording is closed and the journal has both."""
        store = self.switch.store
        assert store is not None
        for _ in range(int(_SETTLE_MAX_S / 0.05)):
            await store.journal.flush()
            records = await store.calls.list(limit=1)
            if records and not self.switch.control.snapshot()["recordings"]:
                record = records[0].as_dict()
                return record, self.switch.directory / "recordings" / str(record["recording"])
            await asyncio.sleep(0.05)
        raise SoftswitchError("the call left no record within five seconds")


def _line(text: str, seed: int) -> audio.Samples:
    """Spoken where espeak-ng is installed, synthetic speech elsewhere."""
    samples = audio.spoken(text)
    if samples is None or len(samples) < 2 * audio.RATE_HZ:
        samples = audio.speech(seed, _TALK_S)
    return samples[: int(_TALK_S * audio.RATE_HZ)]


def _hearing(listener: str, sent: audio.Samples, received: audio.Samples) -> Hearing:
    found = audio.match(sent, received)
    return Hearing(listener, found.correlation, found.delay_ms)


def _channels(path: Path) -> tuple[audio.Samples, audio.Samples]:
    import soundfile

    frames, _ = soundfile.read(path, dtype="int16", always_2d=True)
    return frames[:, 0], frames[:, 1]
