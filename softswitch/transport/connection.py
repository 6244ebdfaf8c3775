"""One stream connection: its layers, its deadlines, its share of the loop's time."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from contextlib import suppress
from typing import Protocol

from softswitch.sip.flow import Flow
from softswitch.sip.framing import KeepAlive
from softswitch.sources import source_of
from softswitch.transport.layers import Framing, Item
from softswitch.transport.limits import StreamCounters, StreamLimits
from softswitch.transport.tls_session import TlsFailed, TlsSession

_log = logging.getLogger("softswitch.transport")

_PONG = b"\r\n"
# A peer whose cable was pulled is found by the kernel: asked after a minute of silence, given up at
# 105 s; or after 20 s when it acknowledges nothing that we have sent.
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 3))
_USER_TIMEOUT = ("TCP_USER_TIMEOUT", 20_000)


class Owner(Protocol):
    """The transport a connection belongs to."""

    limits: StreamLimits
    counters: StreamCounters
    loop: asyncio.AbstractEventLoop
    buffer: bytearray
    """Where each read of each connection is put: it is taken out before the next one begins."""

    def deliver(self, message: bytes, connection: Connection) -> None:
        """A whole message has come."""

    def forget(self, connection: Connection, why: str) -> None:
        """The connection is over. May be called twice."""


class Connection(asyncio.BufferedProtocol):
    """Cuts what comes into messages through its layers (TLS or none, then a framing).

    Parameters: `ours`: we opened it. Attributes: `flow`, what its messages come and go by; `proven`,
    its sender has shown who he is; `task`, the one that makes the connection, while it does.
    """

    __slots__ = (
        "_begun_s",
        "_framing",
        "_heard_s",
        "_left",
        "_over",
        "_owner",
        "_pinged",
        "_timer",
        "_tls",
        "_transport",
        "_waiting",
        "flow",
        "ours",
        "proven",
        "source",
        "task",
    )

    def __init__(
        self,
        owner: Owner,
        flow: Flow,
        framing: Framing,
        tls: TlsSession | None,
        *,
        ours: bool,
    ) -> None:
        self.flow = flow
        self.ours = ours
        self.proven = False
        self.source = source_of(flow.remote[0])
        self.task: asyncio.Task[None] | None = None
        self._owner = owner
        self._framing = framing
        self._tls = tls
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._left: deque[Item] = deque()
        self._heard_s = owner.loop.time()
        self._begun_s: float | None = None if ours and tls is None else self._heard_s
        self._pinged = False
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def send(self, message: bytes) -> None:
        """Write, or keep until the connection is there."""
        if self._over:
            return
        limits = self._owner.limits
        if not self._ready:
            if len(self._waiting) < limits.waiting:
                self._waiting.append(message)
            else:
                self._owner.counters.unsendable += 1
            return
        assert self._transport is not None
        if self._transport.get_write_buffer_size() > limits.unsent:
            # The peer reads nothing: its messages would only fill our memory.
            self._owner.counters.unsendable += 1
            self.abort("reads nothing")
            return
        self._owner.counters.sent += 1
        self._write(self._framing.encode(message))

    def displace(self) -> None:
        """Give way to another connection (see `ConnectionQuota`)."""
        self.abort("displaced")

    def abort(self, why: str = "closed") -> None:
        """Drop the connection at once."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        elif self.task is not None:
            self.task.cancel()
        self._owner.forget(self, why)

    def prove(self) -> None:
        """The sender has shown who he is: from now on silence alone does not close it."""
        self.proven = True
        if self._timer is not None:
            self._arm()

    # -- asyncio.BufferedProtocol --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._over:
            transport.abort()
            return
        _watch(transport.get_extra_info("socket"))
        self._heard_s = self._owner.loop.time()
        self._arm()
        if self._tls is not None:
            self._through_tls(b"")
        self._send_waiting()

    def get_buffer(self, sizehint: int) -> bytearray:
        """asyncio would take 256 KiB for each read and give back all but what came: what is kept of it, for the
        trace, then lies where the next read finds no room, and memory grew by 1 KB a message."""
        return self._owner.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._over:
            return
        data = bytes(memoryview(self._owner.buffer)[:nbytes])
        try:
            self._take(data)
        except Exception:
            # asyncio would close the connection without a word about whose fault it was.
            self._owner.counters.exceptions += 1
            _log.exception("a connection (%s) failed on %d octets", self.flow.transport, len(data))
            self.abort("an exception of ours")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        why = str(exc) if exc is not None else "closed by the peer"
        if self._tls is not None and not self._tls.established and not self._over:
            self._owner.counters.handshakes_failed += 1
            why = "closed by the peer during the TLS handshake"
        self._over = True
        self._owner.forget(self, why)

    # -- receiving -------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        if self._tls is not None:
            data = self._through_tls(data)
            if self._over:
                return
            self._send_waiting()
        if data:
            self._left.extend(self._framing.feed(data))
            if not self._framing.over:
                self._flush()
                self._send_waiting()
            self._note_progress()
            self._work_off()
        if self._tls is not None and self._tls.closed and not self._over:
            self._close()

    def _through_tls(self, records: bytes) -> bytes:
        """Plain octets of `records`; hands what TLS itself wants sent to the socket."""
        tls, transport = self._tls, self._transport
        assert tls is not None
        assert transport is not None
        plain, failed = b"", ""
        try:
            if records:
                plain = tls.feed(records)
            else:
                tls.start()
        except TlsFailed as error:
            failed = str(error)
        output = tls.take_output()
        if output:
            transport.write(output)  # an alert, where it failed
        if failed:
            self._owner.counters.handshakes_failed += not tls.established
            self._over = True
            transport.close()
            self._owner.forget(self, failed)
        elif tls.established and self.ours:
            self._begun_s = None
        return plain

    def _note_progress(self) -> None:
        now_s = self._owner.loop.time()
        if self._left:
            self._heard_s, self._pinged = now_s, False
        if not self._framing.pending:
            self._begun_s = None
        elif self._left or self._begun_s is None:
            # A message has begun: its deadline is nearer than the one the timer waits for.
            self._begun_s = now_s
            self._arm()

    def _work_off(self) -> None:
        """Hand up what is complete, some messages a turn of the loop: others want theirs as well."""
        transport = self._transport
        assert transport is not None
        for _ in range(self._owner.limits.messages_a_turn):
            if self._over or not self._left:
                break
            item = self._left.popleft()
            if item is KeepAlive.PING:
                self._owner.counters.pings += 1
                self._pong()
            elif item is KeepAlive.PONG:
                self._owner.counters.pongs += 1
            elif isinstance(item, bytes):
                self._owner.deliver(item, self)
        if self._over:
            self._left.clear()
        elif self._left:
            transport.pause_reading()
            self._owner.loop.call_soon(self._go_on)
        elif self._framing.over:
            self._owner.counters.malformed += self._framing.malformed
            self._flush()
            self._close()

    def _go_on(self) -> None:
        if self._over or self._transport is None:
            return
        self._transport.resume_reading()
        try:
            self._work_off()
        except Exception:
            self._owner.counters.exceptions += 1
            _log.exception("a connection (%s) failed on a message", self.flow.transport)
            self.abort("an exception of ours")

    # -- sending ---------------------------------------------------------------------------------

    @property
    def _ready(self) -> bool:
        if self._transport is None or (self._tls is not None and not self._tls.established):
            return False
        return self._framing.established

    def _send_waiting(self) -> None:
        if self._waiting and self._ready:
            waiting, self._waiting = self._waiting, []
            for message in waiting:
                self.send(message)

    def _pong(self) -> None:
        transport = self._transport
        assert transport is not None
        if transport.get_write_buffer_size() <= self._owner.limits.unsent:
            self._write(self._framing.encode(_PONG))

    def _flush(self) -> None:
        output = self._framing.take_output()
        if output:
            self._write(output)

    def _write(self, data: bytes) -> None:
        """Plain octets, by way of TLS where there is TLS."""
        assert self._transport is not None
        if self._tls is not None:
            self._tls.encrypt(data)
            data = self._tls.take_output()
        self._transport.write(data)

    def _close(self) -> None:
        """Close in order: what has been written still goes out."""
        self._over = True
        assert self._transport is not None
        if self._tls is not None:
            self._tls.close()
            self._transport.write(self._tls.take_output())
        self._transport.close()

    # -- deadlines -------------------------------------------------------------------------------

    def _due_s(self) -> float:
        due_s = self._heard_s + self._idle_s
        if self._pings and not self._pinged:
            due_s -= self._idle_s / 2
        if self._begun_s is not None:
            due_s = min(due_s, self._begun_s + self._message_s)
        return due_s

    @property
    def _idle_s(self) -> float:
        limits = self._owner.limits
        return limits.proven_idle_s if self.proven and not self._pings else limits.idle_s

    @property
    def _message_s(self) -> float:
        limits = self._owner.limits
        shaking = self._tls is not None and not self._tls.established
        return limits.connect_s if self.ours and shaking else limits.message_s

    @property
    def _pings(self) -> bool:
        """We ping what we opened, and WebSockets, where every browser answers by itself."""
        return self.ours or (self.proven and self.flow.transport in ("ws", "wss"))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._owner.loop.call_at(self._due_s(), self._look_at_deadlines)

    def _look_at_deadlines(self) -> None:
        """One timer a connection, set too early rather than moved at each message."""
        self._timer = None
        now_s = self._owner.loop.time()
        if now_s < self._due_s():
            self._arm()
            return
        idle = now_s >= self._heard_s + self._idle_s
        late = self._begun_s is not None and now_s >= self._begun_s + self._message_s
        if idle or late or not self._ready:
            self._owner.counters.late += 1
            self.abort("says nothing" if idle else "too slow")
            return
        self._pinged = True
        self._write(self._framing.ping())
        self._arm()


def _watch(sock: socket.socket | None) -> None:
    if sock is None:
        return
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (*_KEEPALIVE, _USER_TIMEOUT):
            option = getattr(socket, name, None)
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
