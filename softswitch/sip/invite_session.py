"""One INVITE usage once its dialog stands: offers both ways, BYE both ways, session timers.

RFC 3261 sections 12.2, 14 and 15, RFC 3311 (UPDATE), RFC 4028. How the dialog comes to stand is in
`invite_outgoing` and `invite_incoming`, which build on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from softswitch.sip import session_timer
from softswitch.sip.effects import TimerFired
from softswitch.sip.events import (
    Ended,
    EndedBy,
    InfoReceived,
    ReofferAnswered,
)
from softswitch.sip.invite_offers import Offering, OfferingSession
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.session_core import (
    ANSWERED,
    CONFIRMED,
    ENDED,
    ENDING,
    Purpose,
    sdp_of,
)
from softswitch.sip.session_effects import (
    CLEAR_ALL_TIMERS,
    Accept,
    AcceptReoffer,
    AckArrived,
    AckWith,
    AnswerArrived,
    CancelArrived,
    DialogRequestArrived,
    HandleDone,
    HangUp,
    InviteArrived,
    PassUp,
    Progress,
    Reject,
    RejectReoffer,
    Reoffer,
    RequestLost,
    SendInDialog,
    ServerLost,
    SessionEffect,
    SessionInput,
    StartCall,
    Tell,
)

if TYPE_CHECKING:
    from softswitch.sip.message import SipRequest
    from softswitch.sip.session_effects import HeaderLines


class InviteSession(OfferingSession, eq=False):
    """The machine; `handle` takes inputs and commands of `session_effects` and returns effects."""

    _reactions: ClassVar[Mapping[type, str]] = {
        AnswerArrived: "_on_answer",
        DialogRequestArrived: "_on_request",
        AckArrived: "_on_ack",
        HangUp: "_hang_up",
        TimerFired: "_on_timer_fired",
        RequestLost: "_on_lost",
        CancelArrived: "_on_cancel",
        Reoffer: "_reoffer",
        AcceptReoffer: "_on_accept_reoffer",
        RejectReoffer: "_reject_reoffer",
        AckWith: "_ack_with",
        Tell: "_on_tell",
        SendInDialog: "_send_in_dialog",
        ServerLost: "_on_server_lost",
        InviteArrived: "_forbidden",
        StartCall: "_forbidden",
        Progress: "_forbidden",
        Accept: "_forbidden",
        Reject: "_forbidden",
    }
    """The method that takes each input and command: one look-up, whatever there is to choose from."""

    def handle(self, event: SessionInput, now_s: float) -> list[SessionEffect]:
        """One input or command, the effects it asks for.

        Raises LocalProtocolError for a command that the state forbids; commands after the end do
        nothing.
        """
        effects = self._effects
        try:
            getattr(self, self._reactions[type(event)])(event)
        finally:
            self._effects = []
        return effects

    def _on_timer_fired(self, event: TimerFired) -> None:
        self._on_timer(event.name)

    def _on_accept_reoffer(self, event: AcceptReoffer) -> None:
        self._accept_reoffer(event.sdp)

    def _on_tell(self, event: Tell) -> None:
        self._telling = event.headers
        self._tell()

    # -- the peer's requests -----------------------------------------------------------------------

    def _on_request(self, event: DialogRequestArrived) -> None:
        request = event.request
        dialog = self.dialog
        if dialog is None or self.state is ENDED:
            self._respond(request, event.transaction, 481)
            return
        if not dialog.accepts(request):
            self._respond(request, event.transaction, 500)  # out of order, RFC 3261 12.2.2
            return
        dialog.flow = event.flow
        method = request.method
        if method == "BYE":
            self._on_bye(event)
        elif self._closed:
            self._respond(request, event.transaction, 481)
        elif method == "INVITE":
            self._on_reinvite(event)
        elif method == "UPDATE":
            self._on_update(event)
        elif method == "INFO":
            self._respond(request, event.transaction, 200)
            self._notify(InfoReceived(self.session, request.content_type or "", request.body))
        elif method == "PRACK":
            self._on_prack(event)
        else:
            self._effects.append(PassUp(request, event.transaction))

    def _on_bye(self, event: DialogRequestArrived) -> None:
        self._respond(event.request, event.transaction, 200)
        self._refuse_offered(487)
        cause = ReasonHeader.of(event.request, "Q.850")
        self._close(Ended(self.session, "remote", cause))
        self._finish()

    def _on_prack(self, event: DialogRequestArrived) -> None:
        # Nothing that we sent reliably is open (RFC 3262 3).
        self._respond(event.request, event.transaction, 481)

    def _on_ack(self, event: AckArrived) -> None:
        request = event.request
        unacked = self._acknowledged(request)
        if unacked is None:
            return
        if unacked.carried_offer:
            self._notify(ReofferAnswered(self.session, sdp_of(request)))
        self._next_offer()

    def _on_cancel(self, event: CancelArrived) -> None:
        offered = self._offered
        if offered is not None and offered.transaction is event.transaction:
            self._refuse_offered(487)
            self._next_offer()

    def _on_server_lost(self, event: ServerLost) -> None:
        if self._offered is not None and self._offered.transaction is event.transaction:
            self._offered = None
            self._next_offer()

    # -- our other requests ------------------------------------------------------------------------

    def _send_in_dialog(self, event: SendInDialog) -> None:
        dialog = self.dialog
        if dialog is None or self._closed:
            self._forbidden(event)
            if event.handle is not None:
                self._effects.append(HandleDone(event.handle, None, 481))
            return
        request = dialog.request(event.method)
        request.headers.add("Contact", self.terms.contact)
        for name, value in event.headers:
            request.headers.set(name, value)
        if event.content_type is not None:
            request.headers.set("Content-Type", event.content_type)
        request.body = event.body
        purpose: object = Purpose.INFO if event.handle is None else event.handle
        self._send(request, dialog, purpose)

    def _on_answer(self, event: AnswerArrived) -> None:
        purpose, status = event.purpose, event.response.status
        if purpose is Purpose.REINVITE:
            self._on_reinvite_answer(event)
        elif status < 200:
            return
        elif purpose is Purpose.PRACK:
            self._retry_authorised(event)  # else the INVITE goes on as it would
        elif isinstance(purpose, int):
            if not self._retry_authorised(event):
                self._effects.append(HandleDone(purpose, event.response, status))
        elif purpose is Purpose.BYE:
            if not self._retry_authorised(event) and self._was_farewell(event.request):
                self._finish()
        elif purpose is Purpose.REFRESH:
            self._on_refresh_answer(event)
        elif purpose is Purpose.INFO and self.state is CONFIRMED:
            again = self._retry_authorised(event)
            if not again and status == 481:
                self._lose_dialog(481)

    def _on_lost(self, event: RequestLost) -> None:
        purpose = event.purpose
        if isinstance(purpose, int):
            self._effects.append(HandleDone(purpose, None, event.status))
        elif purpose is Purpose.BYE:
            if self._was_farewell(event.request):
                self._finish()
        elif purpose is Purpose.REINVITE and self.state is ENDING:
            self._offer_over()
        elif purpose in (Purpose.REINVITE, Purpose.REFRESH) and self.state is CONFIRMED:
            self._lose_dialog(event.status)

    # -- the end -----------------------------------------------------------------------------------

    def _was_farewell(self, bye: SipRequest) -> bool:
        """Whether this BYE was for the session's own dialog, and not for a fork that answered too late."""
        same = self.dialog is not None and (bye.to.tag or "") == self.dialog.remote_tag
        return same and self.state is ENDING

    def _finish(self) -> None:
        if self._offering is None:
            super()._finish()
            self._offered = None
        elif not self._lingering:
            # The final response to our re-INVITE is still owed, and its ACK then (15.1.2, 13.2.2.4).
            self._lingering = True
            self.state = ENDING
            self._offered = self._unacked = None
            self._effects.append(CLEAR_ALL_TIMERS)
            self._set_timer("abandon", 64 * self.config.t1_s)

    def _offer_over(self) -> None:
        """The last of our re-INVITEs has its end: so has a session that waited for nothing else."""
        self._offering = None
        self._clear_timers("reoffer", "abandon")
        if self._lingering and self.state is ENDING:
            self._finish()

    def _hang_up(self, event: HangUp) -> None:
        if self.state is CONFIRMED:
            self._close(Ended(self.session, "local", event.cause))
            self._bye(event.cause)

    def _bye(self, cause: ReasonHeader | None) -> None:
        dialog = self._the_dialog()
        if self._ack_wanted is not None:
            # The offer of a 2xx will not be answered any more, but its ACK is owed.
            wanted, self._ack_wanted = self._ack_wanted, None
            self._ack(*wanted, None)
        self._refuse_offered(487)
        self._unacked = None
        self._effects.append(CLEAR_ALL_TIMERS)
        self.state = ENDING
        request = dialog.request("BYE")
        if cause is not None:
            request.headers.add("Reason", str(cause))
        self._send(request, dialog, Purpose.BYE)

    def _end(self, by: EndedBy, cause: ReasonHeader) -> None:
        """End from inside: a timer ran out or the peer has forgotten the dialog."""
        self._close(Ended(self.session, by, cause))
        self._bye(cause)

    def _lose_dialog(self, status: int) -> None:
        """The peer knows no such dialog, or answers no more (12.2.1.2)."""
        by: EndedBy = "remote" if status == 481 else "timer"
        self._end(by, ReasonHeader("SIP", status))

    # -- timers ------------------------------------------------------------------------------------

    def _on_timer(self, name: str) -> None:
        if name == "2xx":
            self._repeat_2xx()
        elif name == "no-ack":
            self._on_no_ack()
        elif name == "glare":
            self._retry_after_glare()
        elif name == "reoffer":
            self._cancel_offer()
        elif name == "abandon":
            self._abandon_offer()
        elif name == "trying":
            if self._offered is not None:
                self._respond(self._offered.request, self._offered.transaction, 100)
        elif name == "refresh":
            self._refresh()
        elif name == "expire" and self.state is CONFIRMED:
            self._end("timer", ReasonHeader("Q.850", 102, "Session expired"))

    def _on_no_ack(self) -> None:
        if self._unacked is not None and self.state in (ANSWERED, CONFIRMED):
            self._unacked = None
            self._end("timer", ReasonHeader("Q.850", 102, "No ACK"))

    def _refresh(self) -> None:
        timer = self._session_timer
        if timer is None or self.state is not CONFIRMED:
            return
        if not self._expiring:
            self._expiring = True
            self._set_timer("expire", timer.expires_after_s - timer.refresh_after_s)
        # Should this one fail, there is time for another before the session expires.
        self._set_timer("refresh", max(timer.interval_s / 4, 1.0))
        if self._busy or self._retry is not None or self._refreshing:
            return
        if not self.peer_takes_update:
            self._offer(Offering(self.local_sdp, refresh=True))
            return
        self._update()

    def _tell(self) -> None:
        """What is to be told, as soon as the dialog stands and no UPDATE is on its way."""
        if self._telling is None or self.state is not CONFIRMED or self._refreshing:
            return
        if self.peer_takes_update and not self._closed:
            self._update(self._telling)
        self._telling = None

    def _update(self, headers: HeaderLines = ()) -> None:
        """UPDATE without an offer (RFC 3311 5.1): it refreshes, whatever else it says."""
        dialog = self._the_dialog()
        request = dialog.request("UPDATE")
        request.headers.take(self._capabilities() | self._offered_timer())
        request.headers.extend(headers)
        self._refreshing = True
        self._send(request, dialog, Purpose.REFRESH)

    def _on_refresh_answer(self, event: AnswerArrived) -> None:
        status = event.response.status
        if self.state is not CONFIRMED or self._retry_authorised(event):
            return
        self._refreshing = False
        timer = self._session_timer
        ours = timer is not None and timer.we_refresh
        if status < 300:
            self._the_dialog().refresh_target(event.response)
            self._start_session_timer(session_timer.agreed(event.response, self.config))
        elif (
            status == 422 and (wanted_s := session_timer.min_se_of(event.response)) > self._min_se_s
        ):
            self._min_se_s = wanted_s
            if ours:
                self._set_timer("refresh", 1.0)
        elif status in (408, 481):
            self._lose_dialog(status)
        elif status in (405, 501):
            self.peer_takes_update = False
            if ours:
                self._set_timer("refresh", 1.0)
        else:
            self._still_there()
        self._tell()
