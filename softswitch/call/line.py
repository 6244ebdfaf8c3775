"""How calls to an extension are treated now: what the office file says, changed by feature codes, by
programs and by the API. What was changed outlives a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from softswitch.call.dialplan import FORWARDS, Refused, Route
from softswitch.config import Destination, parse_forward
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.config import Extension, Office

LINE_CHANGED = "line-changed"
"""The kind of journal entry: `extension`, `setting`, `value` (None: as in the office file), `by`."""

SWITCHES = ("do_not_disturb", "call_waiting")
SETTINGS = (*SWITCHES, *FORWARDS)

Value: TypeAlias = bool | str | None
"""Of a switch True or False, of a forwarding its destination as in the office file, "" for none; None
makes either what the office file says."""

FindRoute: TypeAlias = Callable[[str, str], Route]
"""Where a destination, as text, leads with the rights of an extension."""


@dataclass(frozen=True, slots=True)
class Line:
    """One extension's settings. `after_s`: how long its phones ring before `forward_no_answer`."""

    do_not_disturb: bool = False
    call_waiting: bool = True
    forward_always: Destination | None = None
    forward_busy: Destination | None = None
    forward_no_answer: Destination | None = None
    forward_unreachable: Destination | None = None
    after_s: float = 25.0

    @classmethod
    def configured(cls, extension: Extension) -> Line:
        """What the office file says."""
        forward = extension.forward
        return cls(
            extension.do_not_disturb,
            extension.call_waiting,
            forward.always,
            forward.busy,
            forward.no_answer,
            forward.unreachable,
            forward.after_s,
        )

    def snapshot(self) -> dict[str, Any]:
        """The settings as plain values."""
        forwards = {name: getattr(self, name) for name in FORWARDS}
        return {
            "do_not_disturb": self.do_not_disturb,
            "call_waiting": self.call_waiting,
            **{name: "" if to is None else str(to) for name, to in forwards.items()},
            "after_s": self.after_s,
        }


class Lines:
    """The settings of all extensions.

    Parameters: `note(data)` writes a `LINE_CHANGED` entry; `find_route` tells whether there is anything at a
    destination.
    """

    def __init__(
        self,
        extensions: Iterable[Extension],
        note: Callable[[dict[str, Any]], object],
        find_route: FindRoute,
    ) -> None:
        self._configured = {e.number: Line.configured(e) for e in extensions}
        self._lines = dict(self._configured)
        self._changed: dict[str, set[str]] = {}
        self._note = note
        self._find_route = find_route
        self._listeners: list[Callable[[str], None]] = []

    def use_office(self, office: Office) -> None:
        """Take these extensions from now on; what was changed stays changed."""
        self._configured = {e.number: Line.configured(e) for e in office.extensions}
        before, self._lines = self._lines, dict(self._configured)
        for number in list(self._changed):
            if number in self._lines:
                kept: dict[str, Any] = {
                    n: getattr(before[number], n) for n in self._changed[number]
                }
                self._lines[number] = replace(self._lines[number], **kept)
            else:
                del self._changed[number]

    def listen(self, on_change: Callable[[str], None]) -> None:
        """Tell `on_change` of extensions whose settings change."""
        self._listeners.append(on_change)

    def of(self, extension: str) -> Line:
        """The settings of an extension as they are now; raises `CallError` for an unknown one."""
        found = self._lines.get(extension)
        if found is None:
            raise CallError(f"there is no extension {extension}")
        return found

    def set(self, extension: str, setting: str, value: Value, *, by: str = "") -> Line:
        """Change one of `SETTINGS` and keep it; what it is now.

        Parameters: `value` as `Value` says; a forwarding may be "voicemail" or a number, which is dialled
        with the extension's own rights; `by`, who does it, for the journal. Raises `CallError`
        for what cannot be: an unknown extension or setting, a destination that leads nowhere.
        """
        before = self.of(extension)
        line = self._with(extension, before, setting, value)
        if setting in FORWARDS and value and isinstance(value, str):
            self._check_leads_somewhere(extension, getattr(line, setting))
        self._put(extension, setting, value, line)
        self._note({"extension": extension, "setting": setting, "value": value, "by": by})
        for listener in self._listeners:
            listener(extension)
        return line

    def recall(self, rows: Iterable[tuple[str, str, Value]]) -> None:
        """Take what was changed before this start: (extension, setting, value). What no longer fits the
        office file is passed over."""
        for extension, setting, value in rows:
            if extension in self._lines and setting in SETTINGS:
                try:
                    line = self._with(extension, self._lines[extension], setting, value)
                except CallError:
                    continue
                self._put(extension, setting, value, line)

    def rows(self) -> list[dict[str, Any]]:
        """The extensions whose settings differ from the office file's, for `status`."""
        return [
            {"extension": extension, **self._lines[extension].snapshot(), "changed": sorted(names)}
            for extension, names in sorted(self._changed.items())
        ]

    def _put(self, extension: str, setting: str, value: Value, line: Line) -> None:
        self._lines[extension] = line
        names = self._changed.setdefault(extension, set())
        if value is None:
            names.discard(setting)
        else:
            names.add(setting)
        if not names:
            del self._changed[extension]

    def _with(self, extension: str, line: Line, setting: str, value: Value) -> Line:
        if setting not in SETTINGS:
            raise CallError(f"{setting} is no setting of a line: {', '.join(SETTINGS)}")
        if value is None:
            found: Any = getattr(self._configured[extension], setting)
        elif setting in SWITCHES:
            if not isinstance(value, bool):
                raise CallError(f"{setting} is True or False, not {value!r}")
            found = value
        else:
            found = _destination(extension, value)
        changes: Mapping[str, Any] = {setting: found}
        return replace(line, **changes)

    def _check_leads_somewhere(self, extension: str, to: Destination) -> None:
        if to == Destination("number", extension) or to == Destination("extension", extension):
            raise CallError(f"{extension} cannot forward to itself")
        route = self._find_route(str(to), extension)
        if isinstance(route, Refused):
            raise CallError(f"{to} is nowhere to forward to: {route.why}")


def _destination(extension: str, value: Value) -> Destination | None:
    if not isinstance(value, str):
        raise CallError(f"a forwarding goes to a text, not {value!r}")
    if not value:
        return None
    if value == "voicemail":
        return Destination("voicemail", extension)
    try:
        return parse_forward(value)
    except ValueError as error:
        raise CallError(f"{value} is no destination") from error
