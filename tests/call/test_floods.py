"""Who sends most of what limits turn away is named, with counts that are never too high, and only named."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.call import floods
from softswitch.call.floods import (
    NAMED_FROM,
    NAMED_MAX,
    REPORTED_FROM,
    REPORTS_MAX,
    SOURCES_MAX,
    WINDOW_S,
    Floods,
)
from softswitch.call.overload import SourceClass
from softswitch.cli.status import status_tables
from softswitch.sim.loop import simulated
from softswitch.sim.world import World
from softswitch.sip.flow import Flow

Reports = list[tuple[str, dict[str, Any]]]


def made() -> tuple[Floods, Reports]:
    reports: Reports = []
    return Floods(lambda kind, data: reports.append((kind, data))), reports


def send(found: Floods, host: str, count: int, now_s: float, refused: bool = False) -> None:
    for _ in range(count):
        found.note(host, refused, now_s)


def test_who_sends_much_is_named_and_who_sends_little_is_not() -> None:
    found, _ = made()
    send(found, "198.51.100.1", NAMED_FROM - 1, 100.0)
    assert found.rows(100.0) == []
    found.note("198.51.100.1", True, 100.0)
    send(found, "198.51.100.2", 500, 100.0)
    assert found.rows(100.0) == [
        {"source": "198.51.100.2", "dropped": 500, "refused": 0},
        {"source": "198.51.100.1", "dropped": NAMED_FROM - 1, "refused": 1},
    ]


def test_a_flood_that_is_over_is_shown_for_two_windows_at_most() -> None:
    found, _ = made()
    send(found, "198.51.100.1", 150, 100.0)
    send(found, "198.51.100.1", 50, 100.0 + WINDOW_S)
    assert found.rows(161.0) == [{"source": "198.51.100.1", "dropped": 200, "refused": 0}]
    assert found.rows(100.0 + 2 * WINDOW_S) == []
    found.note("198.51.100.3", False, 100.0 + 2 * WINDOW_S)  # of the window before only the 50
    assert found.rows(100.0 + 2 * WINDOW_S) == []
    assert found.messages == 201


def test_of_ipv6_a_network_is_named() -> None:
    found, _ = made()
    for number in range(NAMED_FROM):
        found.note(f"2001:db8::{number:x}", False, 1.0)
    assert [row["source"] for row in found.rows(1.0)] == ["2001:db8::/64"]


@pytest.mark.limit("sources of floods counted", "of them named")
def test_counters_are_bounded_and_who_sends_most_has_one() -> None:
    found, _ = made()
    for number in range(SOURCES_MAX):
        found.note(f"10.0.{number // 256}.{number % 256}", False, 1.0)
    assert len(found) == SOURCES_MAX
    found.note("10.9.9.9", False, 1.0)
    assert len(found) == 0  # one of each is worth nothing against one more
    source = random.Random(1)
    for _ in range(20_000):  # a spoofed flood, one message in thirty from one address
        host = f"10.{source.randrange(256)}.{source.randrange(256)}.1"
        found.note("198.51.100.1" if source.random() < 1 / 30 else host, False, 2.0)
    assert len(found) <= SOURCES_MAX
    assert [row["source"] for row in found.rows(2.0)] == ["198.51.100.1"]
    for number in range(NAMED_MAX - 1):
        send(found, f"203.0.113.{number}", 1000 + number, 2.0)
    assert len(found.rows(2.0)) == NAMED_MAX
    send(found, f"203.0.113.{NAMED_MAX}", 9000, 2.0)
    rows = found.rows(2.0)
    assert len(rows) == NAMED_MAX
    assert rows[0]["source"] == f"203.0.113.{NAMED_MAX}"


@given(st.lists(st.integers(0, 20), max_size=400))
def test_no_count_is_too_high_and_none_is_lost_that_is_large(hosts: list[int]) -> None:
    found, _ = made()
    most, floods.SOURCES_MAX = floods.SOURCES_MAX, 3
    try:
        for host in hosts:
            found.note(str(host), False, 1.0)
    finally:
        floods.SOURCES_MAX = most
    true = Counter(map(str, hosts))
    assert len(found) <= 3
    kept = {source: each.dropped for source, each in found._now.items()}
    assert all(count <= true[source] for source, count in kept.items())
    assert all(source in kept for source, count in true.items() if count > len(hosts) / 4)


@pytest.mark.limit("of them reported")
def test_a_flood_is_reported_once_a_window_and_only_so_many_are() -> None:
    found, reports = made()
    send(found, "198.51.100.1", REPORTED_FROM - 1, 100.0)
    assert reports == []
    send(found, "198.51.100.1", REPORTED_FROM, 103.0, refused=True)
    assert reports == [
        (
            "security-flood",
            {"source": "198.51.100.1", "dropped": 999, "refused": 1, "within_s": 3},
        )
    ]
    for number in range(REPORTS_MAX):
        send(found, f"203.0.113.{number}", REPORTED_FROM, 104.0)
    assert len(reports) == REPORTS_MAX
    send(found, "198.51.100.1", REPORTED_FROM, 100.0 + WINDOW_S)
    assert len(reports) == REPORTS_MAX + 1


@simulated()
async def test_who_floods_an_exchange_is_named_and_not_banned() -> None:
    async with World(3) as world:
        switch, phone = world.switch, await world.phone("1001")
        switch.gatekeeper.overload.closed[SourceClass.STRANGER] = True
        flow = Flow("udp", ("10.0.0.1", 5060), ("203.0.113.9", 5060))
        for _ in range(REPORTED_FROM):
            switch.driver.feed(b"OPTIONS sip:office.example SIP/2.0\r\n\r\n", flow)
        row = {"source": "203.0.113.9", "dropped": REPORTED_FROM, "refused": 0}
        snapshot = switch.snapshot()
        assert snapshot["floods"] == [row]
        assert snapshot["bans"] == []
        (told,) = [e.data for e in world.journal.entries if e.kind == "security-flood"]
        assert told == {**row, "within_s": 1}
        titles = [str(table.title) for table in status_tables({**snapshot, "workers": []})]
        assert "Who sent most of it" in titles
        switch.gatekeeper.overload.closed[SourceClass.STRANGER] = False
        assert (await phone.register()).status == 200
        await world.settle()
