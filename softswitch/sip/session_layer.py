"""All INVITE sessions of a stack: runs their machines and performs their effects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.errors import SipError
from softswitch.sip.effects import ClearTimer, SetTimer
from softswitch.sip.events import RequestFailed, ResponseReceived
from softswitch.sip.flow import Flow, Outgoing
from softswitch.sip.invite_incoming import IncomingInviteSession
from softswitch.sip.invite_outgoing import OutgoingCall, OutgoingInviteSession
from softswitch.sip.invite_session import InviteSession
from softswitch.sip.session_core import SessionTerms
from softswitch.sip.session_effects import (
    AbandonInvite,
    AckArrived,
    CancelArrived,
    ClearAllTimers,
    CloseDialog,
    Finish,
    HandleDone,
    InviteArrived,
    Notify,
    OpenDialog,
    PassUp,
    Respond,
    SendAck,
    SendRequest,
    ServerLost,
    SessionEffect,
    StartCall,
)
from softswitch.sip.transaction_layer import ServerTransaction
from softswitch.sip.units import Layer, Unit

if TYPE_CHECKING:
    from softswitch.sip.dialog import DialogId
    from softswitch.sip.events import SipEvent
    from softswitch.sip.message import SipRequest
    from softswitch.sip.timers import Timer, TimerHeap
    from softswitch.sip.transaction_layer import TransactionLayer

PassUpCall = Callable[["SessionUnit", "SipRequest", ServerTransaction, float], None]


class SessionUnit(Unit[InviteSession]):
    """One session's machine with its timers: the user of the session's transactions. `invite` is the one
    that it came with."""

    __slots__ = ("invite",)

    def __init__(
        self, layer: SessionLayer, machine: InviteSession, invite: ServerTransaction | None = None
    ) -> None:
        self.layer = layer
        self.machine = machine
        self.timers: dict[str, Timer] = {}
        self.invite = invite

    def on_ack(self, transaction: ServerTransaction, request: SipRequest, now_s: float) -> None:
        self.feed(AckArrived(request), now_s)

    def on_server_failed(self, transaction: ServerTransaction, status: int, now_s: float) -> None:
        self.feed(ServerLost(transaction), now_s)

    @property
    def identity(self) -> object:
        """Who the gate said the peer is."""
        return self.machine.terms.identity

    @property
    def permitted_hosts(self) -> frozenset[str]:
        """Further hosts that may speak in the dialog: a trunk's."""
        return self.machine.terms.permitted_hosts

    def permits(self, flow: Flow) -> bool:
        """Whether a request inside the dialog may come from there."""
        dialog = self.machine.dialog
        terms = self.machine.terms
        host = flow.remote[0]
        learned = dialog.flow if dialog is not None else terms.flow
        return host == learned.remote[0] or host in terms.permitted_hosts


class SessionLayer(Layer[InviteSession]):
    """Sessions by number and by dialog id.

    `notify` takes the events; `pass_up` the requests inside a dialog that are no session's
    business; both are the facade's.
    """

    __slots__ = ("_pass_up",)

    units: dict[int, SessionUnit]
    by_dialog: dict[DialogId, SessionUnit]

    def __init__(
        self,
        transactions: TransactionLayer,
        heap: TimerHeap,
        notify: Callable[[SipEvent], None],
        pass_up: PassUpCall,
    ) -> None:
        super().__init__(transactions, heap, notify)
        self._pass_up = pass_up

    def start(
        self,
        terms: SessionTerms,
        call: OutgoingCall,
        timeout_s: float,
        silence_s: float | None,
        now_s: float,
    ) -> None:
        """Open an outgoing session and send its INVITE."""
        unit = SessionUnit(self, OutgoingInviteSession.of(terms, call))
        self.units[terms.session] = unit
        unit.feed(StartCall(timeout_s, silence_s), now_s)

    def receive(
        self,
        terms: SessionTerms,
        request: SipRequest,
        transaction: ServerTransaction,
        local_tag: str,
        now_s: float,
    ) -> None:
        """Open an incoming session for an admitted INVITE."""
        unit = SessionUnit(self, IncomingInviteSession.of(terms, local_tag), transaction)
        self.units[terms.session] = unit
        transaction.user = unit
        try:
            unit.feed(InviteArrived(request, transaction), now_s)
        except SipError:
            self._forget(unit)
            transaction.user = None
            raise

    def receive_ack(self, unit: SessionUnit, request: SipRequest, now_s: float) -> None:
        """The ACK of a 2xx."""
        unit.feed(AckArrived(request), now_s)

    def receive_cancel(self, invite: ServerTransaction, request: SipRequest, now_s: float) -> None:
        """A CANCEL for the INVITE on this transaction."""
        user = invite.user
        if isinstance(user, SessionUnit):
            user.feed(CancelArrived(request, invite), now_s)

    def local_tag_of(self, invite: ServerTransaction) -> str | None:
        """The To-tag our responses to this INVITE carry."""
        user = invite.user
        if isinstance(user, SessionUnit) and user.machine.dialog is not None:
            return user.machine.dialog.local_tag
        return None

    # -- effects -----------------------------------------------------------------------------------

    def perform(self, unit: SessionUnit, effects: list[SessionEffect], now_s: float) -> None:
        """Do what a session asked for, in order."""
        for effect in effects:
            kind = type(effect)  # asked for the most frequent first
            if kind is Notify:
                self._notify(effect.event)  # type: ignore[union-attr]
            elif kind is SetTimer:
                at_s = now_s + effect.after_s  # type: ignore[union-attr]
                self._heap.set(unit.timers, effect.name, at_s, unit)  # type: ignore[union-attr]
            elif kind is ClearTimer:
                self._heap.clear(unit.timers, effect.name)  # type: ignore[union-attr]
            elif kind is Respond:
                self._transactions.respond(effect.transaction, effect.response, now_s)  # type: ignore[union-attr, arg-type]
            elif kind is SendRequest:
                self._send(unit, effect, now_s)  # type: ignore[arg-type]
            elif kind is Finish:
                self._forget(unit)
            elif kind is OpenDialog:
                self.by_dialog.setdefault(effect.dialog_id, unit)  # type: ignore[union-attr]
            elif kind is CloseDialog:
                if self.by_dialog.get(effect.dialog_id) is unit:  # type: ignore[union-attr]
                    del self.by_dialog[effect.dialog_id]  # type: ignore[union-attr]
            elif kind is ClearAllTimers:
                self._heap.clear_all(unit.timers)
            elif kind is SendAck:
                self._send_ack(effect)  # type: ignore[arg-type]
            else:
                self._perform_rarer(unit, effect, now_s)

    def _perform_rarer(self, unit: SessionUnit, effect: SessionEffect, now_s: float) -> None:
        """What a session asks for less often."""
        match effect:
            case PassUp():
                transaction = effect.transaction
                assert isinstance(transaction, ServerTransaction)
                self._pass_up(unit, effect.request, transaction, now_s)
            case HandleDone():
                self._report(effect)
            case AbandonInvite():
                client = self._transactions.client_of(effect.request)
                if client is not None:
                    self._transactions.forget_client(client)

    def _send_ack(self, effect: SendAck) -> None:
        request = effect.request
        if request is not None:
            self._transactions.add_via(request, effect.flow)
            effect.octets = request.serialise()
            effect.request = None
        self._transactions.outbox.append(Outgoing(effect.octets, effect.flow))

    def _report(self, effect: HandleDone) -> None:
        if effect.response is not None:
            self._notify(ResponseReceived(effect.handle, effect.response))
        else:
            self._notify(RequestFailed(effect.handle, effect.status))

    def _forget(self, unit: SessionUnit) -> None:
        self._heap.clear_all(unit.timers)
        if unit.invite is not None:
            self._transactions.leave(unit.invite)
            unit.invite = None
        self.units.pop(unit.machine.session, None)
        dialog = unit.machine.dialog
        if dialog is not None and self.by_dialog.get(dialog.id) is unit:
            del self.by_dialog[dialog.id]
