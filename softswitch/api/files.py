"""Tables as files: CSV that is sent while it is read, XLSX that is made first. Cells are defused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fastapi import Response

from softswitch.api.problem import Refused
from softswitch.api.report_slots import SlotStream
from softswitch.store.sheet import Cell, Sheet, XlsxBook, to_csv
from softswitch.turns import done

if TYPE_CHECKING:
    from softswitch.api.access import Identity
    from softswitch.api.service import Service

Format = Literal["json", "csv", "xlsx"]
CSV = "text/csv; charset=utf-8"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
XLSX_TABLE_MAX = 100_000
"""Rows of a list as XLSX, which is made before it is sent; CSV has no limit."""

_PAGE = 500


def file_answers(what: str) -> dict[int | str, dict[str, Any]]:
    """What a route answers that gives JSON, CSV and XLSX, for its documentation."""
    content = {
        "text/csv": {"schema": {"type": "string"}},
        XLSX: {"schema": {"type": "string", "format": "binary"}},
    }
    return {200: {"description": what, "content": content}}


def attached(name: str, form: str) -> dict[str, str]:
    """Headers that make a browser keep a file."""
    return {"Content-Disposition": f'attachment; filename="{name}.{form}"'}


async def workbook(service: Service, sheet: Sheet) -> Response:
    """One sheet as XLSX."""

    async def fill(book: XlsxBook) -> None:
        await done(book.add(sheet))

    return await _filled(service, sheet.name, fill)


async def _filled(
    service: Service, name: str, fill: Callable[[XlsxBook], Awaitable[None]]
) -> Response:
    """A workbook that `fill` writes into; nothing stays behind of one that is not finished."""
    try:
        book = XlsxBook()
        try:
            await fill(book)
            data = await service.in_thread(book.close)
        finally:
            book.drop()
    except OSError as error:
        words = f"the report cannot be written: {error}"
        raise Refused(503, words, {"Retry-After": "60"}) from error
    return Response(data, media_type=XLSX, headers=attached(name, "xlsx"))


@dataclass(frozen=True, slots=True)
class Table:
    """A list that is read page by page: `read` gives so many rows after (or before) the one whose key, its
    `seq`, is given."""

    name: str
    columns: Sequence[str]
    read: Callable[[int, int | None], Awaitable[list[Any]]]
    cells: Callable[[Any], Sequence[Cell]]

    async def pages(self, after: int | None) -> AsyncIterator[list[Any]]:
        """All rows."""
        while True:
            found = await self.read(_PAGE, after)
            if found:
                yield found
            if len(found) < _PAGE:
                return
            after = found[-1].seq


async def table_file(
    service: Service,
    me: Identity,
    table: Table,
    form: Literal["csv", "xlsx"],
    after: int | None = None,
) -> Response:
    """All of a table as a file. Raises `Refused` (422) for more than XLSX is made of."""
    slot = await service.reports.take(me.actor)
    if form == "csv":
        answer = SlotStream(_csv(table, after), media_type=CSV, headers=attached(table.name, form))
        answer.slot = slot
        return answer
    try:
        return await _xlsx(service, table, after)
    finally:
        slot.give_back()


async def _csv(table: Table, after: int | None) -> AsyncIterator[bytes]:
    yield to_csv(Sheet(table.name, table.columns, []))
    async for page in table.pages(after):
        rows = [table.cells(row) for row in page]
        yield to_csv(Sheet(table.name, table.columns, rows), head=False)


async def _xlsx(service: Service, table: Table, after: int | None) -> Response:

    async def fill(book: XlsxBook) -> None:
        sheet, count = book.begin(Sheet(table.name, table.columns, [])), 0
        async for page in table.pages(after):
            count += len(page)
            if count > XLSX_TABLE_MAX:
                words = f"more than {XLSX_TABLE_MAX} rows: take CSV, or a shorter time"
                raise Refused(422, words)
            await done(sheet.add(table.cells(row) for row in page))

    return await _filled(service, table.name, fill)
