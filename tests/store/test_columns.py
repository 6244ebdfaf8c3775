"""Rows as columns of numbers, and what is found by going through them backward."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.store.again import Again
from softswitch.store.column_counts import ahead, grouped_rows
from softswitch.store.columns import (
    CALLERS,
    OUTCOMES,
    VISITS,
    Layout,
    Rows,
    digest,
    filled,
    outcome_number,
    slots_of,
)
from softswitch.store.schema_rolls import SLOT_S
from softswitch.store.story import VISIT_OUTCOMES
from softswitch.store.tallies import chosen_of, packed_visits


def visits(*queues: int) -> Rows:
    """One contact of each queue, a second apart."""
    at_s = np.arange(len(queues)) + 5 * float(SLOT_S)
    names = ((name, queues) for name in VISITS.codes)
    return filled(VISITS, at_s, (*names, ("outcome", 0), ("waited_s", at_s / 7)))


@pytest.mark.parametrize(
    ("blobs", "width"),
    [
        ([(1, 2), (0xFFFF,)], 2),
        ([(0x10000,), (3, 0xFFFFFFFF)], 4),
        ([(0xFFFF,), (0x10000, 7), ()], 4),
        ([], 2),
    ],
)
def test_what_is_unpacked_is_what_was_packed(blobs: list[tuple[int, ...]], width: int) -> None:
    """Numbers of names take two octets where that is enough."""
    made = [visits(*queues) for queues in blobs]
    packed = [VISITS.pack(rows) for rows in made]
    found, counts = VISITS.unpack(packed)
    assert counts.tolist() == [len(rows) for rows in made]
    assert found.dtype["queue"].itemsize == width
    for name in VISITS.wide.names or ():
        assert found[name].tolist() == [value for rows in made for value in rows[name].tolist()]


def test_a_contact_takes_few_octets() -> None:
    assert [layout.narrow.itemsize for layout in (VISITS, CALLERS)] == [19, 24]
    assert Layout(("a",), (("b", "u1"),)).narrow.itemsize == 3


def test_every_outcome_is_counted_as_something() -> None:
    told = {outcome: OUTCOMES[outcome_number(outcome)] for outcome in VISIT_OUTCOMES}
    assert {told[name] for name in told if name.startswith("callback")} == {"callbacks"}
    assert all(told[name] == name for name in told if not name.startswith("callback"))
    assert OUTCOMES[outcome_number("other")] == ""


@given(st.integers(0, 2_000_000), st.floats(0, SLOT_S, exclude_max=True))
def test_an_instant_lies_in_its_half_hour(slot: int, second: float) -> None:
    at_s = slot * float(SLOT_S) + second
    instants = np.array([at_s, math.nextafter(at_s, 0)])
    for instant, found in zip(instants.tolist(), slots_of(instants).tolist(), strict=True):
        assert found * SLOT_S <= instant < (found + 1) * SLOT_S or instant <= 0


def test_digests_tell_texts_apart() -> None:
    numbers = {digest(f"+8610{n}") for n in range(10_000)}
    assert len(numbers) == 10_000
    assert 0 not in numbers
    assert digest("") == 0
    assert digest("\udc80") != 0


@pytest.mark.parametrize("low", [0, 40_000])
def test_few_groups_of_many_are_counted_as_all_are(low: int) -> None:
    """Whether a figure is kept for every name, or for those that there are."""
    rows = visits(*(low + n % 3 for n in range(12)))
    texts = [f"q{n}" for n in range(low + 5)]
    numbers = np.arange(12) // 4 + 100

    def count(some: Rows, groups: np.ndarray, size: int) -> list[np.ndarray]:
        return [np.bincount(groups, minlength=size), np.bincount(groups, some["second"], size)]

    label: Callable[[int], str] = lambda number: "odd" if number % 2 else "even"  # noqa: E731
    found = grouped_rows(rows, (numbers, label), rows["queue"], texts, count)
    wanted: dict[tuple[str, str], list[float]] = {}
    for n in range(12):
        sums = wanted.setdefault((label(n // 4 + 100), f"q{low + n % 3}"), [0, 0.0])
        sums[0] += 1
        sums[1] += n
    assert {k: [*figures] for k, figures in zip(found.keys, found.figures, strict=True)} == wanted
    assert grouped_rows(rows[:0], (numbers[:0], label), None, texts, count).keys == []


def test_names_that_nobody_has_are_of_no_row() -> None:
    rows, codes = visits(0, 1, 2), {"support": 0, "sales": 1, "": 2}
    assert chosen_of(rows, {"queue": ()}, codes) is None
    for names, wanted in ((("sales", "other"), [1]), (("other",), []), (("", "support"), [0, 2])):
        chosen = chosen_of(rows, {"queue": names, "agent": ()}, codes)
        assert chosen is not None
        assert np.flatnonzero(chosen).tolist() == wanted
    by_agent = packed_visits("agent", {}, 20.0, {}, served=True).chosen(rows, codes)
    assert by_agent is not None
    assert by_agent.tolist() == [True, True, False]


async def test_the_next_part_is_read_while_one_is_worked_on() -> None:
    """One part ahead and no more; what fails is told in its turn, and who stops early ends the reading."""
    begun: list[int] = []
    ended: list[int] = []

    async def parts(of: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(of):
                begun.append(number)
                await asyncio.sleep(0)
                yield number
            raise ValueError("the disk")
        finally:
            ended.append(of)

    seen: list[tuple[int, int]] = []

    async def look() -> None:
        async with aclosing(ahead(parts(3))) as some:
            async for part in some:
                await asyncio.sleep(0.001)
                seen.append((part, len(begun)))

    with pytest.raises(ValueError, match="the disk"):
        await look()
    assert seen == [(0, 2), (1, 3), (2, 3)]
    async with aclosing(ahead(parts(9))) as some:
        assert await anext(some) == 0
    assert ended == [3, 9]
    assert [part async for part in ahead(empty())] == []


async def empty() -> AsyncGenerator[int, None]:
    for number in ():
        yield number


contacts = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 20).map(float), st.floats(0, 20)),
        st.sampled_from([1, 2, 1 << 40, (1 << 40) + 1, 1 << 41]),
        st.integers(1, 6),
    ),
    max_size=25,
)


@given(contacts, st.sampled_from([0.5, 2.0, 5.0, 30.0]), st.lists(st.floats(0.01, 20), max_size=4))
@settings(max_examples=150)
def test_who_came_again_is_found_by_going_backward(
    came: list[tuple[float, int, int]], again_s: float, cuts: list[float]
) -> None:
    """Of the same caller and another call, later at all, however the time is cut into parts."""
    came.sort()
    again = Again(again_s)
    found: dict[int, float] = {}
    for low, high in reversed([*pairwise([-1.0, *sorted(cuts), 99.0])]):
        here = [n for n, contact in enumerate(came) if low <= contact[0] < high]
        at_s = np.array([came[n][0] for n in here], np.float64)
        caller, call = (np.array([came[n][i] for n in here], np.uint64) for i in (1, 2))
        found |= zip(here, again.before(caller, call, at_s).tolist(), strict=True)
    for n, (at_s, caller, call) in enumerate(came):
        others = (o[0] for o in came if o[1] == caller and o[2] != call and o[0] > at_s)
        first_s = min(others, default=math.inf)
        if first_s <= at_s + again_s:
            assert found[n] == first_s
        else:
            assert found[n] > at_s + again_s
