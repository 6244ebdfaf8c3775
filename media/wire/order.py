"""The order of packets of one stream within a batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def turns(stream: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return (N,) how many packets of the same stream come before each one in the batch.

    All packets of turn 0 belong to different streams, so that state held in arrays can take them in
    one scatter; then those of turn 1, and so on.
    """
    order = np.argsort(stream, kind="stable")
    ordered = stream[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else order
    counts = np.diff(np.r_[first, len(ordered)])
    turn = np.empty(len(stream), np.intp)
    turn[order] = np.arange(len(ordered)) - np.repeat(first, counts)
    return turn
