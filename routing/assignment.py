"""Joint assignment: many contacts and many free agents matched at once.

First the contacts, in their order, are admitted to the matching one by one, each by an augmenting
path if there is one: the set served is the best possible in that order (a contact is never passed
over for a later one). Then, among the matchings that serve this set, the cheapest is found with the
Hungarian method (shortest augmenting paths with potentials).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Costs = Sequence[Sequence[float]]


def servable(costs: Costs) -> list[int]:
    """Rows that can be served together, earlier rows first; infinite costs forbid a pair."""
    columns = len(costs[0]) if costs else 0
    row_of = [-1] * columns
    served: list[int] = []
    for row in range(len(costs)):
        if len(served) == columns:
            break
        if _augment(costs, row, row_of, [False] * columns):
            served.append(row)
    return served


def _augment(costs: Costs, row: int, row_of: list[int], seen: list[bool]) -> bool:
    for column, cost in enumerate(costs[row]):
        if cost == math.inf or seen[column]:
            continue
        seen[column] = True
        if row_of[column] < 0 or _augment(costs, row_of[column], row_of, seen):
            row_of[column] = row
            return True
    return False


def cheapest(costs: Costs) -> list[int]:
    """Column of each row in the cheapest matching of all rows; they must be servable together."""
    rows, columns = len(costs), len(costs[0]) if costs else 0
    row_price, column_price = [0.0] * rows, [0.0] * columns
    row_of, column_of = [-1] * columns, [-1] * rows
    for start in range(rows):
        distance = [math.inf] * columns
        came_from = [-1] * columns
        done = [False] * columns
        row, base, end = start, 0.0, -1
        while end < 0:
            nearest, best = -1, math.inf
            for column in range(columns):
                if done[column]:
                    continue
                through = base + costs[row][column] - row_price[row] - column_price[column]
                if through < distance[column]:
                    distance[column], came_from[column] = through, row
                if distance[column] < best:
                    nearest, best = column, distance[column]
            if nearest < 0:
                raise ValueError("the rows cannot all be served")
            done[nearest] = True
            base = best
            if row_of[nearest] < 0:
                end = nearest
            else:
                row = row_of[nearest]
        for column in range(columns):
            if done[column] and column != end:
                column_price[column] += distance[column] - base
                row_price[row_of[column]] += base - distance[column]
        row_price[start] += base
        while True:
            row = came_from[end]
            row_of[end] = row
            column_of[row], end = end, column_of[row]
            if row == start:
                break
    return column_of


def assign(costs: Costs) -> list[tuple[int, int]]:
    """(row, column) pairs: earlier rows first served, then at the lowest total cost."""
    rows = servable(costs)
    columns = cheapest([costs[row] for row in rows])
    return list(zip(rows, columns, strict=True))
