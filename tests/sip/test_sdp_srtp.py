"""SRTP in offers and answers (RFC 4568): policies, keys, and no way down to plain RTP."""

from __future__ import annotations

import pytest

from softswitch.sip.sdp import SdpError, SessionDescription, make_answer, make_offer, read_answer
from softswitch.sip.sdp.refusal import refusal_of

OURS = "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40
THEIRS = "7 AES_CM_128_HMAC_SHA1_80 inline:" + "B" * 40
REPLY = "7 AES_CM_128_HMAC_SHA1_80 inline:" + "C" * 40


def choose(offered):
    return (offered[0], REPLY) if offered else None


def line(protocol, port=4000, crypto=()):
    keys = "".join(f"a=crypto:{value}\r\n" for value in crypto)
    return f"m=audio {port} {protocol} 8\r\n{keys}"


def offer(*lines):
    text = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    return SessionDescription.parse((text + "".join(lines)).encode())


SECURE = line("RTP/SAVP", crypto=[THEIRS])
PLAIN = line("RTP/AVP", port=4002)
KEYLESS = line("RTP/SAVP")


@pytest.mark.parametrize(
    ("lines", "policy", "port", "secure"),
    [
        ([PLAIN], "off", 4002, False),
        ([PLAIN], "allow", 4002, False),
        ([SECURE], "allow", 4000, True),
        ([SECURE], "require", 4000, True),
        ([PLAIN, SECURE], "allow", 4000, True),
        ([SECURE, PLAIN], "off", 4002, False),
        ([KEYLESS, PLAIN], "allow", 4002, False),
    ],
)
def test_the_line_that_the_policy_takes(lines, policy, port, secure):
    answer, agreed = make_answer(
        offer(*lines), "192.0.2.1", 30000, ["PCMA"], srtp=policy, choose_crypto=choose
    )
    assert agreed.remote_port == port
    assert (agreed.srtp_in, agreed.srtp_out) == ((THEIRS, REPLY) if secure else (None, None))
    taken = answer.media[agreed.media_index]
    assert taken.protocol == ("RTP/SAVP" if secure else "RTP/AVP")
    assert taken.attribute("crypto") == (REPLY if secure else None)
    refused = [
        media.port for index, media in enumerate(answer.media) if index != agreed.media_index
    ]
    assert not any(refused)


@pytest.mark.parametrize(
    ("lines", "policy"), [([PLAIN], "require"), ([SECURE], "off"), ([KEYLESS], "require")]
)
def test_what_the_policy_refuses(lines, policy):
    with pytest.raises(SdpError) as refused:
        make_answer(offer(*lines), "192.0.2.1", 30000, ["PCMA"], srtp=policy, choose_crypto=choose)
    assert refused.value.status_hint == 488


def test_our_secure_offer_and_its_answer():
    ours = make_offer("192.0.2.1", 30000, ["PCMA"], crypto=[OURS], ssrc=4242)
    assert ours.media[0].protocol == "RTP/SAVP"
    reply = OURS.replace("A" * 40, "D" * 40)
    agreed = read_answer(ours, offer(line("RTP/SAVP", crypto=[reply])))
    assert (agreed.srtp_in, agreed.srtp_out) == (reply, OURS)


@pytest.mark.parametrize(
    "answer", [PLAIN, KEYLESS, line("RTP/AVP", crypto=[OURS]), line("RTP/SAVP", crypto=[THEIRS])]
)
def test_an_answer_without_our_key_is_a_downgrade(answer):
    ours = make_offer("192.0.2.1", 30000, ["PCMA"], crypto=[OURS])
    with pytest.raises(SdpError):
        read_answer(ours, offer(answer))


@pytest.mark.parametrize(
    ("lines", "ssrc"),
    [
        ("a=ssrc:4242 cname:x\r\n", 4242),
        ("a=ssrc:4242 cname:x\r\na=ssrc:4242 msid:y\r\n", 4242),
        ("a=ssrc:1 cname:x\r\na=ssrc:2 cname:x\r\n", None),
        ("a=ssrc:99999999999 cname:x\r\n", None),
        ("a=ssrc:x\r\n", None),
        ("", None),
    ],
)
def test_the_source_a_peer_announces(lines, ssrc):
    _, agreed = make_answer(offer(PLAIN + lines), "192.0.2.1", 30000, ["PCMA"])
    assert agreed.remote_ssrc == ssrc


DTLS = line("UDP/TLS/RTP/SAVPF")


@pytest.mark.parametrize(
    ("lines", "srtp", "code", "says"),
    [
        ([], "allow", 304, "no audio"),
        ([line("RTP/AVP", port=0)], "allow", 304, "no audio"),
        (
            [DTLS],
            "allow",
            302,
            "only RTP/AVP or RTP/SAVP with keys in SDP is taken; DTLS-SRTP is not",
        ),
        ([DTLS], "off", 302, "only RTP/AVP is taken"),
        ([KEYLESS], "allow", 302, "keys in SDP"),
        ([PLAIN], "require", 302, "only RTP/SAVP with keys"),
        ([SECURE], "off", 302, "only RTP/AVP is"),
        ([line("RTP/AVP").replace(" 8", " 3")], "allow", 305, "only PCMA is taken"),
    ],
)
def test_an_offer_that_cannot_be_answered_is_told_why(lines, srtp, code, says):
    found = refusal_of(offer(*lines), ["PCMA"], srtp)
    assert found is not None
    assert found[0] == code
    assert says in found[1]
    with pytest.raises(SdpError):
        make_answer(
            offer(*lines),
            "192.0.2.9",
            6000,
            ["PCMA"],
            session_id=1,
            srtp=srtp,
            choose_crypto=choose,
        )


@pytest.mark.parametrize(
    ("lines", "srtp"),
    [([DTLS, PLAIN], "allow"), ([SECURE], "require"), ([SECURE], "allow"), ([PLAIN], "off")],
)
def test_an_offer_with_one_line_that_will_do_is_not_refused(lines, srtp):
    assert refusal_of(offer(*lines), ["PCMU", "PCMA"], srtp) is None
