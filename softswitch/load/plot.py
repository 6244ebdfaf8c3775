"""Line plots as SVG text: axes, a legend, gaps where there is no value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 520, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 38
COLOURS = ("#2f6fdf", "#e0803a", "#c2385f", "#3a9d6e")


@dataclass(frozen=True, slots=True)
class Line:
    """One line; None leaves a gap."""

    words: str
    values: Sequence[float | None]


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers from at most `low` to at least `high`."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if span / (f * power) <= wanted)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def plot(
    at: Sequence[float], lines: Sequence[Line], *, floor: float = 0.0, top: float | None = None
) -> str:
    """An SVG element of `lines` over the seconds `at`; the y axis begins at `floor`."""
    highest = max((v for line in lines for v in line.values if v is not None), default=1.0)
    marks = ticks(floor, top if top is not None else max(highest, floor + 1e-3))
    low, high = marks[0], marks[-1]
    first, last = at[0], max(at[-1], at[0] + 1)

    def x(value: float) -> float:
        return _LEFT + (value - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">']
    for mark in marks:
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(mark):.1f}" y2="{y(mark):.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark:g}</text>'
        )
    for mark in ticks(first, last, 8):
        if first <= mark <= last and mark == int(mark):
            parts.append(
                f'<text x="{x(mark):.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{mark:g} s</text>'
            )
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        parts.extend(_strokes(at, line, colour, x, y))
        left = _LEFT + number * 120
        parts.append(
            f'<rect x="{left}" y="{_HEIGHT - 12}" width="14" height="3" fill="{colour}"/>'
            f'<text class="legend" x="{left + 19}" y="{_HEIGHT - 6}">{escape(line.words)}</text>'
        )
    return "".join([*parts, "</svg>"])


def _strokes(at: Sequence[float], line: Line, colour: str, x: object, y: object) -> list[str]:
    assert callable(x)
    assert callable(y)
    found: list[str] = []
    points: list[str] = []

    def end() -> None:
        if len(points) == 1:
            px, py = points[0].split(",")
            found.append(f'<circle cx="{px}" cy="{py}" r="2" fill="{colour}"/>')
        elif points:
            joined = " ".join(points)
            found.append(
                f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.8"'
                ' stroke-linejoin="round"/>'
            )
        points.clear()

    for when, value in zip(at, line.values, strict=True):
        if value is None:
            end()
        else:
            points.append(f"{x(when):.1f},{y(value):.1f}")
    end()
    return found
