"""What people set by their telephones' keys, with three baresip at one exchange: do not disturb, call waiting,
forwarding, ring groups, group pick-up, music on hold. Who rings, who does not, and what is heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peers.audio import RATE_HZ, assert_heard, assert_not_heard, read_wav
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Server
from tests.interop.peers.stage import Stage

pytestmark = pytest.mark.xdist_group("phone features")  # they share one exchange

MUSIC = Path(__file__).parents[2] / "prompts" / "music" / "default.flac"
HEAR_S = 2.0  # each voice begins after half a second; its first second is enough to know it
GROUPS = """
[[ring_group]]
number = "1100"
members = ["1002", "1003"]

[[ring_group]]
number = "1101"
members = ["1002", "1003"]
ring = "in-order"
ring_s = 1
"""


@dataclass
class Desk:
    """One exchange, one who calls, and two who take calls by hand."""

    server: Server
    caller: Baresip
    second: Baresip
    third: Baresip

    @property
    def phones(self) -> list[Baresip]:
        return [self.caller, self.second, self.third]

    def line(self, number: str) -> dict[str, Any]:
        """What has been changed for an extension."""
        rows = self.server.status()["lines"]
        return next((row for row in rows if row["extension"] == number), {})

    def dials_code(self, phone: Baresip, code: str, setting: str, value: object) -> None:
        """Dial a feature code, and hang up as soon as the setting is that."""
        since = phone.mark()
        phone.dial(code)
        phone.wait_event("CALL_ESTABLISHED", since=since)
        wait_until(
            lambda: self.line(phone.number).get(setting) == value,
            lambda: f"{code} of {phone.number}: {self.line(phone.number)}",
        )
        phone.hang_up()
        phone.wait_event("CALL_CLOSED", since=since)

    def is_refused(self, caller: Baresip, number: str) -> str:
        """The status that a call is refused with."""
        since = caller.mark()
        caller.dial(number)
        return str(caller.wait_event("CALL_CLOSED", since=since)["param"])[:3]

    def talks(self, caller: Baresip, callee: Baresip, since: dict[str, int]) -> None:
        """Let the callee take the call that rings there, and see the two connected; then it is over."""
        callee.accept()
        for phone in (caller, callee):
            phone.wait_event("CALL_ESTABLISHED", since=since[phone.number])
        caller.hang_up()
        callee.wait_event("CALL_CLOSED", since=since[callee.number])
        self.server.wait_idle()

    def marks(self) -> dict[str, int]:
        return {phone.number: phone.mark() for phone in self.phones}


@pytest.fixture(scope="module")
def the_desk(shared: Stage) -> Desk:
    server = shared.serve(
        extensions=("1001", "1002", "1003", "1004"),
        extension_more={
            "1002": "forward = { after_s = 1 }",
            "1004": 'forward = { unreachable = "1003" }',
        },
        more=GROUPS,
    )
    return Desk(
        server,
        shared.baresip(server, "1001", plays="caller"),
        shared.baresip(server, "1002", plays="callee", answer="manual"),
        shared.baresip(server, "1003", plays="other", answer="manual"),
    )


@pytest.fixture
def desk(the_desk: Desk) -> Iterator[Desk]:
    """The desk as it was at first: nobody talks."""
    yield the_desk
    the_desk.server.wait_idle()


def test_do_not_disturb(desk: Desk) -> None:
    desk.dials_code(desk.second, "*78", "do_not_disturb", True)
    since = desk.marks()
    assert desk.is_refused(desk.caller, "1002") == "486"
    assert not desk.second.has_event("CALL_INCOMING", since=since["1002"])
    desk.caller.dial("1100")  # the group rings those who want to be disturbed
    desk.third.wait_event("CALL_INCOMING", since=since["1003"])
    assert not desk.second.has_event("CALL_INCOMING", since=since["1002"])
    desk.caller.hang_up()
    desk.third.wait_event("CALL_CLOSED", since=since["1003"])
    desk.dials_code(desk.second, "*79", "do_not_disturb", False)
    since = desk.marks()
    desk.caller.dial("1002")
    desk.second.wait_event("CALL_INCOMING", since=since["1002"])
    desk.talks(desk.caller, desk.second, since)


@pytest.mark.parametrize("wanted", [True, False])
def test_call_waiting(desk: Desk, wanted: bool) -> None:
    if not wanted:
        desk.dials_code(desk.second, "*71", "call_waiting", False)
    since = desk.marks()
    desk.caller.dial("1002")
    desk.second.wait_event("CALL_INCOMING", since=since["1002"])
    desk.second.accept()
    desk.caller.wait_event("CALL_ESTABLISHED", since=since["1001"])
    there = desk.second.mark()
    if wanted:
        desk.third.dial("1002")
        desk.second.wait_event("CALL_INCOMING", since=there)
        desk.third.wait_event("CALL_RINGING", since=since["1003"])
        desk.third.hang_up()
        desk.second.wait_event("CALL_CLOSED", since=there)
    else:
        assert desk.is_refused(desk.third, "1002") == "486"
        assert not desk.second.has_event("CALL_INCOMING", since=there)
    desk.caller.hang_up()
    desk.second.wait_event("CALL_CLOSED", since=there)
    if not wanted:
        desk.dials_code(desk.second, "*70", "call_waiting", True)


def test_a_ring_group_rings_together_and_one_takes_it(desk: Desk, voices: dict) -> None:
    since = desk.marks()
    desk.caller.dial("1100")
    for phone in (desk.second, desk.third):
        phone.wait_event("CALL_INCOMING", since=since[phone.number])
    desk.third.accept()
    desk.caller.wait_event("CALL_ESTABLISHED", since=since["1001"])
    desk.second.wait_event("CALL_CLOSED", since=since["1002"])
    settle(desk.phones, HEAR_S)
    desk.third.hang_up()
    desk.caller.wait_event("CALL_CLOSED", since=since["1001"])
    said = {who: voices[who].samples[:RATE_HZ] for who in ("caller", "other", "callee")}
    assert_heard(said["caller"], desk.third.heard(), "the caller at who took it")
    assert_heard(said["other"], desk.caller.heard(), "who took it at the caller")
    assert_not_heard(said["callee"], desk.caller.heard(), "who did not at the caller")


def test_a_ring_group_rings_in_order(desk: Desk) -> None:
    since = desk.marks()
    desk.caller.dial("1101")
    desk.second.wait_event("CALL_INCOMING", since=since["1002"])
    assert not desk.third.has_event("CALL_INCOMING", since=since["1003"])
    desk.third.wait_event("CALL_INCOMING", since=since["1003"])
    desk.second.wait_event("CALL_CLOSED", since=since["1002"])
    desk.talks(desk.caller, desk.third, since)


def test_a_call_of_the_group_is_picked_up(desk: Desk) -> None:
    since = desk.marks()
    desk.caller.dial("1002")
    desk.second.wait_event("CALL_INCOMING", since=since["1002"])
    desk.third.dial("*8")
    for phone in (desk.third, desk.caller):
        phone.wait_event("CALL_ESTABLISHED", since=since[phone.number])
    desk.second.wait_event("CALL_CLOSED", since=since["1002"])
    assert [call["state"] for call in desk.server.status()["calls"]] == ["talking"]
    desk.caller.hang_up()
    desk.third.wait_event("CALL_CLOSED", since=since["1003"])


@pytest.mark.parametrize("when", ["always", "busy", "no_answer", "unreachable"])
def test_forwarding(desk: Desk, when: str) -> None:
    codes = {"always": "*72", "busy": "*74", "no_answer": "*75"}
    if when in codes:
        desk.dials_code(desk.second, f"{codes[when]}1003", f"forward_{when}", "1003")
    since = desk.marks()
    desk.caller.dial("1004" if when == "unreachable" else "1002")
    if when in ("busy", "no_answer"):
        desk.second.wait_event("CALL_INCOMING", since=since["1002"])
        if when == "busy":
            desk.second.hang_up()
    desk.third.wait_event("CALL_INCOMING", since=since["1003"])
    rang = desk.second.has_event("CALL_INCOMING", since=since["1002"])
    assert rang is (when in ("busy", "no_answer"))
    desk.talks(desk.caller, desk.third, since)
    if when in codes:
        desk.dials_code(desk.second, "*73", f"forward_{when}", "")


def test_who_is_held_hears_the_music(desk: Desk) -> None:
    since = desk.marks()
    desk.caller.dial("1002")
    desk.second.wait_event("CALL_INCOMING", since=since["1002"])
    desk.second.accept()
    desk.caller.wait_event("CALL_ESTABLISHED", since=since["1001"])
    desk.second.command("hold")
    settle(desk.phones, HEAR_S)
    desk.second.command("resume")
    desk.caller.hang_up()
    desk.second.wait_event("CALL_CLOSED", since=since["1002"])
    music = read_wav(MUSIC)[:RATE_HZ, 0]
    assert_heard(music, desk.caller.heard(), "the music at who is held", least=0.9)
