"""Random numbers drawn many at a time are as random and as many as asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from media.plane.chance import Chance


@given(st.lists(st.integers(0, 20_000), max_size=20))
def test_numbers_have_the_bits_asked_for(widths: list[int]) -> None:
    chance = Chance()
    for bits in widths:
        assert 0 <= chance.getrandbits(bits) < 1 << bits


def test_every_bit_comes_as_both_and_no_number_twice() -> None:
    chance = Chance()
    drawn = [chance.getrandbits(31) for _ in range(2000)]
    for bit in range(31):
        ones = sum(number >> bit & 1 for number in drawn)
        assert 800 < ones < 1200  # nine standard deviations
    wide = [chance.getrandbits(64) for _ in range(2000)]
    assert len(set(wide)) == len(wide)


def test_what_random_makes_of_it() -> None:
    chance = Chance()
    assert {chance.randrange(3) for _ in range(200)} == {0, 1, 2}
    assert 0.0 <= chance.random() < 1.0
