"""Tickets over the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from softswitch.apps.clerk import Clerk
from softswitch.apps.mailbox import Message


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


async def test_out_of_calls_voicemails_letters_and_templates(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, boss = await api.as_role("agent"), await api.as_role("supervisor")
    customer = await agent.post("/customers", {"name": "Wang Wei", "phones": ["+8613800000001"]})
    append = api.store.journal.append
    started = {"number_from": "13800000001", "caller_name": "WANG", "direction": "inbound"}
    append("call-started", "c1", started, 1_000.0)
    append("call-ended", "c1", {}, 1_060.0)
    await api.store.journal.flush()
    template = {
        "name": "Dead line",
        "subject": "Dead line, {{call.number}}",
        "description": "{{customer.name}}",
        "priority": "urgent",
        "tags": ["line"],
    }
    made = await boss.post("/ticket-templates", template)
    await agent.post("/ticket-templates", template, 403)
    body = {"call_id": "c1", "template": made["id"]}
    ticket = await agent.post("/tickets/from-call", body)
    assert ticket["customer_id"] == customer["id"]
    assert ticket["subject"] == "Dead line, 13800000001"
    assert ticket["description"] == "Wang Wei", "whose number it is"
    assert (ticket["priority"], ticket["source"], ticket["tags"]) == ("urgent", "call", ["line"])
    path = f"/tickets/{ticket['id']}"
    assert (await agent.get(f"{path}/links"))["items"] == ["call:c1"]
    await agent.post("/tickets/from-call", {"call_id": "c2"}, 404)
    other = await agent.post(f"/tickets/from-template/{made['id']}")
    assert other["subject"] == "Dead line, "
    letter = EmailMessage()
    letter["From"], letter["Subject"] = "wang@example.com", "没有声音"
    letter["Message-ID"] = "<1@example.com>"
    letter.set_content("Since today.")
    headers = {"content-type": "message/rfc822"}
    taken = await agent.ask(
        "POST", "/tickets/from-email", 201, content=letter.as_bytes(), headers=headers
    )
    assert (taken["ticket"]["subject"], taken["answered"]) == ("没有声音", False)
    await agent.ask("POST", "/tickets/from-email", 409, content=letter.as_bytes(), headers=headers)
    await agent.ask("POST", "/tickets/from-email", 422, content=b"nothing", headers=headers)
    for status in ("solved", "closed"):
        await agent.patch(f"/tickets/{taken['ticket']['id']}", {"status": status})
    letter.replace_header("Message-ID", "<2@example.com>")
    letter["In-Reply-To"] = "<1@example.com>"
    late = await agent.ask(
        "POST", "/tickets/from-email", 201, content=letter.as_bytes(), headers=headers
    )
    assert (late["ticket"]["status"], late["answered"]) == ("new", False), (
        "nobody reads the old one"
    )
    links = (await agent.get(f"/tickets/{late['ticket']['id']}/links"))["items"]
    assert links == [f"ticket:{taken['ticket']['id']}"]
    await agent.post("/tickets/from-voicemail", {"box": "1001", "message_id": "m1"}, 404)
    macro = {
        "name": "Ask",
        "comment": "Dear {{customer.name}}",
        "public": True,
        "status": "pending",
    }
    macro |= {"add_tags": ["asked"], "remove_tags": ["line"]}
    asked = await boss.post("/ticket-macros", macro)
    done = await agent.post(f"{path}/macros/{asked['id']}", expect=200)
    assert (done["status"], done["tags"]) == ("pending", ["asked"])
    assert (await agent.get(f"{path}/comments"))["items"][0]["text"] == "Dear Wang Wei"
    changed = await boss.ask(
        "PUT",
        f"/ticket-macros/{asked['id']}",
        json={"name": "Nothing"},
        headers={"If-Match": '"1"'},
    )
    assert changed["version"] == 2
    await agent.post(f"{path}/macros/{asked['id']}", expect=409)
    # All of it or nothing: what cannot be said leaves the rest undone.
    both = await boss.post("/ticket-macros", {"name": "b", "comment": "x", "status": "solved"})
    monkeypatch.setattr("softswitch.store.tickets.COMMENTS_MAX", 1)
    await agent.post(f"{path}/macros/{both['id']}", expect=409)
    assert (await agent.get(path))["status"] == "pending"
    monkeypatch.undo()
    comment = await agent.post(f"{path}/comments", {"text": "and another thing"})
    split = await agent.post(
        f"{path}/split", {"subject": "Another thing", "comments": [comment["id"]]}
    )
    assert (await agent.get(f"/tickets/{split['id']}/comments"))["items"] == [comment]
    reminded = await agent.ask("PUT", f"{path}/reminder", json={"at_s": 2e9, "text": "again"})
    assert reminded["remind_at_s"] == 2e9
    for sort in ("templates", "macros", "triggers"):
        await boss.delete(f"/ticket-{sort}/999", 404)
        assert "items" in await agent.get(f"/ticket-{sort}")


async def test_files_are_saved_not_shown(api: Any) -> None:
    agent, boss = await api.as_role("agent"), await api.as_role("supervisor")
    ticket = await agent.post("/tickets", {"subject": "x"})
    path = f"/tickets/{ticket['id']}/files"
    png = {"content-type": "image/png"}
    page = {"content-type": "text/html"}
    kept = await agent.ask(
        "POST", path, 201, content=b"\x89PNG", headers=png, params={"name": "../a.png"}
    )
    assert (kept["name"], kept["size"]) == ("a.png", 4)
    await agent.ask("POST", path, 415, content=b"<script>", headers=page)
    await agent.ask("POST", path, 413, content=b"x" * (10 * 1024 * 1024 + 1), headers=png)
    answer = await agent.get(f"{path}/{kept['id']}")
    assert answer.content == b"\x89PNG"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    part = await agent.ask("GET", f"{path}/{kept['id']}", 206, headers={"range": "bytes=1-2"})
    assert part.content == b"PN"
    await agent.delete(f"{path}/{kept['id']}", 403)
    await boss.delete(f"{path}/{kept['id']}")
    assert (await agent.get(path))["items"] == []
    await agent.ask("POST", "/tickets/999/files", 404, content=b"x", headers=png)


async def until(ask: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(20):
        while not (found := await ask()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_the_routing_engine_gives_tickets_to_agents(api: Any) -> None:
    """By skill, through the same queues as calls; the assignee is whom the engine chose."""
    boss = await api.as_role("supervisor")
    desk, contacts = api.switch.clerk.desk, api.switch.contacts
    await boss.post(
        "/ticket-triggers", {"name": "bills", "keywords": ["invoice"], "queue": "billing"}
    )
    wang = {"name": "Wang Wei", "phones": ["+8613800000001"], "region": "north"}
    customer = await boss.post("/customers", wang)
    about = {"subject": "The invoice is wrong", "customer_id": customer["id"]}
    first = await boss.post("/tickets", about)
    assert first["queue"] == "billing"
    await desk.settled()
    (view,) = api.switch.centre.queue_desk.waiting("billing")
    # As when he calls: his record says where he is from, and two of one name are two.
    assert view.attributes["customer_name"] == "Wang Wei"
    await api.store.journal.flush()
    (entry,) = await api.store.entries.page(10, kind="acd-queued")
    queued = entry.data()
    assert (queued["customer"], queued["region"]) == (f"customer:{customer['id']}", "north")
    assert contacts.state(f"ticket-{first['id']}").phase == "waiting"
    api.switch.centre.host.do(_login("lilei"))

    async def assigned() -> Any:
        found = await boss.get(f"/tickets/{first['id']}")
        return found if found["assignee"] else None

    found = await until(assigned)
    assert (found["assignee"], found["status"]) == ("lilei", "open")
    assert contacts.state(f"ticket-{first['id']}").agent == "lilei"
    await boss.patch(f"/tickets/{first['id']}", {"status": "pending"})
    await desk.settled()
    assert contacts.state(f"ticket-{first['id']}") is None, "his place is free"
    second = await boss.post(
        "/tickets", {"subject": "Another", "queue": "billing", "assignee": "mary"}
    )
    await desk.settled()
    assert contacts.state(f"ticket-{second['id']}") is None, "somebody has it already"


NOBODY = {"assignee": "ghost"}, "/assignee", "there is no agent and no user ghost"
UNKNOWN = (
    NOBODY,
    ({"queue": "nowhere"}, "/queue", "there is no queue nowhere; there are: support, billing"),
    ({"skill": "billing >>"}, "/skill", "skill expression 'billing >>', at 9: "),
)
WATCHED = {"watchers": ["lilei", "role:supervisor", "ghost"]}, "/watchers/2", NOBODY[2]
NO_PLACE = (
    {"comment": "{{customer.shoes}}"},
    "/comment",
    "{{customer.shoes}} is no place to fill in",
)


async def test_a_slip_does_not_leave_a_ticket_with_nobody(api: Any) -> None:
    boss = await api.as_role("supervisor")
    ticket = await boss.post("/tickets", {"subject": "x", "watchers": ["mary", "role:supervisor"]})
    path = f"/tickets/{ticket['id']}"
    macro = await boss.post("/ticket-macros", {"name": "m", "comment": "{{ ticket.id }} {{x"})

    async def refused(method: str, url: str, body: Any, pointer: str, detail: str) -> None:
        answer = await boss.ask(method, url, 422, json=body)
        (fault,) = answer["errors"]
        assert fault["pointer"] == pointer
        assert fault["detail"].startswith(detail), fault

    for values, pointer, detail in (*UNKNOWN, WATCHED):
        await refused("POST", "/tickets", {"subject": "x", **values}, pointer, detail)
        await refused("PATCH", path, values, pointer, detail)
    for values, pointer, detail in UNKNOWN:
        await refused("POST", "/ticket-triggers", {"name": "x", **values}, pointer, detail)
    for values, pointer, detail in (NOBODY, UNKNOWN[1], NO_PLACE):
        await refused("POST", "/ticket-macros", {"name": "x", **values}, pointer, detail)
        at = f"/ticket-macros/{macro['id']}"
        await refused("PUT", at, {"name": "x", **values}, pointer, detail)
    assert (await boss.get(path))["version"] == 1
    await boss.patch(path, {"description": "{{this}} is what he wrote"})


def _login(agent: str) -> Any:
    from routing.events import AgentLoggedIn

    return AgentLoggedIn(agent)


async def test_voicemails_and_letters_become_tickets(running_api: Any, tmp_path: Path) -> None:
    more = """
[tickets]
voicemail = ["1001"]
mail_drop = true
"""
    async with running_api(tmp_path, more) as api:
        office, store = api.switch.office, api.store
        await api.switch.clerk.stop()  # this one works when it is told
        boss = await api.as_role("supervisor")
        customer = await boss.post("/customers", {"phones": ["+8613800000001"]})
        message = Message(
            message_id="m1",
            box="1001",
            call_id="c1",
            number_from="13800000001",
            caller_name="",
            at_s=1.0,
        )

        class Boxes:
            def messages(self, _: str) -> list[Message]:
                return [message]

        clerk = Clerk(office, store, api.service.clock, Boxes())  # type: ignore[arg-type]
        drop = office.storage.directory / "mail-drop"
        assert (await clerk.work(0.0))["letters"] == 0
        (drop / "1.eml").write_bytes(b"From: a@b.example\r\nSubject: Hello\r\n\r\ntext")
        (drop / "2.eml").write_bytes(b"nothing")
        (drop / "3.part").write_bytes(b"half")
        assert (await clerk.work(1_000.0))["letters"] == 1
        assert clerk.snapshot()["voicemails"] == 1
        again = Clerk(office, store, api.service.clock, Boxes())  # type: ignore[arg-type]
        assert (await again.work(1_000.0))["voicemails"] == 0, "also after a restart"
        found = (await boss.get("/tickets"))["items"]
        assert {(t["source"], t["subject"], t["customer_id"]) for t in found} == {
            ("voicemail", "Voicemail from 13800000001", customer["id"]),
            ("email", "Hello", None),
        }
        body = {"box": "1001", "message_id": "m1"}
        twice = await boss.post("/tickets/from-voicemail", body, 409)
        assert twice["detail"].startswith("message m1 is ticket ")
        left = sorted(str(p.relative_to(drop)) for p in drop.rglob("*") if p.is_file())
        assert left == ["3.part", "refused/2.eml", "taken/1.eml"]
