"""One line for each row of the reliability programme, collected and printed at the end of a run."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Protocol

PROPERTY = "reliability row"


class Row(Protocol):
    """The fixture `row`: writes down what a test of the programme found."""

    def __call__(self, number: int, name: str, **figures: object) -> None: ...


def line(number: int, name: str, figures: dict[str, object]) -> str:
    """`row 6: mutated SIP messages: seed 1, messages 200000, unhandled 0`."""
    said = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in figures.items())
    return f"row {number:2}: {name}: {said}"


def memory_kb() -> int:
    """What this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024
