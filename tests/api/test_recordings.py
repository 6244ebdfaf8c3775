"""Recordings: heard by whom it is allowed, in ranges, kept for their time and no longer."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import soundfile

from softswitch.apps.recording_files import inside

DAY_S = 86_400.0


async def recorded(api: Any, call: str, at_s: float) -> None:
    """A call with a second of sound: silence on the left, a loud half on the right."""
    folder = api.switch.office.storage.directory / "recordings"
    folder.mkdir(exist_ok=True)
    samples = np.zeros((8_000, 2), dtype=np.int16)
    samples[4_000:, 1] = 16_384
    soundfile.write(folder / f"{call}.wav", samples, 8_000, subtype="PCM_16")
    append = api.store.journal.append
    append("call-started", call, {"number_from": "+861065551000"}, at_s)
    append("recording-started", call, {"name": f"{call}.wav"}, at_s)
    append("call-ended", call, {}, at_s + 1)
    await api.store.journal.flush()


async def test_who_hears_what_in_ranges_is_in_the_audit_log(api: Any) -> None:
    await recorded(api, "c1", 1_000.0)
    boss, agent = await api.as_role("supervisor"), await api.as_role("agent")
    path = "/calls/c1/recordings/0"
    await agent.get(path, 404)
    whole = (await boss.get(path)).content
    assert whole[:4] == b"RIFF"
    part = await boss.ask("GET", path, 206, headers={"range": "bytes=4-11"})
    assert part.content == whole[4:12]
    assert part.headers["content-range"] == f"bytes 4-11/{len(whole)}"
    beyond = await boss.get(path, 416, headers={"range": f"bytes={len(whole)}-"})
    assert beyond["detail"] == f"it ends before that: {len(whole)} octets"
    for wrong in ("bytes=abc", "bytes=5-1", "bytes"):
        refused = await boss.get(path, 400, headers={"range": wrong})
        assert refused["detail"] == "a Range is bytes=FIRST-LAST, as in bytes=0-499"
    assert (await boss.get(path, headers={"range": "lines=1-2"})).content == whole, "RFC 9110, 14.2"
    peaks = await boss.get(f"{path}/peaks", params={"points": 4})
    assert peaks == {"duration_s": 1.0, "tracks": [[0, 0, 0, 0], [0, 0, 0.5, 0.5]]}
    lines = await api.store.ledger.lines(thing="call:c1")
    assert [line.action for line in lines] == ["recording-played"]


async def test_recordings_go_with_their_time_unless_they_are_held(api: Any) -> None:
    folder = api.switch.office.storage.directory / "recordings"
    now_s = api.service.clock.wall_s()
    for number in range(3):
        await recorded(api, f"old{number}", now_s - 181 * DAY_S)
        os.utime(folder / f"old{number}.wav", (now_s - 181 * DAY_S,) * 2)
    await recorded(api, "new", now_s - 179 * DAY_S)
    boss, admin = await api.as_role("supervisor"), await api.as_role("admin")
    held = await boss.ask("PUT", "/calls/old1/recording-hold", json={"reason": "dispute"})
    assert held["reason"] == "dispute"
    await boss.ask("PUT", "/calls/nothing/recording-hold", 404, json={"reason": "x"})
    assert [h["call_id"] for h in (await boss.get("/recording-holds"))["items"]] == ["old1"]
    sweep = api.switch.recordings.sweep
    assert await sweep() == 2
    await api.store.journal.flush()
    assert sorted(path.name for path in folder.glob("*.wav")) == ["new.wav", "old1.wav"]
    assert await sweep() == 0
    await boss.get("/calls/old0/recordings/0", 404)
    assert (await boss.get("/calls/old0"))["recordings"][0]["deleted_at_s"] is not None
    log = await api.store.ledger.lines(thing="call:old0")
    assert [(line.action, line.details["why"]) for line in log] == [
        ("recording-purged", "retention")
    ]
    await admin.delete("/calls/old1/recordings/0", 409)
    await boss.delete("/calls/old1/recording-hold", 403)
    await admin.delete("/calls/old1/recording-hold")
    await admin.delete("/calls/old1/recording-hold", 404)
    assert await sweep() == 1
    await boss.delete("/calls/new/recordings/0", 403)
    await admin.delete("/calls/new/recordings/0")
    await admin.delete("/calls/new/recordings/0", 404)
    assert list(folder.glob("*.wav")) == []
    assert await api.store.rebuild() == 4
    assert (await boss.get("/calls/old1"))["recordings"][0]["deleted_at_s"] is not None


async def test_recordings_are_listed_with_their_calls(api: Any) -> None:
    for number in range(3):
        await recorded(api, f"c{number}", 1_000.0 + number)
    append = api.store.journal.append
    append("recording-started", "c1", {"name": "c1-1.wav"}, 1_002.0)
    append("call-started", "silent", {}, 1_005.0)
    await api.store.journal.flush()
    boss = await api.as_role("supervisor")
    await boss.ask("PUT", "/calls/c1/recording-hold", json={"reason": "dispute"})
    wanted = [("c2", 0, False), ("c1", 0, True), ("c1", 1, True), ("c0", 0, False)]
    for limit in range(1, 6):
        seen: list[tuple[str, int, bool]] = []
        cursor = None
        while True:
            query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
            page = await boss.get("/recordings", params=query)
            assert len(page["items"]) <= limit
            seen += [(one["call_id"], one["number"], one["held"]) for one in page["items"]]
            if (cursor := page["next"]) is None:
                break
        assert seen == wanted
    (late,) = (await boss.get("/recordings", params={"since_s": 1_002.0}))["items"]
    assert (late["name"], late["number_from"]) == ("c2.wav", "+861065551000")
    await boss.get("/recordings", 422, params={"cursor": "WzFd"})


def test_no_name_leads_out_of_the_folder(tmp_path: Any) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    (tmp_path / "secret").write_text("x")
    (folder / "link.wav").symlink_to(tmp_path / "secret")
    (folder / "good.wav").write_text("x")
    for name in ("../secret", str(tmp_path / "secret"), "link.wav", "", ".", "..", "a\0b", "none"):
        assert inside(folder, name) is None, name
    assert inside(folder, "good.wav") == folder / "good.wav"
