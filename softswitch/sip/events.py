"""What the SIP stack tells call control. Every event names its session or its handle.

A *session* is one INVITE usage: from the INVITE to the end of its dialog; numbers are never used
twice in the life of a stack. A *handle* is one non-INVITE transaction. Exactly one of `Failed`,
`Ended` or `Cancelled` closes a session; nothing follows it.

`gc=False`: what they hold never leads back to them, so the cycle collector need not know of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipRequest, SipResponse
    from softswitch.sip.reason import ReasonHeader

EndedBy = Literal["remote", "local", "timer"]


class InviteReceived(Struct, frozen=True, gc=False):
    """Somebody calls. `sdp` is the offer, None when the caller wants ours in the 200."""

    session: int
    request: SipRequest
    flow: Flow
    identity: object
    sdp: bytes | None


class Progressed(Struct, frozen=True, gc=False):
    """Our call got a provisional response other than 100; `sdp` is early media's description."""

    session: int
    status: int
    sdp: bytes | None
    response: SipResponse


class Answered(Struct, frozen=True, gc=False):
    """Our call got its 2xx. `sdp` answers our offer, or is the callee's offer if we sent none
    (then call `ack_with`)."""

    session: int
    sdp: bytes | None
    response: SipResponse


class Failed(Struct, frozen=True, gc=False):
    """Our call came to nothing. 408: nobody answered in time, 503: the transport refused.

    487 after our own `hang_up` is reported as `Ended(by="local")` instead.
    """

    session: int
    status: int
    reason: str
    response: SipResponse | None


class Ended(Struct, frozen=True, gc=False):
    """The session is over: the peer's BYE, our own hang-up, or a timer (no ACK, session expired)."""

    session: int
    by: EndedBy
    cause: ReasonHeader | None


class Cancelled(Struct, frozen=True, gc=False):
    """The caller gave up before our final response; the 487 has been sent."""

    session: int
    cause: ReasonHeader | None = None


class Confirmed(Struct, frozen=True, gc=False):
    """The ACK for our 2xx came; `sdp` is the answer when our 2xx carried the offer."""

    session: int
    sdp: bytes | None = None


class ReofferReceived(Struct, frozen=True, gc=False):
    """A re-INVITE or UPDATE in a confirmed dialog, or an UPDATE or PRACK with an offer in an early
    one whose first offer has been answered: answer with `answer_reoffer` or `reject_reoffer`. `sdp`
    is None when the peer asks for our offer."""

    session: int
    sdp: bytes | None
    request: SipRequest


class ReofferAnswered(Struct, frozen=True, gc=False):
    """Our re-INVITE was accepted (`sdp`: the answer, or the offer if ours carried none), or the
    ACK brought the answer to the offer in our `answer_reoffer`, or a PRACK brought the one to
    our `progress`."""

    session: int
    sdp: bytes | None


class ReofferFailed(Struct, frozen=True, gc=False):
    """Our re-INVITE was refused; the session goes on as it was. 491s are retried before this."""

    session: int
    status: int


class InfoReceived(Struct, frozen=True, gc=False):
    """An INFO inside the dialog, already answered with 200."""

    session: int
    content_type: str
    body: bytes


class RequestReceived(Struct, frozen=True, gc=False):
    """A request other than INVITE's family: call `respond(handle, ...)` once.

    `session` is set for requests inside a dialog (REFER, NOTIFY, MESSAGE), whose `identity` is that
    of the session.
    """

    handle: int
    request: SipRequest
    flow: Flow
    identity: object
    session: int | None = None


class ResponseReceived(Struct, frozen=True, gc=False):
    """A final response to `request` (provisional ones are not reported)."""

    handle: int
    response: SipResponse


class RequestFailed(Struct, frozen=True, gc=False):
    """No final response: 408 after timer F, 503 when the transport refused."""

    handle: int
    status: int


class SubscriptionEnded(Struct, frozen=True, gc=False):
    """Nobody is to be notified under this number any more. `reason`: "expired", "unsubscribed",
    "lost" (NOTIFYs are refused or not answered), or for a subscription of ours the status that refused
    it or the reason of the last NOTIFY."""

    subscription: int
    reason: str


class NotifyReceived(Struct, frozen=True, gc=False):
    """A NOTIFY of a subscription of ours, already answered. `state` is "active", "pending" or
    "terminated", `expires_s` what is left of it as the notifier says."""

    subscription: int
    state: str
    reason: str
    expires_s: int | None
    content_type: str | None
    body: bytes


SipEvent = (
    InviteReceived
    | Progressed
    | Answered
    | Failed
    | Ended
    | Cancelled
    | Confirmed
    | ReofferReceived
    | ReofferAnswered
    | ReofferFailed
    | InfoReceived
    | RequestReceived
    | ResponseReceived
    | RequestFailed
    | SubscriptionEnded
    | NotifyReceived
)
