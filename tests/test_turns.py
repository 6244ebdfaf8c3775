"""Long work leaves the loop to others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from softswitch.store.report import in_order
from softswitch.turns import done, emptied, flowing, is_working


async def test_everything_comes_once_and_in_order() -> None:
    assert [some async for some in flowing([])] == []
    assert [some async for some in flowing([1, 2], slice_s=60.0)] == [[1, 2]]
    assert not is_working()  # what is short is not meant
    found = [each async for some in flowing(iter(range(1_000)), slice_s=0.0) for each in some]
    assert found == list(range(1_000))
    assert is_working()


async def test_of_all_that_is_long_one_piece_is_done_in_a_turn_of_the_loop() -> None:
    turn = 0
    worked: list[tuple[int, str]] = []

    def steps(name: str, count: int) -> Iterator[str]:
        for _ in range(count):
            worked.append((turn, name))
            yield name

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())

    async def through(name: str) -> None:
        async for some in flowing(steps(name, 50), slice_s=0.0):
            assert len(some) == 1

    await asyncio.gather(*(through(name) for name in "abc"))
    counting.cancel()
    turns = [turn for turn, _ in worked]
    assert len(turns) == len(set(turns)) == 150
    # None waits until another has done all.
    assert max(turns.index(t) for t, name in worked[:10] if name == "c") < 10


async def test_a_mistake_ends_the_work_and_holds_nobody_up() -> None:
    def wrong() -> Iterator[None]:
        yield
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await done(wrong())
    await asyncio.wait_for(done(range(3)), 5)


async def test_keys_are_sorted_and_mappings_emptied() -> None:
    keys = [(f"2026-{month:02}", name) for month in (3, 1, 2) for name in ("b", "a")]
    assert list(await in_order(keys, keys[:2], [])) == sorted(keys)
    found = dict.fromkeys(keys, 1)
    await emptied(found)
    assert found == {}
