"""What Prometheus reads, and health at the root."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from routing.events import ContactArrived
from softswitch.api import metrics
from softswitch.api.metrics import Spread
from softswitch.call.floods import NAMED_FROM
from softswitch.sip.flow import Flow
from softswitch.sip.rank import Rank

NEW = (
    "messages_dropped_total{class}",
    "requests_told_to_retry_total{class}",
    "connections_turned_away_total{outcome}",
    "flood_messages{source}",
    "hep_messages_total{outcome}",
)


async def scraped(api: Any) -> dict[str, dict[tuple[str, ...], float]]:
    program = await api.as_role("agent", "metrics:read")
    answer = await program.http.get("/metrics")
    assert answer.status_code == 200
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


async def test_everything_that_is_promised_is_there(api: Any) -> None:
    api.switch.agents.log_in("lilei")
    append = api.store.journal.append
    append("call-ended", "c1", {"outcome": "answered"}, 1.0)
    quality = {"packets_in": 990, "lost": 10, "jitter_ms": 4.0, "mos": 4.3}
    append("leg-quality", "c1", quality, 1.0)
    found = await scraped(api)
    assert found["softswitch_calls"][("talking",)] == 0
    assert found["softswitch_calls_ended_total"] == {("answered",): 1}
    assert found["softswitch_queue_waiting"] == {("support",): 0, ("billing",): 0}
    assert found["softswitch_agents"][("available",)] == 1
    assert found["softswitch_trunk_up"].keys() == {("carrier",)}
    assert found["softswitch_media_mos_count"][()] == 1
    assert found["softswitch_media_loss_bucket"][("0.01",)] == 1
    assert found["softswitch_media_loss_bucket"][("0.005",)] == 0
    assert () in found["softswitch_loop_lag_seconds"]
    assert found["process_resident_memory_bytes"][()] > 0
    await api.client().http.get("/api/v1/nothing/secret")
    found = await scraped(api)
    assert found["softswitch_http_requests_total"]["GET", "/metrics", "200"] == 1
    assert found["softswitch_http_requests_total"]["GET", "none", "404"] == 1


async def test_what_is_turned_away_is_told_by_class_and_by_address(api: Any) -> None:
    switch = api.switch
    now_s = switch._environment.clock.monotonic_s()
    for number in range(metrics.FLOODS_MAX + 1):
        for _ in range(NAMED_FROM + number):
            switch.floods.note(f"203.0.113.{number}", False, now_s)
    flow = Flow("udp", ("192.0.2.1", 5060), ("198.51.100.7", 5060))
    intake = switch.driver.intake
    intake._no_room(intake._queues[Rank.PHONE_CALL], (flow.remote, INVITE), flow, now_s)
    intake._drop(intake._queues[Rank.STRANGER], flow, now_s)
    switch.gatekeeper.told_later = 3
    found = await scraped(api)
    later = found["softswitch_requests_told_to_retry_total"]
    assert later.keys() == {
        *((rank.title,) for rank in Rank),
        ("strangers in a crowd, banned",),
        ("calls over streams, the loop late",),
        ("no transaction or event free",),
    }
    assert {name: count for name, count in later.items() if count} == {
        (Rank.PHONE_CALL.title,): 1,
        ("calls over streams, the loop late",): 3,
    }
    dropped = found["softswitch_messages_dropped_total"]
    assert {name: count for name, count in dropped.items() if count} == {(Rank.STRANGER.title,): 1}
    closed = found["softswitch_connections_turned_away_total"]
    assert closed == {("displaced",): 0, ("refused",): 0}
    most = {(f"203.0.113.{n}",): NAMED_FROM + n for n in range(1, metrics.FLOODS_MAX + 1)}
    assert found["softswitch_flood_messages"] == most


@pytest.mark.parametrize("name", NEW)
def test_what_is_counted_is_documented(name: str) -> None:
    assert f"`{name}" in Path("docs/operations.md").read_text()


INVITE = (
    b"INVITE sip:1@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKq\r\nFrom: <sip:a@h>;tag=1\r\n"
    b"To: <sip:b@h>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n"
)
ABBREVIATED = re.compile(
    r"_(s|ms|us|min|h|kb|mb|b|pct|percent|milliseconds|minutes|hours)(_total)?$"
)


async def test_names_are_as_prometheus_wants_them(api: Any) -> None:
    """What `promtool check metrics` finds fault with."""
    program = await api.as_role("agent", "metrics:read")
    text = (await program.http.get("/metrics")).text
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families) > 50
    for family in families:
        name = family.name
        assert family.documentation, f"{name} says nothing of itself"
        assert re.fullmatch(r"(softswitch|process)_[a-z0-9_]+", name), name
        assert not ABBREVIATED.search(name), f"{name}: units are seconds, bytes and ratios, in full"
        assert not re.search(r"_(gauge|counter|histogram|total|count|sum|bucket)(_|$)", name), name
        for sample in family.samples:
            assert (family.type == "counter") is sample.name.endswith("_total"), sample.name
            assert all(re.fullmatch(r"[a-z_]+", label) for label in sample.labels)
            assert ("le" in sample.labels) is sample.name.endswith("_bucket")
    assert {family.type for family in families} == {"gauge", "counter", "histogram"}
    known = {name.removeprefix("softswitch_store_") for name in (f.name for f in families)}
    assert known >= metrics.STORE.keys() >= api.store.snapshot().keys()


async def test_regions_and_skills_have_a_bounded_number_of_series(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = api.switch.centre.host
    for number in range(3):
        caller = "+861065551000" if number else "+862155550001"
        host.do(
            ContactArrived(contact_id=f"c{number}", queue_id="support", caller=f"{caller}{number}")
        )
    found = await scraped(api)
    assert found["softswitch_region_waiting"] == {("(none)",): 1, ("north",): 2}
    assert found["softswitch_skill_entered"] == {("(none)",): 3}
    assert "softswitch_region_service_level" not in found
    monkeypatch.setattr(metrics, "LABELS_MAX", 1)
    found = await scraped(api)
    assert found["softswitch_region_entered"] == {("north",): 2, ("(others)",): 1}
    assert found["softswitch_skill_entered"] == {("(none)",): 3}


async def test_it_takes_a_scope(api: Any) -> None:
    assert (await api.client().http.get("/metrics")).status_code == 401
    program = await api.as_role("admin", "calls:read")
    assert (await program.http.get("/metrics")).status_code == 403


async def test_health_at_the_root(api: Any) -> None:
    http = api.client().http
    assert (await http.get("/health/live")).json() == {"ok": True}
    assert (await http.get("/health/ready")).status_code == 200
    api.service.stopping.set()
    assert (await http.get("/health/live")).status_code == 200
    assert (await http.get("/health/ready")).status_code == 503


def test_spreads_are_cumulative() -> None:
    spread = Spread((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        spread.note(value)
    assert spread.buckets() == [("1", 2.0), ("2", 3.0), ("+Inf", 4.0)]
    assert spread.total == 12.0
