"""Signed session cookies and the tokens against forged requests: nothing to be stolen from a database. A
session ends by itself, when its user's `epoch` is no longer the one it was begun in, or when somebody logs
out: only that is remembered, for as long as its cookie would be good."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import msgspec

COOKIE = "softswitch_session"
CSRF_HEADER = "x-csrf-token"
LASTS_S = 12 * 3_600.0
ENDED_MAX = 20_000
"""Sessions that were logged out of and are remembered; beyond them the oldest is forgotten."""
KEY_NAME = "session-key"
_SIGNATURE_OCTETS = 32
_COOKIE_MAX = 1_024


@dataclass(frozen=True, slots=True)
class Session:
    """Who logged in, when (wall time), under which epoch of his."""

    name: str
    epoch: str
    begun_at_s: float
    nonce: str


class Sessions:
    """Makes and reads cookies. `key`: 32 secret octets."""

    def __init__(self, key: bytes, *, lasts_s: float = LASTS_S) -> None:
        self._key = key
        self.lasts_s = lasts_s
        self._ended: OrderedDict[str, float] = OrderedDict()

    def end(self, nonce: str, at_s: float) -> None:
        """Somebody has logged out of the session of this nonce: its cookie is worth nothing any more."""
        while self._ended and next(iter(self._ended.values())) < at_s - self.lasts_s:
            self._ended.popitem(last=False)
        self._ended[nonce] = at_s
        if len(self._ended) > ENDED_MAX:
            self._ended.popitem(last=False)

    def begin(self, name: str, epoch: str, now_s: float) -> tuple[Session, str]:
        """A new session and its cookie's value."""
        session = Session(name, epoch, now_s, secrets.token_hex(8))
        payload = msgspec.json.encode(
            (session.name, session.epoch, session.begun_at_s, session.nonce)
        )
        signed = self._mac(b"session", payload) + payload
        return session, base64.urlsafe_b64encode(signed).rstrip(b"=").decode()

    def read(self, cookie: str, now_s: float) -> Session | None:
        """The session of a cookie; None for a forged, foreign or old one."""
        if not cookie.isascii() or len(cookie) > _COOKIE_MAX:
            return None
        try:
            signed = base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))
        except ValueError:
            return None
        mac, payload = signed[:_SIGNATURE_OCTETS], signed[_SIGNATURE_OCTETS:]
        if not hmac.compare_digest(mac, self._mac(b"session", payload)):
            return None
        name, epoch, begun_at_s, nonce = msgspec.json.decode(payload)
        if not begun_at_s - 300 <= now_s < begun_at_s + self.lasts_s or nonce in self._ended:
            return None
        return Session(name, epoch, begun_at_s, nonce)

    def csrf_token(self, session: Session) -> str:
        """What requests of this session that change something must carry in `X-CSRF-Token`."""
        return self._mac(b"csrf", session.nonce.encode()).hex()[:32]

    def csrf_fits(self, session: Session, token: str) -> bool:
        return hmac.compare_digest(self.csrf_token(session).encode(), token.encode())

    def epoch_of_password(self, password: str) -> str:
        """The epoch of an agent of the office file: another password ends his sessions."""
        return self._mac(b"password", password.encode()).hex()[:16]

    def sign(self, purpose: str, values: dict[str, Any]) -> str:
        """Values for a cookie of another purpose than a session."""
        payload = msgspec.json.encode(values)
        signed = self._mac(b"signed " + purpose.encode(), payload) + payload
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()

    def open_signed(self, purpose: str, text: str) -> dict[str, Any] | None:
        """What `sign` has signed; None for anything else."""
        if not text.isascii() or len(text) > _COOKIE_MAX:
            return None
        try:
            signed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            return None
        mac, payload = signed[:_SIGNATURE_OCTETS], signed[_SIGNATURE_OCTETS:]
        if not hmac.compare_digest(mac, self._mac(b"signed " + purpose.encode(), payload)):
            return None
        return dict(msgspec.json.decode(payload))

    def _mac(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self._key, purpose + b"\0" + data, hashlib.sha256)
