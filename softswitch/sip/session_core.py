"""What every INVITE session has: its terms, its state, and the building blocks of its effects."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from softswitch.errors import LocalProtocolError, RemoteProtocolError
from softswitch.sip import multipart, session_timer
from softswitch.sip.effects import ClearTimer, SetTimer
from softswitch.sip.events import SipEvent
from softswitch.sip.message import SipRequest
from softswitch.sip.next_hop import next_hop
from softswitch.sip.session_effects import (
    FINISH,
    AnswerArrived,
    CloseDialog,
    Notify,
    Respond,
    SendAck,
    SendRequest,
    SessionEffect,
    TransactionRef,
)
from softswitch.sip.uri import CSeq

if TYPE_CHECKING:
    from softswitch.sip.credentials import Credentials
    from softswitch.sip.dialog import Dialog
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipMessage, SipResponse
    from softswitch.sip.reason import ReasonHeader
    from softswitch.sip.session_effects import HeaderLines
    from softswitch.sip.session_timer import SessionTimer
    from softswitch.sip.stack_config import StackConfig

SDP_TYPE = "application/sdp"
_OF_SDP: Final = {"Content-Type": SDP_TYPE}
_ACKS_KEPT = 16


class State(Enum):
    """Where a session is. ANSWERED: our 2xx waits for its ACK; ENDING: our BYE for its answer."""

    IDLE = auto()
    CALLING = auto()
    PROCEEDING = auto()
    CANCELLING = auto()
    INCOMING = auto()
    ANSWERED = auto()
    CONFIRMED = auto()
    ENDING = auto()
    ENDED = auto()


# Asked for several times a message: a member of an Enum is looked up in its class each time.
IDLE: Final = State.IDLE
CALLING: Final = State.CALLING
PROCEEDING: Final = State.PROCEEDING
CANCELLING: Final = State.CANCELLING
INCOMING: Final = State.INCOMING
ANSWERED: Final = State.ANSWERED
CONFIRMED: Final = State.CONFIRMED
ENDING: Final = State.ENDING
ENDED: Final = State.ENDED


class Purpose(Enum):
    """What a request of a session was sent for; a handle (int) stands for the caller's own."""

    INVITE = auto()
    REINVITE = auto()
    REFRESH = auto()
    BYE = auto()
    CANCEL = auto()
    INFO = auto()
    PRACK = auto()


class SessionTerms(Struct):
    """What a session is told at birth.

    `contact` is our Contact header value; `token` gives fresh random text, `uniform(a, b)` a random
    number between its arguments (both injected).
    """

    session: int
    config: StackConfig
    flow: Flow
    contact: str
    token: Callable[[], str]
    uniform: Callable[[float, float], float]
    permitted_hosts: frozenset[str] = frozenset()
    follow_contact: bool = False
    credentials: Credentials | None = None
    identity: object = None


class Unacked(Struct):
    """A 2xx of ours that waits for its ACK (13.3.1.4)."""

    transaction: TransactionRef
    response: SipResponse
    cseq: int
    interval_s: float
    carried_offer: bool
    repeated: bool = False


class SessionCore(Struct, eq=False):
    """State and building blocks; the automaton itself is in `InviteSession` and its two kinds."""

    terms: SessionTerms
    session: int  # its number in events
    config: StackConfig
    state: State = IDLE
    dialog: Dialog | None = None
    local_sdp: bytes | None = None
    peer_takes_update: bool = False
    _effects: list[SessionEffect] = field(default_factory=list)
    _closed: bool = False
    _unacked: Unacked | None = None
    _ack_wanted: tuple[Dialog, SipRequest] | None = None
    _acks: dict[tuple[str, int], SendAck] = field(default_factory=dict)
    _bye_wanted: bool = False
    _bye_cause: ReasonHeader | None = None
    _credential_tries: int = 0
    _session_timer: SessionTimer | None = None
    _expiring: bool = False  # the timer "expire" runs
    _min_se_s: int = 0
    _refreshing: bool = False  # an UPDATE without an offer waits for its answer
    _telling: HeaderLines | None = None  # what the peer is to be told by the next

    __hash__ = object.__hash__

    @property
    def session_timer(self) -> SessionTimer | None:
        """What was agreed about refreshing, None when the session never expires."""
        return self._session_timer

    @property
    def call_id(self) -> str:
        """The Call-ID of the session's messages, "" before there is one."""
        return self.dialog.call_id if self.dialog is not None else ""

    @property
    def early_dialog(self) -> Dialog | None:
        """The one early dialog of a call of ours that rings; None where there are several."""
        return None

    def _forbidden(self, command: object) -> None:
        # After the end a command is late, not wrong: its last event may still be in the queue.
        if self.state is not ENDED and not self._closed:
            raise LocalProtocolError(f"{type(command).__name__} in state {self.state.name}")

    # -- effects -----------------------------------------------------------------------------------

    def _notify(self, event: SipEvent) -> None:
        if not self._closed:
            self._effects.append(Notify(event))

    def _close(self, event: SipEvent) -> None:
        """Report the one closing event; nothing is reported after it."""
        self._notify(event)
        self._closed = True

    def _set_timer(self, name: str, after_s: float) -> None:
        self._effects.append(SetTimer(name, after_s))

    def _clear_timers(self, *names: str) -> None:
        for name in names:
            self._effects.append(ClearTimer(name))

    def _finish(self) -> None:
        self.state = ENDED
        self._unacked = self.local_sdp = None
        if self.dialog is not None:
            self._effects.append(CloseDialog(self.dialog.id))
        self._effects.append(FINISH)

    def _respond(
        self,
        request: SipRequest,
        transaction: TransactionRef,
        status: int,
        headers: HeaderLines = (),
    ) -> None:
        response = request.response(status)
        if headers:
            response.headers.extend(headers)
        self._effects.append(Respond(transaction, response))

    def _the_dialog(self) -> Dialog:
        dialog = self.dialog
        if dialog is None:
            raise LocalProtocolError(f"no dialog in state {self.state.name}")
        return dialog

    def _send(self, request: SipRequest, dialog: Dialog, purpose: object) -> None:
        self._effects.append(
            SendRequest(request, next_hop(dialog, self.terms.follow_contact), purpose)
        )

    def _capabilities(self, *, reliable: bool = False) -> dict[str, str]:
        """Where we are reached and what we can do."""
        supported = self.config.supported_value
        return {
            "Contact": self.terms.contact,
            "Allow": self.config.allow_value,
            "Supported": f"{supported}, 100rel" if reliable else supported,
        }

    def _offered_timer(self) -> dict[str, str]:
        """Our offer of a session timer."""
        return session_timer.offered(self.config, self._session_timer, self._min_se_s)

    # -- ACKs we send ------------------------------------------------------------------------------

    def _ack(self, dialog: Dialog, invite: SipRequest, sdp: bytes | None) -> None:
        """ACK a 2xx. The same ACK will answer its retransmissions (13.2.2.4)."""
        number = CSeq.parse(invite.headers.first["CSeq"]).number
        ack = dialog.request("ACK", number)
        for name in ("Authorization", "Proxy-Authorization"):
            if name in invite.headers.first:
                ack.headers.extend((name, value) for value in invite.headers.get_all(name))
        attach_sdp(ack, sdp)
        effect = SendAck(ack, next_hop(dialog, self.terms.follow_contact))
        self._acks[dialog.remote_tag, number] = effect
        if len(self._acks) > _ACKS_KEPT:
            del self._acks[next(iter(self._acks))]
        self._effects.append(effect)

    def _ack_again(self, event: AnswerArrived) -> bool:
        """Repeat the ACK if this 2xx was acknowledged before."""
        request, response = event.request.headers, event.response
        to = response.headers.parsed.get("To") or response.to
        key = to.tag or "", CSeq.parse(request.first["CSeq"]).number
        effect = self._acks.get(key)
        if effect is not None:
            self._effects.append(effect)
        return effect is not None

    # -- 2xx we send -------------------------------------------------------------------------------

    def _send_2xx(self, transaction: TransactionRef, response: SipResponse, offer: bool) -> None:
        """Send a 2xx to an INVITE, to be repeated until its ACK or for 64*T1.

        `offer`: its SDP is an offer, so the ACK will bring the answer.
        """
        interval_s = self.config.t1_s
        number = CSeq.parse(response.headers.first["CSeq"]).number
        self._unacked = Unacked(transaction, response, number, interval_s, carried_offer=offer)
        self._effects.append(Respond(transaction, response))
        self._set_timer("2xx", interval_s)

    def _repeat_2xx(self) -> None:
        unacked = self._unacked
        if unacked is not None:
            t1_s = self.config.t1_s
            if not unacked.repeated:
                # Armed only now, for what is left: nearly every 2xx has its ACK before it is repeated.
                unacked.repeated = True
                self._set_timer("no-ack", 63 * t1_s)
            unacked.interval_s = min(2 * unacked.interval_s, self.config.t2_s)
            self._effects.append(Respond(unacked.transaction, unacked.response))
            self._set_timer("2xx", unacked.interval_s)

    def _acknowledged(self, request: SipRequest) -> Unacked | None:
        """The 2xx this ACK is for, which is done with now; None for any other ACK."""
        unacked = self._unacked
        if unacked is None:
            return None
        if (request.headers.parsed.get("CSeq") or request.cseq).number != unacked.cseq:
            return None
        self._unacked = None
        self._clear_timers("2xx")
        if unacked.repeated:
            self._clear_timers("no-ack")
        return unacked

    # -- session timer -----------------------------------------------------------------------------

    def _start_session_timer(self, timer: SessionTimer | None) -> None:
        before, self._session_timer = self._session_timer, timer
        if timer is not None and timer.we_refresh:
            # Until then nothing can expire, and few calls last that long: `_refresh` arms "expire".
            self._set_timer("refresh", timer.interval_s / 2)  # as `refresh_after_s`
            if self._expiring:
                self._clear_timers("expire")
                self._expiring = False
            return
        if before is not None:
            self._clear_timers("refresh", "expire")
        self._expiring = timer is not None
        if timer is not None:
            self._set_timer("expire", timer.expires_after_s)

    def _still_there(self) -> None:
        """The peer has refused to refresh: one who knows no session timers is alive all the same."""
        timer = self._session_timer
        if timer is not None and not timer.mutual:
            self._start_session_timer(timer)

    def _learn_peer(self, message: SipMessage) -> None:
        """Note what the peer can do, from its INVITE or 2xx."""
        if message.headers.lists("Allow", "update"):
            self.peer_takes_update = True


def cancel_of(invite: SipRequest, cause: ReasonHeader | None) -> SipRequest:
    """The CANCEL of an INVITE that was sent (9.1): its Via, Route and CSeq number."""
    cancel = SipRequest("CANCEL", invite.uri)
    source, headers = invite.headers, cancel.headers
    for name in ("Via", "Route", "From", "To", "Call-ID"):
        for value in source.get_all(name):
            headers.add(name, value)
    headers.add("Max-Forwards", "70")
    headers.add("CSeq", f"{invite.cseq.number} CANCEL")
    if cause is not None:
        headers.add("Reason", str(cause))
    return cancel


def attach_sdp(message: SipRequest | SipResponse, sdp: bytes | None) -> None:
    """Give `message` this SDP as its body; None leaves it without one."""
    if sdp is not None:
        message.headers.take(_OF_SDP)
        message.body = sdp


def sdp_of(message: SipMessage) -> bytes | None:
    """The SDP a message carries, alone or among other parts; None without, or where it cannot be found."""
    if not message.body:
        return None
    if message.headers.first.get("Content-Type") == SDP_TYPE:  # as nearly always
        return message.body
    kind = message.content_type
    if kind == SDP_TYPE:
        return message.body
    if kind not in multipart.TYPES:
        return None
    try:
        return multipart.sdp_of_parts(message.headers.first["Content-Type"], message.body)
    except RemoteProtocolError:
        return None
