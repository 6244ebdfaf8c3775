"""The office of now: the file, and what was added through the API. It changes while calls go on, whole or
not at all: what is wrong is refused, with the reason, and the office stays as it was."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softswitch.apps.checks import OFFICE_CHECKS
from softswitch.config.overlay import (
    SECTIONS,
    OverlayEntry,
    compose,
    entry_at,
    merged,
    name_in,
    plain,
    read_entry,
)
from softswitch.config.problems import InvalidOffice, Problem
from softswitch.config.restart import held_back
from softswitch.errors import SoftswitchError
from softswitch.store.ledger import Conflict, Missing

if TYPE_CHECKING:
    from softswitch.config import Office
    from softswitch.store import Store
    from softswitch.store.office_entries import OfficeEntry

_log = logging.getLogger("softswitch.office")

ALARM = "office.entries"
_ROUNDS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Listed:
    """One table of the office. `entry` None: of the file, and not to be changed here."""

    section: str
    name: str
    values: dict[str, Any]
    entry: OfficeEntry | None = None


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload has changed, by section; and the keys that wait for a restart."""

    changed: list[str]
    restart: list[str]


class BadEntry(SoftswitchError):
    """An entry is refused. `problems` have key paths inside it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class OfficeBook:
    """Parameters: `file`, the office of the file; `prepare` is awaited with an office that is about to be
    used and may still refuse it (`InvalidOffice`); `use` takes it; `alarm(name, reason)` is told of
    entries that cannot be used at the start.
    """

    def __init__(
        self,
        file: Office,
        store: Store | None,
        *,
        read_file: Callable[[], Office] | None,
        prepare: Callable[[Office], Awaitable[None]],
        use: Callable[[Office], None],
        alarm: Callable[[str, str], None],
    ) -> None:
        self.file = self._at_start = file
        self.office = file
        self._store = store
        self._read_file = read_file
        self._prepare = prepare
        self._use = use
        self._alarm = alarm
        self._entries: list[OfficeEntry] = []
        self.restart: list[str] = []
        self._lock = asyncio.Lock()

    # -- the start -----------------------------------------------------------------------------------

    async def load(self) -> Office:
        """The office to begin with. Entries that no longer fit the file are left out, with an alarm:
        the exchange must start."""
        if self._store is None:
            return self.office
        entries, problems = await self._store.office_entries.all()
        left = _overlay(entries)
        for _ in range(_ROUNDS_MAX):
            try:
                self.office = compose(self.file, left, OFFICE_CHECKS)
                break
            except InvalidOffice as error:
                found = (entry_at(self.file, left, problem)[0] for problem in error.problems)
                bad = [entry for entry in found if entry is not None] or left
                problems.append(str(error))
                left = [entry for entry in left if entry not in bad]
        self._entries = entries
        if problems:
            reason = f"{len(entries) - len(left)} entries are not used: {problems[0]}"
            _log.error("%s", reason)
            self._alarm(ALARM, reason[:512])
        return self.office

    # -- reading -------------------------------------------------------------------------------------

    def counts(self, section: str) -> tuple[int, int]:
        """How many tables of a section the file has, and how many were made here."""
        own = sum(entry.section == section for entry in self._entries)
        return len(getattr(self.file, SECTIONS[section][0])), own

    def listed(
        self, section: str, start: int, end: int, *, text: str = "", source: str = ""
    ) -> list[Listed]:
        """Some tables of a section: the file's in their order, then the others in theirs. `text`: those with it
        in their name or number; `source`: of the "file", or made through the "api"."""
        words = text.casefold()
        tables = getattr(self.file, SECTIONS[section][0]) if source != "api" else ()
        own = self._entries if source != "file" else ()
        found: list[tuple[str, Any, OfficeEntry | None]] = [
            (name, table, None)
            for name, table in zip(self._names(section), tables, strict=False)
            if words in f"{name} {getattr(table, 'name', '')}".casefold()
        ]
        found += [
            (entry.name, entry.values, entry)
            for entry in own
            if entry.section == section
            and words in f"{entry.name} {entry.values.get('name', '')}".casefold()
        ]
        return [
            Listed(section, name, plain(table) if entry is None else table, entry)
            for name, table, entry in found[start:end]
        ]

    def find(self, section: str, name: str) -> Listed:
        """Raises `Missing`."""
        names = self._names(section)
        if name in names:
            at = names.index(name)
            return Listed(section, name, plain(getattr(self.file, SECTIONS[section][0])[at]))
        for entry in self._entries:
            if (entry.section, entry.name) == (section, name):
                return Listed(section, name, entry.values, entry)
        raise Missing(f"there is no {section.replace('_', ' ')} {name}")

    def _names(self, section: str) -> list[str]:
        """The names of the file's tables, in their order; those that have none are numbered."""
        attribute, key = SECTIONS[section]
        tables = enumerate(getattr(self.file, attribute), 1)
        return [getattr(table, key) if key else f"file-{number}" for number, table in tables]

    # -- changing ------------------------------------------------------------------------------------

    async def add(self, actor: str, section: str, values: dict[str, Any]) -> Listed:
        """A new entry, used at once. Raises `BadEntry`, `Conflict`, `StoreError`."""
        async with self._lock:
            name, office = await self._with(section, values)
            entry = await self._opened().office_entries.add(actor, section, name, values)
            self._entries = [*self._entries, entry]
            self._take(self.file, office)
            return Listed(section, entry.name, values, entry)

    async def check(self, section: str, values: dict[str, Any]) -> None:
        """Whether `add` would take it. Raises as that, and changes nothing."""
        async with self._lock:
            await self._with(section, values)

    async def change(
        self, actor: str, section: str, name: str, patch: dict[str, Any], version: int | None
    ) -> Listed:
        """Other values for an entry: a merge patch. Raises as `add`, and `Missing`, `Stale`."""
        async with self._lock:
            entry = self._own(section, name)
            values = merged(entry.values, patch)
            key = SECTIONS[section][1]
            if key and values.get(key) != name:
                raise BadEntry([Problem(key, "cannot be changed", "make another one")])
            fresh = OverlayEntry(section, name, values)
            entries = [fresh if e is entry else _as_overlay(e) for e in self._entries]
            office = await self._checked(self.file, entries, fresh)
            changed = await self._opened().office_entries.change(actor, entry, values, version)
            self._entries = [changed if e is entry else e for e in self._entries]
            self._take(self.file, office)
            return Listed(section, name, values, changed)

    async def remove(self, actor: str, section: str, name: str, version: int | None) -> None:
        """Take an entry away. Raises `Conflict` where something refers to it, `Missing`, `Stale`."""
        async with self._lock:
            entry = self._own(section, name)
            left = [each for each in self._entries if each is not entry]
            office = await self._checked(self.file, _overlay(left), None)
            await self._opened().office_entries.remove(actor, entry, version)
            self._entries = left
            self._take(self.file, office)

    async def reload(self) -> Reloaded:
        """Read the file again. Raises `InvalidOffice` with every problem, by line; the office stays as
        it was then."""
        async with self._lock:
            if self._read_file is None:
                raise Conflict("this exchange has no file: it was made by a program")
            read = await asyncio.get_running_loop().run_in_executor(None, self._read_file)
            file, restart = held_back(read, self._at_start)
            office = compose(file, _overlay(self._entries), OFFICE_CHECKS)
            await self._prepare(office)
            changed = [
                name
                for name in type(office).model_fields
                if getattr(office, name) != getattr(self.office, name)
            ]
            self._take(file, office)
            self.restart = restart
            self._alarm(ALARM, "")
            return Reloaded(changed, restart)

    # -- inside --------------------------------------------------------------------------------------

    def _take(self, file: Office, office: Office) -> None:
        self.file, self.office = file, office
        self._use(office)

    async def _checked(
        self, file: Office, entries: list[OverlayEntry], fresh: OverlayEntry | None
    ) -> Office:
        """The office with these entries. What is wrong in `fresh` is a `BadEntry`, what is wrong
        elsewhere, because of it or of what is gone, a `Conflict`."""
        if fresh is not None:
            try:
                read_entry(fresh.section, fresh.values)
            except InvalidOffice as error:
                raise BadEntry(error.problems) from None
        try:
            office = compose(file, entries, OFFICE_CHECKS)
            await self._prepare(office)
        except InvalidOffice as error:
            own = []
            for problem in error.problems:
                entry, path = entry_at(file, entries, problem)
                if fresh is not None and entry is fresh:
                    own.append(Problem(path, problem.problem, problem.allowed, problem.entry))
            if own:
                raise BadEntry(own) from None
            raise Conflict("; ".join(str(problem) for problem in error.problems)) from None
        return office

    async def _with(self, section: str, values: dict[str, Any]) -> tuple[str, Office]:
        """The name of a new entry, and the office with it."""
        name = name_in(section, values)
        taken = {e.name for e in self._entries if e.section == section}
        if name and (name in taken or name in self._names(section)):
            raise Conflict(f"there is a {section.replace('_', ' ')} {name} already")
        fresh = OverlayEntry(section, name, values)
        return name, await self._checked(self.file, [*_overlay(self._entries), fresh], fresh)

    def _own(self, section: str, name: str) -> OfficeEntry:
        found = self.find(section, name)
        if found.entry is None:
            words = section.replace("_", " ")
            raise Conflict(f"the {words} {name} is in the office file, which is read-only here")
        return found.entry

    def _opened(self) -> Store:
        if self._store is None:
            raise Conflict("this exchange has no database")
        return self._store


def _overlay(entries: Iterable[OfficeEntry]) -> list[OverlayEntry]:
    return [_as_overlay(entry) for entry in entries]


def _as_overlay(entry: OfficeEntry) -> OverlayEntry:
    return OverlayEntry(entry.section, entry.name, entry.values)
