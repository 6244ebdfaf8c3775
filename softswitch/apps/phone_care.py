"""Asks registered telephones whether they are there: the adapter around `PhoneHealth`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, assert_never

from softswitch.call.phone_health import (
    ANSWER_S,
    AskTimer,
    Forget,
    Heard,
    OptionsAnswered,
    OptionsLost,
    PhoneHealth,
    PhoneHealthEvent,
    ReachabilityChanged,
    SendOptions,
    SetAskTimer,
    Watch,
)
from softswitch.errors import SoftswitchError
from softswitch.sip.events import RequestFailed, ResponseReceived
from softswitch.sip.flow import Flow
from softswitch.sip.registration import Binding
from softswitch.sip.uri import NameAddr, SipUri

if TYPE_CHECKING:
    from softswitch.clock import Clock
    from softswitch.config import Office
    from softswitch.sip.stack import SipStack

_log = logging.getLogger("softswitch.registrar")


class Phone(NamedTuple):
    """One telephone of an extension."""

    extension: str
    contact: str
    flow: Flow
    route: tuple[str, ...] = ()

    @classmethod
    def of(cls, extension: str, binding: Binding) -> Phone:
        return cls(extension, binding.contact, binding.flow, binding.path)


class PhoneCare:
    """Sends the OPTIONS that `PhoneHealth` wants, as `[sip] qualify` and `qualify` of an extension say.

    Parameters: `uniform` draws from [0, 1); `pump` sends what the stack has; `on_change(phone)` is told of a
    telephone that has fallen silent, or answers again.
    """

    def __init__(
        self,
        office: Office,
        stack: SipStack,
        clock: Clock,
        uniform: Callable[[], float],
        pump: Callable[[], None],
    ) -> None:
        self._stack = stack
        self._clock = clock
        self._pump = pump
        self._health = PhoneHealth(office.sip.qualify_s, uniform)
        self._asked: dict[int, Phone] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._take(office)
        self.on_change: Callable[[Phone], None] = lambda phone: None

    def _take(self, office: Office) -> None:
        self._own = NameAddr(str(SipUri("sip", None, office.office.domain)))
        self._modes = {e.number: e.qualify or office.sip.qualify for e in office.extensions}
        self._health.use_interval(office.sip.qualify_s)

    def use_office(self, office: Office, registered: Iterable[tuple[str, Binding]]) -> None:
        """Ask as this office says from now on those that are registered."""
        self._take(office)
        for extension, binding in registered:
            if self._wanted(extension, binding):
                self.watch(extension, binding)
            else:
                self.forget(extension, binding)

    def _wanted(self, extension: str, binding: Binding) -> bool:
        mode = self._modes.get(extension, "off")
        return mode == "all" or (mode == "nat" and _behind_nat(binding))

    # -- what the registrar tells and asks -----------------------------------------------------------

    def watch(self, extension: str, binding: Binding) -> None:
        """A telephone is new here."""
        if self._wanted(extension, binding):
            self._feed(Watch(Phone.of(extension, binding)))

    def forget(self, extension: str, binding: Binding) -> None:
        self._feed(Forget(Phone.of(extension, binding)))

    def heard(self, extension: str, binding: Binding) -> None:
        """It has refreshed its registration."""
        self._feed(Heard(Phone.of(extension, binding)))

    def is_reachable(self, extension: str, binding: Binding) -> bool:
        """False while it does not answer."""
        return self._health.is_reachable(Phone.of(extension, binding))

    def shown(self, extension: str, binding: Binding) -> dict[str, Any]:
        """`reachable` (None: not known) and `round_trip_ms`, for `status`."""
        reachable, took_s = self._health.shown(Phone.of(extension, binding))
        took_ms = None if took_s is None else round(1000 * took_s, 1)
        return {"reachable": reachable, "round_trip_ms": took_ms}

    def snapshot(self) -> dict[str, int]:
        """Sizes of the tables."""
        return {**self._health.snapshot(), "waiting": len(self._asked)}

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- OPTIONS -------------------------------------------------------------------------------------

    def answered(self, event: ResponseReceived | RequestFailed) -> bool:
        """The end of a request; False when it was not one of ours."""
        phone = self._asked.pop(event.handle, None)
        if phone is None:
            return False
        there = isinstance(event, ResponseReceived)
        self._feed(OptionsAnswered(phone) if there else OptionsLost(phone))
        return True

    def _feed(self, event: PhoneHealthEvent) -> None:
        asked = False
        for effect in self._health.handle(event, self._clock.monotonic_s()):
            match effect:
                case SendOptions():
                    assert isinstance(effect.key, Phone)
                    self._ask(effect.key)
                    asked = True
                case SetAskTimer():
                    self.close()
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(effect.after_s, self._due)
                case ReachabilityChanged():
                    assert isinstance(effect.key, Phone)
                    words = "answers again" if effect.reachable else "does not answer OPTIONS"
                    _log.warning("%s at %s %s", effect.key.extension, effect.key.contact, words)
                    self.on_change(effect.key)
                case _:
                    assert_never(effect)
        if asked:
            self._pump()

    def _due(self) -> None:
        self._timer = None
        self._feed(AskTimer())

    def _ask(self, phone: Phone) -> None:
        try:
            handle = self._stack.request(
                "OPTIONS",
                phone.contact,
                phone.flow,
                from_=self._own,
                to=NameAddr(phone.contact),
                headers=[
                    *(("Route", route) for route in phone.route),
                    ("Accept", "application/sdp"),
                ],
                timeout_s=ANSWER_S,
                now_s=self._clock.monotonic_s(),
            )
        except SoftswitchError as error:
            _log.warning("%s cannot be asked at %s: %s", phone.extension, phone.contact, error)
            asyncio.get_running_loop().call_soon(self._feed, OptionsLost(phone))
            return
        self._asked[handle] = phone


def _behind_nat(binding: Binding) -> bool:
    """Over UDP, a telephone whose Contact is not where its packets come from: only what we send keeps its
    way in open. Over a connection telephones do that themselves (RFC 5626 4.4.1)."""
    return binding.flow.transport == "udp" and binding.address != binding.flow.remote
