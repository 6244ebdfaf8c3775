"""Row 13: a million guesses at one telephone's password from one address and from five hundred, on virtual
time, by the gate itself. The right password is among the guesses."""

from __future__ import annotations

import random

import pytest

from softswitch.call.gatekeeper import Gatekeeper
from softswitch.call.guard import Guard
from softswitch.call.trunks import Trunks
from softswitch.config import parse_office
from softswitch.sip.credentials import Credentials
from softswitch.sip.digest import answer_challenge
from softswitch.sip.flow import Flow
from softswitch.sip.gate import Admitted, Refuse
from softswitch.sip.parser import parse_message
from tests.rows import Row

PASSWORD = "a-long-secret-1001"
OFFICE = parse_office(
    f'[office]\ndomain = "office.example"\n[[extension]]\nnumber = "1001"\npassword = "{PASSWORD}"\n',
    source="guessing",
)
LOCAL = ("192.0.2.1", 5060)
DAY_S, REFRESH_S = 24 * 3600.0, 60.0


class CountingGuard(Guard):
    """Counts the guesses whose password is looked at."""

    evaluated = 0

    def may_guess(self, *args, **options):
        allowed = super().may_guess(*args, **options)
        self.evaluated += allowed
        return allowed


def register(extra: str = ""):
    return parse_message(
        "REGISTER sip:office.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKx\r\n"
        "From: <sip:1001@office.example>;tag=a\r\nTo: <sip:1001@office.example>\r\n"
        f"Call-ID: abc\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n{extra}\r\n".encode()
    )


PLAIN = register()


def attempt(gate: Gatekeeper, source: tuple[str, int], password: str, now_s: float) -> object:
    """Ask for a challenge and answer it."""
    flow = Flow("udp", LOCAL, source)
    asked = gate.admit(PLAIN, flow, now_s)
    if not isinstance(asked, Refuse):
        return asked
    challenges = [value for _, value in asked.headers]
    value = answer_challenge(
        challenges, Credentials("1001", password), "REGISTER", "sip:office.example", cnonce="c"
    )
    return gate.admit(register(f"Authorization: {value}\r\n"), flow, now_s)


def guess(guesses: int, sources: int, row: Row) -> None:
    """A day of guesses; the telephone, behind the address of one of the guessers, registers every minute."""
    guard = CountingGuard()
    own = frozenset({"office.example", "192.0.2.1"})
    gate = Gatekeeper(OFFICE, Trunks([]), b"k" * 32, own, guard)
    addresses = [f"203.0.{113 + n // 250}.{1 + n % 250}" for n in range(sources)]
    phone = (addresses[0], 40_000)
    right_at = random.Random(13).randrange(guesses // 10, guesses)
    won = turned_away = evaluated = registered = 0
    answered = dict.fromkeys(addresses, 0)
    refreshed_s = -REFRESH_S
    for number in range(guesses):
        now_s = 1000.0 + DAY_S * number / guesses
        if now_s - refreshed_s >= REFRESH_S:
            refreshed_s = now_s
            turned_away += not isinstance(attempt(gate, phone, PASSWORD, now_s), Admitted)
            registered += 1
        address = addresses[number % sources]
        password = PASSWORD if number == right_at else f"guess-{number}"
        before = guard.evaluated
        verdict = attempt(gate, (address, 5060), password, now_s)
        evaluated += guard.evaluated - before
        answered[address] += isinstance(verdict, Refuse)
        won += isinstance(verdict, Admitted)
    most = max(answered.values()) / (DAY_S / 3600)
    row(
        13,
        f"guesses from {sources} addresses in a day",
        guesses=guesses,
        looked_at=evaluated,
        an_hour_a_source=round(most, 1),
        successes=won,
        false_bans=turned_away,
        registrations=registered,
    )
    assert won == turned_away == 0
    assert most <= 30


@pytest.mark.parametrize("sources", [1, 500])
def test_some_guesses(sources: int, row: Row) -> None:
    guess(20_000, sources, row)


@pytest.mark.soak
@pytest.mark.parametrize("sources", [1, 500])
def test_a_million_guesses(sources: int, row: Row) -> None:
    guess(1_000_000, sources, row)
