"""Quality inspection over the API: who sees what, from the scorecard to the decided appeal."""

from __future__ import annotations

from typing import Any

from tests.api.test_calls import write_wav

CARD = {
    "name": "Support call",
    "sections": [
        {
            "name": "Opening",
            "items": [
                {"key": "greeting", "question": "Greeted?", "points": 2},
                {"key": "identity", "question": "Asked?", "critical": True},
            ],
        }
    ],
}


def conversation(api: Any, call: str, extension: str) -> None:
    """A recorded minute with somebody at an extension."""
    append = api.store.journal.append
    append("call-started", call, {"number_from": "+861065551000"}, 1_000.0)
    append("leg-started", call, {"leg": 2, "endpoint": f"extension:{extension}"}, 1_000.0)
    append("recording-started", call, {"name": f"{call}.wav"}, 1_001.0)
    append("recording-stopped", call, {"name": f"{call}.wav"}, 1_060.0)
    append("call-ended", call, {}, 1_060.0)
    write_wav(api.directory / "recordings" / f"{call}.wav")


async def test_from_a_scorecard_to_a_decided_appeal(api: Any) -> None:
    conversation(api, "c1", "1001")
    await api.store.journal.flush()
    boss, mary, lilei = await api.as_role("supervisor"), api.client(), api.client()
    await mary.log_in("mary", "console-secret-mary")
    await lilei.log_in("lilei", "console-secret-lilei")
    heard = "/calls/c1/recordings/0"
    await lilei.get(heard, 404)
    card = await boss.post("/scorecards", CARD)
    assert card["pass_percent"] == 80.0
    await lilei.post("/scorecards", CARD, 403)
    await boss.post("/scorecards", {"name": "x", "sections": []}, 422)
    two = CARD["sections"] * 2  # type: ignore[operator]
    await boss.post("/scorecards", {"name": "x", "sections": two}, 409)
    body = {"scorecard_id": card["id"], "call_id": "c1", "agent_id": "lilei"}
    one = await mary.post("/evaluations", body)
    path = f"/evaluations/{one['id']}"
    await lilei.get(path, 404)
    answers = [{"key": "greeting", "points": 2}, {"key": "identity", "points": 0}]
    await boss.patch(path, {"answers": answers}, 409)
    judged = await mary.patch(path, {"answers": answers}, headers={"If-Match": '"1"'})
    assert (judged["score"], judged["raw_score"], judged["failed"]) == (0.0, 50.0, ["identity"])
    await mary.patch(path, {"summary": "x"}, 412, headers={"If-Match": '"1"'})
    await mary.post(f"{path}/comments", {"text": "Here", "second": 42.5})
    await mary.post(f"{path}/comments", {"text": "After its end", "second": 61.0}, 409)
    await mary.post(f"{path}/comments", {"text": "Elsewhere", "second": 1.0, "recording": 1}, 409)
    await mary.post(f"{path}/publish", expect=200)
    await mary.patch(path, {"summary": "late"}, 409)
    await mary.post("/evaluations", body | {"agent_id": "mary"}, 409)
    assert (await lilei.get(path))["status"] == "published"
    await lilei.get(heard)
    await lilei.get(f"{heard}/peaks")
    assert len((await lilei.get("/evaluations"))["items"]) == 1
    assert [c["second"] for c in (await lilei.get(f"{path}/comments"))["items"]] == [42.5]
    await mary.post(f"{path}/acknowledge", expect=404)
    await boss.post(f"{path}/appeal", {"text": "not mine"}, 403)
    await lilei.post(f"{path}/acknowledge", expect=200)
    await lilei.post(f"{path}/appeal", {"text": "I did, at 0:42"}, 200)
    await lilei.post(f"{path}/appeal", {"text": "again"}, 409)
    await mary.post(f"{path}/decision", {"upheld": True}, 409)
    right = [{"key": "identity", "points": 1}]
    done = await boss.post(f"{path}/decision", {"upheld": False, "answers": right}, 200)
    assert (done["status"], done["score"], done["upheld"]) == ("decided", 100.0, False)
    other = api.client()
    await other.log_in("mary", "console-secret-mary")
    coached = await other.post(
        "/agents/lilei/coaching", {"text": "Ask first.", "evaluation_id": one["id"]}
    )
    assert len((await lilei.get("/agents/lilei/coaching"))["items"]) == 1
    await lilei.get("/agents/mary/coaching", 404)
    await lilei.post(f"/agents/lilei/coaching/{coached['id']}/acknowledge", expect=200)
    await boss.post("/agents/nobody/coaching", {"text": "x"}, 404)


async def test_calibration_and_sampling(api: Any) -> None:
    now_s = api.service.clock.wall_s()
    append = api.store.journal.append
    append("call-started", "c1", {}, now_s - 60)
    handled = {"contact": "c1", "queue": "support", "agent": "lilei", "talk_s": 30.0}
    append("acd-handled", "c1", handled, now_s - 1)
    append("call-ended", "c1", {}, now_s - 1)
    await api.store.journal.flush()
    first, second = await api.as_role("supervisor"), api.client()
    await second.log_in("mary", "console-secret-mary")
    card = await first.post("/scorecards", CARD)
    body = {"scorecard_id": card["id"], "call_id": "c1", "agent_id": "lilei"}
    calibration = await first.post("/calibrations", body)
    path = f"/calibrations/{calibration['id']}"
    for inspector, points in ((first, 2), (second, 1)):
        mine = await inspector.post(f"{path}/evaluation", expect=200)
        answers = [{"key": "greeting", "points": points}, {"key": "identity", "points": 1}]
        await inspector.patch(f"/evaluations/{mine['id']}", {"answers": answers})
        await inspector.post(f"/evaluations/{mine['id']}/publish", expect=200)
    await first.get(f"/evaluations/{mine['id']}", 404)
    assert (await first.get(path))["comparison"] is None
    closed = await first.post(f"{path}/close", expect=200)
    assert closed["comparison"]["overall"]["equal"] == 0.5
    assert closed["comparison"]["items"]["greeting"]["difference"] == 50.0
    await first.get(f"/evaluations/{mine['id']}")
    params = {"scorecard_id": card["id"]}
    found = await first.get("/quality/agreement", params=params)
    assert found["overall"] == closed["comparison"]["overall"]
    rule = await first.post("/sampling-rules", {"name": "any", "scorecard_id": card["id"]})
    for kind in ("ticket-keyword", "low-survey", "long-hold"):
        await first.post("/sampling-rules", {"name": "x", "kind": kind}, 409)
    await first.post("/sampling-rules", {"name": "x", "scorecard_id": 999}, 404)
    drawn = (await first.post("/samples", expect=200))["items"]
    assert [(s["call_id"], s["agent_id"]) for s in drawn] == [("c1", "lilei")]
    await first.patch(f"/sampling-rules/{rule['id']}", {"enabled": False, "queues": ["support"]})
    assert (await first.get("/sampling-rules"))["items"][0]["enabled"] is False
    await first.delete(f"/samples/{drawn[0]['id']}")
    assert (await first.get("/samples", params={"status": "dismissed"}))["items"]
    await first.delete(f"/sampling-rules/{rule['id']}")


async def test_nobody_sees_or_judges_what_is_not_his(api: Any) -> None:
    """An agent's own view has his own and nobody else's; who inspects others is an agent like them there."""
    conversation(api, "c1", "1001")
    conversation(api, "c2", "1003")
    await api.store.journal.flush()
    boss, lilei, mary = await api.as_role("supervisor"), api.client(), api.client()
    await lilei.log_in("lilei", "console-secret-lilei")
    await mary.log_in("mary", "console-secret-mary")
    card = await boss.post("/scorecards", CARD)
    answers = [{"key": "greeting", "points": 2}, {"key": "identity", "points": 1}]
    made = {}
    for call, agent in (("c1", "lilei"), ("c2", "mary")):
        body = {"scorecard_id": card["id"], "call_id": call, "agent_id": agent}
        one = await boss.post("/evaluations", body | {"answers": answers})
        await boss.post(f"/evaluations/{one['id']}/publish", expect=200)
        made[agent] = one["id"]
    for path in ("", "/comments"):
        await lilei.get(f"/evaluations/{made['mary']}{path}", 404)
    await lilei.post(f"/evaluations/{made['mary']}/appeal", {"text": "x"}, 404)
    await lilei.post(f"/evaluations/{made['mary']}/comments", {"text": "x"}, 404)
    for params in ({}, {"agent_id": "mary"}, {"call_id": "c2"}):
        found = (await lilei.get("/evaluations", params=params))["items"]
        assert {one["agent_id"] for one in found} <= {"lilei"}
    await lilei.get("/calls/c1/recordings/0")
    await lilei.get("/calls/c2/recordings/0", 404)
    await lilei.get("/calls/c2/recordings/0/peaks", 404)
    for path in ("/samples", "/calibrations", "/sampling-rules"):
        await lilei.get(path, 403)
    await mary.post(f"/evaluations/{made['mary']}/appeal", {"text": "I asked"}, 200)
    await mary.post(f"/evaluations/{made['mary']}/decision", {"upheld": False}, 409)
    lines = await api.store.ledger.lines(thing="call:c1")
    assert [line.action for line in lines] == ["recording-played"]


async def test_a_range_in_the_middle_is_noted_too(api: Any) -> None:
    append = api.store.journal.append
    append("call-started", "c1", {}, 1_000.0)
    append("recording-started", "c1", {"name": "c1.wav"}, 1_001.0)
    append("call-ended", "c1", {}, 1_060.0)
    write_wav(api.directory / "recordings" / "c1.wav")
    await api.store.journal.flush()
    boss = await api.as_role("supervisor")
    for start in (10, 0, 500):
        headers = {"Range": f"bytes={start}-"}
        await boss.get("/calls/c1/recordings/0", 206, headers=headers)
    lines = await api.store.ledger.lines(thing="call:c1")
    assert [line.action for line in lines] == ["recording-played"]


async def test_only_who_spoke_is_judged_and_a_draft_may_be_thrown_away(api: Any) -> None:
    now_s = api.service.clock.wall_s()
    conversation(api, "c1", "1001")
    append = api.store.journal.append
    # Called back: what was decided stands under the request, what was said in a call of its own.
    append("call-started", "c2", {"direction": "outbound", "queue": "support"}, now_s - 60)
    about = {"contact": "b1", "queue": "support", "agent": "mary", "media": "callback"}
    append("acd-queued", "b1", about, now_s - 90)
    append("acd-callback-dialled", "c2", about, now_s - 60)
    append("acd-connected", "b1", {**about, "waited_s": 20.0}, now_s - 50)
    append("call-ended", "c2", {}, now_s - 2)
    append("acd-handled", "b1", {**about, "talk_s": 48.0, "outcome": "answered"}, now_s - 1)
    await api.store.journal.flush()
    boss = await api.as_role("supervisor")
    card = await boss.post("/scorecards", CARD)
    body = {"scorecard_id": card["id"], "call_id": "c1", "agent_id": "mary"}
    refused = await boss.post("/evaluations", body, 409)
    assert refused["detail"] == "mary did not speak in call c1; lilei did"
    await boss.post("/calibrations", body, 409)
    await boss.post("/calibrations", body | {"call_id": "nothing"}, 404)

    # And one whose sound is gone: nobody can listen to it.
    append("call-started", "c3", {}, now_s - 60)
    append("recording-started", "c3", {"name": "c3.wav"}, now_s - 60)
    append("acd-handled", "c3", {**about, "contact": "c3", "media": "call"}, now_s - 30)
    append("call-ended", "c3", {}, now_s - 30)
    append("recording-deleted", "c3", {"name": "c3.wav"}, now_s - 20)
    await api.store.journal.flush()
    await boss.post("/sampling-rules", {"name": "any"})
    drawn = (await boss.post("/samples", expect=200))["items"]
    assert [(one["call_id"], one["agent_id"]) for one in drawn] == [("c2", "mary")]
    assert (await boss.post("/samples", expect=200))["items"] == []
    story = await boss.get("/calls/c2")
    assert [one["agent_id"] for one in story["handlings"]] == ["mary"]
    kinds = [e["kind"] for e in (await boss.get("/calls/c2/journal?story=true"))["items"]]
    assert kinds[:3] == ["call-started", "acd-queued", "acd-callback-dialled"]

    body |= {"call_id": "c2", "sample_id": drawn[0]["id"]}
    draft = await boss.post("/evaluations", body)
    assert draft["queue_id"] == "support"
    put_up = {name: body[name] for name in ("scorecard_id", "call_id")} | {"agent_id": "mary"}
    calibration = await boss.post("/calibrations", put_up)
    mine = await boss.post(f"/calibrations/{calibration['id']}/evaluation", expect=200)
    assert mine["queue_id"] == "support"
    path = f"/evaluations/{draft['id']}"
    await boss.post(f"{path}/comments", {"text": "Hm"})
    mary = api.client()
    await mary.log_in("mary", "console-secret-mary")
    await mary.delete(path, 409)
    await boss.delete(path, 412, headers={"If-Match": '"7"'})
    await boss.delete(path)
    await boss.get(path, 404)
    sample = await boss.get(f"/samples/{drawn[0]['id']}")
    assert (sample["status"], sample["evaluation_id"]) == ("waiting", None)
    again = await boss.post("/evaluations", body)
    answers = [{"key": "greeting", "points": 2}, {"key": "identity", "points": 1}]
    await boss.patch(f"/evaluations/{again['id']}", {"answers": answers})
    await boss.post(f"/evaluations/{again['id']}/publish", expect=200)
    await boss.delete(f"/evaluations/{again['id']}", 409)
