"""What was said on the wire: SIP messages with their times and addresses, for tests to look at.

The reading of messages here is a few lines of its own, so that what the checkers conclude does not
rest on the parser under test.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from softswitch.sim.datagram import Address
from softswitch.transport.interface import Passing

_ENTRIES_MAX = 1_000_000
_COMPACT = {
    "v": "via",
    "i": "call-id",
    "f": "from",
    "t": "to",
    "m": "contact",
    "l": "content-length",
}


@dataclass(frozen=True)
class TraceEntry:
    """One message as it was sent (or received, in a phone's own history)."""

    at_s: float
    source: Address
    destination: Address
    data: bytes = field(repr=False)

    @cached_property
    def lines(self) -> list[str]:
        """Start line and header lines, unfolded."""
        head = self.data.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape")
        return head.replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")

    @property
    def first_line(self) -> str:
        """The start line."""
        return self.lines[0]

    @property
    def body(self) -> bytes:
        """What follows the empty line."""
        return self.data.partition(b"\r\n\r\n")[2]

    @cached_property
    def status(self) -> int | None:
        """The status code of a response, None for a request."""
        if not self.first_line.startswith("SIP/2.0 "):
            return None
        code = self.first_line[8:11]
        return int(code) if code.isascii() and code.isdecimal() else None

    @cached_property
    def method(self) -> str:
        """The method of a request, or that of the CSeq of a response."""
        if self.status is None:
            return self.first_line.partition(" ")[0]
        return self.header("CSeq").rpartition(" ")[2]

    def header(self, name: str) -> str:
        """The value of the first header line called `name` (long form), "" if there is none."""
        wanted = name.lower()
        for line in self.lines[1:]:
            key, _, value = line.partition(":")
            key = key.strip(" \t").lower()
            if _COMPACT.get(key, key) == wanted:
                return value.strip(" \t")
        return ""

    @cached_property
    def call_id(self) -> str:
        """The Call-ID."""
        return self.header("Call-ID")

    @cached_property
    def branch(self) -> str:
        """The branch of the topmost Via: the name of the transaction."""
        return _param(self.header("Via").partition(",")[0], "branch")

    @cached_property
    def cseq(self) -> int:
        """The number of the CSeq, -1 if unreadable."""
        number = self.header("CSeq").partition(" ")[0]
        return int(number) if number.isascii() and number.isdecimal() else -1

    @cached_property
    def to_tag(self) -> str:
        """The To tag, "" outside a dialog."""
        return _param(self.header("To"), "tag")

    @cached_property
    def from_tag(self) -> str:
        """The From tag."""
        return _param(self.header("From"), "tag")

    @property
    def is_sip(self) -> bool:
        """Whether this looks like a SIP message at all (RTP, STUN and keep-alives do not)."""
        return b"SIP/2.0" in self.data[:2048].partition(b"\r\n")[0]

    def __str__(self) -> str:
        source, destination = (f"{host}:{port}" for host, port in (self.source, self.destination))
        return f"{self.at_s:10.3f}  {source} -> {destination}  {self.first_line}"


class SipTrace:
    """A list of `TraceEntry`, oldest first; the oldest are forgotten beyond a million.

    `tap` fits `SimNetwork.tap`; `tap_flow` fits `Driver.tap`.
    """

    def __init__(self, entries_max: int = _ENTRIES_MAX) -> None:
        self._entries: deque[TraceEntry] = deque(maxlen=entries_max)

    def tap(self, data: bytes, source: Address, destination: Address, now_s: float) -> None:
        """Remember a message of the network; what is not SIP is left out."""
        entry = TraceEntry(now_s, source, destination, data)
        if entry.is_sip:
            self._entries.append(entry)

    def tap_flow(self, passing: Passing) -> None:
        """Remember a message of a driver."""
        now_s, received, flow, data = passing
        if received:
            self.tap(data, flow.remote, flow.local, now_s)
        else:
            self.tap(data, flow.local, flow.remote, now_s)

    def __iter__(self) -> Iterator[TraceEntry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> TraceEntry:
        return self._entries[index]

    def requests(self, method: str | None = None) -> list[TraceEntry]:
        """The requests, all or those of one method."""
        return [
            entry
            for entry in self._entries
            if entry.status is None and (method is None or entry.method == method)
        ]

    def responses(self, status: int | None = None, method: str | None = None) -> list[TraceEntry]:
        """The responses, all or those of one status or to one method."""
        return [
            entry
            for entry in self._entries
            if entry.status is not None
            and (status is None or entry.status == status)
            and (method is None or entry.method == method)
        ]

    def of_call(self, call_id: str) -> list[TraceEntry]:
        """The messages of one Call-ID."""
        return [entry for entry in self._entries if entry.call_id == call_id]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def __str__(self) -> str:
        return "\n".join(map(str, self._entries))


def _param(value: str, name: str) -> str:
    """A parameter behind the address of a From, To or Via value."""
    _, _, behind = value.rpartition(">") if ">" in value else ("", "", value)
    for part in behind.split(";")[1:]:
        key, _, content = part.partition("=")
        if key.strip(" \t").lower() == name:
            return content.strip(" \t")
    return ""
