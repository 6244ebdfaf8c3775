"""How many ports a worker keeps open: enough for a carrier's calls, never more than a short range bears."""

from __future__ import annotations

import pytest

from media.doors import Doors


@pytest.mark.parametrize(
    ("ports", "workers", "kept"),
    [
        ((30_000, 49_999), 1, 16),
        ((30_000, 30_127), 1, 16),
        ((30_000, 30_125), 1, 15),
        ((30_000, 30_127), 2, 8),
        ((30_000, 30_009), 1, 4),
        ((30_000, 49_999), 4, 16),
    ],
)
def test_ports_that_a_worker_keeps(ports: tuple[int, int], workers: int, kept: int) -> None:
    door = Doors(("127.0.0.1",), None, ports, workers, one_each=False)[0]
    assert len(door.allocator.open_first(0)) == kept


def test_where_each_stream_has_its_own_none_is_kept() -> None:
    door = Doors(("127.0.0.1",), None, (30_000, 49_999), 1, one_each=True)[0]
    assert door.allocator.open_first(0) == []
