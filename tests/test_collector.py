"""When Python's cycle collector may stop everything for as long as it looks."""

from __future__ import annotations

import pytest

from softswitch.collector import is_due

A_SECOND_OF_CALLS = 128
"""Transactions that one call a second keeps alive: two legs with an INVITE and a BYE each, 32 s long."""


@pytest.mark.parametrize("calls_per_s", [10, 200, 1000, 5000])
def test_what_calls_leave_for_half_a_minute_is_no_reason_to_stop_them(calls_per_s: int) -> None:
    transactions = calls_per_s * A_SECOND_OF_CALLS
    assert not is_due(30 * transactions, transactions)


@pytest.mark.parametrize("calls_per_s", [10, 1000])
def test_garbage_that_grows_is_collected_under_load_too(calls_per_s: int) -> None:
    transactions = calls_per_s * A_SECOND_OF_CALLS
    most = 2_000_000 + 40 * transactions
    assert not is_due(most, transactions)
    assert is_due(most + 1, transactions)


def test_a_quiet_moment_is_taken_unless_something_long_is_under_way() -> None:
    assert is_due(0, 499)
    assert not is_due(0, 500)
    assert not is_due(500_000, 10, is_working=True)
