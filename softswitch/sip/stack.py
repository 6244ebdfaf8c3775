"""SipStack, the facade of the SIP core: messages and commands in, events and messages out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from softswitch.sip.credentials import Credentials
from softswitch.sip.events import SipEvent
from softswitch.sip.flow import Flow, Outgoing
from softswitch.sip.gate import Admitted, Drop, Gate, OpenGate, Refuse
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.stack_config import StackConfig

if TYPE_CHECKING:
    from softswitch.sip.uri import NameAddr

__all__ = [
    "Admitted",
    "Credentials",
    "Drop",
    "Flow",
    "Gate",
    "OpenGate",
    "Outgoing",
    "ReasonHeader",
    "Refuse",
    "SipStack",
    "StackConfig",
]

HeaderLines = Sequence[tuple[str, str]]


class SipStack:
    """The whole SIP core behind four I/O methods and the call commands.

    `token` returns a fresh random text of 64 bits or more, letters and digits only (tags, branches,
    Call-IDs are made of it); `gate` decides on every request from outside a dialog.

    Commands for a session that has already ended are ignored and counted (`late_commands`), because
    its last event may still be in the queue; a command that the state forbids raises
    `LocalProtocolError`.
    """

    def __init__(self, config: StackConfig, token: Callable[[], str], gate: Gate) -> None:
        self._config = config

    # -- the I/O four (only the driver calls these) ------------------------------------------

    def receive_datagram(self, data: bytes, flow: Flow, now_s: float) -> None:
        """One datagram, or one framed message of a stream transport. Never raises on bad input."""
        raise NotImplementedError

    def next_event(self) -> SipEvent | None:
        """The oldest event not yet taken, or None."""
        raise NotImplementedError

    def datagrams_to_send(self) -> list[Outgoing]:
        """Everything to be sent now, in order; the list is the caller's."""
        raise NotImplementedError

    def get_timer(self) -> float | None:
        """When `handle_timer` is due (monotonic seconds), or None."""
        raise NotImplementedError

    def handle_timer(self, now_s: float) -> None:
        """Fire every timer due at `now_s`."""
        raise NotImplementedError

    def transport_failed(self, flow: Flow, now_s: float) -> None:
        """The transport could not send on `flow` (ICMP unreachable, connection refused or lost):
        client transactions on it end with 503."""
        raise NotImplementedError

    def snapshot(self) -> dict[str, int]:
        """`transactions`, `dialogs`, `sessions`, `handles`, `timers`: all 0 some 32 s after the last
        hang-up; and counters that only grow."""
        raise NotImplementedError

    # -- calls we make ---------------------------------------------------------------------------

    def invite(
        self,
        *,
        target: str,
        flow: Flow,
        from_: NameAddr,
        to: NameAddr,
        contact: str | None = None,
        sdp: bytes | None,
        headers: HeaderLines = (),
        credentials: Credentials | None = None,
        timeout_s: float,
        silence_s: float | None = None,
        route: Sequence[str] = (),
        call_id: str | None = None,
        permitted_hosts: frozenset[str] = frozenset(),
        follow_contact: bool = False,
        now_s: float,
    ) -> int:
        """Call `target` (the Request-URI) over `flow`; returns the session id.

        `from_` without a tag gets one; `contact` is a SIP URI, by default built from `from_`'s user
        and the flow's local address; `sdp` is the offer, None asks the callee for one (then answer
        `Answered` with `ack_with`). After `timeout_s` without a final response the call is cancelled
        and `Failed(408)` is reported; after `silence_s` without any response, likewise at once.
        `permitted_hosts` and `follow_contact` as in `gate.Admitted`. Raises `LocalProtocolError`
        when a limit is reached.
        """
        raise NotImplementedError

    def ack_with(self, session: int, sdp: bytes, now_s: float) -> None:
        """Send the ACK whose body answers the offer of the 2xx (only after `invite(sdp=None)` or
        `reinvite(sdp=None)`)."""
        raise NotImplementedError

    # -- calls we get ------------------------------------------------------------------------------

    def progress(
        self,
        session: int,
        status: int = 180,
        sdp: bytes | None = None,
        reason: str | None = None,
        headers: HeaderLines = (),
        *,
        now_s: float,
    ) -> None:
        """Send a provisional response 101..199 to an incoming call."""
        raise NotImplementedError

    def answer(
        self, session: int, sdp: bytes | None, now_s: float, headers: HeaderLines = ()
    ) -> None:
        """Send 200 with `sdp` (the answer, or our offer when the INVITE had none)."""
        raise NotImplementedError

    def reject(
        self,
        session: int,
        status: int,
        reason: str | None = None,
        headers: HeaderLines = (),
        *,
        now_s: float,
    ) -> None:
        """Send a final response 300..699; `Ended(by="local")` follows."""
        raise NotImplementedError

    # -- calls that are up -------------------------------------------------------------------------

    def hang_up(self, session: int, *, cause: ReasonHeader | None = None, now_s: float) -> None:
        """End the session whatever its state: CANCEL, BYE or a final response. Idempotent.

        `Ended(by="local")` follows: at once for a BYE, when the callee confirmed for a CANCEL.
        """
        raise NotImplementedError

    def reinvite(self, session: int, sdp: bytes | None, now_s: float) -> None:
        """Offer again (hold, codec, media move); `ReofferAnswered` or `ReofferFailed` follows. One
        that crosses the peer's is retried as RFC 3261 section 14.1 says."""
        raise NotImplementedError

    def answer_reoffer(self, session: int, sdp: bytes | None, now_s: float) -> None:
        """Accept the peer's re-INVITE or UPDATE with 200."""
        raise NotImplementedError

    def reject_reoffer(self, session: int, status: int, now_s: float) -> None:
        """Refuse the peer's re-INVITE or UPDATE (488); the session goes on unchanged."""
        raise NotImplementedError

    def info(self, session: int, content_type: str, body: bytes, now_s: float) -> None:
        """Send INFO inside the dialog; its response is not reported."""
        raise NotImplementedError

    def find_session(self, call_id: str, local_tag: str, remote_tag: str) -> int | None:
        """The session with this dialog id (for Replaces, RFC 3891), or None."""
        raise NotImplementedError

    def dialog_of(self, session: int) -> dict[str, object] | None:
        """Call-ID, tags, targets and flow of a session's dialog, for journals and Replaces."""
        raise NotImplementedError

    # -- other requests ------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        target: str,
        flow: Flow,
        *,
        from_: NameAddr,
        to: NameAddr,
        contact: str | None = None,
        headers: HeaderLines = (),
        body: bytes = b"",
        content_type: str | None = None,
        credentials: Credentials | None = None,
        call_id: str | None = None,
        cseq: int = 1,
        timeout_s: float | None = None,
        now_s: float,
    ) -> int:
        """Send a non-INVITE request outside any dialog (REGISTER, OPTIONS, MESSAGE, SUBSCRIBE,
        NOTIFY); returns a handle. `ResponseReceived` or `RequestFailed` follows."""
        raise NotImplementedError

    def request_in_dialog(
        self,
        session: int,
        method: str,
        *,
        headers: HeaderLines = (),
        body: bytes = b"",
        content_type: str | None = None,
        now_s: float,
    ) -> int:
        """Send a non-INVITE request inside a session's dialog (REFER, NOTIFY); returns a handle."""
        raise NotImplementedError

    def respond(
        self,
        handle: int,
        status: int,
        reason: str | None = None,
        headers: HeaderLines = (),
        body: bytes = b"",
        content_type: str | None = None,
        *,
        now_s: float,
    ) -> None:
        """Answer a `RequestReceived`."""
        raise NotImplementedError
