"""Who has just begun to listen to what: a player asks for many ranges of one recording, and the access log
has one line for them, whichever range comes first. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict

ONCE_S = 600.0
KEPT_MAX = 10_000


class Listened:
    """Remembers for `ONCE_S`; of the longest ago nothing is known once there are `KEPT_MAX`."""

    def __init__(self) -> None:
        self._began: OrderedDict[tuple[str, str], float] = OrderedDict()

    def is_new(self, who_and_what: tuple[str, str], now_s: float) -> bool:
        """Whether this is to be written down."""
        began_s = self._began.get(who_and_what)
        if began_s is not None and now_s - began_s < ONCE_S:
            return False
        self._began[who_and_what] = now_s
        self._began.move_to_end(who_and_what)
        if len(self._began) > KEPT_MAX:
            self._began.popitem(last=False)
        return True
