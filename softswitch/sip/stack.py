"""SipStack, the facade of the SIP core: messages and commands in, events and messages out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from softswitch.chance import between
from softswitch.errors import LocalProtocolError
from softswitch.sip.contact import contact_at, contact_of, user_of
from softswitch.sip.credentials import Credentials
from softswitch.sip.effects import Clocking
from softswitch.sip.events import RequestFailed, SipEvent
from softswitch.sip.flow import Flow, Outgoing
from softswitch.sip.gate import Admitted, Drop, Gate, OpenGate, Refuse
from softswitch.sip.invite_outgoing import OutgoingCall
from softswitch.sip.message import SipRequest
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.reception import Reception
from softswitch.sip.request_layer import RequestLayer
from softswitch.sip.session_core import SessionTerms
from softswitch.sip.session_effects import (
    Accept,
    AcceptReoffer,
    AckWith,
    HangUp,
    Progress,
    Reject,
    RejectReoffer,
    Reoffer,
    SendInDialog,
    SessionInput,
    Tell,
)
from softswitch.sip.session_layer import SessionLayer, SessionUnit
from softswitch.sip.stack_config import StackConfig
from softswitch.sip.subscription_layer import SubscriptionLayer
from softswitch.sip.subscriptions import Subscriptions
from softswitch.sip.timers import TimerHeap
from softswitch.sip.transaction_layer import ServerTransaction, TransactionLayer
from softswitch.sip.uri import NameAddr

if TYPE_CHECKING:
    from softswitch.sip.session_effects import HeaderLines

__all__ = [
    "Admitted",
    "Credentials",
    "Drop",
    "Flow",
    "Gate",
    "OpenGate",
    "Outgoing",
    "ReasonHeader",
    "Refuse",
    "SipStack",
    "StackConfig",
]


# What a caller's own header lines replace rather than add to.
_REPLACED = frozenset({"Contact", "Max-Forwards", "User-Agent"})


class SipStack:
    """The whole SIP core behind four I/O methods and the call commands. `events` are those not yet taken,
    the oldest first: `next_event` takes one, and so may the driver. `outbox` is what `datagrams_to_send` would
    give: the driver looks whether there is anything.

    `token` returns a fresh random text of 64 bits or more, letters and digits only (tags, branches,
    Call-IDs are made of it); `gate` decides on every request from outside a dialog.

    Commands for a session that has already ended are ignored and counted (`late_commands`), because
    its last event may still be in the queue; a command that the state forbids raises
    `LocalProtocolError`.
    """

    def __init__(self, config: StackConfig, token: Callable[[], str], gate: Gate) -> None:
        self._config = config
        self._token = token
        self._uniform = between(token)
        self._heap = TimerHeap()
        self.events: deque[SipEvent] = deque()
        self._late_commands = 0
        self._transactions = TransactionLayer(
            self._heap,
            Clocking(config.t1_s, config.t2_s, config.t4_s),
            token,
            limit=config.max_transactions,
            written=config.written if config.advertised else attrgetter("local"),
        )
        self.outbox = self._transactions.outbox
        self._sessions = SessionLayer(
            self._transactions, self._heap, self.events.append, self._pass_up
        )
        self._requests = RequestLayer(self._transactions, self._heap, self.events.append, token)
        layer = SubscriptionLayer(self._transactions, self._heap, self.events.append)
        self.subscriptions = Subscriptions(config, token, layer, self._requests)
        self._reception = Reception(
            config,
            gate,
            token,
            self._transactions,
            self._sessions,
            layer,
            self._requests,
            self.events,
            self._terms_for,
        )

    def use_streams(self, stream_for: Callable[[Flow], Flow | None]) -> None:
        """Let requests of more than 1,300 octets leave by the stream that `stream_for` gives for their UDP
        flow (RFC 3261 18.1.1); where it leads nowhere they leave by UDP after all."""
        self._transactions.stream_for = stream_for

    # -- the I/O four (only the driver calls these) ------------------------------------------

    def receive_datagram(self, data: bytes, flow: Flow, now_s: float) -> None:
        """One datagram, or one framed message of a stream transport. Never raises on bad input."""
        self._reception.receive(data, flow, now_s)

    def next_event(self) -> SipEvent | None:
        """The oldest event not yet taken, or None."""
        return self.events.popleft() if self.events else None

    def datagrams_to_send(self) -> list[Outgoing]:
        """Everything to be sent now, in order; the list is the caller's."""
        outgoing = self.outbox.copy()
        self.outbox.clear()
        return outgoing

    def get_timer(self) -> float | None:
        """When `handle_timer` is due (monotonic seconds), or None."""
        return self._heap.next_at()

    def handle_timer(self, now_s: float) -> None:
        """Fire every timer due at `now_s`."""
        heap = self._heap
        while True:
            due = heap.pop_due(now_s)
            if due is None:
                return
            due[0].on_timer(due[1], now_s)

    def transport_failed(self, flow: Flow, now_s: float) -> None:
        """The transport could not send on `flow` (ICMP unreachable, connection refused or lost):
        client transactions on it end with 503."""
        self._transactions.flow_failed(flow, now_s)

    def snapshot(self) -> dict[str, int]:
        """`transactions`, `dialogs`, `sessions`, `handles`, `subscriptions`, `timers`: all 0 some 32 s
        after the last hang-up and the last subscription's end; and counters that only grow."""
        return {
            "transactions": len(self._transactions),
            "dialogs": len(self._sessions.by_dialog),
            "sessions": len(self._sessions.units),
            "handles": len(self._requests),
            "subscriptions": len(self.subscriptions),
            "timers": len(self._heap),
            "events_waiting": len(self.events),
            "late_commands": self._late_commands + self.subscriptions.late_commands,
            **self._reception.counters,
        }

    # -- calls we make ---------------------------------------------------------------------------

    def invite(
        self,
        *,
        target: str,
        flow: Flow,
        from_: NameAddr,
        to: NameAddr,
        contact: str | None = None,
        sdp: bytes | None,
        headers: HeaderLines = (),
        credentials: Credentials | None = None,
        identity: object = None,
        timeout_s: float,
        silence_s: float | None = None,
        route: Sequence[str] = (),
        call_id: str | None = None,
        permitted_hosts: frozenset[str] = frozenset(),
        follow_contact: bool = False,
        now_s: float,
    ) -> int:
        """Call `target` (the Request-URI) over `flow`; returns the session id.

        `from_` without a tag gets one; `contact` is a SIP URI, by default built from `from_`'s user
        and the flow's local address; `sdp` is the offer, None asks the callee for one (then answer
        `Answered` with `ack_with`). After `timeout_s` without a final response the call is cancelled
        and `Failed(408)` is reported; after `silence_s` without any response, likewise at once.
        `permitted_hosts`, `follow_contact` and `identity` as in `gate.Admitted`. Raises `LocalProtocolError`
        when a limit is reached.
        """
        if len(self._sessions.units) >= self._config.max_sessions or self._transactions.full():
            raise LocalProtocolError("too many sessions")
        session = self._sessions.take_number()
        terms = SessionTerms(
            session,
            self._config,
            flow,
            contact_of(self._config, contact, from_, flow),
            self._token,
            self._uniform,
            permitted_hosts,
            follow_contact,
            credentials,
            identity,
        )
        call = OutgoingCall(
            target,
            self._tagged(from_),
            str(to),
            call_id or self._token(),
            list(route),
            headers,
            sdp,
        )
        self._sessions.start(terms, call, timeout_s, silence_s, now_s)
        return session

    def ack_with(self, session: int, sdp: bytes, now_s: float) -> None:
        """Send the ACK whose body answers the offer of the 2xx (only after `invite(sdp=None)` or
        `reinvite(sdp=None)`)."""
        self._command(session, AckWith(sdp), now_s)

    # -- calls we get ------------------------------------------------------------------------------

    def progress(
        self,
        session: int,
        status: int = 180,
        sdp: bytes | None = None,
        reason: str | None = None,
        headers: HeaderLines = (),
        *,
        now_s: float,
    ) -> None:
        """Send a provisional response 101..199 to an incoming call.

        `sdp` is an answer, or, to a caller who made no offer, ours: then `ReofferAnswered` follows. A caller
        who insists on reliable responses and made none hears nothing without it (RFC 3262 5).
        """
        self._command(session, Progress(status, reason, sdp, headers), now_s)

    def answer(
        self, session: int, sdp: bytes | None, now_s: float, headers: HeaderLines = ()
    ) -> None:
        """Send 200 with `sdp` (the answer, or our offer when the INVITE had none)."""
        self._command(session, Accept(sdp, headers), now_s)

    def reject(
        self,
        session: int,
        status: int,
        reason: str | None = None,
        headers: HeaderLines = (),
        *,
        now_s: float,
    ) -> None:
        """Send a final response 300..699; `Ended(by="local")` follows."""
        self._command(session, Reject(status, reason, headers), now_s)

    # -- calls that are up -------------------------------------------------------------------------

    def hang_up(self, session: int, *, cause: ReasonHeader | None = None, now_s: float) -> None:
        """End the session whatever its state: CANCEL, BYE or a final response. Idempotent.

        `Ended(by="local")` follows at once; what the peer still has to be told, an answer that
        crosses the CANCEL included, is seen to without further events.
        """
        self._command(session, HangUp(cause), now_s)

    def reinvite(self, session: int, sdp: bytes | None, now_s: float) -> None:
        """Offer again (hold, codec, media move); `ReofferAnswered` or `ReofferFailed` follows. One
        that crosses the peer's is retried as RFC 3261 section 14.1 says."""
        self._command(session, Reoffer(sdp), now_s)

    def answer_reoffer(self, session: int, sdp: bytes | None, now_s: float) -> None:
        """Accept the peer's re-INVITE or UPDATE with 200."""
        self._command(session, AcceptReoffer(sdp), now_s)

    def reject_reoffer(
        self, session: int, status: int, now_s: float, headers: HeaderLines = ()
    ) -> None:
        """Refuse the peer's re-INVITE or UPDATE (488); the session goes on unchanged."""
        self._command(session, RejectReoffer(status, headers), now_s)

    def info(self, session: int, content_type: str, body: bytes, now_s: float) -> None:
        """Send INFO inside the dialog; its response is not reported."""
        self._command(session, SendInDialog("INFO", (), body, content_type, None), now_s)

    def tell(self, session: int, headers: HeaderLines, now_s: float) -> None:
        """Tell the peer something by UPDATE without an offer, now or when the dialog stands; peers that take no
        UPDATE are not told."""
        self._command(session, Tell(headers), now_s)

    def find_session(self, call_id: str, local_tag: str, remote_tag: str) -> int | None:
        """The session with this dialog id (for Replaces, RFC 3891), or None."""
        unit = self._sessions.by_dialog.get((call_id, local_tag, remote_tag))
        return unit.machine.session if unit is not None else None

    def call_id_of(self, session: int) -> str:
        """The Call-ID of a session's messages, "" for an unknown one."""
        unit = self._sessions.units.get(session)
        return unit.machine.call_id if unit is not None else ""

    def dialog_of(self, session: int) -> dict[str, object] | None:
        """Call-ID, tags, targets and flow of a session's dialog, for journals and Replaces."""
        unit = self._sessions.units.get(session)
        machine = unit.machine if unit is not None else None
        dialog = (machine.dialog or machine.early_dialog) if machine is not None else None
        if dialog is None:
            return None
        return {
            "call_id": dialog.call_id,
            "local_tag": dialog.local_tag,
            "remote_tag": dialog.remote_tag,
            "local_cseq": dialog.local_cseq,
            "remote_cseq": dialog.remote_cseq,
            "target": dialog.target,
            "routes": [str(route) for route in dialog.routes],
            "flow": dialog.flow,
        }

    def peer_moved(self, old: Flow, new: Flow) -> int:
        """A peer that has proved who it is has gone from one flow to another: what is said in its dialogs
        from now on goes there. Returns how many were moved.

        RFC 3261 knows the remote target only, and behind a NAT that is no place anybody can reach; RFC 5626
        has the registration say what the flow is. Without this a BYE goes where nobody is any more.
        """
        return self._sessions.moved(old, new) + self.subscriptions.moved(old, new)

    # -- other requests ------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        target: str,
        flow: Flow,
        *,
        from_: NameAddr,
        to: NameAddr,
        contact: str | None = None,
        headers: HeaderLines = (),
        body: bytes = b"",
        content_type: str | None = None,
        credentials: Credentials | None = None,
        call_id: str | None = None,
        cseq: int = 1,
        timeout_s: float | None = None,
        now_s: float,
    ) -> int:
        """Send a non-INVITE request outside any dialog (REGISTER, OPTIONS, MESSAGE, SUBSCRIBE,
        NOTIFY); returns a handle. `ResponseReceived` or `RequestFailed` follows. `contact` "" leaves
        it out, as a REGISTER that only asks does; a MESSAGE never has one (RFC 3428 8)."""
        from_value, call_id = self._tagged(from_), call_id or self._token()
        request = SipRequest.fresh(method, target, from_value, str(to), call_id, cseq)
        lines = request.headers
        if contact != "" and method != "MESSAGE":
            lines.add("Contact", contact_of(self._config, contact, from_, flow))
        lines.add("User-Agent", self._config.user_agent)
        for name, value in headers:
            if name in _REPLACED:
                lines.set(name, value)
            else:
                lines.add(name, value)
        if content_type is not None:
            lines.set("Content-Type", content_type)
        request.body = body
        return self._requests.ask(request, flow, credentials, timeout_s, now_s)

    def request_in_dialog(
        self,
        session: int,
        method: str,
        *,
        headers: HeaderLines = (),
        body: bytes = b"",
        content_type: str | None = None,
        now_s: float,
    ) -> int:
        """Send a non-INVITE request inside a session's dialog (REFER, NOTIFY); returns a handle."""
        handle = self._requests.take_handle()
        command = SendInDialog(method, headers, body, content_type, handle)
        if not self._command(session, command, now_s):
            self.events.append(RequestFailed(handle, 481))
        return handle

    def respond(
        self,
        handle: int,
        status: int,
        reason: str | None = None,
        headers: HeaderLines = (),
        body: bytes = b"",
        content_type: str | None = None,
        *,
        now_s: float,
    ) -> None:
        """Answer a `RequestReceived`."""
        if not self._requests.answer(handle, status, reason, headers, body, content_type, now_s):
            self._late_commands += 1

    def answer_options(self, handle: int, now_s: float) -> None:
        """Say what we can to a `RequestReceived` that asks (RFC 3261 11.2)."""
        self.respond(handle, 200, headers=self._config.capabilities(), now_s=now_s)

    @property
    def allowed_events(self) -> HeaderLines:
        """The header that goes with a 489 (RFC 6665 8.4)."""
        return self._config.allowed_events()

    # -- inside ------------------------------------------------------------------------------------

    def _command(self, session: int, command: SessionInput, now_s: float) -> bool:
        """Give a session a command; False when it has ended already."""
        unit = self._sessions.units.get(session)
        if unit is None:
            self._late_commands += 1
            return False
        unit.feed(command, now_s)
        return True

    def _pass_up(
        self, unit: SessionUnit, request: SipRequest, transaction: ServerTransaction, now_s: float
    ) -> None:
        machine = unit.machine
        transaction.user = self._requests
        self._requests.take(request, transaction, machine.terms.identity, machine.session, now_s)

    def _terms_for(self, request: SipRequest, flow: Flow, admitted: Admitted) -> SessionTerms:
        return SessionTerms(
            self._sessions.take_number(),
            self._config,
            flow,
            contact_at(self._config, user_of(request.uri), flow),
            self._token,
            self._uniform,
            admitted.permitted_hosts,
            admitted.follow_contact,
            None,
            admitted.identity,
        )

    def _tagged(self, from_: NameAddr) -> str:
        return str(from_) if from_.tag else f"{from_};tag={self._token()}"
