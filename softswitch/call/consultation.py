"""Somebody who talks presses a code and calls a third: transfer, blind or attended, or a conference of
three, by keys alone. Pure: events in, effects out.

The *host* presses the keys, the *other* is whom he talks to, the *third* whom he calls. Whoever leaves,
the two that remain are a call of their own (RFC 5359 2.4, 2.5 and 2.10 with the exchange in the
part of the transferor's telephone).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, assert_never

NUMBER_MAX = 32
FIRST_KEY_S = 10.0
NEXT_KEY_S = 4.0


class Wish(Enum):
    """What the code was for."""

    TRANSFER = "transfer"
    CONSULT = "attended_transfer"
    CONFERENCE = "conference"


class State(Enum):
    ASKING = "asking"  # the host dials the third's number
    CALLING = "calling"
    CONSULTING = "consulting"  # host and third talk, the other hears music
    TOGETHER = "together"
    OVER = "over"


# -- events -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """A key of the host, while his number is asked for."""

    key: str


@dataclass(frozen=True, slots=True)
class KeysTimedOut:
    """`generation` tells a stale one."""

    generation: int


@dataclass(frozen=True, slots=True)
class CodePressed:
    """The host pressed a code, after the third has been called."""

    wish: Wish


@dataclass(frozen=True, slots=True)
class ThirdAnswered:
    pass


@dataclass(frozen=True, slots=True)
class ThirdLeft:
    """He was not reached, or has hung up."""


@dataclass(frozen=True, slots=True)
class HostLeft:
    pass


@dataclass(frozen=True, slots=True)
class OtherLeft:
    pass


Event: TypeAlias = (
    KeyPressed | KeysTimedOut | CodePressed | ThirdAnswered | ThirdLeft | HostLeft | OtherLeft
)

# -- effects ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskNumber:
    """The other hears music, the host is asked for a number."""


@dataclass(frozen=True, slots=True)
class WaitForKey:
    generation: int
    after_s: float


@dataclass(frozen=True, slots=True)
class StopAsking:
    """What is said to the host ends at his first key."""


@dataclass(frozen=True, slots=True)
class SendOn:
    """The other goes to this number, with the host's rights; the host has him back if that fails."""

    number: str


@dataclass(frozen=True, slots=True)
class CallThird:
    """Answered by `ThirdAnswered` or `ThirdLeft`."""

    number: str


@dataclass(frozen=True, slots=True)
class DropThird:
    """Stop his phone, or hang him up; no `ThirdLeft` follows."""


class Joined(Enum):
    """Who hears whom from now on."""

    HOST_AND_OTHER = "host and other"
    HOST_AND_THIRD = "host and third"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Join:
    """`sorry`: the host is told that the third could not be reached."""

    who: Joined
    sorry: bool = False


@dataclass(frozen=True, slots=True)
class HandOver:
    """The host has left: the other and the third are the call. The third may still ring."""

    answered: bool


@dataclass(frozen=True, slots=True)
class GoOnWithThird:
    """The other has left: the host and the third are the call."""


@dataclass(frozen=True, slots=True)
class EndCall:
    """Nobody is left to talk to."""


Effect: TypeAlias = (
    AskNumber
    | WaitForKey
    | StopAsking
    | SendOn
    | CallThird
    | DropThird
    | Join
    | HandOver
    | GoOnWithThird
    | EndCall
)

_BACK = Join(Joined.HOST_AND_OTHER)


class Consultation:
    """One wish of one host, from his code to the call of two or three that comes of it."""

    __slots__ = ("_generation", "_number", "_wish", "state")

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._number = ""
        self._generation = 1
        self.state = State.ASKING

    @property
    def number(self) -> str:
        """What the host has dialled so far."""
        return self._number

    def start(self) -> list[Effect]:
        return [AskNumber(), WaitForKey(self._generation, FIRST_KEY_S)]

    def handle(self, event: Event) -> list[Effect]:
        """One event; events out of season change nothing."""
        match self.state:
            case State.ASKING:
                return self._asking(event)
            case State.CALLING:
                return self._calling(event)
            case State.CONSULTING:
                return self._consulting(event)
            case State.TOGETHER:
                return self._together(event)
            case State.OVER:
                return []
            case _:
                assert_never(self.state)

    def _asking(self, event: Event) -> list[Effect]:
        match event:
            case KeyPressed("#"):
                return self._dialled()
            case KeyPressed():
                first = not self._number
                self._number += event.key
                if len(self._number) >= NUMBER_MAX:
                    return self._dialled()
                self._generation += 1
                wait = WaitForKey(self._generation, NEXT_KEY_S)
                return [StopAsking(), wait] if first else [wait]
            case KeysTimedOut(self._generation):
                return self._dialled()
            case HostLeft() | OtherLeft():
                return self._over(EndCall())
        return []

    def _dialled(self) -> list[Effect]:
        self._generation += 1
        if not self._number:
            return self._over(_BACK)
        if self._wish is Wish.TRANSFER:
            return self._over(SendOn(self._number))
        self.state = State.CALLING
        return [CallThird(self._number)]

    def _calling(self, event: Event) -> list[Effect]:
        match event:
            case ThirdAnswered() if self._wish is Wish.CONFERENCE:
                self.state = State.TOGETHER
                return [Join(Joined.ALL)]
            case ThirdAnswered():
                self.state = State.CONSULTING
                return [Join(Joined.HOST_AND_THIRD)]
            case ThirdLeft():
                return self._over(Join(Joined.HOST_AND_OTHER, sorry=True))
            case CodePressed(Wish.CONSULT):
                return self._over(DropThird(), _BACK)
            case HostLeft():
                return self._over(HandOver(answered=False))
            case OtherLeft():
                return self._over(DropThird(), EndCall())
        return []

    def _consulting(self, event: Event) -> list[Effect]:
        match event:
            case CodePressed(Wish.CONFERENCE):
                self.state = State.TOGETHER
                return [Join(Joined.ALL)]
            case CodePressed(Wish.CONSULT):
                return self._over(DropThird(), _BACK)
        return self._somebody_left(event)

    def _together(self, event: Event) -> list[Effect]:
        if event == CodePressed(Wish.CONFERENCE):
            return self._over(DropThird(), _BACK)
        return self._somebody_left(event)

    def _somebody_left(self, event: Event) -> list[Effect]:
        match event:
            case ThirdLeft():
                return self._over(_BACK)
            case HostLeft():
                return self._over(HandOver(answered=True))
            case OtherLeft():
                return self._over(GoOnWithThird())
        return []

    def _over(self, *effects: Effect) -> list[Effect]:
        self.state = State.OVER
        return list(effects)
