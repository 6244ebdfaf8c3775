"""What sessions and subscriptions have in common: a machine with its timers, the user of its transactions, and
the layer that runs all of one kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from softswitch.errors import LocalProtocolError
from softswitch.sip.dialog import move_dialogs
from softswitch.sip.effects import TimerFired
from softswitch.sip.session_effects import (
    AnswerArrived,
    DialogRequestArrived,
    RequestLost,
    SendRequest,
    SessionEffect,
)

if TYPE_CHECKING:
    from softswitch.sip.dialog import Dialog, DialogId
    from softswitch.sip.events import SipEvent
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipRequest, SipResponse
    from softswitch.sip.timers import Timer, TimerHeap
    from softswitch.sip.transaction_layer import (
        ClientTransaction,
        ServerTransaction,
        TransactionLayer,
    )


class Machine(Protocol):
    """A pure machine with at most one dialog of its own."""

    @property
    def dialog(self) -> Dialog | None: ...

    def handle(self, event: Any, now_s: float) -> list[SessionEffect]: ...


MachineT = TypeVar("MachineT", bound=Machine)


class Unit(Generic[MachineT]):
    """One machine with its timers: the user of its transactions."""

    __slots__ = ("layer", "machine", "timers")

    def __init__(self, layer: Layer[MachineT], machine: MachineT) -> None:
        self.layer = layer
        self.machine = machine
        self.timers: dict[str, Timer] = {}

    def feed(self, event: Any, now_s: float) -> None:
        """Run the machine on one input and perform what it asks for."""
        self.layer.perform(self, self.machine.handle(event, now_s), now_s)

    def on_timer(self, name: str, now_s: float) -> None:
        self.timers.pop(name, None)
        self.feed(TimerFired(name), now_s)

    def on_response(
        self, transaction: ClientTransaction, response: SipResponse, now_s: float
    ) -> None:
        self.feed(AnswerArrived(transaction.purpose, transaction.machine.request, response), now_s)

    def on_client_failed(self, transaction: ClientTransaction, status: int, now_s: float) -> None:
        self.feed(RequestLost(transaction.purpose, transaction.request, status), now_s)

    def receive(self, request: SipRequest, transaction: ServerTransaction, now_s: float) -> None:
        """A request inside the dialog, other than ACK, from a permitted source."""
        transaction.user = self
        self.feed(DialogRequestArrived(request, transaction, transaction.flow), now_s)

    def on_ack(self, transaction: ServerTransaction, request: SipRequest, now_s: float) -> None:
        """The ACK of a refused INVITE."""

    def on_server_failed(self, transaction: ServerTransaction, status: int, now_s: float) -> None:
        """An answer could not be sent."""


class Layer(ABC, Generic[MachineT]):
    """All machines of one kind, by number and by dialog; `notify` takes their events."""

    __slots__ = ("_heap", "_next", "_notify", "_transactions", "by_dialog", "units")

    def __init__(
        self, transactions: TransactionLayer, heap: TimerHeap, notify: Callable[[SipEvent], None]
    ) -> None:
        self._transactions = transactions
        self._heap = heap
        self._notify = notify
        self._next = 0
        self.units: dict[int, Any] = {}
        self.by_dialog: dict[DialogId, Any] = {}

    @abstractmethod
    def perform(self, unit: Any, effects: list[SessionEffect], now_s: float) -> None:
        """Do what a machine asked for, in order."""

    def moved(self, old: Flow, new: Flow) -> int:
        """Dialogs that go over `old` go on over `new`; how many."""
        return move_dialogs((unit.machine.dialog for unit in self.units.values()), old, new)

    def take_number(self) -> int:
        """A number never used before."""
        self._next += 1
        return self._next

    def _send(self, unit: Unit[MachineT], effect: SendRequest, now_s: float) -> None:
        try:
            self._transactions.send_request(
                effect.request, effect.flow, unit, effect.purpose, now_s
            )
        except LocalProtocolError:
            # The table is full: to the machine that is a transport that fails.
            unit.feed(RequestLost(effect.purpose, effect.request, 503), now_s)
