"""Whether two inspectors mean the same. Pure.

The share of equal answers says too much: two who always give full points agree whatever they hear. Weighted
kappa (Cohen 1968) takes off what chance would give, and counts a far miss more than a near one: 1 is full
agreement, 0 is chance, below 0 worse than chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

Pair = tuple[float, float]
"""What two gave to the same item, each as a share of its points: 0 to 1."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two or more inspectors over `answers` pairs of answers. `kappa` None: there is no variation that
    chance could be taken off. `difference` is the mean distance in percent of the points."""

    answers: int
    equal: float | None
    difference: float | None
    kappa: float | None


def weighted_kappa(pairs: Sequence[Pair]) -> float | None:
    """Cohen's kappa with quadratic weights; None where all is the same and nothing can be told."""
    if not pairs:
        return None
    seen = sum((a - b) ** 2 for a, b in pairs) / len(pairs)
    # By chance: every answer of the one beside every answer of the other. Expanded, for it to be
    # linear: mean((a - b)^2) over all a, b is mean(a^2) + mean(b^2) - 2 mean(a) mean(b).
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    count = len(pairs)
    chance = (
        sum(a * a for a in first) / count
        + sum(b * b for b in second) / count
        - 2.0 * (sum(first) / count) * (sum(second) / count)
    )
    if chance <= 1e-12:
        return None
    return round(1.0 - seen / chance, 9) + 0.0  # what floats leave of nothing is nothing


def agreement(pairs: Sequence[Pair]) -> Agreement:
    """How far two agree."""
    if not pairs:
        return Agreement(0, None, None, None)
    count = len(pairs)
    return Agreement(
        answers=count,
        equal=sum(abs(a - b) < 1e-9 for a, b in pairs) / count,
        difference=100.0 * sum(abs(a - b) for a, b in pairs) / count,
        kappa=weighted_kappa(pairs),
    )


def pairs_by_item(
    answers: Mapping[str, Mapping[str, float]],
) -> dict[str, list[Pair]]:
    """From inspector -> item -> share of points to the pairs of each item, every two inspectors once.
    Items that one of the two did not answer are left out."""
    found: dict[str, list[Pair]] = {}
    for one, other in combinations(sorted(answers), 2):
        for item, share in answers[one].items():
            if item in answers[other]:
                found.setdefault(item, []).append((share, answers[other][item]))
    return found
