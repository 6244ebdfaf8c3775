"""Why an offer cannot be answered, known before anybody is rung for it, in the words of a Warning (RFC 3261
20.43)."""

from __future__ import annotations

from collections.abc import Sequence

from softswitch.sip.sdp.codecs import codec_of
from softswitch.sip.sdp.description import MediaDescription, SessionDescription
from softswitch.sip.sdp.negotiation import protocols_by_policy


def refusal_of(
    offer: SessionDescription, codecs: Sequence[str], srtp: str
) -> tuple[int, str] | None:
    """The warn-code and -text for an offer without a line of audio that we carry, None for any other.

    Parameters: `codecs` that we take, `srtp` "off", "allow" or "require".
    """
    lines = [media for media in offer.media if media.kind == "audio" and media.port]
    if not lines:
        return 304, "no audio is offered"
    usable = [media for media in lines if _carried(media, srtp)]
    if not usable:
        keys = "" if srtp == "off" else "RTP/SAVP with keys in SDP"
        plain = "" if srtp == "require" else "RTP/AVP"
        taken = " or ".join(filter(None, (plain, keys)))
        also = "; DTLS-SRTP is not supported" if any(map(_wants_dtls, lines)) else ""
        return 302, f"only {taken} is taken{also}"
    if not any(_has_codec(media, codecs) for media in usable):
        return 305, f"only {', '.join(codecs)} is taken"
    return None


def _carried(media: MediaDescription, srtp: str) -> bool:
    for protocols in protocols_by_policy(srtp):
        if media.protocol.upper() in protocols:
            return "RTP/AVP" in protocols or any(name == "crypto" for name, _ in media.attributes)
    return False


def _wants_dtls(media: MediaDescription) -> bool:
    return "TLS" in media.protocol.upper().split("/")


def _has_codec(media: MediaDescription, codecs: Sequence[str]) -> bool:
    found = (codec_of(each) for each in media.audio_formats().values())
    return any(codec is not None and codec.name in codecs for codec in found)
