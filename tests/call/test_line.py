"""Settings of a line: what holds, what is refused, what is taken up again after a restart."""

from __future__ import annotations

import pytest

from softswitch.call.dialplan import Dialplan
from softswitch.call.identity import PhoneIdentity
from softswitch.call.line import Lines
from softswitch.config import Destination, parse_office
from softswitch.errors import CallError
from softswitch.sim.world import small_office

MORE = """
[[extension]]
number = "1010"
password = "secret-1010"
do_not_disturb = true
voicemail = { pin = "4711" }
forward = { busy = "voicemail" }
"""


@pytest.fixture
def noted():
    return []


@pytest.fixture
def lines(noted):
    office = parse_office(small_office(more=MORE), "office")
    dialplan = Dialplan(office)
    return Lines(
        office.extensions,
        noted.append,
        lambda text, extension: dialplan.onward(text, PhoneIdentity(extension)),
    )


def test_the_office_file_comes_first_and_a_change_last(lines, noted):
    assert lines.of("1010").do_not_disturb
    assert lines.of("1010").forward_busy == Destination("voicemail", "1010")
    lines.set("1010", "do_not_disturb", False, by="1010")
    assert not lines.of("1010").do_not_disturb
    assert lines.rows()[0]["changed"] == ["do_not_disturb"]
    lines.set("1010", "do_not_disturb", None)
    assert lines.of("1010").do_not_disturb
    assert lines.rows() == []
    assert [data["value"] for data in noted] == [False, None]


@pytest.mark.parametrize(
    ("value", "to"),
    [
        ("1002", Destination("number", "1002")),
        ("913800000000", Destination("number", "913800000000")),
        ("voicemail", Destination("voicemail", "1010")),
        ("extension:1002", Destination("extension", "1002")),
        ("", None),
    ],
)
def test_where_calls_may_be_forwarded(lines, value, to):
    extension = "1010" if value == "voicemail" else "1001"
    assert lines.set(extension, "forward_always", value).forward_always == to


@pytest.mark.parametrize(
    ("extension", "setting", "value"),
    [
        ("9999", "do_not_disturb", True),
        ("1001", "colour", True),
        ("1001", "do_not_disturb", "yes"),
        ("1001", "forward_always", True),
        ("1001", "forward_always", "1001"),
        ("1001", "forward_always", "extension:1001"),
        ("1001", "forward_always", "5555"),
        ("1001", "forward_always", "voicemail"),  # it has none
        ("1001", "forward_always", "trunk:carrier-1"),
        ("1010", "forward_always", "913800000000"),  # may not call outside itself
        ("1001", "forward_always", "*72*72*"),
    ],
)
def test_what_is_refused_changes_nothing(lines, noted, extension, setting, value):
    before = lines.rows()
    with pytest.raises(CallError):
        lines.set(extension, setting, value)
    assert lines.rows() == before
    assert noted == []


def test_what_was_set_is_taken_up_again_as_far_as_it_fits(lines):
    lines.recall(
        [
            ("1001", "do_not_disturb", True),
            ("1001", "forward_busy", "1002"),
            ("1010", "do_not_disturb", None),
            ("1002", "forward_busy", 17),
            ("2000", "do_not_disturb", True),
            ("1001", "what-was-that", True),
        ]
    )
    assert lines.of("1001").do_not_disturb
    assert lines.of("1001").forward_busy == Destination("number", "1002")
    assert lines.of("1010").do_not_disturb
    assert [row["extension"] for row in lines.rows()] == ["1001"]
