"""Who may have a connection, and who of those that arrive is let in first."""

from __future__ import annotations

import pytest

from softswitch.transport.arrivals import Arrivals
from softswitch.transport.limits import (
    CONNECTIONS_PER_SOURCE_MAX,
    CONNECTIONS_PER_SOURCE_PER_S,
    CROWD,
    SOURCES_MAX,
    ConnectionQuota,
)


class Visitor:
    """A connection as `ConnectionQuota` knows it."""

    def __init__(self, source: str) -> None:
        self.source = source

    def displace(self) -> None: ...


def visits(quota: ConnectionQuota, source: str, count: int, now_s: float) -> int:
    """How many of `count` visitors that leave at once are let in."""
    allowed = 0
    for _ in range(count):
        if quota.allows(source, now_s):
            guest = Visitor(source)
            quota.arrive(source)
            quota.take(guest)
            quota.give_back(guest)
            allowed += 1
    return allowed


@pytest.mark.limit("new ones from one source")
def test_who_comes_back_at_once_is_let_in_at_a_rate_once_as_many_as_may_be_have_come() -> None:
    quota = ConnectionQuota()
    most, rate = CONNECTIONS_PER_SOURCE_MAX, int(CONNECTIONS_PER_SOURCE_PER_S)
    assert visits(quota, "10.0.0.1", most + 1, 10.0) == most
    assert visits(quota, "10.0.0.1", rate + 1, 11.0) == rate
    assert visits(quota, "10.0.0.2", 1, 11.0) == 1, "another address is not concerned"


def test_where_somebody_has_proven_himself_more_may_come() -> None:
    quota = ConnectionQuota()
    phone = Visitor("10.0.0.1")
    assert quota.allows(phone.source, 10.0)
    quota.arrive(phone.source)
    quota.take(phone)
    quota.prove(phone, 10.0)
    visits(quota, "10.0.0.1", 100, 10.0)
    assert visits(quota, "10.0.0.1", 1000, 10.5) == 16 * CONNECTIONS_PER_SOURCE_PER_S / 2
    assert visits(quota, "10.0.0.1", 100, 5000.0) <= CONNECTIONS_PER_SOURCE_MAX
    assert visits(quota, "10.0.0.1", 100, 5001.0) == CONNECTIONS_PER_SOURCE_PER_S


def filled(quota: ConnectionQuota, source: str, count: int) -> list[Visitor]:
    """So many come and stay."""
    guests = [Visitor(source) for _ in range(count)]
    for guest in guests:
        assert quota.allows(source, 10.0)
        quota.arrive(source)
        quota.take(guest)
    return guests


def test_nobody_gives_way_to_a_crowd() -> None:
    """When all places are taken: to the fourth of an address, not to the fifth, unless somebody is known
    there."""
    quota = ConnectionQuota(total=20)
    filled(quota, "10.0.0.1", 13)
    filled(quota, "10.0.0.2", CROWD - 1)
    filled(quota, "10.0.0.3", CROWD)
    assert not quota.allows("10.0.0.1", 10.0)
    assert not quota.allows("10.0.0.3", 10.0)
    assert quota.allows("10.0.0.2", 10.0)
    assert quota.arrive("10.0.0.2") == (CROWD - 1, True)
    quota.prove(filled(quota, "10.0.0.4", 1)[0], 10.0)
    filled(quota, "10.0.0.4", CROWD)
    assert len(quota) == 19, "and one has only arrived"


def test_who_has_arrived_has_a_place_and_accepting_goes_on_once_he_is_let_in() -> None:
    quota = ConnectionQuota(total=2)
    resumed: list[int] = []
    for source in ("10.0.0.1", "10.0.0.2"):
        assert quota.arrive(source) == (0, False)
    assert not quota.has_room(), "nobody could give way"
    quota.wait(lambda: resumed.append(1))
    quota.take(Visitor("10.0.0.1"))
    assert quota.has_room()
    assert resumed == [1]
    quota.wait(lambda: resumed.append(2))
    quota.turn_back("10.0.0.2")
    assert (resumed, len(quota), quota.sources) == ([1, 2], 1, 1)


def test_who_has_few_is_let_in_first() -> None:
    arrivals: Arrivals[str] = Arrivals()
    for number in range(3):
        for source in "ab":
            arrivals.add(f"{source}{number}", number)
    arrivals.add("phone", 0)
    order = [arrivals.next() for _ in range(len(arrivals))]
    assert order == ["a0", "b0", "phone", "a1", "b1", "a2", "b2"]


@pytest.mark.limit("sources whose rate is remembered")
def test_of_as_many_sources_as_may_be_the_rate_is_remembered() -> None:
    quota = ConnectionQuota(per_source=1, per_s=0.001)
    for number in range(SOURCES_MAX):
        quota.allows(str(number), 10.0)
    assert quota.remembered == SOURCES_MAX
    assert not quota.allows("0", 10.0)
    quota.allows("one more", 10.0)
    assert quota.remembered == SOURCES_MAX
    assert quota.allows("1", 10.0), "forgotten"
