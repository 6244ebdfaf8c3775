"""How tables get to standard output."""

from __future__ import annotations

import os
import sys
from typing import Any

WIDTH = 200
"""Where nobody looks at a screen: whoever reads a file or a pipe wants whole words."""


def show(*tables: Any) -> None:
    """Print them: as wide as the terminal, or `WIDTH` where there is none and `COLUMNS` says nothing. An empty
    table is only its title."""
    from rich.console import Console

    told = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if told else WIDTH)
    for table in tables:
        if table.title and not table.row_count:
            console.print(f"{table.title}: none", highlight=False)
        else:
            console.print(table)
