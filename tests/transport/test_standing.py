"""Bursts pass, queues that stand do not."""

from __future__ import annotations

from softswitch.transport.standing import Standing, StandingPolicy

POLICY = StandingPolicy(target_s=0.05, interval_s=0.1, memory_s=2.0, give_up_s=0.4)


def test_a_burst_passes() -> None:
    standing = Standing(POLICY)
    assert not any(standing.turns_away(wait_s, 1.0 + wait_s) for wait_s in (0.0, 0.05, 0.1, 0.149))


def test_a_wait_above_the_target_for_an_interval_turns_away_until_it_is_below() -> None:
    standing = Standing(POLICY)
    assert not standing.turns_away(0.06, 1.0)
    assert not standing.turns_away(0.2, 1.09)
    assert standing.turns_away(0.06, 1.1)
    assert standing.turns_away(0.06, 1.2)
    assert not standing.turns_away(0.049, 1.3)


def test_a_short_wait_in_between_ends_the_interval() -> None:
    standing = Standing(POLICY)
    assert not standing.turns_away(0.06, 1.0)
    standing.served(0.01)
    assert not standing.turns_away(0.06, 1.1)
    assert standing.turns_away(0.06, 1.25)


def test_a_queue_that_has_stood_gets_no_new_interval_for_a_while() -> None:
    standing = Standing(POLICY)
    standing.turns_away(0.06, 1.0)
    assert standing.turns_away(0.06, 1.1)
    assert not standing.turns_away(0.0, 1.2)
    assert standing.turns_away(0.05, 3.1)
    assert not standing.turns_away(0.0, 3.2)
    assert not standing.turns_away(0.05, 5.2)


def test_who_is_about_to_ask_again_is_not_served() -> None:
    standing = Standing(POLICY)
    assert not standing.gives_up(0.399)
    assert standing.gives_up(0.4)
