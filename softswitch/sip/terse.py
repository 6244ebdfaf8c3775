"""A 503 written from the octets of a request, and its ACK known by its tag: saying no must cost next to
nothing while there is more than can be done. Pure.

What does not look as usual (folded lines, several entries in a line that is changed) is left to the
parser: `Terse.refusal` is None then.
"""

from __future__ import annotations

from zlib import crc32

from softswitch.sip.flow import Flow

RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S = 2, 10

_COPIED = {
    b"via": b"via", b"v": b"via", b"to": b"to", b"t": b"to", b"call-id": b"id", b"i": b"id",
    b"from": b"", b"f": b"", b"cseq": b"",
}  # fmt: skip
_AS_WRITTEN = {b"Via": b"via", b"From": b"", b"To": b"to", b"Call-ID": b"id", b"CSeq": b""}
_HEAD_OCTETS_MAX = 4096
_LINES_AT_LEAST = 5


def retry_after_s(call_id: bytes) -> int:
    """After how many seconds to try again: differs from call to call, so that those who are turned away
    together do not come back together; the same for each retransmission (RFC 3261 8.2.7)."""
    return RETRY_AFTER_MIN_S + crc32(call_id) % (RETRY_AFTER_MAX_S - RETRY_AFTER_MIN_S + 1)


class Terse:
    """Refuses requests from their octets. `token` marks the tags of these answers, so it must be hard to
    guess: an ACK with it is taken for one of ours and dropped."""

    __slots__ = ("_mark",)

    def __init__(self, token: str) -> None:
        self._mark = token.encode()

    def is_acknowledged(self, data: bytes) -> bool:
        """Whether this is the ACK of an answer of ours: it has nothing left to do."""
        return data.startswith(b"ACK ") and data.find(self._mark, 0, _HEAD_OCTETS_MAX) >= 0

    def refusal(self, data: bytes, flow: Flow) -> bytes | None:
        """The 503 to a request that begins something, with a To-tag and Retry-After (RFC 3261 8.2.6,
        21.5.4); None where the octets do not tell enough."""
        end = data.find(b"\r\n\r\n", 0, _HEAD_OCTETS_MAX)
        if end < 0:
            return None
        head = data[:end]
        told = head.split(b"\r\n")
        if head.count(b"\n") >= len(told) or head.count(b"\r") >= len(told):
            return None  # a line break that is none
        lines: list[bytes] = []
        call_id = b""
        stamped = False
        for line in told[1:]:
            name, colon, value = line.partition(b":")
            kind = _AS_WRITTEN.get(name)
            if kind is None or not colon:
                if not colon or name[:1] in (b" ", b"\t"):
                    return None  # a line that goes on
                kind = _COPIED.get(name.rstrip(b" \t").lower())
                if kind is None:
                    continue
            if kind == b"via":
                if not stamped:
                    stamped_line = _stamped(line, flow)
                    if stamped_line is None:
                        return None
                    line, stamped = stamped_line, True
            elif kind == b"id":
                call_id = value.strip(b" \t")
            elif kind == b"to":
                if b";tag=" in line.replace(b" ", b"").lower():
                    return None  # of a dialog after all
                line = b"%s;tag=%s%08x" % (line.rstrip(b" \t"), self._mark, crc32(head))
            lines.append(line)
        if len(lines) < _LINES_AT_LEAST or not stamped or not call_id:
            return None
        return (
            b"SIP/2.0 503 Service Unavailable\r\n%s\r\nRetry-After: %d\r\nContent-Length: 0\r\n\r\n"
            % (b"\r\n".join(lines), retry_after_s(call_id))
        )


def _stamped(line: bytes, flow: Flow) -> bytes | None:
    """The top Via with where it really came from (RFC 3261 18.2.1, RFC 3581 4)."""
    if b"," in line or b"received" in line:
        return None
    host, port = flow.remote
    line = line.rstrip(b" \t")
    before, asked, after = line.partition(b";rport")
    if asked:
        if after[:1] not in (b"", b";"):
            return None  # it has a value already
        line = b"%s;rport=%d%s" % (before, port, after)
    return b"%s;received=%s" % (line, host.encode())
