"""A connection for reading, with the driver's errors in our own words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
