"""What peers see of refusals, passwords and subscriptions, scripted for SIPp: what a refusal brings with it
(RFC 3261 20 and 21), which realms are given a trunk's password, and how a watcher is lost and told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.script import OFFICE, Script
from tests.interop.peers.server import Server, Trunk, password_of
from tests.interop.peers.sipp import Counts, Sipp, register
from tests.interop.peers.stage import Stage

pytestmark = pytest.mark.xdist_group("refusals")  # they share one exchange

REALM = "carrier.example"
PASSWORD = f'username = "office"\npassword = "secret"\nrealms = ["{REALM}"]\n'
ROUTE = '[[outbound]]\nprefix = "{}"\npermission = "internal"\ntrunks = ["{}"]\n'
MORE = f"""
{ROUTE.format("8", "asks")}
{ROUTE.format("7", "gone")}
[[inbound]]
number = "88*"
to = "extension:1002"
"""
NUMBER = "8013800000001"


@dataclass
class Desk:
    """An exchange, the ports of its carriers, of which one calls, one asks for a password and one is not there,
    and a telephone's account."""

    server: Server
    stage: Stage
    caller: int
    asks: int

    def phone(
        self, script: Script, number: str, *, calls: str, count: int = 1, rate: int = 10
    ) -> Sipp:
        """A SIPp that speaks for an extension."""
        account = {"username": number, "password": password_of(number), "keys": {"caller": number}}
        often = {"calls": count, "rate": rate}
        return self.stage.sipp(script, server=self.server.address, number=calls, **often, **account)


def went_well(peer: Sipp) -> Counts:
    counts = peer.wait(timeout_s=10)
    assert (counts.successful, counts.failed, counts.unexpected) == (1, 0, 0), counts
    return counts


@pytest.fixture(scope="module")
def the_desk(shared: Stage) -> Desk:
    caller, asks, gone = free_port(), free_port(), free_port()
    trunks = [
        Trunk("calls", f"{HOST}:{caller}"),
        Trunk("asks", f"{HOST}:{asks}", more=PASSWORD),
        Trunk("gone", f"{HOST}:{gone}"),
    ]
    server = shared.serve(trunks=trunks, more=MORE, rtp_ports=64)
    return Desk(server, shared, caller, asks)


@pytest.fixture
def desk(the_desk: Desk) -> Iterator[Desk]:
    if the_desk.server.process is None:  # the last of them stops it
        the_desk.server.start()
    yield the_desk
    if the_desk.server.process is not None:
        the_desk.server.wait_idle()


# -- what a refusal brings ---------------------------------------------------------------------------

PRESENCE, TEXT = "Event: presence", "Content-Type: text/xml"
# A method, its header lines, the status, and what must stand in which header of it.
ASKED: list[tuple[str, tuple[str, ...], int, dict[str, str]]] = [
    ("REGISTER", ("Expires: 5",), 423, {"Min-Expires": "^ *60"}),
    ("SUBSCRIBE", ("Event: kpml",), 489, {"Allow-Events": "dialog"}),
    ("SUBSCRIBE", (PRESENCE, "Expires: 5"), 423, {"Min-Expires": "^ *60"}),
    ("PUBLISH", (PRESENCE, TEXT), 415, {"Accept": "application/pidf.xml"}),
    ("PUBLISH", (PRESENCE, TEXT, "Content-Encoding: gzip"), 415, {"Accept-Encoding": "identity"}),
]


def test_a_refusal_says_how_to_do_better(desk: Desk) -> None:
    """A telephone asks for what cannot be had, each time with its password; what nobody can have needs none."""
    script = Script("asks", domain=OFFICE).outside("FLY", 1)
    script.receive(501, check={"Allow": "INVITE.*UPDATE"})
    script.outside("OPTIONS", 2, "Require: flying").receive(420, check={"Unsupported": "^ *flying"})
    cseq = 2
    for method, lines, status, check in ASKED:
        for proof, answer, wanted in (((), 401, {}), (("[authentication]",), status, check)):
            cseq += 1
            body = "<x/>" if TEXT in lines else ""
            script.outside(method, cseq, *lines, *proof, body=body)
            script.receive(answer, auth=answer == 401, check=wanted)
    went_well(desk.phone(script, "1001", calls="1001"))


def test_who_writes_too_much_is_told_when_to_come_again(desk: Desk) -> None:
    """Twenty messages at once, and two a second from then on."""
    script = Script("writes", domain=OFFICE).outside("MESSAGE", 1).receive(401, auth=True)
    script.outside("MESSAGE", 2, "[authentication]").receive(480)  # there is no such telephone
    peer = desk.phone(script, "1003", calls="1003", count=26, rate=1000)
    counts = peer.wait()
    assert counts.calls == 26, counts
    assert 20 <= counts.successful < 25, counts
    assert list(peer.refusals().values()) == [503] * counts.failed, counts
    assert "Retry-After: 10" in counts.details


def test_an_invite_that_is_refused_says_why(desk: Desk) -> None:
    """What it insists on; and a carrier that is not there: 503 with the cause, and without a Retry-After, which
    would keep all other calls away too (RFC 3261 21.5.4)."""
    script = Script("insists", domain=OFFICE)
    script.invite().receive(401, auth=True).refused()
    script.invite("Require: flying", "[authentication]", cseq=2)
    script.receive(420, check={"Unsupported": "^ *flying"}).refused(2)
    script.invite(cseq=3).receive(401, auth=True).refused(3)
    script.invite("[authentication]", cseq=4).receive(100, optional=True)
    script.receive(503, check={"Reason": "Q.850;cause="}, never=("Retry-After",)).refused(4)
    went_well(desk.phone(script, "1001", calls="7000"))


def test_an_offer_that_comes_too_early_is_to_come_again(desk: Desk, tmp_path: Path) -> None:
    """While the first has no answer: 500 with a Retry-After of at most ten seconds (RFC 3311 5.2)."""
    port = free_port()
    account = {"number": "1002", "password": password_of("1002"), "port": port}
    register(tmp_path, server=desk.server.address, **account)  # type: ignore[arg-type]
    rung = Script("rings").receive("INVITE").answer(180).receive("CANCEL").confirm()
    there = desk.stage.sipp(rung.answer(487).receive("ACK"), port=port)
    script = Script("early-offer").invite().receive(100, optional=True).receive(180, routes=True)
    script.within("UPDATE", 2, sdp=True).receive(500, check={"Retry-After": "^ *([0-9]|10)$"})
    script.cancels().receive(200).receive(487).refused()
    caller = {"server": desk.server.address, "port": desk.caller, "keys": {"caller": "138"}}
    here = desk.stage.sipp(script, number="88100", **caller)
    for peer in (here, there):
        went_well(peer)


# -- a trunk's password ------------------------------------------------------------------------------


def test_a_trunks_password_is_for_its_own_realm(desk: Desk) -> None:
    """A carrier asks as itself and is answered; it passes on what somebody behind it asks, and is not."""
    challenge = 'Digest realm="{}", nonce="n", qop="auth", algorithm=MD5'
    foreign = Script("foreign").receive("INVITE")
    foreign.answer(407, f"Proxy-Authenticate: {challenge.format('elsewhere.example')}")
    foreign.receive("ACK").pause(200)
    own = Script("own").receive("INVITE")
    own.answer(401, f"WWW-Authenticate: {challenge.format(REALM)}").receive("ACK")
    own.receive("INVITE", check={"Authorization": f'username="office".*realm="{REALM}"'})
    own.answer(200, sdp=True).receive("ACK").is_left()
    calls = Script("calls", domain=OFFICE).invite().receive(401, auth=True).refused()
    calls.invite("[authentication]", cseq=2).receive(100, optional=True)
    refused = Script("is-refused").add(calls).receive(500).refused(2)
    answered = Script("is-answered").add(calls).receive(200, routes=True).within("ACK", 2).leaves(3)
    for carrier, caller in ((foreign, refused), (own, answered)):
        there = desk.stage.sipp(carrier, port=desk.asks)
        here = desk.phone(caller, "1001", calls=NUMBER)
        for peer in (here, there):
            went_well(peer)
        (row,) = (row for row in desk.server.status()["trunks"] if row["name"] == "asks")
        assert ("elsewhere.example" in row["why"]) == (carrier is foreign), row


# -- watchers ----------------------------------------------------------------------------------------


def watcher(name: str) -> Script:
    """Who watches an extension, until it is told of its state the first time."""
    asked = ("Event: dialog", "Expires: 600")
    script = Script(name, domain=OFFICE).outside("SUBSCRIBE", 1, *asked).receive(401, auth=True)
    script.outside("SUBSCRIBE", 2, *asked, "[authentication]").receive(200)
    return script.receive("NOTIFY", check={"Subscription-State": "active;expires="})


@pytest.mark.soak
def test_a_watcher_that_says_nothing_is_gone(desk: Desk) -> None:
    """For 32 seconds, after which no answer will come (RFC 3261 17.1.2.2)."""
    peer = desk.phone(watcher("silent").pause(34_000), "1001", calls="1002")
    wait_until(lambda: watches(desk.server) == 1, "the watcher")
    wait_until(lambda: watches(desk.server) == 0, "the watcher to be gone", timeout_s=40)
    peer.stop()


def test_watchers_are_lost_and_told(desk: Desk) -> None:
    """One says that it knows nothing of it (481) and is forgotten; the other is told to come again when the
    exchange stops (RFC 6665 4.2.2)."""
    again = "terminated;.*reason=probation.*retry-after=[0-9]+"
    told = watcher("told").confirm().receive("NOTIFY", check={"Subscription-State": again})
    stays = desk.phone(told.confirm(), "1001", calls="1002")
    wait_until(lambda: watches(desk.server) == 1, "the first to watch")
    went_well(desk.phone(watcher("forgetful").confirm(481), "1001", calls="1002"))
    wait_until(lambda: watches(desk.server) == 1, "the second to be forgotten")
    assert desk.server.status()["sip"]["subscriptions"] == 1
    desk.server.stop()
    went_well(stays)


def watches(server: Server) -> int:
    return int(server.status()["apps"]["presence"]["watches"])
