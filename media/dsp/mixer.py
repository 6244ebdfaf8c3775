"""Mixing of many bridges at once: everybody hears the sum of the others.

A `MixPlan` is made when the membership of a bridge changes; `mix` then runs once a tick for all
bridges of a worker. Sums are int32; below `KNEE` the output is the exact sum, above it a smooth
curve that never passes full scale takes over (no wrap, no hard edge).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

KNEE = 29204
"""Sums up to this magnitude (-1 dB of full scale) leave the mixer unchanged."""

GAIN_MAX = 8.0
_ROOM = 32767 - KNEE
_FEW = 16
"""Of samples that are bent one by one; more than one of so many: all are, and the others not taken."""
_UNITY = 4096
_SHIFT = 12

Edge = tuple[int, int, float]
"""(listener, talker, gain): one party hears another besides, or apart from, its bridge."""


def soft_clip(sums: NDArray[np.int32], out: NDArray[np.int16] | None = None) -> NDArray[np.int16]:
    """Bring (R, n) int32 sums into int16: unchanged up to `KNEE`, smoothly bent above it.

    The curve has slope 1 at the knee and approaches 32,767; it is odd and never decreases.
    """
    if out is None:
        out = np.empty(sums.shape, np.int16)
    out[...] = sums
    if sums.size == 0 or (sums.max() <= KNEE and sums.min() >= -KNEE):
        return out
    loud = np.abs(sums) > KNEE
    if np.count_nonzero(loud) * _FEW < loud.size:
        places = loud.nonzero()
        out[places] = _bent(sums[places])
    else:
        out[...] = np.where(loud, _bent(sums), sums)
    return out


def _bent(sums: NDArray[np.int32]) -> NDArray[np.int16]:
    """Return what becomes of sums above the knee."""
    part = sums.astype(np.float32)
    excess = np.abs(part)
    excess += np.float32(_ROOM - KNEE)
    # Written with one division so that rounding cannot make it step back.
    bent = np.float32(KNEE + _ROOM) - np.float32(_ROOM * _ROOM) / np.maximum(excess, _ROOM)
    return np.copysign(bent, part).astype(np.int16)


def _gains(values: ArrayLike | None, parties: int) -> NDArray[np.float64]:
    if values is None:
        return np.ones(parties)
    gains = np.clip(np.asarray(values, np.float64), -GAIN_MAX, GAIN_MAX)
    if gains.shape != (parties,):
        raise ValueError(f"{gains.shape} gains for {parties} parties")
    return gains


def _flags(values: ArrayLike | None, parties: int) -> NDArray[np.bool_]:
    if values is None:
        return np.zeros(parties, np.bool_)
    flags = np.asarray(values, np.bool_)
    if flags.shape != (parties,):
        raise ValueError(f"{flags.shape} flags for {parties} parties")
    return flags


class MixPlan:
    """Who hears whom, prepared for `mix`.

    Parameters, P parties in any order:
      `bridge`   (P,) integers: parties with the same number share a bridge; negative: none.
      `gain`     (P,) floats, how loud each party is to the others (1 unchanged, at most 8).
      `muted`    (P,) bools: not heard by its bridge.
      `deaf`     (P,) bools: hears nothing of its bridge.
      `edges`    (listener, talker, gain) besides the bridge, whatever `muted` and `deaf` say. A
                 supervisor who whispers is muted in the bridge and has an edge to the agent;
                 a gain of -1 takes one talker out of what a listener hears.
    Raises `ValueError` where shapes or indices do not fit.
    """

    __slots__ = (
        "_all_hear",
        "_copy_from",
        "_copy_to",
        "_edge_gain",
        "_edge_rows",
        "_edge_starts",
        "_edge_talkers",
        "_everybody",
        "_gain",
        "_hears",
        "_members",
        "_segment",
        "_silent",
        "_starts",
        "_talks",
        "parties",
    )

    def __init__(
        self,
        bridge: ArrayLike,
        *,
        gain: ArrayLike | None = None,
        muted: ArrayLike | None = None,
        deaf: ArrayLike | None = None,
        edges: Sequence[Edge] = (),
    ) -> None:
        of = np.asarray(bridge, np.int64)
        if of.ndim != 1:
            raise ValueError("bridge numbers are one row")
        self.parties = len(of)
        gains = _gains(gain, self.parties)
        gains[_flags(muted, self.parties)] = 0.0
        hears = ~_flags(deaf, self.parties)
        self._plan_edges(edges)
        special = np.zeros(self.parties, np.bool_)
        special[self._edge_rows] = True
        plain = (gains == 1.0) & hears & ~special
        self._plan_bridges(of, gains, hears, plain)

    def _plan_edges(self, edges: Sequence[Edge]) -> None:
        ordered = sorted(edges)
        listeners = np.array([edge[0] for edge in ordered], np.intp)
        self._edge_talkers = np.array([edge[1] for edge in ordered], np.intp)
        for index in (listeners, self._edge_talkers):
            if index.size and (index.min() < 0 or index.max() >= self.parties):
                raise ValueError("an edge names a party that does not exist")
        gain = np.clip([edge[2] for edge in ordered], -GAIN_MAX, GAIN_MAX)
        self._edge_gain = np.rint(gain * _UNITY).astype(np.int32)[:, None]
        self._edge_rows, self._edge_starts = np.unique(listeners, return_index=True)

    def _plan_bridges(
        self,
        of: NDArray[np.int64],
        gains: NDArray[np.float64],
        hears: NDArray[np.bool_],
        plain: NDArray[np.bool_],
    ) -> None:
        order = np.argsort(of, kind="stable")
        order = order[of[order] >= 0]
        numbers, starts, counts = np.unique(of[order], return_index=True, return_counts=True)
        # Two plain parties only swap their samples: no sum, no clipping.
        pair = np.flatnonzero(counts == 2)
        first, second = order[starts[pair]], order[starts[pair] + 1]
        pair = pair[plain[first] & plain[second]]
        first, second = order[starts[pair]], order[starts[pair] + 1]
        self._copy_to = np.concatenate([first, second])
        self._copy_from = np.concatenate([second, first])
        summed = np.ones(len(numbers), np.bool_)
        summed[pair] = False
        summed &= counts > 1
        segment = np.repeat(np.cumsum(summed) - 1, counts)
        chosen = np.repeat(summed, counts)
        self._members = order[chosen]
        self._segment = segment[chosen]
        self._starts = np.flatnonzero(np.diff(self._segment, prepend=-1))
        quantised = np.rint(gains * _UNITY).astype(np.int32)
        # All in one summed bridge, or several one after the other: what they say need not be gathered.
        self._everybody = bool(np.array_equal(self._members, np.arange(self.parties)))
        self._gain = quantised[self._members]
        self._talks = np.flatnonzero(self._gain != _UNITY)
        self._hears = hears[self._members]
        self._all_hear = bool(self._hears.all())
        silent = np.ones(self.parties, np.bool_)
        silent[self._copy_to] = silent[self._members] = False
        self._silent = np.flatnonzero(silent)

    def mix(
        self, samples: NDArray[np.int16], out: NDArray[np.int16] | None = None
    ) -> NDArray[np.int16]:
        """Return (P, n) int16, what each party hears; `samples` (P, n) int16, what each one says.

        `out`, (P, n) int16 and not `samples` itself, receives the result and is returned.
        """
        if out is None:
            out = np.empty(samples.shape, np.int16)
        if self._silent.size:
            out[self._silent] = 0
        if self._copy_to.size:
            out[self._copy_to] = samples[self._copy_from]
        if self._members.size or self._edge_rows.size:
            self._sum(samples, out)
        return out

    def _sum(self, samples: NDArray[np.int16], out: NDArray[np.int16]) -> None:
        if not self._edge_rows.size:
            if self._everybody:
                self._hear(samples, out)
            else:
                out[self._members] = self._hear(samples.take(self._members, axis=0))
            return
        sums: NDArray[np.int32] = np.zeros(samples.shape, np.int32)
        sums[self._copy_to] = samples[self._copy_from]
        if self._members.size:
            said = samples.take(self._members, axis=0)
            sums[self._members] = self._heard(said, self._total(said))
        extra: NDArray[Any] = samples[self._edge_talkers].astype(np.int32) * self._edge_gain
        # Rounded one by one: seventeen loud ones together do not fit before.
        extra = (extra + _UNITY // 2) >> _SHIFT
        sums[self._edge_rows] += np.add.reduceat(extra, self._edge_starts, axis=0, dtype=np.int32)
        touched = np.union1d(self._members, self._edge_rows)
        out[touched] = soft_clip(sums[touched])

    def _hear(
        self, said: NDArray[np.int16], out: NDArray[np.int16] | None = None
    ) -> NDArray[np.int16]:
        """Return what the members of summed bridges hear, in their order, who say `said`."""
        total = self._total(said)
        if not self._talks.size and _peak(total) + _peak(said) <= KNEE:
            # Nothing can be bent, so that everything fits in half the room.
            heard = total.astype(np.int16).take(self._segment, axis=0, out=out, mode="clip")
            heard -= said
            if not self._all_hear:
                heard[~self._hears] = 0
            return heard
        return soft_clip(self._heard(said, total), out)

    def _total(self, said: NDArray[np.int16]) -> NDArray[np.int32]:
        """Return (bridges, n) int32: all that is said in each, as loud as it is heard."""
        loud: NDArray[Any] = self._weighted(said) if self._talks.size else said
        # Without a type the sums would be int64, at several times the price.
        total: NDArray[np.int32]
        if len(self._starts) == 1:
            total = np.add.reduce(loud, axis=0, dtype=np.int32)[None]
        else:
            total = np.add.reduceat(loud, self._starts, axis=0, dtype=np.int32)
        return total

    def _weighted(self, said: NDArray[np.int16]) -> NDArray[np.int32]:
        weighted = said.astype(np.int32)
        talkers = weighted[self._talks] * self._gain[self._talks, None]
        weighted[self._talks] = (talkers + _UNITY // 2) >> _SHIFT
        return weighted

    def _heard(self, said: NDArray[np.int16], total: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return what the members of summed bridges hear, int32, before clipping."""
        heard: NDArray[np.int32] = total.take(self._segment, axis=0)
        heard -= self._weighted(said) if self._talks.size else said
        if not self._all_hear:
            heard[~self._hears] = 0
        return heard


def _peak(samples: NDArray[Any]) -> int:
    return max(int(samples.max()), -int(samples.min()))
