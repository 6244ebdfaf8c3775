"""Digest authentication, both sides (RFC 7616, RFC 8760, RFC 3261 22).

Server: `NonceBox` signs nonces, so that a challenge costs no memory; `Authenticator` joins nonce,
look-up and comparison so that an unknown user costs the same work and gets the same octets as a
known one. Client: `answer_challenge`, for credentials somebody configured and for nothing else.
Supported: SHA-256 and MD5, qop "auth" or none. Not supported: auth-int, -sess, userhash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from softswitch.errors import LocalProtocolError, RemoteProtocolError
from softswitch.sip.credentials import Credentials
from softswitch.sip.grammar import LWS, QUOTED, TOKEN, quote, unquote
from softswitch.sip.tel import is_tel, number_of
from softswitch.sip.uri import SipUri

ALGORITHMS: Final = ("SHA-256", "MD5")
"""In the order we offer them: the better first (RFC 8760 2.4)."""

_DIGEST: Final = re.compile(r"[dD][iI][gG][eE][sS][tT][ \t]++")
_PARAM: Final = re.compile(
    rf"({TOKEN.pattern})[ \t]*+=[ \t]*+({QUOTED.pattern}|{TOKEN.pattern})[ \t]*+(?:,[ \t]*+|\Z)",
    re.DOTALL,
)
_NC: Final = re.compile(r"[0-9a-fA-F]{8}")
_HEX: Final = re.compile(r"[0-9a-fA-F]{32,64}")
PARAMS_MAX: Final = 32
_CREDENTIALS: Final = frozenset({"username", "realm", "nonce", "uri", "response"})
_NONCE: Final = re.compile(r"([0-9a-f]{12})([0-9a-f]{8})([0-9a-f]{32})")
_STAMP_DIGITS: Final = 20


def _parse_digest(value: str) -> dict[str, str] | None:
    """The parameters of ``Digest name=value, ...``, names in lower case, values unquoted.

    None for another scheme and for anything malformed, a repeated parameter included.
    """
    scheme = _DIGEST.match(value)
    if scheme is None:
        return None
    found: dict[str, str] = {}
    position, end = scheme.end(), len(value)
    while position < end:
        param = _PARAM.match(value, position)
        if param is None:
            return None
        name, content = param.groups()
        name = name.lower()
        if name in found or len(found) == PARAMS_MAX:
            return None
        found[name] = unquote(content)
        position = param.end()
    return found


def _algorithm(text: str | None) -> str | None:
    if text is None:
        return "MD5"  # RFC 7616 3.3: what an absent parameter means
    upper = text.upper() if text.isascii() else ""
    return upper if upper in ALGORITHMS else None


def _hash(algorithm: str, *parts: str) -> str:
    data = ":".join(parts).encode("utf-8", "surrogateescape")
    if algorithm == "SHA-256":
        return hashlib.sha256(data).hexdigest()
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def ha1(username: str, realm: str, password: str, algorithm: str = "SHA-256") -> str:
    """H(username:realm:password) in lower-case hex: what a server may store instead of passwords."""
    return _hash(algorithm, username, realm, password)


def digest_response(
    ha1_hex: str,
    method: str,
    uri: str,
    nonce: str,
    *,
    algorithm: str = "SHA-256",
    qop: str | None = "auth",
    nc: str = "00000001",
    cnonce: str = "",
) -> str:
    """The response value of RFC 7616 3.4.1; with `qop` None that of RFC 2069."""
    ha2 = _hash(algorithm, method, uri)
    if qop is None:
        return _hash(algorithm, ha1_hex, nonce, ha2)
    return _hash(algorithm, ha1_hex, nonce, nc, cnonce, qop, ha2)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A WWW-Authenticate or Proxy-Authenticate value; `qop` empty where none was offered."""

    realm: str
    nonce: str
    algorithm: str = "SHA-256"
    qop: tuple[str, ...] = ("auth",)
    stale: bool = False
    opaque: str | None = None

    @classmethod
    def parse(cls, value: str) -> Challenge | None:
        """None for what is no Digest challenge, is malformed or names another algorithm."""
        found = _parse_digest(value)
        if found is None or "realm" not in found or "nonce" not in found:
            return None
        algorithm = _algorithm(found.get("algorithm"))
        if algorithm is None:
            return None
        offered = found.get("qop", "")
        return cls(
            found["realm"],
            found["nonce"],
            algorithm,
            tuple(word.strip(LWS).lower() for word in offered.split(",") if word.strip(LWS)),
            found.get("stale", "").lower() == "true",
            found.get("opaque"),
        )

    def __str__(self) -> str:
        parts = [f"realm={quote(self.realm)}", f"nonce={quote(self.nonce)}"]
        if self.opaque is not None:
            parts.append(f"opaque={quote(self.opaque)}")
        parts.append(f"algorithm={self.algorithm}")
        if self.qop:
            parts.append(f'qop="{",".join(self.qop)}"')
        if self.stale:
            parts.append("stale=true")
        return "Digest " + ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Authorization:
    """An Authorization or Proxy-Authorization value; `nc` None where no qop was used."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str = "MD5"
    qop: str | None = None
    nc: int | None = None
    cnonce: str = ""
    opaque: str | None = None

    def __str__(self) -> str:
        parts = [
            f"username={quote(self.username)}",
            f"realm={quote(self.realm)}",
            f"nonce={quote(self.nonce)}",
            f"uri={quote(self.uri)}",
            f'response="{self.response}"',
            f"algorithm={self.algorithm}",
        ]
        if self.qop is not None:
            count = f"{self.nc or 0:08x}"
            parts += [f"qop={self.qop}", f"nc={count}", f"cnonce={quote(self.cnonce)}"]
        if self.opaque is not None:
            parts.append(f"opaque={quote(self.opaque)}")
        return "Digest " + ", ".join(parts)


def parse_authorization(value: str) -> Authorization | None:
    """Parse credentials.

    None for another scheme (RFC 4475 3.3.7: as if there were none), for anything malformed and for
    an algorithm or qop we never offered.
    """
    found = _parse_digest(value)
    if found is None:
        return None
    algorithm = _algorithm(found.get("algorithm"))
    if algorithm is None or not found.keys() >= _CREDENTIALS:
        return None
    if _HEX.fullmatch(found["response"]) is None:
        return None
    qop, nc = found.get("qop"), None
    if qop is not None:
        count = found.get("nc", "")
        if qop.lower() != "auth" or not found.get("cnonce") or _NC.fullmatch(count) is None:
            return None
        nc = int(count, 16)
    return Authorization(
        found["username"],
        found["realm"],
        found["nonce"],
        found["uri"],
        found["response"].lower(),
        algorithm,
        qop,
        nc,
        found.get("cnonce", ""),
        found.get("opaque"),
    )


# -- server side ------------------------------------------------------------------------------


class NonceState(Enum):
    """What `NonceBox` thinks of a nonce."""

    OK = "ok"
    STALE = "stale"
    BAD = "bad"


class NonceBox:
    """Issues nonces that carry their own proof, and remembers only those that were used well.

    A nonce is time, serial number and an HMAC over both and the source it was given to: 52 hex
    digits, always. It is good for `lifetime_s` and from that source only. `claim` demands that nc
    rises strictly; at most `used_max` nonces are remembered, and forgetting one early makes all
    nonces issued up to then stale: a full memory can cost a retry, never admit a replay.
    """

    __slots__ = ("_floor_ms", "_lifetime_ms", "_secret", "_serial", "_used", "_used_max")

    def __init__(self, secret: bytes, *, lifetime_s: float = 60.0, used_max: int = 65_536) -> None:
        self._secret = secret
        self._lifetime_ms = int(lifetime_s * 1000)
        self._used: dict[int, int] = {}  # by time and serial number
        self._used_max = used_max
        self._serial = 0
        self._floor_ms = -1

    def issue(self, now_s: float, source: str) -> str:
        """A fresh nonce for `source` (its IP address in text)."""
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        stamp = f"{int(now_s * 1000) & 0xFFFFFFFFFFFF:012x}{self._serial:08x}"
        return stamp + self._mac(stamp, source)

    def _mac(self, stamp: str, source: str) -> str:
        text = f"{stamp}:{source}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._secret, text, "sha256")[:16].hex()

    def verify(self, nonce: str, now_s: float, source: str) -> NonceState:
        """BAD: not ours or not for `source`; STALE: ours once; OK."""
        match = _NONCE.fullmatch(nonce)
        if match is None:
            return NonceState.BAD
        stamp, mac = nonce[:_STAMP_DIGITS], match.group(3)
        if not hmac.compare_digest(mac, self._mac(stamp, source)):
            return NonceState.BAD
        issued_ms = int(match.group(1), 16)
        age_ms = int(now_s * 1000) - issued_ms
        if not 0 <= age_ms <= self._lifetime_ms or issued_ms <= self._floor_ms:
            return NonceState.STALE
        return NonceState.OK

    def claim(self, nonce: str, nc: int | None, now_s: float) -> bool:
        """Use a verified nonce once more, after the digest was found right.

        False when `nc` is not above the last one; None (no qop) may be used once.
        """
        count = 1 if nc is None else nc
        stamp = int(nonce[:_STAMP_DIGITS], 16)
        last = self._used.get(stamp)
        if count < 1 or (last is not None and (nc is None or count <= last)):
            return False
        self._forget(now_s)
        self._used[stamp] = count if nc is not None else 0xFFFFFFFF
        return True

    def check(self, nonce: str, nc: int | None, now_s: float, source: str) -> NonceState:
        """`verify` and `claim` in one, for callers that have checked the digest before."""
        state = self.verify(nonce, now_s, source)
        if state is NonceState.OK and not self.claim(nonce, nc, now_s):
            return NonceState.STALE
        return state

    def _forget(self, now_s: float) -> None:
        oldest_ms = int(now_s * 1000) - self._lifetime_ms
        while self._used:
            stamp = next(iter(self._used))
            issued_ms = stamp >> 32
            if issued_ms >= oldest_ms and len(self._used) < self._used_max:
                return
            if issued_ms >= oldest_ms:
                self._floor_ms = max(self._floor_ms, issued_ms)
            del self._used[stamp]

    def snapshot(self) -> dict[str, int]:
        """How many nonces are remembered."""
        return {"nonces": len(self._used)}


class AuthVerdict(Enum):
    """ABSENT: no credentials for our realm; WRONG: to be counted; STALE: right but too late."""

    OK = "ok"
    ABSENT = "absent"
    STALE = "stale"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class AuthResult:
    """`username` is what was claimed, proven only with verdict OK. `answered`: the nonce was given to
    this very source and is fresh, so the sender is really there."""

    verdict: AuthVerdict
    username: str | None = None
    answered: bool = False

    @property
    def ok(self) -> bool:
        """The user is who he says."""
        return self.verdict is AuthVerdict.OK


_ABSENT: Final = AuthResult(AuthVerdict.ABSENT)


class Authenticator:
    """Checks credentials against stored HA1 values and writes challenges.

    Parameters: `realm`; `secret`, at least 16 random octets; `ha1_of(username, algorithm)`, the
    hex HA1 or None for an unknown user; `algorithms` are offered in this order and no other is
    taken.
    """

    __slots__ = ("_algorithms", "_ha1_of", "_nonces", "_realm", "_secret")

    def __init__(
        self,
        realm: str,
        secret: bytes,
        ha1_of: Callable[[str, str], str | None],
        *,
        algorithms: Sequence[str] = ALGORITHMS,
        lifetime_s: float = 60.0,
        used_max: int = 65_536,
    ) -> None:
        if not algorithms or not set(algorithms) <= set(ALGORITHMS):
            raise LocalProtocolError(f"digest algorithms are {', '.join(ALGORITHMS)}")
        self._realm = realm
        self._secret = secret
        self._ha1_of = ha1_of
        self._algorithms = tuple(algorithms)
        self._nonces = NonceBox(secret, lifetime_s=lifetime_s, used_max=used_max)

    def challenges(self, now_s: float, source: str, *, stale: bool = False) -> list[str]:
        """The challenge header values, most wanted algorithm first, one header line each."""
        nonce = self._nonces.issue(now_s, source)
        return [str(Challenge(self._realm, nonce, name, stale=stale)) for name in self._algorithms]

    def check(
        self, values: Iterable[str], method: str, uri: str, now_s: float, source: str
    ) -> AuthResult:
        """Judge the Authorization lines `values` of a request `method uri` from `source`.

        Known or unknown user, good or bad nonce: one look-up, one digest, one comparison. A
        guess with an old nonce is WRONG rather than STALE: only the owner of the password learns
        that it was the nonce.
        """
        credentials = next(
            (
                c
                for c in map(parse_authorization, values)
                if c and c.realm == self._realm and c.algorithm in self._algorithms
            ),
            None,
        )
        if credentials is None:
            return _ABSENT
        name = credentials.username
        known = self._ha1_of(name, credentials.algorithm)
        stored = self._fake_ha1(name, credentials.algorithm)
        if known is not None:
            stored = known
        expected = digest_response(
            stored,
            method,
            credentials.uri,
            credentials.nonce,
            algorithm=credentials.algorithm,
            qop=credentials.qop,
            nc=f"{credentials.nc or 0:08x}",
            cnonce=credentials.cnonce,
        )
        # Both are lower-case hex by construction: compare_digest takes ASCII text only.
        right = hmac.compare_digest(expected, credentials.response)
        state = self._nonces.verify(credentials.nonce, now_s, source)
        if not (right and known is not None and _same_target(credentials.uri, uri)):
            return AuthResult(AuthVerdict.WRONG, name, state is NonceState.OK)
        if state is NonceState.OK and self._nonces.claim(credentials.nonce, credentials.nc, now_s):
            return AuthResult(AuthVerdict.OK, name, True)
        return AuthResult(AuthVerdict.STALE, name)

    def _fake_ha1(self, username: str, algorithm: str) -> str:
        text = f"{algorithm}:{username}".encode("utf-8", "surrogateescape")
        octets = hmac.digest(self._secret, text, "sha256").hex()
        return octets if algorithm == "SHA-256" else octets[:32]

    def snapshot(self) -> dict[str, int]:
        """How much is remembered."""
        return self._nonces.snapshot()


def _same_target(digest_uri: str, request_uri: str) -> bool:
    """Whether the digest was made for the Request-URI; what phones make of it is allowed.

    Parameters may differ: proxies and phones add them. Some phones (pyVoIP) always write the server
    without a user, which is all that a tel: of theirs can be held against. The nonce is good for one
    request either way.
    """
    if digest_uri == request_uri:
        return True
    try:
        if is_tel(
            request_uri
        ):  # a telephone that calls its server by name (above), or writes the same otherwise
            return number_of(digest_uri) in ("", number_of(request_uri))
        theirs = SipUri.parse(digest_uri).without_params()
        ours = SipUri.parse(request_uri).without_params()
    except RemoteProtocolError:
        return False
    return theirs.equivalent(ours) or (theirs.username is None and theirs.host == ours.host)


# -- client side ------------------------------------------------------------------------------


def answer_challenge(
    challenges: Sequence[str],
    credentials: Credentials,
    method: str,
    uri: str,
    *,
    cnonce: str,
    nc: int = 1,
) -> str | None:
    """The Authorization value for the first of `challenges` we can and may answer, or None.

    `challenges` are the WWW-Authenticate (or Proxy-Authenticate) lines in the order received: the
    server's preference (RFC 8760 2.4). A challenge of a realm that the credentials are not for is
    not answered. `cnonce` is random text of the caller; `nc` counts requests with the same nonce.
    """
    for value in challenges:
        challenge = Challenge.parse(value)
        if challenge is None or not credentials.are_for(challenge.realm):
            continue
        if challenge.qop and "auth" not in challenge.qop:
            continue
        qop = "auth" if challenge.qop else None
        secret = ha1(
            credentials.username, challenge.realm, credentials.password, challenge.algorithm
        )
        response = digest_response(
            secret,
            method,
            uri,
            challenge.nonce,
            algorithm=challenge.algorithm,
            qop=qop,
            nc=f"{nc:08x}",
            cnonce=cnonce,
        )
        return str(
            Authorization(
                credentials.username,
                challenge.realm,
                challenge.nonce,
                uri,
                response,
                challenge.algorithm,
                qop,
                nc if qop else None,
                cnonce if qop else "",
                challenge.opaque,
            )
        )
    return None
