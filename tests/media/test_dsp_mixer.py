"""The mixer against the definition, party by party."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.dsp.mixer import KNEE, MixPlan, soft_clip

RNG = np.random.default_rng(7)


def voices(parties: int, peak: int = 3000, samples: int = 160) -> np.ndarray:
    return RNG.integers(-peak, peak, (parties, samples)).astype(np.int16)


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=12))
@settings(deadline=None)
def test_everybody_hears_the_sum_of_the_others(bridge) -> None:
    said = voices(len(bridge), peak=2000)
    heard = MixPlan(bridge).mix(said)
    assert heard.dtype == np.int16
    for party, number in enumerate(bridge):
        others = [p for p, n in enumerate(bridge) if n == number and p != party and n >= 0]
        assert (heard[party] == said[others].astype(int).sum(axis=0)).all()


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_gain_mute_deaf_and_edges_against_a_matrix(data) -> None:
    parties = data.draw(st.integers(2, 8))
    some = st.lists(st.booleans(), min_size=parties, max_size=parties)
    bridge = data.draw(st.lists(st.integers(0, 2), min_size=parties, max_size=parties))
    gain = data.draw(
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]), min_size=parties, max_size=parties)
    )
    muted, deaf = data.draw(some), data.draw(some)
    edge = st.tuples(
        st.integers(0, parties - 1), st.integers(0, parties - 1), st.sampled_from([-1.0, 0.5, 1.0])
    )
    edges = data.draw(st.lists(edge, max_size=4))
    matrix = np.zeros((parties, parties))
    for a in range(parties):
        for b in range(parties):
            if a != b and bridge[a] == bridge[b] and not muted[b] and not deaf[a]:
                matrix[a, b] = gain[b]
    for listener, talker, weight in edges:
        matrix[listener, talker] += weight
    said = voices(parties, peak=1000)
    heard = MixPlan(bridge, gain=gain, muted=muted, deaf=deaf, edges=edges).mix(said)
    # Each weighted voice and each edge is rounded once.
    assert np.abs(heard - matrix @ said).max() <= 0.5 * (parties + len(edges))
    # Two halves are a whole weight, but each was rounded.
    if not any(weight % 1 for weight in [*gain, *(weight for _, _, weight in edges)]):
        assert (heard == (matrix @ said).astype(int)).all()


@pytest.mark.parametrize("talkers", [16, 17, 400])
def test_a_supervisor_of_many_loud_talkers_hears_no_wrap(talkers) -> None:
    said = np.full((talkers + 1, 160), 32_767, np.int16)
    said[-1] = 0
    plan = MixPlan([-1] * (talkers + 1), edges=[(talkers, each, 1.0) for each in range(talkers)])
    assert plan.mix(said)[talkers].min() > 32_000


def test_who_listens_by_edges_hears_what_they_say() -> None:
    agent, customer, supervisor = range(3)
    said = voices(3)
    listen = [(agent, customer, 1.0), (customer, agent, 1.0)]
    listen += [(supervisor, agent, 1.0), (supervisor, customer, 1.0)]
    heard = MixPlan([-1] * 3, edges=listen).mix(said)
    assert (heard[agent] == said[customer]).all()
    assert (heard[supervisor] == said[agent] + said[customer]).all()
    whisper = MixPlan([0, 0, 0], muted=[0, 0, 1], edges=[(agent, supervisor, 1.0)]).mix(said)
    assert (whisper[customer] == said[agent]).all()
    assert (whisper[agent] == said[customer] + said[supervisor]).all()
    assert (whisper[supervisor] == said[agent] + said[customer]).all()
    themselves = [(each, each, 1.0) for each in range(3)]
    assert (MixPlan([-1] * 3, edges=themselves).mix(said) == said).all()


def test_a_conference_of_three_hundred_and_five_hundred_pairs() -> None:
    said = voices(1300, peak=100)
    bridge = np.r_[np.full(300, 9999), np.repeat(np.arange(500), 2)]
    order = RNG.permutation(1300)
    heard = MixPlan(bridge[order]).mix(said[order])
    back = np.empty_like(heard)
    back[order] = heard
    assert (back[:300] == said[:300].astype(int).sum(axis=0) - said[:300]).all()
    pairs = said[300:].reshape(500, 2, 160)
    assert (back[300:].reshape(500, 2, 160) == pairs[:, ::-1]).all()


def test_loud_sums_bend_and_do_not_wrap() -> None:
    said = np.full((4, 160), 32767, np.int16)
    said[3] = -32768
    heard = MixPlan(np.zeros(4)).mix(said).astype(int)
    assert (heard[3] > 32000).all()
    assert (heard[0] > KNEE).all()
    assert (heard[0] < 32767).all()
    # Two parties only swap: full scale goes through as it is.
    pair = MixPlan([0, 0]).mix(said[2:])
    assert (pair == said[2:][::-1]).all()


def test_soft_clip_is_odd_monotonic_and_exact_below_the_knee() -> None:
    ramp = np.arange(-9_000_000, 9_000_000, 97, dtype=np.int32).reshape(1, -1)
    small = np.arange(-KNEE, KNEE + 1, dtype=np.int32).reshape(1, -1)
    assert (soft_clip(small) == small).all()
    mixed = np.concatenate([small, small * 3])
    bent = soft_clip(mixed)
    assert (bent[0] == small).all()
    assert (bent[1] == -bent[1, ::-1]).all()
    assert (np.diff(bent[1].astype(int)) >= 0).all()
    assert np.diff(bent[1].astype(int)).max() <= 4
    edge = soft_clip(ramp).astype(int)
    assert (np.diff(edge[0]) >= 0).all()
    assert edge.max() <= 32767
    assert edge.min() >= -32767


def test_nobody_and_nothing() -> None:
    assert MixPlan([]).mix(np.zeros((0, 160), np.int16)).shape == (0, 160)
    assert not MixPlan([3]).mix(voices(1)).any()
    out = np.full((2, 160), 77, np.int16)
    assert MixPlan([-1, 5]).mix(voices(2), out) is out
    assert not out.any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"gain": [1.0]},
        {"muted": [True] * 3},
        {"edges": [(0, 2, 1.0)]},
        {"edges": [(-1, 0, 1.0)]},
    ],
)
def test_what_does_not_fit_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"."):
        MixPlan([0, 0], **wrong)


@given(st.lists(st.integers(-1, 2), min_size=1, max_size=9), st.sampled_from([40, 4_000, 32_767]))
@settings(deadline=None)
def test_what_is_heard_is_the_bent_sum_whatever_its_level(bridge, peak) -> None:
    """Soft sums are made in sixteen bits, loud ones are not, and only loud samples of them are bent."""
    said = voices(len(bridge), peak=peak)
    said[:, :5] = RNG.integers(-32_768, 32_767, (len(bridge), 5))
    said[:, 5] = -32_768
    heard = MixPlan(bridge).mix(said)
    for party, number in enumerate(bridge):
        others = [p for p, n in enumerate(bridge) if n == number and p != party and n >= 0]
        total = said[others].astype(np.int32).sum(axis=0, dtype=np.int32)
        expected = total if len(others) < 2 else soft_clip(total[None])[0]
        assert (heard[party] == expected).all()


def test_a_room_on_the_edge_of_the_knee_is_heard_exactly() -> None:
    said = np.zeros((3, 4), np.int16)
    said[0] = [KNEE - 1, KNEE, -KNEE, KNEE]
    said[1] = [1, 0, 0, 1]
    heard = MixPlan([5, 5, 5]).mix(said)
    assert heard[2].tolist() == [
        KNEE,
        KNEE,
        -KNEE,
        int(soft_clip(np.array([[KNEE + 1]], np.int32))[0, 0]),
    ]
    assert heard[0].tolist() == [1, 0, 0, 1]
