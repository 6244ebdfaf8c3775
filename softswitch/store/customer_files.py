"""Customers as CSV: reading what others wrote, with every mistake by its line, and writing it."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from softswitch.store.customer_rows import CustomerRecord, Profile
from softswitch.store.customers import PHONES_MAX, TAGS_MAX
from softswitch.store.sheet import Cell, Sheet, armed, to_csv

ROWS_MAX = 1_000_000
ERRORS_MAX = 200
CELL_MAX = 1_024
FIELD = "field:"
COLUMNS = ("name", "phone", "address", "region", "priority", "tags")
_SEVERAL = ";"


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong in a file: `line` counts from 1, the head included; `column` "" for the line."""

    line: int
    column: str
    detail: str


@dataclass(slots=True)
class Rows:
    """What a file says: good `profiles` with the lines they came from, and the first mistakes."""

    profiles: list[tuple[int, Profile]] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    rows: int = 0
    bad: int = 0

    def mistake(self, line: int, column: str, detail: str) -> None:
        if len(self.mistakes) < ERRORS_MAX:
            self.mistakes.append(Mistake(line, column, detail))


def read_customers(data: bytes, e164: Callable[[str], str | None]) -> Rows:
    """The customers of a CSV file with the columns ``name, phone, address, region, priority, tags`` (the
    first two in any case one of them; several values in a cell by ;) and ``field:NAME``, as UTF-8 or as what
    Excel makes (`decoded`), its cells divided by commas, semicolons or tabs. Blocks for a big file. `e164`
    reads a telephone number."""
    found = Rows()
    try:
        text = decoded(data)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found.mistake(line, "", "is not UTF-8 text, nor GB18030; save the file as CSV UTF-8")
        return found
    if "\0" in text:
        found.mistake(text[: text.index("\0")].count("\n") + 1, "", "holds a NUL")
        return found
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_divider(text), strict=True)
    try:
        head = [_column(cell) for cell in next(reader, [])]
        if _head_is_good(head, found):
            for cells in reader:
                if any(cells):
                    _read_row(head, cells, reader.line_num, found, e164)
                if found.rows >= ROWS_MAX:
                    found.mistake(reader.line_num, "", f"there are more than {ROWS_MAX} rows")
                    break
    except csv.Error as error:
        found.mistake(reader.line_num, "", f"is no CSV: {error}")
    return found


def decoded(data: bytes) -> str:
    """The text of a file that people have saved: UTF-8; UTF-16 with its mark, as Excel's "Unicode text"; or
    GB18030, as Excel's "CSV" in China. Raises `UnicodeDecodeError`, that of UTF-8.

    Most Latin text is GB18030 too, by accident: the letter after an accented one makes an ideograph of it. But
    one that is not among those of GB 2312, as most are of what people write in Chinese."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError:
            raise error from None
        foreign = [character for character in text if not character.isascii()]
        common = sum(bool(character.encode("gb2312", "ignore")) for character in foreign)
        if common < 0.6 * len(foreign):
            raise
        return text


def _divider(text: str) -> str:
    """What divides cells: what makes columns that we know of the first line."""
    first = text[: text.find("\n")] if "\n" in text else text
    for divider in ";\t":
        cells = [_column(cell.strip().strip('"')) for cell in first.split(divider)]
        if len(cells) > 1 and all(name in COLUMNS or name.startswith(FIELD) for name in cells):
            return divider
    return ","


def _column(cell: str) -> str:
    """A column's name; those of the office's own fields keep their capitals."""
    name = armed(cell.strip())
    own = name.lower().startswith(FIELD)
    return FIELD + name[len(FIELD) :] if own else name.lower()


def _head_is_good(head: list[str], found: Rows) -> bool:
    if len(set(head)) != len(head):
        found.mistake(1, "", "names a column twice")
    for name in head:
        own = name.startswith(FIELD) and 0 < len(name) - len(FIELD) <= 64
        if name not in COLUMNS and not own:
            known = ", ".join((*COLUMNS, f"{FIELD}..."))
            found.mistake(1, name[:64], f"is no column; there are {known}")
    if "name" not in head and "phone" not in head:
        found.mistake(1, "", "has neither name nor phone")
    return not found.mistakes


def _read_row(
    head: list[str],
    cells: list[str],
    line: int,
    found: Rows,
    e164: Callable[[str], str | None],
) -> None:
    found.rows += 1
    before = len(found.mistakes)
    problems = list(_problems(head, cells))
    profile = Profile()
    if not problems:
        row = {name: armed(cell.strip()) for name, cell in zip(head, cells, strict=True)}
        problems = list(_fill(profile, row, e164))
    for column, detail in problems:
        found.mistake(line, column, detail)
    if problems or len(found.mistakes) > before:
        found.bad += 1
    else:
        found.profiles.append((line, profile))


def _problems(head: list[str], cells: list[str]) -> Iterator[tuple[str, str]]:
    if len(cells) != len(head):
        yield "", f"has {len(cells)} cells, the head {len(head)}"
    for name, cell in zip(head, cells, strict=False):
        if len(cell) > CELL_MAX:
            yield name, f"is longer than {CELL_MAX} characters"


def _fill(
    profile: Profile, row: dict[str, str], e164: Callable[[str], str | None]
) -> Iterator[tuple[str, str]]:
    profile.name = row.get("name", "")
    if len(profile.name) > 256:
        yield "name", "is longer than 256 characters"
    profile.addresses = _several(row.get("address", ""))
    profile.region = row.get("region", "")
    if len(profile.region) > 64:
        yield "region", "is longer than 64 characters"
    profile.tags = _several(row.get("tags", ""))
    if len(profile.tags) > TAGS_MAX or any(len(tag) > 64 for tag in profile.tags):
        yield "tags", f"are more than {TAGS_MAX}, or one is longer than 64 characters"
    priority = row.get("priority", "") or "0"
    if priority.isascii() and priority.isdecimal() and len(priority) <= 3 and int(priority) <= 100:
        profile.priority = int(priority)
    else:
        yield "priority", "is no whole number from 0 to 100"
    for text in _several(row.get("phone", "")):
        number = e164(_digits(text))
        if number is None:
            yield "phone", f"{text[:40]} is no telephone number"
        else:
            profile.phones.append(number)
    profile.phones = list(dict.fromkeys(profile.phones))
    if len(profile.phones) > PHONES_MAX:
        yield "phone", f"are more than {PHONES_MAX}"
    profile.fields = {
        name[len(FIELD) :]: value for name, value in row.items() if name.startswith(FIELD) and value
    }
    if not profile.name and not profile.phones:
        yield "", "has neither name nor phone"


def _several(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(_SEVERAL) if part.strip()]


def _digits(text: str) -> str:
    """A number without what people put between its digits."""
    return text.translate({ord(c): None for c in " -().\u00a0/"})


def write_customers(
    records: Iterable[CustomerRecord], names: Sequence[str] | None = None, *, head: bool = True
) -> bytes:
    """The inverse of `read_customers`, with cells that no spreadsheet executes; `names` are those of the
    office's own fields, by default all that these have. Without `head` it goes on with a file that has one.
    """
    found = list(records)
    if names is None:
        names = sorted({name for record in found for name in record.profile.fields})
    rows: list[list[Cell]] = []
    for record in found:
        profile = record.profile
        rows.append(
            [
                profile.name,
                _SEVERAL.join(profile.phones),
                _SEVERAL.join(profile.addresses),
                profile.region,
                profile.priority,
                _SEVERAL.join(profile.tags),
                *(profile.fields.get(name, "") for name in names),
            ]
        )
    columns = [*COLUMNS, *(f"{FIELD}{name}" for name in names)]
    return to_csv(Sheet("customers", columns, rows), head=head)
