"""Finds the line of a key in a TOML text, for error messages only.

`tomllib` keeps no positions. This reads headers and the starts of lines, which is how people write such
files; where it does not find the key itself it names the line of the table around it.
"""

from __future__ import annotations

import re

_HEADER = re.compile(r"[ \t]*(\[\[?)[ \t]*([A-Za-z0-9_.\"-]+)[ \t]*\]\]?[ \t]*(?:#.*)?")
_KEY = re.compile(r"[ \t]*([A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')[ \t]*(?:=|\.)")


class Locator:
    """The lines of headers and keys of one text."""

    def __init__(self, text: str) -> None:
        self._lines: dict[str, int] = {}
        counts: dict[str, int] = {}
        table = ""
        for number, line in enumerate(text.split("\n"), start=1):
            if header := _HEADER.fullmatch(line.rstrip("\r")):
                table = header[2].replace('"', "")
                if header[1] == "[[":
                    index = counts.get(table, -1) + 1
                    counts[table] = index
                    table = f"{table}[{index}]"
                self._lines.setdefault(table, number)
            elif key := _KEY.match(line):
                name = key[1].strip("\"'")
                self._lines.setdefault(f"{table}.{name}" if table else name, number)

    def line_of(self, key_path: str) -> int:
        """The line of the key or of the nearest table around it; 0 if there is none."""
        path = key_path.replace('"', "")
        while path:
            if path in self._lines:
                return self._lines[path]
            cut = max(path.rfind("."), path.rfind("["))
            path = path[:cut] if cut > 0 else ""
        return 0
