"""The layers between the octets of a stream and SIP messages, each pure: octets in, items out."""

from __future__ import annotations

from typing import Protocol

from softswitch.sip.framing import KeepAlive, StreamFramer
from softswitch.sip.parser import Limits

Item = bytes | KeepAlive
"""A whole SIP message, or a sign of life."""


class Framing(Protocol):
    """Cuts a connection's plain octets into messages."""

    @property
    def established(self) -> bool:
        """Whether messages may be sent."""

    @property
    def pending(self) -> bool:
        """Whether something has begun that is not complete: its deadline runs."""

    @property
    def over(self) -> bool:
        """Whether nothing more will be read: write `take_output` and close."""

    @property
    def malformed(self) -> bool:
        """Whether it is over because of what the peer sent."""

    def feed(self, data: bytes) -> list[Item]:
        """Take octets, give what they complete. Never raises on bad input."""

    def encode(self, message: bytes) -> bytes:
        """The octets that carry one message."""

    def ping(self) -> bytes:
        """The octets that a peer who is there answers."""

    def take_output(self) -> bytes:
        """What the framing itself wants written: handshakes, pongs, refusals."""


class SipFraming:
    """SIP on a plain stream (RFC 3261 18.3, RFC 5626 4.4.1)."""

    __slots__ = ("_framer", "_refused")

    def __init__(self, limits: Limits, *, client: bool) -> None:
        self._framer = StreamFramer(limits, client=client)
        self._refused = False

    @property
    def established(self) -> bool:
        return True

    @property
    def pending(self) -> bool:
        return self._framer.pending > 0

    @property
    def over(self) -> bool:
        return self._framer.error is not None

    @property
    def malformed(self) -> bool:
        return self.over

    def feed(self, data: bytes) -> list[Item]:
        return self._framer.feed(data)

    def encode(self, message: bytes) -> bytes:
        return message

    def ping(self) -> bytes:
        return b"\r\n\r\n"

    def take_output(self) -> bytes:
        """The answer to a stream that cannot be cut, where there is something to answer."""
        error = self._framer.error
        if error is None or self._refused:
            return b""
        self._refused = True
        if error.request is None or error.status_hint is None:
            return b""
        return error.request.response(error.status_hint).serialise()
