"""SIP over WebSocket, server side (RFC 7118 on RFC 6455): one SIP message a WebSocket message.

Handshake and frames are those of the `websockets` library, without its I/O. It refuses frames that
are not masked, and judges the size that a frame's head announces before it takes any of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from softswitch.sip.framing import KeepAlive
from softswitch.sip.parser import Limits
from softswitch.transport.layers import Item

SUBPROTOCOL = Subprotocol("sip")
HANDSHAKE_OCTETS_MAX = 16_384
_WHITE = b" \r\n\t\0"

# The library tells of every connection and every stranger's mistake; we count them.
_library_log = logging.getLogger("softswitch.transport.websocket")
_library_log.setLevel(logging.ERROR)

AllowsOrigin = Callable[[str, str], bool]
"""Whether pages of an Origin (first argument) may connect to a Host (second)."""


class OriginList:
    """Which web pages may use our WebSocket.

    Parameters: `allowed` origins as in ``https://phone.example``; ``*`` allows all. Pages of the very
    host that they connect to, whatever the port, are always allowed: they are our own. Clients that
    are no browsers send no Origin and are not asked; a password has to be proven all the same.
    """

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        self._all = "*" in allowed
        self._allowed = frozenset(each.lower().rstrip("/") for each in allowed)

    def __call__(self, origin: str, host: str) -> bool:
        if self._all or origin.lower() in self._allowed:
            return True
        try:
            theirs, ours = urlsplit(origin), urlsplit(f"//{host}")
            _ = (
                theirs.port,
                ours.port,
            )  # a port that is none, as in pbx:80.evil.example, raises here
        except ValueError:
            return False
        return theirs.hostname is not None and theirs.hostname == ours.hostname


class WebSocketFraming:
    """The server's side of one WebSocket; fits `layers.Framing`.

    Text and binary messages are both taken (RFC 7118 section 5 allows either) and answered in kind.
    A message beyond `limits` closes with 1009, an unmasked frame with 1002.
    """

    __slots__ = ("_allows", "_binary", "_fragments", "_protocol", "_too_long", "_unfinished")

    def __init__(self, limits: Limits, allows: AllowsOrigin) -> None:
        self._protocol = ServerProtocol(
            subprotocols=[SUBPROTOCOL],
            max_size=limits.head + 4 + limits.body,
            logger=_library_log,
        )
        self._allows = allows
        self._fragments: list[bytes] = []
        self._binary = False
        self._unfinished = 0  # octets of the handshake, then of a frame that is not complete
        self._too_long = False

    @property
    def established(self) -> bool:
        return self._protocol.state is State.OPEN

    @property
    def pending(self) -> bool:
        """In the handshake, in a message of several frames, or in a frame of several reads."""
        return self._unfinished > 0 or bool(self._fragments) or not self.established

    @property
    def over(self) -> bool:
        # Frames sent before the handshake was answered may have failed already.
        return self._too_long or self._protocol.eof_sent or self._protocol.close_expected()

    @property
    def malformed(self) -> bool:
        wrong = self._protocol.parser_exc is not None
        return wrong or self._protocol.state is State.CONNECTING

    def feed(self, data: bytes) -> list[Item]:
        if self.over:
            return []
        protocol, items = self._protocol, list[Item]()
        self._unfinished += len(data)
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Request):
                if protocol.eof_sent:  # what came right behind it was no frame: refused already
                    break
                self._shake_hands(event)
                self._unfinished = 0  # a client waits for our answer before its first frame
            elif isinstance(event, Frame):
                self._unfinished = max(0, self._unfinished - _octets_of(event))
                self._take(event, items)
        shaking = protocol.state is State.CONNECTING
        self._too_long = shaking and self._unfinished > HANDSHAKE_OCTETS_MAX
        return items

    def _shake_hands(self, request: Request) -> None:
        origins, hosts = request.headers.get_all("Origin"), request.headers.get_all("Host")
        allowed = len(hosts) == 1 and (
            not origins or (len(origins) == 1 and self._allows(origins[0], hosts[0]))
        )
        if allowed:
            response = self._protocol.accept(request)
        else:
            response = self._protocol.reject(HTTPStatus.FORBIDDEN, "Not for this page.\n")
        self._protocol.send_response(response)

    def _take(self, frame: Frame, items: list[Item]) -> None:
        if frame.opcode in (Opcode.PING, Opcode.PONG):
            items.append(KeepAlive.PONG)  # the library has answered a ping by now
            return
        if frame.opcode is Opcode.CLOSE:
            return
        if frame.opcode is not Opcode.CONT:
            self._binary = frame.opcode is Opcode.BINARY
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return
        message, self._fragments = b"".join(self._fragments), []
        if message.strip(_WHITE):
            items.append(message)
        else:
            items.append(KeepAlive.PING if message == b"\r\n\r\n" else KeepAlive.PONG)

    def encode(self, message: bytes) -> bytes:
        try:
            if self._binary:
                self._protocol.send_binary(message)
            else:
                self._protocol.send_text(message)
        except (ConnectionClosed, InvalidState):
            return b""
        return self.take_output()

    def ping(self) -> bytes:
        try:
            self._protocol.send_ping(b"")
        except (ConnectionClosed, InvalidState):
            return b""
        return self.take_output()

    def take_output(self) -> bytes:
        return b"".join(self._protocol.data_to_send())

    def close(self) -> bytes:
        """A close frame: we are going away."""
        try:
            self._protocol.send_close(CloseCode.GOING_AWAY)
        except (ConnectionClosed, InvalidState):
            return b""
        return self.take_output()


def _octets_of(frame: Frame) -> int:
    """What a client's frame took on the wire (RFC 6455 5.2)."""
    length = len(frame.data)
    return 6 + (0 if length < 126 else 2 if length < 65_536 else 8) + length
