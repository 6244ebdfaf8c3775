"""What answers are worth, and whether two inspectors mean the same."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.store.agreement import agreement, pairs_by_item, weighted_kappa
from softswitch.store.scoring import (
    Answer,
    Form,
    Item,
    Section,
    faults_of_answers,
    faults_of_form,
    score,
)

FORM = Form(
    (
        Section("opening", (Item("greeting", "Greeted?", 2), Item("name", "By name?", 1, 3.0))),
        Section("rules", (Item("identity", "Asked?", 1, critical=True), Item("calm", "?", 4)), 3.0),
    ),
    pass_percent=75.0,
)


def answers(**points: int | None) -> dict[str, Answer]:
    return {key: Answer(key, given) for key, given in points.items()}


@pytest.mark.parametrize(
    ("given", "percent", "raw", "passed"),
    [
        ({}, None, None, False),
        ({"greeting": 2, "name": 1, "identity": 1, "calm": 4}, 100.0, 100.0, True),
        # The opening is (1 x 50 + 3 x 100) / 4 = 87.5, the rules (100 + 50) / 2 = 75: (87.5 + 3 x 75) / 4.
        ({"greeting": 1, "name": 1, "identity": 1, "calm": 2}, 78.125, 78.125, True),
        # What does not apply gives its weight to the others.
        ({"greeting": 1, "name": None, "identity": 1, "calm": 2}, 68.75, 68.75, False),
        ({"greeting": None, "name": None, "identity": 1, "calm": 2}, 75.0, 75.0, True),
        # A critical item without points takes everything.
        ({"greeting": 2, "name": 1, "identity": 0, "calm": 4}, 0.0, 62.5, False),
        ({"identity": None, "calm": 4}, 100.0, 100.0, True),
    ],
)
def test_scores(
    given: dict[str, int | None], percent: float | None, raw: float | None, passed: bool
) -> None:
    found = score(FORM, answers(**given))
    assert (found.percent, found.raw_percent, found.passed) == (percent, raw, passed)
    assert set(found.open) == {"greeting", "name", "identity", "calm"} - given.keys()
    assert found.failed == (("identity",) if given.get("identity") == 0 else ())


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.floats(0.1, 9), st.booleans(), st.floats(0, 1)),
        min_size=1,
        max_size=8,
    )
)
def test_a_score_lies_between_its_worst_and_its_best_item(
    items: list[tuple[int, float, bool, float]],
) -> None:
    made = tuple(
        Item(f"i{n}", "?", points, weight, critical)
        for n, (points, weight, critical, _) in enumerate(items)
    )
    given = {
        item.key: Answer(item.key, round(share * item.points))
        for item, (_, _, _, share) in zip(made, items, strict=True)
    }
    found = score(Form((Section("all", made),)), given)
    shares = [100.0 * (given[item.key].points or 0) / item.points for item in made]
    assert found.raw_percent is not None
    assert min(shares) - 1e-9 <= found.raw_percent <= max(shares) + 1e-9
    assert (found.percent == 0.0) if found.failed else (found.percent == found.raw_percent)


def test_forms_and_answers_that_make_no_sense_are_told_in_words() -> None:
    assert faults_of_form(FORM) == []
    twice = Form((Section("a", (Item("x", "?"), Item("x", "?"))), Section("a", ())))
    assert faults_of_form(twice) == ["the key x is used twice", "the section a is there twice"]
    assert faults_of_form(Form(())) == ["a scorecard asks something"]
    assert faults_of_form(Form((Section("a", (Item("x", "?", weight=0.0),)),))) == [
        "nothing of the section a counts"
    ]
    assert faults_of_answers(FORM, answers(greeting=3, identity=-1, other=1, calm=None)) == [
        "greeting is worth 0 to 2 points",
        "identity is worth 0 to 1 points",
        "the scorecard has no item other",
    ]


def by_table(pairs: list[tuple[float, float]]) -> float | None:
    """Weighted kappa as textbooks write it: a table of what was seen and one of what chance gives."""
    grades = sorted({grade for pair in pairs for grade in pair})
    count = len(pairs)
    seen = {(a, b): pairs.count((a, b)) / count for a, b in product(grades, grades)}
    rows = {a: sum(seen[a, b] for b in grades) for a in grades}
    columns = {b: sum(seen[a, b] for a in grades) for b in grades}
    above = sum((a - b) ** 2 * seen[a, b] for a, b in product(grades, grades))
    below = sum((a - b) ** 2 * rows[a] * columns[b] for a, b in product(grades, grades))
    return None if below < 1e-12 else 1 - above / below


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4)).map(lambda p: (p[0] / 4, p[1] / 4)),
        min_size=1,
        max_size=40,
    )
)
def test_weighted_kappa_is_that_of_the_table(pairs: list[tuple[float, float]]) -> None:
    mine, its = weighted_kappa(pairs), by_table(pairs)
    assert mine is None if its is None else mine == pytest.approx(its, abs=1e-9)


def test_kappa_knows_agreement_from_chance() -> None:
    same = [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)]
    assert weighted_kappa(same) == pytest.approx(1.0)
    assert weighted_kappa([(1.0, 1.0)] * 9) is None, "two who always give all tell nothing"
    assert agreement([(1.0, 1.0)] * 9).equal == 1.0
    opposite = [(0.0, 1.0), (1.0, 0.0)]
    assert weighted_kappa(opposite) == pytest.approx(-1.0)
    independent = [(a, b) for a in (0.0, 0.5, 1.0) for b in (0.0, 0.5, 1.0)]
    assert weighted_kappa(independent) == pytest.approx(0.0)
    assert weighted_kappa([(1.0, 0.6)]) == 0.0, "and not what floats make of it"
    near, far = [*same, (0.0, 0.5)], [*same, (0.0, 1.0)]
    assert (weighted_kappa(near) or 0) > (weighted_kappa(far) or 0)
    assert agreement([]).kappa is None


def test_every_two_inspectors_are_compared_once() -> None:
    found = pairs_by_item(
        {"a": {"x": 1.0, "y": 0.0}, "b": {"x": 0.5}, "c": {"x": 0.0, "y": 1.0, "z": 1.0}}
    )
    assert found == {"x": [(1.0, 0.5), (1.0, 0.0), (0.5, 0.0)], "y": [(0.0, 1.0)]}
