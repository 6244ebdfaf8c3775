"""What the SIP stack tells call control. Every event names its session or its handle.

A *session* is one INVITE usage: from the INVITE to the end of its dialog; numbers are never used
twice in the life of a stack. A *handle* is one non-INVITE transaction. Exactly one of `Failed`,
`Ended` or `Cancelled` closes a session; nothing follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipRequest, SipResponse
    from softswitch.sip.reason import ReasonHeader

EndedBy = Literal["remote", "local", "timer"]


@dataclass(slots=True, unsafe_hash=True)
class InviteReceived:
    """Somebody calls. `sdp` is the offer, None when the caller wants ours in the 200."""

    session: Final[int]
    request: Final[SipRequest]
    flow: Final[Flow]
    identity: Final[object]
    sdp: Final[bytes | None]


@dataclass(slots=True, unsafe_hash=True)
class Progressed:
    """Our call got a provisional response other than 100; `sdp` is early media's description."""

    session: Final[int]
    status: Final[int]
    sdp: Final[bytes | None]
    response: Final[SipResponse]


@dataclass(slots=True, unsafe_hash=True)
class Answered:
    """Our call got its 2xx. `sdp` answers our offer, or is the callee's offer if we sent none
    (then call `ack_with`)."""

    session: Final[int]
    sdp: Final[bytes | None]
    response: Final[SipResponse]


@dataclass(slots=True, unsafe_hash=True)
class Failed:
    """Our call came to nothing. 408: nobody answered in time, 503: the transport refused.

    487 after our own `hang_up` is reported as `Ended(by="local")` instead.
    """

    session: Final[int]
    status: Final[int]
    reason: Final[str]
    response: Final[SipResponse | None]


@dataclass(slots=True, unsafe_hash=True)
class Ended:
    """The session is over: the peer's BYE, our own hang-up, or a timer (no ACK, session expired)."""

    session: Final[int]
    by: Final[EndedBy]
    cause: Final[ReasonHeader | None]


@dataclass(slots=True, unsafe_hash=True)
class Cancelled:
    """The caller gave up before our final response; the 487 has been sent."""

    session: Final[int]
    cause: Final[ReasonHeader | None] = None


@dataclass(slots=True, unsafe_hash=True)
class Confirmed:
    """The ACK for our 2xx came; `sdp` is the answer when our 2xx carried the offer."""

    session: Final[int]
    sdp: Final[bytes | None] = None


@dataclass(slots=True, unsafe_hash=True)
class ReofferReceived:
    """A re-INVITE or UPDATE in a confirmed dialog, or an UPDATE or PRACK with an offer in an early
    one whose first offer has been answered: answer with `answer_reoffer` or `reject_reoffer`. `sdp`
    is None when the peer asks for our offer."""

    session: Final[int]
    sdp: Final[bytes | None]
    request: Final[SipRequest]


@dataclass(slots=True, unsafe_hash=True)
class ReofferAnswered:
    """Our re-INVITE was accepted (`sdp`: the answer, or the offer if ours carried none), or the
    ACK brought the answer to the offer in our `answer_reoffer`, or a PRACK brought the one to
    our `progress`."""

    session: Final[int]
    sdp: Final[bytes | None]


@dataclass(slots=True, unsafe_hash=True)
class ReofferFailed:
    """Our re-INVITE was refused; the session goes on as it was. 491s are retried before this."""

    session: Final[int]
    status: Final[int]


@dataclass(slots=True, unsafe_hash=True)
class InfoReceived:
    """An INFO inside the dialog, already answered with 200."""

    session: Final[int]
    content_type: Final[str]
    body: Final[bytes]


@dataclass(slots=True, unsafe_hash=True)
class RequestReceived:
    """A request other than INVITE's family: call `respond(handle, ...)` once.

    `session` is set for requests inside a dialog (REFER, NOTIFY, MESSAGE), whose `identity` is that
    of the session.
    """

    handle: Final[int]
    request: Final[SipRequest]
    flow: Final[Flow]
    identity: Final[object]
    session: Final[int | None] = None


@dataclass(slots=True, unsafe_hash=True)
class ResponseReceived:
    """A final response to `request` (provisional ones are not reported)."""

    handle: Final[int]
    response: Final[SipResponse]


@dataclass(slots=True, unsafe_hash=True)
class RequestFailed:
    """No final response: 408 after timer F, 503 when the transport refused."""

    handle: Final[int]
    status: Final[int]


@dataclass(slots=True, unsafe_hash=True)
class SubscriptionEnded:
    """Nobody is to be notified under this number any more. `reason`: "expired", "unsubscribed",
    "lost" (NOTIFYs are refused or not answered), or for a subscription of ours the status that refused
    it or the reason of the last NOTIFY."""

    subscription: Final[int]
    reason: Final[str]


@dataclass(slots=True, unsafe_hash=True)
class NotifyReceived:
    """A NOTIFY of a subscription of ours, already answered. `state` is "active", "pending" or
    "terminated", `expires_s` what is left of it as the notifier says."""

    subscription: Final[int]
    state: Final[str]
    reason: Final[str]
    expires_s: Final[int | None]
    content_type: Final[str | None]
    body: Final[bytes]


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
