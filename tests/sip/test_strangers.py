"""What strangers get from the office's gate, in numbers: nothing learned, nothing accepted, nothing
amplified. Each test prints its figure."""

from __future__ import annotations

import itertools
import re
import time

import numpy as np
import pytest

from softswitch.call.gatekeeper import Gatekeeper
from softswitch.call.guard import Guard, GuardPolicy
from softswitch.call.trunks import TrunkRecord, Trunks
from softswitch.config import parse_office
from softswitch.sip.credentials import Credentials
from softswitch.sip.digest import answer_challenge
from softswitch.sip.events import InviteReceived, RequestReceived
from softswitch.sip.flow import Flow
from softswitch.sip.parser import parse_message
from softswitch.sip.stack import SipStack, StackConfig

OFFICE = parse_office(
    '[office]\ndomain = "office.example"\n[[extension]]\nnumber = "1001"\n'
    'password = "a-long-secret-1001"\n[[extension]]\nnumber = "1500"\npassword = "a-long-secret-1500"\n'
    '[[trunk]]\nname = "carrier"\nuri = "sip:192.0.2.10"\nfrom_addresses = ["192.0.2.10:5060"]\n',
    source="strangers",
)
LOCAL = ("192.0.2.1", 5060)
STRANGER = ("198.51.100.7", 5071)
METHODS = ("REGISTER", "INVITE", "OPTIONS", "SUBSCRIBE", "MESSAGE", "PUBLISH", "REFER", "NOTIFY")


class Wire:
    """A stack behind the office's gate, and what comes out of it."""

    def __init__(self, policy: GuardPolicy | None = None) -> None:
        tokens = (f"token{number:07d}" for number in itertools.count(1))
        trunks = Trunks([TrunkRecord(OFFICE.trunks[0], ("192.0.2.10", 5060))])
        own = frozenset({"office.example", "192.0.2.1"})
        gate = Gatekeeper(OFFICE, trunks, b"k" * 32, own, Guard(policy))
        config = StackConfig(local_addresses=(LOCAL,))
        self.stack = SipStack(config, lambda: next(tokens), gate)
        self.numbers = itertools.count(1)
        self.events = []

    def send(self, data, now_s=100.0, source=STRANGER):
        """The octets of every answer."""
        self.stack.receive_datagram(data, Flow("udp", LOCAL, source), now_s)
        while (event := self.stack.next_event()) is not None:
            self.events.append(event)
        return [out.data for out in self.stack.datagrams_to_send()]

    def request(self, method, user="1001", *, to=None, extra="", number=None):
        number = next(self.numbers) if number is None else number
        to = to if to is not None else user
        uri = "sip:office.example" if method == "REGISTER" else f"sip:{to}@office.example"
        event = "Event: dialog\r\n" if method in ("SUBSCRIBE", "NOTIFY", "PUBLISH") else ""
        return (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5071;branch=z9hG4bK-{number:08d}"
            f';rport\r\nFrom: "{user}" <sip:{user}@office.example>;tag={number:016d}\r\n'
            f'To: "{to}" <sip:{to}@office.example>\r\nCall-ID: {number:024d}\r\n'
            f"CSeq: 1 {method}\r\nContact: <sip:{user}@198.51.100.7:5071>\r\nMax-Forwards: 70\r\n"
            f"User-Agent: friendly-scanner\r\nAccept: application/sdp\r\n{event}{extra}"
            "Content-Length: 0\r\n\r\n"
        ).encode()

    def authorised(self, method, user, password, now_s, *, to=None, extra=""):
        """The request, and the Authorization line that answers its challenge."""
        challenged = parse_message(self.send(self.request(method, user, to=to), now_s)[0])
        challenges = challenged.headers.get_all("WWW-Authenticate")
        number = next(self.numbers)
        plain = self.request(method, user, to=to, extra=extra, number=number)
        uri = parse_message(plain).uri
        value = answer_challenge(challenges, Credentials(user, password), method, uri, cnonce="c")
        line = f"Authorization: {value}\r\n"
        return self.request(method, user, to=to, extra=extra + line, number=number), line


def shape(answer, user):
    """An answer without what may differ: the number asked for, nonce, tag and ids."""
    text = re.sub(rb'nonce="[^"]*"', b"nonce", answer).replace(user.encode(), b"N")
    return re.sub(rb"(tag=|branch=z9hG4bK-|Call-ID: )[0-9a-zA-Z]+", rb"\1", text)


@pytest.mark.parametrize("method", METHODS[:4])
@pytest.mark.parametrize("guesses", [False, True])
def test_known_and_unknown_numbers_answer_alike(method, guesses, row):
    wire = Wire(GuardPolicy(tries=1e9))
    shapes = set()
    for number in range(1000, 2000):
        user = str(number)
        if guesses:
            data, _ = wire.authorised(method, user, "guess", 100.0)
        else:
            data = wire.request(method, user)
        (answer,) = wire.send(data)
        shapes.add((shape(answer, user), len(answer)))
    what = "wrong passwords" if guesses else "no password"
    row(12, f"{method}, {what}", numbers=1000, told_apart=len(shapes) - 1)
    assert len(shapes) == 1
    assert wire.events == []


def told_by_time(count, row):
    """Area under the curve of who guesses from the CPU time of one refusal whether a number exists:
    0.5 is chance. Known and unknown take turns, so that a busy machine is busy for both."""
    wire = Wire(GuardPolicy(tries=1e9))
    took = {True: np.zeros(count // 2), False: np.zeros(count // 2)}
    for number in range(count):
        known = number % 2 == 0
        data, _ = wire.authorised("REGISTER", "1001" if known else "1009", f"guess-{number}", 100.0)
        began = time.thread_time_ns()
        wire.send(data)
        took[known][number // 2] = time.thread_time_ns() - began
    ranks = np.concatenate([took[True], took[False]]).argsort(kind="stable").argsort() + 1
    half = count // 2
    area = (ranks[:half].sum() - half * (half + 1) / 2) / half**2
    row(12, "known numbers told by time", samples=count, auc=round(float(area), 3))
    return area


def test_time_is_taken(row):
    assert 0.0 < told_by_time(2000, row) < 1.0


@pytest.mark.soak
def test_time_tells_no_number_from_another(row):
    assert abs(told_by_time(20_000, row) - 0.5) <= 0.02


def test_captured_credentials_are_worth_nothing(row):
    """Again with the same count, by another method, another Call-ID, from elsewhere, when it is stale."""
    accepted = tried = 0
    for method in ("REGISTER", "INVITE", "OPTIONS", "SUBSCRIBE"):
        wire = Wire()
        data, line = wire.authorised(method, "1001", "a-long-secret-1001", 100.0)
        wire.send(data)
        assert len(wire.events) == 1, "the owner's own is taken"
        wire.events.clear()
        for number in range(834):
            other = METHODS[number % len(METHODS)]
            for now_s, source in (
                (101.0, STRANGER),
                (101.0, ("203.0.113.9", 5)),
                (900.0, STRANGER),
            ):
                wire.send(wire.request(other, "1001", extra=line), now_s, source)
                tried += 1
        accepted += len(wire.events)
    row(14, "captured credentials", replayed=tried, accepted=accepted)
    assert tried > 10_000
    assert accepted == 0


def test_strangers_place_no_calls(row):
    wire = Wire()
    forged = (
        "",
        "P-Asserted-Identity: <sip:1001@office.example>\r\n",
        "Remote-Party-ID: <sip:1001@office.example>;privacy=off\r\n",
        "Route: <sip:192.0.2.1;lr>\r\n",
        "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKtrunk\r\n",
    )
    for prefix in range(2000):
        for extra in forged:
            number = f"{prefix:04d}972595144544"
            (answer,) = wire.send(wire.request("INVITE", "1001", to=number, extra=extra))
            assert answer[8:11] == b"401"
    calls = sum(isinstance(event, InviteReceived) for event in wire.events)
    row(16, "2,000 prefixes by 5 forged identities", invites=2000 * len(forged), calls=calls)
    assert wire.events == []
    assert wire.stack.snapshot()["transactions"] == 0


def test_nobody_registers_for_somebody_else(row):
    wire = Wire()
    for number in range(1000):
        data, _ = wire.authorised(
            "REGISTER", "1001", "a-long-secret-1001", 100.0 + number, to=f"{1002 + number}"
        )
        (answer,) = wire.send(data, 100.0 + number)
        assert answer[8:11] == b"403"
    taken = sum(isinstance(event, RequestReceived) for event in wire.events)
    row(18, "another phone's address of record", registers=1000, taken=taken)
    assert taken == 0


def test_answers_are_hardly_larger_than_what_strangers_send(row):
    wire = Wire()
    ratios = []
    for method in (*METHODS, "BYE", "CANCEL", "ACK", "INFO", "UPDATE", "PRACK", "FOO"):
        data = wire.request(method)
        answers = wire.send(data)
        assert len(answers) <= 1, "no 100 before admission"
        ratios.append(sum(map(len, answers)) / len(data))
    mean = sum(ratios) / len(ratios)
    row(
        23,
        "octets out for octets in",
        methods=len(ratios),
        mean=round(mean, 2),
        most=round(max(ratios), 2),
    )
    assert mean <= 1.1
    assert max(ratios) <= 1.5
