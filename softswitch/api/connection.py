"""One connection to the API: what a peer may take his time for, and how many he may have. Whoever has begun to
ask is told why it ends, by a problem; whoever has not is let go of without a word.

uvicorn waits for ever for the head of a request, for the rest of a body, and for a reader to read: a thousand
connections that begin a request and never end it kept everybody out until they were closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from softswitch.api.problem import problem
from softswitch.sources import source_of

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


_LINGER_S = 1.0
"""For somebody to take what he is told before his connection is cut."""

_SOON = {"Retry-After": "5"}


def _is_here(host: str) -> bool:
    """Whether this is an address of this machine only."""
    return ip_address(host.partition("%")[0]).is_loopback


class ApiConnection(H11Protocol):
    """As uvicorn's, with an end to patience."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.limit_concurrency = None  # uvicorn's own answer is plain text: see `_admitted`
        self._served, self.app = self.app, self._admitted
        self._made_s = self.loop.time()
        self._asked = False
        self._begun = False  # a head that is not all there yet
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None

    # -- coming and going ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._has_too_many():
            self._end(429, "too many connections of this address have asked nothing yet", _SOON)
            return
        if len(self.connections) > CONNECTIONS_MAX - SPARE:
            self._make_room()
        self._receiving = self.loop.call_later(HEAD_S, self._head_late)

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

    async def _admitted(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, or say that there are too many at once."""
        if max(len(self.connections), len(self.tasks)) > CONNECTIONS_MAX:
            headers = {**_SOON, "Connection": "close"}
            words = f"{CONNECTIONS_MAX} requests are being served"
            await problem(503, words, headers=headers)(scope, receive, send)
            return
        await self._served(scope, receive, send)

    # -- patience ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        state = self.conn.their_state
        if self.transport.is_closing():
            self._wait_no_longer()
        elif state is h11.IDLE:
            self._begun = True
            if self._receiving is None:  # a drop of a head does not renew the patience with it
                self._receiving = self.loop.call_later(HEAD_S, self._head_late)
        else:
            self._asked, self._begun = True, False
            self._wait_for_body(state is h11.SEND_BODY)

    def _wait_for_body(self, wanted: bool) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
        self._receiving = self.loop.call_later(BODY_S, self._body_late) if wanted else None

    def _head_late(self) -> None:
        if self._begun:
            self._end(408, f"the head of a request takes at most {HEAD_S:g} s")
        else:
            self._give_up()

    def _body_late(self) -> None:
        if self.flow.read_paused:  # it is we who do not read
            self._wait_for_body(True)
        else:
            self._end(408, f"nothing more of the body has come for {BODY_S:g} s")

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sending is None:
            self._sending = self.loop.call_later(READ_S, self._give_up)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _end(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Say why, unless an answer is under way already, and end it."""
        self._wait_no_longer()
        self.connections.discard(self)
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE) or self.transport.is_closing():
            self.transport.abort()
            return
        if self.cycle is not None:  # what still works for it finds nobody there
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._tell(status, detail, headers)
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def _give_up(self) -> None:
        self._wait_no_longer()
        self.connections.discard(self)  # now: of many that come at once each makes room
        self.transport.abort()

    def _wait_no_longer(self) -> None:
        for timer in (self._receiving, self._sending):
            if timer is not None:
                timer.cancel()
        self._receiving = self._sending = None

    # -- what uvicorn says in its own words -----------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """As uvicorn's, but a problem like all others."""
        self._end(400, msg)

    def _tell(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        answer = problem(status, detail, headers=headers)
        told = [*answer.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=status, headers=told, reason=HTTPStatus(status).phrase),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
