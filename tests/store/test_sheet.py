"""Tables as files that no spreadsheet executes."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.store.sheet import Sheet, XlsxBook, armed, defused, to_csv

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(1)"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_become_texts(text: str) -> None:
    assert defused(text) == f"'{text}"
    assert armed(defused(text)) == text


@pytest.mark.parametrize("text", ["+8613800000001", "-5", "-5.25", "x=1", "", "'quoted", "1-2"])
def test_numbers_and_plain_texts_stay(text: str) -> None:
    assert defused(text) == text


@settings(max_examples=200)
@given(st.text(max_size=20))
def test_what_is_defused_can_be_armed_again(text: str) -> None:
    assert armed(defused(text)) == text
    if not text.startswith("'"):
        assert not defused(text).startswith(("=", "@", "\t", "\r"))


def test_csv_is_read_by_others() -> None:
    rows = [['Wang, "Wei"\n', 1, 2.5, True, None], ["=1", -3, 0.0, False, "王伟"]]
    data = to_csv(Sheet("t", ["=a", "b", "c", "d", "e"], rows))
    found = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert found == [
        ["'=a", "b", "c", "d", "e"],
        ['Wang, "Wei"\n', "1", "2.5", "true", ""],
        ["'=1", "-3", "0.0", "false", "王伟"],
    ]


def test_xlsx_holds_texts_not_formulas() -> None:
    rows = [[text, 1, None, True] for text in [*FORMULAS, "http://evil.example", "x" * 40_000]]
    book = XlsxBook()
    list(book.add(Sheet("a/b:c" * 20, ["text", "number", "none", "bool"], rows)))
    with zipfile.ZipFile(io.BytesIO(book.close())) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "hyperlink" not in sheet
