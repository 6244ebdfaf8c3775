"""The files of recordings: found inside their folder only, and never deleted while somebody holds them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from softswitch.store.ledger import Conflict

if TYPE_CHECKING:
    from softswitch.store import Store


def inside(folder: Path, name: str) -> Path | None:
    """`name` in `folder`, links followed; None for what is not there or not inside."""
    if not name or name != Path(name).name or "\0" in name:
        return None
    path = (folder / name).resolve()
    return path if path.parent == folder.resolve() and path.is_file() else None


async def purge(store: Store, folder: Path, actor: str, call_id: str, name: str, why: str) -> None:
    """Delete one recording of a call, which may have gone before. Raises `Conflict` for one that is held."""
    if await store.recordings.held(call_id) is not None:
        raise Conflict(f"the recordings of call {call_id} are held")
    path = await asyncio.to_thread(inside, folder, name)
    # The log first: what cannot be logged now is deleted at another time, never without a word.
    await store.recordings.note_deleted(actor, call_id, name, why)
    if path is not None:
        await asyncio.to_thread(path.unlink, missing_ok=True)
