"""Rows 48, 49 and 50 for a whole exchange on real sockets: ten calls with sound go on, two telephones call each
other every two seconds and hear each other, and somebody writes customers down, while a disk is full, or fails.

`FAULT_S=60 pytest -s -m soak tests/reliability/test_disks_beside_calls.py` is what the programme asks.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cores import stolen_s
from tests.disk_office import DiskOffice, account, disk_office
from tests.disks import small_disk
from tests.punctual import punctual
from tests.rows import Row
from tests.store.conftest import locked, sql
from tests.store.faults import FAULT_S
from tests.store.test_fault_rows import damage

ALARM_S = 5.0
LATE_MS = 20.0


class Faults:
    """Each to be entered and left. `resize` is of the small disk, where there is one."""

    def __init__(self, office: DiskOffice, resize: Any = None) -> None:
        self.office, self.resize = office, resize

    @contextmanager
    def full(self) -> Iterator[None]:
        found = os.statvfs(self.office.storage)
        used = (found.f_blocks - found.f_bavail) * found.f_frsize // 1024
        self.resize(f"{used + 64}k")
        yield
        self.resize("64m")

    @contextmanager
    def locked(self) -> Iterator[None]:
        with locked(self.office.storage):
            yield

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """As a file system becomes that has found itself damaged."""
        with self._both(write_errno=errno.EROFS, open_errno=errno.EROFS):
            yield

    @contextmanager
    def database_read_only(self) -> Iterator[None]:
        with self._failing("database", write_errno=errno.EROFS, open_errno=errno.EROFS):
            yield

    @contextmanager
    def damaged(self) -> Iterator[None]:
        sql(self.office.storage, "PRAGMA wal_checkpoint(TRUNCATE)")
        root = "SELECT rootpage FROM sqlite_master WHERE name = 'segments'"
        ((page,),) = sql(self.office.storage, root)
        damage(self.office.storage / "softswitch.db", page - 1, 1)
        yield

    @contextmanager
    def deleted(self) -> Iterator[None]:
        (self.office.storage / "softswitch.db").unlink()
        yield

    @contextmanager
    def slow(self) -> Iterator[None]:
        with self._both(sync_ms=5_000):
            yield

    @contextmanager
    def not_written(self) -> Iterator[None]:
        with self._both(write_errno=errno.EIO):
            yield

    @contextmanager
    def log_not_synced(self) -> Iterator[None]:
        with self._failing("log", sync_errno=errno.EIO):
            yield

    @contextmanager
    def database_not_synced(self) -> Iterator[None]:
        with self._failing("database", sync_errno=errno.EIO):
            yield

    @contextmanager
    def not_synced(self) -> Iterator[None]:
        with self._both(sync_errno=errno.EIO):
            yield

    @contextmanager
    def _failing(self, kind: str, **fields: int) -> Iterator[None]:
        with self.office.disk.failing(kind, **fields):
            yield

    @contextmanager
    def _both(self, **fields: int) -> Iterator[None]:
        with self._failing("database", **fields), self._failing("log", **fields):
            yield


ROWS = {
    "full": 48,
    "locked": 49,
    "read_only": 49,
    "database_read_only": 49,
    "damaged": 49,
    "deleted": 49,
    "slow": 50,
    "not_written": 50,
    "log_not_synced": 50,
    "database_not_synced": 50,
    "not_synced": 50,
}


async def suffered(office: DiskOffice, faults: Faults, name: str, seconds: float) -> dict[str, Any]:
    """Figures of one fault that lasts so long."""
    calls, stolen_before_s = office.canary.seen.calls, stolen_s()
    said = office.alarms_said()
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, getattr(faults, name)())
        began_s = time.monotonic()
        alarm_s = await office.alarmed(said, 2 * ALARM_S)
        await asyncio.sleep(max(0.0, began_s + seconds - time.monotonic()))
        office.canary.seen.failed.extend([] if office.process.poll() is None else ["ended"])
        begun = office.canary.seen.calls - calls
        await asyncio.to_thread(stack.close)
    back_s = await office.recovered()
    return {
        "alarm_s": alarm_s,
        "calls_meanwhile": begun,
        "back_s": back_s,
        **await office.lag(),
        "stolen_ms": round(1000 * (stolen_s() - stolen_before_s)),
    }


def heard(office: DiskOffice) -> dict[str, Any]:
    """What those who speak have heard."""
    seen, sound = office.canary.seen, office.heard
    assert sound is not None
    return {
        "packets": sound.sent,
        "lost_packets": sound.lost,
        "late_packets": sound.late,
        "worst_ms": round(sound.worst_ms, 1),
        "worker_waited_ms": round(office.worker["gap_ms"] - office.worker["gap_own_ms"], 1),
        "canary_calls": seen.calls,
        "dropped": len(seen.failed),
        "heard_least": round(seen.heard_least, 2),
        "saved": len(office.written.saved),
        "refused": office.written.refused,
    }


@pytest.mark.soak
@pytest.mark.parametrize("name", ROWS)
async def test_calls_go_on_while_the_disk_fails(tmp_path: Path, row: Row, name: str) -> None:
    with ExitStack() as stack:
        resize = None
        if name == "full":
            resize = stack.enter_context(small_disk(tmp_path / "var"))
            resize("64m")
        async with disk_office(tmp_path) as office:
            found = await suffered(office, Faults(office, resize), name, FAULT_S)
        kept = account(office)
    found |= heard(office) | kept
    row(ROWS[name], f"{name.replace('_', ' ')} for {FAULT_S:.0f} s, with sound", **found)
    assert office.canary.seen.failed == []
    assert found["late_packets"] == 0
    assert found["heard_least"] > 0.9
    assert found["calls_meanwhile"] > 0 or FAULT_S < 4
    assert found["alarm_s"] is not None
    assert found["alarm_s"] < ALARM_S
    assert found["loop_lag_ms"] < LATE_MS


@pytest.mark.realtime
@punctual
async def test_nothing_is_late_while_a_disk_fails_for_a_moment(tmp_path: Path) -> None:
    """Two of them in little, for every run of the tests."""
    async with disk_office(tmp_path, customers=False) as office:
        faults = Faults(office)
        for name in ("not_synced", "deleted"):
            await suffered(office, faults, name, 1.0)
    account(office)
    found = heard(office)
    assert found["late_packets"] == found["lost_packets"] == 0, found
    assert office.canary.seen.failed == []
    assert found["heard_least"] > 0.9
