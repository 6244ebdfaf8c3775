"""Who may try a test of sound again, and who may not."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.punctual import HIDDEN_MS, TRIES, punctual


def hold(seconds: float) -> None:
    """Nobody else in this loop has a core meanwhile."""
    time.sleep(seconds)


async def test_a_failure_on_a_punctual_machine_counts_at_once(tmp_path: Path) -> None:
    folders: list[Path] = []

    @punctual
    async def fails(folder: Path) -> None:
        folders.append(folder)
        raise AssertionError("nothing was heard")

    with pytest.raises(AssertionError, match="nothing was heard"):
        await fails(tmp_path)
    assert len(folders) == 1


@pytest.mark.parametrize(("failures", "passes"), [(TRIES - 1, True), (TRIES, False)])
async def test_where_the_machine_was_late_there_are_more_tries(
    tmp_path: Path, failures: int, passes: bool
) -> None:
    folders: list[Path] = []

    @punctual
    async def fails(folder: Path) -> None:
        folders.append(folder)
        await asyncio.sleep(0)
        hold(2 * HIDDEN_MS / 1000)
        await asyncio.sleep(0.02)
        assert len(folders) > failures

    if passes:
        await fails(tmp_path)
    else:
        with pytest.raises(AssertionError):
            await fails(tmp_path)
    assert len(set(folders)) == TRIES
