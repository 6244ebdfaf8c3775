"""What routing raises on purpose. Busy, abandoned or overflowed are decisions, never exceptions."""

from __future__ import annotations


class RoutingError(Exception):
    """Root of this package's errors."""


class RoutingConfigError(RoutingError):
    """A queue, agent or rule cannot be used as written.

    `where` names the object (``queue support: route``), `problem` says what is wrong and `allowed`
    what may stand there instead.
    """

    def __init__(self, where: str, problem: str, allowed: str = "") -> None:
        self.where = where
        self.problem = problem
        self.allowed = allowed
        hint = f"; allowed: {allowed}" if allowed else ""
        super().__init__(f"{where}: {problem}{hint}")


class ExpressionError(RoutingError):
    """A skill expression does not parse; `position` is the offset of the offending character."""

    def __init__(self, text: str, position: int, problem: str) -> None:
        self.text = text
        self.position = position
        self.problem = problem
        super().__init__(f"skill expression {text[:80]!r}, at {position}: {problem}")


class SnapshotError(RoutingError):
    """A snapshot is of another version or is damaged."""
