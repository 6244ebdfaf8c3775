"""Calls, recordings, agents, queues and reports."""

from __future__ import annotations

import csv
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from media.dsp import wav

SECRETS = ("a-long-secret", "trunk-secret", "console-secret", "4711")


def write_wav(path: Path, frames: int = 8_000) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = struct.pack("<4h", 16_384, 0, -32_768, 8_192) * (frames // 2)
    data = wav.header(wav.WavFormat(8_000, 2), len(samples)) + samples
    path.write_bytes(data)
    return data


async def write_call(api: Any, call_id: str, at_s: float, **more: Any) -> None:
    append = api.store.journal.append
    started = {"number_from": "+861065551000", "number_to": "5000", "direction": "inbound"}
    append("call-started", call_id, {**started, "trunk": "carrier", **more}, at_s)
    append("leg-started", call_id, {"leg": 1, "role": "caller", "endpoint": "trunk:carrier"}, at_s)
    about = {"contact": call_id, "queue": "support"}
    append("acd-queued", call_id, about, at_s + 1)
    connected = {**about, "agent": "lilei", "waited_s": 4.0, "offer": 1}
    append("acd-connected", call_id, connected, at_s + 5)
    append("call-answered", call_id, {}, at_s + 5)
    append("recording-started", call_id, {"name": f"{call_id}.wav"}, at_s + 5)
    ended = {"name": f"{call_id}.wav", "frames": 8_000, "reason": "ended"}
    append("recording-stopped", call_id, ended, at_s + 60)
    append("call-ended", call_id, {"outcome": "answered", "status": 200, "q850": 16}, at_s + 60)
    assert await api.store.journal.flush()


async def test_records_by_page_and_by_what_is_asked(api: Any) -> None:
    supervisor = await api.as_role("supervisor")
    for number in range(5):
        await write_call(api, f"c{number}", 1_000.0 + number)
    await write_call(api, "other", 5_000.0, number_from="1001", direction="internal")
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = await supervisor.get("/calls", params=params)
        seen += [call["call_id"] for call in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == ["other", "c4", "c3", "c2", "c1", "c0"]
    for params, count in (
        ({"number": "1001"}, 1),
        ({"number": "+861065551000"}, 5),
        ({"number": "01065551000"}, 5),  # as somebody in the office's country dials it
        ({"number": "5000"}, 6),
        ({"status": "answered"}, 6),
        ({"status": "busy"}, 0),
        ({"direction": "internal"}, 1),
        ({"queue": "support"}, 6),
        ({"queue": "billing"}, 0),
        ({"agent": "lilei"}, 6),
        ({"since_s": 1_003}, 3),
        ({"until_s": 1_001}, 1),
        ({"recorded": True}, 6),
        ({"number": "' OR 1=1 --"}, 0),
    ):
        assert len((await supervisor.get("/calls", params=params))["items"]) == count, params


async def test_an_agent_sees_his_own_calls(api: Any) -> None:
    await write_call(api, "queued", 1_000.0)
    append = api.store.journal.append
    for call_id, number_from, number_to in (
        ("begun", "1001", "1002"),
        ("missed", "+861065551000", "1001"),
        ("of-others", "1002", "1003"),
    ):
        numbers = {"number_from": number_from, "number_to": number_to}
        append("call-started", call_id, numbers, 2_000.0)
        append("call-ended", call_id, {"outcome": "no-answer"}, 2_010.0)
    assert await api.store.journal.flush()
    agent = api.client()
    await agent.log_in("lilei", "console-secret-lilei")
    found = (await agent.get("/calls"))["items"]
    assert [call["call_id"] for call in found] == ["missed", "begun", "queued"]
    missed = (await agent.get("/calls", params={"status": "no-answer", "number": "1002"}))["items"]
    assert [call["call_id"] for call in missed] == ["begun"]
    story = await agent.get("/calls/queued")
    assert story["visits"][0]["agent_id"] == "lilei"
    assert {leg["endpoint"] for leg in story["legs"]} == {"trunk:carrier"}
    await agent.get("/calls/of-others", 404)
    await agent.get("/calls/begun/journal", 403)
    program = await api.as_role("agent")
    assert "supervisor" in (await program.get("/calls", 403))["detail"]
    assert "supervisor" in (await program.get("/calls/queued", 403))["detail"]


async def test_one_call_and_its_journal(api: Any) -> None:
    supervisor = await api.as_role("supervisor")
    await write_call(api, "c1", 1_000.0)
    call = await supervisor.get("/calls/c1")
    assert (call["status"], call["origin"]) == ("answered", "trunk:carrier")
    assert [visit["outcome"] for visit in call["visits"]] == ["answered"]
    assert call["visits"][0]["caller"] == "+861065551000"
    kinds = [entry["kind"] for entry in (await supervisor.get("/calls/c1/journal"))["items"]]
    assert (kinds[0], kinds[-1]) == ("call-started", "call-ended")
    await supervisor.get("/calls/c2", 404)
    await supervisor.get("/calls/c2/journal", 404)


async def test_a_recording_is_streamed_in_ranges_and_listening_is_noted(api: Any) -> None:
    supervisor = await api.as_role("supervisor")
    await write_call(api, "c1", 1_000.0)
    url = "/calls/c1/recordings/0"
    await supervisor.get(url, 404)  # the file has gone
    data = write_wav(api.directory / "recordings" / "c1.wav")
    whole = await supervisor.get(url)
    assert whole.content == data
    assert whole.headers["content-type"] == "audio/wav"
    assert whole.headers["content-disposition"].startswith("attachment")
    part = await supervisor.get(url, 206, headers={"Range": "bytes=100-199"})
    assert part.content == data[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    answer = await supervisor.http.get(f"/api/v1{url}", headers={"Range": f"bytes={len(data)}-"})
    assert answer.status_code == 416
    lines = await api.store.ledger.lines(thing="call:c1")
    assert [line.action for line in lines] == ["recording-played"]
    peaks = await supervisor.get(f"{url}/peaks", params={"points": 10})
    assert peaks["duration_s"] == 1.0
    assert peaks["tracks"] == [[1.0] * 10, [0.25] * 10]
    await supervisor.get("/calls/c1/recordings/1", 404)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "", "link.wav", "a\0b"])
async def test_no_name_leads_out_of_the_folder(api: Any, name: str) -> None:
    supervisor = await api.as_role("supervisor")
    folder = api.directory / "recordings"
    folder.mkdir(exist_ok=True)
    (folder / "link.wav").symlink_to(api.directory / "secret")
    api.store.journal.append("call-started", "evil", {}, 1.0)
    api.store.journal.append("recording-started", "evil", {"name": name}, 1.0)
    await api.store.journal.flush()
    await supervisor.get("/calls/evil/recordings/0", 404)
    await supervisor.get("/calls/evil/recordings/0/peaks", 404)


async def test_what_is_no_sound_has_no_peaks(api: Any) -> None:
    supervisor = await api.as_role("supervisor")
    await write_call(api, "c1", 1_000.0)
    path = api.directory / "recordings" / "c1.wav"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"RIFF no")
    await supervisor.get("/calls/c1/recordings/0/peaks", 404)
    write_wav(path, 0)
    peaks = await supervisor.get("/calls/c1/recordings/0/peaks")
    assert peaks == {"duration_s": 0.0, "tracks": [[], []]}


async def test_live_calls_that_are_none(api: Any) -> None:
    supervisor = await api.as_role("supervisor")
    assert (await supervisor.get("/calls/live"))["items"] == []
    await supervisor.delete("/calls/live/c1", 404)
    await supervisor.ask("PUT", "/calls/live/c1/recording", 404, json={"paused": True})
    await supervisor.post("/calls/live/c1/requeue", {}, 409)
    await supervisor.post("/calls/live/c1/requeue", {"queue": "nowhere"}, 409)
    await supervisor.post("/calls/live/c1/assign", {"agent": "lilei"}, 409)


async def test_the_office_shows_no_secret(api: Any) -> None:
    supervisor = await api.as_role("supervisor")
    shown = ""
    for path in ("/office", "/extensions", "/trunks", "/queues", "/agents", "/status"):
        shown += str(await supervisor.get(path))
    assert [secret for secret in SECRETS if secret in shown] == []
    page = await supervisor.get("/extensions", params={"limit": 2})
    rest = await supervisor.get("/extensions", params={"limit": 2, "cursor": page["next"]})
    numbers = [extension["number"] for extension in page["items"] + rest["items"]]
    assert numbers == ["1001", "1002", "1003"]
    assert rest["next"] is None


async def test_an_agent_changes_his_own_state_and_a_supervisor_that_of_others(api: Any) -> None:
    lilei = api.client()
    await lilei.log_in("lilei", "console-secret-lilei")
    own = "/agents/lilei/state"
    shown = await lilei.ask("PUT", own, json={"state": "available"})
    assert shown["id"] == "lilei"
    shown = await lilei.ask("PUT", own, json={"state": "unavailable", "reason": "lunch"})
    assert (shown["state"], shown["reason"]) == ("unavailable", "lunch")
    await lilei.ask("PUT", "/agents/mary/state", 403, json={"state": "available"})
    mary = api.client()
    await mary.log_in("mary", "console-secret-mary")
    shown = await mary.ask("PUT", own, json={"state": "logged-out"})
    assert shown["state"] == "logged-out"
    await mary.ask("PUT", "/agents/nobody/state", 404, json={"state": "available"})
    await mary.get("/agents/nobody", 404)
    await api.service.finish_notes()
    (line,) = await api.store.ledger.lines(thing="agent:lilei")
    assert (line.actor, line.details) == ("agent:mary", {"state": "logged-out"})
    queues = {queue["name"]: queue for queue in (await mary.get("/queues"))["items"]}
    assert queues["support"]["agents"] == {"logged-out": 2}


async def test_reports_in_three_formats(api: Any) -> None:
    supervisor = await api.as_role("supervisor")
    await write_call(api, "c1", 86_400.0)
    params = {"start_s": 80_000, "end_s": 200_000, "by": "hour"}
    report = await supervisor.get("/reports/queues", params=params)
    (row,) = report["rows"]
    assert (row["queue"], row["answered"]) == ("support", 1)
    assert row["service_level"] == {"value": 1.0, "numerator": 1, "denominator": 1}
    assert row["period"] == "1970-01-02T08:00:00+08:00"
    text = (await supervisor.get("/reports/queues", params={**params, "format": "csv"})).content
    rows = list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"))))
    assert rows[0]["service_level_denominator"] == "1"
    book = await supervisor.get("/reports/queues", params={**params, "format": "xlsx"})
    with zipfile.ZipFile(io.BytesIO(book.content)) as archive:
        assert "xl/worksheets/sheet1.xml" in archive.namelist()
    del params["by"]
    visits = await supervisor.get("/reports/visits", params=params | {"outcome": "answered"})
    assert [visit["call_id"] for visit in visits["items"]] == ["c1"]
    agents = await supervisor.get("/reports/agents", params={"start_s": 80_000, "end_s": 90_000})
    assert agents["name"] == "agents"
    today = await supervisor.get("/reports/queues")
    assert today["end_s"] - today["start_s"] == 86_400
    for bad in (
        {"start_s": 5, "end_s": 5},
        {"start_s": 0, "end_s": 1e9, "by": "half-hour"},
        {"by": "fortnight"},
        {"formula": "mine"},
        {"within_s": 0},
    ):
        await supervisor.get("/reports/queues", 422, params=bad)
