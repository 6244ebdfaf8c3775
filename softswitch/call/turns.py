"""In which order the members of a ring group are called. Pure but for what it remembers: whose turn is next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softswitch.config import RingGroup


class Turns:
    """One for an exchange. `uniform` draws from [0, 1)."""

    def __init__(self, uniform: Callable[[], float]) -> None:
        self._uniform = uniform
        self._next: dict[str, str] = {}  # member by group; as many as the office has groups

    def members(self, group: RingGroup, caller: str) -> tuple[str, ...]:
        """Whom a call of `caller` to the group rings, in order; himself he does not call."""
        others = tuple(member for member in group.members if member != caller)
        if group.ring == "in-turn":
            return self._in_turn(group.number, others)
        if group.ring == "random":
            drawn = [(self._uniform(), member) for member in others]
            return tuple(member for _, member in sorted(drawn))
        return others

    def _in_turn(self, number: str, members: tuple[str, ...]) -> tuple[str, ...]:
        """Each call begins with the member after the one that the call before began with."""
        if not members:
            return ()
        first = self._next.get(number, "")
        at = members.index(first) if first in members else 0
        self._next[number] = members[(at + 1) % len(members)]
        return members[at:] + members[:at]
