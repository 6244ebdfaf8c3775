"""Tables as files: CSV that no spreadsheet executes, and XLSX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Cell = str | int | float | bool | None

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_SHEET_NAME_MAX = 31
XLSX_ROWS_MAX = 1_048_575


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table: `columns` are its names, each row has as many cells."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def defused(text: str) -> str:
    """`text` as a spreadsheet shows and never computes it: what begins like a formula gets an
    apostrophe in front, one more where it has some already, so that `armed` can tell. Numbers
    (telephone numbers among them) are harmless and stay."""
    formula = text.lstrip("'")
    if formula.startswith(_DANGEROUS) and not _NUMBER.fullmatch(formula):
        return f"'{text}"
    return text


def armed(text: str) -> str:
    """The inverse of `defused`."""
    return text[1:] if text.startswith("'") and defused(text[1:]) == text else text


def to_csv(sheet: Sheet) -> bytes:
    """CSV in UTF-8 with a byte order mark (without it Excel takes it for Latin), texts quoted."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow([defused(name) for name in sheet.columns])
    for row in sheet.rows:
        writer.writerow([_csv_cell(cell) for cell in row])
    return b"\xef\xbb\xbf" + out.getvalue().encode("utf-8", "replace")


def _csv_cell(cell: Cell) -> str | int | float:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return defused(cell.replace("\0", "")) if isinstance(cell, str) else cell


def to_xlsx(sheets: Iterable[Sheet]) -> bytes:
    """One workbook. Blocks (a second a hundred thousand rows): to be run in a thread."""
    import xlsxwriter

    out = io.BytesIO()
    options = {
        "in_memory": True,
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": True,
    }
    with xlsxwriter.Workbook(out, options) as book:
        bold = book.add_format({"bold": True})
        for sheet in sheets:
            page = book.add_worksheet(re.sub(r"[\[\]:*?/\\']", " ", sheet.name)[:_SHEET_NAME_MAX])
            page.freeze_panes(1, 0)
            for column, name in enumerate(sheet.columns):
                page.set_column(column, column, max(10, len(name) + 2))
                page.write_string(0, column, name, bold)
            for number, row in enumerate(sheet.rows[:XLSX_ROWS_MAX], 1):
                for column, cell in enumerate(row):
                    _write_cell(page, number, column, cell)
    return out.getvalue()


def _write_cell(page: Any, row: int, column: int, cell: Cell) -> None:
    if cell is None:
        return
    if isinstance(cell, bool):
        page.write_boolean(row, column, cell)
    elif isinstance(cell, str):
        page.write_string(row, column, cell[:32_767])
    else:
        page.write_number(row, column, cell)
