"""Offers in a standing dialog, ours and the peer's: re-INVITE and UPDATE (RFC 3261 14, RFC 3311).

At most one exchange is open at a time; ours waits its turn, crossing ones are retried after 491.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from softswitch.sip import session_timer
from softswitch.sip.authorise import authorised_copy, is_authorised
from softswitch.sip.events import ReofferAnswered, ReofferFailed, ReofferReceived
from softswitch.sip.message import SipRequest, SipResponse
from softswitch.sip.next_hop import next_hop
from softswitch.sip.session_core import (
    ANSWERED,
    CONFIRMED,
    ENDING,
    INCOMING,
    Purpose,
    SessionCore,
    attach_sdp,
    cancel_of,
    sdp_of,
)
from softswitch.sip.session_effects import (
    AbandonInvite,
    AckWith,
    AnswerArrived,
    DialogRequestArrived,
    RejectReoffer,
    Reoffer,
    Respond,
    SendRequest,
    TransactionRef,
)

if TYPE_CHECKING:
    from softswitch.sip.dialog import Dialog
    from softswitch.sip.session_effects import HeaderLines

_GLARE_TRIES = 6
_TRYING_S = 0.2
# A re-INVITE that somebody keeps us waiting for is cancelled after so long.
_REOFFER_PATIENCE_S = 60.0


@dataclass(slots=True)
class Offering:
    """Our re-INVITE under way, or waiting to be tried again. `refresh`: only for the timer."""

    sdp: bytes | None
    refresh: bool = False
    tries: int = 1
    sent: SendRequest | None = None


@dataclass(slots=True)
class Offered:
    """The peer's re-INVITE, UPDATE or PRACK with an offer that call control has not answered yet.

    `dialog` is the early one it belongs to, None for the session's own.
    """

    request: SipRequest
    transaction: TransactionRef
    dialog: Dialog | None = None


class OfferingSession(SessionCore, eq=False):
    """The part of an INVITE session that negotiates inside its dialog."""

    called_out: bool = False
    _offering: Offering | None = None
    _retry: Offering | None = None
    _queued: Offering | None = None
    _offered: Offered | None = None
    _lingering: bool = False  # all over, but for the final response to our last re-INVITE

    def _lose_dialog(self, status: int) -> None:
        """The peer knows the dialog no more, or answers no more: the automaton ends the session."""
        raise NotImplementedError

    def _offer_over(self) -> None:
        """Our re-INVITE needs nothing more: the automaton may end a session that waited for it."""
        raise NotImplementedError

    @property
    def _negotiated(self) -> bool:
        """Whether offer and answer have been exchanged, so that either side may offer again."""
        return self.state is CONFIRMED

    # -- the peer's offers -------------------------------------------------------------------------

    def _on_reinvite(self, event: DialogRequestArrived) -> None:
        request, transaction = event.request, event.transaction
        ringing = self.state is INCOMING
        if not ringing and (self.state is not CONFIRMED or self._offering or self._unacked):
            # Offers crossed (14.2), or the ACK of the last one is still on its way.
            self._respond(request, transaction, 491)
        elif ringing or self._offered is not None:
            # The one before has no final response yet (14.2).
            seconds = round(self.terms.uniform(0, 10))
            self._respond(request, transaction, 500, [("Retry-After", str(seconds))])
        elif not self._refuse_short_timer(event):
            self._offered = Offered(request, transaction)
            self._set_timer("trying", _TRYING_S)
            self._notify(ReofferReceived(self.session, sdp_of(request), request))

    def _on_update(self, event: DialogRequestArrived, dialog: Dialog | None = None) -> None:
        """`dialog` is the early one the UPDATE came in, None for the session's own."""
        request, transaction = event.request, event.transaction
        sdp = sdp_of(request)
        if sdp is None:
            if not self._refuse_short_timer(event):
                self._accept_update(Offered(request, transaction, dialog), None)
        elif self._offering is not None:
            self._respond(request, transaction, 491)  # RFC 3311 5.2
        elif not self._negotiated or self._offered is not None or self._unacked:
            seconds = round(self.terms.uniform(0, 10))
            self._respond(request, transaction, 500, [("Retry-After", str(seconds))])
        elif not self._refuse_short_timer(event):
            self._offered = Offered(request, transaction, dialog)
            self._notify(ReofferReceived(self.session, sdp, request))

    def _refuse_short_timer(self, event: DialogRequestArrived) -> bool:
        minimum_s = session_timer.too_small(event.request, self.config)
        if minimum_s is None:
            return False
        self._respond(event.request, event.transaction, 422, [("Min-SE", str(minimum_s))])
        return True

    def _refuse_offered(self, status: int, headers: HeaderLines = ()) -> None:
        offered = self._offered
        if offered is not None:
            self._offered = None
            self._clear_timers("trying")
            self._respond(offered.request, offered.transaction, status, headers)

    # -- our answers to them ---------------------------------------------------------------------

    def _accept_reoffer(self, sdp: bytes | None) -> None:
        offered = self._offered
        if offered is None:
            return  # cancelled, or answered already: late, not wrong
        self._offered = None
        self._clear_timers("trying")
        if offered.request.method != "INVITE":
            self._accept_update(offered, sdp)
            self._next_offer()
            return
        response = self._accepting(offered, sdp)
        self._send_2xx(offered.transaction, response, offer=sdp_of(offered.request) is None)

    def _accept_update(self, offered: Offered, sdp: bytes | None) -> None:
        self._effects.append(Respond(offered.transaction, self._accepting(offered, sdp)))

    def _accepting(self, offered: Offered, sdp: bytes | None) -> SipResponse:
        """A 200 to an INVITE or UPDATE inside the dialog; its effects on the session are taken."""
        request = offered.request
        response = request.response(200)
        if sdp is not None:
            self.local_sdp = sdp
        if request.method == "PRACK":
            attach_sdp(response, sdp)
            return response
        (offered.dialog or self._the_dialog()).refresh_target(request)
        self._learn_peer(request)
        timer, lines = session_timer.granted(request, self.config, self._min_se_s)
        response.headers.take(self._capabilities() | lines)
        self._start_session_timer(timer)
        attach_sdp(response, sdp)
        return response

    def _reject_reoffer(self, event: RejectReoffer) -> None:
        self._refuse_offered(event.status, event.headers)
        self._next_offer()

    # -- our offers ------------------------------------------------------------------------------

    @property
    def _busy(self) -> bool:
        """Whether an offer/answer exchange is open either way, so that ours must wait."""
        return (
            self.state is not CONFIRMED
            or self._offering is not None
            or self._offered is not None
            or self._unacked is not None
            or self._ack_wanted is not None
        )

    def _reoffer(self, event: Reoffer) -> None:
        if self.state not in (ANSWERED, CONFIRMED) or self._closed:
            if self.state is not ENDING:
                self._forbidden(event)
            return
        if self._retry is not None:
            self._retry = None
            self._clear_timers("glare")
        offering = Offering(event.sdp)
        if self._busy:
            self._queued = offering  # the latest wish counts
        else:
            self._offer(offering)

    def _next_offer(self) -> None:
        queued = self._queued
        if queued is not None and not self._busy:
            self._queued = None
            self._offer(queued)

    def _offer(self, offering: Offering) -> None:
        dialog = self._the_dialog()
        self._offering = offering
        request = dialog.request("INVITE")
        request.headers.take(self._capabilities() | self._offered_timer())
        attach_sdp(request, offering.sdp)
        hop = next_hop(dialog, self.terms.follow_contact)
        offering.sent = SendRequest(request, hop, Purpose.REINVITE)
        self._effects.append(offering.sent)
        self._set_timer("reoffer", _REOFFER_PATIENCE_S)

    def _on_reinvite_answer(self, event: AnswerArrived) -> None:
        status = event.response.status
        if status < 200:
            return
        if status < 300:
            self._on_reinvite_accepted(event)
            return
        offering = self._offering
        if offering is None:
            return
        if self.state is not CONFIRMED:
            self._offer_over()
            return
        if self._retry_authorised(event):
            return
        self._offering = None
        self._clear_timers("reoffer", "abandon")
        if status == 491 and offering.tries < _GLARE_TRIES:
            self._wait_out_glare(offering)
        elif status == 422 and offering.tries < _GLARE_TRIES:
            self._min_se_s = max(self._min_se_s, session_timer.min_se_of(event.response))
            offering.tries += 1
            self._offer(offering)
        elif status in (408, 481):
            self._lose_dialog(status)
        else:
            if offering.refresh:
                self._still_there()
            else:
                self._notify(ReofferFailed(self.session, status))
            self._next_offer()

    def _on_reinvite_accepted(self, event: AnswerArrived) -> None:
        if self._ack_again(event):
            return
        dialog = self._the_dialog()
        offering = self._offering
        if self.state is not CONFIRMED or offering is None:
            self._ack(dialog, event.request, None)
            self._offer_over()
            return
        self._offering = None
        self._clear_timers("reoffer", "abandon")
        dialog.refresh_target(event.response)
        self._start_session_timer(session_timer.agreed(event.response, self.config))
        answer = sdp_of(event.response)
        if offering.sdp is not None or answer is None:
            self.local_sdp = offering.sdp or self.local_sdp
            self._ack(dialog, event.request, None)
        elif self._ack_wanted is None:
            self._ack_wanted = dialog, event.request
        if not offering.refresh:
            self._notify(ReofferAnswered(self.session, answer))
        self._next_offer()

    def _ack_with(self, event: AckWith) -> None:
        wanted = self._ack_wanted
        if wanted is None:
            self._forbidden(event)
            return
        self._ack_wanted = None
        self.local_sdp = event.sdp
        self._ack(*wanted, event.sdp)
        self._next_offer()

    def _wait_out_glare(self, offering: Offering) -> None:
        # 14.1: whoever made the Call-ID waits 2.1 to 4 s, the other at most 2 s, in 10 ms steps.
        low_s, high_s = (2.1, 4.0) if self.called_out else (0.0, 2.0)
        offering.tries += 1
        self._retry = offering
        self._set_timer("glare", round(self.terms.uniform(low_s, high_s), 2))

    def _retry_after_glare(self) -> None:
        offering, self._retry = self._retry, None
        if offering is None:
            return
        if self._busy:
            self._queued = self._queued or offering
        else:
            self._offer(offering)

    def _cancel_offer(self) -> None:
        """The peer said 100 to our re-INVITE and nothing since."""
        offering = self._offering
        if offering is None or offering.sent is None:
            return
        cancel = cancel_of(offering.sent.request, None)
        self._effects.append(SendRequest(cancel, offering.sent.flow, Purpose.CANCEL))
        self._set_timer("abandon", 64 * self.config.t1_s)

    def _abandon_offer(self) -> None:
        """Forget a re-INVITE without final response: its transaction would wait for ever."""
        offering, self._offering = self._offering, None
        if offering is None or offering.sent is None:
            return
        self._effects.append(AbandonInvite(offering.sent.request))
        if self.state is not CONFIRMED:
            self._offer_over()
            return
        if not offering.refresh:
            self._notify(ReofferFailed(self.session, 408))
        self._next_offer()

    def _dialog_of(self, request: SipRequest) -> Dialog | None:
        """The dialog that a request of ours was sent in."""
        return self.dialog

    def _retry_authorised(self, event: AnswerArrived) -> bool:
        """Answer a challenge to a request inside the dialog, if this peer may have credentials: two
        times a request, the second where the nonce had become stale."""
        if event.response.status not in (401, 407):
            return False
        if not is_authorised(event.request):
            self._credential_tries = 0
        if self._credential_tries >= 2:
            return False
        dialog = self._dialog_of(event.request)
        if dialog is None or self.terms.credentials is None:
            return False
        retry = authorised_copy(
            event.request, event.response, self.terms.credentials, self.terms.token
        )
        if retry is None:
            return False
        self._credential_tries += 1
        dialog.local_cseq += 1
        retry.headers.set("CSeq", f"{dialog.local_cseq} {retry.method}")
        effect = SendRequest(retry, next_hop(dialog, self.terms.follow_contact), event.purpose)
        if event.purpose is Purpose.REINVITE and self._offering is not None:
            self._offering.sent = effect
        self._effects.append(effect)
        return True
