"""Requests and responses: start line, headers, body; typed views of headers, parsed on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType

from msgspec import Struct, field

from softswitch.errors import LocalProtocolError, RemoteProtocolError
from softswitch.sip.grammar import parse_number, split_commas
from softswitch.sip.headers import Headers
from softswitch.sip.status import REASONS, reason_of
from softswitch.sip.tel import number_of
from softswitch.sip.uri import SHORT, CSeq, NameAddr, SipUri, Via, short_cseq, short_name_addr

_COMPULSORY = ("Via", "From", "To", "Call-ID", "CSeq")
_THE_COMPULSORY = itemgetter(*_COMPULSORY)
_THE_READ = itemgetter("From", "To", "CSeq")
_COPIED = frozenset(_COMPULSORY)
_DIALOG_FORMING = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
_SDP_TYPE = "application/sdp"
_SMALL_NUMBERS = {str(number): number for number in range(256)}
_NO_LINES: Mapping[str, str] = MappingProxyType({})
EXPIRES_MAX_S = 2**32 - 1
ADDRESSES_MAX = 70
"""Elements of one list of addresses: as many as Vias, for each hop may add one."""


class SipMessage:
    """What requests and responses share.

    The typed properties parse a header the first time they are asked and keep the result until the
    headers change. They raise RemoteProtocolError when the header is malformed or, for the
    compulsory ones (Via, From, To, Call-ID, CSeq), missing.
    """

    __slots__ = ()

    headers: Headers
    body: bytes

    def parse_compulsory(self) -> CSeq:
        """Parse and keep what every layer above needs: top Via, From, To, Call-ID, CSeq, which is returned.

        The same as asking for each property, in one go. Raises RemoteProtocolError.
        """
        first, parsed = self.headers.first, self.headers.parsed
        try:
            values = via, from_, to, call_id, cseq = _THE_COMPULSORY(first)
        except KeyError:
            values = ("",)
        if "" in values:
            missing = next(name for name in _COMPULSORY if not first.get(name))
            raise RemoteProtocolError(f"missing {missing}")
        parsed["top_via"] = Via.parse(split_commas(via, 1)[0] if "," in via else via)
        if len(from_) + len(to) + len(cseq) <= SHORT:
            # As nearly all are: straight to what is remembered, for this is done for each message.
            parsed["From"], parsed["To"] = short_name_addr(from_), short_name_addr(to)
            parsed["CSeq"] = found = short_cseq(cseq)
        else:
            parsed["From"], parsed["To"] = NameAddr.parse(from_), NameAddr.parse(to)
            parsed["CSeq"] = found = CSeq.parse(cseq)
        if " " in call_id or "\t" in call_id:
            raise RemoteProtocolError("malformed Call-ID")
        return found

    def ids(self) -> tuple[str, str, str, CSeq]:
        """Call-ID, From tag, To tag ("" without one) and CSeq, by which all who get a message know it: one
        call, where a property each costs as much as a function called from C."""
        headers = self.headers
        try:
            call_id = headers.first["Call-ID"]
            from_, to, cseq = _THE_READ(headers.parsed)
        except KeyError:  # none that has come: of those everything has been read and checked
            call_id, from_, to, cseq = self.call_id, self.from_, self.to, self.cseq
        return call_id, from_.tag or "", to.tag or "", cseq

    @property
    def top_via(self) -> Via:
        """The first Via."""
        cached: Via | None = self.headers.parsed.get("top_via")
        if cached is None:
            line = self._compulsory("Via")
            if "," in line:
                line = split_commas(line, 1)[0]
            cached = self.headers.parsed["top_via"] = Via.parse(line)
        return cached

    @property
    def vias(self) -> list[Via]:
        """All Vias, topmost first; an empty element is an error."""
        cached: list[Via] | None = self.headers.parsed.get("vias")
        if cached is None:
            lines = self.headers.get_all("Via")
            if len(lines) == 1 and "," not in lines[0]:
                cached = [self.top_via]
            else:
                cached = [Via.parse(part) for line in lines for part in split_commas(line)]
            self.headers.parsed["vias"] = cached
        return cached

    @property
    def from_(self) -> NameAddr:
        """The From header."""
        cached: NameAddr | None = self.headers.parsed.get("From")
        return cached if cached is not None else self._address("From")

    @property
    def to(self) -> NameAddr:
        """The To header."""
        cached: NameAddr | None = self.headers.parsed.get("To")
        return cached if cached is not None else self._address("To")

    def _address(self, name: str) -> NameAddr:
        parsed = self.headers.parsed[name] = NameAddr.parse(self._compulsory(name))
        return parsed

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        text = self.headers.first.get("Call-ID")
        if not text or " " in text or "\t" in text:
            raise RemoteProtocolError("missing or malformed Call-ID")
        return text

    @property
    def cseq(self) -> CSeq:
        """The CSeq."""
        cached: CSeq | None = self.headers.parsed.get("CSeq")
        if cached is None:
            cached = self.headers.parsed["CSeq"] = CSeq.parse(self._compulsory("CSeq"))
        return cached

    @property
    def contacts(self) -> list[NameAddr]:
        """All contacts; ``*`` is a NameAddr whose uri_text is ``*``."""
        return self.addresses("Contact")

    @property
    def routes(self) -> list[NameAddr]:
        """The Route set, first hop first."""
        return self.addresses("Route")

    @property
    def record_routes(self) -> list[NameAddr]:
        """The Record-Route headers in order."""
        return self.addresses("Record-Route")

    def addresses(self, name: str) -> list[NameAddr]:
        """A header that is a list of addresses (Contact, P-Asserted-Identity, Diversion...), by its canonical
        name."""
        headers = self.headers
        cached: list[NameAddr] | None = headers.parsed.get(name)
        if cached is None:
            line = headers.first.get(name)
            if line is None:
                return []
            if line and "," not in line and not headers.some_repeat:
                cached = [NameAddr.parse(line)]
            else:
                cached = self._address_list(name)
            headers.parsed[name] = cached
        return cached

    def _address_list(self, name: str) -> list[NameAddr]:
        found: list[NameAddr] = []
        for line in self.headers.get_all(name):
            # A list is cut before it is parsed: one address too many tells enough.
            elements = split_commas(line, ADDRESSES_MAX + 1)
            if len(found) + len(elements) > ADDRESSES_MAX:
                raise RemoteProtocolError(f"too many addresses in {name}")
            found += [NameAddr.parse(element) for element in elements if element]
        return found

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards clamped to 255, None where absent; RemoteProtocolError if not a number."""
        text = self.headers.first.get("Max-Forwards")
        if text is None:
            return None
        number = _SMALL_NUMBERS.get(text)
        if number is None:
            number = parse_number(text, 255)
        if number is None:
            raise RemoteProtocolError("malformed Max-Forwards")
        return number

    @property
    def expires(self) -> int | None:
        """Expires in seconds, clamped to 2**32 - 1; None where absent or malformed (20.19)."""
        text = self.headers.first.get("Expires")
        return None if text is None else parse_number(text, EXPIRES_MAX_S)

    @property
    def content_type(self) -> str | None:
        """The media type in lower case without parameters, None where absent."""
        text = self.headers.first.get("Content-Type")
        if text is None:
            return None
        if text == _SDP_TYPE:  # what nearly every body is
            return text
        kind = text.partition(";")[0].replace(" ", "").replace("\t", "")
        return kind.lower() if kind.isascii() else kind

    def _compulsory(self, name: str) -> str:
        value = self.headers.first.get(name)
        if not value:
            raise RemoteProtocolError(f"missing {name}")
        return value

    @property
    def start_line(self) -> str:
        """The first line without its line break."""
        return self._start_line()

    def _start_line(self) -> str:
        raise NotImplementedError

    def serialise(self) -> bytes:
        """The octets to send; Content-Length is always written, computed from the body.

        Raises LocalProtocolError when our own code put a line break into the start line or text
        that no octets stand for into a header.
        """
        start = self._start_line()
        if "\n" in start or "\r" in start:
            raise LocalProtocolError("line break in a start line")
        headers, body = self.headers, self.body
        if "Content-Length" in headers.first:
            headers = headers.copy()
            headers.set("Content-Length", str(len(body)))
            head = f"{start}\r\n{headers.text()}\r\n"
        else:
            head = f"{start}\r\n{headers.text()}Content-Length: {len(body)}\r\n\r\n"
        try:
            octets = head.encode() if head.isascii() else head.encode("utf-8", "surrogateescape")
            return octets + body if body else octets
        except UnicodeEncodeError:
            raise LocalProtocolError("a header holds half a character") from None

    def __eq__(self, other: object) -> bool:
        # Content-Length is derived from the body, so it takes no part.
        if type(other) is not type(self) or not isinstance(other, SipMessage):
            return NotImplemented
        return (
            self.start_line == other.start_line
            and self.body == other.body
            and [h for h in self.headers.items() if h[0] != "Content-Length"]
            == [h for h in other.headers.items() if h[0] != "Content-Length"]
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.start_line!r} {len(self.body)} B body>"


class SipRequest(SipMessage, Struct, eq=False, gc=False):
    """A request; `uri` is the Request-URI as received."""

    method: str
    uri: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @classmethod
    def fresh(
        cls, method: str, uri: str, from_value: str, to_value: str, call_id: str, cseq: int = 1
    ) -> SipRequest:
        """A request of ours outside any dialog with what each must have (RFC 3261 8.1.1) but the Via, which
        is put on when it leaves."""
        lines = {
            "Max-Forwards": "70",
            "From": from_value,
            "To": to_value,
            "Call-ID": call_id,
            "CSeq": f"{cseq} {method}",
        }
        headers = Headers()
        headers.take(lines)
        return cls(method, uri, headers)

    def keep_ids(self, also: Sequence[str] = ()) -> None:
        """Let go of the body and of all lines but From, To, Call-ID, CSeq and `also`."""
        first = self.headers.first
        kept = {name: first[name] for name in also if name in first}
        kept["From"], kept["To"] = first["From"], first["To"]
        kept["Call-ID"], kept["CSeq"] = first["Call-ID"], first["CSeq"]
        self.headers = Headers(kept)
        self.body = b""

    def _start_line(self) -> str:
        return f"{self.method} {self.uri} SIP/2.0"

    @property
    def request_uri(self) -> SipUri:
        """The Request-URI parsed; RemoteProtocolError (416 for another scheme, tel: among them)."""
        return SipUri.parse(self.uri)

    @property
    def called(self) -> str:
        """The number or name that the Request-URI is for, "" for nobody; RemoteProtocolError (416 for schemes
        other than sip, sips and tel)."""
        return number_of(self.uri)

    def response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        lines: Mapping[str, str] = _NO_LINES,
    ) -> SipResponse:
        """A response to this request (RFC 3261 8.2.6.2), with `lines` below what it repeats.

        Copies Via, From, Call-ID, CSeq and To as they stand (`to_tag` is added where To has no
        tag), Timestamp into a 100, and Record-Route (12.1.1) into what may set up a dialog. Works
        on requests with missing or malformed headers too: what is absent stays absent.
        """
        also = ""
        if 100 < status < 300 and self.method in _DIALOG_FORMING:
            also = "Record-Route"
        elif status == 100:
            also = "Timestamp"
        headers = self.headers
        first = headers.first
        try:
            # The usual request: one line of each, and nothing to copy beside them.
            values = via, from_, to, call_id, cseq = _THE_COMPULSORY(first)
        except KeyError:
            values = ("",)
        if headers.some_repeat or also in first or "" in values:
            copied = [line for line in headers.items() if line[0] in _COPIED or line[0] == also]
            answer = Headers.of_canonical([n for n, _ in copied], [v for _, v in copied])
            if to_tag is not None and "To" in first:
                answer.replace_first("To", self.tagged_to(to_tag))
        else:
            if to_tag is not None:
                to = self.tagged_to(to_tag)
            answer = Headers(
                {"Via": via, "From": from_, "To": to, "Call-ID": call_id, "CSeq": cseq}
            )
        if lines:
            answer.take(lines)
        if reason is None:
            reason = REASONS.get(status) or reason_of(status)
        return SipResponse(status, reason, answer)

    def tagged_to(self, tag: str) -> str:
        """The To of our answers: with `tag`, unless it has one already or nobody can read it."""
        text = self.headers.first["To"]
        try:
            to: NameAddr = self.headers.parsed.get("To") or self.to
            return text if to.tag is not None else f"{text};tag={tag}"
        except RemoteProtocolError:
            return text


class SipResponse(SipMessage, Struct, eq=False, gc=False):
    """A response."""

    status: int
    reason: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def _start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"
