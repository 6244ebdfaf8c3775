"""Session descriptions (RFC 8866) and the offer/answer model for audio (RFC 3264)."""

from __future__ import annotations

from softswitch.sip.sdp.address import AddressKind, address_kind, canonical_address, reflects
from softswitch.sip.sdp.codecs import AUDIO_CODECS, AudioFormat
from softswitch.sip.sdp.description import (
    MediaDescription,
    Origin,
    SdpError,
    SessionDescription,
)
from softswitch.sip.sdp.direction import DIRECTIONS, answer_direction, reverse
from softswitch.sip.sdp.negotiation import (
    AudioNegotiated,
    make_answer,
    make_offer,
    read_answer,
    rtcp_port,
)

__all__ = [
    "AUDIO_CODECS",
    "DIRECTIONS",
    "AddressKind",
    "AudioFormat",
    "AudioNegotiated",
    "MediaDescription",
    "Origin",
    "SdpError",
    "SessionDescription",
    "address_kind",
    "answer_direction",
    "canonical_address",
    "make_answer",
    "make_offer",
    "read_answer",
    "reflects",
    "reverse",
    "rtcp_port",
]
