"""A simulated SIP user agent: the common part of phones and trunk peers."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Sequence
from typing import Any, Self

from softswitch.clock import Clock, SystemClock
from softswitch.sim.behaviour import Behaviour, answer
from softswitch.sim.datagram import Address, PhoneNetwork
from softswitch.sim.loop import SimulationError, VirtualClock, VirtualLoop
from softswitch.sim.phone_audio import PhoneAudio
from softswitch.sim.phone_call import PhoneCall
from softswitch.sim.sip_trace import SipTrace
from softswitch.sip.events import (
    InviteReceived,
    NotifyReceived,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    SipEvent,
    SubscriptionEnded,
)
from softswitch.sip.flow import Flow
from softswitch.sip.gate import Gate, OpenGate
from softswitch.sip.message import SipRequest, SipResponse
from softswitch.sip.stack import Credentials, SipStack, StackConfig
from softswitch.sip.uri import NameAddr, write_host
from softswitch.transport.driver import Driver
from softswitch.transport.interface import Tap, Transport

_log = logging.getLogger("softswitch.sim")
_SILENT_PORT_FIRST = 40_000
_WHOLE = ("sip:", "tel:")


class UserAgent:
    """A SIP user agent with its own stack on a `PhoneNetwork`, simulated or real.

    Parameters: `user` and `domain` make its address of record; `peer` is where its requests go
    (the exchange under test); `host` and `port` its own address; `behaviour` how it takes calls;
    `codecs` among PCMA and PCMU, best first; with `sound` every call has a `PhoneAudio`, without
    it SDP names ports where nobody listens; `seed` fixes its tags, SSRCs and branches; `tap`, when
    given, sees every message instead of `history`.

    After `await open()`: `call`, `incoming`, `request`; `history` holds every SIP message it sent
    or received; `failures` every exception of its own, which is a bug of the test kit or the stack.
    """

    def __init__(
        self,
        network: PhoneNetwork,
        *,
        user: str,
        domain: str,
        peer: Address,
        host: str = "127.0.0.1",
        port: int = 0,
        display_name: str | None = None,
        credentials: Credentials | None = None,
        behaviour: Behaviour | None = None,
        codecs: Sequence[str] = ("PCMA", "PCMU"),
        dtmf: bool = True,
        sound: bool = True,
        seed: int = 0,
        calls_max: int = 16,
        config: StackConfig | None = None,
        gate: Gate | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.user = user
        self.domain = domain
        self.peer = peer
        self.server_name = ""
        """Whom the certificate of `peer` must name over TLS; "": its address."""
        self.behaviour = behaviour if behaviour is not None else answer()
        self.codecs = tuple(codecs)
        self.dtmf = dtmf
        self.history = SipTrace()
        self.calls: dict[int, PhoneCall] = {}
        self.past: list[PhoneCall] = []
        self.received: list[RequestReceived] = []
        self.failures: list[BaseException] = []
        self.notified: list[NotifyReceived | SubscriptionEnded] = []
        self._news = asyncio.Event()
        self._network = network
        self._host, self._port = host, port
        self._display_name = display_name
        self._credentials = credentials
        self._sound = sound
        self._calls_max = calls_max
        self._tap = tap if tap is not None else self.history.tap_flow
        self._random = random.Random(f"user agent {user} {seed}")
        self.session_number = self._random.getrandbits(31)
        self._silent_port = _SILENT_PORT_FIRST
        self._silent: dict[int, int] = {}
        self._handles: dict[int, asyncio.Future[SipResponse]] = {}
        self._waiting: asyncio.Queue[PhoneCall] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock: Clock = SystemClock()
        self._transport: Transport | None = None
        self._driver: Driver | None = None
        self.stack = SipStack(
            config if config is not None else StackConfig(user_agent=f"sim/{user}"),
            lambda: f"{self._random.getrandbits(80):020x}",
            gate if gate is not None else OpenGate(),
        )

    # -- life --------------------------------------------------------------------------------

    async def open(self) -> None:
        """Bind the address and begin to listen."""
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            self._clock = VirtualClock(loop)
        self._transport = await self._network.open_transport(self._host, self._port)
        self._driver = Driver(
            self.stack,
            self._clock,
            loop,
            self._take,
            on_broken=self._note_failure,
            tap=self._tap,
        )
        self._driver.attach(self._transport)

    async def close(self) -> None:
        """Stop at once, without a BYE; raises the first of `failures`, if there were any."""
        for call in list(self.calls.values()):
            if call.audio is not None:
                call.audio.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._driver is not None:
            self._driver.close()
        if self.failures:
            raise self.failures[0]

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    @property
    def driver(self) -> Driver:
        """The driver; raises `SimulationError` before `open`."""
        if self._driver is None:
            raise SimulationError(f"{self.user}: open() first")
        return self._driver

    @property
    def local(self) -> Address:
        """Our own SIP address."""
        if self._transport is None:
            raise SimulationError(f"{self.user}: open() first")
        return self._transport.local

    @property
    def aor(self) -> str:
        """The address of record, `sip:user@domain`."""
        return f"sip:{self.user}@{self.domain}"

    @property
    def contact(self) -> str:
        """The URI at which we can be reached."""
        host, port = self.local
        assert self._transport is not None
        suffix = "" if self._transport.name == "udp" else f";transport={self._transport.name}"
        return f"sip:{self.user}@{f'[{host}]' if ':' in host else host}:{port}{suffix}"

    def now_s(self) -> float:
        """Monotonic seconds of our clock."""
        return self._clock.monotonic_s()

    def snapshot(self) -> dict[str, int]:
        """The stack's tables, and `calls` that have not ended."""
        return {**self.stack.snapshot(), "calls": len(self.calls)}

    def why_no_answer(self, status: int) -> str:
        """In words why `peer` did not answer us; `status` is our own: 503 of the system, 408 of a timer."""
        host, port = self.peer
        told = getattr(self._transport, "why_unreachable", None)
        why = told(self._flow()) if told is not None else ""
        if not why and status == 503:
            why = "nobody listens there"
        more = f": {why}" if why else f" ({status})" if status else ""
        return f"nothing came back from {write_host(host, port)}{more}"

    # -- calls -------------------------------------------------------------------------------

    async def call(
        self,
        number: str,
        *,
        from_user: str | None = None,
        sdp: bool | bytes = True,
        headers: Sequence[tuple[str, str]] = (),
        timeout_s: float = 180.0,
    ) -> PhoneCall:
        """Send an INVITE for `number` (a user part, or a whole sip: or tel: URI); returns at once.

        `from_user` stands in From instead of our own user; with `sdp` False the callee makes the
        offer, with octets these are it. Await `call.answered()`.
        """
        target = number if number.startswith(_WHOLE) else f"sip:{number}@{self.domain}"
        call = PhoneCall(self, outgoing=True, number=number, audio=await self._open_audio())
        from_uri = f"sip:{from_user if from_user is not None else self.user}@{self.domain}"
        call.session = self.stack.invite(
            target=target,
            flow=self._flow(),
            from_=NameAddr(from_uri, self._display_name),
            to=NameAddr(target),
            contact=self.contact,
            sdp=call.offer() if sdp is True else sdp or None,
            headers=headers,
            credentials=self._credentials,
            timeout_s=timeout_s,
            now_s=self.now_s(),
        )
        self.calls[call.session] = call
        self.driver.pump()
        return call

    async def incoming(self) -> PhoneCall:
        """The next call that comes in (each is returned once)."""
        return await self._waiting.get()

    async def request(
        self,
        method: str,
        target: str | None = None,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
        to: str | None = None,
        contact: str | None = None,
        call_id: str | None = None,
        cseq: int = 1,
    ) -> SipResponse:
        """Send a request outside any dialog and return its final response.

        Raises `SimulationError` when none comes. `target` is by default the exchange itself.
        """
        uri = target if target is not None else f"sip:{self.domain}"
        handle = self.stack.request(
            method,
            uri,
            self._flow(),
            from_=NameAddr(self.aor, self._display_name),
            to=NameAddr(to if to is not None else uri),
            contact=self.contact if contact is None else contact,
            headers=headers,
            body=body,
            content_type=content_type,
            credentials=self._credentials,
            call_id=call_id,
            cseq=cseq,
            now_s=self.now_s(),
        )
        future: asyncio.Future[SipResponse] = asyncio.get_running_loop().create_future()
        self._handles[handle] = future
        self.driver.pump()
        return await future

    # -- subscriptions -----------------------------------------------------------------------

    def subscribe(
        self,
        event: str,
        number: str,
        *,
        expires_s: int = 3600,
        headers: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Subscribe to an event package of `number`; returns the subscription's number. What comes is in
        `notified`; await `notification`."""
        target = number if number.startswith(_WHOLE) else f"sip:{number}@{self.domain}"
        subscription = self.stack.subscriptions.subscribe(
            event,
            target,
            self._flow(),
            from_=NameAddr(self.aor, self._display_name),
            to=NameAddr(target),
            contact=self.contact,
            headers=headers,
            expires_s=expires_s,
            credentials=self._credentials,
            now_s=self.now_s(),
        )
        self.driver.pump()
        return subscription

    def resubscribe(self, subscription: int, expires_s: int = 3600) -> None:
        """Refresh a subscription of ours; 0 seconds end it."""
        self.stack.subscriptions.refresh(subscription, expires_s, now_s=self.now_s())
        self.driver.pump()

    async def notification(self, subscription: int, after: int = 0) -> NotifyReceived:
        """The next NOTIFY of a subscription after its first `after`. Raises `SimulationError` when it
        has ended without."""
        while True:
            mine = [event for event in self.notified if event.subscription == subscription]
            news = [event for event in mine if isinstance(event, NotifyReceived)]
            if len(news) > after:
                return news[after]
            if len(mine) > len(news):
                raise SimulationError(f"the subscription is over: {mine[-1]}")
            self._news.clear()
            await self._news.wait()

    # -- called by PhoneCall -----------------------------------------------------------------------

    def media_address(self, call: PhoneCall) -> Address:
        """Where the call's SDP wants the peer's RTP."""
        if call.audio is not None:
            return call.audio.local
        port = self._silent.get(id(call))
        if port is None:
            self._silent_port += 2
            port = self._silent[id(call)] = self._silent_port
        return (self.local[0], port)

    def forget(self, call: PhoneCall) -> None:
        """The call has ended."""
        self._silent.pop(id(call), None)
        if self.calls.pop(call.session, None) is not None:
            self.past.append(call)

    # -- events ------------------------------------------------------------------------------------

    def _take(self, event: SipEvent, now_s: float) -> None:
        match event:
            case InviteReceived():
                self._keep(self._take_invite(event))
            case RequestReceived():
                self.received.append(event)
                self.take_request(event)
            case ResponseReceived():
                future = self._handles.pop(event.handle, None)
                if future is not None and not future.done():
                    future.set_result(event.response)
            case RequestFailed():
                future = self._handles.pop(event.handle, None)
                if future is not None and not future.done():
                    future.set_exception(SimulationError(self.why_no_answer(event.status)))
            case NotifyReceived() | SubscriptionEnded():
                self.take_notify(event)
            case _:
                call = self.calls.get(event.session)
                if call is not None:
                    call.take(event)

    def take_request(self, event: RequestReceived) -> None:
        """Answer a request that is no INVITE: 200. Subclasses may know better."""
        self.stack.respond(event.handle, 200, now_s=self.now_s())

    def take_notify(self, event: NotifyReceived | SubscriptionEnded) -> None:
        """Something of a subscription of ours."""
        self.notified.append(event)
        self._news.set()

    def behaviour_for(self, request: SipRequest) -> Behaviour:
        """How to take this call."""
        return self.behaviour

    async def _take_invite(self, event: InviteReceived) -> None:
        caller = event.request.from_.uri.user or ""
        busy = len(self.calls) >= self._calls_max
        # The call must be known before anything is awaited: a CANCEL may be on its way.
        call = PhoneCall(self, outgoing=False, number=caller, audio=None)
        call.session, call.invite = event.session, event
        self.calls[event.session] = call
        if busy:
            call.reject(486)
            return
        call.audio = await self._open_audio()
        if call.end is not None:
            if call.audio is not None:
                call.audio.close()
            return
        self._behave(call, self.behaviour_for(event.request))
        self._waiting.put_nowait(call)

    def _behave(self, call: PhoneCall, how: Behaviour) -> None:
        if how.rings:
            call.ring(183 if how.early_media else 180, early_media=how.early_media)
        if how.early_media and how.play is not None and call.audio is not None:
            call.audio.play(how.play, repeat=how.repeat)
        if how.rings:
            call.after(how.ring_s_max, lambda: call.reject(480))
        if how.status is None:
            return
        if how.ring_s > 0:
            call.after(how.ring_s, lambda: self._decide(call, how))
        else:
            self._decide(call, how)

    def _decide(self, call: PhoneCall, how: Behaviour) -> None:
        assert how.status is not None
        if how.status >= 300:
            call.reject(how.status, how.headers)
            return
        call.answer()
        if how.play is not None and call.audio is not None and not how.early_media:
            call.audio.play(how.play, repeat=how.repeat)
        if how.hang_up_after_s is not None:
            call.after(how.hang_up_after_s, call.hang_up)

    # -- inside ------------------------------------------------------------------------------------

    def _flow(self) -> Flow:
        assert self._transport is not None
        return self.driver.flow_to(self.peer, self._transport.name, self.server_name)

    async def _open_audio(self) -> PhoneAudio | None:
        if not self._sound:
            return None
        host = self.local[0]
        return PhoneAudio(await self._network.open_socket(host), self._random)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._note_failure(None, error)

    def _note_failure(self, event: SipEvent | None, error: BaseException) -> None:
        _log.error("%s failed on %s: %r", self.user, type(event).__name__, error)
        self.failures.append(error)
