"""The application as a whole: every route guarded, every error a problem, nothing leaks."""

from __future__ import annotations

import json
import logging
import re
from inspect import getsource
from typing import Any

import pytest
from fastapi.routing import APIRoute

from softswitch.api.access import ACCESS, RANK, access_of
from softswitch.api.app import BODY_BYTES_MAX, routes
from softswitch.store.rolls import Step
from tests.api.documents import whole

MISSING = "/api/v1/nothing"


def test_every_route_has_a_role_and_says_so() -> None:
    """That each is refused without it: `test_rows.py`."""
    crawled = 0
    for path, operations in whole()["paths"].items():
        for method, operation in operations.items():
            crawled += 1
            access = access_of(method.upper(), path)
            assert operation["x-role"] == access.role
            assert access.role in RANK
            if access.role != "public":
                assert operation["x-scope"] == access.scope
                assert access.scope
    assert crawled == len([key for key in ACCESS if not key.startswith("WS ")])
    assert len(routes()) == len(ACCESS)


async def test_errors_are_problems(api: Any) -> None:
    admin = await api.as_role("admin")
    for method, path, status in (
        ("GET", MISSING, 404),
        ("GET", "/elsewhere", 404),
        ("PUT", "/api/v1/users", 405),
        ("GET", "/api/v1/users/999999", 404),
        ("GET", "/api/v1/users/x", 422),
        ("GET", "/api/v1/users?limit=0", 422),
        ("GET", "/api/v1/users?limit=201", 422),
        ("GET", "/api/v1/users?limit=200", 200),
        ("POST", "/api/v1/users", 422),
    ):
        answer = await admin.http.request(method, path)
        assert answer.status_code == status, (method, path, answer.text)
        if status >= 400:
            found = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert found["status"] == status
            assert found["title"]
    found = await admin.post("/users", {"name": "a b", "password": "short", "x/y": 1}, 422)
    assert {fault["pointer"] for fault in found["errors"]} == {"/name", "/password", "/x~1y"}


async def test_what_may_be_got_may_be_asked_for_by_its_head(api: Any) -> None:
    admin = await api.as_role("admin")
    got = await admin.http.get("/api/v1/users")
    head = await admin.http.head("/api/v1/users")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))
    assert (await admin.http.head("/api/v1/users/999999")).status_code == 404
    sound = await admin.http.head("/api/v1/prompts/en/goodbye")
    assert (sound.status_code, sound.content) == (200, b"")
    assert int(sound.headers["content-length"]) > 1_000
    assert (await api.client().http.head("/api/v1/users")).status_code == 401


async def test_a_slip_is_named(api: Any) -> None:
    admin = await api.as_role("admin")
    wrong = await admin.http.put("/api/v1/users/1")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "DELETE, GET, HEAD, PATCH")
    plain = await admin.http.post(
        "/api/v1/users", content=b"{}", headers={"content-type": "text/plain"}
    )
    assert (plain.status_code, plain.json()["detail"][:9]) == (415, "send JSON")
    json = {"content-type": "application/json"}
    cut = await admin.http.post("/api/v1/users", content=b'{"name": ', headers=json)
    assert (cut.status_code, cut.json()["status"]) == (400, 400)
    assert "at character 9" in cut.json()["detail"]
    beyond = await admin.http.get(
        "/api/v1/prompts/en/goodbye", headers={"range": "bytes=99999999-"}
    )
    assert (beyond.status_code, beyond.json()["status"]) == (416, 416)
    assert beyond.headers["content-range"].startswith("bytes */")
    assert beyond.headers["content-type"] == "application/problem+json"
    body = {"name": "CRM", "scopes": ["customer:read"]}
    (fault,) = (await admin.post("/tokens", body, 422))["errors"]
    assert "customers:read" in fault["detail"]


def test_every_route_that_changes_something_names_who_did() -> None:
    """What is written down, others test; this finds a route that forgets to."""
    silent = {
        "check_entry",  # changes nothing
        "choose_password",  # hands on who it is
    }
    changing = [
        route.endpoint
        for route in routes()
        if isinstance(route, APIRoute) and not (route.methods or set()) <= {"GET"}
    ]
    assert len(changing) > 60
    sources = {endpoint.__name__: getsource(endpoint) for endpoint in changing}
    forgetful = {
        n for n, text in sources.items() if "me.actor" not in text and "noted(" not in text
    }
    assert forgetful == silent


@pytest.mark.parametrize("text", ["\0", "\ud800", "a\0b"])
async def test_what_no_database_takes_is_refused(api: Any, text: str) -> None:
    admin = await api.as_role("admin")
    body = {"name": "a", "password": "0123456789", "full_name": text}
    content = __import__("json").dumps(body).encode()
    answer = await admin.http.post(
        "/api/v1/users", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422


@pytest.mark.limit("body of a request")
async def test_a_body_has_a_limit_whatever_its_head_says(api: Any) -> None:
    admin = await api.as_role("admin")
    for size, status in ((BODY_BYTES_MAX, 422), (BODY_BYTES_MAX + 1, 413)):
        content = b'"' + b"x" * (size - 2) + b'"'
        answer = await admin.http.post(
            "/api/v1/users", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code == status

    async def endless() -> Any:
        for _ in range(64):
            yield b"x" * 65_536

    answer = await admin.http.post("/api/v1/users", content=endless())
    assert answer.status_code == 413


async def test_a_bug_says_nothing_to_the_asker(
    api: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(api.service.accounts, "users", fail)
    admin = await api.as_role("admin")
    with caplog.at_level(logging.CRITICAL):
        answer = await admin.http.get("/api/v1/users")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["title"] == "Internal Server Error"


async def test_headers_keep_browsers_from_guessing(api: Any) -> None:
    for path in ("/api/v1/health", MISSING, "/api/v1/session"):
        headers = (await api.client().http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cache-control"] == "no-store"


async def test_health(api: Any) -> None:
    stranger = api.client()
    assert (await stranger.get("/health"))["ok"] is True
    assert (await stranger.get("/health"))["reports"] is None
    api.store.journal.adding_up._progress.seen(Step("columns", 0, 500, 1_000), 0.0)
    told = (await stranger.get("/health"))["reports"]
    assert told == {"stage": "columns", "share": 0.5, "at_s": 900_000.0, "left_s": None}
    assert (await stranger.get("/ready"))["ok"] is True
    api.switch.alarms["store.log"] = "full"
    assert (await stranger.get("/health"))["ok"] is False
    api.service.stopping.set()
    answer = await stranger.http.get("/api/v1/ready")
    assert answer.status_code == 503


def test_every_operation_has_examples() -> None:
    """What is sent, what is answered, and every part of a path."""
    found = whole()
    without = []
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            schemas = [
                p["schema"] | p for p in operation.get("parameters", ()) if p["in"] == "path"
            ]
            contents = [operation.get("requestBody", {})]
            contents += [r for s, r in operation["responses"].items() if s.startswith("2")]
            for content in contents:
                json = content.get("content", {}).get("application/json")
                if json is not None:
                    schemas.append(json["schema"] | json)
            if not all(has_example(schema, found["components"]["schemas"]) for schema in schemas):
                without.append(f"{method} {path}")
    assert without == []


FREE = {
    ("AuditShown", "details"),
    ("ConfigEntry", "values"),
    ("EntryChange", "values"),
    ("JournalEntry", "data"),
    ("Moment", "details"),
    ("NewEntry", "values"),
    ("TableSchema", "schema"),
}
"""Of another shape with each action, section, kind or report."""


def test_a_program_can_be_made_from_the_document() -> None:
    """Models have names that a person would give, objects say what is in them, references lead somewhere."""
    found = whole()
    known = found["components"]["schemas"]
    assert [name for name in known if "__" in name] == []
    free = {
        (name, field)
        for name, schema in known.items()
        for field, value in schema.get("properties", {}).items()
        if True in (part.get("additionalProperties") for part in (value, value.get("items", {})))
    }
    assert free == FREE
    text = json.dumps(found)
    assert "x-shape" not in text
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) <= known.keys()


def has_example(schema: dict[str, Any], known: dict[str, Any], seen: tuple[str, ...] = ()) -> bool:
    """Whether somebody who reads it knows what a value looks like."""
    if schema.keys() & {"example", "examples", "enum", "const", "default"}:
        return True
    if schema.get("format") == "binary":
        return True
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return name in seen or has_example(known[name], known, (*seen, name))
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    inner += [schema["items"]] if "items" in schema else []
    return any(has_example(each, known, seen) for each in inner)


async def test_an_answer_without_a_body_says_no_type(api: Any) -> None:
    admin = await api.as_role("admin")
    made = await admin.post("/customers", {"name": "Wang Wei"})
    answer = await admin.http.get(f"/api/v1/customers/{made['id']}")
    same = {"If-None-Match": answer.headers["etag"]}
    for method, status, headers in (("GET", 304, same), ("DELETE", 204, {})):
        url = f"/api/v1/customers/{made['id']}"
        answer = await admin.http.request(method, url, headers=headers)
        assert answer.status_code == status
        assert "content-type" not in answer.headers
