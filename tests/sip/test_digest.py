"""Digest authentication: the published vectors, nonces that prove themselves, and what nobody learns."""

from __future__ import annotations

import hashlib

import pytest

from softswitch.errors import LocalProtocolError
from softswitch.sip.credentials import Credentials
from softswitch.sip.digest import (
    Authenticator,
    Authorization,
    AuthVerdict,
    Challenge,
    NonceBox,
    NonceState,
    answer_challenge,
    digest_response,
    ha1,
    parse_authorization,
)

SECRET = bytes(range(32))
PHONE = "192.0.2.7"
USERS = {"2001": "correct horse", "2002": "battery"}
REALM = "pbx.example"
TRUNK = Credentials("acct", "s3cret", ("other.example", "trunk.example"))


def ha1_of(username: str, algorithm: str) -> str | None:
    password = USERS.get(username)
    return None if password is None else ha1(username, REALM, password, algorithm)


@pytest.fixture
def door() -> Authenticator:
    return Authenticator(REALM, SECRET, ha1_of)


def answer(
    challenges: list[str],
    *,
    user: str = "2001",
    password: str | None = None,
    method: str = "REGISTER",
    uri: str = "sip:pbx.example",
    nc: int = 1,
) -> str:
    credentials = Credentials(
        user, USERS.get(user, "x") if password is None else password, (REALM,)
    )
    value = answer_challenge(challenges, credentials, method, uri, cnonce="0a4f113b", nc=nc)
    assert value is not None
    return value


class TestVectors:
    def test_rfc_2069_without_qop(self) -> None:  # with the correction of its errata 749
        secret = ha1("Mufasa", "testrealm@host.com", "CircleOfLife", "MD5")
        assert (
            digest_response(
                secret,
                "GET",
                "/dir/index.html",
                "dcd98b7102dd2f0e8b11d0f600bfb0c093",
                algorithm="MD5",
                qop=None,
            )
            == "1949323746fe6a43ef61f9606e7febea"
        )

    def test_rfc_2617_section_3_5(self) -> None:
        secret = ha1("Mufasa", "testrealm@host.com", "Circle Of Life", "MD5")
        assert secret == "939e7578ed9e3c518a452acee763bce9"
        response = digest_response(
            secret,
            "GET",
            "/dir/index.html",
            "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            algorithm="MD5",
            cnonce="0a4f113b",
        )
        assert response == "6629fae49393a05397450978507c4ef1"

    @pytest.mark.parametrize(
        ("algorithm", "expected"),
        [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ],
    )
    def test_rfc_7616_section_3_9_1(self, algorithm: str, expected: str) -> None:
        response = digest_response(
            ha1("Mufasa", "http-auth@example.org", "Circle of Life", algorithm),
            "GET",
            "/dir/index.html",
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            algorithm=algorithm,
            cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )
        assert response == expected

    def test_rfc_8760_offers_are_answered_in_the_server_s_order(self) -> None:
        offers = [
            'Digest realm="trunk.example", qop="auth,auth-int", algorithm=SHA-512-256, nonce="n"',
            'Digest realm="trunk.example", qop="auth,auth-int", algorithm=SHA-256, nonce="n", '
            'opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS"',
            'Digest realm="trunk.example", qop="auth,auth-int", algorithm=MD5, nonce="n"',
        ]
        value = answer_challenge(offers, TRUNK, "INVITE", "sip:1@t", cnonce="c")
        assert value is not None
        parsed = parse_authorization(value)
        assert parsed is not None
        assert parsed.algorithm == "SHA-256"
        assert parsed.opaque == "HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS"
        value = answer_challenge(offers[::-1], TRUNK, "INVITE", "sip:1@t", cnonce="c")
        assert value is not None
        assert "algorithm=MD5" in value


class TestSyntax:
    def test_authorization_round_trips(self) -> None:
        credentials = Authorization(
            'a"b\\c', "r", "n", "sip:x", "0" * 32, "MD5", "auth", 0x1F, "c", "o"
        )
        assert parse_authorization(str(credentials)) == credentials
        old = Authorization("u", "r", "n", "sip:x", "0" * 64, "SHA-256")
        assert parse_authorization(str(old)) == old

    def test_challenges_round_trip(self) -> None:
        challenge = Challenge('r"', "n", "MD5", ("auth", "auth-int"), True, "o")
        assert Challenge.parse(str(challenge)) == challenge
        plain = Challenge("r", "n", qop=())
        assert Challenge.parse(str(plain)) == plain

    def test_what_phones_write(self) -> None:
        parsed = parse_authorization(
            'digest  username = "u" ,realm="r",nonce="",uri="sip:x",algorithm=md5,'
            'response="0123456789ABCDEF0123456789ABCDEF",qop="auth",nc=0000000A,cnonce="q"'
        )
        assert parsed is not None
        assert (parsed.algorithm, parsed.nc, parsed.response[:12]) == ("MD5", 10, "0123456789ab")

    @pytest.mark.parametrize(
        "change",
        [
            ("Digest", "NoOneKnowsThisScheme"),
            ("Digest ", "Digest"),
            ('username="u"', ""),
            ('username="u"', 'username="u"u'),
            ('username="u"', 'username="u", username="v"'),
            ('username="u"', 'username="u'),
            ('realm="r", ', ""),
            ("nc=00000001", "nc=1"),
            ("nc=00000001", "nc=0000000g"),
            ("nc=00000001", "nc=+0000001"),
            ("nc=00000001, ", ""),
            ("qop=auth", "qop=auth-int"),
            ('cnonce="c"', 'cnonce=""'),
            ("algorithm=MD5", "algorithm=MD5-sess"),
            ("algorithm=MD5", "algorithm=SHA-1"),
            ("00000000000000000000000000000000", "zz"),
            ("00000000000000000000000000000000", "\u0660" * 32),
            (", ", "; "),
        ],
    )
    def test_anything_else_is_no_credentials(self, change: tuple[str, str]) -> None:
        good = str(Authorization("u", "r", "n", "sip:x", "0" * 32, "MD5", "auth", 1, "c"))
        assert parse_authorization(good) is not None
        assert parse_authorization(good.replace(*change)) is None

    def test_parameter_bomb(self) -> None:
        assert parse_authorization("Digest " + ",".join(f"p{i}=1" for i in range(9000))) is None


class TestNonces:
    def test_every_nonce_is_new_and_equally_long(self) -> None:
        box = NonceBox(SECRET)
        nonces = [box.issue(5.0, PHONE) for _ in range(100)] + [box.issue(9e9, "2001:db8::1")]
        assert len(set(nonces)) == 101
        assert {len(nonce) for nonce in nonces} == {52}

    def test_lifetime_and_source(self) -> None:
        box = NonceBox(SECRET, lifetime_s=60.0)
        nonce = box.issue(100.0, PHONE)
        assert box.verify(nonce, 100.0, PHONE) is NonceState.OK
        assert box.verify(nonce, 160.0, PHONE) is NonceState.OK
        assert box.verify(nonce, 160.001, PHONE) is NonceState.STALE
        assert box.verify(nonce, 99.0, PHONE) is NonceState.STALE
        assert box.verify(nonce, 100.0, "192.0.2.8") is NonceState.BAD
        assert NonceBox(bytes(32)).verify(nonce, 100.0, PHONE) is NonceState.BAD

    def test_forgeries(self) -> None:
        box = NonceBox(SECRET)
        nonce = box.issue(100.0, PHONE)
        for at in range(len(nonce)):
            forged = nonce[:at] + ("0" if nonce[at] != "0" else "1") + nonce[at + 1 :]
            assert box.verify(forged, 100.0, PHONE) is NonceState.BAD
        for forged in ("", nonce[:-1], nonce + "0", nonce.upper(), nonce + "\n", "\u0660" * 52):
            if forged != nonce:
                assert box.verify(forged, 100.0, PHONE) is NonceState.BAD

    def test_nc_rises_strictly(self) -> None:
        box = NonceBox(SECRET)
        nonce = box.issue(1.0, PHONE)
        counts = [1, 1, 2, 5, 4, 5, 6, 0, 0xFFFFFFFF, 0xFFFFFFFF]
        states = [box.check(nonce, nc, 2.0, PHONE) is NonceState.OK for nc in counts]
        assert states == [True, False, True, True, False, False, True, False, True, False]

    def test_without_qop_once(self) -> None:
        box = NonceBox(SECRET)
        nonce = box.issue(1.0, PHONE)
        assert box.check(nonce, None, 2.0, PHONE) is NonceState.OK
        assert box.check(nonce, None, 2.0, PHONE) is NonceState.STALE
        assert box.check(nonce, 7, 2.0, PHONE) is NonceState.STALE

    def test_memory_is_bounded_and_forgetting_admits_nothing(self) -> None:
        box = NonceBox(SECRET, used_max=10)
        nonces = [box.issue(1.0 + i / 100, PHONE) for i in range(30)]
        for nonce in nonces:
            assert box.check(nonce, 1, 2.0, PHONE) is NonceState.OK
            assert box.snapshot()["nonces"] <= 10
        for nonce in nonces:
            assert box.check(nonce, 1, 2.0, PHONE) is NonceState.STALE
        assert box.check(box.issue(2.0, PHONE), 1, 2.0, PHONE) is NonceState.OK

    def test_expired_nonces_are_forgotten(self) -> None:
        box = NonceBox(SECRET)
        for second in range(500):
            assert box.check(box.issue(second, PHONE), 1, second, PHONE) is NonceState.OK
        assert box.snapshot()["nonces"] <= 62

    def test_only_good_use_is_remembered(self, door: Authenticator) -> None:
        for _ in range(100):
            guess = answer(door.challenges(1.0, PHONE), password="guess")
            door.check([guess], "REGISTER", "sip:pbx.example", 1.0, PHONE)
        assert door.snapshot() == {"nonces": 0}


class TestServer:
    def test_sha_256_is_offered_first(self, door: Authenticator) -> None:
        first, second = map(Challenge.parse, door.challenges(1.0, PHONE))
        assert first is not None
        assert second is not None
        assert (first.algorithm, second.algorithm) == ("SHA-256", "MD5")
        assert first.qop == ("auth",)
        assert not first.stale
        assert "stale=true" in door.challenges(1.0, PHONE, stale=True)[0]

    def test_the_office_chooses_algorithms(self) -> None:
        old = Authenticator(REALM, SECRET, ha1_of, algorithms=("MD5",))
        (only,) = old.challenges(1.0, PHONE)
        assert "algorithm=MD5" in only
        assert old.check([answer([only])], "REGISTER", "sip:pbx.example", 1.0, PHONE).ok
        better = answer([only.replace("MD5", "SHA-256")])
        result = old.check([better], "REGISTER", "sip:pbx.example", 1.0, PHONE)
        assert result.verdict is AuthVerdict.ABSENT
        for wrong in ((), ("SHA-1",)):
            with pytest.raises(LocalProtocolError):
                Authenticator(REALM, SECRET, ha1_of, algorithms=wrong)

    @pytest.mark.parametrize("order", [1, -1])
    def test_good_credentials(self, door: Authenticator, order: int) -> None:
        value = answer(door.challenges(1.0, PHONE)[::order])
        result = door.check([value], "REGISTER", "sip:pbx.example", 1.5, PHONE)
        assert result.ok
        assert result.username == "2001"

    def test_the_next_request_counts_on(self, door: Authenticator) -> None:
        challenges = door.challenges(1.0, PHONE)
        for nc in (1, 2, 3):
            value = answer(challenges, nc=nc)
            assert door.check([value], "REGISTER", "sip:pbx.example", 30.0, PHONE).ok

    def test_replays(self, door: Authenticator) -> None:
        value = answer(door.challenges(1.0, PHONE))
        target = ("REGISTER", "sip:pbx.example")
        assert door.check([value], *target, 2.0, PHONE).ok
        assert door.check([value], *target, 2.0, PHONE).verdict is AuthVerdict.STALE
        assert door.check([value], *target, 99.0, PHONE).verdict is AuthVerdict.STALE
        assert not door.check([value], *target, 2.0, "192.0.2.66").ok
        assert not door.check([value], "INVITE", "sip:pbx.example", 2.0, PHONE).ok
        assert not door.check([value], "REGISTER", "sip:other.example", 2.0, PHONE).ok

    def test_a_changed_count_breaks_the_digest(self, door: Authenticator) -> None:
        value = answer(door.challenges(1.0, PHONE))
        assert door.check([value], "REGISTER", "sip:pbx.example", 2.0, PHONE).ok
        forged = value.replace("nc=00000001", "nc=00000002")
        result = door.check([forged], "REGISTER", "sip:pbx.example", 2.0, PHONE)
        assert result.verdict is AuthVerdict.WRONG

    def test_guesses_are_wrong_whatever_the_nonce(self, door: Authenticator) -> None:
        challenges = door.challenges(1.0, PHONE)
        for user, password in (("2001", "guess"), ("nobody", "x"), ("", "")):
            value = answer(challenges, user=user, password=password)
            for now_s in (2.0, 900.0):
                result = door.check([value], "REGISTER", "sip:pbx.example", now_s, PHONE)
                assert result.verdict is AuthVerdict.WRONG

    def test_absent(self, door: Authenticator) -> None:
        other = str(Authorization("2001", "other", "n", "sip:x", "0" * 32))
        for values in ([], ["Basic dTpw"], ["Digest"], [other]):
            result = door.check(values, "REGISTER", "sip:x", 1.0, PHONE)
            assert result.verdict is AuthVerdict.ABSENT
            assert result.username is None
        good = answer(door.challenges(1.0, PHONE))
        assert door.check([other, good], "REGISTER", "sip:pbx.example", 1.0, PHONE).ok

    def test_digest_uri_may_differ_in_parameters_only(self, door: Authenticator) -> None:
        value = answer(door.challenges(1.0, PHONE), uri="sip:PBX.example")
        assert door.check([value], "REGISTER", "sip:pbx.example;transport=udp", 1.0, PHONE).ok
        value = answer(door.challenges(1.0, PHONE), uri="sip:9@pbx.example", method="INVITE")
        assert not door.check([value], "INVITE", "sip:8@pbx.example", 1.0, PHONE).ok
        value = answer(door.challenges(1.0, PHONE), uri="/")
        assert not door.check([value], "REGISTER", "sip:pbx.example", 1.0, PHONE).ok

    def test_unknown_users_cost_the_same_work(
        self, door: Authenticator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashed = 0
        real = hashlib.sha256

        def counting(data: bytes) -> object:
            nonlocal hashed
            hashed += len(data)
            return real(data)

        challenges = door.challenges(1.0, PHONE)
        values = [answer(challenges, user=user, password="x") for user in ("2001", "20x1")]
        stored = ha1("2001", REALM, "y")
        looked_up: list[str] = []

        def known(user: str, algorithm: str) -> str | None:
            looked_up.append(user)
            return stored if user == "2001" else None

        checker = Authenticator(REALM, SECRET, known)
        monkeypatch.setattr(hashlib, "sha256", counting)
        work: list[int] = []
        for value in values:
            hashed = 0
            checker.check([value], "REGISTER", "sip:pbx.example", 1.0, PHONE)
            work.append(hashed)
        assert work[0] == work[1] > 0
        assert looked_up == ["2001", "20x1"]

    def test_challenges_are_equally_long_for_everybody(self, door: Authenticator) -> None:
        sizes = {
            tuple(map(len, door.challenges(now_s, source)))
            for now_s in (0.0, 1e9)
            for source in (PHONE, "2001:db8::77")
        }
        assert len(sizes) == 1


class TestClient:
    offer = 'Digest realm="trunk.example", nonce="n", qop="auth", algorithm=SHA-256'

    def ask(self, *challenges: str) -> str | None:
        return answer_challenge(challenges, TRUNK, "INVITE", "sip:1@t", cnonce="c", nc=3)

    def test_nc_and_uri_are_written(self) -> None:
        value = self.ask(self.offer)
        assert value is not None
        parsed = parse_authorization(value)
        assert parsed is not None
        assert (parsed.nc, parsed.uri, parsed.cnonce) == (3, "sip:1@t", "c")

    def test_another_realm_gets_nothing(self) -> None:
        assert self.ask(self.offer.replace("trunk.", "evil.")) is None
        assert self.ask() is None

    def test_without_a_configured_realm_the_first_is_taken(self) -> None:
        loose = Credentials("acct", "s3cret")
        value = answer_challenge([self.offer], loose, "INVITE", "sip:1@t", cnonce="c")
        assert value is not None
        assert 'realm="trunk.example"' in value

    @pytest.mark.parametrize(
        "change",
        [("Digest", "Basic"), ("SHA-256", "SHA-1"), ('"auth"', '"auth-int"'), ('nonce="n",', ""),
         ("SHA-256", "MD5-sess")],
    )  # fmt: skip
    def test_what_we_do_not_speak(self, change: tuple[str, str]) -> None:
        assert self.ask(self.offer.replace(*change)) is None
        assert self.ask(self.offer.replace(*change), self.offer) is not None

    def test_old_servers_without_qop(self) -> None:
        value = self.ask('Digest realm="trunk.example", nonce="n"')
        assert value is not None
        assert "qop" not in value
        assert "algorithm=MD5" in value

    def test_the_password_never_shows(self) -> None:
        assert "s3cret" not in repr(TRUNK)
        assert "s3cret" not in (self.ask(self.offer) or "")
