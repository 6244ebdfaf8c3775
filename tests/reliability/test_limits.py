"""Every limit that `softswitch check --limits` prints is tested at N and at N+1.

A test says by `@pytest.mark.limit("...")` which limit it holds; the first test here walks the printed table
and fails for a limit that no test names. Then come the limits whose owner has no such test of its own.
"""

from __future__ import annotations

import ast
import asyncio
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from softswitch.apps import messages
from softswitch.apps.messages import OCTETS_MAX, PENDING_MAX
from softswitch.apps.parking import SLOTS_MAX, Parking
from softswitch.call.call import DIGITS_MAX
from softswitch.cli.limits import limit_rows
from softswitch.sim.loop import simulated
from softswitch.sim.world import EXCHANGE, World

TESTS = Path(__file__).parents[1]


@cache
def named_limits() -> Counter[str]:
    """The names in every `@pytest.mark.limit(...)` under tests/."""
    found: Counter[str] = Counter()
    for file in TESTS.rglob("test_*.py"):
        text = file.read_text()
        if "mark.limit(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.limit":
                found.update(str(ast.literal_eval(each)) for each in node.args)
    return found


@pytest.mark.parametrize("limit", [row[0] for row in limit_rows()])
def test_a_limit_that_is_printed_is_tested(limit: str) -> None:
    assert named_limits()[limit], f'no test says @pytest.mark.limit("{limit}")'


def test_a_test_names_limits_that_are_printed() -> None:
    assert set(named_limits()) <= {row[0] for row in limit_rows()}


def test_no_limit_is_printed_twice() -> None:
    names = [row[0] for row in limit_rows()]
    assert len(names) == len(set(names))


# -- limits whose owners have no test of their own -------------------------------------------------


@pytest.mark.limit("parked calls")
def test_as_many_slots_as_may_and_none_more() -> None:
    slots: dict[int, object] = {}
    parking = Parking.__new__(Parking)
    parking._slots = slots  # type: ignore[assignment]
    given = [parking._free(f"extension:{number}") for number in range(SLOTS_MAX + 1)]
    assert given == [*range(1, SLOTS_MAX + 1), None]


@pytest.mark.limit("message between extensions")
@simulated()
async def test_a_message_of_the_largest_size_passes_and_one_octet_more_is_413() -> None:
    async with World(1) as world:
        sender = await world.phone("1001")
        await world.phone("1002")
        statuses = [
            (await text_message(sender, b"x" * octets)).status
            for octets in (OCTETS_MAX, OCTETS_MAX + 1)
        ]
        assert statuses == [200, 413]


@pytest.mark.limit("messages under way")
@simulated()
async def test_so_many_messages_are_under_way_and_the_next_is_asked_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(messages, "BURST", 1e9)
    async with World(1) as world:
        sender = await world.phone("1001")
        callee = await world.phone("1002")
        world.network.cut(callee.local[0])  # nobody answers
        waiting = [asyncio.ensure_future(text_message(sender, b"x")) for _ in range(PENDING_MAX)]
        await asyncio.sleep(1.0)
        assert not any(each.done() for each in waiting)
        assert (await text_message(sender, b"x")).status == 503
        await asyncio.gather(*waiting)
        world.network.mend(callee.local[0])
        assert (await text_message(sender, b"x")).status == 200


async def text_message(sender, body: bytes):
    return await sender.request(
        "MESSAGE", "sip:1002@office.example", body=body, content_type="text/plain"
    )


@pytest.mark.limit("digits ahead")
@simulated()
async def test_so_many_digits_wait_and_then_the_oldest_are_forgotten() -> None:
    async with World(1) as world:
        caller = await world.phone("1001")
        await world.phone("1002")
        await (await caller.call("1002")).answered()
        (call,) = world.switch.control.calls
        for number in range(DIGITS_MAX):
            call.digit_pressed(str(number % 10))
        assert (len(call._digits), call._digits[0]) == (DIGITS_MAX, "0")
        call.digit_pressed("#")
        assert (len(call._digits), call._digits[0], call._digits[-1]) == (DIGITS_MAX, "1", "#")


@pytest.mark.limit("subscriptions")
@pytest.mark.parametrize(("limit", "refused"), [(2, 0), (1, 1)])
@simulated()
async def test_subscriptions_are_bounded(
    limit: int, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(1) as world:
        stack, phone = world.switch.driver.stack, await world.phone("1001")
        monkeypatch.setattr(stack, "_config", replace(stack._config, max_subscriptions=limit))
        for number in ("1001", "1002"):
            phone.subscribe("dialog", number)
        await asyncio.sleep(1.0)
        assert stack.snapshot()["subscriptions"] == limit
        answers = [e for e in world.trace.responses(503) if e.source == EXCHANGE]
        assert len(answers) == refused
