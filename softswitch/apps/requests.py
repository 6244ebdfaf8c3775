"""Requests of phones that are no calls: who answers SUBSCRIBE, PUBLISH and MESSAGE."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.apps.messages import Messages
from softswitch.apps.presence import Presence
from softswitch.sip.events import (
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    SipEvent,
    SubscriptionEnded,
)

if TYPE_CHECKING:
    from softswitch.apps.mailbox import Mailboxes
    from softswitch.apps.registrar import Registrar
    from softswitch.call.control import CallControl
    from softswitch.call.line import Lines
    from softswitch.call.wiring import Wiring

Method = Callable[[RequestReceived, float], None]


class PhoneRequests:
    """The table of these methods, wired to what they follow; one line a method."""

    def __init__(
        self,
        wiring: Wiring,
        control: CallControl,
        registrar: Registrar,
        mailboxes: Mailboxes,
        lines: Lines,
    ) -> None:
        self.presence = Presence(
            wiring,
            mailboxes,
            calls=lambda: control.calls,
            reachable=lambda extension: bool(registrar.endpoints(extension)),
            lines=lines,
        )
        self.messages = Messages(wiring, registrar.endpoints)
        self.methods: dict[str, Method] = {
            "SUBSCRIBE": self.presence.subscribe,
            "PUBLISH": self.presence.publish,
            "MESSAGE": self.messages.message,
        }
        wiring.records.watch_phones(self.presence.leg_changed)
        registrar.listen(self.presence.registration_changed)
        mailboxes.on_changed.append(lambda box, new, old: self.presence.mailbox_changed(box))

    def handle(self, event: SipEvent, now_s: float) -> bool:
        """What follows from these requests later; False when it is not about any."""
        match event:
            case SubscriptionEnded():
                self.presence.ended(event)
            case ResponseReceived() | RequestFailed():
                return self.messages.answered(event, now_s)
            case _:
                return False
        return True

    def close(self) -> None:
        self.presence.close()

    def snapshot(self) -> dict[str, dict[str, int]]:
        return {"presence": self.presence.snapshot(), "messages": self.messages.snapshot()}
