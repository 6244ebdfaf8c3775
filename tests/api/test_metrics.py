"""What Prometheus reads, and health at the root."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from routing.events import ContactArrived
from softswitch.api import metrics
from softswitch.api.metrics import Spread


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
