"""So many a second, and some at once: a bucket of tokens. Pure."""

from __future__ import annotations


class Tokens:
    """One may be taken as long as there is one; `per_s` come back each second, up to a second's worth (but
    one at least, where any come at all), with which it begins."""

    __slots__ = ("_at_s", "_left", "_most", "_per_s")

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s) if per_s else 0.0
        self._left = self._most
        self._at_s = 0.0

    def take(self, now_s: float, spare: float = 0.0) -> bool:
        """Take one; False, and nothing is taken, where not one is there beside `spare`."""
        earned = max(0.0, now_s - self._at_s) * self._per_s
        self._left = min(self._most, self._left + earned)
        self._at_s = now_s
        if self._left < 1.0 + spare:
            return False
        self._left -= 1.0
        return True
