"""Digits on their way through a bridge: each side hears them once, in the way that it understands."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from media.dsp import tones
from media.dsp.goertzel import DtmfDetector
from media.protocol import (
    Connect,
    DigitReceived,
    DigitsDue,
    File,
    ReleaseStream,
    SendDigits,
    SetEcho,
    StartPlay,
    StartRecording,
    Tone,
)
from media.wire import telephone_event
from tests.media.party import TYPES, Party, level, needs_opus, talk

EVENTS = 101
WIDE_EVENTS = 102
PLAIN = ["PCMU", "PCMA", "L16", "L16/16000"]
MADE_ANEW = ["G722", pytest.param("opus", marks=needs_opus)]


def speech(rate_hz, seconds=0.5):
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    return np.rint(3000 * np.sin(2 * np.pi * 500 * at)).astype(np.int16)


def said(party, digits, *, shift=0, **lengths):
    """Half a second of a tone, digits, half a second of the tone; `shift` samples off the packets."""
    key = tones.dtmf(digits, rate_hz=party.rate_hz, **lengths)
    party.says = np.concatenate(
        [np.zeros(shift, np.int16), speech(party.rate_hz), key, speech(party.rate_hz)]
    )
    return len(key)


def energy_of_five(sound, rate_hz):
    """(20 ms frames,) how loud each is at the two frequencies of the digit 5."""
    low, high = tones.DTMF_LOW_HZ[1], tones.DTMF_HIGH_HZ[1]
    frames = sound[: len(sound) // (rate_hz // 50) * (rate_hz // 50)].reshape(-1, rate_hz // 50)
    at = np.arange(frames.shape[1]) / rate_hz
    return sum(
        np.abs(frames @ np.exp(-2j * np.pi * hz * at)) * 2 / frames.shape[1] for hz in (low, high)
    )


def digits_in(sound, rate_hz):
    """What a receiver of ours would make of it."""
    detector = DtmfDetector(1)
    narrow = sound[:: rate_hz // 8000].astype(np.int16)
    narrow = narrow[: len(narrow) // 160 * 160].reshape(-1, 160)
    reports = [detector.process(np.zeros(1, np.intp), frame[None]) for frame in narrow]
    return "".join(
        telephone_event.digit_of(event)
        for report in reports
        for event, ended in zip(report.event, report.ended, strict=True)
        if ended
    )


def events_to(party, packets, payload_type):
    """(digit, timestamp, duration, marker) of the event packets that a party was sent."""
    chosen = [p for p in packets if p.remote == party.address and p.payload_type == payload_type]
    found = []
    for packet in chosen:
        event, flags, duration = packet.payload[0], packet.payload[1], packet.payload[2:4]
        digit = telephone_event.digit_of(event)
        ended = bool(flags & 0x80)
        found.append(
            (digit, packet.timestamp, int.from_bytes(duration, "big"), ended, packet.marker)
        )
    return found


@pytest.mark.parametrize("shift", range(0, 160, 27))
@pytest.mark.parametrize("codec", PLAIN)
def test_a_digit_heard_on_a_relayed_call_does_not_go_on(world, make_talker, codec, shift):
    a = Party(world, make_talker, 1, codec, inband_dtmf=True)
    b = Party(world, make_talker, 2, codec, dtmf_payload_type=EVENTS)
    scale = a.rate_hz // 8000
    length = said(a, "5", shift=shift * scale, on_ms=300, off_ms=100)
    world.do(Connect(1, 2))
    sent = talk(world, (a, b), 69)
    assert world.engine.snapshot()["feeds"] == 2, "still relayed"
    assert [report.digit for report in world.events_of(DigitReceived)] == ["5"]
    first_event = next(
        at for at, p in enumerate(sent) if p.remote == b.address and p.payload_type == EVENTS
    )
    heard = b.heard(sent[:first_event])
    key = shift * scale + len(speech(a.rate_hz))
    loud = np.abs(heard[key : key + length * 3 // 4]) > 500
    leaked_ms = 1000 * np.flatnonzero(loud).max(initial=0) / a.rate_hz
    assert leaked_ms < 10, "a part of one block: what nobody can know yet"
    assert digits_in(heard, a.rate_hz) == ""
    before = slice(shift * scale, key // a.frame * a.frame)
    assert np.array_equal(heard[before], as_coded(a)[before]), "speech is untouched"
    assert level(b.heard(sent), 500, b.rate_hz, 0.2) == pytest.approx(3000, rel=0.05)


@pytest.mark.parametrize("ptime_ms", [10, 30, 40, 50, 60])
@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
@pytest.mark.parametrize("shift_ms", [0, 7, 23, 39, 58])
def test_a_digit_does_not_go_on_in_packets_of_any_length(
    world, make_talker, codec, ptime_ms, shift_ms
):
    a = Party(world, make_talker, 1, codec, inband_dtmf=True)
    b = Party(world, make_talker, 2, codec, dtmf_payload_type=EVENTS)
    a.frame = 8 * ptime_ms
    length = said(a, "5", shift=8 * shift_ms, on_ms=70, off_ms=100)
    world.do(Connect(1, 2))
    sent = []
    while a.at < len(a.says):
        a.talker.timestamp += a.frame - 160  # the talker counts packets of 20 ms
        world.io.deliver(2, a.address, a.packet())
        for _ in range(ptime_ms // 10):
            world.engine.poll(world.now_s)
            world.now_s += 0.01
        sent += world.sent()
    world.run(0.3, step_s=0.01)
    assert [report.digit for report in world.events_of(DigitReceived)] == ["5"]
    heard = b.heard(sent)
    key = 8 * shift_ms + len(speech(8000))
    loud = np.flatnonzero(np.abs(heard[key : key + length * 70 // 170]) > 500)
    assert loud.max(initial=0) < 80, "less than 10 ms of it"
    assert digits_in(heard, 8000) == ""
    before = slice(0, (key // a.frame - 1) * a.frame)
    assert np.array_equal(heard[before], as_coded(a)[before]), "speech is untouched"


def test_whoever_says_nothing_like_a_digit_is_not_decoded(world, make_talker):
    a = Party(world, make_talker, 1, "PCMU", inband_dtmf=True)
    b = Party(world, make_talker, 2, "PCMU")
    said(a, "5", on_ms=100, off_ms=100)
    world.do(Connect(1, 2))
    talk(world, (a, b), 20)
    assert world.engine.snapshot()["slots"] == 0
    assert not world.engine.ticking
    talk(world, (a, b), 10)
    assert world.engine.snapshot()["slots"] == 1
    talk(world, (a, b), 45)
    assert [report.digit for report in world.events_of(DigitReceived)] == ["5"]
    assert world.engine.snapshot()["slots"] == 0, "a moment later nobody listens any more"


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_digits_are_heard_through_jitter_and_reordering(world, make_talker, recorded, seed):
    rng = np.random.default_rng(seed)
    a = Party(world, make_talker, 1, "PCMA", inband_dtmf=True)
    said(a, "2580", on_ms=100, off_ms=100)
    Party(world, make_talker, 2, "PCMA")
    world.do(Connect(1, 2))
    if recorded:
        world.do(StartRecording(5, 1, 2, "5.wav"))
    packets = [a.packet() for _ in range(len(a.says) // a.frame)]
    due = 0.02 * np.arange(len(packets)) + rng.uniform(0, 0.04, len(packets))
    start_s = world.now_s
    for place in np.argsort(due).tolist():
        while world.now_s < start_s + due[place]:
            world.engine.poll(world.now_s)
            world.now_s += 0.002
        world.io.deliver(2, a.address, packets[place])
        world.engine.poll(world.now_s)
    world.run(0.3, step_s=0.01)
    assert [report.digit for report in world.events_of(DigitReceived)] == ["2", "5", "8", "0"]


def test_a_keypress_of_events_is_not_taken_for_sound(world, make_talker):
    a = Party(world, make_talker, 1, "PCMU", inband_dtmf=True, dtmf_payload_type=EVENTS)
    b = Party(world, make_talker, 2, "PCMU", dtmf_payload_type=EVENTS)
    a.tone((500, 3000))
    world.do(Connect(1, 2))
    talk(world, (a, b), 10)
    press(world, a, EVENTS, "7")
    assert [digit for digit, *_ in events_to(b, world.sent(), EVENTS)] == ["7"] * 8
    assert [report.digit for report in world.events_of(DigitReceived)] == ["7"]
    assert world.engine.snapshot()["slots"] == 0


def as_coded(party):
    """What a party says, as it comes out of its codec."""
    samples = party.says[: len(party.says) // party.frame * party.frame].reshape(-1, party.frame)
    rows = np.zeros(1, np.intp)
    out = []
    for frame in samples:
        payload, sizes = party.encoder.encode(rows, frame[None])
        out.append(party.decoder.decode(rows, payload, sizes, party.frame)[0])
    return np.concatenate(out).astype(float)


@pytest.mark.parametrize("codec", MADE_ANEW)
def test_where_packets_cannot_be_silenced_the_call_is_made_anew(world, make_talker, codec):
    a = Party(world, make_talker, 1, codec, inband_dtmf=True)
    b = Party(world, make_talker, 2, codec, dtmf_payload_type=WIDE_EVENTS)
    said(a, "5", on_ms=300, off_ms=100)
    world.do(Connect(1, 2))
    sent = talk(world, (a, b), 70)
    assert world.engine.snapshot()["feeds"] == 0
    assert [report.digit for report in world.events_of(DigitReceived)] == ["5"]
    heard = b.heard(sent)
    assert digits_in(heard, b.rate_hz) == ""
    assert (energy_of_five(heard, b.rate_hz) > 2000).sum() <= 2
    assert level(heard, 500, b.rate_hz, 0.2) == pytest.approx(3000, rel=0.3)
    world.configure(1, a.address, codec=codec, payload_type=TYPES[codec])
    talk(world, (a, b), 5)
    assert world.engine.snapshot()["feeds"] == 2, "nobody listens any more: relayed"
    assert world.engine.snapshot()["slots"] == 0


def test_speech_that_is_listened_to_is_relayed_octet_by_octet(world, make_talker):
    a = Party(world, make_talker, 1, "PCMU", inband_dtmf=True)
    b = Party(world, make_talker, 2, "PCMU")
    rng = np.random.default_rng(3)
    a.says = (rng.normal(0, 3000, 16_000)).astype(np.int16)
    world.do(Connect(1, 2))
    sent = talk(world, (a, b), 100)
    heard = b.heard(sent)
    assert np.array_equal(heard, as_coded(a))


def test_a_relay_of_digits_goes_on_after_a_hush_that_ends_with_the_bridge(world, make_talker):
    a = Party(world, make_talker, 1, "PCMU", inband_dtmf=True)
    b = Party(world, make_talker, 2, "PCMU")
    a.says = tones.dtmf("5", on_ms=2000, off_ms=0)
    world.do(Connect(1, 2))
    talk(world, (a, b), 20)
    world.configure(1, a.address)  # telephone events were agreed on: nobody listens any more
    sent = talk(world, (a, b), 20)
    assert np.abs(b.heard(sent)).max() > 3000
    for number in (1, 2):
        world.do(ReleaseStream(number))
    snapshot = world.engine.snapshot()
    assert snapshot["slots"] == snapshot["feeds"] == 0


def test_an_echo_gives_no_digits_back(world, make_talker):
    a = Party(world, make_talker, 1, "PCMU", inband_dtmf=True)
    said(a, "5", on_ms=300, off_ms=100)
    world.do(SetEcho(1, True))
    assert digits_in(a.heard(talk(world, (a,), 80)), 8000) == ""


# --- in the way that the other side understands --------------------------------------------------


def test_digits_of_sound_become_events_for_the_other_side(world, make_talker):
    a = Party(world, make_talker, 1, "PCMU", inband_dtmf=True)
    b = Party(world, make_talker, 2, "PCMU", dtmf_payload_type=EVENTS)
    said(a, "159#")
    world.do(Connect(1, 2))
    sent = talk(world, (a, b), 150)
    ended = [digit for digit, _, _, over, _ in events_to(b, sent, EVENTS) if over]
    assert "".join(ended[::3]) == "159#"
    assert len(ended) == 12
    assert digits_in(b.heard(sent), 8000) == ""


def press(world, party, payload_type, digit, *, ticks=6, step=160):
    """A party sends one digit as telephone events, 20 ms apart, its end three times."""
    talker, start = party.talker, party.talker.timestamp
    event = telephone_event.event_of(digit)
    lengths = [step * (number + 1) for number in range(ticks)] + [step * ticks] * 2
    for number, length in enumerate(lengths):
        talker.timestamp = start
        payload = bytes([event, 0x80 * (number >= ticks - 1) | 10]) + length.to_bytes(2, "big")
        world.io.deliver(
            2 * party.number, party.address, talker.packet(payload, payload_type=payload_type)
        )
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    talker.timestamp = start + step * len(lengths)


def test_events_become_sound_for_one_who_knows_none(world, make_talker):
    a = Party(world, make_talker, 1, "PCMU", dtmf_payload_type=EVENTS).tone((500, 3000))
    b = Party(world, make_talker, 2, "PCMU").tone((500, 3000))
    world.do(Connect(1, 2))
    talk(world, (a, b), 20)
    for digit in "42*":
        press(world, a, EVENTS, digit)
    sent = world.sent() + talk(world, (a, b), 60)
    assert [report.digit for report in world.events_of(DigitReceived)] == ["4", "2", "*"]
    assert digits_in(b.heard(sent), 8000) == "42*"
    numbers = [packet.sequence for packet in sent if packet.remote == b.address]
    assert {(later - first) & 0xFFFF for first, later in itertools.pairwise(numbers)} == {1}
    assert world.engine.snapshot()["feeds"] == 2


@needs_opus
@pytest.mark.parametrize("wide_first", [True, False])
def test_events_at_8_and_at_48_kilohertz_are_translated(world, make_talker, wide_first):
    """RFC 7587 4.1: the RTP clock of Opus is 48,000, and that of the events beside it too."""
    opus = Party(world, make_talker, 1, "opus", dtmf_payload_type=WIDE_EVENTS)
    narrow = Party(world, make_talker, 2, "PCMU", dtmf_payload_type=EVENTS)
    a, b = (opus, narrow) if wide_first else (narrow, opus)
    step, steps = (960, 160) if wide_first else (160, 960)
    from_type, to_type = (WIDE_EVENTS, EVENTS) if wide_first else (EVENTS, WIDE_EVENTS)
    for party in (a, b):
        party.tone((500, 3000), seconds=4)
    world.do(Connect(1, 2))
    talk(world, (a, b), 20)
    before = world.now_s
    press(world, a, from_type, "7", step=step)
    sent = world.sent() + talk(world, (a, b), 60)
    (report,) = world.events_of(DigitReceived)
    assert (report.digit, report.duration_ms) == ("7", 120)
    events = events_to(b, sent, to_type)
    assert {digit for digit, *_ in events} == {"7"}
    assert len({timestamp for _, timestamp, *_ in events}) == 1
    assert [duration for _, _, duration, *_ in events] == [
        *(steps * n for n in range(1, 6)),
        5 * steps,
        5 * steps,
    ], "100 ms in the clock of the one who hears it"
    assert [marker for *_, marker in events] == [True] + [False] * 6
    # The audio afterwards goes on where the clock stands: no jump, nothing used twice.
    audio = [p for p in sent if p.remote == b.address and p.payload_type == TYPES[b.codec]]
    elapsed = (audio[-1].timestamp - events[0][1]) & 0xFFFFFFFF
    last_s = world.now_s - before
    assert 0.5 < elapsed / (50 * steps) < last_s
    sequences = [p.sequence for p in sent if p.remote == b.address]
    assert sequences == [(sequences[0] + n) & 0xFFFF for n in range(len(sequences))]


@needs_opus
def test_events_between_two_opus_parties_are_relayed_as_they_are(world, make_talker):
    a = Party(world, make_talker, 1, "opus", dtmf_payload_type=WIDE_EVENTS).tone((500, 3000))
    b = Party(world, make_talker, 2, "opus", dtmf_payload_type=99).tone((500, 3000))
    world.do(Connect(1, 2))
    talk(world, (a, b), 10)
    press(world, a, WIDE_EVENTS, "9", step=960)
    events = events_to(b, world.sent(), 99)
    assert [duration for _, _, duration, *_ in events] == [960 * n for n in range(1, 7)] + [
        5760,
        5760,
    ]
    assert [report.duration_ms for report in world.events_of(DigitReceived)] == [120]


@needs_opus
def test_digits_are_sent_to_an_opus_party_in_its_clock(world, make_talker):
    a = Party(world, make_talker, 1, "opus", dtmf_payload_type=WIDE_EVENTS)
    talk(world, (a,), 5)
    world.do(SendDigits(1, "31"))
    events = events_to(a, talk(world, (a,), 40), WIDE_EVENTS)
    assert "".join(digit for digit, _, _, over, _ in events if over)[::3] == "31"
    assert max(duration for _, _, duration, *_ in events) == 4800
    first, second = sorted({timestamp for _, timestamp, *_ in events})
    assert second - first >= 9600, "100 ms of sound and 100 ms of pause"


def test_who_hears_music_is_not_disturbed_by_digits(world, make_talker, tmp_path):
    a = Party(world, make_talker, 1, "PCMU", dtmf_payload_type=EVENTS)
    b = Party(world, make_talker, 2, "PCMU")
    path = tmp_path / "music.wav"
    import soundfile

    soundfile.write(path, speech(8000, 4), 8000, subtype="PCM_16")
    world.do(Connect(1, 2))
    talk(world, (a, b), 5)
    world.do(StartPlay(2, 1, File(str(path)), repeat=True))
    press(world, a, EVENTS, "1")
    assert digits_in(b.heard(world.sent() + talk(world, (a, b), 40)), 8000) == ""


@pytest.mark.parametrize("pressed", ["events", "sound"])
def test_digits_for_a_peer_that_is_told_by_info_are_handed_to_signalling(
    world, make_talker, pressed
):
    by_sound = pressed == "sound"
    events = {"inband_dtmf": True} if by_sound else {"dtmf_payload_type": EVENTS}
    a = Party(world, make_talker, 1, "PCMU", **events)
    b = Party(world, make_talker, 2, "PCMU", dtmf_by_info=True)
    if by_sound:
        said(a, "8", on_ms=100, off_ms=100)
    else:
        a.tone((500, 3000))
    world.do(Connect(1, 2))
    sent = talk(world, (a, b), 20)
    if not by_sound:
        press(world, a, EVENTS, "8")
    sent += world.sent() + talk(world, (a, b), 50)
    assert world.events_of(DigitsDue) == [DigitsDue(2, "8")]
    assert digits_in(b.heard(sent), 8000) == ""
    assert {p.payload_type for p in sent if p.remote == b.address} == {0}
    world.do(SendDigits(2, "1,2"))
    assert world.events_of(DigitsDue)[1:] == [DigitsDue(2, "1,2")]


def event_of(talker, event, duration, timestamp, *, end=False):
    """A packet of a telephone event at the sequence number that is due."""
    packet = talker.packet(telephone_event_payload(event, duration, end), payload_type=101)
    talker.timestamp -= 160
    return packet[:4] + (timestamp & 0xFFFFFFFF).to_bytes(4, "big") + packet[8:]


def telephone_event_payload(event, duration, end):
    return bytes([event, (0x80 if end else 0) | 10]) + duration.to_bytes(2, "big")


def test_what_follows_a_relayed_digit_begins_where_the_digit_ended(world, make_talker):
    """Its packets all bear the time of its beginning: a prompt after it began a second in the past."""
    world.open(1, ("10.0.0.1", 4000), dtmf_payload_type=101)
    world.open(2, ("10.0.0.2", 4000), port_id=2, dtmf_payload_type=101)
    world.do(Connect(1, 2))
    talker = make_talker(("10.0.0.1", 4000), ssrc=1)
    world.run(0.2, talker)
    begun = talker.timestamp
    for number in range(1, 51):
        world.io.deliver(0, talker.address, event_of(talker, 5, 160 * number, begun))
        world.run(0.02)
    world.io.deliver(0, talker.address, event_of(talker, 5, 8000, begun, end=True))
    world.run(0.005, step_s=0.005)
    *_, last = world.sent()
    world.do(StartPlay(2, 1, Tone("dial", "us")))
    world.run(0.1)
    first = world.sent()[0]
    assert (last.payload_type, first.payload_type) == (101, 0)
    assert (first.sequence - last.sequence) & 0xFFFF == 1
    assert (first.timestamp - last.timestamp) & 0xFFFFFFFF == 8000
    assert world.engine.stats(1).jitter_ms < 1.0  # nor is it jitter that their time stands still


def test_numbers_never_go_back_when_a_digit_and_the_sound_after_it_come_together(
    world, make_talker
):
    """The digit ends the relay that the sound takes: what follows it goes on from there."""
    world.open(1, ("10.0.0.1", 4000), dtmf_payload_type=101)
    world.open(2, ("10.0.0.2", 4000), port_id=2)  # who knows no events hears it as sound
    world.do(Connect(1, 2))
    talker = make_talker(("10.0.0.1", 4000), ssrc=1)
    world.run(0.2, talker)
    begun = talker.timestamp
    for number in range(1, 6):
        world.io.deliver(0, talker.address, event_of(talker, 5, 160 * number, begun))
        world.run(0.02)
    for _ in range(3):
        world.io.deliver(0, talker.address, event_of(talker, 5, 800, begun, end=True))
    talker.timestamp = begun + 800
    world.run(0.6, talker)
    packets = [packet for packet in world.sent() if packet.remote == ("10.0.0.2", 4000)]
    assert [event.digit for event in world.events_of(DigitReceived)] == ["5"]
    steps = [
        ((b.sequence - a.sequence) & 0xFFFF, (b.timestamp - a.timestamp) & 0xFFFFFFFF)
        for a, b in itertools.pairwise(packets)
    ]
    assert {sequence for sequence, _ in steps} == {1}, "what was kept from it is no loss"
    assert all(0 < timestamp < 2000 for _, timestamp in steps), steps


def mixed(talker, rng, count, event_share):
    """Packets of speech and of presses, as they are sent: (packet, whether it is speech)."""
    packets = []
    while len(packets) < count:
        if rng.random() < event_share:
            begun = talker.timestamp
            lengths = [160 * number for number in range(1, rng.randint(2, 5))]
            packets += [(event_of(talker, 5, length, begun), False) for length in lengths]
            end = [(event_of(talker, 5, lengths[-1], begun, end=True), False) for _ in range(3)]
            packets += end
            talker.timestamp = begun + lengths[-1]
        else:
            packets.append((talker.packet(), True))
    return packets


@pytest.mark.parametrize("seed", range(10))
def test_what_is_kept_from_a_peer_leaves_no_gap_in_its_numbers(world, make_talker, seed):
    """Who knows no telephone events, and is told of digits by INFO, would count their packets as lost (RFC 3550
    A.3), and conceal them. However they come: one by one, or many in one batch; and by a number that wraps."""
    rng = random.Random(seed)
    world.open(1, ("10.0.0.1", 4000), dtmf_payload_type=101)
    world.open(2, ("10.0.0.2", 4000), port_id=2, dtmf_by_info=True)
    world.do(Connect(1, 2))
    talker = make_talker(("10.0.0.1", 4000), ssrc=1, sequence=65_500)
    packets = mixed(talker, rng, 120, 0.2)
    waiting = list(packets)
    while waiting:
        for packet, _ in waiting[: (burst := rng.choice([1, 1, 2, 7]))]:
            world.io.deliver(0, talker.address, packet)
        del waiting[:burst]
        world.engine.poll(world.now_s)
        world.now_s += 0.02 * burst
    heard = [packet for packet in world.sent() if packet.remote == ("10.0.0.2", 4000)]
    speech = [packet for packet, is_speech in packets if is_speech]
    assert [packet.payload for packet in heard] == [packet[12:] for packet in speech]
    steps = {(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(heard)}
    assert steps == {1}
    sent_at = [int.from_bytes(packet[4:8], "big") for packet in speech]
    offsets = {(p.timestamp - at) & 0xFFFFFFFF for p, at in zip(heard, sent_at, strict=True)}
    assert len(offsets) == 1, "the time of the speaker stays"


@pytest.mark.parametrize("seed", range(10))
def test_sound_that_comes_in_time_never_finds_its_number_taken(world, make_talker, seed):
    """Though packets of digits before it were late or lost: only what is later than one of them may be taken
    for a duplicate, and one that swaps places with the first of them is not."""
    rng = random.Random(seed)
    world.open(1, ("10.0.0.1", 4000), dtmf_payload_type=101)
    world.open(2, ("10.0.0.2", 4000), port_id=2, dtmf_by_info=True)
    world.do(Connect(1, 2))
    talker = make_talker(("10.0.0.1", 4000), ssrc=1)
    packets = mixed(talker, rng, 120, 0.2)
    late = {
        at
        for at, (_, speech) in enumerate(packets[:-1])
        if not speech and rng.random() < 0.2  # behind the next, whatever that is
    }
    swapped = {at for at in range(len(packets) - 1) if packets[at][1] and not packets[at + 1][1]}
    order = [at + (1.5 if at in late | swapped else 0.0) for at in range(len(packets))]
    arriving = [packets[at] for at in sorted(range(len(packets)), key=order.__getitem__)]
    arriving = [each for each in arriving if each[1] or rng.random() > 0.1]
    for packet, _ in arriving:
        world.io.deliver(0, talker.address, packet)
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    heard = [packet for packet in world.sent() if packet.remote == ("10.0.0.2", 4000)]
    assert [p.payload for p in heard] == [packet[12:] for packet, speech in arriving if speech]
    assert len({packet.sequence for packet in heard}) == len(heard)
