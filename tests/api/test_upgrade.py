"""A database that the version before wrote, with something in nearly every table: all of it is there and goes
on. How the tables themselves are made from older ones: `store/test_migrations.py`."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from softswitch.store.database import FILE_NAME
from softswitch.store.office_entries import KEY_NAME

MADE_BY_0016 = Path(__file__).parents[1] / "store" / "data" / "office-0016.db.gz"
"""Written by the code of schema 0016 (commit 419a2c3) through its API, with the key below: three calls of a
trunk to a queue, recorded; customers, tickets, quality, people, webhooks, tables of the office."""
KEY = b"k" * 32


async def test_all_of_the_version_before_is_there_and_goes_on(
    tmp_path: Path, running_api_module: Any
) -> None:
    (tmp_path / FILE_NAME).write_bytes(gzip.decompress(MADE_BY_0016.read_bytes()))
    (tmp_path / KEY_NAME).write_bytes(KEY)
    (tmp_path / KEY_NAME).chmod(0o600)
    async with running_api_module(tmp_path) as api:
        assert api.switch.alarms == {}
        admin = await api.as_role("admin")

        async def items(path: str, **query: Any) -> Any:
            return (await admin.get(path, params=query))["items"]

        calls = await items("/calls", recorded=True)
        assert [call["status"] for call in calls] == ["answered"] * 3
        assert [hold["call_id"] for hold in await items("/recording-holds")] == [
            calls[0]["call_id"]
        ]
        times = {"start_s": calls[-1]["started_at_s"] - 60, "end_s": calls[0]["ended_at_s"] + 60}
        (queue,) = (await admin.get("/reports/queues", params=times))["rows"]
        assert (queue["entered"], queue["answered"], queue["handled"]) == (3, 3, 3)
        (agent,) = (await admin.get("/reports/agents", params=times))["rows"]
        assert agent["agent"] == "lilei"
        await require_people(admin, items, api)
        await require_office(admin, items, api)
        for path in ("/scorecards", "/evaluations", "/calibrations", "/sampling-rules"):
            assert len(await items(path)) == 1, path
        assert len(await items("/agents/lilei/coaching")) == 1
        assert len(await items("/shifts", start_s=1_795_790_000, end_s=1_795_830_000)) == 1
        before = [await items("/calls"), await items("/audit", limit=200)]
        assert len(before[1]) >= 33
        assert await api.store.rebuild() == 3
        assert (await items("/calls")) == before[0]
        assert (await admin.get("/reports/queues", params=times))["rows"] == [queue]


async def require_people(admin: Any, items: Any, api: Any) -> None:
    """Customers, tickets, users and tokens."""
    (customer,) = await items("/customers/lookup", number="13800000002")
    assert (customer["name"], customer["fields"]) == ("王伟", {"Account": "A-17"})
    assert customer["phones"] == ["+8613800000001", "+8613800000002"]
    kinds = [one["kind"] for one in await items(f"/customers/{customer['id']}/timeline")]
    assert sorted(set(kinds)) == ["call", "note", "ticket"]
    (ticket,) = await items("/tickets", text="声音")
    for part in ("comments", "files"):
        assert len(await items(f"/tickets/{ticket['id']}/{part}")) == 1
    assert len(await items("/tickets", customer_id=customer["id"])) >= 1
    for path in ("/ticket-triggers", "/ticket-templates", "/ticket-macros"):
        assert len(await items(path)) == 1
    changed = await admin.patch(f"/tickets/{ticket['id']}", {"status": "open"})
    assert changed["status"] == "open"
    await api.client().log_in("zhao", "battery-staple")
    assert {"CRM", "up"} <= {token["name"] for token in await items("/tokens")}


async def require_office(admin: Any, items: Any, api: Any) -> None:
    """Tables made through the API, with what is sealed in them, and what a telephone has set."""
    (trunk,) = [one for one in await items("/config/trunk") if one["source"] == "api"]
    assert (trunk["name"], trunk["secrets"]) == ("backup", ["password"])
    live = {trunk.name: trunk for trunk in api.switch.office.trunks}
    assert live["backup"].password == "sealed-secret"
    assert [hours["name"] for hours in await items("/hours")] == ["late"]
    (webhook,) = await items("/webhooks")
    assert len(api.service.webhooks.get(webhook["id"]).secret) == 48
    assert (await admin.get("/extensions/1001"))["forward_busy"] == "1002"
