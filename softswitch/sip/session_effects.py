"""What an INVITE session hears (inputs, past tense; commands) and what it wants done (effects).

`gc=False`: what they hold never leads back to them, so the cycle collector need not know of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

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


class InviteArrived(Struct, gc=False):
    """The INVITE that opens an incoming session."""

    request: SipRequest
    transaction: TransactionRef


class DialogRequestArrived(Struct, gc=False):
    """A request inside the dialog, other than ACK, from a permitted source."""

    request: SipRequest
    transaction: TransactionRef
    flow: Flow


class AckArrived(Struct, gc=False):
    """An ACK for a 2xx of ours."""

    request: SipRequest


class CancelArrived(Struct, gc=False):
    """A CANCEL, already answered, for the INVITE on `transaction`."""

    request: SipRequest
    transaction: TransactionRef


class AnswerArrived(Struct, gc=False):
    """A response to one of our requests; `purpose` is what the request was sent with."""

    purpose: object
    request: SipRequest
    response: SipResponse


class RequestLost(Struct, gc=False):
    """No final response: 408, or 503 from the transport."""

    purpose: object
    request: SipRequest
    status: int


class ServerLost(Struct, gc=False):
    """The transport of a server transaction failed before our final response."""

    transaction: TransactionRef


# -- from call control -----------------------------------------------------------------------------


class StartCall(Struct, gc=False):
    timeout_s: float
    silence_s: float | None


class Progress(Struct, gc=False):
    status: int
    reason: str | None
    sdp: bytes | None
    headers: HeaderLines


class Accept(Struct, gc=False):
    sdp: bytes | None
    headers: HeaderLines


class Reject(Struct, gc=False):
    status: int
    reason: str | None
    headers: HeaderLines


class HangUp(Struct, gc=False):
    cause: ReasonHeader | None


class AckWith(Struct, gc=False):
    sdp: bytes


class Reoffer(Struct, gc=False):
    sdp: bytes | None


class AcceptReoffer(Struct, gc=False):
    sdp: bytes | None


class RejectReoffer(Struct, gc=False):
    status: int
    headers: HeaderLines = ()


class Tell(Struct, gc=False):
    """Tell the peer these header lines by an UPDATE without an offer, where it takes one."""

    headers: HeaderLines


class SendInDialog(Struct, gc=False):
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


class SendRequest(Struct, gc=False):
    """Send on a new client transaction; the response comes back with `purpose`."""

    request: SipRequest
    flow: Flow
    purpose: object


class SendAck(Struct, gc=False):
    """Send the ACK of a 2xx: no transaction, repeated for every repeated 2xx (13.2.2.4). Once it has been
    sent, `octets` are all there is of it."""

    request: SipRequest | None
    flow: Flow
    octets: bytes = b""


class AbandonInvite(Struct, gc=False):
    """Forget the client transaction of this INVITE (RFC 3261 9.1: CANCEL was not heeded)."""

    request: SipRequest


class Respond(Struct, gc=False):
    transaction: TransactionRef
    response: SipResponse


class ClearAllTimers(Struct, gc=False):
    """Disarm every timer of the session."""


class OpenDialog(Struct, gc=False):
    """From now on requests with this dialog id belong to the session."""

    dialog_id: DialogId


class CloseDialog(Struct, gc=False):
    dialog_id: DialogId


class Notify(Struct, gc=False):
    event: SipEvent


class PassUp(Struct, gc=False):
    """A request in the dialog that is not the session's business: REFER, NOTIFY, MESSAGE..."""

    request: SipRequest
    transaction: TransactionRef


class HandleDone(Struct, gc=False):
    """The request sent with `handle` got its final `response`, or failed with `status`."""

    handle: int
    response: SipResponse | None
    status: int


class Finish(Struct, gc=False):
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
