"""Switches that are broken on purpose: a text-rewriting box between callers and callees, with an RTP
relay of its own, that does one thing wrong. What it does wrong, the lab must name."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from media.dsp import g711
from media.dsp.codecs import OpusCodec
from softswitch.sim.audio import speech
from softswitch.sim.datagram import Address, DatagramSocket, PhoneNetwork

HOST = "127.0.0.1"


OPUS_SILENCE = b"\xf8\xff\xfe"


def opus_frames() -> list[bytes]:
    """A file of speech in Opus, frames of 20 ms."""
    codec = OpusCodec(8000)
    file, at = speech(99, 4.0), np.zeros(1, np.intp)
    frames = []
    for start in range(0, len(file) - 160, 160):
        wide = np.repeat(file[start : start + 160], codec.rate_hz // 8000)[None, :]
        payload, octets = codec.encode(at, wide)
        frames.append(payload[0, : octets[0]].tobytes())
    return frames


@dataclass
class Side:
    """The RTP of one party: where it wants its sound, and the port it is shown."""

    port: DatagramSocket | None = None
    wants: Address | None = None
    packets: int = 0


@dataclass
class BrokenCall:
    number: int
    caller: Side = field(default_factory=Side)
    callee: Side = field(default_factory=Side)
    caller_sip: Address = (HOST, 0)
    shifts: dict[str, int] = field(default_factory=dict)


class BrokenSwitch:
    """Relays calls to `callee`; `fault` says what is wrong ("" nothing; several joined by +), with each
    `every`th pair of calls only. With `blur` it decodes and encodes all sound, so that nothing but
    listening helps.

    Faults: one-way, swapped, looped, wrong-file, loss, hidden-loss, delay, clipping, gaps, leak (the
    callee is never told), zombie (both are, and the dialog is kept), slow-bye, silence, duplicates, forged
    (an octet is another than it was), other-codec (answers with one that nobody has offered).
    """

    def __init__(
        self,
        network: PhoneNetwork,
        callee: Address,
        fault: str = "",
        *,
        blur: bool = False,
        seed: int = 1,
        every: int = 1,
    ) -> None:
        self.network = network
        self.callee = callee
        self.faults = frozenset(fault.split("+"))
        self.every = every
        self.blur = blur
        self.calls: dict[str, BrokenCall] = {}
        self._numbers = itertools.count()
        self.zombies: set[str] = set()
        self._random = random.Random(seed)
        self._ports: list[DatagramSocket] = []
        self._front: DatagramSocket
        self._back: DatagramSocket
        self._file = g711.encode_alaw(speech(99, 8.0))
        self._opus_file = opus_frames() if "wrong-file" in self.faults else [OPUS_SILENCE]
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._front = await self._open(self._from_caller)
        self._back = await self._open(self._from_callee)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for port in self._ports:
            port.close()
        await asyncio.sleep(0)

    async def _open(self, take: Callable[[bytes, Address], None]) -> DatagramSocket:
        port = await self.network.open_socket(HOST)
        port.start(take)
        self._ports.append(port)
        return port

    def does(self, call: BrokenCall | None, *faults: str) -> bool:
        """Whether one of these is what is wrong with a call."""
        return (
            call is not None
            and not call.number // 2 % self.every
            and bool(self.faults & set(faults))
        )

    @property
    def address(self) -> Address:
        return self._front.local

    # -- SIP -----------------------------------------------------------------------------------

    def _from_caller(self, data: bytes, source: Address) -> None:
        self._spawn(self._forward(data, source, up=True))

    def _from_callee(self, data: bytes, source: Address) -> None:
        self._spawn(self._forward(data, source, up=False))

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, data: bytes, source: Address, *, up: bool) -> None:
        text = data.decode()
        call_id = re.search(r"\r\nCall-ID: (\S+)", text)[1]  # type: ignore[index]
        call = self.calls.get(call_id)
        if call_id in self.zombies and text.startswith("BYE "):
            self._answer(text, source, "200 OK")
            return
        if up and text.startswith("BYE ") and (call is None or self.does(call, "leak")):
            # A leak: the caller is told that all is well, and nobody else is told anything.
            self._answer(text, source, "200 OK" if call else "481 Call/Transaction Does Not Exist")
            return
        if call is None:
            call = self.calls[call_id] = BrokenCall(next(self._numbers), caller_sip=source)
        if "\r\nContent-Type: application/sdp" in text:
            text = await self._rewrite(call, text, from_caller=up)
        if up:
            text = text.replace(f"{source[0]}:{source[1]}>", "{}:{}>".format(*self._back.local))
            self._back.send_to(text.encode(), self.callee)
            return
        text = text.replace("{}:{}".format(*self.callee), "{}:{}".format(*self._front.local))
        ends = text.startswith("SIP/2.0 200") and " BYE\r\n" in text
        if ends and self.does(call, "zombie"):
            self.zombies.add(call_id)
        if ends and self.does(call, "slow-bye"):
            await asyncio.sleep(1.2)
        self._front.send_to(text.encode(), call.caller_sip)
        if ends:
            self.calls.pop(call_id, None)

    def _answer(self, request: str, source: Address, status: str) -> None:
        kept = [
            line for line in request.split("\r\n") if re.match(r"(Via|From|To|Call-ID|CSeq):", line)
        ]
        answer = "\r\n".join([f"SIP/2.0 {status}", *kept, "Content-Length: 0", "", ""])
        self._front.send_to(answer.encode(), source)

    async def _rewrite(self, call: BrokenCall, text: str, *, from_caller: bool) -> str:
        """Show each party a port of ours instead of the other's."""
        mine, shown = (call.caller, call.callee) if from_caller else (call.callee, call.caller)
        port = int(re.search(r"\r\nm=audio (\d+)", text)[1])  # type: ignore[index]
        host = re.search(r"\r\nc=IN IP4 (\S+)", text)[1]  # type: ignore[index]
        mine.wants = (host, port)
        if shown.port is None:
            shown.port = await self._open(lambda data, _: self._sound(call, data, to=mine))
        head, _, body = text.partition("\r\n\r\n")
        body = body.replace(f"m=audio {port}", f"m=audio {shown.port.local[1]}")
        body = re.sub(r"c=IN IP4 \S+", f"c=IN IP4 {HOST}", body)
        if self.does(call, "other-codec") and not from_caller:
            body = re.sub(r"(m=audio \d+ \S+) [\d ]+", r"\1 18", body)
        head = re.sub(r"Content-Length: \d+", f"Content-Length: {len(body)}", head)
        return f"{head}\r\n\r\n{body}"

    # -- RTP -----------------------------------------------------------------------------------

    def _sound(self, call: BrokenCall, data: bytes, *, to: Side) -> None:
        to.packets += 1
        if self.blur or self.does(call, "clipping", "wrong-file", "silence"):
            data = self._decoded(call, data, to)
        if self.does(call, "one-way") and to is call.callee:
            return
        if self.does(call, "loss", "hidden-loss") and self._random.random() < 0.02:
            call.shifts[str(id(to))] = call.shifts.get(str(id(to)), 0) + 1
            return
        if self.does(call, "hidden-loss"):
            number = int.from_bytes(data[2:4], "big") - call.shifts.get(str(id(to)), 0)
            data = data[:2] + (number & 0xFFFF).to_bytes(2, "big") + data[4:]
        if self.does(call, "forged"):
            data = data[:-1] + bytes([data[-1] ^ 1])
        if self.does(call, "gaps") and to.packets % 100 > 80:
            return
        if self.does(call, "swapped"):
            calls = sorted(self.calls.values(), key=lambda one: one.number)
            partner = next((one for one in calls if one.number == call.number ^ 1), None)
            if partner is None:
                return
            to = partner.callee if to is call.callee else partner.caller
        if self.does(call, "looped"):
            to = call.caller if to is call.callee else call.callee
        delay_s = 0.04 if self.does(call, "delay") else 0.0
        self._out(data, to, delay_s)
        if self.does(call, "duplicates") and to.packets % 5 == 0:
            self._out(data, to, delay_s)

    def _out(self, data: bytes, to: Side, delay_s: float) -> None:
        via = to.port
        if to.wants is None or via is None:
            return
        if delay_s:
            wants = to.wants
            asyncio.get_running_loop().call_later(delay_s, lambda: via.send_to(data, wants))
        else:
            via.send_to(data, to.wants)

    def _decoded(self, call: BrokenCall, data: bytes, to: Side) -> bytes:
        if data[1] & 0x7F not in (0, 8):
            return data[:12] + self._opus_file[to.packets % len(self._opus_file)]
        alaw = data[1] & 0x7F == 8
        codes = np.frombuffer(data[12:], np.uint8)
        pcm = (g711.decode_alaw if alaw else g711.decode_ulaw)(codes).astype(np.float64)
        if self.does(call, "wrong-file"):
            at = to.packets * 160 % (len(self._file) - 160)
            pcm = g711.decode_alaw(self._file[at : at + 160]).astype(np.float64)
        elif self.does(call, "silence"):
            pcm[:] = 0
        pcm *= 12.0 if self.does(call, "clipping") else 0.9
        wave = np.clip(np.round(pcm), -32_768, 32_767).astype(np.int16)
        return data[:12] + (g711.encode_alaw if alaw else g711.encode_ulaw)(wave).tobytes()
