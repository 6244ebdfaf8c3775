"""Row 51 with a real exchange: its wall clock, and that of its media workers, is set while calls are heard.

pytest -s -m soak tests/soak/test_wall_clock.py
"""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.rows import Row
from tests.soak.apart import Office, Talk, begin_listening, silences

pytestmark = [pytest.mark.soak, pytest.mark.realtime]

CALLS = 8
REMINDERS = "SELECT id FROM notices WHERE kind = 'reminder'"
YEAR_S = 365.25 * 86_400
ZONE = ZoneInfo("Europe/Berlin")
SILENT_S_MAX = 0.5
"""A gap in what is heard that would be the exchange's: a busy machine alone makes some tenths."""
APART_S_MAX = 0.25
"""How far a record may be from what the telephone measured: BYE and 200 take their way too."""


class WallClock:
    """The clock of the exchange; `set_by` moves it at once, `slew` lets it run faster for a while."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("cc is missing: apt-get install gcc")
        self.library = directory / "wall_clock.so"
        source = Path(__file__).with_name("wall_clock.c")
        words = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", self.library, source]
        subprocess.run(words, check=True)
        self.file = directory / "wall_clock"
        self.ahead_s = 0.0
        self._write(0.0, 0.0)

    def _write(self, rate: float, since_s: float) -> None:
        data = struct.pack("ddd", self.ahead_s, rate, since_s)
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(data)

    def set_by(self, by_s: float) -> None:
        self.ahead_s += by_s
        self._write(0.0, 0.0)

    async def slew(self, rate: float, for_s: float) -> None:
        since_s = time.monotonic()
        self._write(rate, since_s)
        await asyncio.sleep(for_s)
        self.set_by(rate * (time.monotonic() - since_s))

    def now_s(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path)


def next_summer_time(now_s: float) -> float:
    """When the clocks of the office are next put forward or back."""
    at_s = now_s - now_s % 3600
    offset = datetime.fromtimestamp(at_s, ZONE).utcoffset()
    while datetime.fromtimestamp(at_s, ZONE).utcoffset() == offset:
        at_s += 3600
    return at_s


async def test_row_51_the_clock_of_a_real_exchange(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    office = Office(tmp_path / "office", 2 * CALLS + 5)
    with monkeypatch.context() as patched:
        patched.setenv("LD_PRELOAD", str(clock.library))
        patched.setenv("TEST_WALL_CLOCK", str(clock.file))
        await asyncio.to_thread(office.server.start)
    try:
        numbers = office.numbers
        for number in numbers:
            await office.phone(number)
        carrier = await office.carrier()
        waiting = await carrier.call("+86100", from_user="01055550001")
        await waiting.answered()
        queued_s = time.monotonic()
        pairs = list(zip(numbers[1 : 1 + CALLS], numbers[1 + CALLS : 1 + 2 * CALLS], strict=True))
        spare = numbers[1 + 2 * CALLS :]
        talks = [await office.talk(*pair) for pair in pairs]
        ticket = await office.ask("POST", "/tickets", {"subject": "to be reminded of"})
        reminder = f"/tickets/{ticket['id']}/reminder"
        await office.ask("PUT", reminder, {"at_s": clock.now_s() + 1_800, "text": "look"})
        reminded: set[int] = set()

        async def reminded_of(count: int) -> None:
            # The clerk looks at tickets every 30 s, on a round of 10.
            async with asyncio.timeout(45):
                while len(reminded) < count:
                    await asyncio.sleep(0.2)
                    reminded.update(number for (number,) in office.sql(REMINDERS))
            assert len(reminded) == count

        done: list[Talk] = []
        figures: dict[str, Any] = {}

        async def after(name: str, before: Talk) -> None:
            """What must be as ever once the clock has been set; `before` was begun before."""
            await asyncio.sleep(4)
            gap_s = max(silences([*talks, before]))
            assert gap_s < SILENT_S_MAX, (name, gap_s)
            assert waiting.state == "up", name
            figures[name] = f"{gap_s * 1000:.0f} ms"
            for number in (numbers[1], spare[2]):
                assert (await office.phones[number].register(60)).status == 200, name
            new = await office.talk(spare[2], spare[3])
            await asyncio.sleep(1)
            for talk in (before, new):
                talk.hang_up()
                done.append(talk)
            await asyncio.sleep(0.5)
            status = await asyncio.to_thread(office.server.status)
            assert len(status["calls"]) == CALLS + 1, name
            assert len(status["registrations"]) == len(numbers), name
            assert office.server.exceptions() == 0
            reminded.update({number for (number,) in office.sql(REMINDERS)})

        for name, by_s in (
            ("+1 h", 3_600.0),
            ("-1 h", -3_600.0),
            ("-10 years", -10 * YEAR_S),
            ("+10 years", 10 * YEAR_S),
            ("leap second", -1.0),
        ):
            before = await office.talk(spare[0], spare[1])
            await asyncio.sleep(1)
            begin_listening(talks)
            clock.set_by(by_s)
            await after(name, before)
            if name == "+1 h":  # its time has come
                await reminded_of(1)
            if name == "-10 years":  # the round goes on though it was planned for years later
                await office.ask("PUT", reminder, {"at_s": clock.now_s() + 1, "text": "again"})
                await reminded_of(2)
        before = await office.talk(spare[0], spare[1])
        summer_s = next_summer_time(clock.now_s()) - clock.now_s() - 2.0
        begin_listening(talks)
        clock.set_by(summer_s)
        await after("summer time", before)
        clock.set_by(-summer_s)
        before = await office.talk(spare[0], spare[1])
        begin_listening(talks)
        await clock.slew(0.05, 5.0)
        await after("slew", before)
        # The reminders' time came, went, and comes no second time.
        clock.set_by(3_600.0)
        await asyncio.sleep(12)
        reminded.update({number for (number,) in office.sql(REMINDERS)})
        await office.ask("PUT", "/agents/lilei/state", {"state": "available"})
        taken = await office.phones["1001"].incoming()
        waited_s = time.monotonic() - queued_s
        await asyncio.sleep(2)
        assert waiting.state == "up"
        assert taken.state == "up"
        waiting.hang_up()
        for talk in talks:
            talk.hang_up()
        await asyncio.to_thread(office.server.wait_idle)
        done += talks
        await asyncio.to_thread(office.server.run, "status", str(office.server.file))
        apart_ms, queue_ms = await asyncio.to_thread(accounts, office, done, waited_s)
        assert office.failures() == []
    finally:
        await office.close()
    row(
        51,
        f"the clock of a real exchange, {CALLS} calls heard throughout; longest silence",
        **figures,
        calls=len(done) + 1,
        dropped=0,
        records_apart_ms=round(apart_ms, 1),
        wait_apart_ms=round(queue_ms, 1),
        reminders=f"{len(reminded)} of 2",
    )
    assert len(reminded) == 2
    assert apart_ms < 1000 * APART_S_MAX
    assert queue_ms < 1000 * 4 * APART_S_MAX
    assert office.server.trouble() == ""


def accounts(office: Office, done: list[Talk], waited_s: float) -> tuple[float, float]:
    """How far records are from what the telephones measured at most, and the wait in the queue."""
    kept = office.records()
    assert len(kept) == len(done)
    assert {status for _, status in kept.values()} == {"answered"}
    ((kept_s,),) = office.sql("SELECT waited_s FROM queue_visits")
    apart_s = max(abs(kept[talk.sip_call_id][0] - talk.lasted_s) for talk in done)
    return 1000 * apart_s, 1000 * abs(kept_s - waited_s)
