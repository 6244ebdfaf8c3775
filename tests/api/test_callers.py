"""A customer of the database calls: what the API shows of it, from the first ring to the record."""

from __future__ import annotations

import json
from typing import Any

from softswitch.api.access import Identity
from softswitch.api.events.reader import Reader
from tests.api.phones import carrier, live, phones, until
from tests.interop.peers.ports import free_port

WANG = "+8613800000001"


def heard(reader: Reader) -> list[dict[str, Any]]:
    found = []
    while (text := reader.next_text()) is not None:
        found.append(json.loads(text))
    return found


def popped_up(reader: Reader) -> list[dict[str, Any]]:
    """The customers that came with what was told."""
    return [m["data"]["calling"] for m in heard(reader) if "calling" in m.get("data", {})]


def screen_of(api: Any, agent: str) -> Reader:
    """What an agent's screen subscribes to: what concerns himself."""
    hub, identity = api.service.events.hub, Identity(agent, "agent", "agent", agent_id=agent)
    reader = Reader(hub, identity, lambda wanted: {}, lambda: None)
    topics = {"type": "subscribe", "topics": ["calls", "queues"], "agent": agent}
    reader.take_text(json.dumps(topics))
    assert reader.closed is None
    return reader


async def office_with_a_carrier(admin: Any) -> int:
    """The port of a carrier for calls in and, behind 9, out."""
    port = free_port()
    trunk = {"name": "in", "uri": f"sip:127.0.0.1:{port}", "from_addresses": [f"127.0.0.1:{port}"]}
    await admin.post("/config/trunk", {"values": trunk})
    await admin.post("/config/inbound", {"values": {"number": "5000", "to": "queue:support"}})
    route = {"prefix": "9", "strip": 1, "trunks": ["in"], "permission": "national"}
    await admin.post("/config/outbound", {"values": route})
    return port


async def test_from_the_first_ring_to_the_record(api: Any) -> None:
    admin = await api.as_role("admin")
    values = {"name": "Wang Wei", "phones": [WANG], "priority": 4, "tags": ["vip"]}
    wang = await admin.post("/customers", values | {"region": "north"})
    ticket = await admin.post("/tickets", {"subject": "Dead line", "customer_id": wang["id"]})
    solved = await admin.post("/tickets", {"subject": "Old", "customer_id": wang["id"]})
    await admin.patch(f"/tickets/{solved['id']}", {"status": "solved"})
    port = await office_with_a_carrier(admin)
    screen, other = screen_of(api, "lilei"), screen_of(api, "mary")
    async with phones(api, "1001"), carrier(api, port) as outside:
        api.switch.agents.log_in("lilei")
        call = await outside.call("5000", from_user="13800000001")
        await call.answered()
        shown = await live(admin, "talking")
        told = {
            "id": wang["id"],
            "name": "Wang Wei",
            "priority": 4,
            "region": "north",
            "tags": ["vip"],
            "last_agent": "",
            "tickets_open": 1,
            "tickets": [ticket["id"]],
        }
        assert shown["customer"] == told
        popped = popped_up(screen)
        assert popped
        assert all(one == told for one in popped)
        assert popped_up(other) == []
        (row,) = api.switch.call_rows()
        assert row["customer"] == told
        call.hang_up()
        await call.ended()

        async def over() -> bool:
            return not (await admin.get("/calls/live"))["items"]

        await until(over)
        again = await outside.call("5000", from_user=WANG)
        await again.answered()

        async def served_before() -> Any:
            calls = (await admin.get("/calls/live"))["items"]
            return calls and calls[0]["customer"]["last_agent"] == "lilei"

        await until(served_before)
        again.hang_up()
        await again.ended()
        await until(over)
    api.switch.agents.log_out("lilei")
    callback = await admin.post("/callbacks", {"number": "13800000001", "queue": "support"})
    view = api.switch.callbacks.pending()[0]
    assert view.attributes["customer_name"] == "Wang Wei"
    assert api.switch.centre.customer_name(callback["id"]) == "Wang Wei"
    await admin.delete(f"/callbacks/{callback['id']}")
    await api.store.journal.flush()
    records = (await admin.get("/calls", params={"customer_id": wang["id"]}))["items"]
    assert [(r["customer_id"], r["customer_name"]) for r in records] == [
        (wang["id"], "Wang Wei")
    ] * 2
    assert (await admin.get("/calls", params={"customer_id": 999}))["items"] == []
    # He turns out to be somebody else: the calls are that one's.
    zhang = await admin.post("/customers", {"name": "Wang W."})
    await admin.post(f"/customers/{zhang['id']}/merge", {"other": wang["id"]}, 200)
    records = (await admin.get("/calls", params={"customer_id": zhang["id"]}))["items"]
    assert len(records) == 2
    visits = (await admin.get("/reports/visits"))["items"]
    told = {(v["caller"], v["region"]) for v in visits if v["outcome"] == "answered"}
    assert told == {(WANG, "north")}
    await api.store.rebuild()
    rebuilt = (await admin.get("/calls", params={"customer_id": zhang["id"]}))["items"]
    assert rebuilt == records


async def test_whom_an_agent_calls_is_on_his_screen_and_in_the_record(api: Any) -> None:
    admin = await api.as_role("admin")
    wang = await admin.post("/customers", {"name": "Wang Wei", "phones": [WANG], "priority": 4})
    ticket = await admin.post("/tickets", {"subject": "Dead line", "customer_id": wang["id"]})
    port = await office_with_a_carrier(admin)
    screen, other = screen_of(api, "lilei"), screen_of(api, "mary")
    async with phones(api, "1001") as (phone,), carrier(api, port):
        # Dialled by himself, and from his screen.
        for begin in (
            lambda: phone.call("913800000001"),
            lambda: admin.post("/calls/live", {"extension": "1001", "number": "913800000001"}),
        ):
            await begin()
            await live(admin, "talking")

            async def known() -> Any:
                (call,) = (await admin.get("/calls/live"))["items"]
                return call if call["customer"] else None

            shown = await until(known)
            assert (shown["customer"]["id"], shown["customer"]["name"]) == (wang["id"], "Wang Wei")
            popped = [m for m in heard(screen) if m.get("kind") == "call-customer"]
            assert [(m["data"]["id"], m["data"]["called"]) for m in popped] == [(wang["id"], True)]
            assert popped[0]["data"]["tickets"] == [ticket["id"]]
            assert not [m for m in heard(other) if "customer" in m.get("kind", "")]
            await admin.delete(f"/calls/live/{shown['call_id']}")

            async def over() -> bool:
                return not (await admin.get("/calls/live"))["items"]

            await until(over)
    await api.store.journal.flush()
    records = (await admin.get("/calls", params={"customer_id": wang["id"]}))["items"]
    assert len(records) == 2
    line = (await admin.get(f"/customers/{wang['id']}/timeline"))["items"]
    assert sum(one["kind"] == "call" for one in line) == 2
