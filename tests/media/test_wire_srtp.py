"""SRTP: the crypto attribute, libsrtp held to RFC 7714's numbers, bad packets that end nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import SrtpError
from media.wire import rtp, srtp
from media.wire.srtp import SUITES, SrtpTable, choose_crypto, make_crypto, parse_crypto

ROOT = Path(os.environ.get("SOFTSWITCH_VECTORS") or Path(__file__).parents[3] / "shared")
PLACES = (ROOT / "vectors/srtp-rfc7714", ROOT / "srtp-rfc7714")
VECTORS = next((path for path in PLACES if path.is_dir()), None)
needs_vectors = pytest.mark.skipif(
    VECTORS is None, reason="needs the RFC 7714 vectors: set SOFTSWITCH_VECTORS"
)
needs_library = pytest.mark.skipif(not srtp.available(), reason="needs pylibsrtp from PyPI")

RANDOM = bytes(range(100, 160))
INLINE = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"  # the example of RFC 4568 section 9.2's form


# --- AES, GCM and the key derivation, written out plainly: what libsrtp is compared with ----------


def _sbox() -> list[int]:
    box, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= (p << 1) ^ (0x11B if p & 0x80 else 0)
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        q ^= 0x09 if q & 0x80 else 0
        box[p] = 0x63 ^ q ^ rotated(q, 1) ^ rotated(q, 2) ^ rotated(q, 3) ^ rotated(q, 4)
        if p == 1:
            return box


def rotated(value: int, by: int) -> int:
    return (value << by | value >> (8 - by)) & 0xFF


SBOX = _sbox()


def double(value: int) -> int:
    return (value << 1 ^ (0x1B if value & 0x80 else 0)) & 0xFF


def aes(key: bytes, block: bytes) -> bytes:
    """FIPS 197, one block."""
    words = [list(key[at : at + 4]) for at in range(0, len(key), 4)]
    size, rounds, constant = len(words), len(words) + 6, 1
    for number in range(size, 4 * (rounds + 1)):
        word = list(words[-1])
        if number % size == 0:
            word = [SBOX[octet] for octet in word[1:] + word[:1]]
            word[0] ^= constant
            constant = double(constant)
        elif size == 8 and number % 8 == 4:
            word = [SBOX[octet] for octet in word]
        words.append([a ^ b for a, b in zip(word, words[-size], strict=True)])
    flat = [octet for word in words for octet in word]
    keys = [flat[16 * number : 16 * number + 16] for number in range(rounds + 1)]
    state = [a ^ b for a, b in zip(block, keys[0], strict=True)]
    for number in range(1, rounds + 1):
        state = [SBOX[state[(at + 4 * (at % 4)) % 16]] for at in range(16)]
        if number < rounds:
            mixed = []
            for at in range(0, 16, 4):
                column = state[at : at + 4]
                total = column[0] ^ column[1] ^ column[2] ^ column[3]
                mixed += [
                    column[k] ^ total ^ double(column[k] ^ column[(k + 1) % 4]) for k in range(4)
                ]
            state = mixed
        state = [a ^ b for a, b in zip(state, keys[number], strict=True)]
    return bytes(state)


def gcm(key: bytes, iv: bytes, plain: bytes, aad: bytes) -> bytes:
    """NIST SP 800-38D with a 96-bit IV and a 128-bit tag: cipher text and tag."""
    count = -(-len(plain) // 16)
    stream = b"".join(aes(key, iv + (2 + k).to_bytes(4, "big")) for k in range(count))
    cipher = bytes(a ^ b for a, b in zip(plain, stream, strict=False))
    h = int.from_bytes(aes(key, bytes(16)), "big")
    total = 0
    lengths = (8 * len(aad)).to_bytes(8, "big") + (8 * len(cipher)).to_bytes(8, "big")
    for part in (aad, cipher, lengths):
        for at in range(0, len(part), 16):
            total ^= int.from_bytes(part[at : at + 16].ljust(16, b"\0"), "big")
            product, value = 0, h
            for bit in range(127, -1, -1):
                if total >> bit & 1:
                    product ^= value
                value = value >> 1 ^ (0xE1 << 120 if value & 1 else 0)
            total = product
    first = int.from_bytes(aes(key, iv + b"\0\0\0\1"), "big")
    return cipher + (total ^ first).to_bytes(16, "big")


def derive(master: bytes, salt: bytes, label: int, octets: int) -> bytes:
    """RFC 3711 section 4.3, key derivation rate 0; the salt of 14 octets, or 12 (RFC 7714)."""
    base = int.from_bytes(salt.ljust(14, b"\0"), "big") ^ label << 48
    stream = b"".join(aes(master, (base << 16 | k).to_bytes(16, "big")) for k in range(4))
    return stream[:octets]


def exclusive(one: bytes, two: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, two, strict=True))


def seal_rtp(key: bytes, salt: bytes, packet: bytes) -> bytes:
    """RFC 7714 section 8, rollover counter 0."""
    iv = exclusive(salt, b"\0\0" + packet[8:12] + b"\0\0\0\0" + packet[2:4])
    return packet[:12] + gcm(key, iv, packet[12:], packet[:12])


def seal_rtcp(key: bytes, salt: bytes, packet: bytes, index: int) -> bytes:
    """RFC 7714 section 9."""
    iv = exclusive(salt, b"\0\0" + packet[4:8] + b"\0\0" + index.to_bytes(4, "big"))
    word = (0x80000000 | index).to_bytes(4, "big")
    return packet[:8] + gcm(key, iv, packet[8:], packet[:8] + word) + word


def test_the_reference_is_that_of_fips_197_and_rfc_3711() -> None:
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert aes(bytes(range(16)), plain).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
    assert aes(bytes(range(32)), plain).hex() == "8ea2b7ca516745bfeafc49904b496089"
    master = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139")
    salt = bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6")
    assert derive(master, salt, 0, 16).hex().upper() == "C61E7A93744F39EE10734AFE3FF7A087"
    assert derive(master, salt, 2, 14).hex().upper() == "30CBBC08863D8C85D49DB34A9AE1"


def hex_after(text: str, label: str) -> bytes:
    found = re.search(re.escape(label) + r"\s*((?:\s*[0-9a-f]{2,8}(?=\s))+)", text)
    assert found, label
    return bytes.fromhex("".join(found[1].split()))


def sections(name: str) -> dict[str, str]:
    assert VECTORS is not None
    parts = re.split(r"(?m)^(1[67]\.[0-9.]+)  ", (VECTORS / name).read_text())
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@needs_vectors
@pytest.mark.parametrize(("number", "octets"), [("16.1.1.", 16), ("16.2.1.", 32)])
def test_the_reference_gives_the_rtp_packets_of_rfc_7714(number, octets) -> None:
    text = sections("rtp-vectors.txt")[number]
    key, salt = hex_after(text, "Key:"), hex_after(text, "salt:")
    assert len(key) == octets
    sealed = seal_rtp(key, salt, hex_after(text, "Encrypting the following packet:"))
    assert sealed == hex_after(text, "Encrypted and tagged packet:")


@needs_vectors
def test_the_reference_gives_the_rtcp_packet_of_rfc_7714() -> None:
    text = sections("rtcp-vectors.txt")["17.1."]
    key, salt = hex_after(text, "Key:"), hex_after(text, "salt:")
    sealed = seal_rtcp(key, salt, hex_after(text, "Encrypting the following packet:"), 0x5D4)
    assert sealed == hex_after(text, "Encrypted and tagged packet:")


# --- libsrtp ------------------------------------------------------------------------------------


def packets(count: int, *, ssrc: int = 0x5501A0B2, start: int = 0, width: int = 220):
    batch = np.zeros((count, width), np.uint8)
    sequence = np.arange(start, start + count)
    rtp.build(8, False, sequence, sequence * 160, np.full(count, ssrc), out=batch[:, :12])
    batch[:, 12:172] = np.arange(160)
    return batch, np.full(count, 172)


def pair(suite: str, master: bytes = RANDOM) -> SrtpTable:
    """Row 1 sends, row 0 receives, under one key."""
    table = SrtpTable(3)
    table.set_inbound(0, make_crypto(1, suite, master))
    table.set_outbound(1, make_crypto(1, suite, master))
    return table


@needs_library
@pytest.mark.parametrize("suite", ["AEAD_AES_128_GCM", "AEAD_AES_256_GCM"])
def test_libsrtp_seals_as_the_reference_does(suite) -> None:
    kind = SUITES[suite]
    master, salt = RANDOM[: kind.key_octets], RANDOM[kind.key_octets : kind.master_octets]
    key = derive(master, salt, 0, kind.key_octets)
    session_salt = derive(master, salt, 2, 12)
    batch, lengths = packets(3, start=1)
    plain = [batch[at, :172].tobytes() for at in range(3)]
    table = pair(suite)
    assert table.protect(np.array([1, 1, 1]), batch, lengths).all()
    for at in range(3):
        sealed = batch[at, : lengths[at]].tobytes()
        assert sealed == seal_rtp(key, session_salt, plain[at])
    key, session_salt = derive(master, salt, 3, kind.key_octets), derive(master, salt, 5, 12)
    report = b"\x81\xc9\x00\x07" + bytes(range(28))
    batch[0, :32] = np.frombuffer(report, np.uint8)
    lengths = np.array([32])
    assert table.protect(np.array([1]), batch[:1], lengths, rtcp=True).all()
    sealed = batch[0, : lengths[0]].tobytes()
    index = int.from_bytes(sealed[-4:], "big") & 0x7FFFFFFF
    assert sealed == seal_rtcp(key, session_salt, report, index)
    assert table.unprotect(np.array([0]), batch[:1], lengths, rtcp=True).all()
    assert batch[0, :32].tobytes() == report
    assert lengths.tolist() == [32]


@needs_library
@pytest.mark.parametrize("suite", SUITES)
def test_packets_come_through_and_rows_without_keys_are_left_alone(suite) -> None:
    table = pair(suite)
    batch, lengths = packets(40)
    sent = batch.copy()
    rows = np.where(np.arange(40) % 4 == 0, 2, 1)
    assert table.protect(rows, batch, lengths).all()
    keyed = rows == 1
    assert (lengths[keyed] == 172 + SUITES[suite].tag_octets).all()
    assert (lengths[~keyed] == 172).all()
    assert (batch[~keyed] == sent[~keyed]).all()
    assert (batch[keyed, 12:172] != sent[keyed, 12:172]).any(axis=1).all()
    assert table.unprotect(np.where(keyed, 0, 2), batch, lengths).all()
    assert (lengths == 172).all()
    assert (batch[:, :172] == sent[:, :172]).all()
    assert table.snapshot() == {
        "inbound": 1, "outbound": 1, "bad_tags": 0, "replays": 0, "broken": 0,
    }  # fmt: skip


@needs_library
@pytest.mark.parametrize("suite", SUITES)
def test_bad_tags_replays_and_stumps_are_counted_and_the_stream_goes_on(suite) -> None:
    table = pair(suite)
    batch, lengths = packets(10)
    table.protect(np.ones(10, int), batch, lengths)
    again, again_lengths = batch.copy(), lengths.copy()
    rows = np.zeros(10, int)
    batch[2, 30] ^= 1  # the payload
    batch[3, 5] ^= 1  # the header
    batch[4, lengths[4] - 1] ^= 1  # the tag
    lengths[5] = 11
    assert table.unprotect(rows, batch, lengths).tolist() == [True] * 2 + [False] * 4 + [True] * 4
    assert (int(table.bad_tags[0]), int(table.broken[0])) == (3, 1)
    # What was never accepted may still come, what was may not.
    told = table.unprotect(rows, again, again_lengths)
    assert told.tolist() == [False] * 2 + [True] * 4 + [False] * 4
    assert int(table.replays[0]) == 6
    more, more_lengths = packets(3, start=10)
    table.protect(np.ones(3, int), more, more_lengths)
    assert table.unprotect(np.zeros(3, int), more, more_lengths).all()


@needs_library
def test_the_replay_window_is_at_least_64_and_reordering_passes() -> None:
    table = pair("AES_CM_128_HMAC_SHA1_80")
    batch, lengths = packets(120)
    table.protect(np.ones(120, int), batch, lengths)
    order = np.r_[np.arange(119, 119 - 64, -1)]
    assert table.unprotect(np.zeros(64, int), batch[order], lengths[order].copy()).all()
    window = parse_crypto(f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE} WSH=1").window
    assert window == 64


def wrapped(table: SrtpTable, rollovers: int, sequence: int) -> bytes:
    """A sealed packet of a sender whose sequence numbers have wrapped `rollovers` times."""
    for index in [
        *range(60_000, (rollovers << 16) + sequence, 20_000),
        (rollovers << 16) + sequence,
    ]:
        room = np.zeros((1, 240), np.uint8)
        plain = b"\x80\0" + (index & 0xFFFF).to_bytes(2, "big") + bytes(4) + b"ssrc" + b"y" * 160
        room[0, :172] = np.frombuffer(plain, np.uint8)
        sizes = np.array([172], np.int32)
        assert table.protect(np.zeros(1, np.intp), room, sizes).all()
    return room[0, : sizes[0]].tobytes()


@needs_library
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(
    ("rollovers", "sequence"), [(0, 64_000), (1, 0), (1, 40_000), (3, 65_535), (200, 17)]
)
def test_a_far_end_that_has_wrapped_is_taken_up_again(suite, rollovers, sequence) -> None:
    key = make_crypto(1, suite, RANDOM)
    far, near = SrtpTable(1), SrtpTable(1)
    far.set_outbound(0, key)
    near.set_inbound(0, key, resumed=True)
    first = wrapped(far, rollovers, sequence)
    forged = first[:-1] + bytes([first[-1] ^ 1])
    for packet, genuine in ((forged, False), (forged, False), (first, True), (first, False)):
        room = np.frombuffer(packet.ljust(240, b"\0"), np.uint8)[None].copy()
        sizes = np.array([len(packet)], np.int32)
        assert bool(near.unprotect(np.zeros(1, np.intp), room, sizes)[0]) == genuine
        if genuine:
            assert room[0, 12 : sizes[0]].tobytes() == b"y" * 160
    for index in range(100):
        number = (rollovers << 16) + sequence + 1 + index
        plain = b"\x80\0" + (number & 0xFFFF).to_bytes(2, "big") + bytes(4) + b"ssrc" + b"z" * 160
        room = np.zeros((1, 240), np.uint8)
        room[0, :172] = np.frombuffer(plain, np.uint8)
        sizes = np.array([172], np.int32)
        assert far.protect(np.zeros(1, np.intp), room, sizes).all()
        assert near.unprotect(np.zeros(1, np.intp), room, sizes).all(), "and goes on from there"


@needs_library
def test_a_forger_cannot_make_us_search_for_ever(monkeypatch) -> None:
    from media.wire import srtp

    searched = []
    monkeypatch.setattr(srtp, "_wrapped", lambda key, packet: searched.append(packet))
    key = make_crypto(1, "AES_CM_128_HMAC_SHA1_80", RANDOM)
    near = SrtpTable(1)
    near.set_inbound(0, key, resumed=True)
    for _ in range(100):
        room = np.full((1, 240), 0x80, np.uint8)
        assert not near.unprotect(np.zeros(1, np.intp), room, np.array([182], np.int32)).any()
    assert len(searched) == 16


@needs_library
def test_nothing_leaves_in_the_clear_when_it_cannot_be_protected() -> None:
    table = pair("AEAD_AES_128_GCM")
    batch, lengths = packets(1, width=180)  # no room for the tag
    assert not table.protect(np.array([1]), batch, lengths).any()
    batch, lengths = packets(2, start=5)
    lengths[1] = 4
    assert table.protect(np.array([1, 1]), batch, lengths).tolist() == [True, False]
    table.clear(1)
    table.clear(0)
    assert not table.inbound.any()
    assert not table.outbound.any()
    assert table.snapshot()["inbound"] == 0


@needs_library
@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_garbage_is_refused(octets) -> None:
    table = pair("AES_CM_128_HMAC_SHA1_32")
    batch = np.zeros((1, 256), np.uint8)
    batch[0, : len(octets)] = np.frombuffer(octets, np.uint8)
    for rtcp in (False, True):
        told = table.unprotect(np.array([0]), batch, np.array([len(octets)]), rtcp=rtcp)
        assert not told.any()
    assert table.snapshot()["bad_tags"] + table.snapshot()["broken"] >= 1


@needs_library
def test_dtls_keying_material_serves_both_ends() -> None:
    suite = SUITES["AES_CM_128_HMAC_SHA1_80"]
    material = bytes(range(2 * suite.master_octets))
    ours, theirs = srtp.keys_from_dtls(suite, material, client=True)
    assert (theirs, ours) == srtp.keys_from_dtls(suite, material, client=False)
    assert ours == bytes(range(16)) + bytes(range(32, 46))
    with pytest.raises(SrtpError, match="too few"):
        srtp.keys_from_dtls(suite, material[:-1], client=True)


# --- the attribute ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE}|2^20",
        f"1\tAES_CM_128_HMAC_SHA1_80  INLINE:{INLINE}|1048576 WSH=128 -future=1 ",
    ],
)
def test_what_is_usable_is_parsed(text) -> None:
    attribute = parse_crypto(text)
    assert attribute.tag == 1
    assert attribute.suite.name == "AES_CM_128_HMAC_SHA1_80"
    assert len(attribute.master) == 30
    assert str(attribute) == f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        f"x AES_CM_128_HMAC_SHA1_80 inline:{INLINE}",
        f"٣ AES_CM_128_HMAC_SHA1_80 inline:{INLINE}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE}\n",
        f"1 AES_CM_256_HMAC_SHA1_80 inline:{INLINE}",
        f"1 AES_CM_128_HMAC_SHA1_80 prompt:{INLINE}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE[:-4]}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE[:-1]}*",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:é{INLINE}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE}|2^20|1:4",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE}|1:4",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE};inline:{INLINE}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE} UNENCRYPTED_SRTP",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE} UNAUTHENTICATED_SRTP",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE} KDR=1",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE} " + "-x" * 600,
    ],
)
def test_what_is_not_usable_is_refused(text) -> None:
    with pytest.raises(SrtpError):
        parse_crypto(text)


@given(st.text(max_size=200))
def test_any_text_is_an_attribute_or_an_error(text) -> None:
    for value in (text, "1 AES_CM_128_HMAC_SHA1_80 inline:" + text):
        try:
            parse_crypto(value)
        except SrtpError:
            continue


@given(
    st.sampled_from(list(SUITES)), st.binary(min_size=60, max_size=60), st.integers(0, 999999999)
)
def test_what_is_made_is_parsed(suite, master, tag) -> None:
    made = make_crypto(tag, suite, master)
    assert parse_crypto(str(made)) == made
    assert made.master == master[: SUITES[suite].master_octets]
    assert "inline" not in repr(made)


def test_the_offerer_chooses_among_what_is_allowed() -> None:
    offer = [
        "1 F8_128_HMAC_SHA1_80 inline:abc",
        str(make_crypto(2, "AES_CM_128_HMAC_SHA1_32", RANDOM)),
        str(make_crypto(3, "AEAD_AES_256_GCM", RANDOM)),
    ]
    chosen = choose_crypto(offer)
    assert chosen is not None
    assert chosen.tag == 2
    strict = choose_crypto(offer, ["AEAD_AES_256_GCM"])
    assert strict is not None
    assert strict.tag == 3
    assert choose_crypto(offer[:1]) is None
    assert choose_crypto(offer[:1] * 16 + offer[2:]) is None
    assert choose_crypto(offer[:1] * 15 + offer[2:]) == strict
    for wrong in (
        lambda: make_crypto(1, "NULL", RANDOM),
        lambda: make_crypto(1, "AEAD_AES_128_GCM", b"short"),
    ):
        with pytest.raises(SrtpError):
            wrong()
