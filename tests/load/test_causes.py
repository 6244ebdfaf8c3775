"""Why calls failed, in the target's own words, and what is usually wrong then."""

from __future__ import annotations

import pytest

from softswitch.load.causes import hints, refusal
from softswitch.load.plan import Plan, certificate_name, parse_target
from softswitch.sip.message import Headers, SipResponse
from softswitch.sip.status import reason_of

WARNING = '305 192.0.2.7 "Incompatible media format: \\"telephone-event\\" only"'


def plan(**options: object) -> Plan:
    return Plan(**{"scenario": "uac", "target": ("192.0.2.7", 5060), **options})  # type: ignore[arg-type]


def answer(status: int, reason: str | None = None, **headers: str) -> SipResponse:
    made = Headers()
    for name, value in headers.items():
        made.add(name, value)
    return SipResponse(status, reason_of(status) if reason is None else reason, made)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (None, "488 Not Acceptable Here"),
        (answer(488), "488 Not Acceptable Here"),
        (answer(488, "No Codec"), "488 No Codec"),
        (
            answer(488, Warning=WARNING),
            '488 Not Acceptable Here (Incompatible media format: \\"telephone-event\\" only)',
        ),
        (
            answer(488, Reason='Q.850;cause=65;text="No bearer"'),
            "488 Not Acceptable Here (No bearer)",
        ),
        (answer(488, "Call Barred", Reason='Q.850;cause=21;text="call barred"'), "488 Call Barred"),
        (answer(488, Warning="nonsense", Reason="also nonsense"), "488 Not Acceptable Here"),
        (answer(488, "x" * 500), "488 " + "x" * 96),
    ],
)
def test_a_refusal_is_told_in_the_words_of_who_refused(
    response: SipResponse | None, words: str
) -> None:
    assert refusal(488, response) == words


@pytest.mark.parametrize(
    ("cause", "options", "hint"),
    [
        ("401 Unauthorized", {}, "--callers 1001-1050:secret"),
        ("407 Proxy Authentication Required", {"callers": [("1001", None)]}, "asks who calls"),
        ("401 Unauthorized", {"callers": [("1001", "x")], "domain": "a.example"}, "now a.example"),
        ("403 Forbidden", {}, "refuses unknown callers"),
        ("403 Forbidden", {"callers": [("1001", "x")]}, "passwords and --domain (now 192.0.2.7)"),
        ("404 Not Found", {}, "--dial"),
        ("480 Temporarily Unavailable", {}, "--callees"),
        ("488 Not Acceptable Here", {"codecs": ("G722",)}, "G722 (--codec) by plain RTP (--srtp)"),
        ("488 Not Acceptable Here", {"srtp": True}, "SRTP (--no-srtp)"),
        ("nothing came back from x: certificate refused: expired", {}, "--trust FILE.pem"),
        ("nothing came back from x: certificate refused: Hostname mismatch", {}, "by the name"),
        ("nothing came back from x: nobody listens there", {}, "transport=udp (tcp, tls"),
        ("nothing came back from x: too slow", {"transport": "tls"}, "speak TLS on port 5060"),
        ("nothing came back from x", {}, "whom they have banned"),
    ],
)
def test_what_is_usually_wrong(cause: str, options: dict[str, object], hint: str) -> None:
    (told,) = hints([cause, cause], plan(**options))
    assert hint in told


def test_of_what_says_enough_itself_nothing_more_is_said() -> None:
    assert hints(["486 Busy Here", "603 Decline", "cut off: ended by remote"], plan()) == []


def test_a_secure_scheme_is_tls() -> None:
    assert parse_target("sips:127.0.0.1") == (("127.0.0.1", 5061), "tls", "127.0.0.1")
    assert parse_target("sips:127.0.0.1:7;transport=tcp")[:2] == (("127.0.0.1", 7), "tls")
    assert parse_target("SIPS:127.0.0.1;transport=WS")[:2] == (("127.0.0.1", 443), "wss")
    assert parse_target("sip:[::1];transport=wss")[:2] == (("::1", 443), "wss")


def test_a_certificate_is_for_the_name_that_was_written_and_for_addresses_as_such() -> None:
    assert certificate_name("pbx.example") == "pbx.example"
    assert certificate_name("192.0.2.7") == certificate_name("[2001:db8::1]") == ""
