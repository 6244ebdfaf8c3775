"""What is commanded of subscriptions, ours and those of others to us: the facade's, by their numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.errors import LocalProtocolError
from softswitch.sip.contact import contact_at, contact_of, user_of
from softswitch.sip.message import SipRequest
from softswitch.sip.subscription import (
    EndSubscription,
    EventId,
    NotifierUsage,
    RefreshSubscription,
    StartSubscription,
    StateChanged,
    SubscriberUsage,
    SubscriptionAccepted,
    UsageInput,
    UsageTerms,
    granted,
)

if TYPE_CHECKING:
    from softswitch.sip.credentials import Credentials
    from softswitch.sip.flow import Flow
    from softswitch.sip.request_layer import RequestLayer
    from softswitch.sip.session_effects import HeaderLines
    from softswitch.sip.stack_config import StackConfig
    from softswitch.sip.subscription_layer import SubscriptionLayer
    from softswitch.sip.uri import NameAddr


class Subscriptions:
    """Subscriptions of a stack; those that are over are counted in `late_commands` when they are
    commanded still, because the event of their end may not have been taken."""

    __slots__ = ("_config", "_layer", "_requests", "_token", "late_commands")

    def __init__(
        self,
        config: StackConfig,
        token: Callable[[], str],
        layer: SubscriptionLayer,
        requests: RequestLayer,
    ) -> None:
        self._config = config
        self._token = token
        self._layer = layer
        self._requests = requests
        self.late_commands = 0

    def __len__(self) -> int:
        return len(self._layer.units)

    def moved(self, old: Flow, new: Flow) -> int:
        """As `SipStack.peer_moved`."""
        return self._layer.moved(old, new)

    def accept(
        self, handle: int, body: bytes, content_type: str | None, *, now_s: float
    ) -> int | None:
        """Answer a SUBSCRIBE (`RequestReceived`) with 200 and notify the state `body` at once and at
        each refresh; returns the subscription's number, whose end is told by `SubscriptionEnded`.

        None when it was refused: 423 too brief, 489 without Event, 503 too many, or answered already.
        """
        request = self._requests.open_request(handle)
        if request is None:
            self.late_commands += 1
            return None
        event, config = EventId.of(request), self._config
        if event is None:
            self._refuse(handle, 489, config.allowed_events(), now_s)
            return None
        if 0 < (request.expires or 0) < config.subscription_min_s:
            minimum = ("Min-Expires", str(config.subscription_min_s))
            self._refuse(handle, 423, (minimum,), now_s)
            return None
        if len(self._layer.units) >= config.max_subscriptions:
            self._refuse(handle, 503, (("Retry-After", "60"),), now_s)
            return None
        transaction, identity, tag = self._requests.hand_over(handle)
        flow = transaction.flow
        number = self._layer.take_number()
        contact = contact_at(self._config, user_of(request.uri), flow)
        terms = UsageTerms(number, config, flow, contact, self._token, identity)
        accepted = SubscriptionAccepted(
            request, transaction, tag, granted(request, config), body, content_type
        )
        self._layer.accept(NotifierUsage(terms, event), accepted, now_s)
        return number

    def notify(
        self, subscription: int, body: bytes, content_type: str | None, *, now_s: float
    ) -> None:
        """Tell a subscriber of us another state; late commands are ignored and counted."""
        self._feed(subscription, StateChanged(body, content_type), now_s)

    def end(self, subscription: int, reason: str = "noresource", *, now_s: float) -> None:
        """Tell a subscriber of us that it is over (`reason` of RFC 6665 4.1.3, with parameters)."""
        self._feed(subscription, EndSubscription(reason), now_s)

    def subscribe(
        self,
        event: str,
        target: str,
        flow: Flow,
        *,
        from_: NameAddr,
        to: NameAddr,
        contact: str | None = None,
        headers: HeaderLines = (),
        expires_s: int = 3600,
        credentials: Credentials | None = None,
        now_s: float,
    ) -> int:
        """Subscribe to `event` at `target`; returns the subscription's number. `NotifyReceived`s and one
        `SubscriptionEnded` follow. Raises `LocalProtocolError` at the limit."""
        if len(self._layer.units) >= self._config.max_subscriptions:
            raise LocalProtocolError("too many subscriptions")
        number = self._layer.take_number()
        call_id, tag = self._token(), from_.tag or self._token()
        contact_value = contact_of(self._config, contact, from_, flow)
        from_value = str(from_) if from_.tag else f"{from_};tag={tag}"
        request = SipRequest.fresh("SUBSCRIBE", target, from_value, str(to), call_id)
        lines = (
            ("Contact", contact_value),
            ("User-Agent", self._config.user_agent),
            ("Event", event),
            ("Expires", str(expires_s)),
        )
        request.headers.extend((*lines, *headers))
        parsed = EventId.of(request)
        if parsed is None:
            raise LocalProtocolError(f"{event} is no event package")
        terms = UsageTerms(
            number, self._config, flow, contact_value, self._token, None, credentials
        )
        machine = SubscriberUsage(terms, parsed, call_id, tag)
        self._layer.start(machine, StartSubscription(request), now_s)
        return number

    def refresh(self, subscription: int, expires_s: int, *, now_s: float) -> None:
        """Subscribe again, or with 0 end it; after the end ignored and counted."""
        self._feed(subscription, RefreshSubscription(expires_s), now_s)

    def _feed(self, subscription: int, command: UsageInput, now_s: float) -> None:
        unit = self._layer.units.get(subscription)
        if unit is None:
            self.late_commands += 1
        else:
            unit.feed(command, now_s)

    def _refuse(self, handle: int, status: int, headers: HeaderLines, now_s: float) -> None:
        self._requests.answer(handle, status, None, headers, b"", None, now_s)
