"""All transactions of a stack: finds the one a message belongs to and performs its effects."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

from softswitch.errors import LocalProtocolError, SipError
from softswitch.sip.contact import written_address
from softswitch.sip.effects import (
    STARTED,
    TRANSPORT_FAILED,
    ClearTimer,
    Clocking,
    Fail,
    Linger,
    PassRequest,
    PassResponse,
    RequestArrived,
    ResponseArrived,
    ResponseGiven,
    Send,
    SetTimer,
    Terminate,
    TimerFired,
    TransactionInput,
)
from softswitch.sip.flow import RELIABLE_TRANSPORTS, Flow, Outgoing
from softswitch.sip.message import SipRequest
from softswitch.sip.timers import Lane, TimerHeap
from softswitch.sip.transaction.invite_client import InviteClientTransaction
from softswitch.sip.transaction.invite_server import ACCEPTED, InviteServerTransaction
from softswitch.sip.transaction.key import (
    MAGIC_COOKIE,
    ClientKey,
    ServerKey,
    client_key,
    server_key,
)
from softswitch.sip.transaction.non_invite_client import NonInviteClientTransaction
from softswitch.sip.transaction.non_invite_server import NonInviteServerTransaction

if TYPE_CHECKING:
    from softswitch.sip.message import SipResponse
    from softswitch.sip.timers import Timer

ClientMachine = InviteClientTransaction | NonInviteClientTransaction
ServerMachine = InviteServerTransaction | NonInviteServerTransaction
MergeKey = tuple[str, str, int]


_ANSWERED = SipRequest("ANSWERED", "")

LARGE_OCTETS = 1300
"""Requests beyond this go by a stream where the peer takes one: else they might be cut into IP fragments
that get lost (RFC 3261 18.1.1)."""
_STREAM_TIMER = "stream"


def _stream_is_dead(event: TransactionInput) -> bool:
    return event is TRANSPORT_FAILED or (type(event) is TimerFired and event.name == _STREAM_TIMER)


class TransactionUser(Protocol):
    """What stands above a transaction (RFC 3261 section 5 calls it TU)."""

    def on_response(
        self, transaction: ClientTransaction, response: SipResponse, now_s: float
    ) -> None: ...

    def on_client_failed(
        self, transaction: ClientTransaction, status: int, now_s: float
    ) -> None: ...

    def on_ack(self, transaction: ServerTransaction, request: SipRequest, now_s: float) -> None: ...

    def on_server_failed(
        self, transaction: ServerTransaction, status: int, now_s: float
    ) -> None: ...


class _Transaction:
    """A machine, its flow, its timers and its user."""

    __slots__ = ()

    layer: TransactionLayer
    flow: Flow
    timers: dict[str, Timer]

    def on_timer(self, name: str, now_s: float) -> None:
        self.timers.pop(name, None)
        self.feed(TimerFired(name), now_s)

    def feed(self, event: TransactionInput, now_s: float) -> None:
        raise NotImplementedError


class ClientTransaction(_Transaction, Struct, eq=False):
    """One request of ours. `purpose` is the user's note of what it was for; `fallback` the flow to take
    when the stream chosen for its size leads nowhere."""

    layer: TransactionLayer
    flow: Flow
    key: ClientKey
    machine: ClientMachine
    user: TransactionUser
    purpose: object
    timers: dict[str, Timer] = field(default_factory=dict)
    fallback: Flow | None = None

    __hash__ = object.__hash__

    @property
    def request(self) -> SipRequest:
        return self.machine.request

    def wait_for_stream(self, now_s: float) -> None:
        """A firewall may swallow connections without a word: then UDP has its turn soon."""
        layer = self.layer
        layer.heap.set(self.timers, _STREAM_TIMER, now_s + 2 * layer.clocking.t1_s, self)

    def expire(self) -> None:
        self.layer.forget_client(self)

    def feed(self, event: TransactionInput, now_s: float) -> None:
        layer = self.layer
        if self.fallback is not None:
            if type(event) is ResponseArrived:
                self.fallback = None  # the stream works
                layer.heap.clear(self.timers, _STREAM_TIMER)
            elif _stream_is_dead(event):
                layer.fall_back(self, now_s)
                return
        trouble: SipError | None = None
        answered = False
        for effect in self.machine.handle(event, now_s):
            kind = type(effect)
            if kind is Send:
                layer.outbox.append(Outgoing(effect.data, self.flow))  # type: ignore[union-attr]
            elif kind is Linger:
                layer.lanes[effect.after_s].add(self, now_s)  # type: ignore[union-attr]
                answered = True
            elif kind is SetTimer:
                at_s = now_s + effect.after_s  # type: ignore[union-attr]
                layer.heap.set(self.timers, effect.name, at_s, self)  # type: ignore[union-attr]
            elif kind is ClearTimer:
                layer.heap.clear(self.timers, effect.name)  # type: ignore[union-attr]
            elif kind is PassResponse:
                try:
                    self.user.on_response(self, effect.response, now_s)  # type: ignore[union-attr]
                except SipError as error:
                    trouble = error  # the transaction's own business goes on first
            elif kind is Fail:
                self.user.on_client_failed(self, effect.status, now_s)  # type: ignore[union-attr]
            elif kind is Terminate:
                layer.forget_client(self)
        if answered and type(self.machine) is NonInviteClientTransaction:
            # It will only absorb what comes again: let go of everything else.
            self.machine.request = _ANSWERED
            del self.user
        if trouble is not None:
            raise trouble


class ServerTransaction(_Transaction, Struct, eq=False):
    """One request of a peer. `user` is None until somebody takes the request."""

    layer: TransactionLayer
    flow: Flow
    key: ServerKey
    machine: ServerMachine
    request: SipRequest
    user: TransactionUser | None = None
    timers: dict[str, Timer] = field(default_factory=dict)
    merge_key: MergeKey | None = None

    __hash__ = object.__hash__

    def expire(self) -> None:
        self.layer.forget_server(self)

    @property
    def answered(self) -> bool:
        """Whether a final response has been given."""
        return self.machine.state.name not in ("TRYING", "PROCEEDING")

    def feed(self, event: TransactionInput, now_s: float) -> None:
        layer = self.layer
        for effect in self.machine.handle(event, now_s):
            kind = type(effect)
            if kind is Send:
                layer.outbox.append(Outgoing(effect.data, self.flow))  # type: ignore[union-attr]
            elif kind is SetTimer:
                at_s = now_s + effect.after_s  # type: ignore[union-attr]
                layer.heap.set(self.timers, effect.name, at_s, self)  # type: ignore[union-attr]
            elif kind is ClearTimer:
                layer.heap.clear(self.timers, effect.name)  # type: ignore[union-attr]
            elif kind is PassRequest:
                if self.user is not None:  # an ACK: the first request was not fed here
                    self.user.on_ack(self, effect.request, now_s)  # type: ignore[union-attr]
            elif kind is Linger:
                layer.lanes[effect.after_s].add(self, now_s)  # type: ignore[union-attr]
            elif kind is Fail:
                if self.user is not None:
                    self.user.on_server_failed(self, effect.status, now_s)  # type: ignore[union-attr]
            elif kind is Terminate:
                layer.forget_server(self)


class TransactionLayer:
    """Tables of client and server transactions, bounded by `limit` together.

    `outbox`, always the same list, collects what is to be sent; `heap` is the stack's timer heap; `token`
    gives branches; `written` the address that Via tells of a flow; `stream_for`, where set, the stream to use
    instead of a UDP flow for large requests, None where the peer is not known to take one.
    """

    __slots__ = (
        "_token",
        "_written",
        "clients",
        "clocking",
        "heap",
        "lanes",
        "limit",
        "merged",
        "outbox",
        "servers",
        "stream_for",
    )

    def __init__(
        self,
        heap: TimerHeap,
        clocking: Clocking,
        token: Callable[[], str],
        *,
        limit: int,
        written: Callable[[Flow], tuple[str, int]] = attrgetter("local"),
    ) -> None:
        self.heap = heap
        self.clocking = clocking
        self.lanes = {
            after_s: Lane(heap, after_s) for after_s in (clocking.give_up_s, clocking.t4_s)
        }
        self.limit = limit
        self.outbox: list[Outgoing] = []
        self.clients: dict[ClientKey, ClientTransaction] = {}
        self.servers: dict[ServerKey, ServerTransaction] = {}
        self.merged: dict[MergeKey, ServerTransaction] = {}
        self._token = token
        self._written = written
        self.stream_for: Callable[[Flow], Flow | None] | None = None

    def __len__(self) -> int:
        return len(self.clients) + len(self.servers)

    def full(self) -> bool:
        """Whether no further transaction may be opened."""
        return len(self.clients) + len(self.servers) >= self.limit

    @property
    def crowded(self) -> bool:
        """Whether nothing new may begin: the last quarter is kept for what has begun, since a BYE that is
        refused leaves a call up for which nobody is there any more."""
        return len(self.clients) + len(self.servers) >= self.limit - self.limit // 4

    # -- our requests ----------------------------------------------------------------------------

    def add_via(self, request: SipRequest, flow: Flow) -> str:
        """Put our Via on top with a fresh branch and rport (RFC 3581); returns the branch."""
        branch = MAGIC_COOKIE + self._token()
        via = _via_before_branch(flow.transport, *self._written(flow)) + branch
        request.headers.prepend("Via", via)
        return branch

    def _via(self, flow: Flow, branch: str) -> str:
        return _via_before_branch(flow.transport, *self._written(flow)) + branch

    def send_request(
        self,
        request: SipRequest,
        flow: Flow,
        user: TransactionUser,
        purpose: object,
        now_s: float,
    ) -> ClientTransaction:
        """Open a client transaction for `request`, which has no Via yet (a CANCEL has the one of
        its INVITE). Raises LocalProtocolError at the limit."""
        if self.full():
            raise LocalProtocolError("too many transactions")
        stream: Flow | None = None
        if request.method == "CANCEL":
            branch = request.top_via.branch or ""
            invite = self.clients.get((branch, "INVITE"))
            if invite is not None:
                flow = invite.flow  # where its INVITE went (9.1)
            machine = self._machine(request, flow)
        else:
            branch = self.add_via(request, flow)
            machine = self._machine(request, flow)
            if self.stream_for and flow.transport == "udp" and machine.size > LARGE_OCTETS:
                stream = self.stream_for(flow)
        if stream is not None:
            request.headers.replace_first("Via", self._via(stream, branch))
            machine = self._machine(request, stream)
        key = (branch, request.method)
        transaction = ClientTransaction(self, stream or flow, key, machine, user, purpose)
        self.clients[key] = transaction
        transaction.feed(STARTED, now_s)
        if stream is not None:
            transaction.fallback = flow
            transaction.wait_for_stream(now_s)
        return transaction

    def _machine(self, request: SipRequest, flow: Flow) -> ClientMachine:
        reliable = flow.transport in RELIABLE_TRANSPORTS
        if request.method == "INVITE":
            return InviteClientTransaction(request, reliable, self.clocking)
        return NonInviteClientTransaction(request, reliable, self.clocking)

    def fall_back(self, transaction: ClientTransaction, now_s: float) -> None:
        """Send over UDP what was too large for it, for the peer takes no stream (18.1.1)."""
        flow = transaction.fallback
        assert flow is not None
        request = transaction.request
        request.headers.replace_first("Via", self._via(flow, transaction.key[0]))
        self.heap.clear_all(transaction.timers)
        transaction.fallback = None
        transaction.flow = flow
        transaction.machine = self._machine(request, flow)
        transaction.feed(STARTED, now_s)

    def client_of(self, request: SipRequest) -> ClientTransaction | None:
        """The client transaction that sent this very request of ours, while it lives."""
        if "Via" not in request.headers:
            return None  # it never got as far as a transaction
        return self.clients.get((request.top_via.branch or "", request.method))

    def receive_response(self, response: SipResponse, now_s: float) -> bool:
        """Hand a response to its transaction; False when there is none."""
        transaction = self.clients.get(client_key(response))
        if transaction is None:
            return False
        transaction.feed(ResponseArrived(response), now_s)
        return True

    def forget_client(self, transaction: ClientTransaction) -> None:
        """Drop a client transaction and its timers, whatever its state."""
        self.heap.clear_all(transaction.timers)
        if self.clients.get(transaction.key) is transaction:
            del self.clients[transaction.key]

    # -- their requests --------------------------------------------------------------------------

    def open_server(
        self, request: SipRequest, flow: Flow, now_s: float, key: ServerKey | None = None
    ) -> ServerTransaction:
        """Open a server transaction; the caller has looked at `full` and takes the request up.

        `key` saves working out `server_key` again.
        """
        machine: ServerMachine
        reliable = flow.transport in RELIABLE_TRANSPORTS
        if request.method == "INVITE":
            machine = InviteServerTransaction(reliable, self.clocking)
        else:
            machine = NonInviteServerTransaction(reliable, self.clocking)
        if key is None:
            key = server_key(request, flow.remote[0])
        transaction = ServerTransaction(self, flow, key, machine, request)
        self.servers[key] = transaction
        # Its one effect hands up the request that the caller has in his hands.
        machine.handle(RequestArrived(request), now_s)
        return transaction

    def mark_mergeable(self, transaction: ServerTransaction, key: MergeKey) -> None:
        """Remember the ids by which a second copy on another path is known (RFC 3261 8.2.2.2)."""
        transaction.merge_key = key
        self.merged[key] = transaction

    def respond(self, transaction: ServerTransaction, response: SipResponse, now_s: float) -> None:
        """Answer by the transaction's flow: the packet's source, never what Via claims."""
        status = response.status
        transaction.feed(ResponseGiven(status, response.serialise()), now_s)
        if status >= 200:
            # For 32 s it will only repeat those octets: let go of everything else.
            transaction.request = _ANSWERED
            if type(transaction.machine) is NonInviteServerTransaction:
                transaction.user = None

    def leave(self, transaction: ServerTransaction) -> None:
        """Its user is over and needs it no more: a request that was accepted lingers without him."""
        if transaction.machine.state is ACCEPTED:
            transaction.user = None

    def forget_server(self, transaction: ServerTransaction) -> None:
        """Drop a server transaction and its timers, whatever its state."""
        self.heap.clear_all(transaction.timers)
        transaction.user = None  # it holds this transaction too: without the cycle both go at once
        if self.servers.get(transaction.key) is transaction:
            del self.servers[transaction.key]
        key = transaction.merge_key
        if key is not None and self.merged.get(key) is transaction:
            del self.merged[key]

    def flow_failed(self, flow: Flow, now_s: float) -> None:
        """The transport gave up on `flow`: every transaction that still sends on it hears so."""
        remote = flow.remote  # compared first: cheap, and nearly always enough to say no
        clients = [t for t in self.clients.values() if t.flow.remote == remote and t.flow == flow]
        servers = [t for t in self.servers.values() if t.flow.remote == remote and t.flow == flow]
        for client in clients:
            client.feed(TRANSPORT_FAILED, now_s)
        for server in servers:
            server.feed(TRANSPORT_FAILED, now_s)


@lru_cache(256)
def _via_before_branch(transport: str, host: str, port: int) -> str:
    """What is the same in all our Vias of one listener."""
    return f"SIP/2.0/{transport.upper()} {written_address(host, port)};rport;branch="


def merge_key(request: SipRequest) -> MergeKey:
    """Call-ID, From tag and CSeq number: equal for the copies of a merged request."""
    call_id, from_tag, _, cseq = request.ids()
    return call_id, from_tag, cseq.number
