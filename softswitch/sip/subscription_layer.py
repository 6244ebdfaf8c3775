"""All subscriptions of a stack, both ways: runs their machines and performs their effects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.errors import LocalProtocolError
from softswitch.sip.dialog import move_dialogs
from softswitch.sip.effects import ClearTimer, SetTimer, TimerFired
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
)
from softswitch.sip.subscription import (
    NotifierUsage,
    StartSubscription,
    SubscriberUsage,
    SubscriptionAccepted,
    Usage,
    UsageInput,
)
from softswitch.sip.transaction_layer import ClientTransaction, ServerTransaction

if TYPE_CHECKING:
    from softswitch.sip.dialog import DialogId
    from softswitch.sip.events import SipEvent
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipRequest, SipResponse
    from softswitch.sip.timers import Timer, TimerHeap
    from softswitch.sip.transaction_layer import TransactionLayer


class SubscriptionUnit:
    """One subscription's machine with its timers: the user of its transactions."""

    __slots__ = ("layer", "machine", "timers")

    def __init__(self, layer: SubscriptionLayer, machine: Usage) -> None:
        self.layer = layer
        self.machine = machine
        self.timers: dict[str, Timer] = {}

    @property
    def identity(self) -> object:
        """Who subscribed."""
        return self.machine.terms.identity

    @property
    def permitted_hosts(self) -> frozenset[str]:
        """Nobody else may speak in this dialog."""
        return frozenset()

    def permits(self, flow: Flow) -> bool:
        """Whether a request inside the dialog may come from there: from the host it was learned on."""
        dialog = self.machine.dialog
        learned = dialog.flow if dialog is not None else self.machine.terms.flow
        return flow.remote[0] == learned.remote[0]

    def receive(self, request: SipRequest, transaction: ServerTransaction, now_s: float) -> None:
        """A request inside the dialog, from a permitted source."""
        transaction.user = self
        self.feed(DialogRequestArrived(request, transaction, transaction.flow), now_s)

    def feed(self, event: UsageInput, now_s: float) -> None:
        self.layer.perform(self, self.machine.handle(event, now_s), now_s)

    def on_timer(self, name: str, now_s: float) -> None:
        self.timers.pop(name, None)
        self.feed(TimerFired(name), now_s)

    def on_response(
        self, transaction: ClientTransaction, response: SipResponse, now_s: float
    ) -> None:
        self.feed(AnswerArrived(transaction.purpose, transaction.request, response), now_s)

    def on_client_failed(self, transaction: ClientTransaction, status: int, now_s: float) -> None:
        self.feed(RequestLost(transaction.purpose, transaction.request, status), now_s)

    def on_ack(self, transaction: ServerTransaction, request: SipRequest, now_s: float) -> None:
        """Never for a non-INVITE transaction."""

    def on_server_failed(self, transaction: ServerTransaction, status: int, now_s: float) -> None:
        """The answer could not be sent: the NOTIFY that follows will show whether he is gone."""


class SubscriptionLayer:
    """Subscriptions by number and by dialog id."""

    __slots__ = ("_heap", "_next", "_notify", "_transactions", "awaited", "by_dialog", "units")

    def __init__(
        self,
        transactions: TransactionLayer,
        heap: TimerHeap,
        notify: Callable[[SipEvent], None],
    ) -> None:
        self._transactions = transactions
        self._heap = heap
        self._notify = notify
        self._next = 0
        self.units: dict[int, SubscriptionUnit] = {}
        self.by_dialog: dict[DialogId, SubscriptionUnit] = {}
        self.awaited: dict[tuple[str, str], SubscriptionUnit] = {}

    def take_number(self) -> int:
        """A number never used before."""
        self._next += 1
        return self._next

    def moved(self, old: Flow, new: Flow) -> int:
        """Dialogs that go over `old` go on over `new`; how many."""
        return move_dialogs((unit.machine.dialog for unit in self.units.values()), old, new)

    def unit_of(self, dialog_id: DialogId) -> SubscriptionUnit | None:
        """Whose dialog this is; a NOTIFY may come before ours knows the notifier's tag."""
        return self.by_dialog.get(dialog_id) or self.awaited.get(dialog_id[:2])

    def accept(self, machine: NotifierUsage, event: SubscriptionAccepted, now_s: float) -> None:
        """Open a subscription to us."""
        unit = SubscriptionUnit(self, machine)
        self.units[machine.terms.number] = unit
        unit.feed(event, now_s)

    def start(self, machine: SubscriberUsage, event: StartSubscription, now_s: float) -> None:
        """Open a subscription of ours."""
        unit = SubscriptionUnit(self, machine)
        self.units[machine.terms.number] = unit
        self.awaited[machine.awaited] = unit
        unit.feed(event, now_s)

    def perform(self, unit: SubscriptionUnit, effects: list[SessionEffect], now_s: float) -> None:
        """Do what a subscription asked for, in order."""
        for effect in effects:
            match effect:
                case Respond():
                    transaction = effect.transaction
                    assert isinstance(transaction, ServerTransaction)
                    self._transactions.respond(transaction, effect.response, now_s)
                case Notify():
                    self._notify(effect.event)
                case SetTimer():
                    self._clear(unit, effect.name)
                    due_s = now_s + effect.after_s
                    unit.timers[effect.name] = self._heap.arm(due_s, unit, effect.name)
                case ClearTimer():
                    self._clear(unit, effect.name)
                case SendRequest():
                    self._send(unit, effect, now_s)
                case OpenDialog():
                    self.by_dialog.setdefault(effect.dialog_id, unit)
                case CloseDialog():
                    if self.by_dialog.get(effect.dialog_id) is unit:
                        del self.by_dialog[effect.dialog_id]
                case Finish():
                    self._forget(unit)
                case _:
                    raise LocalProtocolError(f"{type(effect).__name__} of a subscription")

    def _clear(self, unit: SubscriptionUnit, name: str) -> None:
        timer = unit.timers.pop(name, None)
        if timer is not None:
            self._heap.cancel(timer)

    def _send(self, unit: SubscriptionUnit, effect: SendRequest, now_s: float) -> None:
        try:
            self._transactions.send_request(
                effect.request, effect.flow, unit, effect.purpose, now_s
            )
        except LocalProtocolError:
            # The table is full: to the subscription that is a transport that fails.
            unit.feed(RequestLost(effect.purpose, effect.request, 503), now_s)

    def _forget(self, unit: SubscriptionUnit) -> None:
        for name in list(unit.timers):
            self._clear(unit, name)
        machine = unit.machine
        self.units.pop(machine.terms.number, None)
        if isinstance(machine, SubscriberUsage):
            self.awaited.pop(machine.awaited, None)
