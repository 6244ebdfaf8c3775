"""Asking for digits, as a pure machine: prompt, keys, the end of the entry, and another try."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from softswitch.apps.ivr_machine import (
    BETWEEN_S,
    INVALID,
    NO_CHOICE,
    Await,
    DigitPressed,
    Effect,
    ForgetDigits,
    Play,
    PlayEnded,
    TimedOut,
)

_DECIDE = "#"
Keyed: TypeAlias = DigitPressed | PlayEnded | TimedOut


class CollectState(Enum):
    ASKING = "asking"
    WAITING = "waiting"
    ENTERING = "entering"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `prompts`, how many digits are an answer, how long a key is awaited and how often the
    question is put."""

    prompts: tuple[str, ...]
    min_digits: int = 1
    max_digits: int = 16
    timeout_s: float = 6.0
    tries: int = 3


class CollectMachine:
    """One caller who is asked one question.

    Each answer ends with `Play` or `Await`, which say what the next event can be, until `state` is DONE:
    then `digits` is what was entered, "" where nothing usable was. ``#`` ends an entry.
    """

    __slots__ = ("_attempts", "_question", "digits", "state")

    def __init__(self, question: Question) -> None:
        self._question = question
        self._attempts = 0
        self.digits = ""
        self.state = CollectState.ASKING

    def begin(self) -> list[Effect]:
        """Ask for the first time."""
        return self._ask()

    def _ask(self, *before: str) -> list[Effect]:
        self.state, self.digits = CollectState.ASKING, ""
        return [Play((*before, *self._question.prompts))]

    def handle(self, event: Keyed) -> list[Effect]:
        """One event; out of season it changes nothing."""
        if self.state is CollectState.DONE:
            return []
        match event:
            case PlayEnded():
                if self.state is not CollectState.ASKING:
                    return []
                self.state = CollectState.WAITING
                return [Await(self._question.timeout_s)]
            case TimedOut():
                if self.state is CollectState.ASKING:
                    return []
                return self._judge()
            case DigitPressed(digit):
                return self._pressed(digit)

    def _pressed(self, digit: str) -> list[Effect]:
        if digit == _DECIDE:
            return self._judge()
        self.state = CollectState.ENTERING
        self.digits += digit
        if len(self.digits) >= self._question.max_digits:
            return self._judge()
        return [Await(min(BETWEEN_S, self._question.timeout_s))]

    def _judge(self) -> list[Effect]:
        if len(self.digits) >= self._question.min_digits:
            self.state = CollectState.DONE
            return []
        complaint = INVALID if self.digits else NO_CHOICE
        self._attempts += 1
        self.digits = ""
        if self._attempts >= self._question.tries:
            self.state = CollectState.DONE
            return [ForgetDigits()]
        return [ForgetDigits(), *self._ask(complaint)]
