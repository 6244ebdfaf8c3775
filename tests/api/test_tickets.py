"""Tickets over the API."""

from __future__ import annotations

from typing import Any


async def test_from_opening_to_closing(api: Any) -> None:
    agent = await api.as_role("agent")
    customer = await agent.post("/customers", {"name": "Wang Wei"})
    body = {
        "subject": "No dial tone",
        "customer_id": customer["id"],
        "links": ["call:c1"],
        "source": "call",
    }
    ticket = await agent.post("/tickets", body)
    path = f"/tickets/{ticket['id']}"
    assert (ticket["status"], ticket["priority"]) == ("new", "normal")
    assert ticket["answer_due_s"] < ticket["solve_due_s"]
    answer = await agent.http.get(f"/api/v1{path}")
    etag = answer.headers["etag"]
    changed = await agent.patch(path, {"assignee": "lilei"}, headers={"If-Match": etag})
    assert changed["status"] == "open"
    await agent.patch(path, {"assignee": "mary"}, 412, headers={"If-Match": etag})
    await agent.patch(path, {"status": "closed"}, 409)
    await agent.post(f"{path}/comments", {"text": "internal"})
    await agent.post(f"{path}/comments", {"text": "We look into it.", "public": True})
    found = await agent.get(path)
    assert found["answered_at_s"] is not None
    assert found["answer_due_s"] is None
    first = await agent.get(f"{path}/comments", params={"limit": 1})
    rest = await agent.get(f"{path}/comments", params={"cursor": first["next"]})
    assert [c["public"] for c in first["items"] + rest["items"]] == [False, True]
    assert (await agent.post(f"{path}/links", {"thing": "ticket:1"}))["items"] == [
        "call:c1",
        "ticket:1",
    ]
    await agent.delete(f"{path}/links", params={"thing": "ticket:1"})
    await agent.delete(f"{path}/links", 404, params={"thing": "ticket:1"})
    await agent.post(f"{path}/links", {"thing": "file:/etc/passwd"}, 422)
    for params, count in (
        ({"text": "dial"}, 1),
        ({"status": ["open", "new"]}, 1),
        ({"status": "closed"}, 0),
        ({"assignee": "lilei"}, 1),
        ({"assignee": ""}, 0),
        ({"thing": "call:c1"}, 1),
        ({"late": True}, 0),
        ({"customer_id": customer["id"]}, 1),
    ):
        assert len((await agent.get("/tickets", params=params))["items"]) == count, params
    timeline = await agent.get(f"/customers/{customer['id']}/timeline")
    assert [moment["kind"] for moment in timeline["items"]] == ["ticket"]
    other = await agent.post("/tickets", {"subject": "Same"})
    merged = await agent.post(f"{path}/merge", {"other": other["id"]}, 200)
    assert merged["id"] == ticket["id"]
    assert (await agent.get(f"/tickets/{other['id']}"))["merged_into"] == ticket["id"]
    cleared = await agent.patch(path, {"customer_id": None})
    assert cleared["customer_id"] is None
    await agent.post("/tickets", {"subject": "x", "customer_id": 999}, 404)
    for what in ("", "/comments", "/links"):
        await agent.get(f"/tickets/999{what}", 404)
