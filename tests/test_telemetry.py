"""OpenTelemetry: what a call and a request look like as traces, what it costs who does not want it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from softswitch import telemetry
from softswitch.apps.checks import OFFICE_CHECKS
from softswitch.config import InvalidOffice, load_office, parse_office
from softswitch.config.office import Telemetry as Config
from softswitch.errors import ConfigError
from softswitch.sim.loop import simulated
from softswitch.spans import CALLS_MAX, EVENTS_MAX, SPANS_MAX, CallTraces
from softswitch.telemetry import LINGER_S, Telemetry
from tests.api.conftest import QuietMachine, running
from tests.apps.people import passed_on


def made(exporter: InMemorySpanExporter, **keys: Any) -> Telemetry:
    return Telemetry(Config(**keys), exporter=exporter)


def by_name(spans: tuple[ReadableSpan, ...]) -> dict[str, list[ReadableSpan]]:
    found: dict[str, list[ReadableSpan]] = {}
    for span in spans:
        found.setdefault(span.name, []).append(span)
    return found


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


@simulated()
async def test_a_call_through_a_queue_is_a_tree_of_spans() -> None:
    exporter = InMemorySpanExporter()
    traces = made(exporter)
    async with passed_on({"lilei": "", "mary": ""}) as world:
        journal = traces.tapped(world.journal)
        entries = list(world.journal.entries)
        for entry in entries:
            journal.append(entry.kind, entry.call_id, entry.data, entry.at_s)
        assert exporter.get_finished_spans() == ()
        await asyncio.sleep(LINGER_S + 0.1)
    spans = by_name(exporter.get_finished_spans())
    assert {name: len(found) for name, found in spans.items()} == {"call": 1, "leg": 3, "queue": 1}
    (root,), (stay,) = spans["call"], spans["queue"]
    assert root.parent is None
    for child in (*spans["leg"], stay):
        assert child.parent is not None
        assert child.parent.span_id == root.context.span_id
        assert child.context.trace_id == root.context.trace_id
    assert seconds(root) == pytest.approx(30.0, abs=0.1)
    assert root.attributes is not None
    assert root.attributes["softswitch.outcome"] == "answered"
    assert root.attributes["softswitch.trunk"] == "carrier-1"
    assert not any("number" in key for key in root.attributes), "people are nobody's business here"
    assert [event.name for event in root.events] == ["call-routed", "call-answered"]
    assert stay.attributes is not None
    assert (stay.attributes["softswitch.queue"], stay.attributes["softswitch.agent"]) == (
        "support",
        "mary",
    )
    assert [event.name for event in stay.events] == [
        "acd-offered",
        "acd-offer-ended",
        "acd-offered",
    ]
    legs = {leg.attributes["softswitch.endpoint"]: leg for leg in spans["leg"] if leg.attributes}
    assert legs["extension:1001"].attributes["softswitch.status"] == 487  # type: ignore[index]
    assert seconds(legs["extension:1001"]) == pytest.approx(5.0, abs=0.1)
    assert "softswitch.mos" in legs["extension:1002"].attributes  # type: ignore[operator]
    await traces.stop()


def test_what_a_call_may_hold_is_bounded() -> None:
    traces = CallTraces()
    traces.take("call-started", "c", {"direction": "inbound"}, 0.0)
    for number in range(SPANS_MAX):
        traces.take("leg-started", "c", {"leg": number}, 1.0)
    for _ in range(EVENTS_MAX):
        traces.take("leg-ringing", "c", {"leg": 0}, 1.0)
    assert traces._calls["c"].dropped == 0
    traces.take("leg-started", "c", {"leg": 99}, 1.0)
    traces.take("leg-ringing", "c", {"leg": 0}, 1.0)
    traces.take("leg-ended", "c", {"leg": 99}, 1.0)
    assert traces.finish("c") is None, "a call that goes on has no trace yet"
    traces.take("call-started", "c", {}, 0.0)
    traces.take("leg-started", "c", {"leg": 1}, 5.0)
    assert traces.take("call-ended", "c", {"status": 503}, 3.0)
    trace = traces.finish("c")
    assert trace is not None
    assert trace.root.failed
    assert [(s.start_s, s.end_s) for s in trace.children] == [(5.0, 5.0)], (
        "none ends before it began"
    )
    for number in range(CALLS_MAX):
        traces.take("call-started", f"c{number}", {}, 0.0)
    assert (len(traces), traces.forgotten) == (CALLS_MAX, 0)
    traces.take("call-started", "more", {}, 0.0)
    assert (len(traces), traces.forgotten) == (CALLS_MAX, 1)
    assert not traces.take("call-ended", "c0", {}, 0.0)


async def test_requests_and_calls_of_a_running_exchange(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()

    class Traced(QuietMachine):
        def telemetry(self, office: Any) -> Telemetry | None:
            return Telemetry(office.telemetry, exporter=exporter)

    async with running(tmp_path, "[telemetry]\nnumbers = true\n", machine=Traced()) as api:
        boss = await api.as_role("supervisor")
        parent = f"00-{'a1' * 16}-{'b2' * 8}-01"
        await boss.get("/queues", headers={"traceparent": parent})
        await boss.get("/calls/nothing", 404)
        await boss.post("/calls/live", {"extension": "1001", "number": "1002"}, 409)
        journal = api.switch.wiring.records._journal
        journal.append("call-started", "c1", {"number_from": "1001"}, 5.0)
        journal.append("call-ended", "c1", {"status": 500}, 9.0)
        assert (await boss.get("/status"))["telemetry"]["calls"] == 1
        await api.store.journal.flush()
        assert (await boss.get("/calls/c1"))["call_id"] == "c1", "the journal itself has them too"
    spans = {span.name: span for span in exporter.get_finished_spans()}
    asked = spans["GET /api/v1/queues"]
    assert asked.kind is SpanKind.SERVER
    assert asked.parent is not None
    assert (f"{asked.context.trace_id:x}", f"{asked.parent.span_id:x}") == ("a1" * 16, "b2" * 8)
    assert asked.attributes is not None
    assert asked.attributes["http.response.status_code"] == 200
    missing = spans["GET /api/v1/calls/{call_id}"]
    assert missing.parent is None
    assert 0 <= seconds(asked) < 5
    call = spans["call"]
    assert call.status.status_code is StatusCode.ERROR
    assert call.attributes is not None
    assert call.attributes["softswitch.number_from"] == "1001"
    assert seconds(call) == 4.0


async def test_a_share_of_them_and_a_collector_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telemetry, "_STOP_S", 0.3)
    exporter = InMemorySpanExporter()
    none = made(exporter, sample=0.0)
    none.request("GET", "/x", 200, began_s=1.0, ended_s=2.0, headers={})
    assert (exporter.get_finished_spans(), none.snapshot()["spans"]) == ((), 0)
    await none.stop()
    away = Telemetry(Config(endpoint="http://127.0.0.1:9"))
    away.request("GET", "/x", 200, began_s=1.0, ended_s=2.0, headers={"traceparent": "nonsense"})
    began_s = asyncio.get_running_loop().time()
    await away.stop()
    assert asyncio.get_running_loop().time() - began_s < 2.0
    assert away.snapshot()["spans"] == 1


def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "_NEEDED", ("opentelemetry_of_nobody.sdk",))
    file = tmp_path / "office.toml"
    file.write_text("[telemetry]\n")
    with pytest.raises(InvalidOffice, match=r"pip install \"softswitch\[otel\]\"") as refused:
        load_office(file, checks=OFFICE_CHECKS)
    assert refused.value.problems[0].key_path == "telemetry"
    with pytest.raises(ConfigError, match="not installed"):
        Telemetry(Config())
    file.write_text("")
    load_office(file, checks=OFFICE_CHECKS)


def test_nothing_of_it_is_loaded_by_who_does_not_ask_for_it() -> None:
    program = (
        "import sys, softswitch.switch, softswitch.telemetry, softswitch.api.app; "
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert parse_office("").telemetry is None


async def test_a_reload_hands_the_calls_that_go_on_to_another_collector(tmp_path: Path) -> None:
    sent: dict[str, InMemorySpanExporter] = {}

    class Traced(QuietMachine):
        def telemetry(self, office: Any) -> Telemetry | None:
            if office.telemetry is None:
                return None
            exporter = sent.setdefault(office.telemetry.service, InMemorySpanExporter())
            return Telemetry(office.telemetry, exporter=exporter)

    first = '[telemetry]\nservice = "first"\nnumbers = true\n'
    async with running(tmp_path, first, machine=Traced()) as api:
        office = api.switch.office
        journal = api.switch.wiring.records._journal
        journal.append("call-started", "over", {"number_from": "1001"}, 5.0)
        journal.append("call-started", "on", {"number_from": "1001"}, 6.0)
        journal.append("call-ended", "over", {"status": 200}, 7.0)
        other = Config(service="other")
        api.switch.use_office(office.model_copy(update={"telemetry": other}))
        journal.append("call-ended", "on", {"status": 200}, 8.0)
        assert api.switch.snapshot()["telemetry"]["calls"] == 1
        await asyncio.gather(*api.switch._stopping)
        (over,) = sent["first"].get_finished_spans()
        assert over.attributes is not None
        assert over.attributes["softswitch.call.id"] == "over"
        api.switch.use_office(office.model_copy(update={"telemetry": None}))
        await asyncio.gather(*api.switch._stopping)
        assert api.switch.snapshot()["telemetry"] is None
        journal.append("call-started", "alone", {}, 9.0)
    (on,) = sent["other"].get_finished_spans()
    assert on.attributes is not None
    assert on.attributes["softswitch.call.id"] == "on"
    assert "softswitch.number_from" not in on.attributes, "they are not told any more"
