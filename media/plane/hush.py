"""Digits sent as sound: packets are looked at as they come, before they go on.

Where the last 10 ms of a packet (of long ones three more in every 30) are little else than a digit's two
frequencies, silence goes on in its place if it is relayed, and in the place of those that follow until two
end in something else. What leaks is what came before, less than 10 ms: no digit to anybody. Speech pays
with some 0.1 % of its packets.

The same look, with less to go by, says whose sound is worth being listened to closely (`Ears`): three
blocks of 10 ms in a row, which is the least that a digit is, hold one that is looked at. So of those who
are listened to nearly nobody needs to be decoded, laid on a timeline or heard tick by tick.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.dsp import g711
from media.dsp.goertzel import BLOCK, DtmfLimits, pair_power, pair_share, power_at
from media.plane.streams import Sizes
from media.wire.order import turns
from media.wire.rtp import HEADER_OCTETS as HEADER

SILENCE = {"PCMU": 0xFF, "PCMA": 0xD5, "L16": 0, "L16/16000": 0}
"""The octet that is silence, of codecs whose packets can be looked at and silenced one by one."""

_CODES = {"PCMU": 1, "PCMA": 2, "L16": 3, "L16/16000": 4}
_TABLES = (
    None,
    g711.ULAW_VALUES.astype(np.float32),
    g711.ALAW_VALUES.astype(np.float32),
)
_OCTETS = (0, BLOCK, BLOCK, 2 * BLOCK, 4 * BLOCK)
"""Octets of 10 ms, by code."""

_NARROW = 3
"""The last code of 8,000 samples a second."""

_STRIDE = 3
"""Blocks: of a longer packet one in three is looked at, the last one always."""

_SHARE = 0.65
"""Of a block's energy that the two frequencies hold: in 8 minutes of speech some 40 blocks do."""
_SHARE_HINT = (0.0, 0.5, 0.5, 0.5, 0.35)
"""The same, of what is worth a second look; by code, for at 16,000 a second the other half counts too."""
_SHARE_EXPLAINED = 0.75
"""The second look: of that energy two sines near the pair hold so much in each 10 ms of what `DtmfLimits` lets
be a digit (0.78), and of speech in one of twelve that came so far. A block that a tone fills but half is
refused, too: the least that a digit is fills three."""
_LIMITS = DtmfLimits()
_TWIST_MOST = np.float32(10 ** ((_LIMITS.twist_db_max + 3) / 10))
_TWIST_LEAST = np.float32(10 ** ((3 - _LIMITS.twist_db_min) / 10))
"""High above low and low above high, as powers: 3 dB more than the detector takes for a digit."""
_CLEARED = 2
"""Packets: the first may hold the end of a digit."""

Bools = NDArray[np.bool_]


class Hush:
    """One row a stream. `watching`: how many are looked at; `on`: some row is silenced now."""

    def __init__(self, streams: int) -> None:
        # Of both frequencies together, as the detector has it: most batches need no other comparison.
        self._floor = np.float32(2 * 0.25 * power_at(_LIMITS.level_dbm0_min))
        self._code: NDArray[np.uint8] = np.zeros(streams, np.uint8)
        self._relayed: Bools = np.zeros(streams, np.bool_)
        self._octet: NDArray[np.uint8] = np.zeros(streams, np.uint8)
        self._clear: NDArray[np.int32] = np.zeros(streams, np.int32)
        self._silenced: Bools = np.zeros(streams, np.bool_)
        self.watched: set[int] = set()
        """Rows that are looked at."""
        self.watching = 0
        self.on = False

    def watch(self, row: int, codec: str | None, relayed_as: str | None = None) -> None:
        """Look at what `row` says in `codec`, and silence its digits where it is relayed in the codec
        `relayed_as`; None: no longer."""
        code = _CODES.get(codec, 0) if codec else 0
        if code:
            self.watched.add(row)
        elif row in self.watched:
            self.watched.discard(row)
        else:
            return  # as of most, whose digits come as events
        self.watching += int(code > 0) - int(self._code[row] > 0)
        relayed = code > 0 and relayed_as in SILENCE
        if code != self._code[row] or relayed != self._relayed[row]:
            self._clear[row] = 0
            self._silenced[row] = False
            self.on = bool(self._silenced.any())
        self._code[row], self._relayed[row] = code, relayed
        if relayed_as is not None and relayed:
            self._octet[row] = SILENCE[relayed_as]

    def look(
        self,
        octets: NDArray[np.uint8],
        index: NDArray[np.intp] | None,
        sizes: Sizes,
        rows: NDArray[np.intp],
    ) -> tuple[Bools, Bools] | None:
        """Packets of `rows` (k,) have come, in order: row `index[i]` of `octets` (None: the first k),
        `sizes` each.

        Returns (k,) which of them are to be heard closely, and (k,) which are not to go on as they
        are; None: none of either, as nearly always.
        """
        codes = self._code.take(rows)
        # Most are of one codec and one length: one group, found by one comparison.
        if isinstance(sizes, int) and np.count_nonzero(codes == codes[0]) == len(rows):
            octets = octets[: len(rows)] if index is None else octets
            found = self._look_alike(octets, index, sizes, int(codes[0]))
        else:
            found = self._look_apart(octets, index, sizes, codes)
        if found is None:
            if not (self.on and np.count_nonzero(self._silenced.take(rows))):
                return None
            found = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
        hint, hit = found
        return hint, self._follow(rows, hit)

    def _look_apart(
        self,
        octets: NDArray[np.uint8],
        index: NDArray[np.intp] | None,
        sizes: Sizes,
        codes: NDArray[np.uint8],
    ) -> tuple[Bools, Bools] | None:
        kinds = (np.asarray(sizes, np.int32) << 3) | codes
        hint, hit = np.zeros(len(kinds), np.bool_), np.zeros(len(kinds), np.bool_)
        for kind in np.unique(kinds[codes > 0]).tolist():
            part = (kinds == kind).nonzero()[0]
            places = part if index is None else index[part]
            found = self._look_alike(octets, places, kind >> 3, kind & 7)
            if found is not None:
                hint[part], hit[part] = found
        return (hint, hit) if hint.any() or hit.any() else None

    def _look_alike(
        self, octets: NDArray[np.uint8], places: NDArray[np.intp] | None, length: int, code: int
    ) -> tuple[Bools, Bools] | None:
        """Look at packets of one codec and length; returns (k,) what looks like a digit, and (k,) what
        does so hardly without being one."""
        if not code:
            return None
        size = _OCTETS[code]
        if length - HEADER < size:
            # Too short to be judged alone.
            count = len(octets) if places is None else len(places)
            return np.ones(count, np.bool_), np.zeros(count, np.bool_)
        hint = hit = None
        for end in range(length, HEADER + size - 1, -_STRIDE * size):
            part = (
                octets[:, end - size : end] if places is None else octets[places, end - size : end]
            )
            found = self._judge(_samples(part, code), code)
            if found is not None:
                hint = found[0] if hint is None else hint | found[0]
                hit = found[1] if hit is None else hit | found[1]
        return None if hint is None or hit is None else (hint, hit)

    def _judge(self, blocks: NDArray[np.float32], code: int) -> tuple[Bools, Bools] | None:
        best, energy = pair_power(blocks)
        power = best[0] + best[1]
        least = energy * np.float32(_SHARE_HINT[code] * BLOCK / 2)
        if not np.count_nonzero(power >= np.maximum(least, self._floor)):
            return None
        low, high = best
        hint = (power >= least) & (low >= self._floor / 2) & (high >= self._floor / 2)
        hint &= (high <= low * _TWIST_MOST) & (low <= high * _TWIST_LEAST)
        hit = hint & (power >= energy * np.float32(_SHARE * BLOCK / 2))
        places = hint.nonzero()[0]
        if len(places) and code <= _NARROW:
            hint[places] = pair_share(blocks[places]) >= _SHARE_EXPLAINED
        return (hint, hit) if hint.any() or hit.any() else None

    def _follow(self, rows: NDArray[np.intp], hit: Bools) -> Bools:
        """Go through packets in order; returns (k,) which are to be silenced."""
        quiet: Bools = np.zeros(len(rows), np.bool_)
        concerned = (self._relayed[rows] & (hit | self._silenced[rows])).nonzero()[0]
        if not len(concerned):
            return quiet
        # All packets of those rows, for one without a hit may follow one with.
        concerned = np.isin(rows, rows[concerned]).nonzero()[0]
        turn = turns(rows[concerned])
        for number in range(int(turn.max()) + 1):
            part = concerned[turn == number]
            own = rows[part]
            clear = np.where(hit[part], 0, self._clear[own] + 1)
            self._clear[own] = clear
            quiet[part] = (self._silenced[own] | hit[part]) & (clear < _CLEARED)
            self._silenced[own] = quiet[part]
        self.on = bool(self._silenced.any())
        return quiet

    def apply(
        self,
        octets: NDArray[np.uint8],
        places: NDArray[np.intp],
        lengths: NDArray[np.int32],
        rows: NDArray[np.intp],
    ) -> None:
        """Silence, in place, the packets at `places` (k,) of `octets`."""
        for place, length, row in zip(
            places.tolist(), lengths.tolist(), rows.tolist(), strict=True
        ):
            octets[place, HEADER:length] = self._octet[row]


def _samples(octets: NDArray[np.uint8], code: int) -> NDArray[np.float32]:
    """Return (k, 80) float32: 10 ms of payload at 8,000 a second."""
    table = _TABLES[code] if code < len(_TABLES) else None
    if table is not None:
        decoded: NDArray[np.float32] = table.take(octets)
        return decoded
    samples = np.ascontiguousarray(octets).view(">i2").astype(np.float32)
    # The mean of neighbours is filter enough for a suspicion.
    return samples if code == 3 else (samples[:, ::2] + samples[:, 1::2]) * np.float32(0.5)
