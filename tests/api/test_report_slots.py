"""How many reports are made at once, of one and of all, at the limit and one beyond it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from softswitch.api import report_slots
from softswitch.api.problem import Refused
from softswitch.api.report_slots import ALL_MAX, PER_PERSON_MAX, ReportSlots, Slot


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_slots, "PATIENCE_S", 0.05)


async def taken(slots: ReportSlots, count: int, name: str = "") -> list[Slot]:
    return [await slots.take(name or f"user:{number}") for number in range(count)]


async def refusal(slots: ReportSlots, person: str) -> int:
    with pytest.raises(Refused) as refused:
        await slots.take(person)
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"] == "5"
    return refused.value.status_code


@pytest.mark.limit("reports and exports of a person")
async def test_one_person_has_his_share_and_no_more() -> None:
    slots = ReportSlots()
    mine = await taken(slots, PER_PERSON_MAX, "user:mary")
    assert await refusal(slots, "user:mary") == 429
    (other,) = await taken(slots, 1, "user:lilei")
    mine[0].give_back()
    mine[0].give_back()  # the second time does nothing
    await taken(slots, 1, "user:mary")
    assert await refusal(slots, "user:mary") == 429
    for slot in (*mine, other):
        slot.give_back()
    assert slots.by_person == {"user:mary": 1}


@pytest.mark.limit("reports and exports of all")
async def test_all_together_have_theirs() -> None:
    slots = ReportSlots()
    all_ = await taken(slots, ALL_MAX)
    assert await refusal(slots, "user:one more") == 503
    all_[3].give_back()
    await taken(slots, 1, "user:one more")
    assert await refusal(slots, "user:another") == 503


async def test_who_waits_gets_what_is_given_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_slots, "PATIENCE_S", 10.0)
    slots = ReportSlots()
    mine = await taken(slots, PER_PERSON_MAX, "user:mary")
    waiting = [asyncio.create_task(slots.take("user:mary")) for _ in range(3)]
    await asyncio.sleep(0)
    (other,) = await taken(slots, 1, "user:lilei")
    other.give_back()
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting), "another's is not hers to have"
    waiting[0].cancel()
    mine[0].give_back()
    await asyncio.sleep(0.01)
    assert [task.done() for task in waiting] == [True, True, False]
    (await waiting[1]).give_back()
    (await waiting[2]).give_back()
    for slot in mine:
        slot.give_back()
    assert not slots.by_person


async def test_nothing_is_lost_where_patience_ends_in_the_moment_a_turn_comes() -> None:
    slots = ReportSlots()
    mine = await taken(slots, PER_PERSON_MAX, "user:mary")
    task = asyncio.create_task(slots.take("user:mary"))
    await asyncio.sleep(0)
    mine[0].give_back()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slots.by_person == {"user:mary": PER_PERSON_MAX - 1}


async def test_over_the_api_a_report_too_many_is_a_problem_and_slots_come_back(api: Any) -> None:
    boss, other = await api.as_role("supervisor"), await api.as_role("admin")
    slots = api.service.reports
    for _ in range(3):
        for form in ("json", "csv", "xlsx"):
            for path in ("queues", "visits", "live"):
                await boss.get(f"/reports/{path}", params={"format": form})
        await boss.get("/reports/queues", 422, params={"start_s": 5, "end_s": 4})
        assert not slots.by_person
    token = boss.http.headers["authorization"].partition(" ")[2]
    held = await taken(slots, PER_PERSON_MAX, api.service.accounts.of_token(token).actor)
    for path in ("queues", "live"):
        answer = await boss.http.get(f"/api/v1/reports/{path}")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
        assert answer.headers["content-type"] == "application/problem+json"
    await boss.get("/reports/visits", 429, params={"format": "csv"})
    await boss.get("/reports/visits")  # a page of JSON is no large thing
    await other.get("/reports/queues")
    for slot in held:
        slot.give_back()
    held = await taken(slots, ALL_MAX)
    answer = await other.http.get("/api/v1/reports/queues")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    await other.get("/customers/export", 503)
    for slot in held:
        slot.give_back()
    await other.get("/customers/export")
    assert not slots.by_person


async def test_who_leaves_before_the_first_octet_gives_his_slot_back(api: Any) -> None:
    slot = await api.service.reports.take("user:mary")

    async def parts() -> Any:
        yield b"x"

    answer = report_slots.SlotStream(parts())
    answer.slot = slot

    async def gone(_: Any = None) -> Any:
        raise OSError("gone")

    with pytest.raises(ClientDisconnect):
        await answer({"type": "http", "asgi": {"spec_version": "2.4"}}, gone, gone)
    assert not api.service.reports.by_person
