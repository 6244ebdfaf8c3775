"""A connection for reading, with the driver's errors in our own words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.errors import StoreError
from softswitch.store.database import Database, reason_of


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[AsyncConnection]:
    """Read what is committed. Raises `StoreError` while that cannot be done."""
    try:
        async with database.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise StoreError(f"the database cannot be read: {reason_of(error)}") from error


async def fetched(
    database: Database, query: sa.Select[Any], values: dict[str, Any]
) -> list[dict[str, Any]]:
    """As `Database.fetch`, with the driver's errors in our own words."""
    try:
        return await database.fetch(query, values)
    except SQLAlchemyError as error:
        raise StoreError(f"the database cannot be read: {reason_of(error)}") from error


def holds(column: sa.Column[str], text: str) -> sa.ColumnElement[bool]:
    """Whether a JSON array of texts holds one."""
    return column.contains(msgspec.json.encode(text).decode(), autoescape=True)
