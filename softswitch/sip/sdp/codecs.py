"""Audio formats: the static payload types of RFC 3551 and the codecs the media plane speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """An rtpmap: encoding name in lower case, RTP clock in Hz, channels; fmtp text or None."""

    name: str
    clock_hz: int
    channels: int = 1
    fmtp: str | None = None


@dataclass(frozen=True, slots=True)
class AudioCodec:
    """A codec we can offer: its name in the media plane and how SDP writes it."""

    name: str
    rtpmap: str
    format: AudioFormat
    payload_type: int

    @property
    def is_static(self) -> bool:
        """The payload type is fixed by RFC 3551."""
        return self.payload_type < 96


# G.722 samples at 16 kHz and yet its RTP clock is 8000: RFC 3551 4.5.2 kept the old error.
AUDIO_CODECS: Final[dict[str, AudioCodec]] = {
    codec.name: codec
    for codec in (
        AudioCodec("PCMU", "PCMU/8000", AudioFormat("pcmu", 8000), 0),
        AudioCodec("PCMA", "PCMA/8000", AudioFormat("pcma", 8000), 8),
        AudioCodec("G722", "G722/8000", AudioFormat("g722", 8000), 9),
        AudioCodec("opus", "opus/48000/2", AudioFormat("opus", 48_000, 2, "useinbandfec=1"), 107),
        AudioCodec("L16", "L16/8000", AudioFormat("l16", 8000), 108),
        AudioCodec("L16/16000", "L16/16000", AudioFormat("l16", 16_000), 109),
        AudioCodec("G729", "G729/8000", AudioFormat("g729", 8000), 18),
    )
}

STATIC_FORMATS: Final[dict[int, AudioFormat]] = {
    0: AudioFormat("pcmu", 8000),
    3: AudioFormat("gsm", 8000),
    4: AudioFormat("g723", 8000),
    5: AudioFormat("dvi4", 8000),
    6: AudioFormat("dvi4", 16_000),
    7: AudioFormat("lpc", 8000),
    8: AudioFormat("pcma", 8000),
    9: AudioFormat("g722", 8000),
    10: AudioFormat("l16", 44_100, 2),
    11: AudioFormat("l16", 44_100),
    12: AudioFormat("qcelp", 8000),
    13: AudioFormat("cn", 8000),
    14: AudioFormat("mpa", 90_000),
    15: AudioFormat("g728", 8000),
    16: AudioFormat("dvi4", 11_025),
    17: AudioFormat("dvi4", 22_050),
    18: AudioFormat("g729", 8000),
}

TELEPHONE_EVENT: Final = "telephone-event"
TELEPHONE_EVENT_PAYLOAD_TYPE: Final = 101
"""The number nearly everybody uses; RFC 4733 leaves it dynamic."""
EVENTS: Final = "0-15"
"""0-9, *, #, A-D: what RFC 4733 2.3 asks of a gateway."""


def codec_of(audio_format: AudioFormat) -> AudioCodec | None:
    """The codec of ours that `audio_format` names, or None.

    "G722/16000" is a common misreading of RFC 3551 and means the same codec.
    """
    return _BY_FORMAT.get((audio_format.name, audio_format.clock_hz, audio_format.channels))


_BY_FORMAT: Final = {
    (codec.format.name, codec.format.clock_hz, codec.format.channels): codec
    for codec in AUDIO_CODECS.values()
} | {("g722", 16_000, 1): AUDIO_CODECS["G722"]}
