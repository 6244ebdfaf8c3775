"""A flow, as a pure machine: where the caller is in it, what he hears next and where he goes.

No clock and no network: the local time comes with every event, and what takes time (a question to another
program, a conversation, a recording) is an effect whose end is the next event. Every answer but the last
ends with exactly one effect that says what the next event can be; `Leave` is the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias

from softswitch import saying
from softswitch.apps.collect_machine import CollectMachine, CollectState, Question
from softswitch.apps.ivr_machine import (
    Announce,
    Await,
    DigitPressed,
    ForgetDigits,
    Leave,
    Menu,
    MenuMachine,
    Play,
    PlayEnded,
    TimedOut,
    is_open,
)
from softswitch.apps.ivr_machine import Entered as MenuEntered
from softswitch.config import Destination, Prompt
from softswitch.config.flows import STEP, Step, filled

if TYPE_CHECKING:
    from softswitch.config import Flow, Hours

STEPS_MAX = 1_000
"""Steps that one call may take in one flow; after them it is hung up."""
VALUE_MAX = 256
"""Characters of a variable's value that are kept."""
VARIABLES_MAX = 64
_TRAIL_MAX = 64
_TIMEOUT_S = 6.0
_LOOK_UP_S = 2.0
_HEAR_S = 4.0
_HANG_UP = Destination("hangup")
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")

# -- events (besides those of menus) ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entered:
    """A caller comes. `facts` are the variables that he brings."""

    facts: Mapping[str, str]
    language: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What a question brought: the answer's JSON, None where there was no good one."""

    answer: Any


@dataclass(frozen=True, slots=True)
class Over:
    """What took time is over. `result`: of a conversation ``answered``, ``busy``, ``no-answer``...; of a
    survey the score; of a recording its name; of the line what it said; "" for nothing."""

    result: str


Event: TypeAlias = Entered | DigitPressed | PlayEnded | TimedOut | Answered | Over

# -- effects (besides those of menus) ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mark:
    """From now on this is true of the call; None leaves a thing as it was."""

    language: str | None = None
    priority: int | None = None
    skill: str | None = None
    customer: str | None = None


@dataclass(frozen=True, slots=True)
class Secretly:
    """Whether what is pressed is a secret."""

    on: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask `url` with `query` added; `Answered` follows."""

    url: str
    query: Mapping[str, str]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Enqueue:
    """`Over` follows the conversation, or says why there was none."""

    queue: str
    max_wait_s: float | None


@dataclass(frozen=True, slots=True)
class Dial:
    targets: tuple[str, ...]
    ring_s: float


@dataclass(frozen=True, slots=True)
class TakeMessage:
    box: str


@dataclass(frozen=True, slots=True)
class Survey:
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    max_s: float
    silence_s: float


@dataclass(frozen=True, slots=True)
class Hear:
    """Listen to the caller's line for any of `what`, for `timeout_s` and as long as `prompts` are played."""

    what: tuple[str, ...]
    timeout_s: float
    prompts: tuple[str, ...] = ()


Effect: TypeAlias = (
    Play
    | Await
    | Announce
    | ForgetDigits
    | Leave
    | Mark
    | Secretly
    | Ask
    | Enqueue
    | Dial
    | TakeMessage
    | Survey
    | Record
    | Hear
)


@dataclass(frozen=True, slots=True)
class Script:
    """A flow as the machine takes it: its steps, opening hours by name, the extensions that menus let
    callers dial, and how a prompt of the office file is played."""

    flow: Flow
    hours: Mapping[str, Hours] = field(default_factory=dict)
    extensions: frozenset[str] = frozenset()
    played: Callable[[Prompt], str] = lambda prompt: prompt.value


class FlowMachine:
    """One caller in one flow."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._steps = script.flow.steps
        self._index = {s.name: n for n, s in enumerate(self._steps) if s.name is not None}
        self._at = -1
        self._taken = 0
        self._menu: MenuMachine | None = None
        self._question: CollectMachine | None = None
        self._ahead = ""  # keys pressed into an announcement, for the next menu or question
        self._local: datetime | None = None
        self.variables: dict[str, str] = {}
        self.language = "en"
        self.trail: list[str] = []
        self.left = False

    def snapshot(self) -> dict[str, Any]:
        return {
            "flow": self._script.flow.name,
            "step": self._called(self._at) if self._at >= 0 else "",
            "taken": self._taken,
            "trail": list(self.trail),
        }

    def handle(self, event: Event, local: datetime) -> list[Effect]:
        """One event at this time of the office; out of season it changes nothing."""
        if self.left or isinstance(event, Entered) != (self._at < 0):
            return []
        self._local = local
        effects: list[Effect] = []
        if isinstance(event, Entered):
            for name, value in event.facts.items():
                self._remember(name, value)
            self.language = event.language
            self._go_to(0, effects)
            return effects
        step = self._steps[self._at]
        to = self._after(step, event, effects)
        if to is not None:
            self._go_to(to, effects)
        return effects

    # -- from step to step -------------------------------------------------------------------------

    def _go_to(self, to: int | Destination, effects: list[Effect]) -> None:
        """Take steps until one has to wait for an event, or the flow is left."""
        following: int | Destination | None = to
        while following is not None:
            if isinstance(following, Destination):
                self._leave(following, effects)
                return
            self._at = following
            self._taken += 1
            self.trail = [*self.trail[1 - _TRAIL_MAX :], self._called(following)]
            if self._taken > STEPS_MAX:
                self._leave(_HANG_UP, effects, "too many steps")
                return
            following = self._take(self._steps[following], effects)

    def _leave(self, to: Destination, effects: list[Effect], why: str = "") -> None:
        self.left = True
        effects.append(Leave(to, self.variables.get("digits", ""), why or self._called(self._at)))

    def _called(self, number: int) -> str:
        return self._steps[number].name or f"step[{number}]"

    def _next(self, step: Step) -> int | Destination:
        if step.next is not None:
            return self._place(step.next)
        return self._at + 1 if self._at + 1 < len(self._steps) else _HANG_UP

    def _place(self, to: Destination | None) -> int | Destination:
        if to is None:
            return _HANG_UP
        return self._index[to.name] if to.kind == STEP else to

    def _failed(self, step: Step) -> int | Destination:
        return self._next(step) if step.failed is None else self._place(step.failed)

    # -- taking a step: what follows at once, or None: an event must come first --------------------

    def _take(self, step: Step, effects: list[Effect]) -> int | Destination | None:
        match step.do:
            case "play":
                return self._tell(step, [self._script.played(p) for p in step.prompt], effects)
            case "say":
                return self._tell(step, self._words(step), effects)
            case "menu":
                return self._offer(step, effects)
            case "collect":
                return self._ask_for(step, effects)
            case "hours":
                assert self._local is not None
                open_ = is_open(self._script.hours.get(step.hours or ""), self._local)
                return self._next(step) if open_ else self._place(step.closed)
            case "branch":
                return self._branch(step)
            case "set":
                return self._mark(step, effects)
            case "look-up":
                query = {key: filled(text, self.variables) for key, text in step.query.items()}
                effects.append(Ask(step.url, query, step.timeout_s or _LOOK_UP_S))
            case "enqueue":
                effects.append(Enqueue(step.queue or "", step.max_wait_s))
            case "dial":
                effects.append(Dial(tuple(str(to) for to in step.to), step.ring_s))
            case "voicemail":
                effects.append(TakeMessage(step.box or ""))
            case "record":
                effects.append(Record(step.max_s, step.silence_s))
            case "survey":
                effects.append(Survey(step.survey or ""))
            case "hear":
                prompts = tuple(self._script.played(prompt) for prompt in step.prompt)
                effects.append(Hear(step.what, step.timeout_s or _HEAR_S, prompts))
            case "transfer":
                return step.to[0]
            case "hang-up":
                effects += [Announce(self._script.played(prompt)) for prompt in step.prompt]
                return _HANG_UP
            case "go":
                return self._next(step)
        return None

    def _tell(
        self, step: Step, prompts: list[str], effects: list[Effect]
    ) -> int | Destination | None:
        if not step.barge_in:
            effects += [Announce(prompt) for prompt in prompts]
            return self._next(step)
        if self._ahead or not prompts:
            return self._next(step)
        effects.append(Play(tuple(prompts)))
        return None

    def _words(self, step: Step) -> list[str]:
        """What cannot be said is left out: a caller must not lose his call over another's data."""
        text = filled(step.value, self.variables).strip()
        assert step.kind is not None
        try:
            value: saying.Value = text
            if step.kind == "amount":
                amount, _, currency = text.partition(" ")
                value = (amount, currency.strip())
            return saying.phrase(step.kind, value, self.language)
        except ValueError:
            return []

    def _offer(self, step: Step, effects: list[Effect]) -> int | Destination | None:
        script = self._script
        first, *rest = (script.played(prompt) for prompt in step.prompt)
        menu = Menu(
            name=self._called(self._at),
            greeting=first,
            more=tuple(rest),
            options=step.options,
            extensions=script.extensions if step.dial_extension else frozenset(),
            invalid_max=step.tries,
            timeout_s=step.timeout_s or _TIMEOUT_S,
            otherwise=step.failed if step.failed is not None else _HANG_UP,
        )
        self._menu = MenuMachine(menu)
        assert self._local is not None
        return self._menu_said(self._menu.handle(MenuEntered(self._local)), effects)

    def _menu_said(self, said: list[Any], effects: list[Effect]) -> int | Destination | None:
        """What the menu wants done; keys that were pressed ahead count at once."""
        menu = self._menu
        assert menu is not None
        while self._ahead and said and isinstance(said[-1], Play | Await):
            key, self._ahead = self._ahead[0], self._ahead[1:]
            said = menu.handle(DigitPressed(key))
        for effect in said:
            if isinstance(effect, Leave):
                self._menu, self._ahead = None, ""
                self._remember("digits", effect.pressed)
                return self._place(effect.to)
            effects.append(effect)
        return None

    def _ask_for(self, step: Step, effects: list[Effect]) -> int | Destination | None:
        prompts = tuple(self._script.played(prompt) for prompt in step.prompt)
        if step.secret:
            effects.append(Secretly(True))
        self._question = CollectMachine(
            Question(
                prompts,
                step.min_digits,
                step.max_digits,
                step.timeout_s or _TIMEOUT_S,
                step.tries,
            )
        )
        return self._question_said(step, list(self._question.begin()), effects)

    def _question_said(
        self, step: Step, said: list[Any], effects: list[Effect]
    ) -> int | Destination | None:
        question = self._question
        assert question is not None
        while self._ahead and question.state is not CollectState.DONE:
            key, self._ahead = self._ahead[0], self._ahead[1:]
            said = question.handle(DigitPressed(key))
        effects += said
        if question.state is not CollectState.DONE:
            return None
        self._question = None
        if step.secret:
            effects.append(Secretly(False))
        if not question.digits:
            return self._place(step.failed)
        assert step.into is not None
        self._remember(step.into, question.digits)
        return self._next(step)

    def _branch(self, step: Step) -> int | Destination:
        value = filled(step.value, self.variables)
        number = _number(value)
        for case in step.cases:
            if (
                (case.is_ is not None and value == case.is_)
                or (case.starts is not None and value.startswith(case.starts))
                or (case.has is not None and case.has in value.split(","))
                or (case.known is not None and bool(value) is case.known)
                or (case.at_least is not None and number is not None and number >= case.at_least)
                or (case.at_most is not None and number is not None and number <= case.at_most)
            ):
                return self._place(case.go)
        return self._next(step)

    def _mark(self, step: Step, effects: list[Effect]) -> int | Destination:
        for name, text in step.variables.items():
            self._remember(name, filled(text, self.variables))
        if step.language is not None:
            self.language = step.language
            self._remember("language", step.language)
        skill = None if step.skill is None else self._skill(step.skill)
        customer = None if step.customer is None else filled(step.customer, self.variables)
        effects.append(Mark(step.language, step.priority, skill, customer))
        return self._next(step)

    def _skill(self, template: str) -> str:
        """Values go into an expression as names and numbers only: nobody's answer may change it."""
        safe = {
            name: value if value and set(value) <= _SAFE else "none"
            for name, value in self.variables.items()
        }
        return filled(template, safe)

    def _remember(self, name: str, value: str) -> None:
        if name in self.variables or len(self.variables) < VARIABLES_MAX:
            self.variables[name] = value[:VALUE_MAX]

    # -- after what took time ----------------------------------------------------------------------

    def _after(self, step: Step, event: Event, effects: list[Effect]) -> int | Destination | None:
        match event:
            case Answered(answer) if step.do == "look-up":
                return self._read(step, answer)
            case Over(result):
                return self._after_talk(step, result)
            case DigitPressed() | PlayEnded() | TimedOut():
                return self._keyed(step, event, effects)
        return None

    def _keyed(
        self, step: Step, event: DigitPressed | PlayEnded | TimedOut, effects: list[Effect]
    ) -> int | Destination | None:
        if self._menu is not None:
            return self._menu_said(list(self._menu.handle(event)), effects)
        if self._question is not None:
            return self._question_said(step, list(self._question.handle(event)), effects)
        if step.do not in ("play", "say") or isinstance(event, TimedOut):
            return None
        if isinstance(event, DigitPressed):
            self._ahead += event.digit
        return self._next(step)

    def _read(self, step: Step, answer: Any) -> int | Destination:
        if answer is None:
            return self._failed(step)
        for name, path in step.answer.items():
            self._remember(name, _at(answer, path))
        return self._next(step)

    def _after_talk(self, step: Step, result: str) -> int | Destination | None:
        match step.do:
            case "enqueue" | "dial":
                self._remember("outcome", result)
                if result == "answered":
                    return self._next(step)
                if result == "busy" and step.busy is not None:
                    return self._place(step.busy)
                return self._failed(step)
            case "survey" | "record":
                if step.into is not None:
                    self._remember(step.into, result)
                return self._next(step)
            case "hear":
                if step.into is not None:
                    self._remember(step.into, result)
                return self._place(step.heard) if result and step.heard else self._next(step)
            case "voicemail":
                return self._next(step)
        return None


def _at(answer: Any, path: str) -> str:
    """The value at a path such as ``order.status`` (``items.0.price``) as text; lists of plain values as
    ``a,b``; "" where there is none."""
    for key in path.split("."):
        if isinstance(answer, dict):
            answer = answer.get(key)
        elif isinstance(answer, list) and key.isascii() and key.isdecimal():
            answer = answer[int(key)] if len(key) < 6 and int(key) < len(answer) else None
        else:
            return ""
    if isinstance(answer, list):
        return ",".join(_plain(each) for each in answer[:VARIABLES_MAX])
    return _plain(answer)


def _plain(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case int() | float():
            return str(value)
    return ""


def _number(text: str) -> float | None:
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return float(found) if found.is_finite() else None
