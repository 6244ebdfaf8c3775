"""The vectors of Erlang's formulas (load 10 erlang, mean handle time 180 s, target 20 s)."""

from __future__ import annotations

import pytest

from routing.erlang import ErlangA, ErlangC, agents_needed, erlang_b

LOAD, HANDLE_S = 10.0, 180.0
TABLE = [
    # n, C: waits, SL20, ASA; A(120): waits, abandons, SL; A(300): abandons, SL
    (11, 0.6821, 0.3896, 122.78, 0.3828, 0.0942, 0.7422, 0.0699, 0.6569),
    (12, 0.4494, 0.6402, 40.44, 0.2798, 0.0616, 0.8256, 0.0427, 0.7723),
    (13, 0.2853, 0.7956, 17.12, 0.1937, 0.0384, 0.8886, 0.0250, 0.8582),
    (14, 0.1741, 0.8884, 7.84, 0.1270, 0.0228, 0.9327, 0.0140, 0.9168),
    (15, 0.1020, 0.9415, 3.67, 0.0788, 0.0129, 0.9616, 0.0075, 0.9539),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"n={row[0]}")
def test_table(row):
    n, c_waits, c_level, c_asa, a_waits, a_abandons, a_level, b_abandons, b_level = row
    patient = ErlangC(n, LOAD, HANDLE_S)
    assert patient.waits == pytest.approx(c_waits, abs=5e-5)
    assert patient.answered_within(20) == pytest.approx(c_level, abs=5e-5)
    assert patient.mean_wait_s == pytest.approx(c_asa, abs=5e-3)
    hasty = ErlangA(n, LOAD, HANDLE_S, 120)
    assert hasty.waits == pytest.approx(a_waits, abs=5e-5)
    assert hasty.abandons == pytest.approx(a_abandons, abs=5e-5)
    assert hasty.answered_within(20) == pytest.approx(a_level, abs=5e-5)
    calm = ErlangA(n, LOAD, HANDLE_S, 300)
    assert calm.abandons == pytest.approx(b_abandons, abs=5e-5)
    assert calm.answered_within(20) == pytest.approx(b_level, abs=5e-5)


def test_overload_has_no_answer_in_c_and_one_in_a():
    assert ErlangC(10, LOAD, HANDLE_S).answered_within(20) == 0.0
    nine = ErlangA(9, LOAD, HANDLE_S, 120)
    assert nine.abandons == pytest.approx(0.192, abs=5e-4)
    assert nine.answered_within(20) == pytest.approx(0.524, abs=5e-4)


def test_impatience_is_worth_two_seats():
    assert agents_needed(LOAD, HANDLE_S, 0.8, 20) == 14
    assert agents_needed(LOAD, HANDLE_S, 0.8, 20, patience_s=120) == 12


def test_large_loads_do_not_overflow():
    big = ErlangA(2000, 2100.0, HANDLE_S, 300)
    assert 0.04 < big.abandons < 0.06
    assert 0.0 < big.answered_within(20) < 1.0
    assert erlang_b(2000, 2000.0) == pytest.approx(0.0175, abs=5e-4)


def test_extremes():
    assert erlang_b(0, 5.0) == 1.0
    with pytest.raises(ValueError, match="negative"):
        erlang_b(-1, 1.0)
    with pytest.raises(ValueError, match="positive"):
        ErlangA(0, 1.0, 1.0, 1.0)
