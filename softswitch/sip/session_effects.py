"""What an INVITE session hears (inputs, past tense; commands) and what it wants done (effects)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softswitch.sip.effects import ClearTimer, SetTimer, TimerFired

if TYPE_CHECKING:
    from softswitch.sip.dialog import DialogId
    from softswitch.sip.events import SipEvent
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipRequest, SipResponse
    from softswitch.sip.reason import ReasonHeader

HeaderLines = Sequence[tuple[str, str]]

# Server transactions are opaque to a session: it names one and hands it back.
TransactionRef = object

# -- from the network ------------------------------------------------------------------------------


@dataclass(slots=True)
class InviteArrived:
    """The INVITE that opens an incoming session."""

    request: SipRequest
    transaction: TransactionRef


@dataclass(slots=True)
class DialogRequestArrived:
    """A request inside the dialog, other than ACK, from a permitted source."""

    request: SipRequest
    transaction: TransactionRef
    flow: Flow


@dataclass(slots=True)
class AckArrived:
    """An ACK for a 2xx of ours."""

    request: SipRequest


@dataclass(slots=True)
class CancelArrived:
    """A CANCEL, already answered, for the INVITE on `transaction`."""

    request: SipRequest
    transaction: TransactionRef


@dataclass(slots=True)
class AnswerArrived:
    """A response to one of our requests; `purpose` is what the request was sent with."""

    purpose: object
    request: SipRequest
    response: SipResponse


@dataclass(slots=True)
class RequestLost:
    """No final response: 408, or 503 from the transport."""

    purpose: object
    request: SipRequest
    status: int


@dataclass(slots=True)
class ServerLost:
    """The transport of a server transaction failed before our final response."""

    transaction: TransactionRef


# -- from call control -----------------------------------------------------------------------------


@dataclass(slots=True)
class StartCall:
    timeout_s: float
    silence_s: float | None


@dataclass(slots=True)
class Progress:
    status: int
    reason: str | None
    sdp: bytes | None
    headers: HeaderLines


@dataclass(slots=True)
class Accept:
    sdp: bytes | None
    headers: HeaderLines


@dataclass(slots=True)
class Reject:
    status: int
    reason: str | None
    headers: HeaderLines


@dataclass(slots=True)
class HangUp:
    cause: ReasonHeader | None


@dataclass(slots=True)
class AckWith:
    sdp: bytes


@dataclass(slots=True)
class Reoffer:
    sdp: bytes | None


@dataclass(slots=True)
class AcceptReoffer:
    sdp: bytes | None


@dataclass(slots=True)
class RejectReoffer:
    status: int
    headers: HeaderLines = ()


@dataclass(slots=True)
class Tell:
    """Tell the peer these header lines by an UPDATE without an offer, where it takes one."""

    headers: HeaderLines


@dataclass(slots=True)
class SendInDialog:
    """Send a request inside the dialog; `handle` None: nobody waits for its response."""

    method: str
    headers: HeaderLines
    body: bytes
    content_type: str | None
    handle: int | None


SessionInput = (
    InviteArrived
    | DialogRequestArrived
    | AckArrived
    | CancelArrived
    | AnswerArrived
    | RequestLost
    | ServerLost
    | TimerFired
    | StartCall
    | Progress
    | Accept
    | Reject
    | HangUp
    | AckWith
    | Reoffer
    | AcceptReoffer
    | RejectReoffer
    | Tell
    | SendInDialog
)

# -- effects ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class SendRequest:
    """Send on a new client transaction; the response comes back with `purpose`."""

    request: SipRequest
    flow: Flow
    purpose: object


@dataclass(slots=True)
class SendAck:
    """Send the ACK of a 2xx: no transaction, repeated for every repeated 2xx (13.2.2.4). Once it has been
    sent, `octets` are all there is of it."""

    request: SipRequest | None
    flow: Flow
    octets: bytes = b""


@dataclass(slots=True)
class AbandonInvite:
    """Forget the client transaction of this INVITE (RFC 3261 9.1: CANCEL was not heeded)."""

    request: SipRequest


@dataclass(slots=True)
class Respond:
    transaction: TransactionRef
    response: SipResponse


@dataclass(slots=True)
class ClearAllTimers:
    """Disarm every timer of the session."""


@dataclass(slots=True)
class OpenDialog:
    """From now on requests with this dialog id belong to the session."""

    dialog_id: DialogId


@dataclass(slots=True)
class CloseDialog:
    dialog_id: DialogId


@dataclass(slots=True)
class Notify:
    event: SipEvent


@dataclass(slots=True)
class PassUp:
    """A request in the dialog that is not the session's business: REFER, NOTIFY, MESSAGE..."""

    request: SipRequest
    transaction: TransactionRef


@dataclass(slots=True)
class HandleDone:
    """The request sent with `handle` got its final `response`, or failed with `status`."""

    handle: int
    response: SipResponse | None
    status: int


@dataclass(slots=True)
class Finish:
    """Forget the session; its transactions may live on and call back."""


FINISH = Finish()
CLEAR_ALL_TIMERS = ClearAllTimers()

SessionEffect = (
    SendRequest
    | SendAck
    | AbandonInvite
    | Respond
    | SetTimer
    | ClearTimer
    | ClearAllTimers
    | OpenDialog
    | CloseDialog
    | Notify
    | PassUp
    | HandleDone
    | Finish
)
