"""The configuration by API: read-only where the file says it, live where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs

from softswitch.config import load_office
from softswitch.config.overlay import (
    SECRETS,
    SECTIONS,
    merged,
    model_of,
    plain,
    read_entry,
    without_secrets,
)
from softswitch.store.office_entries import KEY_NAME

EXAMPLES: dict[str, dict[str, Any]] = {
    "extension": {"number": "1009", "password": "a-long-secret-1009", "voicemail": {"pin": "9876"}},
    "ring_group": {"number": "1100", "members": ["1001", "1002"]},
    "trunk": {"name": "backup", "uri": "sip:127.0.0.1:5991", "from_addresses": ["127.0.0.1:5991"]},
    "outbound": {"prefix": "9", "strip": 1, "trunks": ["carrier"]},
    "inbound": {"number": "+861065551000", "to": "queue:support"},
    "hours": {"name": "day", "open": {"mon-fri": ["09:00-18:00"]}, "holidays": ["2026-10-01"]},
    "ivr": {
        "name": "main",
        "number": "7000",
        "greeting": "main-menu",
        "otherwise": "queue:support",
    },
    "flow": {"name": "hello", "number": "7100", "step": [{"do": "hang-up"}]},
    "region": {"name": "south", "prefixes": ["+8620"]},
    "queue": {"name": "sales", "number": "5010", "skill": "sales >= 1"},
    "conference": {"number": "8000", "pin": "1234"},
    "agent": {"id": "wu", "extension": "1002", "password": "console-secret-wu", "role": "admin"},
}


def test_every_section_is_a_table_of_the_office() -> None:
    assert EXAMPLES.keys() == SECTIONS.keys()
    for section, (_, key) in SECTIONS.items():
        assert not key or key in model_of(section).model_fields


def test_a_table_of_the_file_is_shown_as_the_file_writes_it() -> None:
    office = load_office(Path(__file__).parents[2] / "examples/office.toml")
    tables = [
        (section, table)
        for section, (attribute, _) in SECTIONS.items()
        for table in getattr(office, attribute)
    ]
    assert {section for section, _ in tables} >= {"trunk", "hours", "queue", "agent"}
    for section, table in tables:
        assert read_entry(section, plain(table)) == table
    night = {
        "mon": ["00:00-06:00", "22:00-24:00"],
        "wed-thu": ["09:00-12:00"],
        "sun": ["10:00-11:00"],
    }
    (hours,) = [plain(read_entry("hours", {"name": "night", "open": night}))]
    assert hours == {"name": "night", "open": night}
    trunk = {
        "name": "a",
        "uri": "sip:a.example",
        "from_addresses": ["[2001:db8::1]:5060", "192.0.2.1"],
    }
    assert plain(read_entry("trunk", trunk)) == trunk


def require_no_secret(directory: Path) -> None:
    """Not in a file that a backup or a look at the disk would show; the key is its owner's."""
    for path in directory.rglob("*"):
        if path.is_file() and path.name != KEY_NAME:
            data = path.read_bytes()
            assert not any(s.encode() in data for s in ("a-long-secret-1009", "console-secret-wu"))
    assert (directory / KEY_NAME).stat().st_mode & 0o777 == 0o600


async def test_a_form_is_made_from_the_schema_of_a_section(api: Any) -> None:
    admin = await api.as_role("admin")
    office = load_office(Path(__file__).parents[2] / "examples/office.toml")
    for section, (attribute, _) in SECTIONS.items():
        schema = (await admin.get(f"/config-schemas/{section}"))["schema"]
        form = jsonschema_rs.validator_for(schema)
        tables = [plain(table) for table in getattr(office, attribute)]
        for values in (*tables, EXAMPLES[section]):
            assert [str(error) for error in form.iter_errors(values)] == [], section
        assert not form.is_valid({**EXAMPLES[section], "no-such-key": 1})
        for name, value in schema["properties"].items():
            assert value.keys() & {"type", "enum", "$ref", "anyOf"}, (
                f"{section}.{name} says nothing"
            )
            if "default" in value:
                alone = {**schema, "properties": {name: value}, "required": []}
                assert jsonschema_rs.is_valid(alone, {name: value["default"]}), (section, name)
            assert (name in SECRETS) is bool(value.get("writeOnly"))
    for section, values in (
        ("extension", {**EXAMPLES["extension"], "number": "ten"}),
        ("hours", {"name": "x", "open": {"monday": ["08:00-17:00"]}}),
        ("queue", {**EXAMPLES["queue"], "ring_s": -1}),
    ):
        schema = (await admin.get(f"/config-schemas/{section}"))["schema"]
        assert not jsonschema_rs.is_valid(schema, values)
        await admin.post(f"/config/{section}/check", {"values": values}, 422)
    await (await api.as_role("supervisor")).get("/config-schemas/queue", 403)


async def test_what_is_made_here_is_live_and_outlives_a_restart(
    tmp_path: Path, running_api: Any
) -> None:
    counts, made = {}, {}
    async with running_api(tmp_path) as api:
        admin = await api.as_role("admin")
        for section, values in EXAMPLES.items():
            before = len(getattr(api.switch.office, SECTIONS[section][0]))
            answer = made[section] = await admin.post(f"/config/{section}", {"values": values})
            assert answer["source"] == "api"
            shown, secrets = without_secrets(values)
            assert (answer["values"], answer["secrets"]) == (shown, secrets)
            counts[section] = len(getattr(api.switch.office, SECTIONS[section][0]))
            assert counts[section] == before + 1, section
    require_no_secret(tmp_path)
    async with running_api(tmp_path) as api:
        admin = await api.as_role("admin")
        for section in reversed(EXAMPLES):
            attribute = SECTIONS[section][0]
            assert len(getattr(api.switch.office, attribute)) == counts[section], section
            url = f"/config/{section}/{made[section]['name']}"
            assert await admin.get(url) == made[section]
            await admin.delete(url)
            assert len(getattr(api.switch.office, attribute)) == counts[section] - 1, section
            await admin.get(url, 404)


async def test_a_new_agent_logs_in_and_works(api: Any) -> None:
    admin = await api.as_role("admin")
    await admin.post("/config/queue", {"values": EXAMPLES["queue"]})
    values = {**EXAMPLES["agent"], "role": "agent", "queues": ["sales"], "skills": {"sales": 1}}
    await admin.post("/config/agent", {"values": values})
    wu = api.client()
    await wu.log_in("wu", "console-secret-wu")
    await wu.ask("PUT", "/agents/wu/state", json={"state": "available"})
    queues = {q["name"]: q for q in (await wu.get("/queues"))["items"]}
    assert queues["sales"]["agents"] == {"available": 1}
    changed = {"values": {"password": "console-secret-2"}}
    await admin.patch("/config/agent/wu", changed)
    await wu.get("/queues", 401)
    await admin.delete("/config/queue/sales", 409)
    await admin.delete("/config/agent/wu")
    await api.client().log_in("wu", "console-secret-2", 401)
    await admin.delete("/config/queue/sales")


async def test_the_file_is_read_only_and_says_so(api: Any) -> None:
    admin = await api.as_role("admin")
    found = await admin.get("/config/queue/support")
    assert (found["source"], found["version"]) == ("file", 0)
    assert found["values"]["number"] == "5000"
    answer = await admin.patch("/config/queue/support", {"values": {"ring_s": 1.0}}, 409)
    assert "read-only" in answer["detail"]
    await admin.delete("/config/queue/support", 409)
    taken = {"values": {"name": "support", "number": "5099"}}
    assert "already" in (await admin.post("/config/queue", taken, 409))["detail"]
    extension = await admin.get("/config/extension/1001")
    assert extension["secrets"] == ["password", "voicemail.pin"]
    assert "a-long-secret" not in str(await admin.get("/config/extension"))


async def test_what_is_wrong_is_named_and_nothing_changes(api: Any) -> None:
    admin = await api.as_role("admin")
    for section, values, pointer in (
        ("queue", {"name": "x", "ring_s": "long"}, "/values/ring_s"),
        ("queue", {"name": "x", "nonsense": 1}, "/values/nonsense"),
        ("queue", {"name": "x", "skill": "sales >"}, "/values/skill"),
        ("queue", {"name": "x", "overflow": "queue:nowhere"}, "/values/overflow"),
        ("queue", {"name": "x", "number": "1001"}, "/values/number"),
        ("queue", {}, "/values/name"),
        ("ivr", {"name": "x", "greeting": "/etc/passwd.wav"}, "/values/greeting"),
        ("ivr", {"name": "x", "number": "7000", "greeting": "no-such"}, "/values/greeting"),
        ("hours", {"name": "x", "open": {"mon": ["9-12"]}}, "/values/open"),
        ("trunk", {"name": "x", "uri": "http://x"}, "/values/uri"),
        (
            "agent",
            {"id": "x", "extension": "1001", "password": "0123456789ab"},
            "/values/extension",
        ),
    ):
        answer = await admin.post(f"/config/{section}", {"values": values}, 422)
        assert [fault["pointer"] for fault in answer["errors"]] == [pointer], (section, values)
    before = api.switch.office
    await admin.post("/config/queue", {"values": {"name": "x", "overflow": "hangup"}})
    await admin.patch("/config/queue/x", {"values": {"overflow": "queue:nowhere"}}, 422)
    await admin.patch("/config/queue/x", {"values": {"name": "y"}}, 422)
    await admin.delete("/config/queue/x")
    assert api.switch.office.queues == before.queues


async def test_versions_and_repetition(api: Any) -> None:
    admin = await api.as_role("admin")
    key = {"Idempotency-Key": "one"}
    first = await admin.post("/config/region", {"values": EXAMPLES["region"]}, headers=key)
    again = await admin.http.post(
        "/api/v1/config/region", json={"values": EXAMPLES["region"]}, headers=key
    )
    assert (again.status_code, again.json()) == (201, first)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["etag"] == '"1"'
    other = {"values": {**EXAMPLES["region"], "name": "west", "prefixes": ["+8628"]}}
    await admin.post("/config/region", other, 422, headers=key)
    await admin.post("/config/region", other, 422, headers={"Idempotency-Key": "x" * 129})
    stranger = await api.as_role("admin")
    await stranger.post("/config/region", other, headers=key)
    url = "/config/region/south"
    await admin.patch(
        url, {"values": {"prefixes": ["+8620", "+86755"]}}, headers={"If-Match": '"1"'}
    )
    await admin.patch(url, {"values": {"prefixes": ["+86"]}}, 412, headers={"If-Match": '"1"'})
    await admin.delete(url, 412, headers={"If-Match": '"1"'})
    await admin.delete(url, headers={"If-Match": '"2"'})


async def test_entries_that_no_longer_fit_are_left_out_with_an_alarm(
    tmp_path: Path, running_api: Any
) -> None:
    more = '[[queue]]\nname = "third"\nnumber = "5002"\n'
    async with running_api(tmp_path, more) as api:
        admin = await api.as_role("admin")
        good = {"name": "sales", "number": "5010"}
        bad = {"name": "late", "number": "5011", "overflow": "queue:third"}
        await admin.post("/config/queue", {"values": good})
        await admin.post("/config/queue", {"values": bad})
    async with running_api(tmp_path) as api:
        admin = await api.as_role("admin")
        assert [q.name for q in api.switch.office.queues] == ["support", "billing", "sales"]
        assert "1 entries are not used" in (await admin.get("/config"))["problem"]
        await admin.patch("/config/queue/late", {"values": {"overflow": None}})
        assert [q.name for q in api.switch.office.queues][-1] == "late"


async def test_a_lost_key_starts_the_exchange_without_its_entries(
    tmp_path: Path, running_api: Any
) -> None:
    async with running_api(tmp_path) as api:
        await (await api.as_role("admin")).post("/config/queue", {"values": EXAMPLES["queue"]})
    (tmp_path / KEY_NAME).write_bytes(b"x" * 32)
    async with running_api(tmp_path) as api:
        assert [q.name for q in api.switch.office.queues] == ["support", "billing"]
        assert "cannot be opened" in api.switch.alarms["office.entries"]


def test_merge_patches() -> None:
    values = {"a": 1, "b": {"c": 2, "d": 3}, "e": [1]}
    patch = {"a": None, "b": {"c": 4}, "e": [2], "f": {"g": 1}}
    assert merged(values, patch) == {"b": {"c": 4, "d": 3}, "e": [2], "f": {"g": 1}}
