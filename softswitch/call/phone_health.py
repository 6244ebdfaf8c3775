"""Whether registered telephones still answer: OPTIONS now and then, which also keep a NAT open. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TypeAlias, assert_never

MISSES_MAX = 2
"""So many OPTIONS without an answer, one after the other, make a telephone unreachable."""
ANSWER_S = 4.0
"""For how long an answer is waited for; over UDP the request is sent four times in it (RFC 3261 17.1.2)."""
ASK_SOON_S = 1.0

Key: TypeAlias = Hashable
"""One telephone of one extension: where it is called, and by which path."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A telephone has registered that is to be asked."""

    key: Key


@dataclass(frozen=True, slots=True)
class Forget:
    """It is gone, or no longer to be asked."""

    key: Key


@dataclass(frozen=True, slots=True)
class Heard:
    """It has said something by itself: a refreshed registration."""

    key: Key


@dataclass(frozen=True, slots=True)
class OptionsAnswered:
    """Any final response: whatever it says, somebody is there."""

    key: Key


@dataclass(frozen=True, slots=True)
class OptionsLost:
    """No response, or no way to send."""

    key: Key


@dataclass(frozen=True, slots=True)
class AskTimer:
    """The timer that `SetAskTimer` asked for."""


PhoneHealthEvent: TypeAlias = Watch | Forget | Heard | OptionsAnswered | OptionsLost | AskTimer


@dataclass(frozen=True, slots=True)
class SendOptions:
    """Ask this telephone."""

    key: Key


@dataclass(frozen=True, slots=True)
class SetAskTimer:
    """Come back in `after_s`; replaces the timer before."""

    after_s: float


@dataclass(frozen=True, slots=True)
class ReachabilityChanged:
    """A telephone answers no more, or again."""

    key: Key
    reachable: bool


PhoneHealthEffect: TypeAlias = SendOptions | SetAskTimer | ReachabilityChanged


class _Phone:
    __slots__ = ("asked_s", "due_s", "misses", "reachable", "round_trip_s")

    def __init__(self, due_s: float) -> None:
        self.due_s = due_s
        self.asked_s = -1.0  # negative: no OPTIONS under way
        self.misses = 0
        self.reachable = True
        self.round_trip_s: float | None = None


class PhoneHealth:
    """The condition of all telephones that are asked.

    Parameters: `every_s`, between two OPTIONS to one telephone; `uniform` draws from [0, 1): telephones that
    have registered in one moment (after a power cut) are not all asked in one moment too.
    """

    __slots__ = ("_count", "_due", "_every_s", "_phones", "_timer_s", "_uniform")

    def __init__(self, every_s: float, uniform: Callable[[], float]) -> None:
        self._every_s = every_s
        self._uniform = uniform
        self._phones: dict[Key, _Phone] = {}
        self._due: list[tuple[float, int, Key]] = []  # with a number, for keys have no order
        self._count = 0
        self._timer_s = float("inf")

    def use_interval(self, every_s: float) -> None:
        """Ask so often from the next time on."""
        self._every_s = every_s

    def is_reachable(self, key: Key) -> bool:
        """False once it has not answered; true of those that are not asked."""
        phone = self._phones.get(key)
        return phone is None or phone.reachable

    def shown(self, key: Key) -> tuple[bool | None, float | None]:
        """Whether it answers, None where that is not known, and the seconds its last answer took."""
        phone = self._phones.get(key)
        if phone is None:
            return None, None
        known = not phone.reachable or phone.round_trip_s is not None
        return (phone.reachable if known else None), phone.round_trip_s

    def snapshot(self) -> dict[str, int]:
        """Sizes of the tables."""
        phones = self._phones.values()
        return {
            "asked": len(self._phones),
            "unreachable": sum(not phone.reachable for phone in phones),
        }

    def handle(self, event: PhoneHealthEvent, now_s: float) -> list[PhoneHealthEffect]:
        """One input, the effects it asks for."""
        effects: list[PhoneHealthEffect] = []
        match event:
            case Watch():
                if event.key not in self._phones:
                    self._put(event.key, _Phone(0.0), now_s + self._uniform() * self._every_s)
            case Forget():
                self._phones.pop(event.key, None)
            case Heard():
                self._well(event.key, now_s, None, effects)
            case OptionsAnswered():
                self._answered(event.key, now_s, effects)
            case OptionsLost():
                self._lost(event.key, now_s, effects)
            case AskTimer():
                self._timer_s = float("inf")
                self._ask_due(now_s, effects)
            case _:
                assert_never(event)
        self._arm(now_s, effects)
        return effects

    def _answered(self, key: Key, now_s: float, effects: list[PhoneHealthEffect]) -> None:
        phone = self._phones.get(key)
        if phone is None or phone.asked_s < 0:
            return
        took_s = now_s - phone.asked_s
        phone.asked_s = -1.0
        self._well(key, now_s, took_s, effects)
        self._put(key, phone, now_s + self._every_s)

    def _lost(self, key: Key, now_s: float, effects: list[PhoneHealthEffect]) -> None:
        phone = self._phones.get(key)
        if phone is None or phone.asked_s < 0:
            return
        phone.asked_s = -1.0
        phone.misses += 1
        gone = phone.misses >= MISSES_MAX
        if gone and phone.reachable:
            phone.reachable = False
            effects.append(ReachabilityChanged(key, False))
        self._put(key, phone, now_s + (self._every_s if gone else ASK_SOON_S))

    def _well(
        self, key: Key, now_s: float, took_s: float | None, effects: list[PhoneHealthEffect]
    ) -> None:
        phone = self._phones.get(key)
        if phone is None:
            return
        phone.misses = 0
        if took_s is not None:
            phone.round_trip_s = took_s
        if not phone.reachable:
            phone.reachable = True
            effects.append(ReachabilityChanged(key, True))

    def _ask_due(self, now_s: float, effects: list[PhoneHealthEffect]) -> None:
        while self._due and self._due[0][0] <= now_s:
            due_s, _, key = heappop(self._due)
            phone = self._phones.get(key)
            if phone is None or phone.due_s != due_s or phone.asked_s >= 0:
                continue  # gone, or put off since
            phone.asked_s = now_s
            effects.append(SendOptions(key))

    def _put(self, key: Key, phone: _Phone, due_s: float) -> None:
        self._phones[key] = phone
        phone.due_s = due_s
        self._count += 1
        heappush(self._due, (due_s, self._count, key))

    def _arm(self, now_s: float, effects: list[PhoneHealthEffect]) -> None:
        """One timer for the earliest; entries of telephones that are gone are dropped when there are many."""
        if len(self._due) > 64 and len(self._due) > 2 * len(self._phones):
            waiting = [(p.due_s, key) for key, p in self._phones.items() if p.asked_s < 0]
            self._due = [(due_s, place, key) for place, (due_s, key) in enumerate(waiting)]
            heapify(self._due)
        if self._due and self._due[0][0] < self._timer_s:
            self._timer_s = self._due[0][0]
            effects.append(SetAskTimer(max(self._timer_s - now_s, 0.0)))
