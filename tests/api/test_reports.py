"""Reports over the API: every format, every way to tell apart, and what lies behind a figure."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from routing.events import (
    ContactAbandoned,
    ContactArrived,
    ContactRequeued,
    ContactWithdrawn,
)
from routing.model import Media
from softswitch.api import files, report_rows
from softswitch.api.routes import reports
from softswitch.apps.acd_contacts import TextContact
from tests.api.documents import whole

TEAMS = ("agent", "all", "queue", "region", "skill")


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
        *(("agents", {"per": per}) for per in TEAMS),
        *(("outcomes", {"per": per}) for per in ("all", "queue", "agent", "region", "skill")),
        *(("tickets", {"per": per}) for per in ("all", "assignee", "source", "region", "skill")),
        *(("adherence", {"per": per}) for per in TEAMS),
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


async def test_every_report_route_offers_every_format(api: Any) -> None:
    """Whatever report is added: the document says all three, and they come."""
    boss = await api.as_role("supervisor")
    paths = whole()["paths"]
    routes = [path for path in paths if path.startswith("/api/v1/reports/")]
    assert len(routes) >= 7
    for path in routes:
        assert paths[path].keys() == {"get"}
        operation = paths[path]["get"]
        (named,) = (one for one in operation["parameters"] if one["name"] == "format")
        assert named["schema"]["enum"] == ["json", "csv", "xlsx"]
        described = operation["responses"]["200"]["content"]
        assert described.keys() == {"application/json", "text/csv", files.XLSX}
        for form, kind in (
            ("json", "application/json"),
            ("csv", files.CSV),
            ("xlsx", files.XLSX),
        ):
            answer = await boss.http.get(path, params={"format": form})
            assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
            named = f'attachment; filename="{path.rpartition("/")[2]}.{form}"'
            assert answer.headers.get("content-disposition", named) == named


async def test_rows_are_what_the_document_says(api: Any) -> None:
    """Of every report, whatever it is told apart by."""
    boss = await api.as_role("supervisor")
    now_s = api.service.clock.wall_s()
    api.switch.centre.host.do(ContactArrived(contact_id="c1", queue_id="support", caller="+8610"))
    handled = {"contact": "c1", "queue": "support", "agent": "lilei", "talk_s": 30.0}
    api.store.journal.append("acd-handled", "c1", handled, now_s)
    await boss.post("/tickets", {"subject": "x"})
    plan = {"agent_id": "lilei", "start_s": now_s - 60, "end_s": now_s + 60}
    await boss.post("/shifts", plan)
    await api.store.journal.flush()
    found = whole()
    shown = set()
    for path, operations in found["paths"].items():
        if not path.startswith("/api/v1/reports/") or path.endswith("/visits"):
            continue
        content = operations["get"]["responses"]["200"]["content"]["application/json"]
        told = found["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        name = told["properties"]["rows"]["items"]["$ref"].rpartition("/")[2]
        row = found["components"]["schemas"][name]
        chosen = {one["name"]: one["schema"] for one in operations["get"]["parameters"]}
        per = chosen["per"].get("enum") or [n for s in chosen["per"]["anyOf"] for n in options(s)]
        for formula in chosen.get("formula", {}).get("enum", [None]):
            for each in per if formula in (None, "all") else per[:1]:
                asked = {"per": each} | ({"formula": formula} if formula else {})
                report = await boss.get(path.removeprefix("/api/v1"), params=asked)
                columns = set(report["columns"])
                assert columns <= row["properties"].keys(), (path, each, formula)
                assert set(row["required"]) <= columns, (path, each, formula)
                for one in report["rows"]:
                    getattr(report_rows, name).model_validate(one, strict=True)
                    shown.add(path)
    assert len(shown) == 6, shown


def options(schema: dict[str, Any]) -> list[str]:
    return schema.get("enum") or [schema["const"]]


@pytest.mark.limit("rows of a list as XLSX")
async def test_all_contacts_behind_a_figure_as_a_file(
    api: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    beside = tmp_path_factory.mktemp("workbooks")
    monkeypatch.setattr(files, "_PAGE", 7)
    monkeypatch.setattr(tempfile, "tempdir", str(beside))
    boss = await api.as_role("supervisor")
    now_s = api.service.clock.wall_s()
    for number in range(20):
        about = {"contact": f"c{number}", "queue": "support", "caller": EVIL}
        api.store.journal.append("acd-queued", f"c{number}", about, now_s - 60 + number)
    await api.store.journal.flush()
    asked = {"start_s": now_s - 3_600, "end_s": now_s + 3_600, "limit": 1}
    text = await boss.get("/reports/visits", params={**asked, "format": "csv"})
    rows = list(csv.DictReader(io.StringIO(text.content.decode("utf-8-sig"))))
    assert [row["contact_id"] for row in rows] == [f"c{n}" for n in reversed(range(20))]
    assert {row["caller"] for row in rows} == {f"'{EVIL}"}
    assert rows[0].keys() == (await boss.get("/reports/visits", params=asked))["items"][0].keys()
    page = (await boss.get("/reports/visits", params={**asked, "limit": 15}))["next"]
    rest = await boss.get("/reports/visits", params={**asked, "cursor": page, "format": "csv"})
    assert len(rest.content.splitlines()) == 1 + 5
    monkeypatch.setattr(files, "XLSX_TABLE_MAX", 20)
    book = await boss.get("/reports/visits", params={**asked, "format": "xlsx"})
    with zipfile.ZipFile(io.BytesIO(book.content)) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert (sheet.count("<row "), sheet.count("<f>")) == (21, 0)
    monkeypatch.setattr(files, "XLSX_TABLE_MAX", 19)
    await boss.get("/reports/visits", 422, params={**asked, "format": "xlsx"})
    assert os.listdir(beside) == [], "nothing of a workbook stays behind"
    none = {**asked, "skill": "none such"}
    empty = await boss.get("/reports/visits", params={**none, "format": "csv"})
    assert len(empty.content.splitlines()) == 1


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose ratios have columns of their own."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        found |= {f"{name} {part}": pytest.approx(each) for part, each in parts}
    return found


async def test_what_is_told_of_now_is_what_the_report_of_today_tells(api: Any) -> None:
    boss = await api.as_role("supervisor")
    do = api.switch.centre.host.do
    for number in range(9):
        queue = "support" if number % 3 else "billing"
        caller = f"+86{'10' if number % 2 else '21'}6555{number:04}"
        do(ContactArrived(contact_id=f"c{number}", queue_id=queue, caller=caller))
    await asyncio.sleep(0.02)
    do(ContactAbandoned("c1"))
    do(ContactAbandoned("c2"))
    do(ContactWithdrawn("c4", "key"))
    do(ContactRequeued(contact_id="c3", queue_id="support", by="mary"))
    do(ContactArrived(contact_id="c9", queue_id="support", caller="+861065550009"))
    await api.store.journal.flush()
    for per in ("all", "queue", "region", "skill"):
        for by in ("all", "half-hour", "hour"):
            asked = {"per": per, "by": by, "formula": "all"}
            live = await boss.get("/reports/live", params=asked)
            told = await boss.get("/reports/queues", params=asked)
            assert live["columns"] == told["columns"]
            assert [flat(row) for row in live["rows"]] == [flat(row) for row in told["rows"]]
    (row,) = (await boss.get("/reports/live", params={"per": "region", "region": "north"}))["rows"]
    assert (row["region"], row["entered"], row["abandoned"], row["requeued"]) == ("north", 6, 1, 1)
    (row,) = (await boss.get("/reports/live", params={"queue": "billing"}))["rows"]
    assert (row["queue"], row["entered"], row["waiting"]) == ("billing", 3, 2)
    await boss.get("/reports/live", 422, params={"per": "region", "queue": "billing"})
    await boss.get("/reports/live", 422, params={"per": "queue", "region": "north"})
    text = await boss.get("/reports/live", params={"per": "region", "format": "csv"})
    rows = list(csv.reader(io.StringIO(text.content.decode("utf-8-sig"))))
    assert [row[1] for row in rows] == ["region", "", "north"]
    shown = await boss.get("/queues/support")
    assert (shown["entered"], shown["abandoned"]) == (8, 2)


WHOLE = ("offered", "accepted", "missed", "rejected", "handled")


async def test_what_agents_do_is_told_live_as_the_report_of_today_tells_it(api: Any) -> None:
    """By agent, team and reason; tickets are no offers in either."""
    boss = await api.as_role("supervisor")
    agents, contacts = api.switch.agents, api.switch.contacts
    agents.log_in("lilei")
    agents.log_in("mary", available=False, reason="training")
    contacts.add(TextContact("ticket-1", "support"))
    for number in range(3):
        contacts.add(TextContact(f"chat-{number}", "support", Media.CHAT))
        await asyncio.sleep(0.02)
        contacts.accept(f"chat-{number}") if number else contacts.withdraw("chat-0")
    contacts.done("chat-1")
    agents.pause("lilei", "meal")
    agents.log_out("lilei")
    agents.log_out("mary")
    contacts.done("chat-2")
    assert agents.end_wrap_up("lilei")
    await api.store.journal.flush()
    for per in ("agent", "all", "queue", "region", "skill"):
        asked = {"per": per, "paid_reason": "training"}
        live = await boss.get("/reports/live/agents", params=asked)
        told = await boss.get("/reports/agents", params=asked)
        assert live["columns"] == told["columns"]
        assert [row[per] for row in live["rows"]] == [row[per] for row in told["rows"]] != []
        for one, other in zip(live["rows"], told["rows"], strict=True):
            for name in (*WHOLE, "online_s", "available_s", "unavailable_s", "talk_s"):
                assert one[name] == pytest.approx(other[name], abs=0.05), (per, name)
            for name in ("occupancy", "utilisation"):
                shares = (one[name]["denominator"], other[name]["denominator"])
                assert shares[0] == pytest.approx(shares[1], abs=0.05), (per, name)
    (lilei,) = (await boss.get("/reports/live/agents", params={"agent": "lilei"}))["rows"]
    assert (lilei["offered"], lilei["accepted"], lilei["handled"]) == (3, 2, 2)
    halves = (await boss.get("/reports/live/agents", params={"agent": "lilei", "by": "half-hour"}))[
        "rows"
    ]
    assert sum(row["offered"] for row in halves) == 3
    text = await boss.get("/reports/live/agents", params={"format": "csv"})
    assert text.content.decode("utf-8-sig").startswith('"period","agent","offered"')


async def test_what_nobody_waits_for_any_more_is_let_go_of_bit_by_bit(api: Any) -> None:
    made = 0

    def parts() -> Iterator[bytes]:
        nonlocal made
        for made in range(1, 200_001):  # noqa: B007
            yield b"x"

    answer = reports._joined(api.service, parts())
    assert (await anext(answer)).startswith(b"x")
    assert made < 200_000
    await answer.aclose()  # the browser has gone
    await api.service.finish_notes()
    assert made == 200_000


async def test_a_ticket_is_no_talk(api: Any) -> None:
    """It lies in a queue and in hand for days, which is nobody's wait and nobody's handle time."""
    boss, now_s = await api.as_role("supervisor"), api.service.clock.wall_s()
    append = api.store.journal.append
    for contact, media, talk_s in (("c1", "call", 30.0), ("ticket-1", "ticket", 200_000.0)):
        about = {"contact": contact, "queue": "support", "media": media, "caller": "+861065551000"}
        append("acd-queued", contact, about, now_s - 60)
        append("acd-connected", contact, {**about, "agent": "lilei"}, now_s - 55)
        append("acd-handled", contact, {**about, "agent": "lilei", "talk_s": talk_s}, now_s - 20)
    await api.store.journal.flush()
    span = {"start_s": now_s - 3_600, "end_s": now_s + 3_600}
    for report in ("queues", "agents", "outcomes"):
        (row,) = (await boss.get(f"/reports/{report}", params=span))["rows"]
        assert row["handled"] == 1, report
        assert row.get("talk_s", 30.0) == 30.0
        assert row.get("entered", 1) == row.get("known", 1) == row.get("resolved", 1) == 1
    assert [v["media"] for v in (await boss.get("/reports/visits", params=span))["items"]] == [
        "call"
    ]
    asked = {**span, "media": "ticket"}
    (row,) = (await boss.get("/reports/queues", params=asked))["rows"]
    assert (row["entered"], row["talk_s"]) == (1, 200_000.0)
    assert len((await boss.get("/reports/visits", params=asked))["items"]) == 1


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
    by_queue = (await boss.get("/reports/adherence", params={**span, "per": "queue"}))["rows"]
    assert [row["queue"] for row in by_queue] == ["billing", "support"], "he is in both"
    assert len((await boss.get("/shifts", params=span))["items"]) == 1
    await boss.delete(f"/shifts/{made['id']}")
    await boss.delete(f"/shifts/{made['id']}", 404)


T_S = 20.0
EVIL = "=cmd|' /C calc'!A0"
LEVELS = {
    # T of 20 s: numerator, denominator. The same day with T of 60 s, chosen afterwards.
    "answered": ((80, 90), (90, 90)),
    "short-abandons-good": ((86, 100), (100, 100)),
    "short-abandons-out": ((80, 94), (90, 90)),
    "offered": ((80, 100), (90, 100)),
    "offered-and-flowed-out": ((80, 103), (90, 103)),
}
PERCENT = {
    "answered": 88.9,
    "short-abandons-good": 86.0,
    "short-abandons-out": 85.1,
    "offered": 80.0,
    "offered-and-flowed-out": 77.7,
}


async def write_day(api: Any, at_s: float) -> None:
    """90 answered (80 within T), 10 abandoned (6 within T), 3 that flowed out."""
    append = api.store.journal.append
    waits = [("answered", 5.0)] * 80 + [("answered", 50.0)] * 10
    waits += [("abandoned", 10.0)] * 6 + [("abandoned", 40.0)] * 4 + [("overflowed", 30.0)] * 3
    for number, (outcome, waited_s) in enumerate(waits):
        call, begun_s = f"c{number}", at_s + number * 60
        about = {"contact": call, "queue": "support", "caller": EVIL, "region": "+1+2"}
        append("call-started", call, {"number_from": EVIL, "direction": "inbound"}, begun_s)
        append("acd-queued", call, about, begun_s)
        over_s = begun_s + waited_s
        told = {**about, "waited_s": waited_s}
        if outcome == "answered":
            append("acd-connected", call, {**told, "agent": "lilei"}, over_s)
        if outcome == "overflowed":
            append("acd-overflowed", call, {**about, "target": "hangup", "reason": "full"}, over_s)
        append("acd-closed", call, {**told, "outcome": outcome}, over_s)
        append("call-ended", call, {"outcome": "answered"}, over_s)
    assert await api.store.journal.flush()


async def everything(client: Any, path: str, params: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        page = await client.get(path, params=params | ({"cursor": cursor} if cursor else {}))
        found += page["items"]
        if (cursor := page["next"]) is None:
            return found


async def test_the_day_of_six_answers_with_what_is_behind_each(api: Any) -> None:
    boss = await api.as_role("supervisor")
    zone = api.switch.office.office.zone
    day = datetime.fromtimestamp(api.service.clock.wall_s(), zone) - timedelta(days=5)
    start_s = day.replace(hour=8, minute=0, second=0, microsecond=0).timestamp()
    await write_day(api, start_s)
    span = {"start_s": start_s - 8 * 3_600, "end_s": start_s + 16 * 3_600, "queue": "support"}

    async def level(formula: str, within_s: float) -> Any:
        asked = {**span, "formula": formula, "within_s": within_s}
        (row,) = (await boss.get("/reports/queues", params=asked))["rows"]
        return row

    async def check() -> None:
        for formula, expected in LEVELS.items():
            for within_s, (numerator, denominator) in zip((T_S, 60.0), expected, strict=True):
                found = (await level(formula, within_s))["service_level"]
                assert (found["numerator"], found["denominator"]) == (numerator, denominator)
                assert found["value"] == numerator / denominator
            percent = round(100 * (await level(formula, T_S))["service_level"]["value"], 1)
            assert percent == PERCENT[formula]
        every = await level("all", T_S)
        for formula, ((numerator, denominator), _) in LEVELS.items():
            found = every[f"service_level_{formula}"]
            assert (found["numerator"], found["denominator"]) == (numerator, denominator)

    await check()
    # Behind each number are the contacts that it counts.
    for outcome, in_time, count in (("answered", 80, 90), ("abandoned", 6, 10)):
        asked = {**span, "outcome": outcome, "limit": 50}
        assert len(await everything(boss, "/reports/visits", asked)) == count
        short = await everything(boss, "/reports/visits", asked | {"waited_max_s": T_S})
        assert len(short) == in_time
        assert all(v["outcome"] == outcome and v["waited_s"] <= T_S for v in short)
        assert {v["call_id"] for v in short} <= {f"c{n}" for n in range(103)}
    by_skill = {k: v for k, v in span.items() if k != "queue"} | {"outcome": "abandoned"}
    (skills,) = (await boss.get("/reports/queues", params={**span, "per": "skill"}))["rows"]
    asked = {**by_skill, "skill": skills["skill"]}
    assert len(await everything(boss, "/reports/visits", asked)) == skills["abandoned"] == 10
    assert await everything(boss, "/reports/visits", {**by_skill, "skill": "none such"}) == []
    flowed = await everything(boss, "/reports/visits", {**span, "outcome": "overflowed"})
    assert [(v["reason"], v["caller"]) for v in flowed] == [("full", EVIL)] * 3
    await boss.get(f"/calls/{flowed[0]['call_id']}")
    # Added up in the background the day says the same.
    while await api.store.journal.roll_on(api.service.clock.wall_s(), zone):
        pass
    await check()
    # As a file nothing of a stranger's is computed; figures have their parts beside them.
    asked = {**span, "per": "region", "formula": "all", "within_s": T_S}
    text = await boss.get("/reports/queues", params={**asked, "format": "csv"})
    (row,) = csv.DictReader(io.StringIO(text.content.decode("utf-8-sig")))
    assert row["region"] == "'+1+2"
    for formula, ((numerator, denominator), _) in LEVELS.items():
        name = f"service_level_{formula}"
        parts = float(row[f"{name}_numerator"]), float(row[f"{name}_denominator"])
        assert parts == (numerator, denominator)
    book = await boss.get("/reports/queues", params={**asked, "format": "xlsx"})
    with zipfile.ZipFile(io.BytesIO(book.content)) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert "<f>" not in texts["xl/worksheets/sheet1.xml"]
    assert any("<t>+1+2</t>" in text for text in texts.values())
