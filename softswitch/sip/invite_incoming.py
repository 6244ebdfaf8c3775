"""An INVITE of a peer until its dialog stands (RFC 3261 section 13.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from msgspec import field

from softswitch.errors import LocalProtocolError
from softswitch.sip import session_timer
from softswitch.sip.causes import status_of_q850
from softswitch.sip.dialog import Dialog
from softswitch.sip.events import (
    Cancelled,
    Confirmed,
    Ended,
    InviteReceived,
    ReofferAnswered,
    ReofferReceived,
)
from softswitch.sip.invite_offers import Offered, Offering
from softswitch.sip.invite_session import InviteSession
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.reliable import (
    OPTION,
    RSEQ_FIRST_MAX,
    Reliability,
    Unpracked,
    rack_of,
    reliability_of,
)
from softswitch.sip.session_core import (
    ANSWERED,
    CONFIRMED,
    IDLE,
    INCOMING,
    SessionTerms,
    attach_sdp,
    sdp_of,
)
from softswitch.sip.session_effects import (
    Accept,
    AckArrived,
    CancelArrived,
    DialogRequestArrived,
    HangUp,
    InviteArrived,
    OpenDialog,
    Progress,
    Reject,
    RejectReoffer,
    Reoffer,
    Respond,
    ServerLost,
    TransactionRef,
)

if TYPE_CHECKING:
    from softswitch.sip.message import SipRequest, SipResponse
    from softswitch.sip.session_effects import HeaderLines

# A provisional response every minute keeps proxies' timer C from running out (13.3.1.1).
_REPEAT_PROVISIONAL_S = 60.0
# Reliable responses that wait for the PRACK of the one before; call control says 180 and 183.
_WAITING_MAX = 8


class IncomingInviteSession(InviteSession, eq=False):
    """Answers one INVITE; `local_tag` is the To-tag of every response but 100.

    Provisional responses that carry SDP are sent reliably to callers who can (RFC 3262), all of them
    to callers who insist; one at a time, and a 2xx waits for the PRACK of an answer in a 183. To a caller who
    insists and makes no offer the first of them has to bring ours (RFC 3262 5), and its PRACK the answer.
    """

    _reactions: ClassVar[Mapping[type, str]] = {
        **InviteSession._reactions,
        InviteArrived: "_arrive",
        Progress: "_progress",
        Accept: "_accept",
        Reject: "_reject",
    }

    _local_tag: str = ""
    _invite: SipRequest | None = None
    _transaction: TransactionRef = None
    _provisional: SipResponse | None = None
    _reliability: Reliability = Reliability.NONE
    _rseq: int = 0
    _unpracked: Unpracked | None = None
    _waiting: list[Progress | Accept] = field(default_factory=list)
    _agreed: bool = False  # a PRACK has confirmed our answer: no later response repeats it

    @classmethod
    def of(cls, terms: SessionTerms, local_tag: str) -> IncomingInviteSession:
        return cls(terms, terms.session, terms.config, _local_tag=local_tag)

    def _arrive(self, event: InviteArrived) -> None:
        if self.state is not IDLE:
            self._forbidden(event)
            return
        request = event.request
        self._invite = request
        self._transaction = event.transaction
        self._reliability = reliability_of(request)
        minimum_s = session_timer.too_small(request, self.config)
        if minimum_s is not None:
            self._effects.append(self._final(422, None, [("Min-SE", str(minimum_s))]))
            self._closed = True
            self._finish()
            return
        self.state = INCOMING
        self.dialog = Dialog.of_server(request, self._local_tag, self.terms.flow)
        self._learn_peer(request)
        self._effects.append(OpenDialog(self.dialog.id))
        if self.config.trying_after_s <= 0.0:
            self._effects.append(Respond(event.transaction, request.response(100)))
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
        if self.state is not INCOMING:
            self._forbidden(event)
            return
        if not 100 < event.status < 200:
            raise LocalProtocolError(f"{event.status} is no provisional status")
        invite = self._the_invite()
        sdp = None if self._agreed else event.sdp
        required = self._reliability is Reliability.REQUIRED
        reliable = required or (self._reliability is Reliability.SUPPORTED and sdp is not None)
        if reliable and not self._agreed and sdp_of(invite) is None:
            if not required:
                reliable = False
            elif sdp is None and self._unpracked is None:
                return  # it would have to bring our offer, and there is none
        if reliable and self._unpracked is not None:
            if len(self._waiting) < _WAITING_MAX:
                self._waiting.append(event)
            return
        response = invite.response(
            event.status,
            event.reason,
            to_tag=self._local_tag,
            lines={"Contact": self.terms.contact},
        )
        if event.headers:
            response.headers.extend(event.headers)
        attach_sdp(response, sdp)
        if sdp is not None:
            self.local_sdp = sdp
        if self.config.trying_after_s > 0.0:
            self._clear_timers("trying")
        self._set_timer("again", _REPEAT_PROVISIONAL_S)
        if reliable:
            self._number(response, carries_sdp=sdp is not None)
        else:
            self._provisional = response
        self._effects.append(Respond(self._transaction, response))

    def _number(self, response: SipResponse, *, carries_sdp: bool) -> None:
        """Make a provisional response a reliable one, to be repeated until its PRACK (RFC 3262 3)."""
        self._rseq = self._rseq + 1 if self._rseq else int(self.terms.uniform(1, RSEQ_FIRST_MAX))
        response.headers.add("Allow", self.config.allow_value)
        response.headers.add("Require", OPTION)
        response.headers.add("RSeq", str(self._rseq))
        interval_s = self.config.t1_s
        self._unpracked = Unpracked(response, self._rseq, interval_s, carries_sdp)
        self._provisional = response
        self._set_timer("1xx", interval_s)
        self._set_timer("no-prack", 64 * interval_s)

    def _accept(self, event: Accept) -> None:
        if self.state is not INCOMING:
            self._forbidden(event)
            return
        unpracked = self._unpracked
        if self._offered is not None or (unpracked is not None and unpracked.carries_sdp):
            self._waiting.append(event)  # not before the answer in it has arrived (RFC 3262 3)
            return
        self._stop_repeating()
        invite = self._the_invite()
        timer, lines = session_timer.granted(invite, self.config)
        response = invite.response(200, to_tag=self._local_tag, lines=self._capabilities() | lines)
        if event.headers:
            response.headers.extend(event.headers)
        if not self._agreed:
            attach_sdp(response, event.sdp)
            self.local_sdp = event.sdp or self.local_sdp
        self._clear_timers("again")
        if self.config.trying_after_s > 0.0:
            self._clear_timers("trying")
        self.state = ANSWERED
        self._the_dialog().confirmed = True
        self._start_session_timer(timer)
        offer = not self._agreed and sdp_of(invite) is None
        self._send_2xx(self._transaction, response, offer=offer)

    def _reject(self, event: Reject) -> None:
        if self.state is not INCOMING:
            self._forbidden(event)
            return
        if not 300 <= event.status < 700:
            raise LocalProtocolError(f"{event.status} is no refusal")
        self._effects.append(self._final(event.status, event.reason, event.headers))
        self._close(Ended(self.session, "local", None))
        self._finish()

    def _final(self, status: int, reason: str | None, headers: HeaderLines) -> Respond:
        response = self._the_invite().response(status, reason, to_tag=self._local_tag)
        response.headers.extend(headers)
        return Respond(self._transaction, response)

    def _hang_up(self, event: HangUp) -> None:
        if self.state is INCOMING:
            cause = event.cause
            headers = [("Reason", str(cause))] if cause is not None else []
            self._effects.append(self._final(_refusal(cause), None, headers))
            self._close(Ended(self.session, "local", cause))
            self._finish()
        elif self.state is ANSWERED:
            # No BYE before the ACK (section 15): it could overtake our 2xx.
            if not self._bye_wanted:
                self._bye_wanted = True
                self._bye_cause = event.cause
                self._close(Ended(self.session, "local", event.cause))
        else:
            super()._hang_up(event)

    def _reoffer(self, event: Reoffer) -> None:
        accepted = any(isinstance(command, Accept) for command in self._waiting)
        if (self.state is ANSWERED or accepted) and not self._closed:
            self._queued = Offering(event.sdp)
        else:
            super()._reoffer(event)

    # -- reliable provisional responses --------------------------------------------------------------

    @property
    def _negotiated(self) -> bool:
        early = self.state is INCOMING and self._agreed and self._unpracked is None
        return early or self.state is CONFIRMED

    def _on_prack(self, event: DialogRequestArrived) -> None:
        request, unpracked = event.request, self._unpracked
        rack = rack_of(request)
        if rack is None:
            self._respond(request, event.transaction, 400)
            return
        if unpracked is None or rack != (unpracked.rseq, self._the_cseq(), "INVITE"):
            self._respond(request, event.transaction, 481)
            return
        sdp = sdp_of(request)
        if unpracked.carries_sdp and sdp_of(self._the_invite()) is None:
            self._on_answer_in_prack(event, sdp)
            return
        self._stop_repeating()
        self._agreed = self._agreed or unpracked.carries_sdp
        if sdp is not None and self._agreed and self.state is INCOMING:
            # Offer and answer are done: this is the next offer (RFC 3262 5).
            self._offered = Offered(request, event.transaction)
            self._notify(ReofferReceived(self.session, sdp, request))
            return
        self._respond(request, event.transaction, 200)
        self._go_on()

    def _on_answer_in_prack(self, event: DialogRequestArrived, answer: bytes | None) -> None:
        if answer is None:
            self._respond(event.request, event.transaction, 400)  # it owes us one (RFC 3262 5)
            return
        self._stop_repeating()
        self._agreed = True
        self._respond(event.request, event.transaction, 200)
        self._notify(ReofferAnswered(self.session, answer))
        self._go_on()

    def _the_cseq(self) -> int:
        return self._invite.cseq.number if self._invite is not None else 0

    def _stop_repeating(self) -> None:
        if self._unpracked is not None:
            self._unpracked = None
            self._clear_timers("1xx", "no-prack")

    def _go_on(self) -> None:
        """Say what had to wait for the PRACK, as far as it need not wait for the next."""
        while self._waiting and self._unpracked is None and self.state is INCOMING:
            command = self._waiting.pop(0)
            if isinstance(command, Accept):
                self._accept(command)
            else:
                self._progress(command)

    def _accept_reoffer(self, sdp: bytes | None) -> None:
        super()._accept_reoffer(sdp)
        self._go_on()

    def _reject_reoffer(self, event: RejectReoffer) -> None:
        super()._reject_reoffer(event)
        self._go_on()

    def _repeat_1xx(self) -> None:
        unpracked = self._unpracked
        if unpracked is not None and self.state is INCOMING:
            unpracked.interval_s *= 2
            self._effects.append(Respond(self._transaction, unpracked.response))
            self._set_timer("1xx", unpracked.interval_s)

    def _on_no_prack(self) -> None:
        if self._unpracked is not None and self.state is INCOMING:
            self._effects.append(self._final(504, None, ()))
            self._close(Ended(self.session, "timer", ReasonHeader("Q.850", 102, "No PRACK")))
            self._finish()

    def _say_again(self) -> None:
        """Once a minute the caller, and every proxy, is told that it still rings."""
        said = self._provisional
        if said is None:
            return
        if "RSeq" in said.headers:
            # That one has been acknowledged: a further one is due, not the same again.
            self._progress(Progress(said.status, said.reason, None, ()))
            return
        self._effects.append(Respond(self._transaction, said))
        self._set_timer("again", _REPEAT_PROVISIONAL_S)

    # -- the caller's requests ---------------------------------------------------------------------

    def _on_ack(self, event: AckArrived) -> None:
        if self.state is not ANSWERED:
            super()._on_ack(event)
            return
        request = event.request
        unacked = self._acknowledged(request)
        if unacked is None:
            return
        self.state = CONFIRMED
        if self._bye_wanted:
            self._bye(self._bye_cause)
            return
        self._notify(Confirmed(self.session, sdp_of(request)))
        self._next_offer()
        self._tell()

    def _on_cancel(self, event: CancelArrived) -> None:
        if self.state is INCOMING and event.transaction is self._transaction:
            self._caller_left(event.request)
        else:
            super()._on_cancel(event)

    def _on_server_lost(self, event: ServerLost) -> None:
        if self.state is INCOMING and event.transaction is self._transaction:
            # Whatever we would answer could not reach the caller any more.
            self._close(Cancelled(self.session, ReasonHeader("SIP", 503)))
            self._finish()
        else:
            super()._on_server_lost(event)

    def _caller_left(self, request: SipRequest) -> None:
        self._effects.append(self._final(487, None, ()))
        self._close(Cancelled(self.session, ReasonHeader.of(request, "SIP")))
        self._finish()

    def _on_bye(self, event: DialogRequestArrived) -> None:
        if self.state is INCOMING:
            # A caller may end its early dialog with BYE too (15.1.2).
            self._respond(event.request, event.transaction, 200)
            self._caller_left(event.request)
        else:
            super()._on_bye(event)

    def _finish(self) -> None:
        super()._finish()
        # Transactions keep the session for 32 s more; it needs none of this.
        self._invite = self._transaction = self._provisional = self._unpracked = None
        self._waiting.clear()

    def _on_timer(self, name: str) -> None:
        if name == "trying" and self.state is INCOMING:
            if self._provisional is None:
                self._effects.append(Respond(self._transaction, self._the_invite().response(100)))
        elif name == "again" and self.state is INCOMING:
            self._say_again()
        elif name == "1xx":
            self._repeat_1xx()
        elif name == "no-prack":
            self._on_no_prack()
        else:
            super()._on_timer(name)


def _refusal(cause: ReasonHeader | None) -> int:
    """The final status that says `cause`; 480 where it names none."""
    status = 0
    if cause is not None:
        status = cause.cause if cause.protocol == "SIP" else status_of_q850(cause.cause)
    return status if 300 <= status < 700 else 480
