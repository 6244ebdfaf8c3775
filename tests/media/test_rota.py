"""Where new calls go."""

from __future__ import annotations

import pytest

from media.rota import Rota


def nothing_reported(worker):
    return None


def filled(*counts):
    rota, stream = Rota(len(counts)), 0
    for worker, count in enumerate(counts):
        for _ in range(count):
            rota.add(1000 + stream, worker, stream)
            stream += 1
    return rota


def test_the_worker_with_the_fewest_streams_gets_the_call():
    assert filled(3, 1, 2).place(1, lambda: [0, 1, 2], nothing_reported) == 1
    assert filled(3, 1, 2).place(1, lambda: [0, 2], nothing_reported) == 2, "only who is alive"


def test_a_call_stays_together():
    rota = filled(0, 5)
    rota.add(7, 1, 99)
    assert rota.place(7, lambda: [0, 1], nothing_reported) == 1
    rota.remove(7, 1, 99)
    assert rota.place(7, lambda: [0, 1], nothing_reported) == 0


def test_who_works_hard_for_few_streams_is_spared():
    busy = {0: (0.85, 40), 1: (0.30, 400)}
    rota = filled(40, 400)
    assert rota.place(1, lambda: [0, 1], busy.get) == 1
    alike = {0: (0.31, 40), 1: (0.38, 40)}
    assert filled(41, 40).place(1, lambda: [0, 1], alike.get) == 1, "a few percent decide nothing"


def test_what_has_come_since_the_last_report_counts():
    stale = {0: (0.0, 0), 1: (0.05, 100)}
    assert filled(1000, 100).place(1, lambda: [0, 1], stale.get) == 1


def test_a_draining_worker_gets_no_new_calls_but_those_of_its_own_unless_there_is_no_other():
    rota = filled(0, 9)
    rota.add(7, 0, 99)
    rota.draining.add(0)
    assert rota.place(1, lambda: [0, 1], nothing_reported) == 1
    assert rota.place(7, lambda: [0, 1], nothing_reported) == 0
    assert rota.place(1, lambda: [0], nothing_reported) == 0


def test_drained_is_who_was_to_be_and_has_nothing_left():
    rota = filled(0, 1)
    assert not rota.drained(0)
    rota.draining.update((0, 1))
    assert rota.drained(0)
    assert not rota.drained(1)
    rota.remove(1000, 1, 0)
    rota.closing[1].add(0)
    assert not rota.drained(1), "its account is still to come"
    rota.closing[1].clear()
    assert rota.drained(1)
    assert rota.groups == 0


@pytest.mark.parametrize("workers", [1, 256])
def test_with_nobody_alive_a_call_is_placed_all_the_same(workers):
    assert Rota(workers).place(1, list, nothing_reported) == 0
