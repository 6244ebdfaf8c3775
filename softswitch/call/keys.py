"""Feature codes among the keys that somebody presses while he talks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

BETWEEN_S = 2.0
"""How long after one key the next may come and still be of the same code."""


class CodeKeys:
    """Finds codes in the keys of one telephone.

    Parameters: `codes`, names by code (``{"##": "transfer"}``); none of them begins another.
    """

    __slots__ = ("_codes", "_last_s", "_pressed")

    def __init__(self, codes: Mapping[str, str]) -> None:
        self._codes = codes
        self._pressed = ""
        self._last_s = 0.0

    def press(self, key: str, now_s: float) -> str | None:
        """One key; the name of the code that it completes."""
        if now_s - self._last_s > BETWEEN_S:
            self._pressed = ""
        self._last_s = now_s
        pressed = self._pressed + key
        # "#*2" holds "*2": what cannot begin a code any more gives way to what still can.
        while pressed and not any(code.startswith(pressed) for code in self._codes):
            pressed = pressed[1:]
        self._pressed = pressed
        name = self._codes.get(pressed)
        if name is not None:
            self._pressed = ""
        return name
