"""A SIP message as SIPp's scripts see it: text, searched by expressions. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(slots=True)
class Received:
    """`status` 0 is a request; `method` "" a response."""

    start: str
    head: str
    body: str
    status: int
    method: str
    cseq_method: str


def received(data: bytes) -> Received | None:
    """Read octets; None for what is no message."""
    text = data.decode("utf-8", "surrogateescape")
    head, _, body = text.partition("\r\n\r\n")
    start, _, _ = head.partition("\r\n")
    cseq = re.search(r"\r\nCSeq[ \t]*:[ \t]*[0-9]+[ \t]+(\w+)", head, re.IGNORECASE)
    if start.startswith("SIP/2.0 ") and start[8:11].isdecimal():
        return Received(start, head, body, int(start[8:11]), "", cseq[1] if cseq else "")
    method = start.partition(" ")[0]
    return Received(start, head, body, 0, method, method) if method.isalpha() else None


_SHORT = {"via": "v", "from": "f", "to": "t", "call-id": "i", "contact": "m"}


def headers(head: str, name: str) -> list[str]:
    """All values of a header, long or short name."""
    names = "|".join(re.escape(word) for word in (name, _SHORT.get(name.lower(), name)))
    found = re.findall(rf"(?im)^(?:{names})[ \t]*:[ \t]*(.*?)\r?$", head)
    return [str(value) for value in found]


def header(head: str, name: str) -> str:
    """The first value of a header, "" without."""
    found = headers(head, name)
    return found[0] if found else ""
