"""Row 56 with a real exchange and fifty calls: it dies, its database is an older version's, it comes again.

    pytest -s -m soak tests/soak/test_versions.py

The sound of calls outlives the exchange for two minutes, in its media worker; their dialogs do not (ADR 0019).
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from softswitch.sim.phone import VirtualPhone
from softswitch.sim.phone_audio import PhoneAudio
from softswitch.store.migrate import HEAD, revisions
from tests.rows import Row
from tests.soak.apart import Office, begin_listening, silences

pytestmark = [pytest.mark.soak, pytest.mark.realtime]

CALLS = 50
EVERY_S = 0.2
GAP_S_MAX = 3.0
SILENT_S_MAX = 1.0


class SparseAudio(PhoneAudio):
    """Sends a frame every fifth of a second: a hundred telephones leave the machine to the exchange."""

    def _tick(self) -> None:
        super()._tick()
        if self._tick_handle is not None:
            self._tick_handle.cancel()
            self._next_tick_s = self._loop.time() + EVERY_S
            self._tick_handle = self._loop.call_at(self._next_tick_s, self._tick)


class SparsePhone(VirtualPhone):
    async def _open_audio(self) -> PhoneAudio:
        return SparseAudio(await self._network.open_socket(self.local[0]), self._random)


OLDER = revisions()
SCHEMAS = {"one step": OLDER[1], "two steps": OLDER[2], "of 0010": "0010", "the first": OLDER[-1]}


@pytest.mark.parametrize("steps", SCHEMAS)
async def test_row_56_fifty_calls_and_an_older_schema(tmp_path: Path, row: Row, steps: str) -> None:
    schema = SCHEMAS[steps]
    office = Office(tmp_path / "office", 2 * CALLS + 3, SparsePhone)
    await asyncio.to_thread(office.server.start)
    try:
        for number in office.numbers[1:]:
            await office.phone(number)
        pairs = list(
            zip(office.numbers[1 : 1 + CALLS], office.numbers[1 + CALLS : -2], strict=True)
        )
        talks = [await office.talk(*pair) for pair in pairs]
        await asyncio.sleep(2)
        begin_listening(talks)
        killed_s = time.monotonic()
        await asyncio.to_thread(office.server.kill)
        began_s = time.monotonic()
        words: tuple[Any, ...] = ("downgrade", str(office.server.file), "--to", schema)
        await asyncio.to_thread(office.server.run, *words)
        back_s = time.monotonic() - began_s
        ((before,),) = office.sql("SELECT count(*) FROM calls")
        await asyncio.to_thread(office.server.start)
        last = office.numbers[-2:]
        # Who had registered is known no more: a telephone comes again when it calls, or soon.
        for number in last:
            assert (await office.phones[number].register(60)).status == 200
        new = await office.talk(*last)
        gap_s = time.monotonic() - killed_s - back_s
        await asyncio.sleep(3)
        silent_s = max(silences([*talks, new]))
        ((head,),) = office.sql("SELECT version_num FROM alembic_version")
        for talk in (new, *talks):
            talk.hang_up()
        await asyncio.to_thread(office.server.wait_idle)
        await asyncio.to_thread(office.server.records, CALLS + 1)
        kept = office.records()
        cut = [talk for talk in talks if kept.get(talk.sip_call_id, (0, ""))[1] == "lost"]
    finally:
        await office.close()
    row(
        56,
        f"{CALLS} calls heard while a database of schema {schema} ({steps}) comes to {HEAD}",
        up=CALLS,
        records=before,
        lost=CALLS - len(cut),
        downgrade_s=round(back_s, 2),
        gap_s=round(gap_s, 2),
        longest_silence_s=round(silent_s, 2),
    )
    assert head == HEAD
    assert before == len(cut) == CALLS
    assert kept[new.sip_call_id][1] == "answered"
    assert silent_s < SILENT_S_MAX
    assert gap_s < GAP_S_MAX
