"""Full-text search, the same on SQLite (FTS5) and PostgreSQL (tsvector): texts are cut into words here, so
that both find the same. Chinese, Japanese and Korean characters are words of their own, and a run of
them is found as a phrase; the last word of a question is found by its beginning."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR
from sqlalchemy.ext.asyncio import AsyncConnection

_WORDS_MAX = 5_000
_WORD_MAX = 64
"""Characters of a word that are looked at. PostgreSQL refuses words of 2 KiB, and a row's of 1 MiB."""
_QUESTION_MAX = 16
_WORD = re.compile(r"[^\W_]+")
_ALONE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")

TICKETS = "ticket_words"
CUSTOMERS = "customer_words"
_BY_NAME = {
    name: sa.table(name, sa.column("id", sa.BigInteger), sa.column("words", sa.Text))
    for name in (TICKETS, CUSTOMERS)
}
_FTS = {
    name: sa.table(
        name,
        sa.column("rowid", sa.BigInteger),
        sa.column("words", sa.Text),
        sa.column(name, sa.Text),
    )
    for name in (TICKETS, CUSTOMERS)
}


def cut(text: str) -> list[list[str]]:
    """The words of a text; characters that stand for words are together in a run."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = unicodedata.normalize("NFC", plain)
    found: list[list[str]] = []
    for part in _WORD.findall(plain):
        run: list[str] = []
        rest = ""
        for character in part:
            if _ALONE.match(character):
                if rest:
                    found.append([rest])
                    rest = ""
                run.append(character)
            else:
                if run:
                    found.append(run)
                    run = []
                rest += character
        if run:
            found.append(run)
        if rest:
            found.append([rest])
    return found


def words_of(texts: Iterable[str]) -> str:
    """What is indexed of some texts."""
    words = [word[:_WORD_MAX] for text in texts for run in cut(text) for word in run]
    return " ".join(words[:_WORDS_MAX])


def question(text: str, dialect: str) -> str | None:
    """A question in the database's own language, made of words only; None for a text without any."""
    runs = [[word[:_WORD_MAX] for word in run] for run in cut(text)[:_QUESTION_MAX]]
    if not runs:
        return None
    if dialect == "postgresql":
        phrases = [" <-> ".join(f"'{word}'" for word in run) for run in runs]
        return " & ".join(f"({phrase})" for phrase in [*phrases[:-1], f"{phrases[-1]}:*"])
    quoted = ['"' + " ".join(run) + '"' for run in runs]
    return " AND ".join(quoted) + "*"


async def index(
    connection: AsyncConnection, table: str, rows: Iterable[tuple[int, str]], *, new: bool = False
) -> None:
    """Make `words` (of `words_of`) the index of each id; `new`: there was none before."""
    pairs = list(rows)
    if not pairs:
        return
    if not new:
        await forget(connection, table, [row_id for row_id, _ in pairs])
    if connection.dialect.name == "postgresql":
        target = _BY_NAME[table]
        vector = sa.cast(sa.bindparam("text", type_=sa.Text), TSVECTOR)
        query = sa.insert(target).values(id=sa.bindparam("row"), words=vector)
        pairs = [(row_id, _vector(words)) for row_id, words in pairs]
    else:
        fts = _FTS[table]
        query = sa.insert(fts).values(rowid=sa.bindparam("row"), words=sa.bindparam("text"))
    await connection.execute(query, [{"row": row_id, "text": words} for row_id, words in pairs])


def _vector(words: str) -> str:
    """Words as PostgreSQL takes them as they are: its own parser would cut some of them again."""
    return " ".join(f"'{word}':{place}" for place, word in enumerate(words.split(), 1))


async def forget(connection: AsyncConnection, table: str, ids: list[int]) -> None:
    """Take ids out of the index."""
    if connection.dialect.name == "postgresql":
        target = _BY_NAME[table]
        await connection.execute(sa.delete(target).where(target.c.id.in_(ids)))
    else:
        fts = _FTS[table]
        await connection.execute(sa.delete(fts).where(fts.c.rowid.in_(ids)))


def matching(table: str, text: str, dialect: str) -> sa.Select[tuple[int]] | None:
    """The ids whose texts hold what is asked for; None for a question without words."""
    asked = question(text, dialect)
    if asked is None:
        return None
    if dialect == "postgresql":
        target = _BY_NAME[table]
        vector = sa.cast(sa.bindparam(None, asked, type_=sa.Text), TSQUERY)
        return sa.select(target.c.id).where(target.c.words.op("@@")(vector))
    fts = _FTS[table]
    return sa.select(fts.c.rowid).where(fts.c[table].op("MATCH")(asked))
