"""Reports over the API: every format, every way to tell apart, and what lies behind a figure."""

from __future__ import annotations

import csv
import io
from typing import Any


async def test_every_report_in_every_format(api: Any) -> None:
    now_s = api.service.clock.wall_s()
    append = api.store.journal.append
    about = {"contact": "c1", "queue": "support", "caller": "=cmd|' /C calc'!A0", "region": "=1+1"}
    append("acd-queued", "c1", about, now_s - 60)
    append("acd-connected", "c1", {**about, "agent": "lilei", "waited_s": 5.0}, now_s - 55)
    append("acd-handled", "c1", {**about, "agent": "lilei", "talk_s": 30.0}, now_s - 20)
    append("acd-closed", "c1", {**about, "outcome": "answered", "waited_s": 5.0}, now_s - 20)
    await api.store.journal.flush()
    boss, agent = await api.as_role("supervisor"), await api.as_role("agent")
    span = {"start_s": now_s - 3_600, "end_s": now_s + 3_600}
    for path, params in (
        *(("queues", {"per": per}) for per in ("all", "queue", "agent", "region", "skill")),
        ("agents", {}),
        *(("outcomes", {"per": per}) for per in ("all", "queue", "agent")),
        *(("tickets", {"per": per}) for per in ("all", "department", "assignee", "source")),
        ("adherence", {}),
    ):
        await agent.get(f"/reports/{path}", 403)
        for by in ("all", "half-hour", "day"):
            asked = {**span, **params, "by": by}
            found = await boss.get(f"/reports/{path}", params=asked)
            assert all(list(row) == found["columns"] for row in found["rows"])
            text = await boss.get(f"/reports/{path}", params={**asked, "format": "csv"})
            rows = list(csv.reader(io.StringIO(text.content.decode("utf-8-sig"))))
            assert len(rows) == len(found["rows"]) + 1
            assert not any(cell.startswith("=") for row in rows for cell in row)
        book = await boss.get(f"/reports/{path}", params={**asked, "format": "xlsx"})
        assert book.content[:2] == b"PK"
    level = await boss.get("/reports/queues", params={**span, "formula": "all"})
    assert level["rows"][0]["service_level_offered"] == {
        "value": 1.0,
        "numerator": 1,
        "denominator": 1,
    }
    behind = {**span, "outcome": "answered", "waited_max_s": 5.0}
    assert len((await boss.get("/reports/visits", params=behind))["items"]) == 1
    behind["waited_max_s"] = 4.9
    assert (await boss.get("/reports/visits", params=behind))["items"] == []


async def test_plans(api: Any) -> None:
    boss = await api.as_role("supervisor")
    now_s = api.service.clock.wall_s()
    shift = {"agent_id": "lilei", "start_s": now_s - 600, "end_s": now_s - 60}
    made = await boss.post("/shifts", shift)
    await boss.post("/shifts", shift, 409)
    await boss.post("/shifts", {**shift, "agent_id": "nobody"}, 404)
    span = {"start_s": now_s - 3_600, "end_s": now_s}
    found = await boss.get("/reports/adherence", params=span)
    assert found["rows"][0]["adherence"] == {
        "value": 0.0,
        "numerator": 0.0,
        "denominator": found["rows"][0]["planned_s"],
    }
    assert len((await boss.get("/shifts", params=span))["items"]) == 1
    await boss.delete(f"/shifts/{made['id']}")
    await boss.delete(f"/shifts/{made['id']}", 404)
