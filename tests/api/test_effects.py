"""What is configured by API is used at once: real telephones on loopback notice it, without a restart, and
notice when it is taken away again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from softswitch.ports import free_port
from softswitch.sim.behaviour import ring
from softswitch.sim.phone_call import CallNotAnswered
from tests.api.phones import carrier, live, phones, until


async def refused(phone: Any, number: str) -> int:
    """The status with which a call to `number` ends."""
    call = await phone.call(number)
    with pytest.raises(CallNotAnswered):
        await asyncio.wait_for(call.answered(), 10)
    return int((await call.ended()).status)


async def talks(phone: Any, number: str) -> Any:
    call = await phone.call(number)
    await asyncio.wait_for(call.answered(), 10)
    return call


async def gone(boss: Any) -> None:
    """Wait until no call goes on."""

    async def look() -> bool:
        return not (await boss.get("/calls/live"))["items"]

    await until(look)


async def test_an_extension_registers_is_called_and_is_gone(api: Any) -> None:
    admin = await api.as_role("admin")
    values = {"number": "1009", "name": "Wu", "password": "a-long-secret-1009"}
    async with phones(api, "1001") as (li,):
        async with phones(api, "1009", register=401):
            assert await refused(li, "1009") == 404
        await admin.post("/config/extension", {"values": values})
        async with phones(api, "1009"):
            call = await talks(li, "1009")
            assert (await admin.get("/extensions/1009"))["name"] == "Wu"
            call.hang_up()
            await gone(admin)
            await admin.patch(
                "/config/extension/1009", {"values": {"password": "another-secret-1009"}}
            )
            listed = (await admin.get("/extensions"))["items"]
            assert next(e for e in listed if e["number"] == "1009")["registered"] == []
        await admin.delete("/config/extension/1009")
        assert await refused(li, "1009") == 404


async def test_a_ring_group_rings(api: Any) -> None:
    admin = await api.as_role("admin")
    async with phones(api, "1001", "1002") as (li, _), phones(api, "1003", behaviour=ring()):
        assert await refused(li, "1100") == 404
        values = {"number": "1100", "members": ["1002", "1003"]}
        await admin.post("/config/ring_group", {"values": values})
        (await talks(li, "1100")).hang_up()
        await gone(admin)
        await admin.patch("/config/ring_group/1100", {"values": {"members": ["1003"]}})
        call = await li.call("1100")
        shown = await live(admin, "ringing")
        assert [leg["endpoint"] for leg in shown["legs"]][1:] == ["extension:1003"]
        call.hang_up()
        await gone(admin)
        await admin.delete("/config/ring_group/1100")
        assert await refused(li, "1100") == 404


async def test_a_trunk_and_routes_lead_out_and_in(api: Any) -> None:
    admin = await api.as_role("admin")
    port = free_port()
    trunk = {"name": "backup", "uri": f"sip:127.0.0.1:{port}"}
    trunk |= {"from_addresses": [f"127.0.0.1:{port}"]}  # type: ignore[dict-item]
    async with phones(api, "1001", "1002") as (li, _), carrier(api, port) as outside:
        assert await refused(outside, "+861065551000") == 401
        await admin.post("/config/trunk", {"values": trunk})
        assert await refused(outside, "+861065551000") == 404
        route = {"number": "+861065551000", "to": "extension:1002"}
        inbound = await admin.post("/config/inbound", {"values": route})
        (await talks(outside, "+861065551000")).hang_up()
        await gone(admin)
        route = {"prefix": "9", "strip": 1, "trunks": ["backup"], "permission": "national"}
        outbound = await admin.post("/config/outbound", {"values": route})
        call = await talks(li, "901065550001")
        shown = await admin.get("/trunks/backup")
        assert (shown["calls"], shown["refused"]) == (1, 0)
        assert shown["targets"][0]["address"] == f"127.0.0.1:{port}"
        call.hang_up()
        await gone(admin)
        await admin.delete("/config/trunk/backup", 409)
        await admin.delete(f"/config/outbound/{outbound['name']}")
        await admin.delete(f"/config/inbound/{inbound['name']}")
        await admin.delete("/config/trunk/backup")
        await admin.get("/trunks/backup", 404)
        assert await refused(li, "901065550001") >= 400
        assert await refused(outside, "+861065551000") == 401


async def test_menus_hours_and_flows_are_met(api: Any) -> None:
    admin = await api.as_role("admin")
    always, never = {"mon-sun": ["00:00-24:00"]}, {"mon-sun": []}
    hours = {"name": "day", "open": always, "holidays": []}
    menu = {"name": "main", "number": "7000", "hours": "day", "otherwise": "hangup"}
    menu |= {"closed": "extension:1002"}
    async with phones(api, "1001", "1002") as (li, _):
        await admin.post("/config/hours", {"values": hours})
        await admin.post("/config/ivr", {"values": menu})
        call = await talks(li, "7000")
        assert [leg["endpoint"] for leg in (await live(admin, "answered"))["legs"]] == [
            "extension:1001"
        ]
        (shown,) = (await admin.get("/hours"))["items"]
        assert (shown["name"], shown["open"], shown["week"][0]) == ("day", True, ["00:00-24:00"])
        call.hang_up()
        await gone(admin)
        await admin.patch("/config/hours/day", {"values": {"open": never}})
        (shown,) = (await admin.get("/hours"))["items"]
        assert (shown["open"], shown["changes_at_s"]) == (False, None)
        call = await talks(li, "7000")
        await live(admin, "talking")  # with 1002, as it is closed
        call.hang_up()
        await gone(admin)
        flow = {"name": "hello", "number": "7100", "step": [{"do": "hang-up"}]}
        assert await refused(li, "7100") == 404
        await admin.post("/config/flow", {"values": flow})
        ended = await (await li.call("7100")).ended()
        assert ended.status != 404
        dial = {"step": [{"do": "dial", "to": "extension:1002", "next": "hangup"}]}
        await admin.patch("/config/flow/hello", {"values": dial})
        (await talks(li, "7100")).hang_up()
        await gone(admin)
        await admin.delete("/config/flow/hello")
        assert await refused(li, "7100") == 404


async def test_a_queue_its_agent_and_a_region_serve_a_caller(api: Any) -> None:
    admin = await api.as_role("admin")
    await admin.post("/config/region", {"values": {"name": "south", "prefixes": ["+8620"]}})
    values = {"name": "sales", "number": "5010", "skill": "sales >= 2", "ring_s": 20.0}
    await admin.post("/config/queue", {"values": values})
    await admin.get("/queues/nothing", 404)
    await admin.get("/queues/nothing/waiting", 404)
    async with phones(api, "1001", "1002", "1003") as (li, _, mary):
        first, second = await talks(li, "5010"), await talks(mary, "5010")

        async def both() -> Any:
            items = (await admin.get("/queues/sales/waiting"))["items"]
            return len(items) == 2 and items

        one, two = await until(both)
        assert [w["position"] for w in (one, two)] == [1, 2]
        assert one["demands"] == ["skill sales >= 2"]
        assert (await admin.get("/queues/sales"))["waiting"] == 2
        page = await admin.get("/queues/sales/waiting", params={"limit": 1})
        rest = await admin.get("/queues/sales/waiting", params={"cursor": page["next"]})
        assert [w["contact"] for w in page["items"] + rest["items"]] == [
            one["contact"],
            two["contact"],
        ]
        url = f"/calls/live/{two['contact']}/priority"
        await admin.ask("PUT", url, 204, json={"priority": 50})
        assert [w["contact"] for w in await both()] == [two["contact"], one["contact"]]
        await admin.ask("PUT", "/calls/live/none/priority", 409, json={"priority": 1})
        agent = {"id": "wu", "extension": "1002", "password": "console-secret-wu"}
        agent |= {"queues": ["sales"], "skills": {"sales": 1}, "regions": ["south"]}  # type: ignore[dict-item]
        await admin.post("/config/agent", {"values": agent})
        await admin.ask("PUT", "/agents/wu/state", json={"state": "available"})
        assert len(await both()) == 2, "he is not skilled enough"
        await admin.patch("/config/agent/wu", {"values": {"skills": {"sales": 2}}})
        talking = await live(admin, "talking")
        assert talking["call_id"] == two["contact"]
        assert "wu" in talking["agents"]
        (region,) = [r for r in (await admin.get("/regions"))["items"] if r["name"] == "south"]
        assert region["agents"] == ["wu"]
        first.hang_up()
        second.hang_up()
        await gone(admin)
    for number, name in (("02088880000", "south"), ("01088880000", "north"), ("1", "")):
        found = await admin.get("/regions/lookup", params={"number": number})
        assert found["region"] == name, number


async def test_a_conference_brings_two_together(api: Any) -> None:
    admin = await api.as_role("admin")
    async with phones(api, "1001", "1002") as (li, han):
        assert await refused(li, "8000") == 404
        await admin.post("/config/conference", {"values": {"number": "8000"}})
        calls = [await talks(phone, "8000") for phone in (li, han)]

        async def inside() -> bool:
            rooms = (await admin.get("/status"))["apps"]["conferences"]["rooms"]
            return [len(room["participants"]) for room in rooms] == [2]

        await until(inside)
        for call in calls:
            call.hang_up()
        await gone(admin)
        await admin.delete("/config/conference/8000")
        assert await refused(li, "8000") == 404


async def test_who_is_in_a_conference_and_how_he_is_heard_is_seen_and_changed(api: Any) -> None:
    admin, boss = await api.as_role("admin"), await api.as_role("supervisor")
    await admin.post("/config/conference", {"values": {"number": "8000"}})
    async with phones(api, "1001", "1002") as (li, han):
        await boss.get("/conferences/8000", 404)
        await talks(li, "8000")
        await talks(han, "8000")

        async def both() -> Any:
            found = (await boss.get("/conferences"))["items"]
            return found if found and len(found[0]["participants"]) == 2 else None

        await until(both)
        (room,) = (await boss.get("/conferences"))["items"]
        assert (room["number"], room["locked"], room["all_muted"]) == ("8000", False, False)
        first, second = room["participants"]
        assert (first["number_from"], second["number_from"]) == ("1001", "1002")
        url = f"/conferences/8000/participants/{second['call_id']}"
        changed = await boss.patch(url, {"deaf": True, "gain_db": 6})
        assert changed == {**second, "deaf": True, "gain_db": 6.0}
        assert (await boss.patch(url, {"muted": True}))["gain_db"] == 6.0
        for wrong in ({"gain_db": 12.5}, {"gain_db": -41}, {"loud": True}):
            await boss.patch(url, wrong, 422)
        await boss.patch("/conferences/8000/participants/c-nobody", {"muted": True}, 404)
        assert (await boss.patch("/conferences/8000", {"locked": True}))["locked"] is True
        await boss.delete(url)

        async def alone() -> Any:
            return len((await boss.get("/conferences/8000"))["participants"]) == 1

        await until(alone)
        await boss.delete("/conferences/8000")
        await gone(admin)
    await admin.delete("/config/conference/8000")
    await api.service.finish_notes()
    lines = (await admin.get("/audit", params={"object": "conference:8000"}))["items"]
    actions = [line["action"] for line in reversed(lines)]
    assert actions[1:-1] == ["conference-changed"] * 4 + ["conference-ended"], "between its entry's"


async def test_the_file_is_read_again_while_a_call_goes_on(api: Any) -> None:
    admin = await api.as_role("admin")
    file = api.switch.book.file
    async with phones(api, "1001", "1002") as (li, _):
        call = await talks(li, "1002")
        await admin.post("/config/reload", expect=409)  # made by a program: there is no file
        api.switch.book._read_file = lambda: file.model_copy(
            update={"queues": file.queues[:1], "agents": ()}
        )
        assert (await admin.post("/config/reload", expect=200))["changed"] == ["queues", "agents"]
        assert [q["name"] for q in (await admin.get("/queues"))["items"]] == ["support"]
        assert (await live(admin, "talking"))["number_to"] == "1002"
        call.hang_up()
        await gone(admin)


async def test_whether_a_table_would_do_is_told_and_changes_nothing(api: Any) -> None:
    admin = await api.as_role("admin")
    before = api.switch.office
    await admin.post("/config/queue/check", {"values": {"name": "sales"}}, 204)
    bad = await admin.post("/config/queue/check", {"values": {"name": "x", "ring_s": "long"}}, 422)
    assert [fault["pointer"] for fault in bad["errors"]] == ["/values/ring_s"]
    await admin.post("/config/queue/check", {"values": {"name": "support"}}, 409)
    assert api.switch.office is before


async def test_boxes_and_callbacks_one_by_one(api: Any) -> None:
    boss, owner = await api.as_role("supervisor"), api.client()
    await owner.log_in("lilei", "console-secret-lilei")
    shown = [{"box": "1001", "name": "Li Lei", "new": 0, "heard": 0}]
    assert (await boss.get("/voicemails"))["items"] == shown
    assert (await owner.get("/voicemails"))["items"] == shown
    mary = await api.as_role("agent")
    assert (await mary.get("/voicemails"))["items"] == []
    made = await boss.post("/callbacks", {"number": "1002", "queue": "support"})
    assert (await boss.get(f"/callbacks/{made['id']}"))["queue"] == "support"
    assert (await boss.get("/queues/support/waiting"))["items"][0]["media"] == "callback"
    await boss.get("/callbacks/none", 404)
