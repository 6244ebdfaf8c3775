"""What workers report each second is kept long enough for whoever asks now and then."""

from __future__ import annotations

from media.protocol import WorkerLoad
from softswitch.worker_loads import WorkerLoads


def load(gap_ms, *, worker=0, cpu=0.5):
    return WorkerLoad(worker, cpu, 0, 0, 0, 0, gap_ms=gap_ms, gap_own_ms=gap_ms / 2)


def test_a_worker_that_has_not_reported_yet_has_a_row():
    assert WorkerLoads().row(3) == {
        "cpu": 0.0,
        "gap_ms": 0.0,
        "gap_own_ms": 0.0,
        "gap_collector_ms": 0.0,
        "gap_overslept_ms": 0.0,
    }


def test_the_longest_gap_stands_for_a_minute_at_least_and_two_at_most():
    loads = WorkerLoads()
    loads.note(load(2.0), 600.0)
    loads.note(load(40.0), 659.0)
    seen = []
    for second in range(660, 800):
        loads.note(load(3.0, cpu=0.7), float(second))
        seen.append(loads.row(0)["gap_ms"])
    assert seen[:60] == [40.0] * 60
    assert seen[60:] == [3.0] * 80
    assert loads.row(0)["cpu"] == 0.7
    assert loads.row(0)["gap_own_ms"] == 1.5


def test_after_a_pause_in_the_reports_nothing_old_is_shown():
    loads = WorkerLoads()
    loads.note(load(40.0), 10.0)
    loads.note(load(1.0), 200.0)
    assert loads.row(0)["gap_ms"] == 1.0


def test_workers_are_kept_apart():
    loads = WorkerLoads()
    loads.note(load(5.0), 1.0)
    loads.note(load(7.0, worker=1), 1.0)
    assert [loads.row(worker)["gap_ms"] for worker in (0, 1)] == [5.0, 7.0]
