"""Digits sent as sound, kept out of what a relay passes on.

The detector hears a digit where it is played, some 60 ms after its packets have come and gone on. So the
packets of streams that are listened to and relayed are looked at once more, in the tick in which they
arrive: where the last 10 ms are little else than a digit's two frequencies, silence goes on in the place of
the packets from then on, until two end in something else. What leaks is what came before, less than 8 ms
and one packet: with packets of 20 ms too little for a digit. Speech pays with some 0.1 % of its packets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.dsp.goertzel import BLOCK, DtmfDetector, DtmfLimits
from media.plane.stream import Stream
from media.plane.timeline import RATE_HZ
from media.wire.order import turns
from media.wire.rtp import HEADER_OCTETS as HEADER

SILENCE = {"PCMU": 0xFF, "PCMA": 0xD5, "L16": 0, "L16/16000": 0}
"""The octet that is silence, of codecs whose packets can be silenced one by one."""

_SHARE = 0.65
"""Of a block's energy that the two frequencies hold: in 8 minutes of speech some 40 blocks do."""
_CLEARED = 2
"""Packets: the first may hold the end of a digit."""


class Hush:
    """One row a stream. `on`: some row is silenced now."""

    def __init__(self, streams: int) -> None:
        self._detector = DtmfDetector(0, DtmfLimits(share_hint=_SHARE))
        self._watched: NDArray[np.bool_] = np.zeros(streams, np.bool_)
        self._octet: NDArray[np.uint8] = np.zeros(streams, np.uint8)
        self._clear: NDArray[np.int32] = np.zeros(streams, np.int32)
        self._silenced: NDArray[np.bool_] = np.zeros(streams, np.bool_)
        self.watching = 0
        self.on = False

    def watch(self, row: int, target: Stream | None) -> None:
        """Look at what `row` says before it is relayed to `target`; None: no longer."""
        codec = None if target is None or target.params is None else target.params.codec
        wanted = codec in SILENCE
        if wanted and codec is not None:
            self._octet[row] = SILENCE[codec]
        if wanted == bool(self._watched[row]):
            return
        self._watched[row] = wanted
        self.watching += 1 if wanted else -1
        self._clear[row] = 0
        self._silenced[row] = False
        self.on = bool(self._silenced.any())

    def look(self, rows: NDArray[np.intp], samples: NDArray[np.int16], rate_hz: int) -> None:
        """Packets of `rows` (k,) have come: (k, n) int16 at `rate_hz`, in order of arrival."""
        chosen = self._watched[rows].nonzero()[0]
        if not len(chosen):
            return
        factor = rate_hz // RATE_HZ
        if samples.shape[1] < BLOCK * factor:
            return
        # A digit that begins before the last block fills it.
        rows, last = rows[chosen], samples[chosen, -BLOCK * factor :]
        if factor > 1:
            # The mean of neighbours is filter enough for a suspicion.
            last = last.reshape(len(last), BLOCK, factor).mean(axis=2)
        hits = self._detector.look(last)[0][:, 0]
        if not hits.any() and not self._silenced[rows].any():
            return
        turn = turns(rows)
        for number in range(int(turn.max()) + 1):
            part = turn == number
            self._follow(rows[part], hits[part])
        self.on = bool(self._silenced.any())

    def _follow(self, rows: NDArray[np.intp], hit: NDArray[np.bool_]) -> None:
        clear = np.where(hit, 0, self._clear[rows] + 1)
        self._clear[rows] = clear
        self._silenced[rows] = (self._silenced[rows] | hit) & (clear < _CLEARED)

    def apply(
        self,
        octets: NDArray[np.uint8],
        places: NDArray[np.intp],
        lengths: NDArray[np.int32],
        rows: NDArray[np.intp],
    ) -> None:
        """Silence, in place, the audio packets at `places` (k,) of `octets` where their row is."""
        for at in self._silenced[rows].nonzero()[0].tolist():
            octets[places[at], HEADER : lengths[at]] = self._octet[rows[at]]
