"""What is counted of columns: each count takes some rows with the number of the group that each belongs to, and
gives the figures of all groups. Pure. The same figures as the expressions of SQL of `counting`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from routing.stats import VisitCounts
from softswitch.store.columns import (
    ABANDONED,
    ANSWERED,
    HANDLINGS,
    OFFER_OUTCOMES,
    OFFERS,
    OUTCOMES,
    SURVEYS,
    VISITS,
    Layout,
    Rows,
)
from softswitch.store.schema_columns import (
    handling_columns,
    offer_columns,
    survey_columns,
    visit_columns,
)
from softswitch.store.schema_rolls import HANDLED_SUMS

Groups = npt.NDArray[np.int64]
"""The group of each row."""
Count = Callable[[Rows, Groups, int, Mapping[str, int]], list[npt.NDArray[Any]]]
"""Of rows, their groups, how many groups there are, and the numbers of names: an array each figure."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Columns of a table that are counted: told apart by `named` ("" for not at all), those of `among` only
    (column -> names, all where there are none)."""

    table: sa.Table
    layout: Layout
    named: str
    count: Count
    among: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    served: bool = False
    """Only what came to an agent."""

    def chosen(self, rows: Rows, codes: Mapping[str, int]) -> npt.NDArray[np.bool_] | None:
        """Which rows are counted; None for all."""
        found = chosen_of(rows, self.among, codes)
        if self.served and "" in codes:
            by_agent = rows["agent"] != codes[""]
            found = by_agent if found is None else found & by_agent
        return found


def chosen_of(
    rows: Rows, among: Mapping[str, tuple[str, ...]], codes: Mapping[str, int]
) -> npt.NDArray[np.bool_] | None:
    """Which rows have names that are asked for; None for all."""
    found: npt.NDArray[np.bool_] | None = None
    for column, names in among.items():
        if names:
            fits = np.zeros(len(codes), bool)
            fits[[codes[name] for name in names if name in codes]] = True
            here = fits[rows[column]]
            found = here if found is None else found & here
    return found


def packed_visits(
    named: str,
    among: Mapping[str, tuple[str, ...]],
    default_s: float,
    within_s: Mapping[str, float],
    *,
    served: bool = False,
) -> Packed:
    """The fields of `VisitCounts`, with the T of each queue; `served` as in `Packed`."""

    def count(
        rows: Rows, groups: Groups, size: int, codes: Mapping[str, int]
    ) -> list[npt.NDArray[Any]]:
        kinds = len(OUTCOMES)
        cells = groups * kinds + rows["outcome"]
        waited_s = np.ascontiguousarray(rows["waited_s"])
        limit_s: Any = default_s
        if within_s:
            limits = np.full(len(codes), default_s)
            for queue, own_s in within_s.items():
                if queue in codes:
                    limits[codes[queue]] = own_s
            limit_s = limits[rows["queue"]]
        all_of = _counted(cells, size, kinds)
        timely = _counted(cells[waited_s <= limit_s], size, kinds)
        seconds = _counted(cells, size, kinds, waited_s)
        longest_s = np.full(size, -np.inf)
        np.maximum.at(longest_s, groups, waited_s)
        found = {name: all_of[:, place] for place, name in enumerate(OUTCOMES)}
        found |= {
            "entered": all_of.sum(1),
            "answered_in_time": timely[:, ANSWERED],
            "abandoned_in_time": timely[:, ABANDONED],
            "wait_answered_s": seconds[:, ANSWERED],
            "wait_s": seconds.sum(1),
            "wait_s_max": longest_s,
        }
        return [found[part.name] for part in fields(VisitCounts)]

    return Packed(visit_columns, VISITS, named, count, among, served)


def packed_handlings(named: str, among: Mapping[str, tuple[str, ...]]) -> Packed:
    """Talk, hold and wrap-up in seconds, and how many."""

    def count(
        rows: Rows, groups: Groups, size: int, _: Mapping[str, int]
    ) -> list[npt.NDArray[Any]]:
        spent = [np.bincount(groups, rows[name], size) for name in HANDLED_SUMS]
        return [*spent, np.bincount(groups, minlength=size)]

    return Packed(handling_columns, HANDLINGS, named, count, among)


def packed_transfers(named: str, among: Mapping[str, tuple[str, ...]]) -> Packed:
    """How many were handled, and how many of these were passed on."""

    def count(
        rows: Rows, groups: Groups, size: int, _: Mapping[str, int]
    ) -> list[npt.NDArray[Any]]:
        every = _counted(groups * 2 + rows["passed_on"], size, 2)
        return [every.sum(1), every[:, 1]]

    return Packed(handling_columns, HANDLINGS, named, count, among)


def packed_offers(named: str, among: Mapping[str, tuple[str, ...]]) -> Packed:
    """Offered, and what came of it: answered, missed, rejected."""

    def count(
        rows: Rows, groups: Groups, size: int, _: Mapping[str, int]
    ) -> list[npt.NDArray[Any]]:
        kinds = len(OFFER_OUTCOMES)
        every = _counted(groups * kinds + rows["outcome"], size, kinds)
        return [every.sum(1), *(every[:, place] for place in range(1, kinds))]

    return Packed(offer_columns, OFFERS, named, count, among)


def packed_scores(named: str, among: Mapping[str, tuple[str, ...]], good: int) -> Packed:
    """Asked, rated, rated `good` or better, and the sum of scores."""

    def count(
        rows: Rows, groups: Groups, size: int, _: Mapping[str, int]
    ) -> list[npt.NDArray[Any]]:
        scores = np.ascontiguousarray(rows["score"])
        is_rated = ~np.isnan(scores)
        rated = groups[is_rated]
        return [
            np.bincount(groups, minlength=size),
            np.bincount(rated, minlength=size),
            np.bincount(groups[scores >= good], minlength=size),
            np.bincount(rated, scores[is_rated], size),
        ]

    return Packed(survey_columns, SURVEYS, named, count, among)


def _counted(cells: Groups, size: int, kinds: int, weights: Any = None) -> npt.NDArray[Any]:
    return np.bincount(cells, weights, size * kinds).reshape(size, kinds)
