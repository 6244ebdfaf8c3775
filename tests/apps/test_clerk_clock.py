"""Row 51: a clock that is set does not keep the clerk from its work, nor have it work twice."""

from __future__ import annotations

import pytest

from softswitch.apps.clerk import Clerk
from softswitch.clock import SystemClock
from softswitch.config import parse_office

OFFICE = '[imap]\nserver = "127.0.0.1:993"\nusername = "help"\npassword = "x"\nevery_s = 60\n'
YEAR_S = 365.25 * 86_400


@pytest.fixture
def clerk() -> Clerk:
    office = parse_office(OFFICE, "office")
    clerk = Clerk(office, None, SystemClock())  # type: ignore[arg-type]

    async def nothing(now_s: float) -> int:
        return 1

    async def imap(now_s: float) -> int:
        clerk._next_s["imap"] = now_s + 60
        return 1

    clerk._chores = (("tickets", 30.0, nothing), ("imap", 0.0, imap), ("samples", 3_600.0, nothing))
    return clerk


@pytest.mark.parametrize("by_s", [-1.0, -3_600.0, -10 * YEAR_S])
async def test_a_clock_that_is_set_back_holds_up_no_chore(clerk: Clerk, by_s: float) -> None:
    now_s = 2_000_000_000.0
    assert await clerk.work(now_s) == {"tickets": 1, "imap": 1, "samples": 1}
    assert await clerk.work(now_s + 10) == {}
    done = [await clerk.work(now_s + by_s + later_s) for later_s in range(11, 72, 10)]
    assert sum(each.get("tickets", 0) for each in done) in (2, 3)
    assert sum(each.get("imap", 0) for each in done) in (1, 2)
    assert sum(each.get("samples", 0) for each in done) == (by_s <= -3_600.0)


async def test_each_chore_has_its_own_rhythm(clerk: Clerk) -> None:
    done = [await clerk.work(2_000_000_000.0 + 10.0 * turn) for turn in range(60)]
    counts = {name: sum(name in each for each in done) for name in ("tickets", "imap", "samples")}
    assert counts == {"tickets": 20, "imap": 10, "samples": 1}
