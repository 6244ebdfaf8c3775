"""Pages: a limit and an opaque cursor. A page is found by the last item of the one before, never by
counting, so that what is added meanwhile neither doubles nor hides an item."""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field

from softswitch.api.problem import Refused

LIMIT_MAX = 200
Item = TypeVar("Item")
Row = TypeVar("Row")

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Items a page.")]
Cursor = Annotated[
    str | None,
    Query(max_length=512, description="`next` of the page before; none for the first page."),
]


class Page(BaseModel, Generic[Item]):
    """Some items and where the rest are."""

    items: list[Item]
    next: str | None = Field(default=None, description="Cursor of the next page; null at the end.")


def write_cursor(*values: int | float | str) -> str:
    """The cursor after an item with these keys."""
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).rstrip(b"=").decode()


def read_cursor(cursor: str | None) -> list[int | float | str] | None:
    """The keys of a cursor. Raises `Refused` (422) for a made-up one."""
    if cursor is None:
        return None
    try:
        data = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        return msgspec.json.decode(data, type=list[int | float | str])
    except ValueError:
        raise Refused(422, "the cursor is none of ours") from None


def page_of(
    found: Iterable[Item],
    key: Callable[[Item], str | tuple[int | float | str, ...]],
    limit: int,
    cursor: str | None,
) -> tuple[list[Item], str | None]:
    """A page of what is in memory, by `key`, which no two have in common, and the cursor of the next.
    Raises `Refused` (422) for a made-up cursor."""

    def keys(item: Item) -> tuple[Any, ...]:
        own = key(item)
        return own if isinstance(own, tuple) else (own,)

    items = sorted(found, key=keys)
    after = read_cursor(cursor)
    start = 0
    if after is not None and items:
        try:
            if len(after) != len(keys(items[0])):
                raise TypeError
            start = bisect_right(items, tuple(after), key=keys)
        except TypeError:
            raise Refused(422, "the cursor is none of ours") from None
    page = items[start : start + limit]
    more = start + limit < len(items)
    return page, write_cursor(*keys(page[-1])) if more else None


def _id(row: Any) -> int:
    found: int = row.id
    return found


def page_read(
    found: Sequence[Row],
    limit: int,
    shown: Callable[[Row], Item],
    key: Callable[[Row], int | float | str] = _id,
) -> Page[Item]:
    """A page of what was read from the database: one more than `limit` was asked for, to see whether there are
    more. `key` is what the cursor goes on after."""
    more = len(found) > limit
    items = [shown(row) for row in found[:limit]]
    return Page(items=items, next=write_cursor(key(found[limit - 1])) if more else None)


def int_cursor(cursor: str | None) -> int | None:
    """A cursor of one whole number."""
    values = read_cursor(cursor)
    if values is None:
        return None
    if len(values) != 1 or not isinstance(values[0], int) or not 0 <= values[0] < 1 << 62:
        raise Refused(422, "the cursor is none of ours")
    return values[0]
