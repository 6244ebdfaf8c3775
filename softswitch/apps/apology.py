"""What a caller hears who has been answered, by a menu for one, and whose call then reaches nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softswitch.call.call import Call

_WORDS = {
    "busy": ("busy", 17),
    "no-answer": ("unavailable", 19),
    "unreachable": ("unavailable", 20),
}
_ELSE = ("unavailable", 21)


async def apologise(call: Call, result: str) -> None:
    """Say why (`result` of an `Outcome`), and hang up with the cause (Q.850) that says the same."""
    prompt, q850 = _WORDS.get(result, _ELSE)
    await call.play(prompt)
    await call.hang_up(q850)
