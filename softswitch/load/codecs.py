"""Codecs other than G.711 for the sound plane: a signature coded and decoded stream by stream.

G.711 needs no state and goes by look-up (`signature.coded_frames`); these cost an encoder and a decoder
a stream, so that a core carries some hundred of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from media.dsp import opus
from media.dsp.codecs import Codec, G722Codec, OpusCodec
from softswitch.errors import SoftswitchError
from softswitch.load import signature

CODECS = ("PCMU", "PCMA", "G722", "OPUS")
TABLES = 2
"""The first so many codecs go by look-up."""

Samples = NDArray[np.int16]


class StatefulCodec:
    """One codec for up to `capacity` streams. `step` is how far 20 ms move its RTP clock."""

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self._codec: Codec = G722Codec(capacity) if name == "G722" else OpusCodec(8000)
        self.step = self._codec.clock_hz // 50
        self.scale = self.step // signature.FRAME_SAMPLES
        self._wide = self._codec.rate_hz // signature.RATE_HZ
        frames = signature.tone_frames(self._codec.rate_hz)
        quiet = np.zeros((1, frames.shape[1]), np.int16)
        self._frames: Samples = np.concatenate([frames, quiet])

    def reset(self, slot: int) -> None:
        """Another party."""
        self._codec.reset(slot)

    def encode(
        self, slots: NDArray[np.intp], tones: NDArray[np.integer]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """One frame of the given tones a stream: (n, W) payloads and their (n,) octets."""
        return self._codec.encode(slots, self._frames[tones])

    def decode(
        self, slots: NDArray[np.intp], payloads: NDArray[np.uint8], octets: NDArray[np.integer]
    ) -> Samples:
        """(n, 160) int16 at 8,000 Hz of one packet a stream."""
        wanted = signature.FRAME_SAMPLES * self._wide
        pcm = self._codec.decode(slots, payloads, octets, wanted)
        if self._wide == 1:
            return pcm
        pairs = pcm.reshape(len(pcm), signature.FRAME_SAMPLES, self._wide)
        narrow: Samples = pairs.mean(axis=2).astype(np.int16)
        return narrow


def available(name: str) -> bool:
    """Whether there is sound in this codec here."""
    return name == "G722" or (name == "OPUS" and opus.available())


def codecs_offered(wanted: Sequence[str]) -> tuple[str, ...]:
    """The codecs to offer, by their names in SDP. Raises `SoftswitchError` for those without sound."""
    found = tuple(codec.upper() for codec in wanted)
    for codec in found:
        if codec not in CODECS[:TABLES] and not available(codec):
            raise SoftswitchError(f"codec {codec}: {', '.join(CODECS)} (OPUS where libopus is)")
    return tuple("opus" if codec == "OPUS" else codec for codec in found)
