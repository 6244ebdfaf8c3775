"""An INVITE of a peer until its dialog stands (RFC 3261 section 13.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softswitch.errors import LocalProtocolError
from softswitch.sip import session_timer
from softswitch.sip.causes import status_of_q850
from softswitch.sip.dialog import Dialog
from softswitch.sip.events import Cancelled, Confirmed, Ended, InviteReceived
from softswitch.sip.invite_offers import Offering
from softswitch.sip.invite_session import InviteSession
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.session_core import SessionTerms, State, attach_sdp, sdp_of
from softswitch.sip.session_effects import (
    Accept,
    CancelArrived,
    DialogRequestArrived,
    HangUp,
    InviteArrived,
    OpenDialog,
    Progress,
    Reject,
    Reoffer,
    Respond,
    ServerLost,
    SessionInput,
    TransactionRef,
)

if TYPE_CHECKING:
    from softswitch.sip.message import SipRequest, SipResponse
    from softswitch.sip.session_effects import HeaderLines

# A provisional response every minute keeps proxies' timer C from running out (13.3.1.1).
_REPEAT_PROVISIONAL_S = 60.0


class IncomingInviteSession(InviteSession):
    """Answers one INVITE; `local_tag` is the To-tag of every response but 100."""

    __slots__ = ("_invite", "_local_tag", "_provisional", "_transaction")

    def __init__(self, terms: SessionTerms, local_tag: str) -> None:
        super().__init__(terms, called_out=False)
        self._local_tag = local_tag
        self._invite: SipRequest | None = None
        self._transaction: TransactionRef = None
        self._provisional: SipResponse | None = None

    def _dispatch(self, event: SessionInput) -> None:
        match event:
            case InviteArrived() if self.state is State.IDLE:
                self._arrive(event)
            case Progress() if self.state is State.INCOMING:
                self._progress(event)
            case Accept() if self.state is State.INCOMING:
                self._accept(event)
            case Reject() if self.state is State.INCOMING:
                self._reject(event)
            case _:
                super()._dispatch(event)

    def _arrive(self, event: InviteArrived) -> None:
        request = event.request
        self._invite = request
        self._transaction = event.transaction
        minimum_s = session_timer.too_small(request, self.config)
        if minimum_s is not None:
            self._emit(self._final(422, None, [("Min-SE", str(minimum_s))]))
            self._closed = True
            self._finish()
            return
        self.state = State.INCOMING
        self.dialog = Dialog.of_server(request, self._local_tag, self.terms.flow)
        self._learn_peer(request)
        self._emit(OpenDialog(self.dialog.id))
        if self.config.trying_after_s <= 0.0:
            self._emit(Respond(event.transaction, request.response(100)))
        else:
            self._set_timer("trying", self.config.trying_after_s)
        terms = self.terms
        self._notify(
            InviteReceived(self.session, request, terms.flow, terms.identity, sdp_of(request))
        )

    # -- call control's answers --------------------------------------------------------------------

    def _the_invite(self) -> SipRequest:
        if self._invite is None:
            raise LocalProtocolError(f"no INVITE in state {self.state.name}")
        return self._invite

    def _progress(self, event: Progress) -> None:
        if not 100 < event.status < 200:
            raise LocalProtocolError(f"{event.status} is no provisional status")
        response = self._the_invite().response(event.status, event.reason, to_tag=self._local_tag)
        response.headers.add("Contact", self.terms.contact)
        for name, value in event.headers:
            response.headers.add(name, value)
        attach_sdp(response, event.sdp)
        if event.sdp is not None:
            self.local_sdp = event.sdp
        self._provisional = response
        self._clear_timers("trying")
        self._set_timer("again", _REPEAT_PROVISIONAL_S)
        self._emit(Respond(self._transaction, response))

    def _accept(self, event: Accept) -> None:
        invite = self._the_invite()
        response = invite.response(200, to_tag=self._local_tag)
        self._add_capabilities(response)
        timer, lines = session_timer.granted(invite, self.config)
        for name, value in lines:
            response.headers.add(name, value)
        for name, value in event.headers:
            response.headers.add(name, value)
        attach_sdp(response, event.sdp)
        if event.sdp is not None:
            self.local_sdp = event.sdp
        self._clear_timers("trying", "again")
        self.state = State.ANSWERED
        self._the_dialog().confirmed = True
        self._start_session_timer(timer)
        self._send_2xx(self._transaction, response, offer=sdp_of(invite) is None)

    def _reject(self, event: Reject) -> None:
        if not 300 <= event.status < 700:
            raise LocalProtocolError(f"{event.status} is no refusal")
        self._emit(self._final(event.status, event.reason, event.headers))
        self._close(Ended(self.session, "local", None))
        self._finish()

    def _final(self, status: int, reason: str | None, headers: HeaderLines) -> Respond:
        response = self._the_invite().response(status, reason, to_tag=self._local_tag)
        for name, value in headers:
            response.headers.add(name, value)
        return Respond(self._transaction, response)

    def _hang_up(self, event: HangUp) -> None:
        if self.state is State.INCOMING:
            cause = event.cause
            headers = [("Reason", str(cause))] if cause is not None else []
            self._emit(self._final(_refusal(cause), None, headers))
            self._close(Ended(self.session, "local", cause))
            self._finish()
        elif self.state is State.ANSWERED:
            # No BYE before the ACK (section 15): it could overtake our 2xx.
            if not self._bye_wanted:
                self._bye_wanted = True
                self._bye_cause = event.cause
                self._close(Ended(self.session, "local", event.cause))
        else:
            super()._hang_up(event)

    def _reoffer(self, event: Reoffer) -> None:
        if self.state is State.ANSWERED and not self._closed:
            self._queued = Offering(event.sdp)
        else:
            super()._reoffer(event)

    # -- the caller's requests ---------------------------------------------------------------------

    def _on_ack(self, request: SipRequest) -> None:
        if self.state is not State.ANSWERED:
            super()._on_ack(request)
            return
        unacked = self._acknowledged(request)
        if unacked is None:
            return
        self.state = State.CONFIRMED
        if self._bye_wanted:
            self._bye(self._bye_cause)
            return
        self._notify(Confirmed(self.session, sdp_of(request)))
        self._next_offer()

    def _on_cancel(self, event: CancelArrived) -> None:
        if self.state is State.INCOMING and event.transaction is self._transaction:
            self._caller_left(event.request)
        else:
            super()._on_cancel(event)

    def _on_server_lost(self, event: ServerLost) -> None:
        if self.state is State.INCOMING and event.transaction is self._transaction:
            # Whatever we would answer could not reach the caller any more.
            self._close(Cancelled(self.session, ReasonHeader("SIP", 503)))
            self._finish()
        else:
            super()._on_server_lost(event)

    def _caller_left(self, request: SipRequest) -> None:
        reason = request.headers.get("Reason")
        self._emit(self._final(487, None, ()))
        self._close(Cancelled(self.session, ReasonHeader.parse(reason) if reason else None))
        self._finish()

    def _on_bye(self, event: DialogRequestArrived) -> None:
        if self.state is State.INCOMING:
            # A caller may end its early dialog with BYE too (15.1.2).
            self._respond(event.request, event.transaction, 200)
            self._caller_left(event.request)
        else:
            super()._on_bye(event)

    def _finish(self) -> None:
        super()._finish()
        # Transactions keep the session for 32 s more; it needs none of this.
        self._invite = self._transaction = self._provisional = None

    def _on_timer(self, name: str) -> None:
        if name == "trying" and self.state is State.INCOMING:
            if self._provisional is None:
                self._emit(Respond(self._transaction, self._the_invite().response(100)))
        elif name == "again" and self.state is State.INCOMING:
            if self._provisional is not None:
                self._emit(Respond(self._transaction, self._provisional))
                self._set_timer("again", _REPEAT_PROVISIONAL_S)
        else:
            super()._on_timer(name)


def _refusal(cause: ReasonHeader | None) -> int:
    """The final status that says `cause`; 480 where it names none."""
    status = 0
    if cause is not None:
        status = cause.cause if cause.protocol == "SIP" else status_of_q850(cause.cause)
    return status if 300 <= status < 700 else 480
