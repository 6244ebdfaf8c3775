"""SRTP: keys as SDP carries them, and packets protected and checked for many streams.

Sources: RFC 3711 (SRTP), RFC 4568 (SDES: the `crypto` attribute), RFC 7714 (AES-GCM suites), RFC 5764
section 4.2 (keys out of a DTLS handshake). The ciphers are libsrtp's, through `pylibsrtp` (BSD; its
wheel contains libsrtp and OpenSSL), imported when the first key is set.

The seam is `SrtpTable`: whoever has keys, SDES or DTLS, puts them into a row; the engine calls
`unprotect` on what has come, before anything else looks at it, and `protect` on what is to go. A packet
whose tag is wrong or that came before is dropped and counted; it never raises and never ends a call.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.errors import NotSupported, SrtpError

TRAILER_OCTETS_MAX = 20
"""Room that a protected packet needs behind the plain one: tag, SRTCP index."""

REPLAY_WINDOW = 128
_RTP_HEADER_OCTETS = 12
_ROLLOVERS_MAX = 256
"""Of a far end that is taken up again: nearly four days of packets of 20 ms."""
_STRIDE = 0x6000
"""Less than half a round of sequence numbers: more would be taken for a step back."""
_SEARCHES_MAX = 16
"""Packets of a row that was taken up again that are tried; a forger must not keep us busy."""
_PACKET_OCTETS_MAX = 1480
_TEXT_MAX = 1024


@dataclass(frozen=True, slots=True)
class CryptoSuite:
    """A crypto-suite: `name` as in RFC 4568, sizes in octets."""

    name: str
    key_octets: int
    salt_octets: int
    tag_octets: int
    profile: str
    """Of `pylibsrtp.Policy`."""

    @property
    def master_octets(self) -> int:
        """Length of what `inline:` carries: master key and master salt."""
        return self.key_octets + self.salt_octets


SUITES: dict[str, CryptoSuite] = {
    suite.name: suite
    for suite in (
        CryptoSuite("AEAD_AES_256_GCM", 32, 12, 16, "SRTP_PROFILE_AEAD_AES_256_GCM"),
        CryptoSuite("AEAD_AES_128_GCM", 16, 12, 16, "SRTP_PROFILE_AEAD_AES_128_GCM"),
        CryptoSuite("AES_CM_128_HMAC_SHA1_80", 16, 14, 10, "SRTP_PROFILE_AES128_CM_SHA1_80"),
        CryptoSuite("AES_CM_128_HMAC_SHA1_32", 16, 14, 4, "SRTP_PROFILE_AES128_CM_SHA1_32"),
    )
}
"""Suites by name, the strongest first."""

OFFERED = ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM")
"""What an offer contains by default, in order; the short tag is accepted but not offered."""


@dataclass(frozen=True, slots=True)
class CryptoAttribute:
    """`a=crypto`: a `tag` that the answer repeats, the suite, master key and salt."""

    tag: int
    suite: CryptoSuite
    master: bytes
    window: int = REPLAY_WINDOW
    """Packets of the replay window (`WSH`)."""

    def __str__(self) -> str:
        """Return the attribute's value: `1 AES_CM_128_HMAC_SHA1_80 inline:...`."""
        return f"{self.tag} {self.suite.name} inline:{base64.b64encode(self.master).decode()}"

    def __repr__(self) -> str:
        """Return it without the key: representations end up in logs."""
        return f"CryptoAttribute(tag={self.tag}, suite={self.suite.name!r})"


_ATTRIBUTE = re.compile(
    r"([0-9]{1,9})[ \t]+([A-Za-z0-9_]{1,64})[ \t]+([^ \t]+)((?:[ \t]+[^ \t]+)*)[ \t]*"
)
_LIFETIME = re.compile(r"2\^[0-9]{1,2}|[0-9]{1,15}")
_WINDOW = re.compile(r"WSH=([0-9]{1,5})")


def parse_crypto(text: str) -> CryptoAttribute:
    """Parse the value of an `a=crypto` attribute (RFC 4568 section 9).

    Raises `SrtpError` for what is malformed or not supported here: other suites, an MKI, several
    keys, session parameters that would weaken or change the transform.
    """
    match = _ATTRIBUTE.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if match is None:
        raise SrtpError("not a crypto attribute")
    suite = SUITES.get(match[2])
    if suite is None:
        raise SrtpError(f"crypto suite {match[2]}; allowed: {', '.join(SUITES)}")
    return CryptoAttribute(int(match[1]), suite, _master(match[3], suite), _window(match[4]))


def _master(text: str, suite: CryptoSuite) -> bytes:
    method, _, info = text.partition(":")
    if method.lower() != "inline" or ";" in info:
        raise SrtpError("not one inline key")
    encoded, *more = info.split("|")
    if len(more) > 1 or (more and not _LIFETIME.fullmatch(more[0])):
        # After the lifetime would come an MKI, which selects among keys we do not hold.
        raise SrtpError("a master key identifier is not supported")
    try:
        master = base64.b64decode(encoded.encode("ascii", "replace"), validate=True)
    except binascii.Error:
        raise SrtpError("the key is not base64") from None
    if len(master) != suite.master_octets:
        raise SrtpError(f"the key has {len(master)} octets; allowed: {suite.master_octets}")
    return master


def _window(parameters: str) -> int:
    window = REPLAY_WINDOW
    for item in parameters.split():
        match = _WINDOW.fullmatch(item)
        if match:
            window = min(max(int(match[1]), 64), 32767)
        elif not item.startswith("-"):
            # Only a parameter with a leading minus may be ignored (RFC 4568 section 6.3.7).
            raise SrtpError(f"session parameter {item[:40]} is not supported")
    return window


def choose_crypto(
    offered: Sequence[str], allowed: Sequence[str] = tuple(SUITES)
) -> CryptoAttribute | None:
    """Return the first attribute of an offer that is usable here, None if there is none.

    The offerer's order counts (RFC 4568 section 5.1.2). At most 16 are looked at.
    """
    for text in offered[:16]:
        try:
            attribute = parse_crypto(text)
        except SrtpError:
            continue
        if attribute.suite.name in allowed:
            return attribute
    return None


def make_crypto(tag: int, suite: str, master: bytes) -> CryptoAttribute:
    """Make our own attribute of `suite` with fresh random octets `master`, from the caller.

    `master` may be longer than the suite needs (60 octets serve any). Raises `SrtpError`.
    """
    found = SUITES.get(suite)
    if found is None:
        raise SrtpError(f"crypto suite {suite}; allowed: {', '.join(SUITES)}")
    if len(master) < found.master_octets:
        raise SrtpError(f"{len(master)} random octets; allowed: {found.master_octets} and more")
    return CryptoAttribute(tag, found, master[: found.master_octets])


def keys_from_dtls(suite: CryptoSuite, material: bytes, *, client: bool) -> tuple[bytes, bytes]:
    """Split DTLS keying material (RFC 5764 section 4.2) into (ours to send, theirs to receive).

    `material` is the exporter's output for `EXTRACTOR-dtls_srtp`, twice `master_octets` long;
    `client`: our side was the DTLS client. Raises `SrtpError` if it is too short.
    """
    key, salt = suite.key_octets, suite.salt_octets
    if len(material) < 2 * (key + salt):
        raise SrtpError(f"{len(material)} octets of keying material are too few")
    salts = material[2 * key :]
    client_master = material[:key] + salts[:salt]
    server_master = material[key : 2 * key] + salts[salt : 2 * salt]
    return (client_master, server_master) if client else (server_master, client_master)


def available() -> bool:
    """Tell whether `pylibsrtp` is installed."""
    return importlib.util.find_spec("pylibsrtp") is not None


def _library() -> Any:
    if not available():
        raise NotSupported("SRTP needs pylibsrtp")
    return importlib.import_module("pylibsrtp")


class SrtpTable:
    """The SRTP contexts of up to `streams` streams; a row without keys is left alone.

    Counters, (streams,) each: `bad_tags`, `replays`, `broken` (too short, too long, not RTP).
    """

    __slots__ = (
        "_inbound",
        "_outbound",
        "_resumed",
        "bad_tags",
        "broken",
        "inbound",
        "outbound",
        "replays",
    )

    def __init__(self, streams: int) -> None:
        self.inbound = np.zeros(streams, np.bool_)
        """(streams,) what this row receives must be SRTP."""
        self.outbound = np.zeros(streams, np.bool_)
        """(streams,) what this row sends becomes SRTP."""
        self.bad_tags = np.zeros(streams, np.int64)
        self.replays = np.zeros(streams, np.int64)
        self.broken = np.zeros(streams, np.int64)
        self._inbound: dict[int, Any] = {}
        self._outbound: dict[int, Any] = {}
        self._resumed: dict[int, tuple[CryptoAttribute, int]] = {}

    def set_inbound(self, row: int, key: CryptoAttribute, *, resumed: bool = False) -> None:
        """Expect SRTP under the far end's key on `row`. Raises `NotSupported` without the library.

        The same key again (a re-INVITE) is to be left alone by the caller: a new context would
        accept old packets once more. `resumed`: the far end has been sending for a while, and how
        often its sequence numbers have wrapped is found out by its first genuine packet.
        """
        self._inbound[row] = _session(key, "SSRC_ANY_INBOUND")
        self.inbound[row] = True
        self._resumed.pop(row, None)
        if resumed:
            self._resumed[row] = key, _SEARCHES_MAX

    def set_outbound(self, row: int, key: CryptoAttribute) -> None:
        """Send SRTP under our key on `row`. Raises `NotSupported` without the library."""
        self._outbound[row] = _session(key, "SSRC_ANY_OUTBOUND")
        self.outbound[row] = True

    def clear(self, row: int) -> None:
        """Forget the keys and counters of `row`."""
        self._inbound.pop(row, None)
        self._outbound.pop(row, None)
        self._resumed.pop(row, None)
        self.inbound[row] = self.outbound[row] = False
        self.bad_tags[row] = self.replays[row] = self.broken[row] = 0

    def unprotect(
        self,
        rows: NDArray[np.integer],
        batch: NDArray[np.uint8],
        lengths: NDArray[np.integer],
        *,
        rtcp: bool = False,
    ) -> NDArray[np.bool_]:
        """Check and decrypt N packets in place: `batch` (N, W) uint8, `lengths` (N,) octets.

        Returns (N,) bools: genuine, or of a row without keys. `lengths` shrinks by what was
        removed; a row that is refused keeps its octets and must not be used.
        """
        good = np.ones(len(rows), np.bool_)
        for at in np.flatnonzero(self.inbound[rows]).tolist():
            row = int(rows[at])
            session = self._inbound[row]
            packet = batch[at, : int(lengths[at])].tobytes()
            plain = self._open(row, session.unprotect_rtcp if rtcp else session.unprotect, packet)
            if self._resumed and not rtcp and row in self._resumed:
                plain = self._resume(row, packet, plain)
            if plain is None:
                good[at] = False
                continue
            batch[at, : len(plain)] = np.frombuffer(plain, np.uint8)
            lengths[at] = len(plain)
        return good

    def _resume(self, row: int, packet: bytes, plain: bytes | None) -> bytes | None:
        """The first packets of a row that was `resumed`: `plain`, or what is found to be it."""
        key, left = self._resumed.pop(row)
        if plain is not None or len(packet) < _RTP_HEADER_OCTETS:
            return plain
        found = _wrapped(key, packet)
        if found is not None:
            self._inbound[row], plain = found
        elif left > 1:
            self._resumed[row] = key, left - 1
        return plain

    def _open(self, row: int, method: Any, packet: bytes) -> bytes | None:
        if not 8 <= len(packet) <= _PACKET_OCTETS_MAX:
            self.broken[row] += 1
            return None
        try:
            plain: bytes = method(packet)
        except _library().Error as error:
            if "authentication" in str(error):
                self.bad_tags[row] += 1
            elif "replay" in str(error) or "index" in str(error):
                self.replays[row] += 1
            else:
                self.broken[row] += 1
            return None
        return plain

    def protect(
        self,
        rows: NDArray[np.integer],
        batch: NDArray[np.uint8],
        lengths: NDArray[np.integer],
        *,
        rtcp: bool = False,
    ) -> NDArray[np.bool_]:
        """Encrypt and tag N packets in place; W leaves `TRAILER_OCTETS_MAX` behind each packet.

        Returns (N,) bools: may be sent. False: the packet could not be protected, and must not go
        out in the clear. `lengths` grows by what was added.
        """
        good = np.ones(len(rows), np.bool_)
        for at in np.flatnonzero(self.outbound[rows]).tolist():
            row = int(rows[at])
            session = self._outbound[row]
            packet = batch[at, : int(lengths[at])].tobytes()
            sealed = self._open(row, session.protect_rtcp if rtcp else session.protect, packet)
            if sealed is None or len(sealed) > batch.shape[1]:
                good[at] = False
                continue
            batch[at, : len(sealed)] = np.frombuffer(sealed, np.uint8)
            lengths[at] = len(sealed)
        return good

    def snapshot(self) -> dict[str, int]:
        """Return the number of keyed rows and the sums of the counters."""
        return {
            "inbound": len(self._inbound),
            "outbound": len(self._outbound),
            "bad_tags": int(self.bad_tags.sum()),
            "replays": int(self.replays.sum()),
            "broken": int(self.broken.sum()),
        }


def _wrapped(key: CryptoAttribute, packet: bytes) -> tuple[Any, bytes] | None:
    """Return an inbound context under which `packet` is genuine, and the packet opened, for a far end
    whose sequence numbers may have wrapped.

    The roll-over counter goes into tag and key stream (RFC 3711 3.3.1), but is not sent. Nor can
    libsrtp be told of it by `pylibsrtp`; so both ends are played, under the key they share, step by step
    until the packet fits. A packet that fits nowhere costs some milliseconds.
    """
    error = _library().Error
    sender, receiver = _session(key, "SSRC_ANY_OUTBOUND"), _session(key, "SSRC_ANY_INBOUND")
    for index in range(0, _ROLLOVERS_MAX << 16, _STRIDE):
        step = b"\x80\0" + (index & 0xFFFF).to_bytes(2, "big") + bytes(4) + packet[8:12]
        try:
            receiver.unprotect(sender.protect(step))
            return receiver, receiver.unprotect(packet)
        except error:
            continue
    return None


def _session(key: CryptoAttribute, direction: str) -> Any:
    library = _library()
    try:
        policy = library.Policy(
            key=key.master,
            ssrc_type=getattr(library.Policy, direction),
            srtp_profile=getattr(library.Policy, key.suite.profile),
        )
        policy.window_size = key.window
        return library.Session(policy)
    except library.Error as error:
        raise NotSupported(f"libsrtp refuses {key.suite.name}: {error}") from None
