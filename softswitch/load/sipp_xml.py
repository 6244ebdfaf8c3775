"""SIPp scenarios: the common part of its XML, read into steps; `softswitch.load.sipp_call` plays them.

Known are `send`, `recv`, `pause`, `nop`, `label`, `optional`, `next`, `test`, `chance`, `condexec`,
`timeout`, `ontimeout`, `regexp_match`, `crlf`, `rtd`, `rrs`, and the actions of
`softswitch.load.sipp_action`. Source: SIPp's own documentation (sipp.readthedocs.io, scenarios).
"""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from softswitch.errors import ConfigError
from softswitch.load.sipp_action import EXECUTED, IGNORED, KNOWN, Action, posix

STEPS_MAX = 1000
FILE_OCTETS_MAX = 1 << 20
_IGNORED = frozenset(
    {"ResponseTimeRepartition", "CallLengthRepartition", "Reference", "Global", "User", "info"}
)


@dataclass(frozen=True, slots=True)
class Step:
    """One element; `kind` send, recv, pause, nop or label."""

    kind: str
    values: Mapping[str, str]
    text: str = ""
    actions: tuple[Action, ...] = ()

    @property
    def optional(self) -> bool:
        """Whether this `recv` may not happen."""
        return self.values.get("optional") in ("true", "global")

    def fits(self, status: int, method: str, cseq_method: str) -> bool:
        """Whether a `recv` wants this message; `status` 0 is a request."""
        if status:
            wanted = self.values.get("response")
            of = self.values.get("response_txn", "")
            return wanted == str(status) and (not of or of.upper() == cseq_method)
        wanted = self.values.get("request", "")
        if self.values.get("regexp_match") == "true":
            return re.search(posix(wanted), method) is not None
        return wanted == method


@dataclass(frozen=True, slots=True)
class Script:
    """A scenario; `server` when it begins by waiting for a request."""

    name: str
    steps: tuple[Step, ...]
    labels: Mapping[str, int]

    @property
    def server(self) -> bool:
        """Whether this is the called side."""
        first = next((s for s in self.steps if s.kind in ("send", "recv")), None)
        return first is not None and first.kind == "recv"


def read_script(path: Path) -> Script:
    """Read a scenario file. Raises `ConfigError` naming what is not known."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError("scenario", f"{path}: {error.strerror}") from error
    if len(data) > FILE_OCTETS_MAX or b"<!ENTITY" in data:
        raise ConfigError("scenario", f"{path}: too long, or with entities of its own")
    return parse_script(data, str(path))


def parse_script(data: bytes, name: str) -> Script:
    """See `read_script`."""
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise ConfigError("scenario", f"{name}: {error}") from error
    steps: list[Step] = []
    labels: dict[str, int] = {}
    for element in root:
        if element.tag in _IGNORED:
            continue
        if element.tag == "label":
            labels[element.get("id", "")] = len(steps)
            continue
        if element.tag == "timewait":
            continue  # what comes late is known by its hash as long as the call lives
        if element.tag not in ("send", "recv", "pause", "nop"):
            raise ConfigError(
                "scenario", f"{name}: <{element.tag}>", "send, recv, pause, nop, label"
            )
        steps.append(_step(element, name))
        if len(steps) > STEPS_MAX:
            raise ConfigError("scenario", f"{name}: more than {STEPS_MAX} steps")
    for step in steps:
        for key in ("next", "ontimeout"):
            if step.values.get(key, "") not in ("", *labels):
                raise ConfigError("scenario", f"{name}: there is no label {step.values[key]!r}")
    if not steps:
        raise ConfigError("scenario", f"{name}: no steps")
    return Script(root.get("name") or name, tuple(steps), labels)


def _step(element: ET.Element, name: str) -> Step:
    actions = []
    for action in element.findall("action/*"):
        if action.tag not in KNOWN:
            if action.tag not in IGNORED:
                allowed = ", ".join(sorted(KNOWN))
                raise ConfigError("scenario", f"{name}: action <{action.tag}>", allowed)
            continue
        if action.tag == "ereg":
            _check_pattern(action.get("regexp", ""), name)
        if action.tag == "exec" and not EXECUTED & set(action.keys()):
            what = " ".join(f'{key}="{value}"' for key, value in action.attrib.items())
            raise ConfigError("scenario", f"{name}: <exec {what}>", ", ".join(sorted(EXECUTED)))
        actions.append(Action(action.tag, dict(action.attrib)))
    if element.get("regexp_match") == "true":
        _check_pattern(element.get("request", ""), name)
    if element.tag == "recv" and not {"response", "request"} & set(element.keys()):
        raise ConfigError("scenario", f"{name}: a <recv> of nothing", "response= or request=")
    if element.tag == "send" and not (element.text or "").strip():
        raise ConfigError("scenario", f"{name}: a <send> of nothing")
    text = _message_text(element.text or "") if element.tag == "send" else ""
    return Step(element.tag, dict(element.attrib), text, tuple(actions))


def _check_pattern(pattern: str, name: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", FutureWarning
            )  # `[a--b]`: other Pythons may read it otherwise
            re.compile(posix(pattern))
    except (re.error, FutureWarning, OverflowError, RecursionError) as error:
        raise ConfigError("scenario", f"{name}: regexp: {error}") from error


def _message_text(text: str) -> str:
    """A message as it is written in XML, indented, as it goes out."""
    lines = [line.strip() for line in text.strip().split("\n")]
    head_end = lines.index("") if "" in lines else len(lines)
    body = lines[head_end + 1 :]
    while body and not body[-1]:
        body.pop()
    whole = [*lines[:head_end], "", *body]
    return "\r\n".join(whole) + "\r\n"


@dataclass(slots=True)
class Injection:
    """Lines of a CSV file for `[field0]` and the like (SIPp's `-inf`)."""

    rows: Sequence[Sequence[str]] = ()
    at_random: bool = False

    @classmethod
    def parse(cls, text: str) -> Injection:
        """The first line is SEQUENTIAL, RANDOM or USER, as SIPp wants it."""
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        if not lines or lines[0].split(",")[0] not in ("SEQUENTIAL", "RANDOM", "USER"):
            raise ConfigError("inf", "the first line", "SEQUENTIAL, RANDOM or USER")
        rows = [line.split(";") for line in lines[1:]]
        return cls(rows, lines[0].startswith("RANDOM"))

    def row(self, number: int, rng: random.Random) -> Sequence[str]:
        """The line of call `number`."""
        if not self.rows:
            return ()
        return rng.choice(self.rows) if self.at_random else self.rows[number % len(self.rows)]
