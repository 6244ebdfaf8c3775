"""Subscriptions to event packages (RFC 6665) as machines: the notifier's side and the subscriber's.

Both live in one dialog each; sharing an INVITE's dialog, which RFC 6665 4.5.2 deprecates, is not
supported. Effects are those of INVITE sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, assert_never

from softswitch.errors import RemoteProtocolError
from softswitch.sip.authorise import authorised_copy
from softswitch.sip.dialog import Dialog
from softswitch.sip.effects import ClearTimer, SetTimer, TimerFired
from softswitch.sip.events import NotifyReceived, SubscriptionEnded
from softswitch.sip.grammar import find_param, is_token, parse_number, parse_params
from softswitch.sip.message import SipRequest
from softswitch.sip.next_hop import next_hop
from softswitch.sip.session_effects import (
    AnswerArrived,
    CloseDialog,
    DialogRequestArrived,
    Finish,
    Notify,
    OpenDialog,
    RequestLost,
    Respond,
    SendRequest,
    SessionEffect,
    TransactionRef,
)

if TYPE_CHECKING:
    from softswitch.sip.credentials import Credentials
    from softswitch.sip.events import SipEvent
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipMessage
    from softswitch.sip.session_effects import HeaderLines
    from softswitch.sip.stack_config import StackConfig

EXPIRES_MAX: Final = 2**32 - 1
# A NOTIFY answered with one of these will never be wanted again (RFC 5057 5.1, RFC 6665 4.2.2).
_GONE: Final = frozenset({404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 502, 604})
_BODY_MAX: Final = 32_768


@dataclass(frozen=True, slots=True)
class EventId:
    """An Event header: the package, in lower case, and the id that tells two subscriptions of one
    dialog apart."""

    package: str
    id: str = ""

    @classmethod
    def of(cls, message: SipMessage) -> EventId | None:
        """The message's, or None where it is absent or malformed."""
        value = message.headers.get("Event")
        if value is None:
            return None
        name, semicolon, rest = value.partition(";")
        name = name.strip(" \t")
        try:
            params = parse_params(semicolon + rest)
        except RemoteProtocolError:
            return None
        return cls(name.lower(), find_param(params, "id") or "") if is_token(name) else None

    def __str__(self) -> str:
        return f"{self.package};id={self.id}" if self.id else self.package


@dataclass(slots=True)
class UsageTerms:
    """What a subscription is told at birth: as `SessionTerms` of an INVITE."""

    number: int
    config: StackConfig
    flow: Flow
    contact: str
    token: Callable[[], str]
    identity: object = None
    credentials: Credentials | None = None


class State(Enum):
    """ENDING: the last NOTIFY, or the SUBSCRIBE that ends it, waits for its answer."""

    IDLE = auto()
    ACTIVE = auto()
    ENDING = auto()
    ENDED = auto()


# -- inputs ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SubscriptionAccepted:
    """The application accepts a SUBSCRIBE; `local_tag` is the To-tag of the answer."""

    request: SipRequest
    transaction: TransactionRef
    local_tag: str
    expires_s: int
    body: bytes
    content_type: str | None


@dataclass(slots=True)
class StateChanged:
    """The resource's state is another; the subscriber is to hear it."""

    body: bytes
    content_type: str | None


@dataclass(slots=True)
class EndSubscription:
    """Tell the subscriber that it is over; `reason` of RFC 6665 4.1.3 (noresource, deactivated...)."""

    reason: str


@dataclass(slots=True)
class StartSubscription:
    """Send the first SUBSCRIBE."""

    request: SipRequest


@dataclass(slots=True)
class RefreshSubscription:
    """Subscribe again for `expires_s`; 0 ends it."""

    expires_s: int


UsageInput = (
    SubscriptionAccepted
    | StateChanged
    | EndSubscription
    | StartSubscription
    | RefreshSubscription
    | DialogRequestArrived
    | AnswerArrived
    | RequestLost
    | TimerFired
)


class Usage:
    """What both sides have: number, dialog, and the building blocks of their effects."""

    __slots__ = ("_effects", "_told", "dialog", "event", "state", "terms")

    def __init__(self, terms: UsageTerms, event: EventId) -> None:
        self.terms = terms
        self.event = event
        self.state = State.IDLE
        self.dialog: Dialog | None = None
        self._effects: list[SessionEffect] = []
        self._told = False

    def handle(self, event: UsageInput, now_s: float) -> list[SessionEffect]:
        """One input, the effects it asks for; what is out of season changes nothing."""
        effects = self._effects
        try:
            self._dispatch(event, now_s)
        finally:
            self._effects = []
        return effects

    def _dispatch(self, event: UsageInput, now_s: float) -> None:
        raise NotImplementedError

    def _emit(self, effect: SessionEffect) -> None:
        self._effects.append(effect)

    def _notify(self, event: SipEvent) -> None:
        self._emit(Notify(event))

    def _respond(self, event: DialogRequestArrived, status: int, headers: HeaderLines = ()) -> None:
        response = event.request.response(status)
        response.headers.extend(headers)
        self._emit(Respond(event.transaction, response))

    def _open(self, dialog: Dialog) -> None:
        self.dialog = dialog
        self._emit(OpenDialog(dialog.id))

    def _send(self, request: SipRequest, dialog: Dialog, purpose: object) -> None:
        self._emit(SendRequest(request, next_hop(dialog, False), purpose))

    def _over(self, reason: str) -> None:
        """Report the end, once."""
        if not self._told:
            self._told = True
            self._notify(SubscriptionEnded(self.terms.number, reason))

    def _finish(self) -> None:
        self.state = State.ENDED
        if self.dialog is not None:
            self._emit(CloseDialog(self.dialog.id))
        self._emit(Finish())


class NotifierUsage(Usage):
    """We notify. One NOTIFY is out at a time; what changes meanwhile is told by the next, which brings
    the latest state only."""

    __slots__ = ("_body", "_content_type", "_dirty", "_expires_at_s", "_reason", "_waiting")

    def __init__(self, terms: UsageTerms, event: EventId) -> None:
        super().__init__(terms, event)
        self._body = b""
        self._content_type: str | None = None
        self._expires_at_s = 0.0
        self._dirty = False
        self._waiting = False
        self._reason = ""

    def _dispatch(self, event: UsageInput, now_s: float) -> None:
        match event:
            case SubscriptionAccepted():
                self._accept(event, now_s)
            case StateChanged() if self.state is State.ACTIVE:
                self._body, self._content_type = event.body[:_BODY_MAX], event.content_type
                self._tell(now_s)
            case EndSubscription() if self.state is State.ACTIVE:
                self._end(event.reason, now_s)
            case DialogRequestArrived():
                self._on_request(event, now_s)
            case AnswerArrived():
                self._on_answer(event.response.status, now_s)
            case RequestLost():
                self._on_answer(481, now_s)
            case TimerFired() if self.state is State.ACTIVE:
                self._over("expired")
                self._end("timeout", now_s)
            case StateChanged() | EndSubscription() | TimerFired():
                pass
            case StartSubscription() | RefreshSubscription():
                pass
            case _:
                assert_never(event)

    def _accept(self, event: SubscriptionAccepted, now_s: float) -> None:
        if self.state is not State.IDLE:
            return
        request = event.request
        self._open(Dialog.of_server(request, event.local_tag, self.terms.flow))
        self._body, self._content_type = event.body[:_BODY_MAX], event.content_type
        response = request.response(200, to_tag=event.local_tag)
        response.headers.add("Contact", self.terms.contact)
        response.headers.add("Expires", str(event.expires_s))
        self._emit(Respond(event.transaction, response))
        self._grant(event.expires_s, now_s)

    def _grant(self, expires_s: int, now_s: float) -> None:
        """(Re)start the interval and tell the state, as every SUBSCRIBE demands (4.2.1.2)."""
        if expires_s == 0:
            self._over("unsubscribed")
            self._end("timeout", now_s)
            return
        self.state = State.ACTIVE
        self._expires_at_s = now_s + expires_s
        self._emit(SetTimer("expire", expires_s))
        self._tell(now_s)

    def _on_request(self, event: DialogRequestArrived, now_s: float) -> None:
        request, dialog = event.request, self.dialog
        if dialog is None or self.state is not State.ACTIVE:
            self._respond(event, 481)
        elif not dialog.accepts(request):
            self._respond(event, 500)
        elif request.method != "SUBSCRIBE":
            self._respond(event, 405, [("Allow", "SUBSCRIBE")])
        elif EventId.of(request) != self.event:
            self._respond(event, 481)
        else:
            dialog.flow = event.flow
            config = self.terms.config
            asked_s = request.expires
            if asked_s is not None and 0 < asked_s < config.subscription_min_s:
                minimum = ("Min-Expires", str(config.subscription_min_s))
                self._respond(event, 423, [minimum])
                return
            dialog.refresh_target(request)
            granted_s = granted(request, config)
            contact = ("Contact", self.terms.contact)
            self._respond(event, 200, [contact, ("Expires", str(granted_s))])
            self._grant(granted_s, now_s)

    def _end(self, reason: str, now_s: float) -> None:
        self.state = State.ENDING
        self._reason = reason
        self._emit(ClearTimer("expire"))
        self._tell(now_s)

    def _tell(self, now_s: float) -> None:
        dialog = self.dialog
        if self._waiting or dialog is None:
            self._dirty = True
            return
        self._dirty = False
        self._waiting = True
        left_s = max(0, round(self._expires_at_s - now_s))
        over = self.state is State.ENDING
        state = f"terminated;reason={self._reason}" if over else f"active;expires={left_s}"
        request = dialog.request("NOTIFY")
        headers = request.headers
        headers.add("Contact", self.terms.contact)
        headers.add("Event", str(self.event))
        headers.add("Subscription-State", state)
        if self._body:
            headers.add("Content-Type", self._content_type or "text/plain")
            request.body = self._body
        self._send(request, dialog, "NOTIFY" if not over else "last NOTIFY")

    def _on_answer(self, status: int, now_s: float) -> None:
        if status < 200 or self.state is State.ENDED:
            return
        self._waiting = False
        if status in _GONE:
            self._over("lost")
            self._emit(ClearTimer("expire"))
            self._finish()
        elif self._dirty:
            self._tell(now_s)
        elif self.state is State.ENDING:
            self._finish()


class SubscriberUsage(Usage):
    """We subscribe: for phones and test kits. Refreshing is the caller's decision."""

    __slots__ = ("_cseq", "_local_tag", "_request", "_tries", "call_id")

    def __init__(self, terms: UsageTerms, event: EventId, call_id: str, local_tag: str) -> None:
        super().__init__(terms, event)
        self.call_id = call_id
        self._local_tag = local_tag
        self._request: SipRequest | None = None
        self._cseq = 1
        self._tries = 0

    @property
    def awaited(self) -> tuple[str, str]:
        """Call-ID and our tag, by which the first NOTIFY is known: it may overtake the 200 (4.4.1)."""
        return self.call_id, self._local_tag

    def _dispatch(self, event: UsageInput, now_s: float) -> None:
        match event:
            case StartSubscription() if self.state is State.IDLE:
                self.state = State.ACTIVE
                self._request = event.request
                self._emit(SendRequest(event.request, self.terms.flow, "SUBSCRIBE"))
            case RefreshSubscription():
                self._refresh(event.expires_s)
            case AnswerArrived():
                self._on_answer(event)
            case RequestLost() if self.state in (State.ACTIVE, State.ENDING):
                self._over(str(event.status))
                self._finish()
            case DialogRequestArrived():
                self._on_request(event)
            case TimerFired() if self.state in (State.ACTIVE, State.ENDING):
                self._over("expired")
                self._finish()
            case _:
                pass

    def _refresh(self, expires_s: int) -> None:
        dialog, first = self.dialog, self._request
        if dialog is None or first is None or self.state is not State.ACTIVE:
            return
        request = dialog.request("SUBSCRIBE")
        for name in ("Contact", "Event", "Accept"):
            for value in first.headers.get_all(name):
                request.headers.add(name, value)
        request.headers.add("Expires", str(expires_s))
        self._tries = 0
        self._send(request, dialog, "SUBSCRIBE")
        if expires_s == 0:
            self.state = State.ENDING
            self._emit(SetTimer("expire", 64 * self.terms.config.t1_s))

    def _on_answer(self, event: AnswerArrived) -> None:
        response, status = event.response, event.response.status
        if status < 200 or self.state not in (State.ACTIVE, State.ENDING):
            return
        if status in (401, 407) and self._again(event):
            return
        if status >= 300:
            self._over(str(status))
            self._finish()
            return
        if self.dialog is None:
            self._open(Dialog.of_client(event.request, response, self.terms.flow))
        if self.state is State.ACTIVE:
            self._wait_for(response.expires or 3600)

    def _again(self, event: AnswerArrived) -> bool:
        credentials = self.terms.credentials
        if credentials is None or self._tries >= 2:
            return False
        retry = authorised_copy(event.request, event.response, credentials, self.terms.token)
        if retry is None:
            return False
        self._tries += 1
        if self.dialog is None:
            self._cseq = event.request.cseq.number + 1
            retry.headers.set("CSeq", f"{self._cseq} SUBSCRIBE")
            self._emit(SendRequest(retry, self.terms.flow, "SUBSCRIBE"))
        else:
            self.dialog.local_cseq += 1
            retry.headers.set("CSeq", f"{self.dialog.local_cseq} SUBSCRIBE")
            self._send(retry, self.dialog, "SUBSCRIBE")
        return True

    def _on_request(self, event: DialogRequestArrived) -> None:
        request = event.request
        if request.method != "NOTIFY" or self.state not in (State.ACTIVE, State.ENDING):
            self._respond(event, 481)
            return
        if self.dialog is None:
            self._open(self._dialog_of_notify(request, event.flow))
        dialog = self.dialog
        assert dialog is not None
        if not dialog.accepts(request):
            self._respond(event, 500)
            return
        if EventId.of(request) != self.event:
            self._respond(event, 481)
            return
        self._respond(event, 200)
        state, reason, expires_s = read_state(request)
        self._notify(
            NotifyReceived(
                self.terms.number, state, reason, expires_s, request.content_type, request.body
            )
        )
        if state == "terminated":
            self._over(reason or "terminated")
            self._emit(ClearTimer("expire"))
            self._finish()
        elif expires_s and self.state is State.ACTIVE:
            self._wait_for(expires_s)

    def _wait_for(self, expires_s: int) -> None:
        # The notifier has the last word (4.4.1): a little later than its own timer.
        self._emit(SetTimer("expire", expires_s + 64 * self.terms.config.t1_s))

    def _dialog_of_notify(self, request: SipRequest, flow: Flow) -> Dialog:
        """The dialog that a NOTIFY sets up which overtook the answer to our SUBSCRIBE."""
        dialog = Dialog.of_server(request, self._local_tag, flow)
        dialog.local = request.headers.get("To") or ""
        dialog.local_cseq = self._cseq
        dialog.remote_cseq = None
        return dialog


def granted(request: SipRequest, config: StackConfig) -> int:
    """The interval for a SUBSCRIBE: what it asks for, our longest at most."""
    asked_s = request.expires
    longest_s = config.subscription_max_s
    return longest_s if asked_s is None else min(asked_s, longest_s)


def read_state(notify: SipRequest) -> tuple[str, str, int | None]:
    """Subscription-State: state in lower case, reason, seconds left; "active" where unreadable."""
    value = notify.headers.get("Subscription-State") or "active"
    state, semicolon, rest = value.partition(";")
    try:
        params = parse_params(semicolon + rest)
    except RemoteProtocolError:
        params = ()
    expires = find_param(params, "expires")
    expires_s = parse_number(expires, EXPIRES_MAX) if expires else None
    return state.strip(" \t").lower(), (find_param(params, "reason") or "").lower(), expires_s
