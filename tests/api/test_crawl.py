"""What holds for every route, whichever is added: crawls of the API's document over an office with two of
everything."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from tests.api.documents import whole
from tests.api.test_quality import CARD

PREFIX = "/api/v1"
CHANGING = ("put", "patch", "delete")
MAY_BE_EMPTY = {
    "/calls/live",
    "/conferences",
    "/recordings",
    "/recording-holds",
    "/queues/{queue}/waiting",
    "/voicemails/{box}",
    "/webhooks/{webhook_id}/deliveries",
    "/samples",
    "/hours",
    "/regions",
    "/skills",
    "/trunks",
    "/shifts",
    "/voicemails",
    "/prompts",
    "/notices",
    "/audit",
    "/customers/file/{phone}/timeline",
}
"""Lists of what is not so easily made: they are asked, but nobody counts what is in them."""

ALWAYS_SHOWN = {
    "/agents/{agent_id}",
    "/callbacks/{callback_id}",
    "/extensions/{number}",
    "/tickets/{ticket_id}",
    "/webhooks/{webhook_id}",
}
"""They say how long something has lasted, or what goes on: who asks is always told; the ETag is of the rest."""

VALUES = {
    "phone": "+8613800000009",
    "call_id": "c1",
    "queue": "support",
    "agent_id": "lilei",
    "box": "1001",
    "number": "1001",
    "section": "extension",
    "language": "en",
    "user_id": "1",
}
"""Of parameters of paths; all other ids are 1."""


def url_of(path: str, made: dict[str, str]) -> str:
    """A path with its places filled in."""
    return re.sub(r"\{(\w+)\}", lambda m: made.get(m[1], VALUES.get(m[1], "1")), path)


def routes() -> dict[str, dict[str, Any]]:
    """Operations by path, those below the prefix."""
    paths = whole()["paths"]
    return {p.removeprefix(PREFIX): ops for p, ops in paths.items() if p.startswith(PREFIX)}


def names(operation: dict[str, Any]) -> set[str]:
    return {one["name"] for one in operation.get("parameters", ())}


def shown_as(operation: dict[str, Any]) -> Any:
    """The schema of what a route shows as JSON; None for what shows none."""
    content = operation["responses"].get("200", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    while schema is not None and "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = whole()["components"]["schemas"][name]
    return schema


async def fill(api: Any, admin: Any) -> dict[str, str]:
    """Two of each; what was made, by the name of its parameter."""
    append = api.store.journal.append
    for call in ("c1", "c2"):
        append("call-started", call, {"number_from": "+861065551000"}, 1_000.0)
        about = {"contact": call, "queue": "support", "agent": "lilei"}
        append("acd-queued", call, about, 1_001.0)
        append("acd-connected", call, about, 1_002.0)
        append("call-ended", call, {}, 1_060.0)
        append("survey", call, {"survey": "after", "score": 4}, 1_061.0)
    await api.store.journal.flush()
    now_s = api.service.clock.wall_s()
    asked = [
        *(("/customers", {"name": "Wang Wei", "phones": ["+8613800000001"]}) for _ in range(3)),
        *(("/customers", {"phones": ["+8613800000002"]}) for _ in range(2)),
        *(("/tickets", {"subject": "No dial tone"}) for _ in range(2)),
        ("/scorecards", CARD),
        ("/scorecards", CARD),
    ]
    for number in range(2):
        end_s = now_s - 60 - number * 600
        card = {"scorecard_id": 1, "call_id": "c1", "agent_id": "lilei"}
        rule = {"name": "Any", "per_week": 2 + number}
        hook = {"name": "CRM", "url": "https://crm.example/hook", "topics": ["calls"]}
        user = {"name": f"user{number}", "password": "a long enough one", "role": "agent"}
        asked += [
            ("/customers/1/notes", {"text": "called twice"}),
            ("/tickets/1/comments", {"text": "asked"}),
            ("/tickets/1/links", {"thing": f"call:c{number + 1}"}),
            *((f"/ticket-{sort}s", {"name": "any"}) for sort in ("trigger", "template", "macro")),
            ("/evaluations", card),
            ("/calibrations", card),
            ("/sampling-rules", rule),
            ("/agents/lilei/coaching", {"text": "Ask first."}),
            ("/shifts", {"agent_id": "lilei", "start_s": end_s - 600, "end_s": end_s}),
            ("/webhooks", hook),
            ("/users", user),
            ("/callbacks", {"number": f"100{number + 2}", "queue": "support"}),
            (
                "/config/hours",
                {"values": {"name": f"day{number}", "open": {"mon": ["08:00-17:00"]}}},
            ),
        ]
    made: dict[str, str] = {}
    for path, body in asked:
        answer = await admin.post(path, body)
        if path == "/callbacks":
            made["callback_id"] = answer["id"]
        elif path.startswith("/ticket-"):  # their ids are of one table
            made[path] = str(answer["id"])
    for text in ("begin", "end"):
        await admin.post("/evaluations/1/comments", {"text": text})
        query = {"name": f"{text}.txt"}
        headers = {"content-type": "text/plain"}
        await admin.ask(
            "POST", "/tickets/1/files", 201, content=b"x", params=query, headers=headers
        )
    for name in ("Li", "Zhao"):
        other = await admin.post("/customers", {"name": name})
        await api.store.customers.merge("test", 1, other["id"])
    token, _ = await api.service.accounts.add_token(
        "test", name="other", role="agent", scopes=("*",), expires_at_s=None
    )
    return made | {"token_id": token.id}


async def test_every_list_is_a_page_and_its_pages_are_the_list(api: Any) -> None:
    admin = await api.as_role("admin")
    made = await fill(api, admin)
    crawled = 0
    for path, operations in routes().items():
        schema = shown_as(operations["get"]) if "get" in operations else None
        if schema is None:
            continue
        assert schema.get("type") != "array", f"{path} is a bare list"
        if "items" not in schema.get("properties", {}) or path == "/quality/agreement":
            continue
        assert {"limit", "cursor"} <= names(operations["get"]), f"{path} has no pages"
        asked = {"start_s": 0, "end_s": 3e8} if path == "/reports/visits" else {}
        if path == "/customers/lookup":
            asked = {"number": "+8613800000001"}
        url = url_of(path, made if path != "/config/{section}" else {"section": "hours"})
        all_ = (await admin.get(url, params={**asked, "limit": 200}))["items"]
        assert len(all_) >= 2 or path in MAY_BE_EMPTY, f"{path} shows {len(all_)}"
        found: list[Any] = []
        cursor: str | None = None
        while len(found) < min(len(all_), 5):
            after = {"cursor": cursor} if cursor else {}
            page = await admin.get(url, params={**asked, **after, "limit": 1})
            assert len(page["items"]) == 1, path
            found += page["items"]
            cursor = page["next"]
            assert (cursor is None) == (len(found) == len(all_)), path
        assert stripped(found) == stripped(all_[: len(found)]), path
        bad = await admin.http.get(f"{PREFIX}{url}", params={**asked, "cursor": "made-up"})
        assert bad.status_code == 422, f"{path} takes a cursor that is none"
        crawled += 1
    assert crawled >= 45


def stripped(items: list[Any]) -> list[Any]:
    """Without what goes on while one looks."""
    moving = {"waited_s", "for_s", "last_used_at_s", "longest_wait_s"}
    return [
        {k: v for k, v in one.items() if k not in moving} if isinstance(one, dict) else one
        for one in items
    ]


NOT_FILTERED = {
    "/conferences": "rooms that somebody is in: few",
    "/recording-holds": "few",
    "/customers/duplicates": "all are to be looked at",
    "/webhooks/{webhook_id}/deliveries": "the newest are what is looked for",
    "/ticket-triggers": "a screen of settings",
    "/ticket-templates": "a screen of settings",
    "/ticket-macros": "a screen of settings",
    "/scorecards": "by whether they are used",
}


def test_every_list_of_a_resource_can_be_filtered() -> None:
    """What belongs to one thing (its notes, its files) is short, and narrowed by the thing."""
    for path, operations in routes().items():
        schema = shown_as(operations["get"]) if "get" in operations else None
        if schema is None or "next" not in schema.get("properties", {}):
            continue
        filters = names(operations["get"]) - {"limit", "cursor", "If-None-Match"}
        assert filters or "{" in path or path in NOT_FILTERED, f"{path} cannot be filtered"


async def test_every_resource_has_a_tag_that_a_change_is_held_against(api: Any) -> None:
    admin = await api.as_role("admin")
    made = await fill(api, admin)
    tagged = held = 0
    for path, operations in routes().items():
        if not path.endswith("}"):
            continue
        changing = [method for method in CHANGING if method in operations]
        what = shown_as(operations["get"]) if "get" in operations else None
        if what is None and "get" in operations:
            continue  # a file, or sound
        if what is None:
            about = "has nothing to be read before it is changed"
            assert not changing or path in NOT_SHOWN, f"{path} {about}"
            continue
        for method in changing:
            assert "If-Match" in names(operations[method]), f"{method} {path}"
        lasting = path in ALWAYS_SHOWN
        assert ("If-None-Match" in names(operations["get"])) is not lasting, path
        if path in NOT_MADE:
            continue
        setting = made.get(path.rpartition("/")[0])
        here = made if setting is None else made | {"setting_id": setting}
        url = f"{PREFIX}{url_of(path, here)}"
        answer = await admin.http.get(url)
        assert answer.status_code == 200, (path, answer.text)
        tag = answer.headers["etag"]
        tagged += 1
        if path in ALWAYS_SHOWN:
            again = await admin.http.get(url, headers={"If-None-Match": tag})
            assert (again.status_code, again.headers["etag"]) == (200, tag), path
        elif re.fullmatch(r'"[0-9a-f]{24}"', tag) and path != "/queues/{queue}":
            same = await admin.http.get(url, headers={"If-None-Match": f'"x", {tag}'})
            assert (same.status_code, same.content) == (304, b""), path
            assert same.headers["etag"] == tag
            other = await admin.http.get(url, headers={"If-None-Match": '"x"'})
            assert other.status_code == 200
        for method in changing:
            body = body_of(path, answer.json()) if method == "put" else {}
            options = {} if method == "delete" else {"json": body}
            refused = await admin.http.request(
                method, url, headers={"If-Match": '"999999"'}, **options
            )
            assert refused.status_code == 412, (method, path, refused.status_code, refused.text)
            held += 1
    assert tagged >= 20
    assert held >= 20
    assert (await admin.get("/evaluations/1"))["queue_id"] == "support", "the call's own"
    # And what was read lets the change pass.
    tag = (await admin.http.get(f"{PREFIX}/shifts/1")).headers["etag"]
    await admin.delete("/shifts/1", headers={"If-Match": tag})


NOT_SHOWN = {"/conferences/{number}/participants/{call_id}"}
"""`/conferences/{number}` shows all of its participants."""

NOT_MADE = {
    "/calls/live/{call_id}",
    "/conferences/{number}",
    "/voicemails/{box}/{message_id}",
    "/samples/{sample_id}",
    "/trunks/{name}",
    "/config/{section}/{name}",
}
"""Tested elsewhere, or of things that the office of these tests has not."""


def body_of(path: str, shown: dict[str, Any]) -> dict[str, Any]:
    assert path.startswith("/ticket-"), f"how is {path} put?"
    return {k: v for k, v in shown.items() if k not in ("id", "version")}


HAS_NO_TAG = {
    "/session/password": "takes the old one",
    "/voicemails/{box}/{message_id}": "heard once is heard; a file",
    "/tickets/{ticket_id}/files/{file_id}": "a file that never changes",
}
ACTIONS: dict[str, Any] = {
    "/calls/{call_id}/recording-hold": {"reason": "asked"},
    "/tickets/{ticket_id}/split": {"subject": "x", "comments": [1]},
    "/tickets/{ticket_id}/merge": {"other": 2},
    "/customers/{customer_id}/merge": {"other": 2},
    "/evaluations/{evaluation_id}/publish": None,
    "/calibrations/{calibration_id}/close": None,
}
"""What is done to a thing, with something to send."""
RACES: dict[str, tuple[str, Any]] = {
    "/agents/{agent_id}/state": ("/agents/{agent_id}", {"state": "available"}),
    "/extensions/{number}/line": ("/extensions/{number}", {"do_not_disturb": True}),
    "/tickets/{ticket_id}/reminder": ("/tickets/{ticket_id}", {"at_s": 2e9}),
}
"""The same, with what is read before."""


async def test_what_is_done_to_a_thing_is_held_against_what_was_read_of_it(api: Any) -> None:
    admin = await api.as_role("admin")
    made = await fill(api, admin)
    api.store.journal.append("recording-started", "c1", {"name": "c1.wav"}, 1_002.0)
    await api.store.journal.flush()
    await admin.ask("PUT", "/calls/c1/recording-hold", json={"reason": "dispute"})
    refused = set()
    for path, operations in routes().items():
        for method in {"post", *CHANGING} & operations.keys():
            held = "If-Match" in names(operations[method])
            if method != "post" and path not in HAS_NO_TAG:
                assert held, f"{method} {path} overwrites what others did"
            body = ACTIONS.get(path) or RACES.get(path, ("", None))[1]
            if not held or path not in ACTIONS | RACES:
                continue
            tag = {"If-Match": '"0123456789abcdef01234567"'}
            await admin.ask(method.upper(), url_of(path, made), 412, json=body, headers=tag)
            refused.add(path)
    assert refused == (ACTIONS | RACES).keys()
    for path, (about, body) in RACES.items():
        method = next(method for method in ("put", "post") if method in routes()[path])
        read = await admin.http.get(f"{PREFIX}{url_of(about, made)}")
        both = [
            admin.http.request(
                method,
                f"{PREFIX}{url_of(path, made)}",
                json=body,
                headers={"If-Match": read.headers["etag"]},
            )
            for _ in range(2)
        ]
        found = [answer.status_code for answer in await asyncio.gather(*both)]
        assert sorted(found) == [200, 412], f"of two who have read the same {about} one is late"


async def test_whatever_is_posted_twice_with_one_key_is_done_once(api: Any) -> None:
    admin = await api.as_role("admin")
    posts = [path for path, operations in routes().items() if "post" in operations]
    for path in posts:
        operation = routes()[path]["post"]
        public = operation["x-role"] == "public"
        assert public or "Idempotency-Key" in names(operation), path
    assert len(posts) > 40
    text = b"name,phone\r\nWang Wei,+8613800000001\r\n"
    options: dict[str, Any] = {
        "content": text,
        "params": {"dry_run": "false", "existing": "add"},
        "headers": {"Idempotency-Key": "import-17"},
    }
    first = await admin.http.post(f"{PREFIX}/customers/import", **options)
    again = await admin.http.post(f"{PREFIX}/customers/import", **options)
    assert first.status_code == 200, first.text
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len((await admin.get("/customers"))["items"]) == 1
    headers = {"Idempotency-Key": "merge-1"}
    await admin.post("/customers", {"name": "Wang Wei"})
    for _ in range(2):  # the second time it would be refused
        await admin.post("/customers/1/merge", {"other": 2}, 200, headers=headers)
    await admin.post("/customers/1/merge", {"other": 2}, 409)
