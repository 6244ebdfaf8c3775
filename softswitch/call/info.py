"""DTMF in INFO requests (RFC 6086), as phones without telephone events send it."""

from __future__ import annotations

HIDDEN_DIGIT = "?"
"""What the journal has for a digit of a PIN."""


def digit_of_info(content_type: str, body: bytes) -> str:
    """The digit in an INFO of either usual type (application/dtmf-relay, application/dtmf), or ""."""
    kind = content_type.partition(";")[0].strip(" \t").lower()
    if kind == "application/dtmf":
        digit = body.strip(b" \t\r\n")
    elif kind == "application/dtmf-relay":
        digit = b""
        for line in body.split(b"\n")[:8]:
            name, _, value = line.partition(b"=")
            if name.strip(b" \t\r").lower() == b"signal":
                digit = value.strip(b" \t\r")
    else:
        return ""
    if len(digit) != 1 or digit.upper() not in b"0123456789*#ABCD":
        return ""
    return digit.decode("ascii").upper()
