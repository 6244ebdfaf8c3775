"""The codecs of a worker's streams: payloads of any of them to samples of its own rate and back.

G.711 is a look-up over all rows at once. The others keep state for each stream and are made when the
first stream needs them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from media.dsp import g711
from media.dsp.codecs import Codec, codec_of
from media.errors import NotSupported
from media.plane.timeline import RATE_HZ
from media.wire.order import turns

KINDS = ("PCMU", "PCMA", "G722", "opus", "L16", "L16/16000", "G729")
PCMU, PCMA = 0, 1
_CLOCK_HZ = (8000, 8000, 8000, 48_000, 8000, 16_000, 8000)
_RATE_HZ = (8000, 8000, 16_000, 16_000, 8000, 16_000, 8000)
_MILLISECONDS_MAX = 240
"""Of one packet that are decoded; an Opus packet may hold 120."""


def rate_of(name: str) -> int:
    """Return the sampling rate at which streams of a codec are heard and spoken to, in hertz."""
    return _RATE_HZ[KINDS.index(name)] if name in KINDS else RATE_HZ


_SCALES = tuple(
    (rate_hz, clock_hz // math.gcd(rate_hz, clock_hz), rate_hz // math.gcd(rate_hz, clock_hz))
    for rate_hz, clock_hz in zip(_RATE_HZ, _CLOCK_HZ, strict=True)
)

Decoded = tuple[NDArray[np.intp], NDArray[np.int16]]
"""Places in the batch that was given, and their (k, n) samples."""


class Voices:
    """One row a stream. `kind[row]` indexes `KINDS`; set it by `choose`."""

    def __init__(self, streams: int) -> None:
        self._streams = streams
        self.kind: NDArray[np.uint8] = np.zeros(streams, np.uint8)
        self._codecs: dict[int, Codec] = {}

    def choose(self, row: int, name: str) -> float:
        """Let `row` speak the codec `name`; returns its RTP clock in hertz."""
        kind = KINDS.index(name)
        self.kind[row] = kind
        self.reset(row)
        return float(_CLOCK_HZ[kind])

    def check(self, name: str) -> None:
        """Raise `NotSupported` if streams of this codec cannot be decoded here."""
        if name not in KINDS:
            raise NotSupported(f"{name} cannot be decoded")
        if KINDS.index(name) > PCMA:
            self._codec(KINDS.index(name))

    def _codec(self, kind: int) -> Codec:
        codec = self._codecs.get(kind)
        if codec is None:
            codec = codec_of(KINDS[kind], self._streams, rate_hz=_RATE_HZ[kind])
            self._codecs[kind] = codec
        return codec

    def reset(self, row: int) -> None:
        """Another party speaks on `row`: its codec starts anew."""
        kind = int(self.kind[row])
        if kind in self._codecs:
            self._codecs[kind].reset(row)

    def scale(self, kind: int) -> tuple[int, int, int]:
        """Return the sampling rate of a kind, and how many timestamp units are how many samples."""
        return _SCALES[kind]

    def decode(
        self,
        rows: NDArray[np.intp],
        octets: NDArray[np.uint8],
        places: NDArray[np.intp],
        lengths: NDArray[np.int32],
        start: int,
    ) -> Iterator[Decoded]:
        """Decode k packets: row `places[i]` of `octets` from `start` on, `lengths[i]` in all.

        Yields groups of packets with equally many samples, in order of arrival for each row.
        """
        kinds = self.kind[rows]
        plain = kinds <= PCMA
        if plain.all():
            yield from self._decode_g711(kinds, None, octets, places, lengths, start)
            return
        yield from self._decode_g711(kinds, plain.nonzero()[0], octets, places, lengths, start)
        for kind in np.unique(kinds[~plain]).tolist():
            chosen = (kinds == kind).nonzero()[0]
            turn = turns(rows[chosen])
            for number in range(int(turn.max()) + 1):
                part = chosen[turn == number]
                yield from self._decode_stateful(kind, part, rows, octets, places, lengths, start)

    def _decode_g711(
        self,
        kinds: NDArray[np.uint8],
        chosen: NDArray[np.intp] | None,
        octets: NDArray[np.uint8],
        places: NDArray[np.intp],
        lengths: NDArray[np.int32],
        start: int,
    ) -> Iterator[Decoded]:
        own = lengths if chosen is None else lengths[chosen]
        if not len(own):
            return
        same = bool((own == own[0]).all())
        for length in [int(own[0])] if same else np.unique(own).tolist():
            if length <= start:
                continue
            if same:
                part = np.arange(len(lengths)) if chosen is None else chosen
            else:
                part = (own == length).nonzero()[0]
                part = part if chosen is None else chosen[part]
            codes = octets[places[part], start:length]
            alaw = (kinds[part] == PCMA).nonzero()[0]
            if len(alaw) == len(part):
                samples = g711.decode_alaw(codes)
            else:
                samples = g711.decode_ulaw(codes)
                if len(alaw):
                    samples[alaw] = g711.decode_alaw(codes[alaw])
            yield part, samples

    def _decode_stateful(
        self,
        kind: int,
        part: NDArray[np.intp],
        rows: NDArray[np.intp],
        octets: NDArray[np.uint8],
        places: NDArray[np.intp],
        lengths: NDArray[np.int32],
        start: int,
    ) -> Iterator[Decoded]:
        codec = self._codec(kind)
        sizes = lengths[part] - start
        payloads = octets[places[part], start : start + int(sizes.max(initial=0))]
        counts = codec.samples_in(payloads, sizes)
        for count in np.unique(counts).tolist():
            # Whole milliseconds: what any encoder makes.
            if not 0 < count <= _MILLISECONDS_MAX * codec.rate_hz // 1000 or count % 8:
                continue
            some = (counts == count).nonzero()[0]
            own = rows[part[some]].astype(np.intp)
            samples = codec.decode(own, payloads[some], sizes[some], count)
            yield part[some], samples

    def encode(
        self,
        rows: NDArray[np.intp],
        samples: NDArray[np.int16],
        out: NDArray[np.uint8],
    ) -> NDArray[np.int32]:
        """Encode (k, n) samples, one frame a row, to the left of `out` (k, W); returns lengths.

        All rows are of codecs with the same sampling rate, which is that of `samples`.
        """
        kinds = self.kind[rows]
        count = samples.shape[1]
        lengths = np.full(len(rows), count, np.int32)
        alaw = (kinds == PCMA).nonzero()[0]
        if len(alaw) == len(rows):
            out[:, :count] = g711.encode_alaw(samples)
            return lengths
        others = (kinds > PCMA).nonzero()[0]
        if len(others) < len(rows):
            out[:, :count] = g711.encode_ulaw(samples)
        if len(alaw):
            out[alaw, :count] = g711.encode_alaw(samples[alaw])
        for kind in np.unique(kinds[others]).tolist() if len(others) else ():
            some = (kinds == kind).nonzero()[0]
            payloads, sizes = self._codec(kind).encode(rows[some].astype(np.intp), samples[some])
            out[some, : payloads.shape[1]] = payloads
            lengths[some] = sizes
        return lengths
