"""G.711 against the recommendation: every code, every sample, both conversion tables."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from media.dsp import g711

CODES = np.arange(256, dtype=np.uint8)
SAMPLES = np.arange(-32768, 32768).astype(np.int16)


def test_ulaw_values_are_those_of_table_2() -> None:
    # Table 2a/G.711, 14-bit values of the first code of each segment, shifted to 16 bits.
    first = {0x80: 8031, 0x90: 3999, 0xA0: 1983, 0xB0: 975, 0xC0: 471, 0xD0: 219, 0xE0: 93}
    for code, value in first.items():
        assert g711.ULAW_VALUES[code] == 4 * value
        assert g711.ULAW_VALUES[code ^ 0x80] == -4 * value
    assert g711.ULAW_VALUES[0xFF] == 0
    assert g711.ULAW_VALUES[0xFE] == 8


def test_alaw_values_are_those_of_table_1() -> None:
    # Table 1a/G.711: 12-bit values times two (4032, 2016, ... 1), shifted to 16 bits.
    for code, value in {
        0x7F: 4032,
        0x6F: 2016,
        0x5F: 1008,
        0x4F: 504,
        0x3F: 252,
        0x2F: 126,
    }.items():
        assert g711.ALAW_VALUES[(code | 0x80) ^ 0x55] == 8 * value
        assert g711.ALAW_VALUES[code ^ 0x55] == -8 * value
    assert g711.ALAW_VALUES[g711.ALAW_SILENCE] == 8


def decisions(first: int, steps: list[int], sizes: list[int]) -> np.ndarray:
    """The decision values of one half: `steps[i]` intervals of `sizes[i]`, from `first` on."""
    return first + np.cumsum([0, *np.repeat(sizes, steps)])


def test_every_sample_lies_between_its_decision_values() -> None:
    ulaw = np.r_[0, decisions(1, [15] + [16] * 7, [2, 4, 8, 16, 32, 64, 128, 256])]
    alaw = decisions(0, [32] + [16] * 6, [2, 4, 8, 16, 32, 64, 128])
    assert ulaw[-1] == 8159
    assert alaw[-1] == 4096
    magnitude = np.where(SAMPLES < 0, ~SAMPLES.astype(int), SAMPLES)
    number = np.minimum(np.searchsorted(ulaw, magnitude >> 2, side="right") - 1, 127)
    assert (g711.encode_ulaw(SAMPLES) == (number ^ np.where(SAMPLES < 0, 0x7F, 0xFF))).all()
    number = np.searchsorted(alaw, magnitude >> 3, side="right") - 1
    assert (g711.encode_alaw(SAMPLES) == (number ^ np.where(SAMPLES < 0, 0x55, 0xD5))).all()


def test_codes_survive_decoding_and_encoding() -> None:
    again = g711.encode_ulaw(g711.decode_ulaw(CODES))
    # u-law has two zeros; the encoder says the positive one.
    assert again.tolist() == [0xFF if code == 0x7F else code for code in range(256)]
    assert (g711.encode_alaw(g711.decode_alaw(CODES)) == CODES).all()


def test_decision_values_follow_the_software_tool_library() -> None:
    assert g711.encode_ulaw(np.array([0, 3, 4, -1, -4, -5], np.int16)).tolist() == [
        0xFF, 0xFF, 0xFE, 0x7F, 0x7F, 0x7E,
    ]  # fmt: skip
    assert g711.encode_alaw(np.array([0, 15, 16, -1, -16, -17], np.int16)).tolist() == [
        0xD5, 0xD5, 0xD4, 0x55, 0x55, 0x54,
    ]  # fmt: skip
    assert g711.encode_ulaw(np.array([32767, -32768], np.int16)).tolist() == [0x80, 0x00]
    assert g711.encode_alaw(np.array([32767, -32768], np.int16)).tolist() == [0xAA, 0x2A]


def test_conversion_tables_are_tables_3_and_4() -> None:
    # Output value numbers of the recommendation at places where rounding alone would differ.
    u_number, a_number = 0xFF - CODES[128:], (CODES[128:] ^ 0xD5) + 1
    to_alaw = dict(zip(u_number.tolist(), a_of(g711.ULAW_TO_ALAW[128:]), strict=True))
    assert [to_alaw[n] for n in (0, 1, 14, 15, 31, 32, 33, 48, 49, 63, 64, 80, 81, 127)] == [
        1, 1, 8, 8, 24, 25, 27, 46, 48, 62, 64, 80, 82, 128,
    ]  # fmt: skip
    to_ulaw = dict(zip(a_number.tolist(), (0xFF - g711.ALAW_TO_ULAW[128:]).tolist(), strict=True))
    assert [to_ulaw[n] for n in (1, 2, 8, 9, 25, 26, 45, 46, 63, 64, 80, 81, 128)] == [
        1, 3, 15, 16, 32, 32, 48, 48, 64, 64, 80, 80, 127,
    ]  # fmt: skip
    assert (g711.ULAW_TO_ALAW[:128] == g711.ULAW_TO_ALAW[128:] ^ 0x80).all()
    assert (g711.ALAW_TO_ULAW[:128] == g711.ALAW_TO_ULAW[128:] ^ 0x80).all()


def a_of(codes):
    return ((codes ^ 0xD5).astype(int) + 1).tolist()


def test_conversion_loses_at_most_one_step() -> None:
    for table, before, after in (
        (g711.ULAW_TO_ALAW, g711.ULAW_VALUES, g711.ALAW_VALUES),
        (g711.ALAW_TO_ULAW, g711.ALAW_VALUES, g711.ULAW_VALUES),
    ):
        old, new = before.astype(int), after[table].astype(int)
        assert (np.abs(new - old) <= np.maximum(np.abs(old) // 16, 8)).all()


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, max_side=9)), st.booleans())
def test_decoding_any_shape_equals_the_table(codes, into) -> None:
    for decode, values in (
        (g711.decode_ulaw, g711.ULAW_VALUES),
        (g711.decode_alaw, g711.ALAW_VALUES),
    ):
        out = np.zeros(codes.shape, np.int16) if into else None
        result = decode(codes, out)
        assert result is out or not into
        assert result.dtype == np.int16
        assert (result == values[codes]).all()


def test_decoding_a_strided_view() -> None:
    wide = np.arange(4 * 200, dtype=np.int64).astype(np.uint8).reshape(4, 200)
    assert (g711.decode_ulaw(wide[:, 12:172]) == g711.ULAW_VALUES[wide[:, 12:172]]).all()
    assert (g711.decode_alaw(wide[:, ::2]) == g711.ALAW_VALUES[wide[:, ::2]]).all()


def test_encoding_into_a_packet_array() -> None:
    packets = np.zeros((3, 172), np.uint8)
    samples = np.arange(-240, 240).astype(np.int16).reshape(3, 160) * 100
    assert g711.encode_ulaw(samples, packets[:, 12:]) is not None
    assert (packets[:, 12:] == g711.encode_ulaw(samples)).all()
    assert not packets[:, :12].any()
