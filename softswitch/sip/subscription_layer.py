"""All subscriptions of a stack, both ways: runs their machines and performs their effects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.errors import LocalProtocolError
from softswitch.sip.effects import ClearTimer, SetTimer
from softswitch.sip.session_effects import (
    CloseDialog,
    Finish,
    Notify,
    OpenDialog,
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
)
from softswitch.sip.transaction_layer import ServerTransaction
from softswitch.sip.units import Layer, Unit

if TYPE_CHECKING:
    from softswitch.sip.dialog import DialogId
    from softswitch.sip.events import SipEvent
    from softswitch.sip.flow import Flow
    from softswitch.sip.timers import TimerHeap
    from softswitch.sip.transaction_layer import TransactionLayer


class SubscriptionUnit(Unit[Usage]):
    """One subscription's machine with its timers. That the answer to a SUBSCRIBE could not be sent tells
    nothing: the NOTIFY that follows will show whether he is gone."""

    __slots__ = ()

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


class SubscriptionLayer(Layer[Usage]):
    """Subscriptions by number and by dialog id."""

    __slots__ = ("awaited",)

    units: dict[int, SubscriptionUnit]
    by_dialog: dict[DialogId, SubscriptionUnit]

    def __init__(
        self,
        transactions: TransactionLayer,
        heap: TimerHeap,
        notify: Callable[[SipEvent], None],
    ) -> None:
        super().__init__(transactions, heap, notify)
        self.awaited: dict[tuple[str, str], SubscriptionUnit] = {}

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
                    self._heap.set(unit.timers, effect.name, now_s + effect.after_s, unit)
                case ClearTimer():
                    self._heap.clear(unit.timers, effect.name)
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

    def _forget(self, unit: SubscriptionUnit) -> None:
        self._heap.clear_all(unit.timers)
        machine = unit.machine
        self.units.pop(machine.terms.number, None)
        if isinstance(machine, SubscriberUsage):
            self.awaited.pop(machine.awaited, None)
