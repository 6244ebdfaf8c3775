"""One row of figures with a name each, as a table that is wide or, where there is no room for that, tall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table


class Facts:
    """`pairs` of a name and a value, under a `title`: a renderable of rich."""

    def __init__(self, title: str, pairs: Sequence[tuple[str, str]]) -> None:
        self.title = title
        self.pairs = pairs

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        wide = Table(title=self.title, title_justify="left")
        for name, _ in self.pairs:
            wide.add_column(name, justify="right", no_wrap=True)
        if any(value for _, value in self.pairs):
            wide.add_row(*(value for _, value in self.pairs))
        needed = Measurement.get(console, options.update(max_width=1000), wide).maximum
        yield wide if needed <= options.max_width else self._tall()

    def _tall(self) -> Table:
        tall = Table(title=self.title, title_justify="left", show_header=False)
        tall.add_column()
        tall.add_column(justify="right")
        for name, value in self.pairs:
            tall.add_row(name, value)
        return tall
