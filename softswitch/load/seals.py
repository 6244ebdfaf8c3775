"""SRTP of the lab's streams: keys by slot, packets sealed on their way out and opened as they come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.wire.srtp import SrtpTable, parse_crypto
from softswitch.sip.sdp import AudioNegotiated


class StreamSeals:
    """Of up to `capacity` streams; those without keys are left alone."""

    def __init__(self, capacity: int) -> None:
        self._table = SrtpTable(capacity)
        self._keys: dict[int, tuple[str, str]] = {}

    def set(self, slot: int, agreed: AudioNegotiated) -> None:
        """Take the keys that SDP has agreed, where it has: the same ones again change nothing."""
        theirs, ours = agreed.srtp_in, agreed.srtp_out
        if theirs is None or ours is None:
            return
        before = self._keys.get(slot, ("", ""))
        self._keys[slot] = (theirs, ours)
        if before[0] != theirs:
            self._table.set_inbound(slot, parse_crypto(theirs))
        if before[1] != ours:
            self._table.set_outbound(slot, parse_crypto(ours))

    def clear(self, slot: int) -> None:
        """Another party."""
        if self._keys.pop(slot, None) is not None:
            self._table.clear(slot)

    def close(
        self, slots: NDArray[np.intp], packets: NDArray[np.uint8], octets: NDArray[np.int32]
    ) -> None:
        """Seal (n,) packets in place; what cannot be sealed is left out of `octets`."""
        if self._keys:
            octets[~self._table.protect(slots, packets, octets)] = 0

    def open(
        self, slots: NDArray[np.intp], packets: NDArray[np.uint8], lengths: NDArray[np.int32]
    ) -> NDArray[np.bool_]:
        """Open (n,) packets in place; `lengths` shrinks. Returns which of them are genuine."""
        if not self._keys:
            return np.ones(len(slots), np.bool_)
        return self._table.unprotect(slots, packets, lengths)

    def facts(self, slot: int) -> dict[str, object]:
        """What is to be said of a stream that was SRTP: packets of another key, and those that came twice,
        which end here."""
        if slot not in self._keys:
            return {}
        return {
            "sealed": True,
            "forged": int(self._table.bad_tags[slot] + self._table.broken[slot]),
            "replays": int(self._table.replays[slot]),
        }
