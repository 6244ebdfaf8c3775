"""Dialogs (RFC 3261 section 12): ids, sequence numbers, route set and remote target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from softswitch.errors import RemoteProtocolError
from softswitch.sip.headers import Headers
from softswitch.sip.message import SipRequest
from softswitch.sip.uri import CSeq, NameAddr

if TYPE_CHECKING:
    from collections.abc import Iterable

    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipMessage, SipResponse

DialogId = tuple[str, str, str]
_ROUTED = "Record-Route"


class Dialog(Struct, eq=False):
    """One dialog as seen from our side.

    `local` and `remote` are the header values of our and the peer's party (URI and tag) as they go
    into From and To; `id` is Call-ID, local and remote tag; `flow` is the path the peer was last heard
    on; `target` the peer's Contact.
    """

    id: DialogId
    call_id: str
    local: str
    remote: str
    local_tag: str
    remote_tag: str
    local_cseq: int
    remote_cseq: int | None
    routes: list[NameAddr]
    target: str
    flow: Flow
    confirmed: bool = False

    __hash__ = object.__hash__

    @classmethod
    def of_server(cls, request: SipRequest, local_tag: str, flow: Flow) -> Dialog:
        """The dialog a request of the peer sets up (12.1.1)."""
        contacts = request.addresses("Contact")
        call_id, from_tag, _, cseq = request.ids()
        return cls(
            (call_id, local_tag, from_tag),
            call_id,
            request.tagged_to(local_tag),
            request.headers.first["From"],
            local_tag,
            from_tag,
            0,
            cseq.number,
            request.record_routes if _ROUTED in request.headers.first else [],
            contacts[0].uri_text if contacts else request.from_.uri_text,
            flow,
        )

    @classmethod
    def of_client(cls, request: SipRequest, response: SipResponse, flow: Flow) -> Dialog:
        """The dialog a response to our request sets up (12.1.2); its routes in reverse order."""
        contacts = response.addresses("Contact")
        ours, to = request.headers.first, response.headers.parsed.get("To") or response.to
        call_id, local_tag = ours["Call-ID"], NameAddr.parse(ours["From"]).tag or ""
        remote_tag = to.tag or ""
        return cls(
            (call_id, local_tag, remote_tag),
            call_id,
            ours["From"],
            response.headers.first["To"],
            local_tag,
            remote_tag,
            CSeq.parse(ours["CSeq"]).number,
            None,
            _routes_of(response),
            contacts[0].uri_text if contacts else request.uri,
            flow,
        )

    def confirm(self, response: SipResponse) -> None:
        """A 2xx arrived for an early dialog: its route set and target count now (13.2.2.4)."""
        self.confirmed = True
        self.routes = _routes_of(response)
        self.refresh_target(response)

    def refresh_target(self, message: SipMessage) -> None:
        """Take the Contact of a target refresh (INVITE, UPDATE and their 2xx; 12.2)."""
        contacts = message.addresses("Contact")
        if contacts and contacts[0].uri_text != "*":
            self.target = contacts[0].uri_text

    def accepts(self, request: SipRequest) -> bool:
        """Whether the request's CSeq is higher than all before (else it is out of order: 500).

        Remembers the number. An equal number under a new branch is a copy, not news.
        """
        number = (request.headers.parsed.get("CSeq") or request.cseq).number
        if self.remote_cseq is not None and number <= self.remote_cseq:
            return False
        self.remote_cseq = number
        return True

    def request(self, method: str, cseq: int | None = None) -> SipRequest:
        """A request inside the dialog (12.2.1.1), without Via.

        `cseq` is given for ACK only; every other request takes the next number.
        """
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        uri = self.target
        # Values that were parsed or written before: no need to check them line by line again.
        lines = {
            "Max-Forwards": "70",
            "From": self.local,
            "To": self.remote,
            "Call-ID": self.call_id,
            "CSeq": f"{cseq} {method}",
        }
        if self.routes:
            routes = [str(route) for route in self.routes]
            if not _is_loose(self.routes[0]):
                # A strict router of RFC 2543 wants itself as Request-URI, the target as last route.
                uri = self.routes[0].uri_text
                routes = [*routes[1:], f"<{self.target}>"]
            names = ["Route"] * len(routes) + list(lines)
            headers = Headers.of_canonical(names, [*routes, *lines.values()])
            return SipRequest(method, uri, headers)
        return SipRequest(method, uri, Headers(lines))


def move_dialogs(dialogs: Iterable[Dialog | None], old: Flow, new: Flow) -> int:
    """The peers that were heard on `old` are to be reached on `new`; returns how many dialogs that were."""
    remote, count = old.remote, 0
    for dialog in dialogs:
        # The address first: most differ by it, and it costs a tenth of comparing whole flows.
        if dialog is not None and dialog.flow.remote == remote and dialog.flow == old:
            dialog.flow = new
            count += 1
    return count


def _routes_of(response: SipResponse) -> list[NameAddr]:
    return response.record_routes[::-1] if _ROUTED in response.headers.first else []


def _is_loose(route: NameAddr) -> bool:
    try:
        return route.uri.param("lr") is not None
    except RemoteProtocolError:
        return True
