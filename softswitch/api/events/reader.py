"""One connection to the events: its subscriptions, and what waits to be sent. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from softswitch.api.events.hub import KEPT_MAX, Event, Filter, Hub, TooOld
from softswitch.api.events.topics import TOPICS, may_hear

if TYPE_CHECKING:
    from softswitch.api.access import Identity

SUBSCRIPTIONS_MAX = 16
WAITING_MAX = KEPT_MAX + 1_000
"""Messages; events among them are shared by all readers and written out when they are sent."""
COMMAND_OCTETS_MAX = 16_384

SLOW = (4408, "too slow: what waited to be read was more than is kept; resume from your position")
TOO_OLD = (4410, "the position is too old: subscribe without it for a snapshot")
FORBIDDEN = (4403, "a topic is not yours to hear")
GONE = (4401, "the session has ended or the token was revoked")
MALFORMED = (4400, "not a command")
STOPPING = (1001, "the exchange stops")
"""Close codes and their reasons. Resume after 4408 and 1001, log in again after 4401."""


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """What a reader may send. `subscribe` to `topics`, filtered, as `id`; `position` resumes; `snapshot`
    asks for the state first (without a position)."""

    type: Literal["subscribe", "unsubscribe", "ping"]
    id: str = ""
    topics: list[str] = []
    queue: str = ""
    agent: str = ""
    call: str = ""
    position: str | None = None
    snapshot: bool = True


@dataclass(eq=False, slots=True)
class Reader:
    """Parameters: `state` gives the snapshot for a filter, as plain values; `wake` is called when there is
    something to send. `take_text` is fed with what the client sent; `next_text` gives what it is to get;
    when `closed` is set, that is the code and reason to close with."""

    hub: Hub
    identity: Identity
    state: Callable[[Filter], dict[str, Any]]
    wake: Callable[[], None]
    waiting_max: int = WAITING_MAX
    closed: tuple[int, str] | None = None
    dropped: int = 0
    _filters: dict[str, Filter] = field(default_factory=dict)
    _waiting: deque[str | tuple[Event, list[str]]] = field(default_factory=deque)

    # -- from the client ---------------------------------------------------------------------------

    def take_text(self, text: str) -> None:
        """A command."""
        if self.closed is not None:
            return
        if len(text) > COMMAND_OCTETS_MAX:
            self.close(MALFORMED, f"a command has at most {COMMAND_OCTETS_MAX} octets")
            return
        try:
            command = msgspec.json.decode(text, type=Command)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeError) as error:
            self.close(MALFORMED, str(error))
            return
        match command.type:
            case "ping":
                self._say({"type": "pong", "id": command.id, "position": self.hub.position()})
            case "unsubscribe":
                self._unsubscribe(command.id)
            case "subscribe":
                self._subscribe(command)

    def _subscribe(self, command: Command) -> None:
        topics = frozenset(command.topics)
        unknown = sorted(topics - TOPICS.keys())
        if unknown or not topics:
            known = ", ".join(TOPICS)
            self._refuse(command.id, f"no topic {', '.join(unknown)}; there are: {known}"[:512])
            return
        for topic in sorted(topics):
            if not may_hear(self.identity, topic, command.agent):
                self.close(FORBIDDEN, topic)
                return
        if command.id not in self._filters and len(self._filters) >= SUBSCRIPTIONS_MAX:
            self._refuse(command.id, f"at most {SUBSCRIPTIONS_MAX} subscriptions a connection")
            return
        wanted = Filter(topics, command.queue, command.agent, command.call)
        missed: list[Event] = []
        if command.position is not None:
            try:
                missed = [e for e in self.hub.since(command.position) if wanted.fits(e)]
            except TooOld:
                self.close(TOO_OLD)
                return
        position = command.position or self.hub.position()
        self._say({"type": "subscribed", "id": command.id, "position": position})
        if command.position is None and command.snapshot:
            state = self.state(wanted)
            self._say({"type": "snapshot", "id": command.id, "position": position, "data": state})
        for event in missed:
            self._tell(event, [command.id])
        if not self._filters:
            self.hub.listen(self)
        self._filters[command.id] = wanted

    def _unsubscribe(self, name: str) -> None:
        if self._filters.pop(name, None) is None:
            self._refuse(name, "no such subscription")
            return
        if not self._filters:
            self.hub.leave(self)
        self._say({"type": "unsubscribed", "id": name})

    # -- from the hub ------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Something happened."""
        names = [name for name, wanted in self._filters.items() if wanted.fits(event)]
        if names:
            self._tell(event, names)

    def _tell(self, event: Event, names: list[str]) -> None:
        self._put((event, names))

    # -- to the client -----------------------------------------------------------------------------

    def next_text(self) -> str | None:
        """What is to be sent next; None: nothing now."""
        if not self._waiting:
            return None
        message = self._waiting.popleft()
        if isinstance(message, str):
            return message
        event, names = message
        ids = msgspec.json.encode(names).decode()
        return f'{{"type":"event","ids":{ids},{self.hub.encode(event)}}}'

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def close(self, how: tuple[int, str], more: str = "") -> None:
        """End the connection; what waits is not sent any more. Only the first time counts."""
        if self.closed is not None:
            return
        code, reason = how
        # A close frame holds 123 octets of reason (RFC 6455 5.5.1).
        text = f"{reason}: {more}" if more else reason
        self.closed = (code, text.encode()[:123].decode("utf-8", "ignore"))
        self.dropped = len(self._waiting)
        self._waiting.clear()
        self._filters.clear()
        self.hub.leave(self)
        self.wake()

    def _say(self, message: dict[str, Any]) -> None:
        self._put(msgspec.json.encode(message, enc_hook=str).decode())

    def _refuse(self, name: str, why: str) -> None:
        self._say({"type": "refused", "id": name, "detail": why})

    def _put(self, message: str | tuple[Event, list[str]]) -> None:
        if self.closed is not None:
            return
        self._waiting.append(message)
        if len(self._waiting) > self.waiting_max:
            self.close(SLOW)
            return
        self.wake()
