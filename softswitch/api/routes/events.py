"""Events over WebSocket: see docs/events.md."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState

from softswitch.api.access import PREFIX, Identity, access_of, admit_socket
from softswitch.api.events.desk import READERS_MAX, READERS_MAX_EACH
from softswitch.api.events.reader import GONE, MALFORMED, Reader
from softswitch.api.problem import Refused
from softswitch.api.service import Service

router = APIRouter(prefix=PREFIX, tags=["events"])

_STILL_ALLOWED_EVERY_S = 15.0
_GOODBYE_S = 5.0


@router.websocket("/events")
async def listen(websocket: WebSocket) -> None:
    """Subscribe to what happens."""
    service: Service = websocket.app.state.service
    try:
        identity = admit_socket(websocket, access_of("WS", f"{PREFIX}/events"))
        require_room(service, identity)
    except Refused as refused:
        await websocket.send_denial_response(refused.answer())
        return
    await websocket.accept()
    await _Connection(service, websocket, identity).run()


def require_room(service: Service, identity: Identity) -> None:
    """Whether one more may listen; raises `Refused`, 429."""
    readers = service.events.readers
    own = sum(reader.identity.actor == identity.actor for reader in readers)
    if len(readers) >= READERS_MAX or own >= READERS_MAX_EACH:
        raise Refused(429, "too many connections to the events", {"Retry-After": "30"})


class _Connection:
    """Reads commands, writes what the reader has, and looks now and then whether he may still."""

    def __init__(self, service: Service, websocket: WebSocket, identity: Identity) -> None:
        self._service = service
        self._websocket = websocket
        self._woken = asyncio.Event()
        desk = service.events
        self._reader = Reader(desk.hub, identity, desk.state, self._woken.set)

    async def run(self) -> None:
        reader, desk = self._reader, self._service.events
        desk.readers[reader] = None
        receiving = asyncio.create_task(self._receive())
        sending = asyncio.create_task(self._send())
        checking = asyncio.create_task(self._check())
        try:
            await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            desk.readers.pop(reader, None)
            desk.hub.leave(reader)
            for task in (receiving, sending, checking):
                task.cancel()
            await asyncio.gather(receiving, sending, checking, return_exceptions=True)

    async def _receive(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                self._reader.close(MALFORMED, "binary")
            else:
                self._reader.take_text(text)
                if '"position"' in text:
                    self._service.events.refresh_all()
            if self._reader.closed is not None:
                # The sender says goodbye; nothing more is read.
                await asyncio.sleep(_GOODBYE_S)
                return

    async def _send(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while (text := self._reader.next_text()) is not None:
                try:
                    await self._websocket.send_text(text)
                except (WebSocketDisconnect, RuntimeError):
                    return
            if self._reader.closed is not None:
                await self._goodbye(*self._reader.closed)
                return

    async def _goodbye(self, code: int, reason: str) -> None:
        if self._websocket.client_state is WebSocketState.CONNECTED:
            try:
                async with asyncio.timeout(_GOODBYE_S):
                    await self._websocket.close(code, reason)
            except (TimeoutError, WebSocketDisconnect, RuntimeError):
                return

    async def _check(self) -> None:
        access = access_of("WS", f"{PREFIX}/events")
        while True:
            await asyncio.sleep(_STILL_ALLOWED_EVERY_S)
            try:
                now = admit_socket(self._websocket, access)
            except Refused:
                self._reader.close(GONE)
                return
            if now.role != self._reader.identity.role or now.scopes != self._reader.identity.scopes:
                self._reader.close(GONE)
                return
