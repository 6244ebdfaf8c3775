"""Logging in at somebody else's: OpenID Connect, authorization code with PKCE (RFC 6749, RFC 7636, OpenID
Connect Core 1.0 3.1). What the issuer says is believed only as far as its signature goes, and only about
who somebody is: users are made here, or by the roles that the office file gives to the issuer's groups."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softswitch.api.problem import Refused
from softswitch.errors import Unreachable

if TYPE_CHECKING:
    from softswitch.api.sessions import Sessions
    from softswitch.config.office import Oidc

STATE_COOKIE = "softswitch_oidc"
STATE_LASTS_S = 600.0
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""None that needs the client's secret to verify: `none` and HMAC are not among them."""

_ANSWER_OCTETS_MAX = 1 << 20
_TIMEOUT_S = 10.0
REST_S = 5.0
"""After which an issuer that did not answer is asked again."""
_KEYS_FRESH_S = 3_600.0
_LEEWAY_S = 60


class IssuerError(Unreachable):
    """The issuer cannot be asked, or answers nonsense."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser is to go, and the cookie that proves on its return that it was this one."""

    url: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who came back: his name here, as he is called, and the groups that the issuer puts him in."""

    name: str
    full_name: str
    groups: tuple[str, ...]


class Issuer:
    """One issuer. `begin` and `finish` block for as long as it takes to ask it."""

    def __init__(self, config: Oidc, sessions: Sessions) -> None:
        self.config = config
        self._sessions = sessions
        self._found: dict[str, Any] = {}
        self._keys: Any = None
        self._keys_at_s = 0.0
        self._again_at_s = 0.0
        self._asking = threading.Lock()

    def begin(self, redirect_uri: str, now_s: float) -> Begun:
        """Send somebody to log in. Raises `IssuerError`."""
        verifier, state, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = _challenge(verifier)
        query = {
            "response_type": "code",
            "client_id": self.config.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self.config.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        where = self._discovered()["authorization_endpoint"]
        glue = "&" if "?" in where else "?"
        held = {"state": state, "nonce": nonce, "verifier": verifier, "at_s": now_s}
        url = f"{where}{glue}{urllib.parse.urlencode(query)}"
        return Begun(url, self._sessions.sign("oidc", held))

    def finish(self, code: str, state: str, cookie: str, redirect_uri: str, now_s: float) -> Person:
        """He is back with a code: who he is. Raises `Refused` (400) for what does not fit, `IssuerError`."""
        held = self._sessions.open_signed("oidc", cookie)
        if held is None or not 0 <= now_s - held["at_s"] < STATE_LASTS_S:
            raise Refused(400, "this log-in was not begun here, or too long ago: begin again")
        if not hmac.compare_digest(held["state"].encode(), state.encode()):
            raise Refused(400, "this is the answer to another log-in: begin again")
        answer = self._exchange(code, held["verifier"], redirect_uri)
        claims = self._verified(answer["id_token"], held["nonce"], now_s)
        return self._person(self._completed(claims, answer))

    # -- the token ---------------------------------------------------------------------------------

    def _exchange(self, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self.config.client_id,
            "code_verifier": verifier,
        }
        # RFC 6749 2.3.1: both parts are form-encoded first.
        pair = ":".join(
            urllib.parse.quote_plus(part)
            for part in (self.config.client_id, self.config.client_secret or "")
        )
        headers = {}
        if self.config.client_secret:
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        data = urllib.parse.urlencode(form).encode()
        answer = self._ask(self._discovered()["token_endpoint"], data, headers)
        if not isinstance(answer.get("id_token"), str):
            raise IssuerError("the issuer gave no ID token")
        return answer

    def _verified(self, token: str, nonce: str, now_s: float) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(now_s),
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self.config.issuer},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        for fresh in (False, True):  # a key that is not known may be new
            try:
                found = jwt.decode(token, self._key_set(now_s, fresh), algorithms=list(ALGORITHMS))
                break
            except (JoseError, ValueError) as error:
                if fresh:
                    raise Refused(400, f"the ID token is not good: {_words(error)}") from None
        claims = dict(found.claims)
        try:
            registry.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            raise Refused(400, f"the ID token is not good: {_words(error)}") from None
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if self.config.client_id not in audiences:
            raise Refused(400, "the ID token is for somebody else")
        if len(audiences) > 1 and claims.get("azp") != self.config.client_id:
            raise Refused(400, "the ID token is for several, and not ours")
        return claims

    def _completed(self, claims: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """With what the issuer says of him only when it is asked with the access token: that is where the
        claims of a scope are by the standard (OpenID Connect Core 1.0 5.4), though many put them into the
        ID token too. What that says counts first, for it is signed. Raises `IssuerError`."""
        config, token = self.config, answer.get("access_token")
        needed = [config.name_claim, *([config.groups_claim] if config.roles else ())]
        where = self._discovered().get("userinfo_endpoint")
        asked = isinstance(where, str) and isinstance(token, str) and token.isascii()
        if not asked or all(name in claims for name in needed):
            return claims
        told = self._ask(str(where), None, {"Authorization": f"Bearer {token}"})
        if told.get("sub") != claims["sub"]:  # 5.3.2: it may be of somebody else
            raise IssuerError("the issuer tells of another person than its ID token")
        return {**told, **claims}

    def _person(self, claims: dict[str, Any]) -> Person:
        name = claims.get(self.config.name_claim)
        if not isinstance(name, str) or not name or len(name) > 64:
            raise Refused(403, f"the issuer does not say who that is ({self.config.name_claim})")
        if claims.get("email_verified") is False and self.config.name_claim == "email":
            raise Refused(403, "the issuer has not verified this address")
        groups = claims.get(self.config.groups_claim) or ()
        if isinstance(groups, str):
            groups = (groups,)
        return Person(name, str(claims.get("name") or "")[:128], tuple(map(str, groups))[:256])

    # -- the issuer --------------------------------------------------------------------------------

    def _discovered(self) -> dict[str, Any]:
        """What the issuer says of itself, asked once. Anybody may have it asked: one that does not answer holds
        up one thread, and only now and then."""
        if self._found:
            return self._found
        if time.monotonic() < self._again_at_s or not self._asking.acquire(blocking=False):
            raise IssuerError("the issuer does not answer: try again in a moment")
        try:
            self._found = self._discover()
        except IssuerError:
            self._again_at_s = time.monotonic() + REST_S
            raise
        finally:
            self._asking.release()
        return self._found

    def _discover(self) -> dict[str, Any]:
        issuer = self.config.issuer.rstrip("/")
        found = self._ask(f"{issuer}/.well-known/openid-configuration")
        if found.get("issuer") != self.config.issuer:
            raise IssuerError(f"{issuer} says that it is {str(found.get('issuer'))[:128]}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(found.get(name), str):
                raise IssuerError(f"{issuer} does not say its {name}")
        return found

    def _key_set(self, now_s: float, fresh: bool) -> Any:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        if self._keys is None or fresh or now_s - self._keys_at_s > _KEYS_FRESH_S:
            try:
                found: Any = self._ask(self._discovered()["jwks_uri"])
                self._keys = KeySet.import_key_set(found)
            except (JoseError, ValueError, KeyError, TypeError):
                raise IssuerError("the issuer's keys cannot be read") from None
            self._keys_at_s = now_s
        return self._keys

    def _ask(
        self, url: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        if not _allowed(url):
            raise IssuerError(f"{url[:128]} is not https")
        request = urllib.request.Request(
            url, data, {"Accept": "application/json", **(headers or {})}
        )
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as answer:
                text = answer.read(_ANSWER_OCTETS_MAX + 1)
            found = json.loads(text) if len(text) <= _ANSWER_OCTETS_MAX else None
        except urllib.error.HTTPError as error:
            raise IssuerError(f"the issuer answered {error.code}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise IssuerError(f"the issuer cannot be asked: {error}") from None
        if not isinstance(found, dict):
            raise IssuerError("the issuer's answer cannot be read")
        return found


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _allowed(url: str) -> bool:
    """https; plain http on this machine only."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    )


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:128]
