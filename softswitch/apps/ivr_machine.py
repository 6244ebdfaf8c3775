"""A menu, as a pure machine: what the caller does goes in, what is to be played and done comes out.

No clock: the local time comes with `Entered`, the end of a wait as `TimedOut`. Every answer but the last
ends with exactly one of `Play` and `Await`, which says what the next event can be; `Leave` is the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TypeAlias, assert_never

from softswitch.config import Destination, Hours

BETWEEN_S = 3.0
"""How long another digit is awaited where more than one choice is still open."""

INVALID = "invalid-choice"
NO_CHOICE = "no-choice"
CLOSED = "closed"
GOODBYE = "goodbye"
_DECIDE = "#"
_HANG_UP = Destination("hangup")


def is_open(hours: Hours | None, local: datetime) -> bool:
    """Whether `local`, in the office's time zone, lies within `hours`; always where there are none."""
    if hours is None:
        return True
    minute = local.hour * 60 + local.minute
    return any(start <= minute < end for start, end in hours.periods(local.date()))


@dataclass(frozen=True, slots=True)
class Menu:
    """What a menu says and offers. `extensions` are the numbers that may be dialled at once."""

    name: str
    greeting: str
    options: Mapping[str, Destination] = field(default_factory=dict)
    extensions: frozenset[str] = frozenset()
    hours: Hours | None = None
    invalid_max: int = 3
    timeout_s: float = 6.0
    otherwise: Destination = _HANG_UP
    closed: Destination = _HANG_UP
    more: tuple[str, ...] = ()  # after the greeting, until a key is pressed

    @property
    def asks(self) -> bool:
        """Whether there is anything to press; else it is an announcement."""
        return bool(self.options or self.extensions)


# -- events -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entered:
    """A caller comes, at this time of the office."""

    local: datetime


@dataclass(frozen=True, slots=True)
class DigitPressed:
    digit: str


@dataclass(frozen=True, slots=True)
class PlayEnded:
    """The prompts of the last `Play` are over."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """Nothing was pressed for as long as `Await` said."""


Event: TypeAlias = Entered | DigitPressed | PlayEnded | TimedOut

# -- effects ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Play:
    """Play these prompts; the first digit stops them and is the next event."""

    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Await:
    """Wait for a digit, so long at most."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Announce:
    """Play this prompt to its end, whatever is pressed."""

    prompt: str


@dataclass(frozen=True, slots=True)
class ForgetDigits:
    """Drop what has been pressed ahead."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The menu is done: the call goes to `to`. `pressed`: the choice, "" for none; `why`: "option",
    "extension", "otherwise" or "closed"."""

    to: Destination
    pressed: str
    why: str


Effect: TypeAlias = Play | Await | Announce | ForgetDigits | Leave


class MenuState(Enum):
    IDLE = "idle"
    GREETING = "greeting"
    WAITING = "waiting"
    CHOOSING = "choosing"
    LEFT = "left"


class MenuMachine:
    """One caller in one menu."""

    __slots__ = ("_attempts", "_longest", "_menu", "pressed", "state")

    def __init__(self, menu: Menu) -> None:
        self._menu = menu
        self._attempts = 0
        self._longest = max((len(number) for number in menu.extensions), default=1)
        self.pressed = ""
        self.state = MenuState.IDLE

    def snapshot(self) -> dict[str, object]:
        return {
            "menu": self._menu.name,
            "state": self.state.value,
            "pressed": self.pressed,
            "attempts": self._attempts,
        }

    def handle(self, event: Event) -> list[Effect]:
        """One event; out of season it changes nothing and asks for nothing."""
        if self.state is MenuState.LEFT or (self.state is MenuState.IDLE) != isinstance(
            event, Entered
        ):
            return []
        match event:
            case Entered():
                return self._entered(event.local)
            case DigitPressed():
                return self._digit_pressed(event.digit)
            case PlayEnded():
                return self._play_ended()
            case TimedOut():
                return self._timed_out()
            case _:
                assert_never(event)

    def _entered(self, local: datetime) -> list[Effect]:
        menu = self._menu
        if is_open(menu.hours, local):
            if menu.asks:
                return self._greet()
            return [Announce(menu.greeting), *self._give_up()]
        if menu.closed == _HANG_UP:
            return [Announce(CLOSED), *self._leave(menu.closed, "closed")]
        return self._leave(menu.closed, "closed")

    def _greet(self, *before: str) -> list[Effect]:
        self.state = MenuState.GREETING
        self.pressed = ""
        return [Play((*before, self._menu.greeting, *self._menu.more))]

    def _play_ended(self) -> list[Effect]:
        if self.state is not MenuState.GREETING:
            return []
        self.state = MenuState.WAITING
        return [Await(self._menu.timeout_s)]

    def _timed_out(self) -> list[Effect]:
        if self.state is MenuState.WAITING:
            return self._again(NO_CHOICE)
        if self.state is MenuState.CHOOSING:
            return self._decide()
        return []

    def _digit_pressed(self, digit: str) -> list[Effect]:
        if digit == _DECIDE and self.pressed:
            return self._decide()
        self.pressed += digit
        self.state = MenuState.CHOOSING
        if self._may_go_on():
            return [Await(min(BETWEEN_S, self._menu.timeout_s))]
        return self._decide()

    def _may_go_on(self) -> bool:
        """Whether one more digit could make, or complete, a choice."""
        pressed, menu = self.pressed, self._menu
        if any(len(n) > len(pressed) and n.startswith(pressed) for n in menu.extensions):
            return True
        # A wrong number is heard out before it is called wrong, or its other digits count as choices.
        begun = len(pressed) > 1 and pressed not in menu.extensions
        return begun and len(pressed) < self._longest

    def _decide(self) -> list[Effect]:
        pressed, menu = self.pressed, self._menu
        if pressed in menu.options:
            return self._leave(menu.options[pressed], "option")
        if pressed in menu.extensions:
            return self._leave(Destination("extension", pressed), "extension")
        return self._again(INVALID)

    def _again(self, complaint: str) -> list[Effect]:
        self._attempts += 1
        if self._attempts >= self._menu.invalid_max:
            return [ForgetDigits(), *self._give_up()]
        return [ForgetDigits(), *self._greet(complaint)]

    def _give_up(self) -> list[Effect]:
        self.pressed = ""
        to = self._menu.otherwise
        farewell: list[Effect] = [Announce(GOODBYE)] if to == _HANG_UP and self._menu.asks else []
        return [*farewell, *self._leave(to, "otherwise")]

    def _leave(self, to: Destination, why: str) -> list[Effect]:
        self.state = MenuState.LEFT
        return [Leave(to, self.pressed, why)]
