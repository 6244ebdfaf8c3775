"""Requests outside calls, both ways, each known by a handle: REGISTER, OPTIONS, MESSAGE..."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softswitch.errors import LocalProtocolError
from softswitch.sip.authorise import authorised_copy
from softswitch.sip.events import RequestFailed, RequestReceived, ResponseReceived

if TYPE_CHECKING:
    from softswitch.sip.credentials import Credentials
    from softswitch.sip.events import SipEvent
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipRequest, SipResponse
    from softswitch.sip.session_effects import HeaderLines
    from softswitch.sip.timers import Timer, TimerHeap
    from softswitch.sip.transaction_layer import (
        ClientTransaction,
        ServerTransaction,
        TransactionLayer,
    )

_TRIES = 3


@dataclass(slots=True)
class _Asked:
    """A request of ours that waits for its final response."""

    layer: RequestLayer
    handle: int
    credentials: Credentials | None
    tries: int = 1
    timer: Timer | None = None

    def on_timer(self, name: str, now_s: float) -> None:
        self.timer = None
        self.layer.give_up(self)


@dataclass(slots=True)
class _Taken:
    """A request of a peer that call control has not answered; after `timer` we do."""

    layer: RequestLayer
    handle: int
    transaction: ServerTransaction
    to_tag: str
    identity: object = None
    timer: Timer | None = None

    def on_timer(self, name: str, now_s: float) -> None:
        self.timer = None
        response = self.transaction.request.response(500, to_tag=self.to_tag)
        self.layer.respond(self.handle, response, now_s)


class RequestLayer:
    """Open handles of both kinds; handles are never used twice."""

    __slots__ = ("_asked", "_heap", "_next", "_notify", "_taken", "_token", "_transactions")

    def __init__(
        self,
        transactions: TransactionLayer,
        heap: TimerHeap,
        notify: Callable[[SipEvent], None],
        token: Callable[[], str],
    ) -> None:
        self._transactions = transactions
        self._heap = heap
        self._notify = notify
        self._token = token
        self._next = 0
        self._asked: dict[int, _Asked] = {}
        self._taken: dict[int, _Taken] = {}

    def __len__(self) -> int:
        return len(self._asked) + len(self._taken)

    def take_handle(self) -> int:
        """A handle never used before."""
        self._next += 1
        return self._next

    # -- requests of ours --------------------------------------------------------------------------

    def ask(
        self,
        request: SipRequest,
        flow: Flow,
        credentials: Credentials | None,
        timeout_s: float | None,
        now_s: float,
    ) -> int:
        """Send `request` (without Via) and report its end under the handle returned."""
        handle = self.take_handle()
        asked = _Asked(self, handle, credentials)
        self._asked[handle] = asked
        if timeout_s is not None:
            asked.timer = self._heap.arm(now_s + timeout_s, asked, "timeout")
        try:
            self._transactions.send_request(request, flow, self, asked, now_s)
        except LocalProtocolError:
            self._close(asked)
            raise
        return handle

    def on_response(
        self, transaction: ClientTransaction, response: SipResponse, now_s: float
    ) -> None:
        asked = transaction.purpose
        assert isinstance(asked, _Asked)
        if response.status < 200 or asked.handle not in self._asked:
            return
        if self._try_again(asked, transaction, response, now_s):
            return
        self._close(asked)
        self._notify(ResponseReceived(asked.handle, response))

    def _try_again(
        self, asked: _Asked, transaction: ClientTransaction, response: SipResponse, now_s: float
    ) -> bool:
        if response.status not in (401, 407) or asked.credentials is None:
            return False
        if asked.tries >= _TRIES:
            return False
        request = transaction.request
        retry = authorised_copy(request, response, asked.credentials, self._token)
        if retry is None:
            return False
        asked.tries += 1
        retry.headers.set("CSeq", f"{request.cseq.number + 1} {request.method}")
        try:
            self._transactions.send_request(retry, transaction.flow, self, asked, now_s)
        except LocalProtocolError:
            return False
        return True

    def on_client_failed(self, transaction: ClientTransaction, status: int, now_s: float) -> None:
        asked = transaction.purpose
        assert isinstance(asked, _Asked)
        if asked.handle in self._asked:
            self._close(asked)
            self._notify(RequestFailed(asked.handle, status))

    def give_up(self, asked: _Asked) -> None:
        """The caller's patience ended before the transaction's."""
        if asked.handle in self._asked:
            self._close(asked)
            self._notify(RequestFailed(asked.handle, 408))

    def _close(self, entry: _Asked | _Taken) -> None:
        self._asked.pop(entry.handle, None)
        self._taken.pop(entry.handle, None)
        if entry.timer is not None:
            self._heap.cancel(entry.timer)
            entry.timer = None

    # -- requests of peers -------------------------------------------------------------------------

    def take(
        self,
        request: SipRequest,
        transaction: ServerTransaction,
        identity: object,
        session: int | None,
        now_s: float,
    ) -> None:
        """Report a request; call control answers it by handle within 64*T1, else it gets 500."""
        handle = self.take_handle()
        taken = _Taken(self, handle, transaction, self._token(), identity)
        self._taken[handle] = taken
        taken.timer = self._heap.arm(
            now_s + self._transactions.clocking.give_up_s, taken, "unanswered"
        )
        self._notify(RequestReceived(handle, request, transaction.flow, identity, session))

    def open_request(self, handle: int) -> SipRequest | None:
        """The request of an open handle, or None when it has been answered."""
        taken = self._taken.get(handle)
        return taken.transaction.request if taken is not None else None

    def hand_over(self, handle: int) -> tuple[ServerTransaction, object, str]:
        """Close an open handle without an answer: whoever takes its transaction, identity and To-tag
        answers it."""
        taken = self._taken[handle]
        self._close(taken)
        return taken.transaction, taken.identity, taken.to_tag

    def answer(
        self,
        handle: int,
        status: int,
        reason: str | None,
        headers: HeaderLines,
        body: bytes,
        content_type: str | None,
        now_s: float,
    ) -> bool:
        """Answer the handle's request; False when it has been answered."""
        taken = self._taken.get(handle)
        if taken is None:
            return False
        response = taken.transaction.request.response(status, reason, to_tag=taken.to_tag)
        response.headers.extend(headers)
        if content_type is not None:
            response.headers.set("Content-Type", content_type)
        response.body = body
        self.respond(handle, response, now_s)
        return True

    def respond(self, handle: int, response: SipResponse, now_s: float) -> None:
        """Send a response; a final one closes the handle."""
        taken = self._taken.get(handle)
        if taken is None:
            return
        if response.status >= 200:
            self._close(taken)
        self._transactions.respond(taken.transaction, response, now_s)

    def on_ack(self, transaction: ServerTransaction, request: SipRequest, now_s: float) -> None:
        """Never for a non-INVITE transaction."""

    def on_server_failed(self, transaction: ServerTransaction, status: int, now_s: float) -> None:
        """The answer could not be sent: nobody to tell."""
