"""Tables as files: CSV that no spreadsheet executes, and XLSX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any

Cell = str | int | float | bool | None

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_SHEET_NAME_MAX = 31
XLSX_ROWS_MAX = 1_048_575


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table: `columns` are its names, each row has as many cells. `rows` may be made as they are asked
    for."""

    name: str
    columns: Sequence[str]
    rows: Iterable[Sequence[Cell]]


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


def to_csv(sheet: Sheet, *, head: bool = True) -> bytes:
    """`csv_lines`, all at once. Without `head` the rows alone, for a file that is written in parts."""
    lines = csv_lines(sheet)
    if not head:
        next(lines)
    return b"".join(lines)


def csv_lines(sheet: Sheet) -> Iterator[bytes]:
    """CSV in UTF-8 with a byte order mark (without it Excel takes it for Latin), texts quoted."""
    out = io.StringIO("\ufeff")
    out.seek(1)
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow([defused(name) for name in sheet.columns])
    yield _taken(out)
    for row in sheet.rows:
        writer.writerow([_csv_cell(cell) for cell in row])
        yield _taken(out)


def _taken(out: io.StringIO) -> bytes:
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text.encode("utf-8", "replace")


def _csv_cell(cell: Cell) -> str | int | float:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return defused(cell.replace("\0", "")) if isinstance(cell, str) else cell


class XlsxBook:
    """A workbook that is made row by row; rows that are written wait in a file. To be closed or dropped."""

    def __init__(self) -> None:
        import xlsxwriter

        self._out = io.BytesIO()
        self._waiting = TemporaryDirectory(prefix="softswitch-xlsx-")
        options = {
            "tmpdir": self._waiting.name,
            "in_memory": False,
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "nan_inf_to_errors": True,
        }
        self._book = xlsxwriter.Workbook(self._out, options)
        self._bold = self._book.add_format({"bold": True})

    def add(self, sheet: Sheet) -> Iterator[None]:
        """Write a sheet; each step is a row."""
        yield from self.begin(sheet).add(islice(sheet.rows, XLSX_ROWS_MAX))

    def begin(self, sheet: Sheet) -> XlsxPage:
        """A sheet with its names, whose rows follow."""
        name = re.sub(r"[\[\]:*?/\\']", " ", sheet.name)[:_SHEET_NAME_MAX]
        page = self._book.add_worksheet(name)
        page.freeze_panes(1, 0)
        for column, title in enumerate(sheet.columns):
            page.set_column(column, column, max(10, len(title) + 2))
            page.write_string(0, column, title, self._bold)
        return XlsxPage(page)

    def close(self) -> bytes:
        """The file. Packs it, mostly without the interpreter's lock: to be run in a thread. Raises
        `OSError`."""
        from xlsxwriter.exceptions import FileCreateError

        try:
            self._book.close()
        except FileCreateError as error:
            raise OSError(str(error)) from error
        finally:
            self.drop()
        return self._out.getvalue()

    def drop(self) -> None:
        """Let go of it, finished or not."""
        for page in self._book.worksheets():
            if page.row_data_fh is not None:
                page.row_data_fh.close()
        self._waiting.cleanup()


class XlsxPage:
    """One sheet of a workbook."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._rows = 0

    def add(self, rows: Iterable[Sequence[Cell]]) -> Iterator[None]:
        """Write rows under those there are; each step is one."""
        for row in rows:
            self._rows += 1
            for column, cell in enumerate(row):
                _write_cell(self._page, self._rows, column, cell)
            yield


def _write_cell(page: Any, row: int, column: int, cell: Cell) -> None:
    if cell is None:
        return
    if isinstance(cell, bool):
        page.write_boolean(row, column, cell)
    elif isinstance(cell, str):
        page.write_string(row, column, cell[:32_767])
    else:
        page.write_number(row, column, cell)
