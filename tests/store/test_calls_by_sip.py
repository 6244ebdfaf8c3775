"""A call is found by the Call-ID of either leg and by what either telephone says it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softswitch.store.calls import CallFilter

MODEL = "Yealink SIP-T46S 66.84.0.15"
LEGS = {
    "a": [("aB%c_1@192.0.2.7", MODEL), ("out-1", "")],
    "b": [("ab%c_1@192.0.2.7", "Grandstream 100% _x"), ("out-2", MODEL.lower())],
    "c": [('"quoted\\', '"user_agent":"Yealink'), ("abXcY1@192.0.2.7", "not a Yealink")],
}


@pytest.fixture
async def store(tmp_path: Path, any_store: Any) -> Any:
    async with any_store.opened(tmp_path) as tools:
        append = tools.journal.append
        for number, (call, legs) in enumerate(LEGS.items()):
            append("call-started", call, {"number_from": "1001"}, 1_000.0 + number)
            for leg, (sip_call_id, user_agent) in enumerate(legs, 1):
                data = {"leg": leg, "sip_call_id": sip_call_id, "user_agent": user_agent}
                append("leg-started", call, data, 1_000.0 + number)
        assert await tools.journal.flush()
        yield tools.store


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"sip_call_id": "aB%c_1@192.0.2.7"}, "a"),
        ({"sip_call_id": "ab%c_1@192.0.2.7"}, "b"),
        ({"sip_call_id": "out-2"}, "b"),
        ({"sip_call_id": "out"}, ""),
        ({"sip_call_id": '"quoted\\'}, "c"),
        ({"user_agent": "yealink"}, "ba"),
        ({"user_agent": "YEALINK SIP-T46"}, "ba"),
        ({"user_agent": "Grandstream 100%"}, "b"),
        ({"user_agent": "Grandstream 100__"}, ""),
        ({"user_agent": "SIP-T46S"}, ""),
        ({"user_agent": "yealink", "sip_call_id": "out-1"}, "a"),
        ({"user_agent": "yealink", "since_s": 1_001.0}, "b"),
    ],
)
async def test_calls_are_found_by_what_their_messages_said(
    store: Any, asked: dict[str, Any], found: str
) -> None:
    records = await store.calls.list(10, None, CallFilter(**asked))
    assert [record.call_id for record in records] == list(found)
