"""One face for all codecs: payloads of many streams to samples and back.

Sources: RFC 3551 section 4.5 (payload formats, static types), RFC 7587 (Opus), ITU-T G.711, G.722.

A `Codec` serves up to `streams` streams, one row each; a stream keeps its row for the call. Payloads are
(K, W) uint8 with (K,) lengths in octets, samples (K, n) int16 at `rate_hz`. What cannot be decoded
becomes silence and is counted, never an exception: these octets come from the network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from media.dsp import g711, g722
from media.dsp import g729 as g729_library
from media.dsp import opus as opus_library
from media.errors import CodecError, NotSupported

Samples = NDArray[np.int16]
Octets = NDArray[np.uint8]
Rows = NDArray[np.intp]
Counts = NDArray[np.integer]


class Codec(Protocol):
    """What the engine needs of a codec."""

    name: str
    rate_hz: int
    """Of the samples."""
    clock_hz: int
    """Of the RTP timestamps."""
    broken: int
    """Payloads that could not be decoded so far."""

    def reset(self, row: int) -> None:
        """Start `row` anew for another party."""

    def samples_in(self, payloads: Octets, octets: Counts) -> NDArray[np.int32]:
        """Return (K,) how many samples each payload holds; 0 for one that is broken."""

    def decode(self, rows: Rows, payloads: Octets, octets: Counts, samples: int) -> Samples:
        """Decode one payload a row to (K, `samples`) int16, short ones filled with silence."""

    def encode(self, rows: Rows, samples: Samples) -> tuple[Octets, NDArray[np.int32]]:
        """Encode one frame a row: (K, W) uint8 payloads and their (K,) int32 lengths."""


def _fit(samples: Samples, octets_held: NDArray[np.int64], wanted: int) -> Samples:
    """Cut or fill (K, n) to (K, wanted) and silence what lies behind each row's own length."""
    out = np.zeros((len(samples), wanted), np.int16)
    width = min(wanted, samples.shape[1])
    out[:, :width] = samples[:, :width]
    if (octets_held < wanted).any():
        out[np.arange(wanted) >= octets_held[:, None]] = 0
    return out


class G711Codec:
    """PCMU or PCMA: stateless, all rows by one look-up."""

    def __init__(self, name: str) -> None:
        self.name, self.rate_hz, self.clock_hz, self.broken = name, 8000, 8000, 0
        alaw = name == "PCMA"
        self._decode = g711.decode_alaw if alaw else g711.decode_ulaw
        self._encode = g711.encode_alaw if alaw else g711.encode_ulaw

    def reset(self, row: int) -> None:
        """Nothing to forget."""

    def samples_in(self, payloads: Octets, octets: Counts) -> NDArray[np.int32]:
        """Return (K,): one sample an octet."""
        return octets.astype(np.int32)

    def decode(self, rows: Rows, payloads: Octets, octets: Counts, samples: int) -> Samples:
        """See `Codec`."""
        return _fit(self._decode(payloads[:, :samples]), octets.astype(np.int64), samples)

    def encode(self, rows: Rows, samples: Samples) -> tuple[Octets, NDArray[np.int32]]:
        """See `Codec`."""
        return self._encode(samples), np.full(len(samples), samples.shape[1], np.int32)


class LinearCodec:
    """L16: 16-bit samples in network octet order, one party (RFC 3551 section 4.5.11)."""

    def __init__(self, rate_hz: int = 8000) -> None:
        self.name = "L16" if rate_hz == 8000 else f"L16/{rate_hz}"
        self.rate_hz, self.clock_hz, self.broken = rate_hz, rate_hz, 0

    def reset(self, row: int) -> None:
        """Nothing to forget."""

    def samples_in(self, payloads: Octets, octets: Counts) -> NDArray[np.int32]:
        """Return (K,): two octets a sample."""
        return (octets // 2).astype(np.int32)

    def decode(self, rows: Rows, payloads: Octets, octets: Counts, samples: int) -> Samples:
        """See `Codec`."""
        even = payloads.shape[1] // 2 * 2
        wide = np.ascontiguousarray(payloads[:, :even]).view(">i2").astype(np.int16)
        return _fit(wide, octets.astype(np.int64) // 2, samples)

    def encode(self, rows: Rows, samples: Samples) -> tuple[Octets, NDArray[np.int32]]:
        """See `Codec`."""
        octets = np.ascontiguousarray(samples, ">i2").view(np.uint8)
        return octets, np.full(len(samples), octets.shape[1], np.int32)


class G722Codec:
    """G.722 at 64 kbit/s: 16 kHz samples, an RTP clock of 8 kHz."""

    def __init__(self, streams: int) -> None:
        self.name, self.rate_hz, self.clock_hz, self.broken = "G722", 16000, 8000, 0
        self._encoder, self._decoder = g722.G722Encoder(streams), g722.G722Decoder(streams)

    def reset(self, row: int) -> None:
        """See `Codec`."""
        self._encoder.reset(row)
        self._decoder.reset(row)

    def samples_in(self, payloads: Octets, octets: Counts) -> NDArray[np.int32]:
        """Return (K,): two samples an octet."""
        return (octets * 2).astype(np.int32)

    def decode(self, rows: Rows, payloads: Octets, octets: Counts, samples: int) -> Samples:
        """See `Codec`. Rows of one length are decoded together."""
        out = np.zeros((len(rows), samples), np.int16)
        held = np.minimum(octets, payloads.shape[1]).astype(np.int64)
        for length in np.unique(held[held > 0]).tolist():
            at = np.flatnonzero(held == length)
            decoded = self._decoder.decode(rows[at], payloads[at, :length])
            width = min(samples, 2 * length)
            out[at, :width] = decoded[:, :width]
        return out

    def encode(self, rows: Rows, samples: Samples) -> tuple[Octets, NDArray[np.int32]]:
        """See `Codec`."""
        codes = self._encoder.encode(rows, samples)
        return codes, np.full(len(rows), codes.shape[1], np.int32)


class OpusCodec:
    """Opus: an encoder and a decoder a row, made when the row first speaks."""

    def __init__(self, rate_hz: int = 16000) -> None:
        if not opus_library.available():
            raise NotSupported("Opus needs libopus: pip install opuslib-next-bundled")
        self.name, self.rate_hz, self.broken = "opus", rate_hz, 0
        self.clock_hz = opus_library.RTP_CLOCK_HZ
        self._encoders: dict[int, opus_library.OpusEncoder] = {}
        self._decoders: dict[int, opus_library.OpusDecoder] = {}
        self._parameters: dict[int, opus_library.OpusParameters] = {}

    def configure(self, row: int, parameters: opus_library.OpusParameters) -> None:
        """Say what the far end of `row` asks of our encoder; before it first speaks, or again."""
        known = self._parameters.get(row)
        if known is None or replace(known, loss_percent=0) != parameters:
            self._parameters[row] = parameters
            self._encoders.pop(row, None)

    def reset(self, row: int) -> None:
        """See `Codec`."""
        self._encoders.pop(row, None)
        self._decoders.pop(row, None)

    def expect_loss(self, row: int, percent: int) -> None:
        """Say how much loss the far end of `row` reports, in percent: so much redundancy it is sent, if it
        has asked for any."""
        wanted = self._parameters.get(row)
        if wanted is None or not wanted.inband_fec or wanted.loss_percent == percent:
            return
        self._parameters[row] = replace(wanted, loss_percent=percent)
        encoder = self._encoders.get(row)
        if encoder is not None:
            encoder.expect_loss(percent)

    def recover(self, rows: Rows, payloads: Octets, octets: Counts, samples: int) -> Samples:
        """Rebuild what was lost before one payload a row, (K, `samples`) int16, from what that says of it or,
        if nothing, from what was before; `decode` of the payload itself comes after."""
        out = np.zeros((len(rows), samples), np.int16)
        for at, (row, length) in enumerate(zip(rows.tolist(), octets.tolist(), strict=True)):
            decoder = self._decoders.get(row)
            if decoder is None:
                continue
            try:
                found = decoder.recover(payloads[at, :length].tobytes(), samples)
            except CodecError:
                continue
            out[at, : len(found)] = found[:samples]
        return out

    def samples_in(self, payloads: Octets, octets: Counts) -> NDArray[np.int32]:
        """Return (K,): what the packets themselves say (RFC 6716 section 3.1)."""
        counts = [
            opus_library.packet_samples(payload[:length].tobytes(), self.rate_hz)
            for payload, length in zip(payloads, octets.tolist(), strict=True)
        ]
        return np.array(counts, np.int32)

    def decode(self, rows: Rows, payloads: Octets, octets: Counts, samples: int) -> Samples:
        """See `Codec`; a payload of no octets is a lost packet, and concealed."""
        out = np.zeros((len(rows), samples), np.int16)
        for at, (row, length) in enumerate(zip(rows.tolist(), octets.tolist(), strict=True)):
            decoder = self._decoders.get(row)
            if decoder is None:
                decoder = self._decoders[row] = opus_library.OpusDecoder(self.rate_hz)
            try:
                if length > 0:
                    decoded = decoder.decode(payloads[at, :length].tobytes())
                else:
                    decoded = decoder.conceal(samples)
            except CodecError:
                self.broken += 1
                continue
            out[at, : len(decoded)] = decoded[:samples]
        return out

    def encode(self, rows: Rows, samples: Samples) -> tuple[Octets, NDArray[np.int32]]:
        """See `Codec`."""
        packets = []
        for row, frame in zip(rows.tolist(), samples, strict=True):
            encoder = self._encoders.get(row)
            if encoder is None:
                encoder = opus_library.OpusEncoder(self.rate_hz, self._parameters.get(row))
                self._encoders[row] = encoder
            packets.append(encoder.encode(frame))
        lengths = np.array([len(packet) for packet in packets], np.int32)
        payloads = np.zeros((len(packets), int(lengths.max(initial=0))), np.uint8)
        for at, packet in enumerate(packets):
            payloads[at, : len(packet)] = np.frombuffer(packet, np.uint8)
        return payloads, lengths


class G729Codec:
    """G.729 through a library that the user has installed: 10 octets for 10 ms."""

    def __init__(self) -> None:
        if not g729_library.available():
            raise NotSupported(g729_library.INSTALL)
        self.name, self.rate_hz, self.clock_hz, self.broken = "G729", 8000, 8000, 0
        self._encoders: dict[int, g729_library.G729Encoder] = {}
        self._decoders: dict[int, g729_library.G729Decoder] = {}

    def reset(self, row: int) -> None:
        """See `Codec`."""
        self._encoders.pop(row, None)
        self._decoders.pop(row, None)

    def samples_in(self, payloads: Octets, octets: Counts) -> NDArray[np.int32]:
        """Return (K,): 80 samples for 10 octets, and for a silence descriptor of 2."""
        return np.array([g729_library.samples_in(each) for each in octets.tolist()], np.int32)

    def decode(self, rows: Rows, payloads: Octets, octets: Counts, samples: int) -> Samples:
        """See `Codec`."""
        out = np.zeros((len(rows), samples), np.int16)
        for at, (row, length) in enumerate(zip(rows.tolist(), octets.tolist(), strict=True)):
            decoder = self._decoders.get(row)
            if decoder is None:
                decoder = self._decoders[row] = g729_library.G729Decoder()
            decoded = decoder.decode(payloads[at, :length])[:samples]
            self.broken += not len(decoded)
            out[at, : len(decoded)] = decoded
        return out

    def encode(self, rows: Rows, samples: Samples) -> tuple[Octets, NDArray[np.int32]]:
        """See `Codec`."""
        frames = []
        for row, frame in zip(rows.tolist(), samples, strict=True):
            encoder = self._encoders.get(row)
            if encoder is None:
                encoder = self._encoders[row] = g729_library.G729Encoder()
            frames.append(encoder.encode(frame))
        payloads = np.stack(frames)
        return payloads, np.full(len(frames), payloads.shape[1], np.int32)


def codec_of(name: str, streams: int, *, rate_hz: int | None = None) -> Codec:
    """Make a codec for up to `streams` streams; `rate_hz` where the codec leaves a choice.

    `name` as in `a=rtpmap`, in any case: PCMU, PCMA, G722, L16, L16/16000, opus, G729. Raises
    `NotSupported`.
    """
    known = name.upper()
    if known in ("PCMU", "PCMA"):
        return G711Codec(known)
    if known == "G722":
        return G722Codec(streams)
    if known == "L16":
        return LinearCodec(rate_hz or 8000)
    if known == "L16/16000":
        return LinearCodec(16_000)
    if known == "OPUS":
        return OpusCodec(rate_hz or 16000)
    if known == "G729":
        return G729Codec()
    raise NotSupported(f"codec {name}; allowed: PCMU, PCMA, G722, L16, L16/16000, opus, G729")
