"""What the log looks like: one line an event, whatever a stranger writes into it, and never a flood. Pure, but
for the handler that `set_up` installs."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import SysLogHandler
from typing import Any, TextIO

from softswitch.clock import SystemClock

LINE_MAX = 4_096
SYSLOG_OCTETS_MAX = 1_900
OCTETS_PER_S = 15_000
"""Of lines below ERROR, together: less than 1 MB a minute. Errors have as much for themselves."""
BURST_OCTETS = 60_000
ALIKE_PER_S = 5.0
ALIKE_BURST = 50.0
_KINDS_MAX = 1_000
_HOST = re.sub(r"[^!-~]", "-", socket.gethostname())[:255] or "-"

# C0, DEL, C1, line and paragraph separators; marks that change the direction of what follows
# (UAX 9); invisible ones; lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_CALL = re.compile(r"\bcall (c[0-9a-f]{6,20}-[0-9a-z]{1,16})\b")


def inert(text: str) -> str:
    """`text` on one line, with nothing in it that a terminal or a reader of logs obeys."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class TextFormatter(logging.Formatter):
    """``2026-11-27T08:00:00.123Z WARNING softswitch.call: ...``"""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{_stamp(record.created)} {record.levelname} {record.name}: "
        return head + _cut(inert(_message(self, record)))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, message, call_id where one is told of, error."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        found: dict[str, Any] = {
            "at": _stamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _cut(inert(message)),
        }
        call = _CALL.search(message)
        call_id = getattr(record, "call_id", None) or (call[1] if call is not None else None)
        if call_id:
            found["call_id"] = inert(str(call_id))[:256]
        if record.exc_info:
            lines = self.formatException(record.exc_info).split("\n")
            found["error"] = [inert(line)[:512] for line in lines[-40:]]
        return json.dumps(found, ensure_ascii=False)


class Quiet(logging.Filter):
    """Lets through so many lines of one kind a second, and so many octets in all; says how many it has left
    out when the next of the kind comes through. A kind is what the program writes, without what it is
    about: a stranger cannot make more of them. `clock_s`: monotonic seconds."""

    def __init__(self, clock_s: Callable[[], float] | None = None) -> None:
        super().__init__()
        self._clock_s = clock_s or SystemClock().monotonic_s
        self.left_out = 0
        self._alike: OrderedDict[tuple[str, int, str], list[float]] = OrderedDict()
        self._octets = {False: float(BURST_OCTETS), True: float(BURST_OCTETS)}
        self._at_s: dict[bool, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now_s = self._clock_s()
        kind = (record.name, record.levelno, str(record.msg)[:200])
        budget = self._alike.get(kind)
        if budget is None:
            budget = self._alike[kind] = [ALIKE_BURST, now_s, 0.0]
            if len(self._alike) > _KINDS_MAX:
                self._alike.popitem(last=False)
        else:
            self._alike.move_to_end(kind)
        budget[0] = min(ALIKE_BURST, budget[0] + (now_s - budget[1]) * ALIKE_PER_S)
        budget[1] = now_s
        if budget[0] < 1 or not self._room(record, now_s):
            budget[2] += 1
            self.left_out += 1
            return False
        budget[0] -= 1
        if budget[2]:
            record.msg = f"{record.msg} ({int(budget[2])} more like this were left out)"
            budget[2] = 0.0
        return True

    def _room(self, record: logging.LogRecord, now_s: float) -> bool:
        error = record.levelno >= logging.ERROR
        gained = (now_s - self._at_s.get(error, now_s)) * OCTETS_PER_S
        self._at_s[error] = now_s
        self._octets[error] = min(float(BURST_OCTETS), self._octets[error] + gained)
        return self._octets[error] > 0

    def written(self, record: logging.LogRecord, octets: int) -> None:
        """A line that was let through has come to so many octets."""
        self._octets[record.levelno >= logging.ERROR] -= octets


class QuietHandler(logging.StreamHandler[TextIO]):
    """Writes what `quiet` lets through. Lines that cannot be written (a full disk) are lost; that is told to
    `on_trouble` once, and once, with "", that lines are written again, which the log itself says too."""

    def __init__(self, stream: TextIO, quiet: Quiet) -> None:
        super().__init__(stream)
        self._quiet = quiet
        self.addFilter(quiet)
        self.trouble = ""
        self.lost = 0
        self._on_trouble: Callable[[str], None] = _nobody

    def tell(self, on_trouble: Callable[[str], None]) -> None:
        """Whom to tell of trouble: from any thread, and now where there is some already."""
        self._on_trouble = on_trouble
        if self.trouble:
            on_trouble(self.trouble)

    def emit(self, record: logging.LogRecord) -> None:
        lost = self.lost
        super().emit(record)
        if not self.trouble or self.lost > lost:
            return
        reason, self.trouble, self.lost = self.trouble, "", 0
        text = f"{lost} lines of this log were lost: {reason}"
        level, name = logging.WARNING, __name__
        super().emit(logging.LogRecord(name, level, __file__, 0, text, (), None))
        self._on_trouble("")

    def handleError(self, record: logging.LogRecord) -> None:
        """A line could not be written. A mistake of the program's is shown as always."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.lost += 1
        if not self.trouble:
            self.trouble = f"the log cannot be written: {error.strerror or error}"
            self._on_trouble(self.trouble)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        self._quiet.written(record, len(line.encode("utf-8", "backslashreplace")) + 1)
        return line


class SyslogFormatter(logging.Formatter):
    """One message of RFC 5424 a line, without its priority, which the handler writes before it."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"1 {_stamp(record.created)} {_HOST} softswitch {os.getpid()} - - "
        line = f"{head}{record.name}: {inert(_message(self, record))}"
        # RFC 5426 3.2: what fits in one datagram everywhere.
        return line.encode("utf-8", "backslashreplace")[:SYSLOG_OCTETS_MAX].decode(
            "utf-8", "ignore"
        )


class SyslogHandler(SysLogHandler):
    """Sends what `quiet` lets through to a collector by UDP; one that is away costs the lines."""

    append_nul = False

    def __init__(self, address: tuple[str, int], quiet: Quiet) -> None:
        super().__init__(address, facility=SysLogHandler.LOG_LOCAL0)
        self._quiet = quiet
        self.addFilter(quiet)
        self.setFormatter(SyslogFormatter())

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        self._quiet.written(record, len(line.encode()) + 1)
        return line

    def handleError(self, record: logging.LogRecord) -> None:
        """The lines are on standard error as well: nothing more is said of it."""


def set_up(
    *,
    json_lines: bool,
    verbose: bool,
    stream: TextIO | None = None,
    syslog: tuple[str, int] | None = None,
) -> QuietHandler:
    """Have everything that is logged written to `stream` (standard error), in place of what was there,
    and sent to the address `syslog` as well; what writes it."""
    quiet = Quiet()
    handler = QuietHandler(stream if stream is not None else sys.stderr, quiet)
    handler.setFormatter(JsonFormatter() if json_lines else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    if syslog is not None:
        root.addHandler(SyslogHandler(syslog, Quiet()))
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    return handler


def _nobody(reason: str) -> None:
    pass


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.exc_info:
        message += " | " + formatter.formatException(record.exc_info).replace("\n", " | ")
    return message


def _cut(text: str) -> str:
    return text if len(text) <= LINE_MAX else f"{text[:LINE_MAX]}... ({len(text)} characters)"


def _stamp(created_s: float) -> str:
    return f"{datetime.fromtimestamp(created_s, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
