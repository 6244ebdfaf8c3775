"""An INVITE of ours until its dialog stands: forks, challenges, CANCEL (RFC 3261 9.1, 13.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from msgspec import Struct, field

from softswitch.sip import session_timer
from softswitch.sip.authorise import authorised_copy
from softswitch.sip.dialog import Dialog
from softswitch.sip.events import Answered, Ended, Failed, Progressed, SipEvent
from softswitch.sip.invite_session import InviteSession
from softswitch.sip.message import SipRequest
from softswitch.sip.reliable import rseq_of
from softswitch.sip.session_core import (
    CALLING,
    CANCELLING,
    CONFIRMED,
    ENDED,
    ENDING,
    IDLE,
    PROCEEDING,
    Purpose,
    SessionTerms,
    attach_sdp,
    cancel_of,
    sdp_of,
)
from softswitch.sip.session_effects import (
    AbandonInvite,
    AnswerArrived,
    CloseDialog,
    DialogRequestArrived,
    HangUp,
    OpenDialog,
    PassUp,
    RequestLost,
    SendRequest,
    StartCall,
)
from softswitch.sip.status import reason_of

if TYPE_CHECKING:
    from softswitch.sip.reason import ReasonHeader
    from softswitch.sip.session_effects import HeaderLines

_RETRIES = 2
_FOR_ACK = ("Authorization", "Proxy-Authorization")


class Fork(Struct):
    """One early dialog: the last reliable response acknowledged in it, and the answer that one of
    them brought (RFC 3262)."""

    dialog: Dialog
    rseq: int | None = None
    sdp: bytes | None = None


class OutgoingCall(Struct):
    """What the INVITE is made of; `from_value` carries our tag. Header values, ready to write."""

    target: str
    from_value: str
    to_value: str
    call_id: str
    routes: list[str]
    headers: HeaderLines
    sdp: bytes | None

    def forget_content(self) -> None:
        """It will not be sent again."""
        self.headers, self.sdp, self.routes = (), None, []


_NO_CALL: Final[Any] = None


class OutgoingInviteSession(InviteSession, eq=False):
    """Calls one target; forked answers beyond the first are acknowledged and hung up."""

    _reactions: ClassVar[Mapping[type, str]] = {**InviteSession._reactions, StartCall: "_start"}

    _call: OutgoingCall = _NO_CALL
    _invite: SipRequest | None = None
    _cseq: int = 1
    _retries: int = 0
    _heard: bool = False
    _cancel_cause: ReasonHeader | None = None
    _cancel_sent: bool = False
    _forks: dict[str, Fork] = field(default_factory=dict)
    # Of forks that lost, each with numbers of its own (12.2.1.1): their 2xx may still come.
    _late: dict[str, Dialog] = field(default_factory=dict)

    @classmethod
    def of(cls, terms: SessionTerms, call: OutgoingCall) -> OutgoingInviteSession:
        return cls(
            terms, terms.session, terms.config, local_sdp=call.sdp, called_out=True, _call=call
        )

    # -- sending -----------------------------------------------------------------------------------

    def _start(self, event: StartCall) -> None:
        if self.state is not IDLE:
            self._forbidden(event)
            return
        self.state = CALLING
        self._set_timer("answer", event.timeout_s)
        if event.silence_s is not None:
            self._set_timer("silence", event.silence_s)
        self._send_invite(self._fresh_invite())

    def _fresh_invite(self) -> SipRequest:
        call = self._call
        request = SipRequest.fresh(
            "INVITE", call.target, call.from_value, call.to_value, call.call_id, self._cseq
        )
        headers = request.headers
        for route in reversed(call.routes):
            headers.prepend("Route", route)
        # Without an offer in the INVITE a reliable response would bring one: none is asked for.
        headers.take(self._capabilities(reliable=call.sdp is not None) | self._offered_timer())
        headers.add("User-Agent", self.config.user_agent)
        for name, value in call.headers:
            if name == "Max-Forwards":
                headers.set(name, value)
            else:
                headers.add(name, value)
        attach_sdp(request, call.sdp)
        return request

    def _send_invite(self, request: SipRequest) -> None:
        self._invite = request
        self._effects.append(SendRequest(request, self.terms.flow, Purpose.INVITE))

    def _retry_invite(self, request: SipRequest) -> None:
        self._retries += 1
        self._cseq += 1
        request.headers.set("CSeq", f"{self._cseq} INVITE")
        self.state = CALLING
        self._drop_forks()
        self._send_invite(request)

    # -- responses to the INVITE -------------------------------------------------------------------

    def _on_answer(self, event: AnswerArrived) -> None:
        if event.purpose is not Purpose.INVITE:
            super()._on_answer(event)
            return
        self._hear()
        status = event.response.status
        if status < 200:
            self._on_provisional(event)
        elif status < 300:
            self._on_accepted(event)
        elif event.request is self._invite:
            self._on_refused(event)

    def _hear(self) -> None:
        if not self._heard:
            self._heard = True
            self._clear_timers("silence")

    def _on_provisional(self, event: AnswerArrived) -> None:
        if self.state is CANCELLING:
            self._cancel()
            return
        if self.state not in (CALLING, PROCEEDING):
            return
        self.state = PROCEEDING
        response = event.response
        if response.status == 100:
            return
        tag = (response.headers.parsed.get("To") or response.to).tag or ""
        fork = self._fork_of(event, tag)
        if tag and fork is None:
            return  # more forks than we follow
        rseq = rseq_of(response)
        if rseq is not None and fork is not None and not self._acknowledge(fork, event, rseq):
            return
        self._notify(Progressed(self.session, response.status, sdp_of(response), response))

    def _fork_of(self, event: AnswerArrived, tag: str) -> Fork | None:
        """The early dialog of this response, new or known; None beyond the limit or without a tag."""
        if not tag:
            return None
        fork = self._forks.get(tag)
        if fork is None and len(self._forks) < self.config.max_forks:
            fork = Fork(Dialog.of_client(event.request, event.response, self.terms.flow))
            self._forks[tag] = fork
            self._effects.append(OpenDialog(fork.dialog.id))
        return fork

    def _acknowledge(self, fork: Fork, event: AnswerArrived, rseq: int) -> bool:
        """PRACK a reliable response; False for a copy, or one that came before its turn (RFC 3262 4)."""
        if fork.rseq is not None and rseq != fork.rseq + 1:
            return False
        fork.rseq = rseq
        fork.sdp = fork.sdp or sdp_of(event.response)
        prack = fork.dialog.request("PRACK")
        prack.headers.add("RAck", f"{rseq} {event.request.cseq.number} INVITE")
        self._send(prack, fork.dialog, Purpose.PRACK)
        return True

    def _dialog_of(self, request: SipRequest) -> Dialog | None:
        tag = request.to.tag or ""
        if self.dialog is not None and self.dialog.remote_tag == tag:
            return self.dialog
        fork = self._forks.get(tag)
        return fork.dialog if fork is not None else self._late.get(tag)

    def _on_accepted(self, event: AnswerArrived) -> None:
        if self._ack_again(event) or self._ack_is_wanted(event):
            return
        if self.state in (CALLING, PROCEEDING):
            self._confirm(event)
        else:
            self._hang_up_late(event)

    def _ack_is_wanted(self, event: AnswerArrived) -> bool:
        """A repeated 2xx while call control still thinks about its answer to the offer in it."""
        wanted = self._ack_wanted
        return wanted is not None and wanted[0].remote_tag == (event.response.to.tag or "")

    def _confirm(self, event: AnswerArrived) -> None:
        response = event.response
        tag = (response.headers.parsed.get("To") or response.to).tag or ""
        fork = self._forks.pop(tag, None)
        if fork is None:
            fork = Fork(Dialog.of_client(event.request, response, self.terms.flow))
            self._effects.append(OpenDialog(fork.dialog.id))
        dialog = fork.dialog
        dialog.confirm(response)
        self.dialog = dialog
        self._keep_late()
        self._clear_timers("answer")  # that of silence went with the first response
        self.state = CONFIRMED
        self._learn_peer(response)
        self._start_session_timer(session_timer.agreed(response, self.config))
        # The answer may have come reliably before; then the 2xx need not repeat it (RFC 3262 5).
        sdp = sdp_of(response) or fork.sdp
        if self._call.sdp is None and sdp is not None:
            self._ack_wanted = dialog, event.request
        else:
            self._ack(dialog, event.request, None)
        self._notify(Answered(self.session, sdp, response))

    def _hang_up_late(self, event: AnswerArrived) -> None:
        """A 2xx that nobody wants any more: after CANCEL, or from another fork (13.2.2.4)."""
        self._keep_late()
        tag = event.response.to.tag or ""
        dialog = self._late.get(tag)
        if dialog is None:
            dialog = Dialog.of_client(event.request, event.response, self.terms.flow)
            self._forget_late()
            self._late[tag] = dialog
        dialog.confirm(event.response)
        self._ack(dialog, event.request, None)
        bye = dialog.request("BYE")
        if self._cancel_cause is not None:
            bye.headers.add("Reason", str(self._cancel_cause))
        self._send(bye, dialog, Purpose.BYE)
        if self.state is CANCELLING:
            self.dialog = dialog
            self._effects.append(OpenDialog(dialog.id))
            self._clear_timers("abandon")
            self.state = ENDING

    def _on_refused(self, event: AnswerArrived) -> None:
        response = event.response
        if self.state is CANCELLING:
            self._finish()
            return
        if self.state not in (CALLING, PROCEEDING):
            return
        retry = self._second_try(event)
        if retry is not None:
            self._retry_invite(retry)
            return
        self._close(Failed(self.session, response.status, response.reason, response))
        self._finish()

    def _second_try(self, event: AnswerArrived) -> SipRequest | None:
        response = event.response
        if self._retries >= _RETRIES:
            return None
        if response.status in (401, 407) and self.terms.credentials is not None:
            return authorised_copy(
                event.request, response, self.terms.credentials, self.terms.token
            )
        if response.status == 422 and self.config.session_timers:
            self._min_se_s = max(self._min_se_s, session_timer.min_se_of(response))
            return self._fresh_invite()
        return None

    def _on_lost(self, event: RequestLost) -> None:
        if event.purpose is not Purpose.INVITE:
            super()._on_lost(event)
        elif self.state in (CALLING, PROCEEDING, CANCELLING):
            self._close(Failed(self.session, event.status, reason_of(event.status), None))
            self._finish()

    # -- giving up ---------------------------------------------------------------------------------

    def _hang_up(self, event: HangUp) -> None:
        if self.state in (CALLING, PROCEEDING):
            self._give_up(Ended(self.session, "local", event.cause), event.cause)
        else:
            super()._hang_up(event)

    def _give_up(self, event: SipEvent, cause: ReasonHeader | None) -> None:
        self._close(event)
        self._cancel_cause = cause
        self._clear_timers("answer", "silence")
        before, self.state = self.state, CANCELLING
        self._set_timer("abandon", 64 * self.config.t1_s)
        if before is PROCEEDING:
            self._cancel()
        # In CALLING the CANCEL must wait for a provisional response (9.1); timer B ends it else.

    def _cancel(self) -> None:
        """Send the one CANCEL, whose Via is that of the INVITE."""
        invite = self._invite
        if invite is None or self._cancel_sent:
            return
        self._cancel_sent = True
        cancel = cancel_of(invite, self._cancel_cause)
        self._effects.append(SendRequest(cancel, self.terms.flow, Purpose.CANCEL))
        self._set_timer("abandon", 64 * self.config.t1_s)

    def _on_timer(self, name: str) -> None:
        early = self.state in (CALLING, PROCEEDING)
        if name in ("answer", "silence") and early:
            self._give_up(Failed(self.session, 408, reason_of(408), None), None)
        elif name == "abandon" and self.state is CANCELLING:
            # The CANCEL was not heeded for 64*T1: consider the INVITE cancelled (9.1).
            if self._invite is not None:
                self._effects.append(AbandonInvite(self._invite))
            self._finish()
        else:
            super()._on_timer(name)

    # -- early dialogs -----------------------------------------------------------------------------

    def _on_request(self, event: DialogRequestArrived) -> None:
        if self.dialog is not None:
            super()._on_request(event)
            return
        request = event.request
        fork = self._forks.get(request.from_.tag or "")
        if fork is None or self._closed:
            self._respond(request, event.transaction, 481)
        elif not fork.dialog.accepts(request):
            self._respond(request, event.transaction, 500)
        elif request.method in ("BYE", "PRACK"):
            self._respond(request, event.transaction, 481)  # not a callee's to say here (15)
        elif request.method == "INVITE":
            self._respond(request, event.transaction, 491)  # ours is in progress (14.2)
        elif request.method == "UPDATE":
            if sdp_of(request) is None:
                fork.dialog.refresh_target(request)
                response_headers = [("Contact", self.terms.contact)]
                self._respond(request, event.transaction, 200, response_headers)
            elif fork.sdp is None or len(self._forks) > 1:
                # Our offer is open until a 2xx or a reliable provisional answers it (RFC 3311); and
                # one stream cannot follow what several phones want.
                self._respond(request, event.transaction, 491)
            else:
                self._on_update(event, fork.dialog)
        else:
            self._effects.append(PassUp(request, event.transaction))

    @property
    def call_id(self) -> str:
        return self._call.call_id

    @property
    def early_dialog(self) -> Dialog | None:
        forks = list(self._forks.values())
        return forks[0].dialog if len(forks) == 1 else None

    @property
    def _negotiated(self) -> bool:
        if self.state is CONFIRMED:
            return True
        return self.state is PROCEEDING and any(f.sdp for f in self._forks.values())

    def _keep_late(self) -> None:
        """The forks are over, but a 2xx of one may still come: its BYE counts on from its PRACKs."""
        for tag, fork in self._forks.items():
            self._late[tag] = fork.dialog
        self._drop_forks()

    def _forget_late(self) -> None:
        """Of more than we follow, the one whose BYE has been on its way the longest."""
        if len(self._late) >= 2 * self.config.max_forks:
            del self._late[next(tag for tag, dialog in self._late.items() if dialog.confirmed)]

    def _drop_forks(self) -> None:
        for fork in self._forks.values():
            self._effects.append(CloseDialog(fork.dialog.id))
        self._forks.clear()

    def _finish(self) -> None:
        self._drop_forks()
        super()._finish()
        if self.state is ENDED and self._invite is not None and self.dialog is not None:
            # Its transaction keeps the session for 32 s, for a 2xx of a fork that comes late (13.2.2.4):
            # what is left is what ACK and BYE to that one are made of.
            self._invite.keep_ids(_FOR_ACK)
            self._invite = None
            self._call.forget_content()
