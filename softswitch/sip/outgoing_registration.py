"""A registration of ours at somebody else's registrar (RFC 3261 10.2, back-off of RFC 5626 4.5). Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, assert_never

ASKED_S = 3600
EXPIRES_S_MIN, EXPIRES_S_MAX = 30, 86_400
BACKOFF_BASE_S = 30.0
BACKOFF_MAX_S = 1800.0
RETRY_AFTER_S_MAX = 3600.0
# A carrier that hears a wrong password every half minute bans us: ask seldom, somebody must change it.
REFUSED_S = 600.0
_REFUSED = frozenset({401, 403, 404, 407})


class RegistrationState(Enum):
    IDLE = "off"
    TRYING = "trying"
    REGISTERED = "registered"
    REFUSED = "refused"
    FAILED = "failed"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Begin:
    """Register, or register again at once because the way there has changed."""


@dataclass(frozen=True, slots=True)
class RegisterAnswered:
    """The final response: what it grants, and what it asks of us, in seconds; `why` it was refused, where
    more than its status tells."""

    status: int
    granted_s: int | None = None
    min_expires_s: int | None = None
    retry_after_s: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class RegisterLost:
    """No response came, or the way there is closed."""

    why: str


@dataclass(frozen=True, slots=True)
class RegisterDue:
    """The timer that `SetRegisterTimer` asked for."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Take the binding away: the exchange stops."""


RegistrationInput: TypeAlias = Begin | RegisterAnswered | RegisterLost | RegisterDue | Leave


@dataclass(frozen=True, slots=True)
class SendRegister:
    """Send REGISTER with this expiry; 0 removes the binding."""

    expires_s: int


@dataclass(frozen=True, slots=True)
class SetRegisterTimer:
    """Come back in `after_s`; replaces the timer before."""

    after_s: float


@dataclass(frozen=True, slots=True)
class RegistrationChanged:
    """Registered, or not any more; `why` in a few words."""

    registered: bool
    why: str


RegistrationEffect: TypeAlias = SendRegister | SetRegisterTimer | RegistrationChanged


class OutgoingRegistration:
    """Keeps one binding alive.

    Refreshed when four fifths of its time, or all but two minutes, are over; 423 is obeyed, Retry-After
    too; a refusal is tried again every ten minutes, any other failure after 30 s, doubled up to half an
    hour, with chance in it. `uniform` draws from [0, 1).
    """

    __slots__ = ("_asked_s", "_asking", "_failures", "_uniform", "state", "until_s", "why")

    def __init__(self, uniform: Callable[[], float]) -> None:
        self._uniform = uniform
        self._asked_s = ASKED_S
        self._asking = False
        self._failures = 0
        self.state = RegistrationState.IDLE
        self.until_s = 0.0
        self.why = ""

    def registered(self, now_s: float) -> bool:
        """Whether the registrar has our binding, as far as we know."""
        return now_s < self.until_s

    def handle(self, event: RegistrationInput, now_s: float) -> list[RegistrationEffect]:
        """One input, the effects it asks for."""
        if self.state is RegistrationState.LEAVING:
            self._asking = False
            return []
        match event:
            case Begin() | RegisterDue():
                return self._ask()
            case RegisterAnswered():
                self._asking = False
                return self._answered(event, now_s)
            case RegisterLost():
                self._asking = False
                return self._failed(RegistrationState.FAILED, event.why, self._backoff_s(), now_s)
            case Leave():
                return self._leave(now_s)
            case _:
                assert_never(event)

    def _ask(self) -> list[RegistrationEffect]:
        if self._asking:
            return []
        self._asking = True
        if self.state is RegistrationState.IDLE:
            self.state = RegistrationState.TRYING
        return [SendRegister(self._asked_s)]

    def _answered(self, event: RegisterAnswered, now_s: float) -> list[RegistrationEffect]:
        if 200 <= event.status < 300:
            return self._accepted(event, now_s)
        brief = event.min_expires_s
        if event.status == 423 and brief is not None and self._asked_s < brief <= EXPIRES_S_MAX:
            self._asked_s = brief
            return self._ask()
        why = event.why or f"answered {event.status}"
        if event.status in _REFUSED:
            return self._failed(RegistrationState.REFUSED, why, REFUSED_S, now_s)
        wait_s = self._backoff_s()
        if event.retry_after_s is not None:
            wait_s = max(wait_s, min(float(event.retry_after_s), RETRY_AFTER_S_MAX))
        return self._failed(RegistrationState.FAILED, why, wait_s, now_s)

    def _accepted(self, event: RegisterAnswered, now_s: float) -> list[RegistrationEffect]:
        granted_s = self._asked_s if event.granted_s is None else event.granted_s
        if granted_s <= 0:
            return self._failed(
                RegistrationState.FAILED, "binding not accepted", self._backoff_s(), now_s
            )
        granted_s = min(max(granted_s, EXPIRES_S_MIN), EXPIRES_S_MAX)
        fresh = self.state is not RegistrationState.REGISTERED
        self.state, self.why, self._failures = RegistrationState.REGISTERED, "", 0
        self.until_s = now_s + granted_s
        effects: list[RegistrationEffect] = []
        if fresh:
            effects.append(RegistrationChanged(True, ""))
        effects.append(SetRegisterTimer(max(granted_s * 0.8, granted_s - 120.0)))
        return effects

    def _failed(
        self, state: RegistrationState, why: str, wait_s: float, now_s: float
    ) -> list[RegistrationEffect]:
        """Not registered now, though an earlier binding may still stand until it expires."""
        self._failures += 1
        changed = self.state is not state or self.why != why
        self.state, self.why = state, why
        if state is RegistrationState.REFUSED:
            self.until_s = 0.0
        effects: list[RegistrationEffect] = [SetRegisterTimer(wait_s)]
        if changed:
            effects.append(RegistrationChanged(False, why))
        return effects

    def _backoff_s(self) -> float:
        most_s = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2.0 ** min(self._failures, 10))
        return most_s * (0.5 + 0.5 * self._uniform())

    def _leave(self, now_s: float) -> list[RegistrationEffect]:
        standing = self.registered(now_s)
        self.state, self.until_s = RegistrationState.LEAVING, 0.0
        return [SendRegister(0)] if standing else []
