"""Calls that go on, steered through the API, with real phones over loopback."""

from __future__ import annotations

from typing import Any

from softswitch.apps.supervisor import SUPERVISED
from tests.api.phones import live, phones, until


async def test_a_call_from_its_beginning_to_its_end(api: Any) -> None:
    boss = await api.as_role("supervisor")
    async with phones(api, "1001", "1002", "1003"):
        body = {"extension": "1001", "number": "1002", "caller_name": "Wang Wei"}
        made = await boss.post("/calls/live", body)
        call = await live(boss, "talking")
        url = f"/calls/live/{call['call_id']}"
        assert call["call_id"] == made["call_id"]
        assert call["agents"] == ["lilei"]
        busy = (await boss.get("/extensions", params={"busy": True, "registered": True}))["items"]
        assert {e["number"]: e["calls"] for e in busy} == {
            "1001": [call["call_id"]],
            "1002": [call["call_id"]],
        }
        read = {"If-Match": (await boss.http.get(f"/api/v1{url}")).headers["etag"]}
        await boss.ask("PUT", f"{url}/hold", 204, json={"on": True}, headers=read)
        late = await boss.post(f"{url}/transfer", {"to": "extension:1003"}, 412, headers=read)
        assert late["detail"] == "it was changed meanwhile: read it again"
        assert (await boss.get(url))["state"] == "held"
        await boss.ask("PUT", f"{url}/hold", 409, json={"on": True})
        await boss.ask("PUT", f"{url}/hold", 204, json={"on": False})
        await boss.post(f"{url}/play", {"prompt": "goodbye"}, 204)
        for prompt in ("no-such", "/etc/passwd.wav", "notes.wav", "text: ", "tone:no-such"):
            await boss.post(f"{url}/play", {"prompt": prompt}, 422)
        await boss.post(f"{url}/digits", {"digits": "12#"}, 204)
        await boss.ask("PUT", f"{url}/recording", 204, json={"start": True})
        await boss.ask("PUT", f"{url}/recording", 204, json={"paused": True})
        shown = await boss.get(url)
        assert (shown["recording"], shown["recording_paused"]) == (f"{call['call_id']}.wav", True)
        for wanted, found in (
            ({"queue": "support"}, 0),
            ({"agent": "lilei", "state": "talking", "number": "1002"}, 1),
        ):
            assert len((await boss.get("/calls/live", params=wanted))["items"]) == found
        await boss.post(f"{url}/supervise", {"mode": "listen"}, 422)
        await boss.post(f"{url}/supervise", {"mode": "listen", "extension": "1003"})
        await boss.post(f"{url}/transfer", {"to": "nowhere:1"}, 409)
        await boss.post(f"{url}/transfer", {"to": "extension:1003", "party": "caller"}, 204)

        async def moved() -> Any:
            legs = (await boss.get(url))["legs"]
            found = {str(leg["endpoint"]) for leg in legs if leg["state"] == "answered"}
            return found == {"extension:1001", "extension:1003"}

        await until(moved)
        await boss.delete(url)
        await boss.get(url, 404)
    await api.service.finish_notes()
    admin = await api.as_role("admin")
    lines = (await admin.get("/audit", params={"object": f"call:{call['call_id']}"}))["items"]
    assert [line["action"] for line in reversed(lines)] == [
        "call-originated",
        "call-put-on-hold",
        "call-taken-off-hold",
        "call-played-into",
        "call-keys-pressed",
        "call-recording-started",
        "call-recording-paused",
        "call-supervised",
        "call-transferred",
        "call-hung-up",
    ]


async def test_agents_steer_their_own_calls_only(api: Any) -> None:
    agent = api.client()
    await agent.log_in("lilei", "console-secret-lilei")
    boss = await api.as_role("supervisor")
    async with phones(api, "1001", "1002", "1003"):
        await agent.post("/calls/live", {"extension": "1002", "number": "1003"}, 403)
        await agent.post("/calls/live", {"extension": "1001", "number": "1999"}, 409)
        await boss.post("/calls/live", {"extension": "1002", "number": "1003"})
        other = await live(boss, "talking")
        assert (await agent.get("/calls/live"))["items"] == []
        url = f"/calls/live/{other['call_id']}"
        await agent.get(url, 404)
        await agent.delete(url, 404)
        await agent.post(f"{url}/transfer", {"to": "1001"}, 404)
        await agent.post(f"{url}/supervise", {}, 403)
        await boss.delete(url)
        await agent.post("/calls/live", {"extension": "1001", "number": "1002"})
        own = await live(agent, "talking")
        await agent.post(f"/calls/live/{own['call_id']}/park", {"party": "callee"}, 204)

        async def parked() -> Any:
            found = (await agent.get("/calls/live"))["items"]
            return api.switch.catalogue.parking.snapshot()["parked"] == 1 and found == []

        await until(parked)


async def test_a_conversation_is_heard_whispered_into_and_joined(api: Any) -> None:
    boss = await api.as_role("supervisor")
    async with phones(api, "1001", "1002", "1003"):
        await boss.post("/calls/live", {"extension": "1001", "number": "1002"})
        call = await live(boss, "talking")
        url = f"/calls/live/{call['call_id']}/supervise"
        rung = await boss.post(url, {"mode": "listen", "extension": "1003"})
        assert rung["call_id"] != call["call_id"]

        async def heard(count: int) -> Any:
            entries = (await boss.get(f"/calls/{call['call_id']}/journal"))["items"]
            modes = [e["data"]["mode"] for e in entries if e["kind"] == SUPERVISED]
            return len(modes) == count and modes

        modes = ["listen", "whisper", "barge", "listen"]
        await until(lambda: heard(1))
        for mode in modes[1:]:
            await boss.post(url, {"mode": mode, "extension": "1003"})
        assert await until(lambda: heard(4)) == modes
        await boss.post(f"/calls/live/{call['call_id']}/play", {"prompt": "text:One moment."}, 204)
        await boss.delete(f"/calls/live/{rung['call_id']}")
        assert (await live(boss, "talking"))["call_id"] == call["call_id"], "who talks goes on"
        await boss.delete(f"/calls/live/{call['call_id']}")


async def test_who_waits_is_given_away_and_moved(api: Any) -> None:
    boss = await api.as_role("supervisor")
    async with phones(api, "1001", "1002", "1003") as (_, caller, _):
        mary = api.client()
        await mary.log_in("mary", "console-secret-mary")
        call = await caller.call("5000")
        await call.answered()

        async def waiting(queue: str) -> Any:
            items = (await boss.get(f"/queues/{queue}/waiting"))["items"]
            return items and items[0]

        contact = (await until(lambda: waiting("support")))["contact"]
        await boss.post(f"/calls/live/{contact}/requeue", {"queue": "billing"}, 204)
        moved = await until(lambda: waiting("billing"))
        assert (moved["contact"], await waiting("support")) == (contact, [])
        await mary.ask("PUT", "/agents/mary/state", json={"state": "available"})
        await boss.post(f"/calls/live/{contact}/assign", {"agent": "mary"}, 204)
        talking = await live(boss, "talking")
        assert (talking["call_id"], talking["queues"]) == (contact, ["billing", "support"])
        assert "mary" in talking["agents"], "who is no member of that queue"
        await boss.ask("PUT", f"/calls/live/{contact}/recording", 204, json={"start": True})
        assert (await boss.get(f"/calls/live/{contact}"))["recording"]
        await boss.delete(f"/calls/live/{contact}/recording")
        await boss.delete(f"/calls/live/{contact}/recording", 404)
        call.hang_up()
        await call.ended()
