"""Skill expressions: grammar, limits, relaxation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import ExpressionError
from routing.expressions import (
    ATOMS_MAX,
    DEPTH_MAX,
    LENGTH_MAX,
    LEVEL_MAX,
    dropped,
    level_sum,
    parse_skill,
    relaxed,
)
from routing.model import Relaxation

SKILLS = {"lang.zh": 4, "billing": 1, "sales": 1}


@pytest.mark.parametrize(
    ("text", "admits"),
    [
        ("", True),
        ("   ", True),
        ("billing", True),
        ("law", False),
        ("!law", True),
        ("lang.zh >= 4", True),
        ("lang.zh > 4", False),
        ("lang.zh <= 4", True),
        ("lang.zh < 4", False),
        ("lang.zh = 4", True),
        ("lang.zh == 4", True),
        ("lang.zh != 4", False),
        ("law = 0", True),
        ("lang.zh >= 3 & (billing | sales >= 2)", True),
        ("lang.zh >= 3 & (law | sales >= 2)", False),
        ("law | billing & sales", True),
        ("(law | billing) & law", False),
        ("!(law | billing >= 2)", True),
        ("!(law & billing)", True),
        ("!!billing", True),
        ("法语 | billing", True),
    ],
)
def test_admits(text: str, admits: bool):
    assert parse_skill(text).admits(SKILLS) is admits


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("a >=", 4),
        ("a & ", 4),
        ("a b", 2),
        ("(a", 2),
        ("a)", 1),
        ("a >= b", 5),
        ("3 >= a", 0),
        ("a $ b", 2),
        ("|a", 0),
        ("a >= -1", 5),
    ],
)
def test_mistakes_are_pointed_at(text: str, position: int):
    with pytest.raises(ExpressionError) as caught:
        parse_skill(text)
    assert caught.value.position == position


def test_limits_hold_at_n_and_not_beyond():
    parse_skill("a" * LENGTH_MAX)
    parse_skill("(" * (DEPTH_MAX - 1) + "a" + ")" * (DEPTH_MAX - 1))
    parse_skill(" & ".join(["a"] * ATOMS_MAX))
    parse_skill(f"a >= {LEVEL_MAX}")
    for text in (
        "a" * (LENGTH_MAX + 1),
        "(" * DEPTH_MAX + "a" + ")" * DEPTH_MAX,
        "!" * DEPTH_MAX + "a",
        " & ".join(["a"] * (ATOMS_MAX + 1)),
        f"a >= {LEVEL_MAX + 1}",
        "a >= " + "9" * 900,
    ):
        with pytest.raises(ExpressionError):
            parse_skill(text)


@given(st.text(alphabet="ab.1()&|!<>= ", max_size=40))
def test_any_text_parses_or_is_refused(text: str):
    try:
        node = parse_skill(text)
    except ExpressionError:
        return
    assert parse_skill(str(node)).admits(SKILLS) is node.admits(SKILLS)


_ATOM = st.builds(
    "{} {} {}".format, st.sampled_from("abc"), st.sampled_from([">=", "<", "="]), st.integers(0, 3)
)
_TEXT = st.recursive(
    _ATOM,
    lambda inner: st.one_of(
        st.builds("({} & {})".format, inner, inner),
        st.builds("({} | {})".format, inner, inner),
        st.builds("!({})".format, inner),
    ),
    max_leaves=8,
)


@given(_TEXT, st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)))
def test_dropping_a_skill_only_widens(text: str, skills: dict[str, int]):
    node = parse_skill(text)
    if node.admits(skills):
        assert dropped(node, ("a",)).admits(skills)


@given(_TEXT, st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)))
def test_negation_is_the_opposite(text: str, skills: dict[str, int]):
    assert parse_skill(f"!({text})").admits(skills) is not parse_skill(text).admits(skills)


def test_lacking_names_what_is_missing():
    assert parse_skill("lang.zh >= 5 & billing").lacking(SKILLS) == "lang.zh >= 5 (has 4)"


@pytest.mark.parametrize(
    ("step", "result"),
    [
        (Relaxation(after_s=1, skill=""), ""),
        (Relaxation(after_s=1, skill="law"), "law >= 1"),
        (Relaxation(after_s=1, drop=("lang.zh",)), "billing >= 2"),
        (Relaxation(after_s=1, also="sales"), "lang.zh >= 3 & billing >= 2 | sales >= 1"),
        (Relaxation(after_s=1, require="sales"), "lang.zh >= 3 & billing >= 2 & sales >= 1"),
        (Relaxation(after_s=1, skill="a & b", drop=("b",), require="c"), "a >= 1 & c >= 1"),
    ],
)
def test_relaxation_removes_and_adds(step: Relaxation, result: str):
    assert str(relaxed(parse_skill("lang.zh >= 3 & billing >= 2"), step)) == result


def test_level_sum_counts_what_is_asked_for():
    assert level_sum(parse_skill("lang.zh & billing & !law"), SKILLS) == 5
