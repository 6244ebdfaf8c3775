"""The lab's pure parts: distributions, arrivals, histograms, signatures, notes, verdicts."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest

from media.dsp import g711
from softswitch.errors import ConfigError
from softswitch.load import signature, stamp
from softswitch.load.arrivals import Arrivals
from softswitch.load.codecs import StatefulCodec, available
from softswitch.load.distribution import Distribution
from softswitch.load.faults import parse_faults
from softswitch.load.histogram import Histogram
from softswitch.load.streams import Arrived, StreamBook, StreamFacts, rounds
from softswitch.load.verdict import (
    Limits,
    callee_identity,
    caller_identity,
    judge_call,
    judge_stream,
    swapped,
)


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_within_three_per_cent(seed: int) -> None:
    values = np.random.default_rng(seed).lognormal(9, 2, 5000).astype(int)
    one, many = Histogram(), Histogram()
    for value in values[:2500].tolist():
        one.add(value)
    many.add_many(values[2500:])
    one.merge(Histogram.from_dict(many.as_dict()))
    assert one.count == 5000
    assert one.mean == values.mean()
    for percent in (1, 50, 90, 99, 99.9):
        rank = math.ceil(5000 * percent / 100 - 1e-6)
        exact = float(np.sort(values)[rank - 1])
        assert one.percentile(percent) == pytest.approx(exact, rel=0.035, abs=1)
    assert Histogram().percentile(99) == 0


@pytest.mark.parametrize(
    ("text", "mean"),
    [("30", 30), ("exp:20", 20), ("uniform:5-10", 7.5), ("normal:60,5", 60), ("erlang:20,3", 20)],
)
def test_distributions_have_their_mean_and_say_themselves(text: str, mean: float) -> None:
    found = Distribution.parse(text)
    rng = random.Random(7)
    drawn = [found.draw(rng) for _ in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(mean, rel=0.03)
    assert found.mean_s == mean
    assert Distribution.parse(str(found)) == found


@pytest.mark.parametrize("text", ["", "-3", "uniform:9-3", "exp", "90000", "1e9", "nan"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="hold"):
        Distribution.parse(text, "hold")


def test_arrivals_of_several_processes_are_those_of_one() -> None:
    for poisson in (False, True):
        whole = list(Arrivals(50, 200, poisson=poisson, seed=3).times())
        parts = [
            list(Arrivals(50, 200, poisson=poisson, seed=3, index=i, processes=3).times())
            for i in range(3)
        ]
        assert sorted(itertools.chain(*parts)) == whole
        assert [number for number, _ in whole] == list(range(200))


def test_a_ramp_reaches_the_rate_and_half_as_many_on_the_way() -> None:
    times = [at for _, at in Arrivals(100, duration_s=20, ramp_s=10).times()]
    assert sum(at < 10 for at in times) == pytest.approx(500, abs=1)
    assert sum(10 <= at < 11 for at in times) == pytest.approx(100, abs=1)
    assert len(list(Arrivals(100, calls=7).times())) == 7


@pytest.mark.parametrize("delay_us", [0, 2500, 40_000, 123_456, 900_000])
@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_who_speaks_and_how_long_ago_is_heard(delay_us: int, codec: str) -> None:
    heard_at_us = 987_654_321_000
    said_us = heard_at_us - delay_us
    pcm = signature.audio(77, said_us // signature.FRAME_US, 80)
    skip = said_us % signature.FRAME_US * 8 // 1000
    pcm = pcm[skip : skip + 10_240]
    if codec == "PCMU":
        pcm = g711.decode_ulaw(g711.encode_ulaw(pcm))
    else:
        pcm = g711.decode_alaw(g711.encode_alaw(pcm))
    share, _ = signature.spectrogram(pcm[None])
    first_us = np.array([heard_at_us])
    score, delay = signature.align(share, signature.hops([77]), first_us, 1_000_000)
    assert score[0] > 0.85
    assert delay[0] == pytest.approx(delay_us, abs=3000)
    other, _ = signature.align(share, signature.hops([78]), first_us, 1_000_000)
    assert other[0] < 0.3
    (found,) = signature.Directory(range(1, 500)).who(share[0])
    assert found.identity == 77
    assert signature.delay_us(heard_at_us, found.said_us) == pytest.approx(delay_us, abs=5000)


@pytest.mark.parametrize("name", ["G722", "OPUS"])
@pytest.mark.parametrize("gain", [1.0, 0.2])
def test_a_signature_survives_other_codecs_and_gain(name: str, gain: float) -> None:
    if not available(name):
        pytest.skip("pip install opuslib-next-bundled")
    codec, slots = StatefulCodec(name, 3), np.array([0, 2])
    identities, first_frame = [11, 12], 4_000_000
    table = signature.hops(identities)
    heard = []
    for frame in range(first_frame, first_frame + 90):
        tones = table[:, frame // 2 % signature.PERIOD_SYMBOLS].astype(int)
        payloads, octets = codec.encode(slots, tones)
        heard.append(codec.decode(slots, payloads, octets))
    pcm = (np.concatenate(heard, axis=1)[:, 3200:] * gain).astype(np.int16)
    share, _ = signature.spectrogram(pcm)
    first_us = np.full(2, (first_frame + 20) * signature.FRAME_US)
    scores, delays = signature.align(share, table, first_us, 500_000)
    assert (scores > signature.SCORE_ALONE).all(), scores
    assert (np.abs(delays) < 20_000).all(), delays
    (found,) = signature.Directory(range(1, 200)).who(share[0])
    assert found.identity == 11


@pytest.mark.parametrize("side", [0, 1])
def test_packets_of_callers_alone_and_of_callees_alone_come_as_evenly_as_they_can(
    side: int,
) -> None:
    callers = [caller_identity(call) for call in range(1000)]
    identities = [callee_identity(caller) if side else caller for caller in callers]
    together = Counter(signature.phase(identity) for identity in identities)
    assert together == dict.fromkeys(range(signature.PHASES), 1000 // signature.PHASES)


def test_three_who_speak_at_once_are_told_apart_and_noise_is_nobody() -> None:
    parts = [
        signature.audio(who, 5000, 130)[skip : skip + 20_480]
        for who, skip in ((5, 0), (6, 37), (9, 80))
    ]
    mixed = np.clip(np.sum(parts, axis=0, dtype=np.int64), -32_768, 32_767).astype(np.int16)
    directory = signature.Directory(range(1, 300))
    share, _ = signature.spectrogram(mixed[None])
    assert {heard.identity for heard in directory.who(share[0], signature.SCORE_MIXED)} == {5, 6, 9}
    noise = np.random.default_rng(1).normal(0, 3000, 20_480).astype(np.int16)
    share, level = signature.spectrogram(np.stack([noise, np.zeros_like(noise)]))
    assert not directory.who(share[0], signature.SCORE_MIXED)
    assert level[1].max() == 0


def test_notes_pass_a_transparent_path_and_no_other() -> None:
    payload = signature.coded_frames("PCMU")[[0, 5, 9]].copy()
    before = g711.decode_ulaw(payload)
    stamp.write(payload, np.array([1, 2, 3]), np.array([7, 8, 2**32 + 9]), 123_456, run=42)
    after = g711.decode_ulaw(payload)
    assert np.abs(after.astype(int) - before).max() <= 512  # one step of the quantiser
    found = stamp.read(payload, 42)
    assert found.ok.all()
    assert found.identity.tolist() == [1, 2, 3]
    assert found.frame.tolist() == [7, 8, 9]
    assert not stamp.read(payload, 43).ok.any()
    assert not stamp.read(g711.ulaw_to_alaw(payload), 42).ok.any()


def packets(slots: list[int], numbers: list[int], at_us: list[int], **more: object) -> Arrived:
    count = len(slots)
    none = np.zeros(count, np.uint32)
    return Arrived(
        slots=np.array(slots),
        sequence=np.array(numbers, np.int64).astype(np.uint16),
        timestamp=(np.array(numbers, np.int64) * 160).astype(np.uint32),
        ssrc=none,
        at_us=np.array(at_us, np.int64),
        stamped=np.asarray(more.get("stamped", np.zeros(count, bool))),
        identity=np.asarray(more.get("identity", none), np.uint32),
        frame=np.asarray(more.get("frame", none), np.uint32),
        said_us=np.asarray(more.get("said_us", none), np.uint32),
    )


def test_loss_order_and_duplicates_are_counted_as_they_were_made() -> None:
    rng = random.Random(5)
    book = StreamBook(4)
    book.reset(2, 10, 11)
    sent = list(range(65_000, 65_000 + 1500))  # over the wrap of the sequence number
    lost = set(rng.sample(sent[1:-1], 60))
    came = [number for number in sent if number not in lost]
    doubled = rng.sample(came[10:-10], 20)
    for number in doubled:
        came.insert(came.index(number) + rng.randint(1, 5), number)
    late = 0
    for _ in range(15):
        place = rng.randrange(100, len(came) - 100)
        if (
            came[place] < came[place + 1]
            and came.count(came[place]) + came.count(came[place + 1]) == 2
        ):
            came[place], came[place + 1] = came[place + 1], came[place]
            late += 1
    for step, number in enumerate(came):
        book.take(packets([2], [number], [step * 20_000]))
    facts = StreamFacts(**book.facts(2))  # type: ignore[arg-type]
    assert (facts.lost, facts.duplicates, facts.reordered) == (60, 20, late)
    assert facts.loss == pytest.approx(60 / 1500)


def test_jitter_and_gaps_are_those_of_the_arrivals() -> None:
    book = StreamBook(2)
    book.reset(0, 1, 0)
    at = 0
    for number in range(400):
        at = number * 20_000 + (10_000 if number % 2 else 0) + (300_000 if number >= 300 else 0)
        book.take(packets([0], [number], [at]))
    facts = StreamFacts(**book.facts(0))  # type: ignore[arg-type]
    assert facts.jitter_ms == pytest.approx(10, abs=1)
    assert facts.gap_ms_max == pytest.approx(330, abs=20)


def test_loss_that_a_b2bua_hides_is_seen_in_the_notes() -> None:
    book = StreamBook(1)
    book.reset(0, 2, 3)
    for number in range(100):
        frame = 1000 + number + (5 if number >= 50 else 0)
        delays = book.take(
            packets(
                [0],
                [number],
                [number * 20_000 + 7000],
                stamped=np.array([True]),
                identity=[3],
                frame=[frame],
                said_us=[number * 20_000],
            )
        )
        assert delays.tolist() == [7000]
    facts = StreamFacts(**book.facts(0))  # type: ignore[arg-type]
    assert facts.lost == 5
    assert facts.expected == 100
    assert facts.delay_ms == pytest.approx(7.0)


def test_no_stream_is_twice_in_a_round_and_order_is_kept() -> None:
    slots = np.array([3, 1, 3, 2, 3, 1])
    made = rounds(slots)
    assert sorted(np.concatenate(made).tolist()) == list(range(6))
    for part in made:
        assert len(set(slots[part].tolist())) == len(part)
    assert [[r for r in part.tolist() if slots[r] == 3] for part in made] == [[0], [2], [4]]


GOOD = StreamFacts(
    2, 3, sent=500, received=500, stamped=500, expected=500, delay_ms=1.0, codec="PCMU"
)


def codes(*facts: StreamFacts | None, **options: bool) -> set[str]:
    caller, callee = facts
    assert caller is not None
    return {f.code for f in judge_call(caller, callee, Limits(), talk_s=10.0, **options)}


def changed(**values: object) -> StreamFacts:
    return StreamFacts(**{**{k: getattr(GOOD, k) for k in StreamFacts.__slots__}, **values})  # type: ignore[arg-type]


def test_each_fault_of_a_call_has_its_name() -> None:
    deaf = changed(received=0, stamped=0, expected=0, delay_ms=None)
    assert codes(GOOD, GOOD) == set()
    assert codes(GOOD, deaf) == {"one-way audio"}
    assert codes(deaf, GOOD) == {"one-way audio"}
    assert codes(deaf, deaf) == {"no audio"}
    assert codes(deaf, None) == {"one-way audio"}
    assert codes(changed(expected=0, other=500, others=(9,)), GOOD) == {"wrong party"}
    looped = changed(expected=0, own=500)
    assert codes(looped, looped) == {"swapped channels"}
    assert codes(looped, GOOD) == {"own voice"}
    assert codes(looped, None, own_allowed=True) == set()
    assert codes(changed(lost=12, received=488), GOOD) == {"loss"}
    assert codes(changed(delay_ms=41.0), GOOD) == {"delay"}
    assert codes(changed(jitter_ms=35.0), GOOD) == {"jitter"}
    assert codes(changed(gap_ms_max=400.0), GOOD) == {"gaps"}
    assert codes(changed(clipped=0.2), GOOD) == {"clipping"}
    assert codes(changed(duplicates=40), GOOD) == {"duplicates"}
    mute = changed(stamped=0, expected=0, listened=4, silent=4)
    assert codes(mute, GOOD) == {"silence"}
    assert codes(changed(stamped=0, expected=0, listened=4, unknown=4), GOOD) == {"unknown sound"}


def test_parties_that_were_exchanged_are_found_in_pairs() -> None:
    assert swapped([(3, 5), (5, 3), (9, 11), (7, 3)]) == [(3, 5)]


def test_few_packets_are_no_reason_to_judge() -> None:
    assert judge_stream(changed(received=9, delay_ms=500.0), Limits()) == []


def test_faults_are_read_and_mistakes_named() -> None:
    found = parse_faults(["up:loss=2%,delay=40ms", "both:bandwidth=64kbit", "rebind=20s"])
    assert (found.up.loss, found.up.delay_s, found.down.bandwidth_bps) == (0.02, 0.04, 64_000)
    assert found.down.loss == 0
    assert (found.rebind_s, found.rebind_sip_s) == (20, 0)
    assert parse_faults(["rebind-sip=5s"]).rebind_sip_s == 5
    for text in ("sideways:loss=1%", "up:lost=1%", "up:loss=x", "up:loss=200%", "up"):
        with pytest.raises(ConfigError, match="fault"):
            parse_faults([text])
