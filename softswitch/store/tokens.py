"""API tokens: keys for programs, with a role and scopes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from softswitch.store.database import Database
from softswitch.store.ledger import Conflict, Ledger, Missing
from softswitch.store.reading import reading
from softswitch.store.schema_people import tokens

TOKENS_MAX = 1_000
PREFIX = "sst"


@dataclass(frozen=True, slots=True)
class Token:
    """One token without its secret. `scopes`: what it may do beyond being of its role's rank; ``*`` is
    everything."""

    id: str
    name: str
    role: str
    scopes: tuple[str, ...]
    secret_hash: str
    created_by: str
    created_at_s: float
    expires_at_s: float | None
    last_used_at_s: float | None


def hash_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def split_token(text: str) -> tuple[str, str] | None:
    """Id and secret of the text that a program shows; None for what is none of ours."""
    parts = text.split("_")
    if len(parts) != 3 or parts[0] != PREFIX or not all(part.isalnum() for part in parts):
        return None
    return parts[1], parts[2]


class Tokens:
    """The table of tokens. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def all(self) -> list[Token]:
        """Every token, oldest first; there are at most `TOKENS_MAX`."""
        query = sa.select(tokens).order_by(tokens.c.created_at_s, tokens.c.id).limit(TOKENS_MAX)
        async with reading(self._database) as connection:
            return [_token(row) for row in (await connection.execute(query)).all()]

    async def add(
        self,
        actor: str,
        *,
        name: str,
        role: str,
        scopes: Iterable[str],
        expires_at_s: float | None = None,
    ) -> tuple[Token, str]:
        """A new token and its text, which nobody can be told again."""
        token_id, secret = secrets.token_hex(6), secrets.token_hex(24)
        async with self._ledger.change(actor) as change:
            count = sa.select(sa.func.count()).select_from(tokens)
            if (await change.connection.execute(count)).scalar_one() >= TOKENS_MAX:
                raise Conflict(f"there are {TOKENS_MAX} tokens already")
            values = {
                "id": token_id,
                "name": name,
                "role": role,
                "scopes": msgspec.json.encode(sorted(set(scopes))).decode(),
                "secret_hash": hash_of(secret),
                "created_by": actor,
                "created_at_s": change.at_s,
                "expires_at_s": expires_at_s,
                "last_used_at_s": None,
            }
            query = sa.insert(tokens).values(values).returning(tokens)
            token = _token((await change.connection.execute(query)).one())
            details = {"name": name, "role": role, "scopes": list(token.scopes)}
            change.note("token-added", f"token:{token_id}", **details)
        return token, f"{PREFIX}_{token_id}_{secret}"

    async def remove(self, actor: str, token_id: str) -> None:
        """Revoke a token. Raises `Missing`."""
        async with self._ledger.change(actor) as change:
            query = sa.delete(tokens).where(tokens.c.id == token_id).returning(tokens.c.name)
            row = (await change.connection.execute(query)).first()
            if row is None:
                raise Missing("there is no such token")
            change.note("token-removed", f"token:{token_id}", name=row[0])


def _token(row: sa.Row[tuple[object, ...]]) -> Token:
    values = dict(row._mapping)
    values["scopes"] = tuple(msgspec.json.decode(values["scopes"]))
    return Token(**values)
