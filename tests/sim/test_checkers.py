"""The checkers find what is wrong, and nothing else."""

from __future__ import annotations

import pytest

from softswitch.sim.checkers import (
    InvariantViolation,
    check_legs,
    check_media,
    check_ports,
    check_records,
    check_rest,
    check_wire,
    flatten,
    require,
)
from softswitch.sim.loop import simulated
from softswitch.sim.media import SimMediaPlane
from softswitch.sim.sip_trace import SipTrace

A = ("10.0.0.1", 5060)
B = ("10.0.0.2", 5060)


def wire(*lines: str) -> SipTrace:
    """A trace from short hand: `> INVITE b1 1`, `< 200 INVITE b1 1` (branch, CSeq number).

    ">" is from A to B; a request of B is written `<INVITE b9 1`.
    """
    trace = SipTrace()
    for at_s, line in enumerate(lines):
        way, rest = line[0], line[1:].split()
        source, destination = (A, B) if way == ">" else (B, A)
        response = rest[0].isdigit()
        status = rest.pop(0) if response else ""
        method, branch, number = rest
        first = f"SIP/2.0 {status} X" if response else f"{method} sip:x SIP/2.0"
        from_a = (way == ">") != response
        from_tag, to_tag = ("ta", "tb") if from_a else ("tb", "ta")
        to = "<sip:t>" if method == "INVITE" and not response else f"<sip:t>;tag={to_tag}"
        head = (
            f"{first}\r\nv: SIP/2.0/UDP h;branch={branch}\r\nFrom: <sip:f>;tag={from_tag}\r\n"
            f"To: {to}\r\nCall-ID: c1\r\nCSeq: {number} {method}\r\n\r\n"
        )
        trace.tap(head.encode(), source, destination, float(at_s))
    return trace


GOOD = (
    "> INVITE b1 1",
    "< 100 INVITE b1 1",
    "< 180 INVITE b1 1",
    "< 200 INVITE b1 1",
    "< 200 INVITE b1 1",
    "> ACK b2 1",
    "> BYE b3 2",
    "> BYE b3 2",
    "< 200 BYE b3 2",
)


def test_a_good_call() -> None:
    assert check_wire(wire(*GOOD)) == []


def test_a_refused_call() -> None:
    assert check_wire(wire("> INVITE b1 1", "< 486 INVITE b1 1", "> ACK b1 1")) == []


def test_an_end_by_the_other_side() -> None:
    assert check_wire(wire(*GOOD[:6], "< BYE b9 1", "> 200 BYE b9 1")) == []


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        (("> INVITE b1 1", "< 180 INVITE b1 1"), r"INVITE with final responses \[\]"),
        (
            ("> INVITE b1 1", "< 486 INVITE b1 1", "< 200 INVITE b1 1", "> ACK b1 1"),
            r"\[200, 486\]",
        ),
        (GOOD[:4] + GOOD[6:], "without ACK"),
        (GOOD[:6], "nobody ended"),
        (GOOD[:8], "BYE with 0 final"),
        ((*GOOD, "< 481 BYE b3 2"), r"BYE with 2 final responses \[200, 481\]"),
    ],
)
def test_faults_are_found(lines: tuple[str, ...], finding: str) -> None:
    with pytest.raises(InvariantViolation, match=finding):
        require(check_wire(wire(*lines)))


def test_the_dead_need_not_answer() -> None:
    assert check_wire(wire("> INVITE b1 1"), silent={B}) == []
    assert check_wire(wire(*GOOD[:8]), silent={B}) == []


def test_what_is_not_sip_is_left_out() -> None:
    trace = SipTrace()
    for junk in (b"", b"\r\n\r\n", b"\x80\x08" + bytes(170), b"\xff" * 100):
        trace.tap(junk, A, B, 0.0)
    assert len(trace) == 0


def test_a_trace_reads_folded_and_compact_headers() -> None:
    trace = SipTrace()
    trace.tap(
        b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP\r\n h;branch=z9\r\ni: abc\r\nf: <sip:a>;tag=1\r\n\r\n",
        A,
        B,
        0.0,
    )
    entry = trace[0]
    assert (entry.branch, entry.call_id, entry.from_tag, entry.cseq) == ("z9", "abc", "1", -1)


class Thing:
    def __init__(self, **tables: object) -> None:
        self._tables = tables

    def snapshot(self) -> dict[str, object]:
        return self._tables


def test_tables_at_rest() -> None:
    resting = Thing(dialogs=0, received=17, stack={"transactions": 0})
    left = Thing(dialogs=1, stack={"transactions": 2, "sent": 9}, legs=["leg-1"])
    assert check_rest(switch=resting, nothing=None) == []
    assert check_rest(switch=left) == [
        "switch.dialogs is 1, 0 at rest",
        "switch.stack.transactions is 2, 0 at rest",
        "switch.legs is 1, 0 at rest",
    ]
    assert check_rest(baseline=flatten(switch=left), switch=left) == []


def test_records() -> None:
    assert check_records(["a", "b"], ["b", "a"]) == []
    assert check_records(["a", "a", "x"], ["a", "b"]) == [
        "a record of x, which was no call",
        "call a has 2 records",
        "call b has no record",
    ]


def test_legs_and_ports() -> None:
    assert check_legs([(1, "a")], {"a"}) == []
    assert check_legs([(1, "a"), (2, "b")], {"a"}) == ["leg 2 outlives its call b"]
    assert check_ports([(A, 1), (A, 1), (B, 2)]) == []
    assert len(check_ports([(A, 1), (A, 2)])) == 1


@simulated()
async def test_the_books_of_the_media_plane() -> None:
    plane = SimMediaPlane(on_event=lambda event: None)
    one, two = (
        plane.reserve(group=1, signalled_host=None),
        plane.reserve(group=1, signalled_host=None),
    )
    plane.connect(one.stream_id, two.stream_id)
    assert check_media(plane) == []
    assert check_rest(media=plane) != []
    plane.release(one.stream_id)
    assert check_media(plane) == []
    plane.streams[two.stream_id].bridged_to = 99
    assert len(check_media(plane)) == 1


def test_long_lists_are_cut() -> None:
    with pytest.raises(InvariantViolation) as caught:
        require([f"finding {number}" for number in range(200)])
    assert str(caught.value).endswith("and 150 more")
