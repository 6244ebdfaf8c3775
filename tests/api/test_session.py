"""Logging in: cookies, forged requests, guesses, tokens, roles."""

from __future__ import annotations

from typing import Any

import pytest

from softswitch.api.accounts import LOCAL_MAX
from softswitch.api.attempts import (
    ACCOUNT_TRIES,
    SOURCE_EVERY_S,
    SOURCE_TRIES,
    Attempts,
    asker,
)
from softswitch.api.routes.session import DEVICE_COOKIE
from softswitch.api.sessions import (
    COOKIE,
    CSRF_HEADER,
    ENDED_MAX,
    KEY_NAME,
    LASTS_S,
    Sessions,
)
from softswitch.kept_key import OCTETS, kept_key

MARY = ("mary", "console-secret-mary")


async def test_an_agent_of_the_office_file_logs_in_and_out(api: Any) -> None:
    browser = api.client()
    await browser.get("/session", 401)
    found = await browser.log_in(*MARY)
    assert (found["name"], found["role"], found["agent_id"]) == ("mary", "supervisor", "mary")
    assert (await browser.get("/session"))["csrf_token"] == found["csrf_token"]
    await browser.delete("/session")
    await browser.get("/session", 401)


async def test_a_cookie_is_worth_nothing_once_its_session_was_logged_out_of(api: Any) -> None:
    browser, other = api.client(), api.client()
    await browser.log_in(*MARY)
    await other.log_in(*MARY)
    kept = {"Cookie": f"{COOKIE}={browser.http.cookies[COOKIE]}"}
    await browser.get("/session", headers=kept)
    await browser.delete("/session")
    await api.client().get("/session", 401, headers=kept)
    await other.get("/session")
    # Nor after another start, which has it from the audit log.
    await api.service.finish_notes()
    api.service.sessions._ended.clear()
    await api.service.accounts.load()
    await api.client().get("/session", 401, headers=kept)
    await other.get("/session")


@pytest.mark.limit("sessions that were logged out of")
def test_what_is_remembered_of_logged_out_sessions_is_bounded() -> None:
    sessions = Sessions(b"k" * 32)
    first, cookie = sessions.begin("a", "e", 1_000.0)
    sessions.end(first.nonce, 1_000.0)
    for number in range(ENDED_MAX - 1):
        sessions.end(f"n{number}", 1_001.0)
    assert sessions.read(cookie, 1_002.0) is None
    sessions.end("one more", 1_002.0)
    assert sessions.read(cookie, 1_002.0) == first
    sessions.end("much later", 1_003.0 + LASTS_S)
    assert list(sessions._ended) == ["much later"]


async def test_the_cookie_is_for_this_site_and_not_for_scripts(api: Any) -> None:
    browser = api.client()
    answer = await browser.http.post("/api/v1/session", json={"name": MARY[0], "password": MARY[1]})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert MARY[1] not in answer.text + cookie


async def test_a_change_takes_the_token_against_forgeries_and_the_same_origin(api: Any) -> None:
    browser = api.client()
    await browser.log_in(*MARY)
    good = browser.http.headers.pop(CSRF_HEADER)
    await browser.delete("/session", 403)
    await browser.delete("/session", 403, headers={CSRF_HEADER: "0" * 32})
    headers = {CSRF_HEADER: good, "Origin": "http://evil.example"}
    await browser.delete("/session", 403, headers=headers)
    other = api.client()
    await other.log_in(*MARY)
    await browser.delete("/session", 403, headers={CSRF_HEADER: other.http.headers[CSRF_HEADER]})
    await browser.delete(
        "/session", 204, headers={CSRF_HEADER: good, "Origin": "http://pbx.example"}
    )


async def test_nobody_logs_a_visitor_in_from_another_site(api: Any) -> None:
    body = {"name": MARY[0], "password": MARY[1]}
    evil = {"Origin": "http://evil.example"}
    await api.client().post("/session", body, 403, headers=evil)


async def test_unknown_names_and_wrong_passwords_are_not_told_apart(api: Any) -> None:
    await api.service.accounts.add_user(
        "test", name="zhao", role="agent", password_hash=await api.service.accounts.hash("x" * 10)
    )
    answers = []
    for name in ("mary", "zhao", "nobody"):
        body = {"name": name, "password": "wrong"}
        answer = await api.client().http.post("/api/v1/session", json=body)
        answers.append((answer.status_code, answer.content, sorted(answer.headers)))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 401


async def test_guesses_are_slowed_down_and_the_one_who_knows_is_not(api: Any) -> None:
    mary = api.client(client=("10.0.0.1", 1))
    await mary.log_in(*MARY)
    guesser = api.client(client=("10.9.9.9", 1))
    for _ in range(ACCOUNT_TRIES - 1):  # Mary's own was the first
        await guesser.post("/session", {"name": "mary", "password": "guess"}, 401)
    answer = await guesser.http.post("/api/v1/session", json={"name": "mary", "password": MARY[1]})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    await mary.log_in(*MARY)
    stranger = api.client(client=("10.9.9.8", 1))
    await stranger.log_in(*MARY, expect=429)  # this account has been guessed at enough


async def test_nobody_locks_out_a_browser_that_is_known(api: Any) -> None:
    """From elsewhere, too: at home, in the street, behind the address of one who guesses."""

    async def tried(name: str, password: str, device: str = "") -> tuple[int, str]:
        http = api.client(client=("10.9.9.9", 1)).http
        body = {"name": name, "password": password}
        headers = {"Cookie": f"{DEVICE_COOKIE}={device}"} if device else {}
        answer = await http.post("/api/v1/session", json=body, headers=headers)
        return answer.status_code, answer.cookies.get(DEVICE_COOKIE, "")

    office = api.client(client=("10.0.0.1", 1))
    await office.log_in(*MARY)
    device = office.http.cookies[DEVICE_COOKIE]
    for number in range(SOURCE_TRIES):
        await tried("mary", "guess")
        await tried(f"made-up-{number}", "guess")
    assert await tried(*MARY) == (429, "")
    assert await tried("lilei", "console-secret-lilei", device) == (429, ""), "it is Mary's"
    assert await tried(*MARY, device[:-2] + "__") == (429, ""), "forged"
    status, other = await tried(*MARY, device)
    assert (status, other not in ("", device)) == (201, True), "each log-in has one of its own"
    # Whoever has taken the cookie has as many tries as anybody, and does not use up hers.
    stolen = [(await tried("mary", "guess", device))[0] for _ in range(ACCOUNT_TRIES + 1)]
    assert stolen == [401] * ACCOUNT_TRIES + [429]
    assert (await tried(*MARY, other))[0] == 201


@pytest.mark.parametrize(
    ("peer", "said", "found"),
    [
        ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["6.6.6.6, 203.0.113.8"], "203.0.113.8"),
        ("127.0.0.1", ["6.6.6.6", "203.0.113.9, 10.0.0.9"], "203.0.113.9"),
        ("198.51.100.1", ["203.0.113.10"], "198.51.100.1"),
        ("127.0.0.1", ["nonsense"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.7, nonsense"], "127.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("::ffff:127.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("127.0.0.1", ["10.0.0.9"], "10.0.0.9"),
        ("", ["203.0.113.7"], ""),
    ],
)
def test_a_proxy_of_ours_says_who_asks_and_nobody_else_does(
    peer: str, said: list[str], found: str
) -> None:
    assert asker(peer, said, ("127.0.0.1", "10.0.0.9")) == found


async def test_who_guesses_behind_a_proxy_uses_up_his_own_tries(
    tmp_path: Any, running_api: Any
) -> None:
    async with running_api(tmp_path, '[http]\nproxies = ["127.0.0.1"]\n') as api:
        guesser, mary = (
            api.client(client=("127.0.0.1", 1), headers={"X-Forwarded-For": source})
            for source in ("203.0.113.7", "203.0.113.8")
        )
        for number in range(SOURCE_TRIES + 1):
            body = {"name": f"made-up-{number}", "password": "guess"}
            await guesser.post("/session", body, 401 if number < SOURCE_TRIES else 429)
        await mary.log_in(*MARY)
        await api.service.finish_notes()
        (line,) = (
            await (await api.as_role("admin")).get("/audit", params={"action": "logged-in"})
        )["items"]
        assert line["details"]["source"] == "203.0.113.8"


@pytest.mark.limit("who has tried to log in")
def test_attempts_come_back_with_time_and_memory_is_bounded() -> None:
    attempts = Attempts(kept_max=3)
    for _ in range(SOURCE_TRIES):
        assert attempts.wait_s("s", "a", 100.0) == 0
        attempts.begin("s", "a", 100.0)
    assert attempts.wait_s("s", "b", 100.0) == pytest.approx(SOURCE_EVERY_S)
    assert attempts.wait_s("s", "b", 100.0 + SOURCE_EVERY_S) == 0
    for number in range(ACCOUNT_TRIES):
        attempts.begin(f"s{number}", "victim", 100.0)
    assert attempts.wait_s("new", "victim", 100.0) > 0
    attempts.succeeded("friend", "victim")
    assert attempts.wait_s("friend", "victim", 100.0) == 0
    for number in range(10):
        attempts.begin(f"s{number}", f"a{number}", 100.0)
        attempts.succeeded(f"s{number}", f"a{number}")
    assert max(attempts.snapshot().values()) == 3


async def test_made_up_cookies_and_tokens(api: Any) -> None:
    sessions, now_s = api.service.sessions, api.service.clock.wall_s()
    foreign = Sessions(b"x" * 32).begin("mary", "1", now_s)[1]
    old = sessions.begin("mary", "1", now_s - sessions.lasts_s - 1)[1]
    stale = sessions.begin("mary", "another-epoch", now_s)[1]
    gone = sessions.begin("nobody", "", now_s)[1]
    for cookie in (foreign, old, stale, gone, "", "x", "a" * 5_000, foreign[:-4], "=" * 8):
        await api.client().get("/session", 401, headers={"Cookie": f"{COOKIE}={cookie}"})
    for token in ("", "x", "sst_", "sst_a_b", "sst_" + "0" * 12 + "_" + "0" * 48, "\u00ff"):
        value = f"Bearer {token}".encode()
        await api.client().get("/session", 401, headers={"Authorization": value})


async def test_a_good_cookie_does_not_make_up_for_a_bad_token(api: Any) -> None:
    browser = api.client()
    await browser.log_in(*MARY)
    await browser.get("/session", 401, headers={"Authorization": "Bearer nonsense"})
    await browser.get("/session", 401, headers={"Authorization": "Basic bWFyeTp4"})


async def test_a_token_does_what_its_role_and_its_scopes_allow(api: Any) -> None:
    admin = await api.as_role("admin")
    made = await admin.post(
        "/tokens", {"name": "reader", "role": "admin", "scopes": ["users:read"]}
    )
    reader = api.client(made["token"])
    await reader.get("/users")
    await reader.post("/users", {"name": "a", "password": "0123456789"}, 403)
    agent = await api.as_role("agent")
    await agent.get("/users", 403)
    listed = await admin.get("/tokens")
    assert made["token"] not in str(listed)
    await admin.delete(f"/tokens/{made['id']}")
    await reader.get("/users", 401)
    await admin.delete(f"/tokens/{made['id']}", 404)


@pytest.mark.limit("tokens of the command line")
async def test_a_script_may_ask_as_often_as_it_likes(api: Any) -> None:
    accounts = api.service.accounts
    first, *others = [accounts.local_token(f"command {n}") for n in range(LOCAL_MAX)]
    assert accounts.of_token(first).name == "command 0"
    last = accounts.local_token("one more")
    assert accounts.of_token(first) is None
    assert [accounts.of_token(token) for token in (*others, last)].count(None) == 0


async def test_a_token_expires(api: Any) -> None:
    admin = await api.as_role("admin")
    past = api.service.clock.wall_s() - 1
    made = await admin.post(
        "/tokens", {"name": "old", "role": "agent", "scopes": ["*"], "expires_at_s": past}
    )
    await api.client(made["token"]).get("/session", 401)


async def test_users_from_first_start_to_removal(api: Any) -> None:
    accounts = api.service.accounts
    password = await accounts.first_admin()
    assert password is not None
    assert await accounts.first_admin() is None
    browser = api.client()
    found = await browser.log_in("admin", password)
    assert found["must_change"]
    await browser.get("/users", 403)  # not before the password is his own
    change = {"old": "wrong", "new": "correct-horse-1"}
    await browser.ask("PUT", "/session/password", 403, json=change)
    change = {"old": password, "new": "correct-horse-1"}
    await browser.ask("PUT", "/session/password", 204, json=change)
    await browser.get("/session", 401)
    await browser.log_in("admin", password, 401)
    await browser.log_in("admin", "correct-horse-1")

    user = await browser.post("/users", {"name": "zhao", "password": "battery-staple"})
    await browser.post("/users", {"name": "zhao", "password": "battery-staple"}, 409)
    await browser.post("/users", {"name": "mary", "password": "battery-staple"}, 409)
    path = f"/users/{user['id']}"
    answer = await browser.http.get(f"/api/v1{path}")
    etag = answer.headers["etag"]
    await browser.patch(
        path, {"role": "supervisor", "must_change": False}, headers={"If-Match": etag}
    )
    await browser.patch(path, {"role": "agent"}, 412, headers={"If-Match": etag})
    zhao = api.client()
    await zhao.log_in("zhao", "battery-staple")
    await browser.patch(path, {"active": False})
    await zhao.get("/session", 401)
    await zhao.log_in("zhao", "battery-staple", 401)
    await browser.delete(path)
    await browser.get(path, 404)
    own = next(u for u in (await browser.get("/users"))["items"] if u["name"] == "admin")
    await browser.delete(f"/users/{own['id']}", 409)  # the last who may administrate
    await browser.patch(f"/users/{own['id']}", {"role": "agent"}, 409)

    lines = (await browser.get("/audit", params={"object": "user:zhao"}))["items"]
    actions = [line["action"] for line in lines]
    assert actions == ["user-removed", "user-changed", "user-changed", "user-added"]
    assert lines[2]["details"]["role"] == ["agent", "supervisor"]
    assert all(line["actor"] == "user:admin" for line in lines)
    everything = str((await browser.get("/audit"))["items"])
    assert "correct-horse-1" not in everything
    assert "argon2" not in everything


async def test_users_survive_a_restart_and_a_key_is_kept(api: Any) -> None:
    accounts = api.service.accounts
    hashed = await accounts.hash("battery-staple")
    await accounts.add_user("test", name="zhao", role="agent", password_hash=hashed)
    await accounts.load()
    await api.client().log_in("zhao", "battery-staple")
    key = kept_key(api.directory / KEY_NAME)
    assert kept_key(api.directory / KEY_NAME) == key
    (api.directory / "other").write_bytes(key[1:])
    renewed = kept_key(api.directory / "other")
    assert len(renewed) == OCTETS
    assert renewed[:-1] != key[1:]
    assert (api.directory / "session-key").stat().st_mode & 0o777 == 0o600


async def test_pages_of_the_audit_log(api: Any) -> None:
    admin = await api.as_role("admin")
    for number in range(7):
        body = {"name": f"t{number}", "role": "agent", "scopes": ["*"]}
        await admin.post("/tokens", body)
    seen: list[int] = []
    cursor = None
    while True:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = await admin.get("/audit", params=params)
        seen += [line["id"] for line in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == 8
    assert seen == sorted(seen, reverse=True)
    for bad in ("x", "W10", "WyJhIl0", "\u00ff", "WzEsMl0"):
        await admin.get("/audit", 422, params={"cursor": bad})
