"""Skills, callbacks, voicemail, prompts, lines, journal and surveys."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import soundfile

from softswitch.api.paging import write_cursor
from softswitch.apps.mailbox import Message


def sound(seconds: float = 0.5, rate: int = 16_000, kind: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    wave = 0.3 * np.sin(np.arange(int(seconds * rate)) / 8)
    soundfile.write(buffer, np.stack([wave, wave], axis=1), rate, format=kind)
    return buffer.getvalue()


async def test_skills(tmp_path: Any, running_api: Any) -> None:
    async with running_api(tmp_path) as api:
        admin = await api.as_role("admin")
        skills = {"lang.en": 4, "billing": 2}
        values = {"id": "wu", "extension": "1002", "password": "0123456789ab", "skills": skills}
        await admin.post("/config/agent", {"values": values})
        found = (await (await api.as_role("agent")).get("/skills"))["items"]
        assert found == [
            {"name": "billing", "agents": {"wu": 2}},
            {"name": "lang.en", "agents": {"wu": 4}},
        ]


async def test_callbacks(api: Any) -> None:
    boss = await api.as_role("supervisor")
    body = {"number": "1002", "queue": "support", "name": "Wang Wei"}
    made = await boss.post("/callbacks", body)
    (found,) = (await boss.get("/callbacks"))["items"]
    assert (found["id"], found["queue"], found["number"]) == (made["id"], "support", "1002")
    later_s = api.service.clock.wall_s() + 3_600
    again = await boss.post("/callbacks", {**body, "not_before_s": later_s}, 409)
    assert again["detail"] == "1002 is to be called back by support already"
    noted = {"number": "1003", "not_before_s": later_s, "note": "the second invoice"}
    later = await boss.post("/callbacks", {**body, **noted})
    found = await boss.get(f"/callbacks/{later['id']}")
    assert found["not_before_s"] == pytest.approx(later_s, abs=1.0)
    assert (found["phase"], found["attempts"], found["note"]) == (
        "dormant",
        0,
        "the second invoice",
    )
    for waiting in (made, later):
        path = f"/callbacks/{waiting['id']}"
        changed = await boss.patch(path, {"priority": 7, "name": "Wang Fang"})
        assert (changed["priority"], changed["name"]) == (7.0, "Wang Fang")
        assert (await boss.patch(path, {"name": "Wang Wei"}))["priority"] == 7.0
        assert (await boss.get(path))["number"] in ("1002", "1003"), "what is not said stays"
    path = f"/callbacks/{later['id']}"
    moved = await boss.patch(path, {"not_before_s": later_s + 600, "number": "1001"})
    assert moved["not_before_s"] == pytest.approx(later_s + 600, abs=1.0)
    assert (moved["number"], moved["phase"]) == ("1001", "dormant")
    assert (moved["note"], made["note"]) == ("the second invoice", "")
    assert (await boss.patch(path, {"note": "the third"}))["note"] == "the third"
    assert (await boss.patch(path, {"note": ""}))["note"] == ""
    await boss.patch(path, {"note": "x" * 1_001}, 422)
    barred = await boss.patch(path, {"number": "901"}, 409)
    assert barred["detail"] == "901 is not called back: no telephone number"
    taken = await boss.patch(path, {"number": "1002"}, 409)
    assert taken["detail"] == "1002 is to be called back by that queue already"
    assert (await boss.get(path))["number"] == "1001", "nothing of a refused change stays"
    assert (await boss.patch(path, {"not_before_s": 0}))["phase"] == "waiting"
    await boss.patch(f"/callbacks/{later['id']}", {"priority": 1}, 412, headers={"If-Match": '"x"'})
    tag = {"If-Match": (await boss.http.get(f"/api/v1{path}")).headers["etag"]}
    await boss.patch(path, {"priority": 1}, headers=tag)
    await boss.patch(path, {"priority": 2}, 412, headers=tag)
    await boss.patch("/callbacks/nobody", {"priority": 1}, 404)
    await boss.delete(f"/callbacks/{later['id']}")
    await boss.post("/callbacks", {**body, "queue": "nowhere"}, 409)
    await boss.post("/callbacks", {**body, "number": "901"}, 409)
    await boss.post("/callbacks", {**body, "agent": "nobody"}, 422)
    await boss.delete(f"/callbacks/{made['id']}")
    await boss.delete(f"/callbacks/{made['id']}", 404)
    assert (await boss.get("/callbacks"))["items"] == []


async def test_voicemail_is_its_owners(api: Any) -> None:
    mailboxes = api.switch.catalogue.mailboxes
    for number in range(2):
        now_s = api.service.clock.wall_s()
        message = Message(
            message_id=f"m{number}", box="1001", call_id="c1", number_from="1002",
            caller_name="", at_s=now_s + number,
        )  # fmt: skip
        mailboxes.begin(message)
        source = mailboxes.recording_path(mailboxes.recording_name(message))
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(sound(2.0, 8_000))
        assert await mailboxes.keep(message) is not None
    owner, other = api.client(), api.client()
    await owner.log_in("lilei", "console-secret-lilei")
    found = (await owner.get("/voicemails/1001"))["items"]
    assert [(m["message_id"], m["heard"]) for m in found] == [("m0", False), ("m1", False)]
    wav = await owner.get("/voicemails/1001/m0")
    assert wav.content[:4] == b"RIFF"
    part = await owner.get("/voicemails/1001/m0", 206, headers={"Range": "bytes=4-7"})
    assert len(part.content) == 4
    await owner.get("/voicemails/1001/m1", 206, headers={"Range": "bytes=1-"})
    (first,) = (await owner.get("/voicemails/1001?limit=1"))["items"]
    assert first["message_id"] == "m0"
    assert (await owner.patch("/voicemails/1001/m0", {"heard": True}))["heard"] is True
    await owner.patch("/voicemails/1001/m0", {"heard": False}, 422)
    await owner.delete("/voicemails/1001/m0")
    await owner.get("/voicemails/1001/m0", 404)
    await owner.get("/voicemails/1002", 404)
    await api.service.accounts.add_user(
        "test", name="zhao", role="agent", password_hash=await api.service.accounts.hash("x" * 12),
        full_name="", must_change=False,
    )  # fmt: skip
    await other.log_in("zhao", "x" * 12)
    await other.get("/voicemails/1001", 404)
    await other.delete("/voicemails/1001/m1", 404)
    assert mailboxes.counts("1001") == (1, 0)
    await api.service.finish_notes()
    lines = (await (await api.as_role("admin")).get("/audit?actor=agent:lilei"))["items"]
    assert [(line["action"], line["object"]) for line in reversed(lines)] == [
        ("logged-in", "session:lilei"),
        ("voicemail-played", "voicemail:1001/m0"),
        ("voicemail-played", "voicemail:1001/m1"),  # though not from its first octet on
        ("voicemail-marked-heard", "voicemail:1001/m0"),
        ("voicemail-removed", "voicemail:1001/m0"),
    ]


async def test_lists_of_what_goes_on_are_pages(api: Any) -> None:
    boss = await api.as_role("admin")
    for path, key in (
        ("/agents", "id"),
        ("/queues", "name"),
        ("/voicemails", "box"),
        ("/extensions", "number"),
        ("/prompts?source=shipped", "name"),
        ("/tokens", "id"),
    ):
        whole = (await boss.get(path))["items"]
        joint = "&" if "?" in path else "?"
        paged: list[Any] = []
        cursor = ""
        while cursor is not None and len(paged) < 6:
            found = await boss.get(
                f"{path}{joint}limit=2" + (f"&cursor={cursor}" if cursor else "")
            )
            assert len(found["items"]) <= 2
            paged += found["items"]
            cursor = found["next"]
        assert [each[key] for each in paged] == [each[key] for each in whole][: len(paged)]
        await boss.get(f"{path}{joint}cursor={write_cursor(1.5, 'x', 3, 4)}", 422)


async def test_lists_are_filtered(tmp_path: Any, running_api: Any) -> None:
    more = 'skills = { billing = 3 }\n[[hours]]\nname = "never"\n[hours.open]\nmon = []\n'
    async with running_api(tmp_path, more) as api:
        boss = await api.as_role("admin")
        hook = {"url": "https://crm.example/hook", "topics": ["calls"]}
        await boss.post("/webhooks", {"name": "CRM", **hook})
        user = {"password": "a long enough one", "role": "agent"}
        await boss.post("/users", {"name": "zhao", "full_name": "Zhao Min", **user})
        await boss.post("/callbacks", {"number": "1002", "queue": "support", "agent": "lilei"})
        values = {"number": "1009", "name": "Zhao Min", "password": "a-long-secret-1009"}
        await boss.post("/config/extension", {"values": values})
        for path, key, found in (
            ("/agents?queue=billing", "id", ["lilei"]),
            ("/agents?state=logged-out", "id", ["lilei", "mary"]),
            ("/agents?state=available", "id", []),
            ("/agents?skill=nothing", "id", []),
            ("/agents?text=SMITH", "id", ["mary"]),
            ("/queues?agent=mary", "name", ["support"]),
            ("/queues?agent=nobody", "name", []),
            ("/queues?open=true", "name", ["billing", "support"]),
            ("/queues?open=false", "name", []),
            ("/skills?agent=mary", "name", ["billing"]),
            ("/skills?agent=lilei", "name", []),
            ("/hours?open=true", "name", []),
            ("/hours?open=false", "name", ["never"]),
            ("/regions?agent=lilei", "name", []),
            ("/trunks?state=up", "name", []),
            ("/voicemails?new=false", "box", ["1001"]),
            ("/voicemails?new=true", "box", []),
            ("/extensions?registered=true", "number", []),
            ("/extensions?busy=false&text=li", "number", ["1001"]),
            ("/callbacks?agent=lilei", "number", ["1002"]),
            ("/callbacks?agent=mary", "number", []),
            ("/webhooks?active=true&topic=calls", "name", ["CRM"]),
            ("/webhooks?topic=tickets", "name", []),
            ("/users?text=min&active=true", "name", ["zhao"]),
            ("/users?active=false", "name", []),
            ("/config/extension?text=zhao", "name", ["1009"]),
            ("/config/extension?text=zhao&source=file", "name", []),
            ("/config/extension?source=file&limit=2", "name", ["1001", "1002"]),
            ("/queues/support/waiting?media=callback", "media", ["callback"]),
            ("/queues/support/waiting?media=call", "media", []),
        ):
            items = (await boss.get(path))["items"]
            assert [each[key] for each in items] == found, path
        first = await boss.get("/config/extension?limit=2&text=100")
        rest = await boss.get(f"/config/extension?limit=2&text=100&cursor={first['next']}")
        assert [each["name"] for each in rest["items"]] == ["1003", "1009"]
        assert rest["next"] is None


async def test_one_extension_says_all_of_it(api: Any) -> None:
    """What a screen of extensions shows is in one answer."""
    boss = await api.as_role("supervisor")
    await boss.ask("PUT", "/extensions/1001/line", json={"forward_busy": "voicemail"})
    (row,) = (await boss.get("/extensions", params={"text": "1001"}))["items"]
    assert row == await boss.get("/extensions/1001")
    assert (row["forward_busy"], row["agent"], row["calls"]) == ("voicemail:1001", "lilei", [])


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
async def test_prompts_are_converted_and_heard_by_the_next_call(api: Any, kind: str) -> None:
    admin = await api.as_role("admin")
    prompts = api.switch.desk.prompts
    shipped = prompts.find("goodbye", "en")
    url = "/prompts/en/goodbye"
    paths = {shipped}
    for seconds in (0.5, 1.0):
        await admin.ask("PUT", url, content=sound(seconds, kind=kind))
        paths.add(prompts.find("goodbye", "en"))
        info = soundfile.info(prompts.find("goodbye", "en"))
        assert (info.channels, info.subtype, info.samplerate) == (1, "PCM_16", 16_000)
        assert info.duration == pytest.approx(seconds, abs=0.01)
    assert len(paths) == 3, "whatever plays files knows them by their names"
    listed = {
        (p["name"], p["language"]): p["source"] for p in (await admin.get("/prompts"))["items"]
    }
    assert listed["goodbye", "en"] == "own"
    read = await admin.get(url)
    assert read.content[:4] == b"RIFF"
    tag = {"If-Match": read.headers["etag"]}
    await admin.ask("PUT", url, content=sound(1.5, kind=kind), headers=tag)
    await admin.ask("PUT", url, 412, content=sound(2.0, kind=kind), headers=tag)
    await admin.ask("PUT", "/prompts/en/new", 412, content=sound(), headers={"If-Match": "*"})
    await admin.delete(url, 412, headers=tag)
    await admin.delete(url)
    assert prompts.find("goodbye", "en") == shipped
    await admin.delete(url, 404)
    own = [p.name for p in (api.directory / "prompts").rglob("*") if p.is_file()]
    assert own == []


async def test_what_is_no_prompt_is_refused(api: Any) -> None:
    admin = await api.as_role("admin")
    for url, content, status in (
        ("/prompts/en/x", b"", 422),
        ("/prompts/en/x", b"not a sound", 415),
        ("/prompts/en/x", sound()[:20], 415),
        ("/prompts/en/..%2Fx", sound(), 404),
        ("/prompts/fr/x", sound(), 422),
        ("/prompts/en/x", sound(901.0, 8_000), 422),
    ):
        await admin.ask("PUT", url, status, content=content)
    assert not any((api.directory / "prompts").rglob("*.upload"))
    await admin.ask("PUT", "/prompts/music/waltz", content=sound())
    await admin.post("/config/queue", {"values": {"name": "sales", "music": "waltz"}})
    await admin.delete("/prompts/music/waltz", 409)


async def test_lines(api: Any) -> None:
    boss, owner = await api.as_role("supervisor"), api.client()
    await owner.log_in("lilei", "console-secret-lilei")
    url = "/extensions/1001/line"
    body = {"do_not_disturb": True, "forward_busy": "voicemail", "forward_always": "1002"}
    found = await owner.ask("PUT", url, json=body)
    assert (found["do_not_disturb"], found["forward_busy"]) == (True, "voicemail:1001")
    assert (await boss.get("/extensions/1001"))["forward_always"] == "1002"
    assert (await owner.ask("PUT", url, json={"forward_always": None}))["forward_always"] == ""
    await owner.ask("PUT", url, 409, json={"forward_always": "1999"})
    await owner.ask("PUT", "/extensions/1002/line", 404, json={})
    await boss.get("/extensions/1999", 404)


async def test_journal_and_surveys(api: Any) -> None:
    append = api.store.journal.append
    append("call-started", "c1", {"number_from": "1"}, 1_000.0)
    asked = {"survey": "satisfaction", "queue": "support", "agent": "lilei", "score": 4}
    append("survey-answered", "c1", asked, 1_100.0)
    append("call-ended", "c1", {}, 1_200.0)
    await api.store.journal.flush()
    admin = await api.as_role("admin")
    page = await admin.get("/journal", params={"until_s": 2_000, "limit": 2})
    assert [e["kind"] for e in page["items"]] == ["call-ended", "survey-answered"]
    rest = await admin.get("/journal", params={"until_s": 2_000, "cursor": page["next"]})
    assert [e["kind"] for e in rest["items"]] == ["call-started"]
    only = await admin.get("/journal", params={"kind": "call-ended", "since_s": 1_150})
    assert len(only["items"]) == 1
    boss = await api.as_role("supervisor")
    await boss.get("/journal", 403)
    assert isinstance((await boss.get("/surveys"))["items"], list)


NOT_TAGS = ("abc", "1", '"1" "2"', 'W/"1" , *', "")
TAGS = {'"abc"': 412, '"7", "8"': 412, '"7", "1"': 200, 'W/"2"': 200, "*": 200}


async def test_what_is_no_etag_is_not_called_stale(api: Any) -> None:
    """RFC 9110, section 13.1.1: who forgets the quotes is told so, and does not read in vain again."""
    agent = await api.as_role("agent")
    await agent.post("/tickets", {"subject": "x"})
    for tag in NOT_TAGS:
        told = await agent.patch("/tickets/1", {"kind": "y"}, 400, headers={"If-Match": tag})
        assert told["detail"] == 'If-Match is * or the ETag that was read, in its quotes, as in "3"'
    for number, (tag, status) in enumerate(TAGS.items()):
        body = {"kind": f"kind {number}"}
        await agent.patch("/tickets/1", body, status, headers={"If-Match": tag})
        assert ((await agent.get("/tickets/1"))["kind"] == body["kind"]) is (status == 200), tag


async def test_a_filter_that_is_misspelt_does_not_show_everything(api: Any) -> None:
    admin = await api.as_role("admin")
    told = await admin.get("/audit?thing=call:1&limit=5", 422)
    (fault,) = told["errors"]
    assert fault["pointer"] == "thing"
    assert fault["detail"].startswith("is no parameter here; there are: action, actor, ")
    assert (await admin.get("/session?x=1", 422))["errors"][0]["detail"].endswith("are: none")
    # Who comes from an issuer brings what that likes to add.
    await api.client().get("/ready?session_state=1")
