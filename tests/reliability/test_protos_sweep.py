"""Row 3: one anomaly in each element of a message in turn, from a stranger and from a trunk."""

from __future__ import annotations

from itertools import islice

import pytest

from softswitch.sim.loop import simulated
from tests.reliability.anomalies import message, sweep
from tests.reliability.conftest import attacked
from tests.rows import Row

STATUSES = range(100, 700)


@simulated(limit_s=1e7)
@pytest.mark.parametrize("source", ["stranger", "carrier"])
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.soak)])
async def test_one_anomaly_at_a_time(source: str, every: int, row: Row) -> None:
    """Answered in the form of SIP or dropped; a right message is answered after each. `make test` takes one in
    four, of every element some; `make soak` all."""
    sent = answered = 0
    async with attacked(3) as victim:
        for what, data in islice(sweep(), 0, None, every):
            found = await victim.after(data, source, wait_s=0.02)
            sent += 1
            for each in found:
                if each.startswith(b"SIP/2.0 "):
                    assert int(each[8:11]) in STATUSES, (what, each[:80])
                    answered += 1
                else:
                    assert source == "carrier", (what, each[:80])  # calls it placed are hung up
            assert await victim.alive(), what
            assert victim.failures() == [], what
        unhandled = len(victim.failures())
    row(3, f"PROTOS sweep from a {source}", messages=sent, answers=answered, unhandled=unhandled)
    assert sent > 5000 // every
    assert answered > sent // 10


@simulated(limit_s=1e5)
async def test_the_message_that_is_bent_is_a_call() -> None:
    """Or the sweep would show no more than that wrong messages are refused."""
    async with attacked(1) as victim:
        found = await victim.after(message(1), "carrier", wait_s=1.0)
        assert any(each.startswith(b"SIP/2.0 200 ") for each in found), found
        found = await victim.after(message(2), "stranger", wait_s=1.0)
        assert [each[8:11] for each in found] == [b"401"], found
