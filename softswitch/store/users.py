"""Users of the API that are kept in the database, beside the agents of the office file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from softswitch.store.database import Database
from softswitch.store.ledger import Change, Conflict, Ledger, Stale, row_of
from softswitch.store.reading import reading
from softswitch.store.schema_people import users

USERS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class User:
    """One user. `epoch` rises when all his sessions are to end; `must_change`: the password is good for
    choosing another one only."""

    id: int
    name: str
    full_name: str
    role: str
    password_hash: str
    must_change: bool
    active: bool
    epoch: int
    created_at_s: float
    version: int


class Users:
    """The table of users. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def all(self) -> list[User]:
        """Every user, by id; there are at most `USERS_MAX`."""
        query = sa.select(users).order_by(users.c.id).limit(USERS_MAX)
        async with reading(self._database) as connection:
            return [User(*row) for row in (await connection.execute(query)).all()]

    async def add(
        self,
        actor: str,
        *,
        name: str,
        role: str,
        password_hash: str,
        full_name: str = "",
        must_change: bool = False,
    ) -> User:
        """A new user. Raises `Conflict` for a name that is taken or one user too many."""
        async with self._ledger.change(actor) as change:
            count = sa.select(sa.func.count()).select_from(users)
            if (await change.connection.execute(count)).scalar_one() >= USERS_MAX:
                raise Conflict(f"there are {USERS_MAX} users already")
            taken = sa.select(users.c.id).where(users.c.name == name)
            if (await change.connection.execute(taken)).first() is not None:
                raise Conflict(f"there is a user {name} already")
            values = {
                "name": name,
                "full_name": full_name,
                "role": role,
                "password_hash": password_hash,
                "must_change": must_change,
                "active": True,
                "epoch": 1,
                "created_at_s": change.at_s,
                "version": 1,
            }
            row = await change.connection.execute(sa.insert(users).values(values).returning(users))
            user = User(*row.one())
            change.note("user-added", f"user:{user.name}", role=role, full_name=full_name)
        return user

    async def change(
        self, actor: str, user_id: int, values: dict[str, Any], version: int | None = None
    ) -> User:
        """Other values for some of ``full_name, role, password_hash, must_change, active``. A new
        password, role or an end of being active ends his sessions. Raises `Missing`, `Stale`."""
        async with self._ledger.change(actor) as change:
            before = await self._get(change, user_id, version)
            values = dict(values)
            ends = {"password_hash", "role", "active"} & values.keys()
            if ends:
                values["epoch"] = before.epoch + 1
            values["version"] = before.version + 1
            query = sa.update(users).where(users.c.id == user_id).values(values).returning(users)
            user = User(*(await change.connection.execute(query)).one())
            told = {
                name: [getattr(before, name), getattr(user, name)]
                for name in values
                if name not in ("password_hash", "epoch", "version")
            }
            if "password_hash" in values:
                told["password"] = ["***", "***"]
            change.note("user-changed", f"user:{user.name}", **told)
        return user

    async def remove(self, actor: str, user_id: int, version: int | None = None) -> None:
        """Delete a user. Raises `Missing`, `Stale`."""
        async with self._ledger.change(actor) as change:
            user = await self._get(change, user_id, version)
            await change.connection.execute(sa.delete(users).where(users.c.id == user_id))
            change.note("user-removed", f"user:{user.name}")

    async def _get(self, change: Change, user_id: int, version: int | None) -> User:
        row = await row_of(change.connection, users, user_id, "user")
        user = User(**row._mapping)
        if version is not None and user.version != version:
            raise Stale(f"user {user.name} was changed meanwhile")
        return user
