"""The codecs of a worker's streams: payloads of any of them to samples of its own rate and back.

G.711 is a look-up over all rows at once. The others keep state for each stream and are made when the
first stream needs them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from media.dsp import g711, opus
from media.dsp.codecs import Codec, OpusCodec, codec_of
from media.errors import NotSupported
from media.plane.timeline import RATE_HZ
from media.wire.order import turns

KINDS = ("PCMU", "PCMA", "G722", "opus", "L16", "L16/16000", "G729")
PCMU, PCMA, OPUS = 0, 1, 3
_CLOCK_HZ = (8000, 8000, 8000, 48_000, 8000, 16_000, 8000)
_RATE_HZ = (8000, 8000, 16_000, 16_000, 8000, 16_000, 8000)
_MILLISECONDS_MAX = 240
"""Of one packet that are decoded; an Opus packet may hold 120."""


_RATE_OF = dict(zip(KINDS, _RATE_HZ, strict=True))


def rate_of(name: str) -> int:
    """Return the sampling rate at which streams of a codec are heard and spoken to, in hertz."""
    return _RATE_OF.get(name, RATE_HZ)


_SCALES = tuple(
    (rate_hz, clock_hz // math.gcd(rate_hz, clock_hz), rate_hz // math.gcd(rate_hz, clock_hz))
    for rate_hz, clock_hz in zip(_RATE_HZ, _CLOCK_HZ, strict=True)
)

Decoded = tuple[NDArray[np.intp], NDArray[np.int16], bool]
"""Places in the batch that was given, their (k, n) samples, and whether these are not theirs but what was lost
straight before them."""
_LOST_MAX = 3
"""Packets in a row of which the last is recovered: what comes later is after a pause."""


class Voices:
    """One row a stream. `kind[row]` indexes `KINDS`; set it by `choose`."""

    def __init__(self, streams: int) -> None:
        self._streams = streams
        self.kind: NDArray[np.uint8] = np.zeros(streams, np.uint8)
        self._codecs: dict[int, Codec] = {}
        self._due: NDArray[np.uint32] = np.zeros(streams, np.uint32)
        self._spoken: NDArray[np.bool_] = np.zeros(streams, np.bool_)

    def choose(self, row: int, name: str, fmtp: str | None = None) -> float:
        """Let `row` speak the codec `name`, as `fmtp` asks for; returns its RTP clock in hertz."""
        kind = KINDS.index(name)
        self.kind[row] = kind
        if kind > PCMA:  # the others keep nothing, and take what they are given
            self.reset(row)
            self.ask(row, fmtp)
        return float(_CLOCK_HZ[kind])

    def ask(self, row: int, fmtp: str | None) -> None:
        """The peer of `row` asks this of our encoder (RFC 7587 section 6.1)."""
        if self.kind.item(row) == OPUS and opus.available():
            codec = self._codec(OPUS)
            assert isinstance(codec, OpusCodec)
            codec.configure(row, opus.OpusParameters.from_fmtp(fmtp or ""))

    def expect_loss(self, row: int, share: float) -> None:
        """The peer of `row` reports that this share of our packets has been lost, 0 to 1."""
        codec = self._codecs.get(OPUS)
        if self.kind[row] == OPUS and isinstance(codec, OpusCodec):
            codec.expect_loss(row, round(100 * share))

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
        kind = self.kind.item(row)
        if kind <= PCMA:
            return  # keeps nothing
        self._spoken[row] = False
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
        timestamps: NDArray[np.uint32],
    ) -> Iterator[Decoded]:
        """Decode k packets: row `places[i]` of `octets` from `start` on, `lengths[i]` in all, said at
        `timestamps[i]`.

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
                sizes = lengths[part] - start
                payloads = octets[places[part], start : start + int(sizes.max(initial=0))]
                yield from self._decode_stateful(
                    kind, part, rows[part].astype(np.intp), payloads, sizes, timestamps[part]
                )

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
            yield part, samples, False

    def _decode_stateful(
        self,
        kind: int,
        part: NDArray[np.intp],
        rows: NDArray[np.intp],
        payloads: NDArray[np.uint8],
        sizes: NDArray[np.int32],
        timestamps: NDArray[np.uint32],
    ) -> Iterator[Decoded]:
        codec = self._codec(kind)
        counts = codec.samples_in(payloads, sizes)
        for count in np.unique(counts).tolist():
            # Whole milliseconds: what any encoder makes.
            if not 0 < count <= _MILLISECONDS_MAX * codec.rate_hz // 1000 or count % 8:
                continue
            some = (counts == count).nonzero()[0]
            own = rows[some]
            if isinstance(codec, OpusCodec):
                lost = self._lost_before(own, timestamps[some], count).nonzero()[0]
                if len(lost):
                    before = some[lost]
                    found = codec.recover(rows[before], payloads[before], sizes[before], count)
                    yield part[before], found, True
            yield part[some], codec.decode(own, payloads[some], sizes[some], count), False

    def _lost_before(
        self, rows: NDArray[np.intp], timestamps: NDArray[np.uint32], count: int
    ) -> NDArray[np.bool_]:
        """Of Opus packets of `count` samples: which come straight after a few that are missing. They tell of
        the last of those (RFC 6716 section 2.1.7)."""
        _, units, held = _SCALES[OPUS]
        span = count * units // held
        gap = (timestamps - self._due[rows]).view(np.int32)
        lost: NDArray[np.bool_] = self._spoken[rows] & (gap >= span) & (gap <= _LOST_MAX * span)
        newer = ~self._spoken[rows] | (gap > -(1 << 16))
        self._due[rows[newer]] = timestamps[newer] + np.uint32(span)
        self._spoken[rows] = True
        return lost

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
