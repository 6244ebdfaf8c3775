"""Ports and streams: what the allocator promises, whatever order things happen in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import NoCapacity, UnknownStream
from media.plane.allocator import STREAMS_PER_PORT_MAX, PortAllocator

HOSTS = ["10.0.0.1", "10.0.0.2", "10.0.0.3", None]


def test_a_worker_begins_with_even_ports():
    allocator = PortAllocator(20_001, 20_100, ports_each=8)
    opened = allocator.open_first(0)
    assert [placement.port for placement in opened] == list(range(20_002, 20_018, 2))
    assert all(placement.port_id % 2 == 0 for placement in opened)


def test_streams_that_wait_for_one_host_do_not_share_a_port_until_they_are_latched():
    allocator = PortAllocator(20_000, 20_100, ports_each=2)
    allocator.open_first(0)
    ports = [allocator.reserve(number, 0, "10.0.0.1").port for number in range(3)]
    assert len(set(ports)) == 3
    for number in range(3):
        allocator.latched(number, ("10.0.0.1", 4000 + number))
    assert allocator.reserve(9, 0, "10.0.0.1").port in ports


def test_a_remote_that_is_taken_on_one_port_goes_to_another():
    allocator = PortAllocator(20_000, 20_100, ports_each=2)
    allocator.open_first(0)
    remote = ("10.0.0.1", 4000)
    first = allocator.reserve(1, 0, None, remote)
    second = allocator.reserve(2, 0, None, remote)
    third = allocator.reserve(3, 0, None, remote)
    assert len({first.port, second.port, third.port}) == 3


def test_a_conflict_that_signalling_names_later_is_told():
    allocator = PortAllocator(20_000, 20_002, ports_each=1)
    allocator.open_first(0)
    allocator.reserve(1, 0, None)
    allocator.reserve(2, 0, None)
    assert allocator.expect(1, "10.0.0.1", ("10.0.0.1", 4000))
    assert not allocator.expect(2, "10.0.0.1", ("10.0.0.1", 4000))
    assert allocator.expect(2, "10.0.0.1", ("10.0.0.1", 4002))


def test_a_full_port_takes_one_stream_less_than_one_too_many():
    allocator = PortAllocator(20_000, 20_002, ports_each=1)
    for number in range(STREAMS_PER_PORT_MAX):
        allocator.reserve(number, 0, None)
    with pytest.raises(NoCapacity):
        allocator.reserve(-1, 0, None)
    allocator.release(0)
    allocator.reserve(-1, 0, None)


def test_a_port_that_cannot_be_bound_is_offered_again_only_after_all_others():
    allocator = PortAllocator(20_000, 20_004, ports_each=0)
    first = allocator.reserve(1, 0, None)
    assert first.opened
    allocator.refused(first.port_id)
    second = allocator.reserve(1, 0, None)
    assert second.port != first.port
    allocator.refused(second.port_id)
    with pytest.raises(NoCapacity):
        allocator.reserve(1, 0, None)
    assert allocator.snapshot() == {"ports": 0, "ports_free": 2, "streams": 0}
    assert allocator.reserve(1, 0, None).port == first.port


def test_unknown_streams():
    allocator = PortAllocator(20_000, 20_010)
    with pytest.raises(UnknownStream):
        allocator.expect(1, None, None)
    assert allocator.release(1) is None
    allocator.latched(1, ("10.0.0.1", 1))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "expect", "latch", "release"]),
        st.integers(0, 11),
        st.sampled_from(HOSTS),
        st.integers(0, 3),
        st.integers(0, 1),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.booleans())
def test_any_order_of_events_leaves_nothing_behind(steps, one_each):
    allocator = PortAllocator(20_000, 20_030, ports_each=2, ports_each_max=6, one_each=one_each)
    for worker in (0, 1):
        allocator.open_first(worker)
    base = allocator.snapshot()
    live: dict[int, int] = {}
    for step, stream_id, host, number, worker in steps:
        remote = None if host is None else (host, 4000 + number)
        if step == "reserve" and stream_id not in live:
            try:
                placement = allocator.reserve(stream_id, worker, host, remote)
            except NoCapacity:
                continue
            if one_each:
                assert placement.port not in live.values()
            live[stream_id] = placement.port
        elif step == "expect" and stream_id in live:
            allocator.expect(stream_id, host, remote)
        elif step == "latch" and stream_id in live and remote is not None:
            allocator.latched(stream_id, remote)
        elif step == "release":
            allocator.release(stream_id)
            live.pop(stream_id, None)
        assert allocator.snapshot()["streams"] == len(live)
        assert len(allocator) + allocator.snapshot()["ports_free"] == 15
    for stream_id in live:
        allocator.release(stream_id)
    assert allocator.snapshot() == base


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(HOSTS[:3]), max_size=18))
def test_no_two_streams_wait_for_one_host_at_one_port(hosts):
    allocator = PortAllocator(20_000, 20_100, ports_each=2, ports_each_max=40)
    placed = [(allocator.reserve(number, 0, host).port, host) for number, host in enumerate(hosts)]
    assert len(set(placed)) == len(placed)
