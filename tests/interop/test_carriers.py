"""What carriers do with one exchange, scripted for SIPp: forks that answer late, reliable responses, diversions
told both ways, session timers, offers that cross, weights, limits; and which numbers leave by whose rights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from softswitch.api.admin import ask
from tests.interop.peers.baresip import Baresip
from tests.interop.peers.kamailio import Collector
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.script import OFFICE, Script
from tests.interop.peers.server import Server, Trunk, password_of
from tests.interop.peers.sipp import Counts, Sipp, register
from tests.interop.peers.stage import Stage
from tests.rows import Row

pytestmark = pytest.mark.xdist_group("carriers")  # they share one exchange

OUTSIDE = "013800000001"
ROUTE = '[[outbound]]\nprefix = "{}"\nstrip = 1\npermission = "{}"\ntrunks = {}\n{}\n'
ROUTES = "".join(
    ROUTE.format(prefix, permission, list(trunks), more).replace("'", '"')
    for prefix, permission, trunks, more in (
        ("9", "national", ("plain",), ""),
        ("7", "internal", ("heavy", "light"), "weights = [3, 1]"),
        ("6", "internal", ("narrow", "light"), ""),
        ("5", "internal", ("sick", "light"), ""),
        ("4", "internal", ("plain",), ""),
        ("3", "internal", ("history",), ""),
        ("2", "internal", ("account",), ""),
    )
)
INBOUND = "".join(
    f'[[inbound]]\nnumber = "{number}*"\nto = "extension:{extension}"\n'
    for number, extension in (("88", "1001"), ("87", "1003"), ("86", "1004"), ("85", "1006"))
)
MORE = {
    "plain": "",
    "heavy": "",
    "light": "",
    "sick": "",
    "narrow": "",
    "history": 'diversion = "history-info"',
    "account": """
username = "office"
password = "secret"
caller_id = "+861065551000"
numbers = "e164"
from_user = "account"
from_domain = "carrier.example"
asserted_identity = false
""",
}


@dataclass
class Carriers:
    """One exchange with seven carriers, each a SIPp when there is one at its port, and a telephone that calls
    and takes every call."""

    server: Server
    ports: dict[str, int]
    phone: Baresip
    stage: Stage
    collector: str
    started: list[Sipp] = field(default_factory=list)

    def plays(self, script: Script | str, carrier: str = "plain", **options: object) -> Sipp:
        """Let a carrier wait for a call, or make one (`number`)."""
        if "number" in options:
            options |= {"server": self.server.address, "keys": {"caller": "13800000001"}}
        peer = self.stage.sipp(script, port=self.ports[carrier], **options)
        self.started.append(peer)
        return peer

    def calls(self, number: str) -> int:
        """Dial; the mark of what happens from now on."""
        since = self.phone.mark()
        self.phone.dial(number)
        return since

    def talks(self, number: str) -> None:
        """A call that is answered and hung up."""
        since = self.calls(number)
        self.phone.wait_event("CALL_ESTABLISHED", since=since)
        self.phone.hang_up()
        self.phone.wait_event("CALL_CLOSED", since=since)

    def status_of(self, number: str) -> str:
        """The status that a call is refused with."""
        since = self.calls(number)
        return str(self.phone.wait_event("CALL_CLOSED", since=since)["param"])[:3]


def went_well(peer: Sipp, calls: int = 1) -> Counts:
    counts = peer.wait()
    assert (counts.successful, counts.failed, counts.unexpected) == (calls, 0, 0), counts
    return counts


@pytest.fixture(scope="module")
def the_carriers(shared: Stage) -> Carriers:
    ports = {name: free_port() for name in MORE}
    trunks = [Trunk(name, f"{HOST}:{port}", more=MORE[name]) for name, port in ports.items()]
    trunks[4].calls = 1
    collector = f"{HOST}:{free_port()}"
    forward = 'permissions = ["internal", "national"]\nforward = {{ always = "{}" }}'
    server = shared.serve(
        trunks=trunks,
        extensions=tuple(str(number) for number in range(1001, 1007)),
        extension_more={
            "1001": 'permissions = ["internal", "national"]',
            "1003": forward.format(f"4{OUTSIDE}"),
            "1004": forward.format(f"3{OUTSIDE}"),
            "1005": 'permissions = ["internal", "national"]',
        },
        more=f'{ROUTES}{INBOUND}[trace]\nhep = "udp://{collector}"\n',
        workers=2,
        rtp_ports=400,
    )
    phone = shared.baresip(server, "1001", plays="caller")
    return Carriers(server, ports, phone, shared, collector)


@pytest.fixture
def carriers(the_carriers: Carriers) -> Iterator[Carriers]:
    """They as they were at first: nobody talks, no carrier is there."""
    yield the_carriers
    for peer in the_carriers.started:
        peer.stop()
    the_carriers.started.clear()
    the_carriers.server.wait_idle()


# -- forks -------------------------------------------------------------------------------------------


def test_an_answer_of_a_fork_that_comes_too_late_is_ended(carriers: Carriers) -> None:
    """A carrier forks to two who both answer: the second is acknowledged and hung up, the first talks on."""
    script = Script("late-fork").receive("INVITE").answer(180).answer(180, tag="late")
    script.answer(200, sdp=True).receive("ACK")
    script.answer(200, sdp=True, tag="late").receive("ACK", check={"To": "tag=late"})
    script.receive("BYE", check={"To": "tag=late"}).confirm()
    carrier = carriers.plays(script.asks("BYE", 1).receive(200))
    since = carriers.calls(f"4{OUTSIDE}")
    carriers.phone.wait_event("CALL_ESTABLISHED", since=since)
    went_well(carrier)
    carriers.phone.wait_event("CALL_CLOSED", since=since)


def test_an_answer_that_crosses_the_cancel_is_ended(carriers: Carriers) -> None:
    script = Script("late-cancel").receive("INVITE").answer(180).receive("CANCEL").confirm()
    script.answer(200, sdp=True).receive("ACK").is_left()
    carrier = carriers.plays(script)
    since = carriers.calls(f"4{OUTSIDE}")
    carriers.phone.wait_event("CALL_RINGING", since=since)
    carriers.phone.hang_up()
    went_well(carrier)


# -- reliable responses, UPDATE ------------------------------------------------------------------------


def test_a_carrier_that_sends_everything_reliably(carriers: Carriers) -> None:
    """Its answer is in a 183, changed by an UPDATE before the 200, which has none (RFC 3262, RFC 3311)."""
    script = Script("reliable").receive("INVITE", check={"Supported": "100rel"})
    script.answer(183, "Require: 100rel", "RSeq: 7", sdp=True)
    script.receive("PRACK", check={"RAck": "7 1 INVITE"}).confirm()
    script.asks("UPDATE", 1, sdp=True).receive(200, body="m=audio [0-9]+ RTP/AVP 0")
    script.answer(180, "Require: 100rel", "RSeq: 8")
    script.receive("PRACK", check={"RAck": "8 1 INVITE"}).confirm()
    script.answer(200).receive("ACK").is_left()
    carrier = carriers.plays(script)
    carriers.talks(f"4{OUTSIDE}")
    went_well(carrier)


def test_an_offer_beside_other_parts(carriers: Carriers) -> None:
    """What carriers put beside the session description, ISUP here, is no reason not to take it (RFC 5621)."""
    calling = Script("several-parts").invite(beside="application/ISUP;version=itu-t92+")
    calling.receive(100, optional=True).receive(180, optional=True)
    calling.receive(200, body="m=audio", routes=True).within("ACK", 1).leaves(2)
    went_well(carriers.plays(calling, number="88100"))


def test_a_carrier_that_writes_numbers_as_tel(carriers: Carriers) -> None:
    """Who is called, who calls and who has forwarded, each as tel: (RFC 3966); told on as SIP URIs."""
    message = "From:.*8613900000009@.*Diversion: <sip:.86105555"
    called = Script("tel-told-on").receive("INVITE", message=message).answer(200, sdp=True)
    called.receive("ACK").is_left()
    calling = Script("tel", called="tel:+87-100;npdi;rn=+8710")
    calling.invite(
        "P-Asserted-Identity: <tel:+86-139-0000-0009;cpc=ordinary>",
        "Diversion: <tel:+86(10)5555>;reason=no-answer",
    )
    calling.receive(100, optional=True).receive(181).receive(180, optional=True)
    calling.receive(200, routes=True).within("ACK", 1).leaves(2)
    there = carriers.plays(called, "plain")
    here = carriers.plays(calling, "heavy", number="87100")
    for peer in (here, there):
        went_well(peer)


def test_a_telephone_that_dials_tel(carriers: Carriers) -> None:
    """Challenged like every other, and put through to the telephone that it means."""
    script = Script("dials-tel", domain=OFFICE, called="tel:100-1;phone-context=interop.example")
    script.invite().receive(401, auth=True).refused()
    script.invite("[authentication]", cseq=2).receive(100, optional=True)
    script.receive(180, optional=True).receive(200, routes=True).within("ACK", 2).leaves(3)
    keys = {"caller": "1002"}
    options = {"username": "1002", "password": password_of("1002"), "keys": keys}
    peer = carriers.stage.sipp(script, server=carriers.server.address, number="1001", **options)
    carriers.started.append(peer)
    went_well(peer)


# -- who forwarded -------------------------------------------------------------------------------------

TOLD = {
    "diversion": "Diversion: <sip:+861065559999@far.example>;reason=user-busy;counter=1",
    "history-info": "History-Info: <sip:+861065559999@far.example>;index=1,"
    " <sip:+861065551000@carrier.example;cause=486>;index=1.1",
}


@pytest.mark.parametrize("told", ["diversion", "history-info"])
def test_who_forwarded_is_told_on_in_the_other_way(carriers: Carriers, told: str) -> None:
    """A call that comes forwarded is forwarded again, to a carrier that is told by the other header."""
    if told == "diversion":
        onward, number = "history", "86"
        message = "861065559999@.*cause=486.*cause=302"
    else:
        onward, number = "heavy", "87"
        message = "1003@.*reason=unconditional.*861065559999@.*reason=user-busy"
        onward = "plain"
    called = Script("forwarded-to").receive("INVITE", message=message).answer(200, sdp=True)
    called.receive("ACK").is_left()
    calling = Script("forwarded").invite(TOLD[told]).receive(100, optional=True)
    calling.receive(181).receive(180, optional=True).receive(200, routes=True)
    calling.within("ACK", 1).leaves(2)
    there = carriers.plays(called, onward)
    here = carriers.plays(calling, "heavy", number=f"{number}100")
    for peer in (here, there):
        went_well(peer)


# -- why ------------------------------------------------------------------------------------------------


def test_the_cause_that_a_carrier_tells_reaches_the_caller(carriers: Carriers) -> None:
    why = "Reason: SIP;cause=404, Q.850;cause=22"
    called = Script("changed").receive("INVITE").answer(404, why).receive("ACK")
    calling = Script("is-told").invite().receive(100, optional=True).receive(181)
    calling.receive(404, check={"Reason": "Q.850;cause=22"}).refused()
    there = carriers.plays(called, "history")
    here = carriers.plays(calling, "heavy", number="86100")
    for peer in (here, there):
        went_well(peer)


def test_what_a_carrier_says_was_taken_elsewhere_is_no_missed_call(carriers: Carriers) -> None:
    """It forks to others, too; the telephone insists on hearing that somebody else took the call."""
    account = {"number": "1006", "password": password_of("1006"), "port": (port := free_port())}
    register(carriers.stage.directory, server=carriers.server.address, **account)  # type: ignore[arg-type]
    rings = carriers.stage.sipp("elsewhere.xml", port=port, calls=1)
    calling = Script("forks").invite().receive(100, optional=True).receive(180)
    calling.cancels("Reason: Q.850;cause=26, SIP;cause=200").receive(200).receive(487).refused()
    for peer in (carriers.plays(calling, number="85100"), rings):
        went_well(peer)


# -- session timers ------------------------------------------------------------------------------------

SUPPORTED = "Supported: timer"
CASES = {
    "knows none, asks none": ((), "1800;refresher=uas"),
    "knows none, a proxy asks": (("Session-Expires: 600",), "600;refresher=uas"),
    "knows them": ((SUPPORTED,), "1800;refresher=uac"),
    "asks": ((SUPPORTED, "Session-Expires: 600"), "600;refresher=uac"),
    "does it itself": ((SUPPORTED, "Session-Expires: 600;refresher=uac"), "600;refresher=uac"),
    "wants it done": ((SUPPORTED, "Session-Expires: 600;refresher=uas"), "600;refresher=uas"),
    "no shorter": ((SUPPORTED, "Session-Expires: 9000", "Min-SE: 4000"), "4000;refresher=uac"),
}


def test_who_keeps_a_session_alive_is_agreed_with_every_caller(carriers: Carriers) -> None:
    """RFC 4028 9, table 2; and 422 for one that would be troubled too often."""
    for name, (asked, agreed) in CASES.items():
        script = Script("timer").invite(*asked).receive(100, optional=True)
        script.receive(180, optional=True)
        check = {"Session-Expires": f"^ *{agreed}"}
        if agreed.endswith("uac"):
            check["Require"] = "timer"
        script.receive(200, check=check, routes=True).within("ACK", 1).leaves(2)
        counts = carriers.plays(script, number="88100").wait()
        assert counts.successful == 1, f"{name}: {counts}"
    script = Script("too-short").invite(SUPPORTED, "Session-Expires: 30")
    script.receive(100, optional=True).receive(422, check={"Min-SE": "90"}).refused()
    went_well(carriers.plays(script, number="88100"))


def test_who_keeps_a_session_alive_is_agreed_with_who_is_called(carriers: Carriers) -> None:
    """It wants to be left alone for longer (422), then refreshes itself, by UPDATE and by re-INVITE."""
    longer = {"Session-Expires": "^ *2400", "Min-SE": "2400"}
    refresh = (SUPPORTED, "Session-Expires: 2400;refresher=uac")
    script = Script("timer-called").receive("INVITE", check={"Session-Expires": "^ *1800"})
    script.answer(422, "Min-SE: 2400").receive("ACK")
    script.receive("INVITE", check=longer)
    script.answer(200, "Require: timer", "Session-Expires: 2400;refresher=uas", sdp=True)
    script.receive("ACK").asks("UPDATE", 1, *refresh)
    script.receive(200, check={"Session-Expires": "2400;refresher=uac"})
    script.asks("INVITE", 2, *refresh, sdp=True).receive(100, optional=True)
    script.receive(200, check={"Session-Expires": "2400;refresher=uac"}).asks("ACK", 2)
    carrier = carriers.plays(script.asks("BYE", 3).receive(200))
    since = carriers.calls(f"4{OUTSIDE}")
    went_well(carrier)
    carriers.phone.wait_event("CALL_CLOSED", since=since)


# -- offers that cross ---------------------------------------------------------------------------------


def test_an_offer_of_theirs_that_crosses_is_refused_and_taken_later(carriers: Carriers) -> None:
    """The ACK of the first re-INVITE is outstanding when the second comes: 491 (RFC 3261 14.2)."""
    script = Script("glare").invite().receive(100, optional=True).receive(180, optional=True)
    script.receive(200, routes=True).within("ACK", 1)
    script.within("INVITE", 2, sdp=True, direction="sendonly").receive(100, optional=True)
    script.receive(200, body="a=recvonly")
    script.within("INVITE", 3, sdp=True).receive(100, optional=True).receive(491)
    script.within("ACK", 3, refused=True).within("ACK", 2)
    script.within("INVITE", 4, sdp=True).receive(100, optional=True)
    script.receive(200, body="a=sendrecv").within("ACK", 4).leaves(5)
    went_well(carriers.plays(script, number="88100"))


def test_an_offer_of_ours_that_crosses_is_made_again(carriers: Carriers) -> None:
    """A telephone takes a ringing call away from another: its sound is on another worker, it is told so by
    re-INVITE and says 491; within two seconds it is told again."""
    ports = {}
    for number in ("1002", "1006"):
        ports[number] = free_port()
        account = {"number": number, "password": password_of(number), "port": ports[number]}
        register(carriers.stage.directory, server=carriers.server.address, **account)  # type: ignore[arg-type]
    script = Script("rings").receive("INVITE").answer(180).receive("CANCEL").confirm()
    rings = carriers.stage.sipp(script.answer(487).receive("ACK"), port=ports["1002"])
    script = Script("picks-up", domain=OFFICE).invite().receive(401, auth=True).refused()
    script.invite("[authentication]", cseq=2).receive(100, optional=True)
    script.receive(180, optional=True).receive(200, routes=True).within("ACK", 2)
    script.receive("INVITE").confirm(491).receive("ACK")
    script.receive("INVITE").confirm(200, sdp=True).receive("ACK").leaves(3)
    since = carriers.calls("1002")
    carriers.phone.wait_event("CALL_RINGING", since=since)
    picks = carriers.stage.sipp(
        script,
        port=ports["1006"],
        server=carriers.server.address,
        number="*81002",
        username="1006",
        password=password_of("1006"),
        keys={"caller": "1006"},
    )
    for peer in (rings, picks):
        went_well(peer)
    carriers.phone.wait_event("CALL_CLOSED", since=since)


# -- several carriers ----------------------------------------------------------------------------------


def test_weights_and_limits_of_several_carriers(carriers: Carriers, row: Row) -> None:
    """Sixty calls over two carriers by weight; then three at once where the first takes only one."""
    account = {"number": "1002", "password": password_of("1002")}
    port = free_port()
    register(carriers.stage.directory, server=carriers.server.address, port=port, **account)
    they = {name: carriers.plays("callee.xml", name, calls=None) for name in MORE}

    def taken() -> dict[str, int]:
        return {name: peer.counts().successful for name, peer in they.items()}

    def call(prefix: str, calls: int, hold_ms: int) -> None:
        options = {"server": carriers.server.address, "port": port, "username": "1002"}
        options |= {"password": account["password"], "keys": {"caller": "1002"}}
        options |= {"number": prefix + OUTSIDE, "calls": calls, "rate": 50, "hold_ms": hold_ms}
        went_well(carriers.stage.sipp("caller.xml", **options), calls)

    call("7", 60, 0)
    wait_until(lambda: sum(taken().values()) == 60, lambda: f"sixty calls: {taken()}")
    shared = taken()
    row(40, "60 calls by weights 3 : 1", heavy=shared["heavy"], light=shared["light"])
    assert shared["heavy"] + shared["light"] == 60
    assert shared["heavy"] >= 28, "five deviations below three quarters"
    assert shared["light"] >= 1
    call("6", 3, 400)
    wait_until(lambda: sum(taken().values()) == 63, lambda: f"three more: {taken()}")
    assert taken()["narrow"] == 1
    assert taken()["light"] == shared["light"] + 2


def test_a_503_costs_a_moment(carriers: Carriers, row: Row) -> None:
    sick = Script("sick").receive("INVITE").answer(503, "Retry-After: 5").receive("ACK")
    refuses = carriers.plays(sick, "sick")
    well = carriers.plays("callee.xml", "light")
    carriers.talks(f"5{OUTSIDE}")
    for peer in (refuses, well):
        went_well(peer)
    passed = list(ask(carriers.server.storage, "trace"))
    refused_s, next_s = (
        next(
            message["at_s"]
            for message in reversed(passed)
            if message["peer"].endswith(f":{carriers.ports[name]}")
            and message["first_line"].startswith(words)
        )
        for name, words in (("sick", "SIP/2.0 503"), ("light", "INVITE"))
    )
    row(40, "from 503 to the next carrier", ms=round(1000 * (next_s - refused_s), 2))
    assert next_s >= refused_s


# -- who may call whom ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status"),
    [
        ("9+441632960001", "403"),
        ("900441632960001", "403"),
        ("9+19002345678", "403"),
        ("4+441632960001", "403"),  # a rule for numbers in general opens no foreign ones
        ("8013800000001", "404"),
    ],
)
def test_numbers_that_do_not_leave(carriers: Carriers, number: str, status: str) -> None:
    assert carriers.status_of(number) == status


@pytest.mark.parametrize("number", ["013800000001", "+861065551234", "110"])
def test_numbers_that_leave(carriers: Carriers, number: str) -> None:
    wanted = re.escape(f"sip:{number}@").replace("\\+", "[+]")
    script = Script("leaves").receive("INVITE", check={"To": wanted}).answer(200, sdp=True)
    carrier = carriers.plays(script.receive("ACK").is_left())
    carriers.talks(f"9{number}")
    went_well(carrier)


def test_redirections_outside(carriers: Carriers) -> None:
    """A telephone's 302 leads outside with its extension's rights and is told as a deflection; without them
    it is refused. A carrier's leads nowhere: it is not one to tell us whom to call."""
    for number in ("1005", "1006"):
        account = {"number": number, "password": password_of(number)}
        register(
            carriers.stage.directory,
            server=carriers.server.address,
            port=(port := free_port()),
            **account,
        )
        moved = carriers.stage.sipp("moved.xml", port=port, keys={"target": f"9{OUTSIDE}"})
        if number == "1005":
            check = {"Diversion": "sip:1005@.*reason=deflection"}
            script = Script("deflected").receive("INVITE", check=check).answer(200, sdp=True)
            carrier = carriers.plays(script.receive("ACK").is_left())
            carriers.talks(number)
            went_well(carrier)
        else:
            assert carriers.status_of(number) == "403"
        went_well(moved)
    away = Script("carrier-moved").receive("INVITE")
    away.answer(302, f"Contact: <sip:{OUTSIDE}@{HOST}:{carriers.ports['light']}>").receive("ACK")
    carrier = carriers.plays(away)
    assert carriers.status_of(f"4{OUTSIDE}") == "480"
    went_well(carrier)


def test_a_carrier_that_knows_its_customers_by_their_account(carriers: Carriers) -> None:
    """From is the account in the carrier's domain, the number is told beside it; the number called is a whole
    one."""
    check = {
        "From": "<sip:office@carrier.example>",
        "P-Preferred-Identity": "<sip:[+]861065551000@carrier.example>",
        "To": "<sip:[+]8613800000001@",
    }
    script = Script("account").receive("INVITE", check=check).answer(200, sdp=True)
    carrier = carriers.plays(script.receive("ACK").is_left(), "account")
    carriers.talks(f"2{OUTSIDE}")
    went_well(carrier)


# -- who watches ---------------------------------------------------------------------------------------


def test_a_collector_is_sent_a_copy_of_every_message(carriers: Carriers) -> None:
    """HEP 3, as the sipcapture module of Kamailio reads it: who sent what, whatever carried it to us."""
    port = int(carriers.collector.rpartition(":")[2])
    collects = carriers.stage.kamailio(Collector, port=port)
    carrier = carriers.plays("callee.xml", calls=1)
    carriers.talks(f"4{OUTSIDE}")
    went_well(carrier)
    phone, exchange = carriers.phone.sip_port, carriers.server.office.sip_port
    for copy in (
        f"heard: INVITE of {HOST}:{phone}\n",
        f"heard: INVITE of {HOST}:{exchange}\n",
        f"heard: 200 of {HOST}:{carriers.ports['plain']}\n",
        f"heard: BYE of {HOST}:{phone}\n",
    ):
        wait_until(
            lambda copy=copy: copy in collects.log(), lambda copy=copy: f"{copy}{collects.tail()}"
        )
