"""The way of a message into the stack: transaction, dialog, or the gate."""

from __future__ import annotations

from collections.abc import Callable, Sized
from contextlib import suppress
from typing import TYPE_CHECKING

from softswitch.errors import LocalProtocolError, RemoteProtocolError
from softswitch.sip.effects import RequestArrived
from softswitch.sip.flow import Flow, Outgoing
from softswitch.sip.gate import Admitted, Drop, Gate, Refuse, Verdict
from softswitch.sip.message import SipRequest, SipResponse
from softswitch.sip.parser import ParseError, parse_message
from softswitch.sip.session_core import SessionTerms
from softswitch.sip.stack_config import FURTHER_EXTENSIONS
from softswitch.sip.stateless import StatelessAnswers, stamp_via
from softswitch.sip.terse import retry_after_s
from softswitch.sip.transaction.key import ServerKey, server_key
from softswitch.sip.transaction_layer import merge_key
from softswitch.sip.validation import validate_request

if TYPE_CHECKING:
    from softswitch.sip.request_layer import RequestLayer
    from softswitch.sip.session_layer import SessionLayer, SessionUnit
    from softswitch.sip.stack_config import StackConfig
    from softswitch.sip.subscription_layer import SubscriptionLayer, SubscriptionUnit
    from softswitch.sip.transaction_layer import TransactionLayer

EXTENSIONS = ("timer", "replaces", *FURTHER_EXTENSIONS)


class Reception:
    """Sorts what arrives. Every way out that is not an event is counted in `counters`.

    `events` is the queue call control reads from: while it is full nobody new is let in.
    `terms_for(request, flow, admitted)` makes the terms of a new incoming session.
    """

    __slots__ = (
        "_config",
        "_events",
        "_gate",
        "_local_addresses",
        "_requests",
        "_sessions",
        "_stateless",
        "_subscriptions",
        "_terms_for",
        "_token",
        "_transactions",
        "counters",
    )

    def __init__(
        self,
        config: StackConfig,
        gate: Gate,
        token: Callable[[], str],
        transactions: TransactionLayer,
        sessions: SessionLayer,
        subscriptions: SubscriptionLayer,
        requests: RequestLayer,
        events: Sized,
        terms_for: Callable[[SipRequest, Flow, Admitted], SessionTerms],
    ) -> None:
        self._config = config
        self._gate = gate
        self._token = token
        self._transactions = transactions
        self._sessions = sessions
        self._subscriptions = subscriptions
        self._requests = requests
        self._events = events
        self._terms_for = terms_for
        self._stateless = StatelessAnswers(config.secret or token().encode())
        self._local_addresses = frozenset(config.local_addresses)
        self.counters: dict[str, int] = dict.fromkeys(
            (
                "received",
                "keepalives",
                "unparsable",
                "malformed",
                "responses_unmatched",
                "acks_absorbed",
                "acks_unmatched",
                "refused",
                "dropped",
                "overload",
                "merged",
                "foreign_source",
                "no_dialog",
                "internal_errors",
            ),
            0,
        )

    def receive(self, data: bytes, flow: Flow, now_s: float) -> None:
        """One message. Whatever it holds, nothing is raised."""
        counters = self.counters
        counters["received"] += 1
        if len(data) <= 4 and not data.strip(b"\r\n\0"):
            counters["keepalives"] += 1
            return
        try:
            message = parse_message(data)
        except ParseError as error:
            self._on_unparsable(error, flow)
            return
        try:
            if isinstance(message, SipResponse):
                self._on_response(message, now_s)
            else:
                self._on_request(message, flow, now_s)
        except RemoteProtocolError as error:
            # A header that only now was looked into.
            counters["malformed"] += 1
            if isinstance(message, SipRequest):
                self._refuse_broken(message, flow, error.status_hint, now_s)
        except LocalProtocolError:
            # A bug of ours ends this request, never the exchange; the counter must stay 0.
            counters["internal_errors"] += 1

    # -- without state -----------------------------------------------------------------------------

    def _on_unparsable(self, error: ParseError, flow: Flow) -> None:
        self.counters["unparsable"] += 1
        if error.request is not None:
            # A Via that is not readable is copied as it came; the answer goes to the source anyway.
            with suppress(RemoteProtocolError):
                stamp_via(error.request, flow)
            self._refuse(error.request, flow, error.status_hint)

    def _refuse(
        self,
        request: SipRequest,
        flow: Flow,
        status: int | None,
        reason: str | None = None,
        headers: tuple[tuple[str, str], ...] | list[tuple[str, str]] = (),
    ) -> None:
        """Answer without memory; an ACK is never answered."""
        if status is None or request.method == "ACK":
            return
        response = self._stateless.answer(request, status, reason, headers)
        self._transactions.outbox.append(Outgoing(response.serialise(), flow))

    def _refuse_broken(
        self, request: SipRequest, flow: Flow, status: int | None, now_s: float
    ) -> None:
        """As `_refuse`, but through the transaction that may have been opened by then."""
        try:
            transaction = self._transactions.servers.get(server_key(request, flow.remote[0]))
        except RemoteProtocolError:
            transaction = None
        if transaction is None:
            self._refuse(request, flow, status)
        elif not transaction.answered:
            response = self._stateless.answer(request, status or 400)
            self._transactions.respond(transaction, response, now_s)

    # -- responses ---------------------------------------------------------------------------------

    def _on_response(self, response: SipResponse, now_s: float) -> None:
        # Malformed ones must not reach a transaction; what is parsed here is kept for later.
        headers = response.headers
        if response.status < 400:
            if "Contact" in headers.first:
                response.addresses("Contact")
            if "Record-Route" in headers.first:
                response.addresses("Record-Route")
        # More than one Via: not meant for us (RFC 3261 8.1.3.3), we never forward.
        alone = not headers.some_repeat or headers.count("Via") == 1
        if not alone or not self._transactions.receive_response(response, now_s):
            self.counters["responses_unmatched"] += 1

    # -- requests ----------------------------------------------------------------------------------

    def _on_request(self, request: SipRequest, flow: Flow, now_s: float) -> None:
        key = server_key(request, flow.remote[0])
        known = self._transactions.servers.get(key)
        if known is not None:
            known.feed(RequestArrived(request), now_s)
            return
        if request.method == "ACK":
            self._on_ack(request, flow, now_s)
            return
        stamp_via(request, flow)
        if request.method == "CANCEL":
            self._on_cancel(request, flow, now_s)
            return
        call_id, from_tag, to_tag, _ = request.ids()
        if to_tag:
            dialog_id = (call_id, to_tag, from_tag)
            unit: SessionUnit | SubscriptionUnit | None = self._sessions.by_dialog.get(dialog_id)
            if unit is None:
                unit = self._subscriptions.unit_of(dialog_id)
            if unit is not None:
                self._on_dialog_request(unit, request, flow, key, now_s)
            else:
                self._on_late_request(request, flow)
            return
        self._on_stranger(request, flow, key, now_s)

    def _on_ack(self, request: SipRequest, flow: Flow, now_s: float) -> None:
        call_id, from_tag, to_tag, _ = request.ids()
        unit = self._sessions.by_dialog.get((call_id, to_tag, from_tag))
        if unit is not None:
            if unit.permits(flow):
                self._sessions.receive_ack(unit, request, now_s)
            else:
                self.counters["foreign_source"] += 1
        elif self._stateless.is_ours(request):
            self.counters["acks_absorbed"] += 1
        else:
            self.counters["acks_unmatched"] += 1

    def _on_cancel(self, request: SipRequest, flow: Flow, now_s: float) -> None:
        key = server_key(request, flow.remote[0], "INVITE")
        invite = self._transactions.servers.get(key)
        if invite is None:
            if isinstance(self._gate.admit(request, flow, now_s), Drop):
                self.counters["dropped"] += 1
                return
            self.counters["no_dialog"] += 1
            self._refuse(request, flow, 481)
            return
        if self._transactions.full():
            self._overload(request, flow)
            return
        transaction = self._transactions.open_server(request, flow, now_s)
        tag = self._sessions.local_tag_of(invite) or self._stateless.tag_of(request)
        self._transactions.respond(transaction, request.response(200, to_tag=tag), now_s)
        self._sessions.receive_cancel(invite, request, now_s)

    def _on_dialog_request(
        self,
        unit: SessionUnit | SubscriptionUnit,
        request: SipRequest,
        flow: Flow,
        key: ServerKey,
        now_s: float,
    ) -> None:
        if not unit.permits(flow):
            verdict = self._moved(unit, request, flow, now_s)
            if not isinstance(verdict, Admitted):
                self.counters["foreign_source"] += 1
                if isinstance(verdict, Refuse):
                    self._refuse(request, flow, verdict.status, None, tuple(verdict.headers))
                return
        refusal = validate_request(request, methods=self._config.allow, extensions=EXTENSIONS)
        if refusal is not None:
            self.counters["refused"] += 1
            self._refuse(request, flow, refusal.status, None, refusal.headers)
            return
        if self._transactions.full():
            self._overload(request, flow)
            return
        transaction = self._transactions.open_server(request, flow, now_s, key)
        unit.receive(request, transaction, now_s)

    def _on_late_request(self, request: SipRequest, flow: Flow) -> None:
        """Of a dialog that is over, or of none: 481 before anything else (12.2.2), never a challenge,
        to which a phone would only answer again."""
        refusal = validate_request(request, methods=self._config.allow, extensions=EXTENSIONS)
        if refusal is not None:
            self.counters["refused"] += 1
            self._refuse(request, flow, refusal.status, None, refusal.headers)
        else:
            self.counters["no_dialog"] += 1
            self._refuse(request, flow, 481)

    def _moved(
        self,
        unit: SessionUnit | SubscriptionUnit,
        request: SipRequest,
        flow: Flow,
        now_s: float,
    ) -> Verdict:
        """A phone whose address has changed (from wire to air, in the middle of a call) may go on once it
        has proven to be the same; the challenge is what any stranger gets. Nobody else may move."""
        if unit.identity is None or unit.permitted_hosts:
            return Refuse(403)
        verdict = self._gate.admit(request, flow, now_s)
        if isinstance(verdict, Admitted) and verdict.identity != unit.identity:
            return Refuse(403)
        return verdict

    def _overload(self, request: SipRequest, flow: Flow) -> None:
        self.counters["overload"] += 1
        later = retry_after_s(request.call_id.encode("utf-8", "surrogateescape"))
        self._refuse(request, flow, 503, None, (("Retry-After", str(later)),))

    # -- requests of no dialog ---------------------------------------------------------------------

    def _on_stranger(self, request: SipRequest, flow: Flow, key: ServerKey, now_s: float) -> None:
        verdict = self._gate.admit(request, flow, now_s)
        if isinstance(verdict, Drop):
            self.counters["dropped"] += 1
            return
        if isinstance(verdict, Refuse) and verdict.status == 503:
            # There is more than can be done: saying so must cost as little as it can.
            self.counters["refused"] += 1
            self._refuse(request, flow, 503, verdict.reason, tuple(verdict.headers))
            return
        refusal = validate_request(request, methods=self._config.allow, extensions=EXTENSIONS)
        if refusal is not None:
            # The same for everybody, so it tells a stranger nothing about our users.
            self.counters["refused"] += 1
            self._refuse(request, flow, refusal.status, None, refusal.headers)
        elif request.method == "INVITE" and request.max_forwards == 0:
            self.counters["refused"] += 1
            self._refuse(request, flow, 483)
        elif isinstance(verdict, Refuse):
            self.counters["refused"] += 1
            self._refuse(request, flow, verdict.status, verdict.reason, tuple(verdict.headers))
        else:
            self._on_admitted(request, flow, key, verdict, now_s)

    def _on_admitted(
        self, request: SipRequest, flow: Flow, key: ServerKey, admitted: Admitted, now_s: float
    ) -> None:
        method = request.method
        if self._routed_elsewhere(request):
            self.counters["refused"] += 1
            self._refuse(request, flow, 403)
        elif self._transactions.crowded or len(self._events) >= self._config.max_events:
            self._overload(request, flow)
        elif method == "INVITE":
            self._on_invite(request, flow, key, admitted, now_s)
        elif method in ("BYE", "INFO", "UPDATE", "PRACK"):
            self.counters["no_dialog"] += 1
            self._refuse(request, flow, 481)
        else:
            transaction = self._transactions.open_server(request, flow, now_s, key)
            transaction.user = self._requests
            self._requests.take(request, transaction, admitted.identity, None, now_s)

    def _on_invite(
        self, request: SipRequest, flow: Flow, key: ServerKey, admitted: Admitted, now_s: float
    ) -> None:
        transactions = self._transactions
        ids = merge_key(request)
        if ids in transactions.merged:
            self.counters["merged"] += 1
            self._refuse(request, flow, 482)  # the same request came by another path (8.2.2.2)
        elif len(self._sessions.units) >= self._config.max_sessions:
            self._overload(request, flow)
        else:
            transaction = transactions.open_server(request, flow, now_s, key)
            transactions.mark_mergeable(transaction, ids)
            terms = self._terms_for(request, flow, admitted)
            self._sessions.receive(terms, request, transaction, self._token(), now_s)

    def _routed_elsewhere(self, request: SipRequest) -> bool:
        """A preloaded Route beyond us asks us to relay: we are no proxy."""
        if "Route" not in request.headers.first:
            return False
        for route in request.routes:
            uri = route.uri
            if (uri.host, uri.port or 5060) not in self._local_addresses:
                return bool(self._local_addresses)
        return False
