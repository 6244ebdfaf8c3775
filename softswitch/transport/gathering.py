"""When a UDP socket is looked at again: at once, or a few milliseconds later while messages come all the
time. Pure: how many have come, and when, are arguments.

Each waking of the loop finds cold caches (docs/adr/0063), and what is sent after it wakes the peer: what has
come within some milliseconds costs less together. Network cards hold their interrupts back for that.
"""

from __future__ import annotations

REST_S = 0.004
"""From one reading to the next: how long a message waits for others at most. INVITE and 200 of a call wait
one after the other."""
TOGETHER = 8
"""As many are awaited: of more than twice as many some would be put into line by rank (`Driver.defer`)."""
BUSY_PER_S = 600
"""From so many messages a second on a rest brings more than one: a hundred calls set up a second."""
CALM_PER_S = 400
_WINDOW_S = 0.25


class Gathering:
    """Says after each reading how long after its beginning the next one is; 0: when somebody comes.

    A rest that brings nobody is the last until somebody comes, so that who comes alone never waits.
    """

    __slots__ = ("_count", "_rest_s", "_since_s")

    def __init__(self) -> None:
        self._rest_s = 0.0
        self._count = 0
        self._since_s = float("-inf")

    def rest_s(self, count: int, now_s: float) -> float:
        """`count` messages have been read by a reading that began at `now_s`."""
        self._count += count
        elapsed_s = now_s - self._since_s
        if elapsed_s >= _WINDOW_S:
            busy = self._count >= elapsed_s * (CALM_PER_S if self._rest_s else BUSY_PER_S)
            self._rest_s = min(REST_S, TOGETHER * elapsed_s / self._count) if busy else 0.0
            self._count = 0
            self._since_s = now_s
        return self._rest_s if 0 < count < 2 * TOGETHER else 0.0
