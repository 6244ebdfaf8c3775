"""Numbers as dialled, as shown by carriers, and what they cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.call.numbering import Numbering

CHINA = Numbering("CN")


@pytest.mark.parametrize(
    "written", ["+861065551000", "861065551000", "01065551000", "1065551000", "00861065551000"]
)
def test_one_number_written_in_every_way(written: str) -> None:
    assert CHINA.e164(written) == "+861065551000"


@pytest.mark.parametrize(
    ("country", "written", "whole"),
    [
        ("US", "4155552671", "+14155552671"),
        ("US", "0114930123456", "+4930123456"),
        ("DE", "030123456", "+4930123456"),
        ("GB", "02079460018", "+442079460018"),
        ("CN", "1001", None),
        ("CN", "110", None),
        ("CN", "", None),
        ("CN", "alice", None),
        ("CN", "٠١٢٣٤٥٦٧٨٩", None),
        ("CN", "9" * 33, None),
        ("ZZ", "01065551000", None),
        ("ZZ", "+861065551000", "+861065551000"),
    ],
)
def test_numbers_of_other_countries_and_none_at_all(
    country: str, written: str, whole: str | None
) -> None:
    assert Numbering(country).e164(written) == whole


@pytest.mark.parametrize(
    ("country", "dialled", "needs"),
    [
        ("CN", "01065551000", "national"),
        ("CN", "+8613800000001", "national"),
        ("CN", "0014155552671", "international"),
        ("CN", "+14155552671", "international"),
        ("CN", "0019005552671", "premium"),
        ("CN", "00999123456", "premium"),
        ("CN", "110", None),
        ("CN", "120", None),
        ("CN", "10086", "local"),
        ("CN", "4711", "national"),
        ("CN", "*43", "national"),
        ("US", "911", None),
        ("US", "0118613800000001", "international"),
        ("US", "9005552671", "premium"),
        ("DE", "09001123456", "premium"),
        ("DE", "112", None),
        ("DE", "004930123456", "national"),
    ],
)
def test_what_a_number_needs(country: str, dialled: str, needs: str | None) -> None:
    assert Numbering(country).permission(dialled) == needs


@pytest.mark.parametrize(
    ("country", "prefix", "names"),
    [
        ("CN", "001", True),
        ("CN", "00", False),
        ("CN", "0", False),
        ("CN", "+44", True),
        ("CN", "", False),
        ("US", "011", False),
        ("US", "01144", True),
        ("US", "001", False),
    ],
)
def test_prefixes_that_name_a_country(country: str, prefix: str, names: bool) -> None:
    assert Numbering(country).names_country(prefix) == names


@given(st.text(max_size=40))
def test_any_text_is_answered(text: str) -> None:
    whole = CHINA.e164(text)
    assert whole is None or CHINA.e164(whole) == whole
    assert CHINA.permission(text) in {None, "local", "national", "international", "premium"}


@given(st.text("0123456789+", max_size=16))
def test_what_begins_abroad_is_never_cheap(digits: str) -> None:
    whole = CHINA.e164(digits)
    if whole is not None and not whole.startswith("+86"):
        assert CHINA.permission(digits) in {"international", "premium"} or len(digits) <= 6
