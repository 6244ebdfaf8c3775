"""One connection to the API: what a peer may take his time for, and how many he may have.

uvicorn waits for ever for the head of a request, for the rest of a body, and for a reader to read: a thousand
connections that begin a request and never end it kept everybody out until they were closed.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from softswitch.api.problem import problem
from softswitch.transport.limits import source_of

CONNECTIONS_MAX = 1_000
PER_SOURCE_MAX = 256
"""That have asked nothing yet, of one address (of IPv6 one /64): hundreds of agents may be behind one. This
machine itself, where a proxy may be, has no limit of its own."""

SPARE = 50
"""Places that are kept free by closing those who ask nothing now: first of those who never have, the oldest."""

HEAD_S = 10.0
BODY_S = 20.0
"""Without a further octet of it."""

READ_S = 60.0
"""Without an octet of the answer being read."""


def _is_here(host: str) -> bool:
    """Whether this is an address of this machine only."""
    return ip_address(host.partition("%")[0]).is_loopback


class ApiConnection(H11Protocol):
    """As uvicorn's, with an end to patience."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._made_s = self.loop.time()
        self._asked = False
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None

    # -- coming and going ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._has_too_many():
            transport.abort()
            return
        if len(self.connections) > CONNECTIONS_MAX - SPARE:
            self._make_room()
        self._receiving = self.loop.call_later(HEAD_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_longer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._wait_no_longer()
        super().handle_websocket_upgrade(event)

    def _has_too_many(self) -> bool:
        host = self.client[0] if self.client else ""
        if not host or _is_here(host):
            return False
        mine = source_of(host)
        silent = (c for c in self.connections if isinstance(c, ApiConnection) and not c._asked)
        same = [c for c in silent if c.client and source_of(c.client[0]) == mine]
        return len(same) > PER_SOURCE_MAX

    def _make_room(self) -> None:
        others = (c for c in self.connections if isinstance(c, ApiConnection) and c is not self)
        idle = [c for c in others if c.cycle is None or c.cycle.response_complete]
        if idle:
            min(idle, key=lambda one: (one._asked, one._made_s))._give_up()

    # -- patience ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        state = self.conn.their_state
        if self.transport.is_closing():
            self._wait_no_longer()
        elif state is h11.IDLE:
            if self._receiving is None:  # a drop of a head does not renew the patience with it
                self._receiving = self.loop.call_later(HEAD_S, self._give_up)
        else:
            self._asked = True
            self._wait_for_body(state is h11.SEND_BODY)

    def _wait_for_body(self, wanted: bool) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
        self._receiving = self.loop.call_later(BODY_S, self._body_late) if wanted else None

    def _body_late(self) -> None:
        if self.flow.read_paused:  # it is we who do not read
            self._wait_for_body(True)
        else:
            self._give_up()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sending is None:
            self._sending = self.loop.call_later(READ_S, self._give_up)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _give_up(self) -> None:
        self._wait_no_longer()
        self.connections.discard(self)  # now: of many that come at once each makes room
        self.transport.abort()

    def _wait_no_longer(self) -> None:
        for timer in (self._receiving, self._sending):
            if timer is not None:
                timer.cancel()
        self._receiving = self._sending = None

    # -- what is no HTTP -----------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """As uvicorn's, but a problem like all others."""
        answer = problem(400, msg)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
