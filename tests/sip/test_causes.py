"""One table of causes, and the Reason header."""

from __future__ import annotations

import pytest

from softswitch.sip.causes import (
    Q850_CAUSES,
    cause_text,
    q850_of_status,
    status_of_q850,
)
from softswitch.sip.message import SipRequest
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.status import REASONS, reason_of


# RFC 3398 8.2.6.1 and 7.2.4.1, the rows that decide what a caller hears.
@pytest.mark.parametrize(
    ("status", "cause"),
    [(404, 1), (486, 17), (600, 17), (480, 18), (408, 102), (603, 21), (403, 21), (484, 28),
     (488, 65), (487, 16), (503, 41), (500, 41), (502, 38), (504, 102), (410, 22)],
)  # fmt: skip
def test_causes_of_statuses(status: int, cause: int) -> None:
    assert q850_of_status(status) == cause


@pytest.mark.parametrize(
    ("cause", "status"),
    [(1, 404), (3, 404), (17, 486), (18, 408), (19, 480), (20, 480), (21, 603), (22, 410), (27, 502),
     (28, 484), (31, 480), (34, 503), (38, 503), (57, 403), (65, 488), (102, 504), (111, 500)],
)  # fmt: skip
def test_statuses_of_causes(cause: int, status: int) -> None:
    assert status_of_q850(cause) == status


def test_every_entry_is_usable() -> None:
    for cause, (status, text) in Q850_CAUSES.items():
        assert 1 <= cause <= 127
        assert status in REASONS
        assert cause_text(cause) == text != ""
    for status in range(300, 700):
        assert q850_of_status(status) in Q850_CAUSES
        assert reason_of(status)
    assert status_of_q850(99) == 500
    assert cause_text(99) == "Cause 99"
    assert (reason_of(299), reason_of(699)) == ("OK", "Global Failure")


def test_reasons_are_written_and_read() -> None:
    for reason in (
        ReasonHeader("Q.850", 16, "Normal call clearing"),
        ReasonHeader("SIP", 200, "Call completed elsewhere"),
        ReasonHeader("Q.850", 17, 'says "busy\\"'),
        ReasonHeader("SIP", 487),
    ):
        assert ReasonHeader.parse(str(reason)) == reason
    assert str(ReasonHeader("Q.850", 17, "User busy")) == 'Q.850;cause=17;text="User busy"'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Q.850 ; cause = 16 ; text=\"a, b\", SIP;cause=200", ("Q.850", 16, "a, b")),
        ("SIP;text=x;Cause=200;more", ("SIP", 200, "x")),
        ("SIP", None), ("SIP;cause=", None), ("SIP;cause=1_0", None), ("SIP;cause=\u0661", None),
        ('SIP;cause=1;text="', None), ("", None), (";cause=1", None), ("S P;cause=1", None),
    ],
)  # fmt: skip
def test_reasons_of_others(value: str, expected: tuple[str, int, str] | None) -> None:
    assert ReasonHeader.parse(value) == (ReasonHeader(*expected) if expected else None)


@pytest.mark.parametrize(
    ("lines", "protocol", "expected"),
    [
        (["SIP;cause=200, Q.850;cause=26"], "Q.850", ("Q.850", 26)),
        (["SIP;cause=200", "q.850;cause=26"], "Q.850", ("q.850", 26)),
        (["Q.850;cause=26, SIP;cause=200"], "SIP", ("SIP", 200)),
        (["preemption;cause=1"], "Q.850", ("preemption", 1)),
        (["junk, Q.850;cause=16"], "Q.850", ("Q.850", 16)),
        (['Q.850;cause=16;text="open'], "Q.850", None),
        ([], "SIP", None),
    ],
)
def test_the_reason_of_one_protocol_among_others(lines, protocol, expected) -> None:
    request = SipRequest("BYE", "sip:a@b")
    for line in lines:
        request.headers.add("Reason", line)
    found = ReasonHeader.of(request, protocol)
    assert (found and (found.protocol, found.cause)) == expected


@pytest.mark.parametrize(
    ("reason", "q850", "elsewhere"),
    [
        (ReasonHeader("Q.850", 34), 34, False),
        (ReasonHeader("Q.850", 0), 0, False),
        (ReasonHeader("Q.850", 128), 0, False),
        (ReasonHeader("SIP", 200), 0, True),
        (ReasonHeader("SIP", 487), 0, False),
    ],
)
def test_what_a_reason_says(reason: ReasonHeader, q850: int, elsewhere: bool) -> None:
    assert (reason.q850, reason.elsewhere) == (q850, elsewhere)
