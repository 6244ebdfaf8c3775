"""Pick-up by feature code: the code alone takes a call that rings in one's own ring groups, the code and
an extension the one that rings there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.call.call import Call


class PickUp:
    """The application of ``[codes] pick_up``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self, call: Call, _: str = "") -> None:
        """Take the call; who finds none to take is told that nobody is there (480)."""
        await call.pick_up(call.number_to.removeprefix(self._desk.office.codes.pick_up) or None)
