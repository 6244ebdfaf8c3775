"""The log: one line an event, nothing in it that is obeyed, and never a flood (row 57)."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.api.admin import ask
from softswitch.errors import SoftswitchError
from softswitch.logs import (
    LINE_MAX,
    OCTETS_PER_S,
    JsonFormatter,
    Quiet,
    TextFormatter,
    inert,
    set_up,
)

MESSAGES = 120_000
"""In a minute; at 600,000 the result is the same and takes five times as long."""

EVIL = "x\r\n2026-01-01T00:00:00.000Z ERROR root: forged\x1b[2J\u202egnp.exe\u2028\x85\ud800\0"


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def record(message: str, *values: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("softswitch.test", level, "", 0, message, values, None)


@given(st.text(st.characters(codec=None), max_size=100))
def test_no_text_makes_a_second_line_or_breaks_json(text: str) -> None:
    line = TextFormatter().format(record("caller %s", text))
    assert line.splitlines() == [line]
    assert json.loads(JsonFormatter().format(record("caller %s", text)))[
        "message"
    ].isprintable() or (" " in text or not text.isprintable())
    JsonFormatter().format(record("caller %s", text)).encode()


def test_what_a_stranger_writes_is_shown_and_not_obeyed() -> None:
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(record("user agent %s", EVIL))
        assert len(line.splitlines()) == 1
        assert "\x1b" not in line
        assert "\u202e" not in line
    assert inert("Straße 张伟 🙂") == "Straße 张伟 🙂"
    assert inert("\u202e\n") == "\\u202e\\u000a"


def test_lines_are_cut_at_the_limit() -> None:
    for size, cut in ((LINE_MAX, False), (LINE_MAX + 1, True)):
        message = json.loads(JsonFormatter().format(record("x" * size)))["message"]
        assert message.endswith("characters)") == cut


def test_calls_can_be_found_and_errors_stay_one_line(stream: io.StringIO) -> None:
    set_up(json_lines=True, verbose=False, stream=stream)
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        logging.getLogger("softswitch.call").exception("call c18c2f3a41d-9e0abc refused")
    logging.getLogger("softswitch.call").info("not this")
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert found["call_id"] == "c18c2f3a41d-9e0abc"
    assert found["level"] == "ERROR"
    assert found["error"][-2:] == ["ValueError: one", "two"]


@pytest.mark.parametrize("kinds", [1, 300])
def test_ten_thousand_bad_messages_a_second(kinds: int, capsys: pytest.CaptureFixture[str]) -> None:
    now_s, octets, lines, forged = 0.0, 0, 0, 0
    quiet, formatter = Quiet(lambda: now_s), JsonFormatter()
    for number in range(MESSAGES):
        now_s = number * 60 / MESSAGES
        kind = f"bad message {number % kinds} from %s: %s"
        bad = record(kind, f"10.0.{number % 250}.1", EVIL)
        if quiet.filter(bad):
            line = formatter.format(bad)
            quiet.written(bad, len(line.encode()) + 1)
            octets += len(line.encode()) + 1
            lines += 1
            forged += len(line.splitlines()) - 1
    assert forged == 0
    assert octets <= 1_048_576
    assert quiet.left_out == MESSAGES - lines
    with capsys.disabled():
        print(
            f"\nrow 57: {MESSAGES} messages in 60 s: {lines} lines, {octets} octets, {forged} forged"
        )


def test_what_was_left_out_is_counted_and_errors_have_room_of_their_own() -> None:
    now_s = 0.0
    quiet = Quiet(lambda: now_s)
    passed = 0
    for _ in range(5_000):
        bad = record("bad %s", "x" * 1_000)
        if quiet.filter(bad):
            passed += 1
            quiet.written(bad, 1_100)
    assert 0 < passed < 200
    assert quiet.filter(record("a defect", level=logging.ERROR))
    now_s = 60.0
    last = record("bad %s", "x")
    assert quiet.filter(last)
    assert f"({5_000 - passed} more like this" in last.getMessage()
    assert OCTETS_PER_S * 60 < 1_048_576


class Full(io.StringIO):
    """A stream on a disk that may be full."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


def test_a_log_that_cannot_be_written_is_told_of_once_and_says_so_itself(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    disk, told = Full(), []
    handler = set_up(json_lines=False, verbose=False, stream=disk)
    handler.tell(told.append)
    log = logging.getLogger("softswitch.test")
    log.warning("first")
    disk.full = True
    for number in range(5):
        log.warning("lost %d", number)
    assert told == ["the log cannot be written: No space left on device"]
    disk.full = False
    log.warning("last")
    log.warning("after")
    assert told[1:] == [""]
    lines = [line.partition(": ")[2] for line in disk.getvalue().splitlines()]
    lost = "5 lines of this log were lost: the log cannot be written: No space left on device"
    assert lines == ["first", "last", lost, "after"]
    assert capsys.readouterr().err == "", "no traceback a line"
    disk.full = True
    log.warning("again")
    late: list[str] = []
    handler.tell(late.append)
    assert late == told[:1], "whoever comes later is told too"


@pytest.mark.realtime
def test_a_full_disk_under_log_and_output_stops_nothing(tmp_path: Path) -> None:
    """`softswitch serve` with everything it writes going to /dev/full: it runs, and says so in `status`."""
    office = tmp_path / "office.toml"
    office.write_text(
        '[sip]\nlisten = ["udp://127.0.0.1:0"]\n[media]\nworkers = 1\n[http]\nlisten = "127.0.0.1:0"\n'
    )
    command = [sys.executable, "-c", "from softswitch.cli.main import run; run()"]
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            [*command, "serve", str(office), "--verbose"], stdout=full, stderr=full, cwd=tmp_path
        )
    try:
        deadline_s = time.monotonic() + 60
        alarms: dict[str, str] = {}
        while not alarms and time.monotonic() < deadline_s:
            assert process.poll() is None
            with contextlib.suppress(SoftswitchError, OSError):
                alarms = next(ask(tmp_path / "var", "status"))["alarms"]
            time.sleep(0.2)
        assert alarms == {"log": "the log cannot be written: No space left on device"}
        with contextlib.suppress(SoftswitchError):
            assert next(ask(tmp_path / "var", "api"))["url"].startswith("http://")
    finally:
        process.terminate()
        process.wait(30)
