"""A conference room as a pure machine: who is let in, who is heard, and what a moderator's keys do.

Participants are known by their call's id. Every effect is addressed to one of them, who performs it. Keys are
two, a star and a digit: a conversation is full of single keys pressed by cheeks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from softswitch import saying

TONES_MAX = 30
"""In a larger room nobody hears who comes and goes: it would be nothing but tones."""
GAIN_STEP_DB = 3.0
GAIN_KEYS_DB = 12.0
"""How much louder or softer keys make somebody at most."""
GAIN_DB_MIN, GAIN_DB_MAX = -40.0, 12.0
"""What a program may make of somebody's loudness."""
KEY_WITHIN_S = 5.0
"""So long after the star its digit is awaited."""

ENTER, LEAVE = "conference-enter", "conference-leave"
JOINED, GONE = "conference-joined", "conference-left"
_HELP, _MODERATOR_HELP = "conference-help", "conference-moderator-help"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the office file says of a room."""

    max_participants: int = 300
    wait_for_moderator: bool = False
    end_with_moderator: bool = False
    tones: bool = True
    names: bool = False


# -- events -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Came:
    """Somebody who may come in. `name`: what he has said his name is, as a prompt, "" for none."""

    who: str
    moderator: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Went:
    who: str


@dataclass(frozen=True, slots=True)
class Pressed:
    who: str
    key: str
    language: str = "en"


@dataclass(frozen=True, slots=True)
class SoundAsked:
    """By a program: how somebody hears and is heard; None leaves it as it is. `deaf`: he hears nothing;
    `gain_db`: how much louder the others hear him, -40 to 12."""

    who: str
    muted: bool | None = None
    deaf: bool | None = None
    gain_db: float | None = None


@dataclass(frozen=True, slots=True)
class RemovalAsked:
    """By a program: send somebody out."""

    who: str


@dataclass(frozen=True, slots=True)
class LockAsked:
    """By a program."""

    on: bool


@dataclass(frozen=True, slots=True)
class EndAsked:
    """By a program: end it for all."""


Event: TypeAlias = Came | Went | Pressed | SoundAsked | RemovalAsked | LockAsked | EndAsked

# -- effects ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hold:
    """Have him wait with music for the moderator."""

    who: str


@dataclass(frozen=True, slots=True)
class Admit:
    """Let him hear the others, and be heard unless `muted`. `alone`: tell him first that he is the first."""

    who: str
    muted: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Mute:
    """Let him be heard by nobody, or again; `deaf`, `gain_db`: as they are now."""

    who: str
    on: bool
    deaf: bool = False
    gain_db: float = 0.0


@dataclass(frozen=True, slots=True)
class Tell:
    """Play him these."""

    who: str
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expel:
    """Tell him why, and end his call."""

    who: str
    prompt: str


Effect: TypeAlias = Hold | Admit | Mute | Tell | Expel


@dataclass(slots=True)
class Person:
    """Somebody in the room. `waiting`: for the moderator; `star_s`: when he pressed a star."""

    moderator: bool
    name: str
    waiting: bool = False
    muted: bool = False
    star_s: float | None = None
    deaf: bool = False
    gain_db: float = 0.0


@dataclass(slots=True)
class RoomMachine:
    """One room, from the first who comes to the last who goes."""

    rules: Rules
    people: dict[str, Person] = field(default_factory=dict)
    locked: bool = False
    all_muted: bool = False
    begun: bool = False

    def refusal(self, moderator: bool) -> str:
        """Why somebody is not let in: "full", "locked" (moderators are not kept out), or ""."""
        if len(self.people) >= self.rules.max_participants:
            return "full"
        return "locked" if self.locked and not moderator else ""

    def handle(self, event: Event, now_s: float) -> list[Effect]:
        """One event; about somebody who is not there it does nothing."""
        match event:
            case Came():
                return self._came(event)
            case Went(who):
                return self._went(who)
            case Pressed(who, key, language):
                person = self.people.get(who)
                return [] if person is None else self._pressed(who, person, key, language, now_s)
            case SoundAsked(who):
                person = self.people.get(who)
                return [] if person is None else self._sound(event, person)
            case RemovalAsked(who):
                return [Expel(who, "conference-removed")] if who in self.people else []
            case LockAsked(on):
                self.locked = on
                return []
            case EndAsked():
                return self._end()

    # -- coming and going --------------------------------------------------------------------------

    def _came(self, event: Came) -> list[Effect]:
        person = Person(event.moderator, event.name)
        self.people[event.who] = person
        if self.rules.wait_for_moderator and not self.begun and not event.moderator:
            person.waiting = True
            return [Hold(event.who)]
        effects: list[Effect] = []
        if event.moderator and not self.begun:
            effects += self._begin(event.who)
        self.begun = True
        person.muted = self.all_muted and not event.moderator
        alone = len(self.people) == 1
        effects.append(Admit(event.who, person.muted, alone))
        return effects if alone else effects + self._tell_of(event.who, person, ENTER, JOINED)

    def _begin(self, moderator: str) -> list[Effect]:
        """Those who have waited are let in."""
        admitted: list[Effect] = []
        for who, person in self.people.items():
            if person.waiting and who != moderator:
                person.waiting = False
                person.muted = self.all_muted
                admitted.append(Admit(who, person.muted))
                if person.deaf or person.gain_db:
                    admitted += self._mute(who, person, person.muted)
        return admitted

    def _went(self, who: str) -> list[Effect]:
        person = self.people.pop(who, None)
        if person is None or person.waiting:
            return []
        left = any(each.moderator for each in self.people.values())
        if person.moderator and not left and self.rules.end_with_moderator:
            return self._end()
        return self._tell_of("", person, LEAVE, GONE)

    def _tell_of(self, who: str, person: Person, tone: str, words: str) -> list[Effect]:
        """Of somebody who comes or goes: by name or by a tone; `who` himself hears a tone only."""
        if len(self.people) > TONES_MAX:
            return []
        named: tuple[str, ...] = ()
        if self.rules.names and person.name:
            named = (person.name, words)
        told: list[Effect] = []
        for other, each in self.people.items():
            prompts = named if other != who else ()
            if not prompts and self.rules.tones:
                prompts = (tone,)
            if prompts and not each.waiting:
                told.append(Tell(other, prompts))
        return told

    def _end(self) -> list[Effect]:
        return [Expel(who, "conference-ended") for who in self.people]

    # -- keys --------------------------------------------------------------------------------------

    def _pressed(
        self, who: str, person: Person, key: str, language: str, now_s: float
    ) -> list[Effect]:
        star_s, person.star_s = person.star_s, None
        if star_s is None or now_s - star_s > KEY_WITHIN_S:
            person.star_s = now_s if key == "*" else None
            return []
        if person.waiting:
            return []
        match key:
            case "1":
                return self._mute_himself(who, person)
            case "5":
                count = saying.phrase("count", len(self.people), language)
                return [Tell(who, (*count, "conference-participants"))]
            case "7" | "8":
                return self._louder(who, person, GAIN_STEP_DB if key == "8" else -GAIN_STEP_DB)
            case "0" | "*":
                return [Tell(who, (_MODERATOR_HELP if person.moderator else _HELP,))]
        return self._moderated(who, key) if person.moderator else []

    def _moderated(self, who: str, key: str) -> list[Effect]:
        match key:
            case "2":
                return self._mute_all()
            case "3":
                self.locked = not self.locked
                word = "conference-locked" if self.locked else "conference-unlocked"
                return [Tell(who, (word,))]
            case "4":
                others = [other for other, each in self.people.items() if not each.moderator]
                return [Expel(others[-1], "conference-removed")] if others else []
            case "9":
                return self._end()
        return []

    def _mute_himself(self, who: str, person: Person) -> list[Effect]:
        if person.muted and self.all_muted and not person.moderator:
            return [Tell(who, ("conference-all-muted",))]  # the moderator has the word
        effects = self._mute(who, person, not person.muted)
        word = "conference-muted" if person.muted else "conference-unmuted"
        return [*effects, Tell(who, (word,))]

    def _mute(self, who: str, person: Person, on: bool) -> list[Effect]:
        person.muted = on
        return [] if person.waiting else [Mute(who, on, person.deaf, person.gain_db)]

    def _louder(self, who: str, person: Person, by_db: float) -> list[Effect]:
        person.gain_db = min(max(person.gain_db + by_db, -GAIN_KEYS_DB), GAIN_KEYS_DB)
        return self._mute(who, person, person.muted)

    def _sound(self, asked: SoundAsked, person: Person) -> list[Effect]:
        if asked.deaf is not None:
            person.deaf = asked.deaf
        if asked.gain_db is not None:
            person.gain_db = min(max(asked.gain_db, GAIN_DB_MIN), GAIN_DB_MAX)
        return self._mute(asked.who, person, person.muted if asked.muted is None else asked.muted)

    def _mute_all(self) -> list[Effect]:
        self.all_muted = not self.all_muted
        effects: list[Effect] = []
        for who, person in self.people.items():
            if not person.moderator:
                effects += self._mute(who, person, self.all_muted)
        word = "conference-all-muted" if self.all_muted else "conference-all-unmuted"
        return effects + [Tell(w, (word,)) for w, p in self.people.items() if not p.waiting]

    def snapshot(self) -> dict[str, Any]:
        return {"locked": self.locked, "all_muted": self.all_muted, "begun": self.begun}
