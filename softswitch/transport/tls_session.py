"""One TLS session without a socket: records in and out, plain octets in between.

Not asyncio's own TLS: that keeps 256 KiB for each connection and gives no say in when a connection
that never finishes its handshake is dropped (docs/adr/0014-tls-without-asyncio.md).
"""

from __future__ import annotations

import ssl

_READ_OCTETS = 16_384


class TlsFailed(Exception):
    """The handshake or a record was refused; the text says why."""


class TlsSession:
    """Client (with `server_name`, the name or address the certificate must be for) or server side.

    `feed` and `start` may raise `TlsFailed`; `take_output` then still has the alert for the peer.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "closed", "established")

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        self.established = False
        self.closed = False

    def start(self) -> None:
        """Begin the handshake; a client then has something to send."""
        self._shake_hands()

    def feed(self, data: bytes) -> bytes:
        """Take records, give the plain octets in them."""
        self._incoming.write(data)
        if not self.established:
            self._shake_hands()
            if not self.established:
                return b""
        parts: list[bytes] = []
        try:
            while part := self._object.read(_READ_OCTETS):
                parts.append(part)
            self.closed = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.closed = True
        except ssl.SSLError as error:
            raise TlsFailed(_reason(error)) from None
        return b"".join(parts)

    def encrypt(self, data: bytes) -> None:
        """Put plain octets into records; they wait in `take_output`."""
        view = memoryview(data)
        while view:
            view = view[self._object.write(view) :]

    def take_output(self) -> bytes:
        """Records to be sent."""
        return self._outgoing.read()

    def close(self) -> None:
        """Say that nothing more follows (close_notify)."""
        if not self.established:
            return
        try:
            self._object.unwrap()
        except ssl.SSLError:
            return  # the peer's own close_notify is not waited for

    def _shake_hands(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise TlsFailed(_reason(error)) from None
        self.established = True


def _reason(error: Exception) -> str:
    """In the words of who reads the status: what was wrong with the certificate or the protocol."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    text = getattr(error, "reason", None) or str(error)
    return str(text).replace("_", " ").lower()
