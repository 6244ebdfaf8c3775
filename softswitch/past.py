"""What an exchange takes up at its start from the life before."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from softswitch.errors import StoreError

if TYPE_CHECKING:
    from softswitch.call.line import Lines
    from softswitch.store import Store

_log = logging.getLogger("softswitch")


async def close_cut_calls(store: Store, wall_s: float) -> None:
    """End the records of calls that were up when the exchange went down, and say which."""
    for record in await store.close_open_calls("crashed", wall_s):
        _log.warning(
            "call %s from %s to %s was cut when the exchange went down",
            record.call_id,
            record.number_from,
            record.number_to,
        )


async def recall_lines(store: Store, lines: Lines) -> None:
    """Take up what extensions have set by feature codes. Where it cannot be read the lines are as the office
    file has them."""
    try:
        await store.journal.flush()
        lines.recall(await store.lines.all())
    except StoreError as error:
        _log.error("what extensions have set by feature codes cannot be read: %s", error)
