"""SIPp scripts on a real socket: messages go to their call by Call-ID, sound to the lab's plane."""

from __future__ import annotations

import asyncio
import os
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from softswitch.errors import ConfigError, SoftswitchError
from softswitch.load.network import LoadNetwork
from softswitch.load.settings import Setting
from softswitch.load.sipp_call import Play, SippCall
from softswitch.load.sipp_xml import Injection, Script, read_script
from softswitch.load.sound_stream import SoundStream
from softswitch.load.verdict import caller_identity
from softswitch.sip.flow import Flow
from softswitch.sip.sdp import AudioNegotiated
from softswitch.transport.interface import Transport

if TYPE_CHECKING:
    from softswitch.load.lab import Caller, Lab

_CALL_ID = re.compile(rb"\r\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
_WAITING_MAX = 10_000
SETTINGS = {
    "inf": Setting("no file of lines"),
    "port": Setting("any that is free", r"[1-9][0-9]{0,4}", "1 to 65535"),
}


class SippPlayer:
    """The calls of one script in one generator."""

    def __init__(self, script: Script, lab: Lab, injection: Injection) -> None:
        self.script = script
        self.incoming: asyncio.Queue[tuple[bytes, Flow]] = asyncio.Queue(_WAITING_MAX)
        self.dropped = 0
        self._lab = lab
        self._injection = injection
        self._transport: Transport | None = None
        self._over: OrderedDict[bytes, SippCall] = OrderedDict()
        self._calls: dict[bytes, asyncio.Queue[tuple[bytes, Flow]]] = {}

    async def open(self) -> None:
        """Bind a socket of our own."""
        plan = self._lab.plan
        network = LoadNetwork(plan.transport, self._lab.faults, plan.seed, plan.trusted)
        port = int(plan.option("port", "0"))
        self._transport = await network.open_transport(plan.host, port)
        self._transport.start(self._receive, lambda flow: None)

    def close(self) -> None:
        """Free the socket."""
        if self._transport is not None:
            self._transport.close()

    def _receive(self, data: bytes, flow: Flow) -> None:
        found = _CALL_ID.search(data)
        self._lab.ladders.tap_flow((self._lab.now_s(), True, flow, data))
        if found is None:
            return
        queue = self._calls.get(found[1])
        if queue is not None:
            queue.put_nowait((data, flow))
        elif found[1] in self._over:
            self._send(self._over[found[1]].receive(data, self._lab.now_s()), flow)
        elif self.script.server and not data.startswith((b"SIP/2.0", b"ACK ")):
            try:
                self._calls[found[1]] = asyncio.Queue()
                self._calls[found[1]].put_nowait((data, flow))
                self.incoming.put_nowait((data, flow))
            except asyncio.QueueFull:
                del self._calls[found[1]]
                self.dropped += 1

    async def play(self, caller: Caller) -> None:
        """One call from its beginning to its end. Raises `SoftswitchError` when it went wrong."""
        lab = self._lab
        plan = lab.plan
        assert self._transport is not None
        transport = self._transport
        flow = Flow(transport.name, transport.local, plan.target, 0, plan.server_name)
        call_id = f"{caller.number}-{os.getpid()}@{self._transport.local[0]}"
        if self.script.server:
            async with asyncio.timeout(plan.timeout_s):
                data, flow = await self.incoming.get()
            found = _CALL_ID.search(data)
            assert found is not None
            call_id = found[1].decode("utf-8", "surrogateescape")
        queue = self._calls.setdefault(call_id.encode("utf-8", "surrogateescape"), asyncio.Queue())
        stream = None
        if lab.sound is not None and any("[media_port" in step.text for step in self.script.steps):
            stream = lab.sound.open_stream(caller_identity(caller.number))
        call = SippCall(
            self.script,
            self._keywords(caller, call_id, stream),
            self._injection.row(caller.number, caller.rng),
            caller.rng,
            caller.account.credentials,
        )
        try:
            await self._run(call, queue, flow, caller, stream)
        finally:
            key = call_id.encode("utf-8", "surrogateescape")
            del self._calls[key]
            # A last answer that was lost is asked for again.
            self._over[key] = call
            if len(self._over) > _WAITING_MAX:
                self._over.popitem(last=False)
            caller.sipp_call_id = call_id
            if stream is not None:
                stream.close()
                if stream.facts is not None and call.answered:
                    lab.meter.stream(stream.facts, lab.at_s())

    def _keywords(self, caller: Caller, call_id: str, stream: SoundStream | None) -> dict[str, str]:
        plan = self._lab.plan
        assert self._transport is not None
        host, port = self._transport.local
        media = stream.local if stream is not None else (host, 6000)
        return {
            "service": plan.dial or "service",
            "remote_ip": plan.target[0],
            "remote_host": plan.domain or plan.target[0],
            "remote_port": str(plan.target[1]),
            "transport": plan.transport.upper(),
            "local_ip": host,
            "local_ip_type": "6" if ":" in host else "4",
            "local_port": str(port),
            "server_ip": host,
            "media_ip": media[0],
            "media_ip_type": "6" if ":" in media[0] else "4",
            "media_port": str(media[1]),
            "call_id": call_id,
            "call_number": str(caller.number + 1),
            "pid": str(os.getpid()),
            "msg_index": "0",
            "users": "0",
            "pause_ms": str(1000 * caller.hold_s()),
        }

    async def _run(
        self,
        call: SippCall,
        queue: asyncio.Queue[tuple[bytes, Flow]],
        flow: Flow,
        caller: Caller,
        stream: SoundStream | None,
    ) -> None:
        lab = self._lab
        play = call.begin(lab.now_s())
        was_answered = False
        while True:
            self._send(play, flow)
            if stream is not None and play.digits:
                stream.press(play.digits)
            for name, seconds in play.timed:
                lab.meter.note(f"rtd_{name}", 1e6 * seconds)
            if play.done:
                if play.cause:
                    raise SoftswitchError(play.cause)
                return
            try:
                async with asyncio.timeout(play.wait_s):
                    data, source = await queue.get()
            except TimeoutError:
                play = call.timer(lab.now_s())
                continue
            if self.script.server:
                flow = source
            play = call.receive(data, lab.now_s())
            if stream is not None:
                _listen(stream, data)
            if call.answered and not was_answered:
                was_answered = True
                lab.meter.count("answered", lab.at_s())
                lab.meter.time("setup", 1e6 * (lab.now_s() - caller.intended_s), lab.at_s())

    def _send(self, play: Play, flow: Flow) -> None:
        assert self._transport is not None
        for data in play.send:
            self._lab.ladders.tap_flow((self._lab.now_s(), False, flow, data))
            self._transport.send(data, flow)


def _listen(stream: SoundStream, data: bytes) -> None:
    """Take address and codec of an audio description, if the message has one."""
    _, _, body = data.partition(b"\r\n\r\n")
    text = body.decode("latin-1")
    media = re.search(r"(?m)^m=audio (\d+) RTP/AVP (\d+)", text)
    host = re.search(r"(?m)^c=IN IP[46] (\S+)", text)
    if media is None or host is None or media[2] not in ("0", "8"):
        return
    number = int(media[2])
    events = re.search(r"(?m)^a=rtpmap:(\d+) telephone-event/8000", text)
    event = int(events[1]) if events else None
    stream.configure(
        AudioNegotiated(
            remote_host=host[1],
            remote_port=int(media[1]),
            codec="PCMU" if number == 0 else "PCMA",
            payload_type=number,
            dtmf_payload_type=event,
            receive_dtmf_payload_type=event,
            ptime_ms=20,
            direction="sendrecv",
            receive_payload_type=number,
        )
    )


def injection_of(file: str) -> Injection:
    try:
        return Injection.parse(Path(file).read_text()) if file else Injection()
    except UnicodeDecodeError as error:
        raise ConfigError("inf", f"{file}: no text in UTF-8") from error
    except OSError as error:
        raise ConfigError("inf", f"{file}: {error.strerror}") from error


def scenario_of(
    path: Path,
) -> tuple[Script, Callable[[Caller], Awaitable[None]], Callable[[Lab], Awaitable[None]]]:
    """The script, the scenario coroutine and the preparation of a SIPp file. Raises `ConfigError`."""
    script = read_script(path)
    players: dict[int, SippPlayer] = {}

    async def prepare(lab: Lab) -> None:
        player = players[id(lab)] = SippPlayer(
            script, lab, injection_of(lab.plan.option("inf", ""))
        )
        await player.open()
        lab.on_close.append(player.close)

    async def scenario(caller: Caller) -> None:
        caller.own_sound_is_right = True
        try:
            await players[id(caller.lab)].play(caller)
        except TimeoutError:
            caller.fail("no call came in time")

    scenario.__doc__ = f"SIPp scenario {script.name}"
    return script, scenario, prepare
