"""The words of a page of HTML, in one pass. Pure.

The page is a stranger's, and the standard library's reader looks at an open tag again for each ``<`` after it:
64 KiB of ``<a <a <a`` took it 20 s. Here a tag ends before the next ``<``, and no pattern gives back what it
took, so that the time is linear. What an attribute says after a ``<`` of its own is read as text.
"""

from __future__ import annotations

import re
from html import unescape

_TAG = re.compile(
    r"""(/?+)([A-Za-z][A-Za-z0-9]*+)(?:(?:[^>"']|"[^"]*+"|'[^']*+')*+>|[^>]*+>)""", re.ASCII
)
_SKIPPED = frozenset({"head", "title", "template"})
_RAW = frozenset({"script", "style"})
"""In these only their own end is a tag."""
_LINES = frozenset({"br", "p", "div", "tr", "li", "h1", "h2", "h3", "blockquote"})


def words(page: str) -> str:
    """What a reader of `page` sees, a line a block; nothing of scripts, styles, heads and comments."""
    text, *pieces = page.split("<")
    texts = [_plain(text)]
    hidden = 0
    raw = ""
    in_comment = False
    for piece in pieces:
        if in_comment or piece.startswith("!--"):
            _, closed, text = piece.partition("-->")
            in_comment = not closed
        elif (tag := _TAG.match(piece)) is not None and raw in ("", tag[2].lower()):
            name = tag[2].lower()
            text = piece[tag.end() :]
            if name in _RAW:
                raw = "" if tag[1] else name
            elif name in _SKIPPED:
                hidden = max(0, hidden - 1) if tag[1] else hidden + 1
            elif name == "body":
                hidden = 0
            elif name in _LINES and not tag[1] and not hidden:
                texts.append("\n")
        elif piece.startswith(("!", "?", "/")):
            text = piece.partition(">")[2]
        else:
            text = "<" + piece
        if not (hidden or raw or in_comment):
            texts.append(_plain(text))
    return "".join(texts)


def _plain(text: str) -> str:
    try:
        said = unescape(text).split()
    except ValueError:  # a number of more digits than Python reads
        said = text.split()
    return " ".join(said) + " " if said else ""
