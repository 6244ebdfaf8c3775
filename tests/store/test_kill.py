"""kill -9 of the process that writes: nothing that was committed is lost, nothing is there twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WRITER = """
import asyncio, sys
from softswitch.store import Store

async def write(directory, run):
    store = await Store.open(directory)
    append = store.journal.append
    for number in range(100_000):
        call = f"r{run}-{number}"
        append("call-started", call, {"number_from": "1001", "number_to": "1002"}, 1.0 + number)
        append("call-answered", call, {}, 2.0 + number)
        last = append("call-ended", call, {"outcome": "answered"}, 3.0 + number)
        if number % 5 == 0:
            assert await store.journal.flush()
            print(last, flush=True)
        elif number % 7 == 0:
            await asyncio.sleep(0.003)

asyncio.run(write(sys.argv[1], sys.argv[2]))
"""


def _write_until_killed(directory: Path, run: int, lines: int) -> int:
    """The last number that the writer said was committed."""
    command = [sys.executable, "-c", WRITER, str(directory), str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(lines):
            said = writer.stdout.readline()
            assert said.endswith("\n"), "the writer ended by itself"
            committed = int(said)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
        whole = [line for line in rest[:-1] if line]
        return int(whole[-1]) if whole else committed


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_kill(tmp_path: Path, store_tools: Any, seed: int) -> None:
    rng = random.Random(seed)
    for run in range(2):
        committed = _write_until_killed(tmp_path, run, rng.randint(1, 40))
        async with store_tools.opened(tmp_path) as tools:
            assert tools.alarms == []
            assert store_tools.sql(tmp_path, "PRAGMA integrity_check") == [("ok",)]
            count, distinct, last = store_tools.numbers(tmp_path)
            assert last >= committed
            assert count == distinct == last, "one entry for each number"
            await tools.store.close_open_calls("crashed", 9e9)
            records = await tools.store.calls.list(1_000)
            assert all(record.ended for record in records)
            count = await tools.store.calls.count()
            found = {}
            for kind in ("call-started", "call-ended"):
                of = [entry[3] for entry in store_tools.entries(tmp_path) if entry[2] == kind]
                found[kind] = len(set(of)), len(of)
            assert found["call-started"] == found["call-ended"] == (count, count)
            await tools.store.rebuild()
            assert await tools.store.calls.list(1_000) == records
