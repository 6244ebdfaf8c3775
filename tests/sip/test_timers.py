"""The timer heap: order, cancelling, bounded rubbish."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from softswitch.sip.timers import Lane, TimerHeap


class Owner:
    def __init__(self):
        self.fired = []

    def on_timer(self, name, now_s):
        self.fired.append((name, now_s))


def drain(heap, now_s):
    fired = []
    while (due := heap.pop_due(now_s)) is not None:
        fired.append(due[1])
    return fired


def test_timers_fire_in_order_of_time_then_of_arming():
    heap, owner = TimerHeap(), Owner()
    for at_s, name in ((3.0, "c"), (1.0, "a"), (3.0, "d"), (2.0, "b")):
        heap.arm(at_s, owner, name)
    assert heap.next_at() == 1.0
    assert drain(heap, 0.999) == []
    assert drain(heap, 3.0) == ["a", "b", "c", "d"]
    assert (len(heap), heap.next_at()) == (0, None)


def test_cancelled_timers_neither_fire_nor_count():
    heap, owner = TimerHeap(), Owner()
    first, second = heap.arm(1.0, owner, "first"), heap.arm(2.0, owner, "second")
    heap.cancel(first)
    heap.cancel(first)
    assert (len(heap), heap.next_at()) == (1, 2.0)
    assert drain(heap, 5.0) == ["second"]
    heap.cancel(second)
    assert len(heap) == 0


def test_of_timers_of_one_name_only_the_last_fires():
    heap, owner, timers = TimerHeap(), Owner(), {}
    heap.set(timers, "again", 1.0, owner)
    heap.set(timers, "other", 1.5, owner)
    heap.set(timers, "again", 2.0, owner)
    heap.clear(timers, "never armed")
    assert (len(heap), heap.next_at(), sorted(timers)) == (2, 1.5, ["again", "other"])
    heap.clear(timers, "other")
    assert drain(heap, 5.0) == ["again"]
    heap.set(timers, "a", 6.0, owner)
    heap.set(timers, "b", 7.0, owner)
    heap.clear_all(timers)
    assert (len(heap), timers, drain(heap, 9.0)) == (0, {}, [])


def test_rubbish_is_bounded():
    heap, owner = TimerHeap(), Owner()
    keep = [heap.arm(1e6 + n, owner, "keep") for n in range(100)]
    for _ in range(20_000):
        heap.cancel(heap.arm(5e5, owner, "never"))
    assert len(heap._heap) < 1000
    assert len(heap) == len(keep)


class Lingering:
    def __init__(self, gone):
        self.gone = gone

    def expire(self):
        self.gone.append(self)


def test_those_of_a_lane_go_in_order_and_one_timer_is_enough_for_all():
    heap, gone = TimerHeap(), []
    lane = Lane(heap, 32.0)
    those = [Lingering(gone) for _ in range(4)]
    for now_s, one in zip((0.0, 0.05, 0.06, 5.0), those, strict=True):
        lane.add(one, now_s)
    assert (len(heap), heap.next_at()) == (1, 32.0)

    def fire(now_s):
        while (due := heap.pop_due(now_s)) is not None:
            due[0].on_timer(due[1], now_s)

    fire(31.99)
    assert gone == []
    fire(32.0)
    assert (gone, len(heap), heap.next_at()) == (those[:1], 1, 32.1)
    fire(32.1)
    assert (gone, heap.next_at()) == (those[:3], 37.0)
    fire(40.0)
    assert (gone, len(heap), heap.next_at()) == (those, 0, None)
    lane.add(those[0], 50.0)
    assert heap.next_at() == 82.0


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans())))
def test_agrees_with_a_sorted_list(steps):
    heap, owner = TimerHeap(), Owner()
    expected = []
    for number, (at_s, cancelled) in enumerate(steps):
        timer = heap.arm(at_s, owner, str(number))
        if cancelled:
            heap.cancel(timer)
        else:
            expected.append((at_s, number))
    assert len(heap) == len(expected)
    assert heap.next_at() == min((at_s for at_s, _ in expected), default=None)
    assert drain(heap, 100.0) == [str(number) for _, number in sorted(expected)]
