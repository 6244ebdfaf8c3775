"""Bans, slow-down and overload: who is turned away, who never is, and at which count."""

from __future__ import annotations

import pytest

from softswitch.call.gatekeeper import WELL_MEANT_PER_S, Gatekeeper
from softswitch.call.guard import Guard, GuardPolicy
from softswitch.call.overload import Overload, SourceClass
from softswitch.call.shares import PER_S, WITHIN_PER_S
from softswitch.call.trunks import TrunkRecord, Trunks
from softswitch.config import parse_office
from softswitch.sip.credentials import Credentials
from softswitch.sip.digest import answer_challenge
from softswitch.sip.flow import Flow
from softswitch.sip.gate import Admitted, Drop, Refuse
from softswitch.sip.parser import parse_message
from softswitch.sip.rank import Rank
from softswitch.sip.terse import retry_after_s

OFFICE = parse_office(
    """
[office]
domain = "office.example"
[[extension]]
number = "1001"
password = "a-long-secret-1001"
[[trunk]]
name = "carrier"
uri = "sip:192.0.2.10"
from_addresses = ["192.0.2.10:5060"]
""",
    source="test",
)
LOCAL = ("192.0.2.1", 5060)
PHONE, CRACKER = ("198.51.100.7", 40000), ("203.0.113.9", 5060)
TRIES = int(GuardPolicy().tries)


@pytest.fixture
def reports():
    return []


@pytest.fixture
def guard(reports):
    return Guard(report=lambda kind, data: reports.append((kind, data)))


@pytest.fixture
def gate(guard):
    trunks = Trunks([TrunkRecord(OFFICE.trunks[0], ("192.0.2.10", 5060))])
    own = frozenset({"office.example", "192.0.2.1"})
    return Gatekeeper(OFFICE, trunks, b"k" * 32, own, guard)


def request(method="REGISTER", extra=""):
    return parse_message(
        f"{method} sip:office.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKx\r\n"
        "From: <sip:1001@office.example>;tag=a\r\nTo: <sip:1001@office.example>\r\n"
        f"Call-ID: abc\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{extra}\r\n".encode()
    )


def attempt(gate, source, password, now_s, *, nonce_of=None, method="REGISTER"):
    """Challenge and answer, as one phone does; the nonce may be somebody else's."""
    flow = Flow("udp", LOCAL, source)
    asked = gate.admit(request(method), Flow("udp", LOCAL, nonce_of or source), now_s)
    if not isinstance(asked, Refuse) or asked.status != 401:
        return asked
    challenges = [value for _, value in asked.headers]
    credentials = Credentials("1001", password)
    value = answer_challenge(challenges, credentials, method, "sip:office.example", cnonce="c")
    return gate.admit(request(method, f"Authorization: {value}\r\n"), flow, now_s)


@pytest.mark.limit("wrong passwords of a source")
def test_a_source_that_guesses_is_banned_at_its_tenth_and_forgiven_in_time(gate, guard, reports):
    for number in range(TRIES - 1):
        assert attempt(gate, CRACKER, f"guess-{number}", 100.0).status == 401
    assert not guard.is_banned(CRACKER, 100.0)
    attempt(gate, CRACKER, "guess", 100.0)
    assert guard.is_banned(CRACKER, 100.0)
    assert isinstance(attempt(gate, CRACKER, "guess", 101.0), Drop)
    assert isinstance(attempt(gate, ("203.0.113.9", 6000), "x", 101.0), Drop), "any port of it"
    assert guard.bans(101.0) == [{"source": "203.0.113.9", "left_s": 1199}]
    who = {"source": "203.0.113.9", "account": "1001"}
    who |= {"username": "1001", "sip_call_id": "abc", "user_agent": ""}
    assert reports == [("security-wrong-password", who), ("security-ban", who)]
    assert not guard.is_banned(CRACKER, 1300.1)


@pytest.mark.limit("wrong passwords shown")
def test_whose_telephone_does_not_register_finds_it_among_the_refused(gate, guard):
    for at_s in (100.0, 110.0):
        attempt(gate, PHONE, "mistyped", at_s)
    told = {"source": PHONE[0], "account": "1001", "count": 2, "since_s": 5}
    assert guard.refused(115.0) == [told]
    assert guard.refused(110.0 + GuardPolicy().shown_s) == []
    shown_max = GuardPolicy().shown_max
    for number in range(shown_max):
        assert PHONE[0] in [row["source"] for row in guard.refused(120.0)]
        guard.wrong((f"203.0.113.{number}", 5060), "1001\x1b[2J", 120.0, answered=True)
    rows = guard.refused(121.0)
    assert len(rows) == shown_max
    assert rows[0] == {
        "source": f"203.0.113.{shown_max - 1}", "account": "1001?[2J", "count": 1, "since_s": 1,
    }  # fmt: skip
    attempt(gate, PHONE, "mistyped", 130.0)
    attempt(gate, PHONE, "a-long-secret-1001", 131.0)
    assert PHONE[0] not in [row["source"] for row in guard.refused(132.0)]


def test_guesses_an_hour_from_one_source_stay_below_the_bar(gate, row):
    looked_at = 0
    for second in range(0, 3600, 2):
        verdict = attempt(gate, CRACKER, f"guess-{second}", 1000.0 + second)
        looked_at += isinstance(verdict, Refuse)
    row(13, "guesses answered in an hour from one source", answered=looked_at)
    assert looked_at <= 30


def test_spoofed_packets_ban_nobody(gate, guard):
    """The spoofer never sees the nonce that his victim is given."""
    for number in range(1000):
        attempt(gate, PHONE, f"guess-{number}", 100.0 + number / 10, nonce_of=CRACKER)
    assert not guard.is_banned(PHONE, 201.0)
    assert isinstance(attempt(gate, PHONE, "a-long-secret-1001", 201.0), Admitted)


def test_a_trunk_cannot_be_banned(gate):
    trunk = ("192.0.2.10", 5060)
    for number in range(50):
        attempt(gate, trunk, f"guess-{number}", 100.0)
    verdict = gate.admit(request("INVITE"), Flow("udp", LOCAL, trunk), 100.0)
    assert isinstance(verdict, Admitted)


def test_a_phone_that_has_proven_itself_is_heard_through_a_ban_of_its_address(gate, guard):
    assert isinstance(attempt(gate, PHONE, "a-long-secret-1001", 10.0), Admitted)
    for number in range(TRIES):
        attempt(gate, (PHONE[0], 50000), f"guess-{number}", 20.0)
    assert guard.is_banned((PHONE[0], 50000), 21.0)
    assert isinstance(attempt(gate, PHONE, "a-long-secret-1001", 22.0), Admitted)


def test_an_account_that_many_sources_guess_is_slowed_down_for_strangers_only(gate):
    assert isinstance(attempt(gate, PHONE, "a-long-secret-1001", 10.0), Admitted)
    for number in range(500):
        attempt(gate, (f"203.0.113.{number % 250}", 5060), f"guess-{number}", 20.0)
    lucky = attempt(gate, ("203.0.114.1", 5060), "a-long-secret-1001", 21.0)
    assert isinstance(lucky, Refuse), "even the right one: nobody looks any more"
    assert lucky.status == 401
    assert isinstance(attempt(gate, PHONE, "a-long-secret-1001", 22.0), Admitted)
    later = attempt(gate, ("203.0.114.1", 5060), "a-long-secret-1001", 200.0)
    assert isinstance(later, Admitted), "one more in two minutes"


def test_a_ban_is_lifted_by_hand(gate, guard):
    for number in range(TRIES):
        attempt(gate, CRACKER, f"guess-{number}", 100.0)
    assert guard.unban("203.0.113.9")
    assert not guard.unban("203.0.113.9")
    assert attempt(gate, CRACKER, "guess", 101.0).status == 401


@pytest.mark.limit("sources and accounts watched")
def test_tables_hold_so_many_and_no_more():
    guard = Guard(GuardPolicy(entries_max=3, tries=1))

    def watch(number: int) -> None:
        guard.wrong((f"10.0.0.{number}", 1), f"user{number}", 1.0, answered=True)
        guard.proved((f"10.0.1.{number}", 1), "x", 1.0)

    def watched() -> tuple[list[int], list[int]]:
        banned = [n for n in range(5) if guard.is_banned((f"10.0.0.{n}", 1), 1.0)]
        return banned, [n for n in range(5) if guard.is_proven((f"10.0.1.{n}", 1), 1.0)]

    for number in range(3):
        watch(number)
    assert set(guard.snapshot().values()) == {3}
    assert watched() == ([0, 1, 2], [0, 1, 2])
    watch(3)
    assert set(guard.snapshot().values()) == {3}
    assert watched() == ([1, 2, 3], [1, 2, 3]), "the longest unheard is forgotten"


def test_what_strangers_write_is_made_inert(guard, reports):
    for _ in range(TRIES):
        guard.wrong(
            ("10.0.0.1", 1), "a\r\nforged line\x1b[31m\u202e" + "x" * 500, 1.0, answered=True
        )
    guard.posed(("10.0.0.1", 1), "1001", "a\r\nforged line\x1b[31m\u202e" + "x" * 500, 1.0)
    told = [text for _, data in reports for text in data.values() if len(text) > 10]
    assert [len(text) for text in told] == [64] * 3
    assert all(text.isprintable() for text in told)


def test_reports_are_few(reports):
    guard = Guard(GuardPolicy(tries=1, events_per_s=5), lambda *event: reports.append(event))
    for number in range(1000):
        guard.wrong((f"10.{number // 250}.0.{number % 250}", 1), "x", 1.0, answered=True)
    assert len(reports) == 5


class TestOverload:
    def test_strangers_first_then_phones_then_trunks_and_back(self):
        overload = Overload()
        seen = []
        for lag_s in (0.0, 0.12, 0.17, 3.0, 0.09, 0.07, 0.0):
            for _ in range(30):
                overload.measured(lag_s)
            seen.append("".join("01"[overload.admits(each)] for each in SourceClass))
        assert seen == ["111", "110", "100", "000", "100", "110", "111"]

    def test_who_comes_later_is_turned_away_only_when_dropping_strangers_was_not_enough(self):
        overload = Overload()
        closed = []
        for _ in range(4):
            overload.measured(10.0)
            closed.append([overload.closed[each] for each in SourceClass])
        assert closed[0] == [False, False, True]
        assert closed[1] == [False, True, True]
        assert closed[2] == [True, True, True]

    def test_one_message_that_has_waited_turns_strangers_away_for_a_second(self):
        overload = Overload()
        overload.waited(0.09)
        assert not overload.closed[SourceClass.STRANGER]
        overload.waited(0.1)
        for _ in range(9):
            overload.measured(0.0)
            assert overload.closed[SourceClass.STRANGER]
        overload.measured(0.0)
        assert not overload.closed[SourceClass.STRANGER]

    def test_what_each_hears(self, gate):
        attempt(gate, PHONE, "a-long-secret-1001", 10.0)
        for _ in range(30):
            gate.overload.measured(0.17)
        assert isinstance(attempt(gate, CRACKER, "x", 11.0, method="OPTIONS"), Drop)
        stream = Flow("tcp", LOCAL, PHONE, 7)
        busy = gate.admit(request("INVITE"), stream, 11.0)
        assert (busy.status, busy.headers) == (503, [("Retry-After", str(retry_after_s(b"abc")))])
        assert isinstance(attempt(gate, PHONE, "a-long-secret-1001", 11.0), Admitted), "REGISTER"
        datagram = Flow("udp", LOCAL, PHONE)
        assert gate.admit(request("INVITE"), datagram, 11.0).status == 401, "waits elsewhere"
        flow = Flow("tcp", LOCAL, ("192.0.2.10", 5060), 8)
        assert isinstance(gate.admit(request("INVITE"), flow, 11.0), Admitted)
        for _ in range(30):
            gate.overload.measured(5.0)
        assert gate.admit(request("INVITE"), flow, 12.0).status == 503


class TestSieve:
    """Who is not even read (`Gatekeeper.hears`)."""

    OPTIONS = b"OPTIONS sip:x SIP/2.0\r\nTo: <sip:x>\r\n\r\n"
    BYE = b"BYE sip:x SIP/2.0\r\nTo: <sip:x>;tag=1\r\n\r\n"
    ANSWER = b"REGISTER sip:x SIP/2.0\r\nAuthorization: Digest x\r\n\r\n"
    CARRIER = Flow("udp", LOCAL, ("192.0.2.10", 5060))
    STRANGER = Flow("udp", LOCAL, CRACKER)

    def crowd(self, gate):
        gate.overload.waited(1.0)

    def test_everybody_is_read_on_a_quiet_day(self, gate):
        assert gate.hears(self.OPTIONS, self.STRANGER, 10.0)

    def test_trunks_and_proven_phones_are_read_in_any_crowd(self, gate):
        attempt(gate, PHONE, "a-long-secret-1001", 10.0)
        self.crowd(gate)
        assert gate.hears(self.OPTIONS, self.CARRIER, 11.0)
        assert gate.hears(self.OPTIONS, Flow("udp", LOCAL, PHONE), 11.0)
        assert not gate.hears(self.OPTIONS, Flow("udp", LOCAL, (PHONE[0], PHONE[1] + 1)), 11.0)
        assert gate.overload.turned_away == 1

    @pytest.mark.parametrize("message", [BYE, ANSWER])
    @pytest.mark.limit("strangers who may mean well")
    def test_strangers_who_may_mean_well_share_a_limit(self, gate, message):
        self.crowd(gate)
        limit = int(WELL_MEANT_PER_S)
        read = [gate.hears(message, self.STRANGER, 10.0) for _ in range(limit + 1)]
        assert read == [True] * limit + [False]
        assert gate.hears(message, self.STRANGER, 10.1)

    def test_a_banned_source_is_not_read_and_whoever_proves_himself_is(self, gate):
        for number in range(TRIES + 1):
            attempt(gate, CRACKER, f"guess-{number}", 10.0)
        assert not gate.hears(self.OPTIONS, self.STRANGER, 11.0)
        assert gate.hears(self.OPTIONS, self.CARRIER, 11.0)
        gate.guard.proved(CRACKER, "1001", 11.0)
        assert gate.hears(self.OPTIONS, self.STRANGER, 11.0)


class TestRank:
    """Who goes first among those that wait (`Gatekeeper.rank`)."""

    INVITE = b"INVITE sip:x SIP/2.0\r\nTo: <sip:x>\r\n\r\n"
    CARRIER = Flow("udp", LOCAL, ("192.0.2.10", 5060))
    STRANGER = Flow("udp", LOCAL, CRACKER)

    def test_calls_that_are_up_then_new_ones_then_registrations_then_strangers(self, gate):
        attempt(gate, PHONE, "a-long-secret-1001", 10.0)
        phone = Flow("udp", LOCAL, PHONE)
        ranks = [
            gate.rank(data, flow, 11.0)
            for flow in (self.CARRIER, phone, self.STRANGER)
            for data in (TestSieve.BYE, self.INVITE, b"REGISTER sip:x SIP/2.0\r\n\r\n")
        ]
        assert ranks == [
            Rank.GOING, Rank.TRUNK_CALL, Rank.GOING,
            Rank.GOING, Rank.PHONE_CALL, Rank.PHONE,
            Rank.WELL_MEANT, Rank.STRANGER, Rank.WELL_MEANT,
        ]  # fmt: skip

    SUBSCRIBE = b"SUBSCRIBE sip:x SIP/2.0\r\nTo: <sip:x>\r\nAuthorization: Digest x\r\n\r\n"

    @pytest.mark.limit("messages of one telephone")
    def test_a_telephone_gone_mad_waits_like_a_stranger_beyond_its_share(self, gate):
        attempt(gate, PHONE, "a-long-secret-1001", 10.0)
        mad, other = Flow("udp", LOCAL, PHONE), Flow("udp", LOCAL, (PHONE[0], PHONE[1] + 1))
        gate.guard.proved(other.remote, "1001", 10.0)
        for data, rank, beyond in (
            (self.SUBSCRIBE, Rank.PHONE, Rank.WELL_MEANT),
            (self.INVITE, Rank.PHONE_CALL, Rank.STRANGER),
        ):
            ranks = [gate.rank(data, mad, 11.0) for _ in range(PER_S + 1)]
            assert ranks == [rank] * PER_S + [beyond]
            assert gate.rank(data, other, 11.0) is rank
        assert gate.rank(TestSieve.BYE, mad, 11.0) is Rank.GOING, (
            "its calls have a share of their own"
        )
        assert gate.rank(self.SUBSCRIBE, mad, 12.0) is Rank.PHONE
        assert gate.snapshot()["beyond_share"] == 2

    @pytest.mark.limit("messages within its calls")
    def test_so_it_does_with_what_looks_as_if_it_were_of_a_call(self, gate):
        attempt(gate, PHONE, "a-long-secret-1001", 10.0)
        mad = Flow("udp", LOCAL, PHONE)
        ranks = [gate.rank(TestSieve.BYE, mad, 11.0) for _ in range(WITHIN_PER_S + 1)]
        assert ranks == [Rank.GOING] * WITHIN_PER_S + [Rank.WELL_MEANT]

    def test_trunks_have_no_share_and_nobody_is_counted_who_need_not_wait(self, gate):
        for _ in range(2 * PER_S):
            assert gate.rank(self.INVITE, self.CARRIER, 11.0) is Rank.TRUNK_CALL
        attempt(gate, PHONE, "a-long-secret-1001", 10.0)
        for number in range(TRIES + 1):
            attempt(gate, CRACKER, f"guess-{number}", 10.0)  # banned: from now on all are looked at
        assert all(
            gate.hears(self.INVITE, Flow("udp", LOCAL, PHONE), 11.0) for _ in range(2 * PER_S)
        )
        gate.overload.waited(1.0)
        assert all(
            gate.hears(self.INVITE, Flow("udp", LOCAL, PHONE), 11.0) for _ in range(2 * PER_S)
        )
        assert gate.snapshot()["beyond_share"] == 0

    def test_what_is_kept_is_of_one_second(self, gate):
        for port in range(500):
            gate.guard.proved(("203.0.113.9", port), "1001", 10.0)
            gate.rank(self.INVITE, Flow("udp", LOCAL, ("203.0.113.9", port)), 11.0)
        assert len(gate._shares) == 500
        gate.rank(self.INVITE, Flow("udp", LOCAL, ("203.0.113.9", 1)), 12.0)
        assert len(gate._shares) == 1

    def test_in_a_crowd_other_strangers_are_not_even_kept(self, gate):
        gate.overload.waited(1.0)
        assert gate.rank(self.INVITE, self.STRANGER, 10.0) is None
        assert gate.rank(TestSieve.ANSWER, self.STRANGER, 10.0) is Rank.WELL_MEANT
        assert gate.rank(self.INVITE, self.CARRIER, 10.0) is Rank.TRUNK_CALL
