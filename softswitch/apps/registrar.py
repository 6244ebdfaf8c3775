"""The registrar: REGISTER requests in, where each extension's phones are out (RFC 3261 10.3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, assert_never

from msgspec import structs

from softswitch.call.endpoint import PhoneEndpoint
from softswitch.call.identity import PhoneIdentity
from softswitch.sip.effects import SetTimer, TimerFired
from softswitch.sip.events import RequestFailed, RequestReceived, ResponseReceived
from softswitch.sip.flow import Flow
from softswitch.sip.registration import (
    Answer,
    Binding,
    Bindings,
    Bound,
    FlowLost,
    RegisterArrived,
    RegistrationEffect,
    RegistrationInput,
    RegistrationPolicy,
    Unbound,
    UnboundBecause,
)

if TYPE_CHECKING:
    from softswitch.apps.phone_care import Phone, PhoneCare
    from softswitch.clock import Clock
    from softswitch.config import Office
    from softswitch.sip.stack import SipStack

_log = logging.getLogger("softswitch.registrar")

OnChange = Callable[[str, bool], None]
"""Called with an extension and whether it can be reached now."""


class Registrar:
    """Feeds `Bindings` and performs its effects.

    Parameters: `own_addresses` are (host, port) pairs that no Contact may name; `care` asks the telephones
    whether they are there. The gate has proven the sender to be the extension it registers.
    """

    def __init__(
        self,
        stack: SipStack,
        clock: Clock,
        own_addresses: frozenset[tuple[str, int]],
        care: PhoneCare,
    ) -> None:
        self._stack = stack
        self._clock = clock
        self._care = care
        care.on_change = self._answers
        self._bindings = Bindings(RegistrationPolicy(own_addresses=own_addresses))
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: list[OnChange] = []

    def listen(self, on_change: OnChange) -> None:
        """Tell `on_change` of extensions that come and go."""
        self._listeners.append(on_change)

    def handle(self, event: RequestReceived, now_s: float) -> None:
        """One authenticated REGISTER."""
        if not isinstance(event.identity, PhoneIdentity):
            self._stack.respond(event.handle, 403, now_s=now_s)
            return
        aor = event.identity.extension
        self._feed(RegisterArrived(aor, event.request, event.flow), now_s, event.handle)
        for binding in self._bindings.contacts(aor, now_s):
            if binding.flow == event.flow:
                self._care.heard(aor, binding)

    def use_office(self, office: Office) -> None:
        """Ask telephones as this office says from now on."""
        self._care.use_office(office, self._all(self._clock.monotonic_s()))

    def _all(self, now_s: float) -> list[tuple[str, Binding]]:
        return [
            (aor, binding)
            for aor in self._bindings.addresses_of_record()
            for binding in self._bindings.contacts(aor, now_s)
        ]

    def flow_lost(self, flow: Flow) -> None:
        """A stream connection has closed: who registered over it is gone."""
        self._feed(FlowLost(flow), self._clock.monotonic_s(), None)

    def endpoints(self, extension: str) -> tuple[PhoneEndpoint, ...]:
        """The registered phones of an extension, best first, without those that have fallen silent."""
        found = self._bindings.contacts(extension, self._clock.monotonic_s())
        there = [b for b in found if self._care.is_reachable(extension, b)]
        return tuple(
            structs.replace(
                _endpoint(extension, binding), others=tuple(_endpoint(extension, o) for o in others)
            )
            if others
            else _endpoint(extension, binding)
            for binding, *others in _by_device(there)
        )

    def answered(self, event: ResponseReceived | RequestFailed) -> bool:
        """The end of a request; False when it was not one of ours."""
        return self._care.answered(event)

    def snapshot(self) -> dict[str, dict[str, int]]:
        """Sizes of the tables."""
        return {"registrar": self._bindings.snapshot(), "phone_care": self._care.snapshot()}

    def close(self) -> None:
        self._care.close()
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def rows(self, now_s: float) -> list[dict[str, Any]]:
        """All registrations, for `status`."""
        return [
            {
                "extension": aor,
                "contact": binding.contact,
                "address": f"{binding.flow.remote[0]}:{binding.flow.remote[1]}",
                "transport": binding.flow.transport,
                "user_agent": binding.user_agent,
                "expires_s": binding.expires_at_s - now_s,
                **self._care.shown(aor, binding),
            }
            for aor, binding in self._all(now_s)
        ]

    def revoke(self, extension: str) -> None:
        """Its password is no longer good, or it is gone: its phones must register anew."""
        self._perform(self._bindings.revoke(extension), self._clock.monotonic_s(), None)

    def _feed(self, event: RegistrationInput, now_s: float, handle: int | None) -> None:
        self._perform(self._bindings.handle(event, now_s), now_s, handle)

    def _perform(
        self, effects: Iterable[RegistrationEffect], now_s: float, handle: int | None
    ) -> None:
        left: Binding | None = None
        for effect in effects:
            match effect:
                case Answer():
                    if handle is not None:
                        self._stack.respond(
                            handle,
                            effect.status,
                            effect.reason,
                            headers=effect.headers,
                            now_s=now_s,
                        )
                case Bound():
                    if left is not None and left.flow != effect.binding.flow:
                        self._stack.peer_moved(left.flow, effect.binding.flow)
                    left = None
                    _log.info("%s registered at %s", effect.aor, effect.binding.contact)
                    self._care.watch(effect.aor, effect.binding)
                    self._tell(effect.aor, True)
                case Unbound():
                    left = effect.binding if effect.because is UnboundBecause.REPLACED else None
                    _log.info("%s is gone: %s", effect.aor, effect.because.value)
                    self._care.forget(effect.aor, effect.binding)
                    self._tell(effect.aor, bool(self.endpoints(effect.aor)))
                case SetTimer():
                    self._arm(effect)
                case _:
                    assert_never(effect)

    def _answers(self, phone: Phone) -> None:
        self._tell(phone.extension, bool(self.endpoints(phone.extension)))

    def _arm(self, effect: SetTimer) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(
            effect.after_s, self._expire, TimerFired(effect.name)
        )

    def _expire(self, event: TimerFired) -> None:
        self._timer = None
        self._feed(event, self._clock.monotonic_s(), None)

    def _tell(self, extension: str, reachable: bool) -> None:
        for listener in self._listeners:
            listener(extension, reachable)


def _endpoint(extension: str, binding: Binding) -> PhoneEndpoint:
    flow = binding.flow
    key = (flow.transport, flow.local, flow.remote, flow.connection_id)
    return PhoneEndpoint(extension, binding.contact, key, binding.q, binding.path)


def _by_device(bindings: list[Binding]) -> list[list[Binding]]:
    """The flows of each phone, the one that it refreshed last first: it is to ring once (RFC 5626 5.3)."""
    found: list[list[Binding]] = []
    places: dict[str, list[Binding]] = {}
    for binding in bindings:
        flows = places.get(binding.device) if binding.device else None
        if flows is not None:
            flows.append(binding)
            continue
        found.append([binding])
        if binding.device:
            places[binding.device] = found[-1]
    return found
