"""Files that go with a comment: what an answer sends along."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.ledger import Conflict, Missing
from softswitch.store.schema_tickets import ticket_attachments

FILES_MAX = 10
SENT_MAX = 15 << 20
"""Octets of one comment's files together: base64 makes a third more of them, and mail servers take 25 MB."""


async def files_of(
    connection: AsyncConnection, comment_ids: Sequence[int]
) -> dict[int, tuple[int, ...]]:
    """The files of comments that have some, by the comment."""
    table = ticket_attachments.c
    query = (
        sa.select(table.comment_id, table.id)
        .where(table.comment_id.in_(comment_ids))
        .order_by(table.id)
    )
    found: dict[int, tuple[int, ...]] = {}
    for comment, file in (await connection.execute(query)).all():
        found[comment] = (*found.get(comment, ()), file)
    return found


async def send_along(
    connection: AsyncConnection, ticket_id: int, comment_id: int, files: Sequence[int]
) -> None:
    """Have files of a ticket go with one of its comments. Raises `Missing`, `Conflict`."""
    wanted = list(dict.fromkeys(files))
    if not wanted:
        return
    if len(wanted) > FILES_MAX:
        raise Conflict(f"at most {FILES_MAX} files go with a comment")
    table = ticket_attachments.c
    query = sa.select(table.id, table.size, table.comment_id).where(
        table.ticket_id == ticket_id, table.id.in_(wanted)
    )
    found = (await connection.execute(query)).all()
    if len(found) != len(wanted):
        raise Missing(f"not all of these are files of ticket {ticket_id}")
    if any(row.comment_id is not None for row in found):
        raise Conflict("a file goes with one comment")
    if sum(row.size for row in found) > SENT_MAX:
        raise Conflict(f"the files of a comment have at most {SENT_MAX} octets together")
    await connection.execute(
        sa.update(ticket_attachments).where(table.id.in_(wanted)).values(comment_id=comment_id)
    )
