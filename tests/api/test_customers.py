"""Customers over the API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from softswitch.api.routes import customers
from softswitch.apps.mailbox import Message

WANG = {"name": "Wang Wei", "phones": ["138 0000 0001"], "tags": ["vip"], "priority": 5}
CSV = {"Content-Type": "text/csv"}


async def import_csv(client: Any, text: str, expect: int = 200, **params: Any) -> Any:
    return await client.ask(
        "POST", "/customers/import", expect, content=text.encode(), headers=CSV, params=params
    )


async def test_from_birth_to_removal(api: Any) -> None:
    agent, supervisor = await api.as_role("agent"), await api.as_role("supervisor")
    made = await agent.post("/customers", WANG)
    assert made["phones"] == ["+8613800000001"]
    path = f"/customers/{made['id']}"
    answer = await agent.http.get(f"/api/v1{path}")
    etag = answer.headers["etag"]
    await agent.patch(path, {"region": "north"}, headers={"If-Match": etag})
    await agent.patch(path, {"region": "east"}, 412, headers={"If-Match": etag})
    for number in ("13800000001", "+8613800000001", "(0086) 138-0000-0001", " 8613800000001"):
        for asked in ("/customers/lookup?number=", "/customers?phone=", "/customers?text="):
            found = await agent.get(asked + quote(number))
            assert [customer["id"] for customer in found["items"]] == [made["id"]], asked + number
    found = await agent.get("/customers", params={"text": "wang", "phone": "13800000001"})
    assert len(found["items"]) == 1
    refused = await agent.post("/customers", {"phones": ["(010) 6555 1000", "1001"]}, 422)
    (fault,) = refused["errors"]
    assert fault["pointer"] == "/phones/1"
    assert fault["detail"].startswith("1001 is no telephone number: write it with +")
    await agent.post("/customers", {"name": " ", "tags": ["vip"]}, 422)
    note = await agent.post(f"{path}/notes", {"text": "likes tea"})
    assert (await agent.get(f"{path}/notes"))["items"] == [note]
    await agent.delete(path, 403)
    await supervisor.delete(path)
    for what in ("", "/notes", "/duplicates", "/timeline"):
        await agent.get(path + what, 404)


async def test_who_is_only_in_the_file_is_found_and_says_so(
    tmp_path: Any, running_api: Any
) -> None:
    more = '[[customer]]\nphone = ["+8613800000001"]\nname = "Wang Wei"\ntags = ["vip"]\n'
    async with running_api(tmp_path, more) as api:
        agent = await api.as_role("agent")
        number = {"number": "138 0000 0001".replace(" ", "")}
        (listed,) = (await agent.get("/customers/lookup", params=number))["items"]
        assert (listed["id"], listed["source"], listed["tags"]) == (0, "file", ["vip"])
        made = await agent.post("/customers", WANG)
        (kept,) = (await agent.get("/customers/lookup", params=number))["items"]
        assert (kept["id"], kept["source"]) == (made["id"], "api")


async def test_who_is_only_in_the_file_has_a_record_to_read_and_a_time_that_is_told(
    tmp_path: Any, running_api: Any
) -> None:
    more = '[[customer]]\nphone = ["+8613800000001", "+861065551000"]\nname = "Wang Wei"\n'
    async with running_api(tmp_path, more) as api:
        agent = await api.as_role("agent")
        append, now_s = api.store.journal.append, api.service.clock.wall_s()
        for number, called in enumerate(("13800000001", "+861065551000", "+8613900000000")):
            call = f"c{number}"
            append("call-started", call, {"number_from": called}, now_s - 300.0 + number)
            append("call-ended", call, {"outcome": "answered"}, now_s - 200.0)
        asked = {"survey": "satisfaction", "score": 2, "caller": "13800000001"}
        asked_at = append("survey", "c0", asked, now_s - 199.0)
        await api.store.journal.flush()
        message = Message(
            message_id="m1",
            box="1001",
            call_id="c1",
            number_from="+861065551000",
            caller_name="",
            at_s=now_s - 190.0,
        )
        api.switch.catalogue.mailboxes.messages = lambda box: [message] if box == "1001" else []
        for call in ("c1", "c2"):
            await agent.post("/tickets/from-call", {"call_id": call, "subject": "Dead line"})
        path = f"/customers/file/{quote('138 0000 0001')}"
        shown = await agent.get(path)
        assert (shown["name"], shown["source"], shown["id"]) == ("Wang Wei", "file", 0)
        for refused in (agent.patch(path, {"name": "Li"}, 405), agent.delete(path, 405)):
            await refused
        found = (await agent.get(f"{path}/timeline"))["items"]
        things = ["ticket:1", "voicemail:m1", f"survey:{asked_at}", "call:c1", "call:c0"]
        assert [moment["thing"] for moment in found] == things
        page = await agent.get(f"{path}/timeline", params={"limit": 3})
        rest = await agent.get(f"{path}/timeline", params={"cursor": page["next"]})
        assert [one["thing"] for one in page["items"] + rest["items"]] == things
        (only,) = (await agent.get(f"{path}/timeline", params={"kind": "ticket"}))["items"]
        assert only["summary"] == "Dead line: new"
        # Somebody wrote him down in the database too: what is kept there is his.
        kept = await agent.post("/customers", {"phones": ["+861065551000"]})
        await agent.post(f"/customers/{kept['id']}/notes", {"text": "likes tea"})
        await agent.post("/tickets", {"subject": "Bill", "customer_id": kept["id"]})
        found = (await agent.get(f"{path}/timeline"))["items"]
        assert [moment["thing"] for moment in found] == ["ticket:3", "note:1", *things]
        await agent.get("/customers/file/13900000000", 404)
        await agent.get("/customers/file/13900000000/timeline", 404)
        await agent.get(f"{path}/timeline", 422, params={"cursor": "WzFd"})


async def test_a_merge_is_undone_with_the_calls_and_tickets_since(api: Any) -> None:
    supervisor = await api.as_role("supervisor")
    one = await supervisor.post("/customers", WANG)
    his = {"name": "Li Na", "phones": ["13900000000"]}
    other = await supervisor.post("/customers", his)
    path = f"/customers/{one['id']}"
    agent = await api.as_role("agent")
    await agent.post(f"{path}/unmerge", {"other": other["id"]}, 403)
    await supervisor.post(f"{path}/merge", {"other": other["id"]}, 200)
    (merge,) = (await agent.get(f"{path}/merges"))["items"]
    assert (merge["other"], merge["phones"]) == (other["id"], ["+8613900000000"])
    assert merge["undone_at_s"] is None
    append, now_s = api.store.journal.append, api.service.clock.wall_s()
    for call, number in (("c1", "+8613900000000"), ("c2", "+8613800000001")):
        append("call-started", call, {"number_from": number}, now_s)
        append("call-customer", call, {"id": one["id"], "name": "Wang"}, now_s)
        append("call-ended", call, {"outcome": "answered"}, now_s)
    await api.store.journal.flush()
    made = {
        call: await supervisor.post(
            "/tickets", {"subject": call, "customer_id": one["id"], "links": [f"call:{call}"]}
        )
        for call in ("c1", "c2")
    }
    kept = await supervisor.post(f"{path}/unmerge", {"other": other["id"]}, 200)
    assert kept["phones"] == ["+8613800000001"]
    await supervisor.post(f"{path}/unmerge", {"other": other["id"]}, 409)
    for of, call in ((one, "c2"), (other, "c1")):
        found = (await agent.get(f"/customers/{of['id']}/timeline"))["items"]
        things = {moment["thing"] for moment in found if moment["kind"] != "note"}
        assert things == {f"call:{call}", f"ticket:{made[call]['id']}"}
    (merge,) = (await agent.get(f"{path}/merges"))["items"]
    assert merge["undone_at_s"] is not None


async def test_merging(api: Any) -> None:
    supervisor = await api.as_role("supervisor")
    one = await supervisor.post("/customers", WANG)
    other = await supervisor.post("/customers", {"phones": ["13800000001", "13800000002"]})
    path = f"/customers/{one['id']}"
    found = await supervisor.get(f"{path}/duplicates")
    assert [customer["id"] for customer in found["items"]] == [other["id"]]
    merged = await supervisor.post(f"{path}/merge", {"other": other["id"]}, 200)
    assert merged["phones"] == ["+8613800000001", "+8613800000002"]
    await supervisor.post(f"{path}/merge", {"other": other["id"]}, 409)
    await supervisor.post(f"{path}/merge", {"other": 999}, 404)
    gone = await supervisor.get(f"/customers/{other['id']}")
    assert gone["merged_into"] == one["id"]
    assert (await supervisor.get(f"{path}/notes"))["items"] == []  # he said nothing else
    note = await supervisor.post(f"{path}/notes", {"text": "was two"})
    for of in (one["id"], other["id"]):
        moments = (await supervisor.get(f"/customers/{of}/timeline"))["items"]
        assert [moment["thing"] for moment in moments] == [f"note:{note['id']}"]
    many = await supervisor.post("/customers", {"phones": [f"139000000{n:02}" for n in range(31)]})
    refused = await supervisor.post(f"{path}/merge", {"other": many["id"]}, 409)
    assert refused["detail"] == "together they have 33 numbers, and one may have 32"
    agent = await api.as_role("agent")
    await agent.delete(f"{path}/notes/{note['id']}", 403)
    own = await agent.post(f"{path}/notes", {"text": "a slip"})
    await agent.delete(f"{path}/notes/{own['id']}")
    await agent.delete(f"{path}/notes/{own['id']}", 404)
    await supervisor.delete(f"{path}/notes/{note['id']}")
    assert (await agent.get(f"{path}/notes"))["items"] == []


async def test_duplicates_are_suggested(api: Any) -> None:
    agent = await api.as_role("agent")
    for name in ("Wang Wei", "Wang W."):
        await agent.post("/customers", {"name": name, "phones": ["13800000001"]})
    found = await agent.get("/customers/duplicates")
    assert [(one["phone"], len(one["customers"])) for one in found["items"]] == [
        ("+8613800000001", 2)
    ]
    await agent.get("/customers/duplicates", 422, params={"cursor": "WzFd"})
    await agent.post("/customers", {"name": "WEI, Wáng", "addresses": ["W@example.com"]})
    await agent.post("/customers", {"name": "Wei", "addresses": ["w@EXAMPLE.com", "1 Main Street"]})
    for by, value, names in (
        ("name", "wang wei", ["Wang Wei", "WEI, Wáng"]),
        ("address", "w@example.com", ["WEI, Wáng", "Wei"]),
    ):
        page = await agent.get("/customers/duplicates", params={"by": by})
        (one,) = page["items"]
        assert (one["by"], one["value"], one["count"], page["next"]) == (by, value, 2, None)
        assert [customer["name"] for customer in one["customers"]] == names
    await agent.get("/customers/duplicates", 422, params={"by": "sound"})


async def test_the_timeline_has_calls_and_notes_by_page(api: Any) -> None:
    agent = await api.as_role("agent")
    made = await agent.post("/customers", WANG)
    append = api.store.journal.append
    for number in range(6):
        spelling = ("+8613800000001", "8613800000001", "13800000001")[number % 3]
        append("call-started", f"c{number}", {"number_from": spelling}, 1_000.0 + number // 2)
    append("call-started", "stranger", {"number_from": "+8613800000002"}, 1_000.0)
    await api.store.journal.flush()
    path = f"/customers/{made['id']}"
    await agent.post(f"{path}/notes", {"text": "likes tea"})
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = await agent.get(f"{path}/timeline", params=params)
        seen += [moment["thing"] for moment in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == ["note:1", "call:c4", "call:c5", "call:c2", "call:c3", "call:c0", "call:c1"]
    for bad in ("WzFd", "WyJhIiwiYiJd"):
        await agent.get(f"{path}/timeline", 422, params={"cursor": bad})


async def test_a_file_is_tried_then_imported(api: Any) -> None:
    supervisor = await api.as_role("supervisor")
    await supervisor.post("/customers", WANG)
    good = "name,phone,tags\nWang,13800000001,new\nLi,13800000002,\nLi again,13800000002,\n"
    tried = await import_csv(supervisor, good)
    assert (tried["dry_run"], tried["rows"], tried["added"], tried["skipped"]) == (True, 3, 1, 2)
    assert await api.store.customers.count() == 1
    done = await import_csv(supervisor, good, dry_run=False, existing="change")
    assert (done["added"], done["changed"], done["skipped"]) == (1, 1, 1)
    found = await supervisor.get("/customers/lookup", params={"number": "13800000001"})
    assert found["items"][0]["tags"] == ["vip", "new"]
    assert await api.store.customers.count() == 2
    bad = "name,phone\nZhao,13800000003\nQian,nonsense\n"
    refused = await import_csv(supervisor, bad, dry_run=False)
    assert refused["added"] == 0
    assert refused["mistakes"] == [
        {"line": 3, "column": "phone", "detail": "nonsense is no telephone number"}
    ]
    assert await api.store.customers.count() == 2
    partly = await import_csv(supervisor, bad, dry_run=False, skip_bad=True)
    assert (partly["added"], partly["bad"]) == (1, 1)
    many = "phone\n" + "\n".join(f"139{n:08d}" for n in range(350))
    done = await import_csv(supervisor, many, dry_run=False, existing="add")
    assert done["added"] == 350
    await import_csv(await api.as_role("agent"), good, 403)


async def test_what_is_exported_is_imported_again_and_executes_nothing(api: Any) -> None:
    supervisor = await api.as_role("supervisor")
    evil = {"name": "=cmd|' /C calc'!A0", "phones": ["13800000001"], "fields": {"City": "@x"}}
    await supervisor.post("/customers", evil)
    file = (await supervisor.get("/customers/export")).content
    text = file.decode("utf-8-sig")
    assert "\"'=cmd" in text
    assert "\"'@x" in text
    done = await import_csv(supervisor, text, dry_run=False, existing="add")
    assert done["added"] == 1
    one, two = (await supervisor.get("/customers"))["items"]
    assert (
        (one["name"], one["fields"])
        == (two["name"], two["fields"])
        == (evil["name"], {"City": "@x"})
    )


async def test_an_export_of_several_pages_is_one_file(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customers, "_EXPORT_PAGE", 2)
    supervisor = await api.as_role("supervisor")
    nobody = (await supervisor.get("/customers/export")).content.decode("utf-8-sig")
    assert nobody.splitlines() == ['"name","phone","address","region","priority","tags"']
    for n in range(5):
        fields = {"City": "Wuhan"} if n == 4 else {}
        await supervisor.post("/customers", {"name": f"n{n}", "fields": fields})
    rows = (await supervisor.get("/customers/export")).content.decode("utf-8-sig").splitlines()
    assert rows[0].endswith('"field:City"')
    assert [row[:5] for row in rows[1:]] == [f'"n{n}",' for n in range(5)]
    assert rows[5].endswith('"Wuhan"')


async def test_the_timeline_has_surveys_and_voicemails(api: Any) -> None:
    agent = await api.as_role("agent")
    phone = "+8613800000001"
    customer = await agent.post("/customers", {"name": "Wang Wei", "phones": [phone]})
    asked = {"survey": "satisfaction", "queue": "support", "agent": "lilei", "score": 2}
    api.store.journal.append("survey", "c1", {**asked, "caller": "13800000001"}, 1_000.0)
    await api.store.journal.flush()
    boxes = api.switch.catalogue.mailboxes
    message = Message(
        message_id="m1", box="1001", call_id="c2", number_from=phone, caller_name="", at_s=2_000.0
    )
    boxes.messages = lambda box: [message] if box == "1001" else []
    path = f"/customers/{customer['id']}/timeline"
    found = (await agent.get(path))["items"]
    assert [(m["kind"], m["thing"].partition(":")[0]) for m in found] == [
        ("voicemail", "voicemail"),
        ("survey", "survey"),
    ]
    assert found[1]["summary"] == "satisfaction: 2"
    first = await agent.get(path, params={"limit": 1})
    rest = await agent.get(path, params={"limit": 1, "cursor": first["next"]})
    assert [m["kind"] for m in first["items"] + rest["items"]] == ["voicemail", "survey"]
