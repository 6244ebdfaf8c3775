"""Logging in at an issuer: a small one of our own on loopback, honest and otherwise."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

jwt = pytest.importorskip("joserfc.jwt")
from joserfc.jwk import KeySet, RSAKey  # noqa: E402

KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
OTHER = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
PUBLIC = "http://pbx.example"


class FakeIssuer:
    """Gives codes to whoever asks, and tokens for codes. `change` alters the claims; `sign` the token."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.key, self.alg = KEY, "RS256"
        self.lies: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[dict[str, str]] = []
        self.status = 200
        self.discovered = 0
        self.told: dict[str, Any] = {"sub": "1"}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                bearer = self.headers.get("Authorization", "")
                self._answer(issuer.get(self.path, bearer))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = dict(urllib.parse.parse_qsl(body))
                self._answer(issuer.token(form, self.headers.get("Authorization", "")))

            def _answer(self, found: Any) -> None:
                self.send_response(issuer.status)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def get(self, path: str, bearer: str = "") -> Any:
        if path == "/me":
            return self.told if bearer == "Bearer acce55" else {}
        if path.endswith("/openid-configuration"):
            self.discovered += 1
            return {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "userinfo_endpoint": f"{self.url}/me",
                **self.lies,
            }
        return KeySet([KEY]).as_dict(private=False)

    def authorize(self, url: str) -> dict[str, str]:
        """What the browser is sent back with."""
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        assert query["response_type"] == "code"
        self.codes["c0de"] = query
        return {"code": "c0de", "state": query["state"]}

    def token(self, form: dict[str, str], authorization: str) -> Any:
        self.asked.append(form)
        begun = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        pair = base64.b64encode(b"pbx:se%2Fcret").decode()
        if (
            begun is None
            or begun["code_challenge"] != challenge
            or authorization != f"Basic {pair}"
        ):
            return {"error": "invalid_grant"}
        now_s = int(time.time())
        claims = {
            "iss": self.url,
            "aud": "pbx",
            "sub": "1",
            "iat": now_s,
            "exp": now_s + 60,
            "nonce": begun["nonce"],
            "preferred_username": "wu",
            "name": "Wu Lei",
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not ...}
        header = {"alg": self.alg, "kid": "one"}
        token = jwt.encode(header, claims, self.key, algorithms=[self.alg])
        return {"id_token": token, "access_token": "acce55"}


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    made = FakeIssuer()
    yield made
    made.close()


def office(issuer: FakeIssuer) -> str:
    return f"""
[oidc]
issuer = "{issuer.url}"
client_id = "pbx"
client_secret = "se/cret"
public_url = "{PUBLIC}"
roles = {{ leads = "supervisor", staff = "agent" }}
"""


async def log_in(client: Any, issuer: FakeIssuer, expect: int = 302, **change: str) -> Any:
    begun = await client.http.get("/api/v1/session/oidc")
    assert begun.status_code == 302
    assert "SameSite=lax" in begun.headers["set-cookie"]
    back = {**issuer.authorize(begun.headers["location"]), **change}
    answer = await client.http.get("/api/v1/session/oidc/callback", params=back)
    assert answer.status_code == expect, answer.text
    return answer


async def test_an_agent_and_a_new_user(tmp_path: Any, running_api: Any, issuer: FakeIssuer) -> None:
    async with running_api(tmp_path, office(issuer)) as api:
        agent = api.client()
        issuer.claims = {"preferred_username": "lilei"}
        answer = await log_in(agent, issuer)
        assert answer.headers["location"] == "/"
        assert "SameSite=strict" in answer.headers["set-cookie"]
        me = await agent.get("/session")
        assert (me["name"], me["role"], me["kind"]) == ("lilei", "agent", "agent")
        leader = api.client()
        issuer.claims = {"groups": ["staff", "leads", "other"]}
        await log_in(leader, issuer)
        me = await leader.get("/session")
        assert (me["name"], me["role"], me["kind"]) == ("wu", "supervisor", "user")
        await api.client().log_in("wu", "!", 401)
        issuer.claims = {"preferred_username": "stranger", "groups": ["other"]}
        await log_in(api.client(), issuer, 403)


async def test_what_the_id_token_does_not_say_is_asked_for(
    tmp_path: Any, running_api: Any, issuer: FakeIssuer
) -> None:
    """Many issuers say in the ID token who it is for and no more (OpenID Connect Core 1.0 5.4)."""
    async with running_api(tmp_path, office(issuer)) as api:
        issuer.claims = {"preferred_username": ..., "name": ...}
        issuer.told = {"sub": "1", "preferred_username": "wu", "groups": ["leads"]}
        leader = api.client()
        await log_in(leader, issuer)
        me = await leader.get("/session")
        assert (me["name"], me["role"]) == ("wu", "supervisor")
        issuer.claims = {"preferred_username": "lilei"}  # what is signed counts first
        agent = api.client()
        await log_in(agent, issuer)
        assert (await agent.get("/session"))["name"] == "lilei"
        issuer.claims = {"preferred_username": ...}
        issuer.told = {"sub": "2", "preferred_username": "wu", "groups": ["leads"]}
        await log_in(api.client(), issuer, 503)
        issuer.told = {"sub": "1"}
        await log_in(api.client(), issuer, 403)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "somebody"},
        {"aud": ["pbx", "other"]},
        {"aud": None},
        {"exp": 1_000},
        {"iat": 99_999_999_999},
        {"nonce": "another"},
        {"nonce": None},
        {"sub": None},
    ],
)
async def test_a_token_that_does_not_fit_lets_nobody_in(
    tmp_path: Any, running_api: Any, issuer: FakeIssuer, claims: dict[str, Any]
) -> None:
    async with running_api(tmp_path, office(issuer)) as api:
        issuer.claims = {"preferred_username": "lilei", **claims}
        await log_in(api.client(), issuer, 400)


async def test_forged_and_replayed_answers(
    tmp_path: Any, running_api: Any, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_api(tmp_path, office(issuer)) as api:
        issuer.claims = {"preferred_username": "lilei"}
        issuer.key = OTHER
        await log_in(api.client(), issuer, 400)
        issuer.key = KEY
        client = api.client()
        await log_in(client, issuer, 400, state="another")
        await log_in(client, issuer, 503, code="another")
        stranger = await api.client().http.get(
            "/api/v1/session/oidc/callback", params={"code": "c0de", "state": "x"}
        )
        assert stranger.status_code == 400
        await log_in(client, issuer, 400, error="access_denied")
        await log_in(client, issuer, 400, iss="https://evil.example")
        await log_in(client, issuer, 302, iss=issuer.url)
        issuer.lies = {"issuer": "https://evil.example"}
        api.service.issuer = None
        assert (await api.client().http.get("/api/v1/session/oidc")).status_code == 503
        discovered = issuer.discovered
        for _ in range(5):  # who asks again and again lets no thread wait for the issuer
            assert (await api.client().http.get("/api/v1/session/oidc")).status_code == 503
        assert issuer.discovered == discovered
        monkeypatch.setattr(api.service.issuer, "_again_at_s", 0.0)
        assert (await api.client().http.get("/api/v1/session/oidc")).status_code == 503
        assert issuer.discovered == discovered + 1
        api.service.issuer = None
        issuer.lies = {"token_endpoint": "http://169.254.169.254/token"}
        await log_in(api.client(), issuer, 503)


async def test_it_is_not_there_unless_it_is_configured(api: Any) -> None:
    assert (await api.client().http.get("/api/v1/session/oidc")).status_code == 404
