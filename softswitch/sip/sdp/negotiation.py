"""Offers and answers for one audio stream (RFC 3264), as pure functions over descriptions.

We always settle on one codec plus telephone-event: a peer that may switch codecs in the middle of a
stream gains nothing and costs the media plane a decoder in waiting. Everything else a description
may hold (video, text, application) is answered with port 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.structs import replace as change

from softswitch.errors import LocalProtocolError
from softswitch.sip.sdp.address import AddressKind, address_kind, canonical_address, literal
from softswitch.sip.sdp.codecs import (
    AUDIO_CODECS,
    EVENTS,
    TELEPHONE_EVENT,
    TELEPHONE_EVENT_PAYLOAD_TYPE,
    AudioCodec,
    AudioFormat,
    codec_of,
)
from softswitch.sip.sdp.description import (
    REMEMBERED_MAX,
    Attributes,
    MediaDescription,
    Origin,
    SdpError,
    Section,
    SessionDescription,
    Told,
)
from softswitch.sip.sdp.direction import answer_direction, compose, receives, sends

DEFAULT_CODECS: Final = ("PCMA", "PCMU", "G722")
PTIMES_MS: Final = (10, 20, 30, 40, 60)
_PLAIN_PROTOCOLS: Final = frozenset({"RTP/AVP", "RTP/AVPF"})
_SECURE_PROTOCOLS: Final = frozenset({"RTP/SAVP", "RTP/SAVPF"})

Formats = tuple[tuple[int, str, str | None], ...]
"""Payload type, rtpmap and fmtp of each format of a line of ours."""

ChooseCrypto = Callable[[Sequence[str]], tuple[str, str] | None]
"""From the ``a=crypto`` values of an offer to the one taken and our own, or None (RFC 4568 5.1.2)."""


class AudioNegotiated(Struct, frozen=True):
    """What both sides have agreed, seen from ours.

    `payload_type` and `dtmf_payload_type` are what we put into packets; the `receive_` ones what
    the peer may send (they differ only when an answer renumbers a dynamic type). `ptime_ms` is the
    packet time the peer wants. `direction` is ours. `on_hold` is True when the peer does not want
    our audio. `rejected` counts media lines refused; `media_index` is the audio line's place.
    `srtp_in` and `srtp_out` are the ``a=crypto`` values of the peer and ours, None without SRTP;
    `remote_ssrc` is what the peer says it sends with (RFC 5576); `fmtp` what it says of the codec,
    `maxptime_ms` the longest packet that it takes.
    """

    remote_host: str
    remote_port: int
    codec: str
    payload_type: int
    dtmf_payload_type: int | None
    ptime_ms: int
    direction: str
    on_hold: bool = False
    rtcp_mux: bool = False
    remote_rtcp_port: int = 0
    receive_payload_type: int = 0
    receive_dtmf_payload_type: int | None = None
    rejected: int = 0
    media_index: int = 0
    srtp_in: str | None = None
    srtp_out: str | None = None
    remote_ssrc: int | None = None
    fmtp: str | None = None
    maxptime_ms: int | None = None

    @property
    def named_rtcp_port(self) -> int | None:
        """Where RTCP goes if that is not what everybody would guess: neither the media's port nor the next."""
        usual = self.rtcp_mux or self.remote_rtcp_port in (0, self.remote_port + 1)
        return None if usual else self.remote_rtcp_port

    @property
    def remote(self) -> tuple[str, int] | None:
        """Where to send, as a plain IP literal and a port.

        None while the peer names no usable address: c=0.0.0.0, port 0, or a host name, which nobody
        may make us look up.
        """
        try:
            host, kind = literal(self.remote_host)
        except ValueError:
            return None
        port = self.remote_port
        return None if port == 0 or kind is AddressKind.UNSPECIFIED else (host, port)


# -- our offers -------------------------------------------------------------------------------


def make_offer(
    local_host: str,
    local_port: int,
    codecs: Sequence[str] = DEFAULT_CODECS,
    *,
    session_id: int = 0,
    direction: str = "sendrecv",
    ptime_ms: int = 20,
    dtmf: bool = True,
    rtcp_mux: bool = False,
    payload_types: Mapping[str, int] | None = None,
    previous: SessionDescription | None = None,
    name: str = "-",
    crypto: Sequence[str] = (),
    ssrc: int | None = None,
) -> SessionDescription:
    """An offer of one audio stream, best codec first.

    `codecs` are names of `AUDIO_CODECS`. `session_id` is a number of the caller's choice, unique
    for this host (RFC 8866 5.2). `payload_types` fixes dynamic numbers by codec name (and
    "telephone-event"), so that a later offer keeps what the peer chose. `previous` is our last
    description of the session: its id, its numbers and its media lines are kept, the version
    rises when anything changed (RFC 3264 8). With `crypto` values the line is RTP/SAVP: SRTP or
    nothing (RFC 4568). `ssrc` is announced (RFC 5576). Raises LocalProtocolError for unknown codecs.
    """
    if previous is None and not payload_types:
        formats = _first_formats(tuple(codecs), dtmf)
    else:
        numbers = {**_numbers_of(previous), **(payload_types or {})}
        formats = _number_formats(codecs, numbers, dtmf=dtmf)
    protocol = "RTP/SAVP" if crypto else "RTP/AVP"
    audio = _our_audio(local_port, protocol, formats, ptime_ms, direction, rtcp_mux, crypto, ssrc)
    return _describe(local_host, _with_old_lines(audio, previous), session_id, previous, name)


@lru_cache(REMEMBERED_MAX)
def _first_formats(codecs: tuple[str, ...], dtmf: bool) -> Formats:
    """The formats of a first offer, in which no number is given yet."""
    return _number_formats(codecs, {}, dtmf=dtmf)


def _number_formats(codecs: Sequence[str], numbers: Mapping[str, int], *, dtmf: bool) -> Formats:
    """(payload type, rtpmap, fmtp) of each codec and of telephone-event at their clocks."""
    chosen: list[tuple[int, str, str | None]] = []
    taken = set(numbers.values())
    clocks: list[int] = []
    for codec_name in codecs:
        codec = AUDIO_CODECS.get(codec_name)
        if codec is None:
            raise LocalProtocolError(f"unknown codec {codec_name!r}")
        number = codec.payload_type
        if not codec.is_static:
            number = _pick(numbers.get(codec_name), number, taken)
        chosen.append((number, codec.rtpmap, codec.format.fmtp))
        if codec.format.clock_hz not in clocks:
            clocks.append(codec.format.clock_hz)
    if not chosen:
        raise LocalProtocolError("an offer needs a codec")
    if dtmf:
        # 8000 Hz first: it gets the number that careless peers take for granted.
        for clock_hz in sorted(clocks, key=lambda hz: hz != 8000):
            key = _event_key(clock_hz)
            number = _pick(numbers.get(key), TELEPHONE_EVENT_PAYLOAD_TYPE, taken)
            chosen.append((number, f"{TELEPHONE_EVENT}/{clock_hz}", EVENTS))
    return tuple(chosen)


def _event_key(clock_hz: int) -> str:
    return TELEPHONE_EVENT if clock_hz == 8000 else f"{TELEPHONE_EVENT}/{clock_hz}"


def _pick(fixed: int | None, wish: int, taken: set[int]) -> int:
    """A dynamic payload type: the fixed one, else the wish, else the next free."""
    if fixed is not None:
        return fixed
    candidates: list[int] = [wish, *range(96, 128)]
    for number in candidates:
        if number not in taken:
            taken.add(number)
            return number
    raise LocalProtocolError("no payload type left")


def _numbers_of(previous: SessionDescription | None) -> Mapping[str, int]:
    """The dynamic numbers our last description used (RFC 3264 8.3.2: never reassigned)."""
    numbers: dict[str, int] = {}
    for media in previous.media if previous is not None else ():
        for number, audio_format in media.audio_formats().items():
            codec = codec_of(audio_format)
            if codec is not None and not codec.is_static:
                numbers.setdefault(codec.name, number)
            elif audio_format.name == TELEPHONE_EVENT:
                numbers.setdefault(_event_key(audio_format.clock_hz), number)
    return numbers


def _our_audio(
    port: int,
    protocol: str,
    formats: Formats,
    ptime_ms: int,
    direction: str,
    rtcp_mux: bool,
    crypto: Sequence[str],
    ssrc: int | None,
) -> MediaDescription:
    """An audio section of ours; all but its port, keys and source is remembered, as text too."""
    section, before, after = _our_section(protocol, formats, ptime_ms, direction, rtcp_mux)
    if crypto:
        keys: Attributes = tuple([("crypto", value) for value in crypto])
        source: Attributes = (("ssrc", f"{ssrc} cname:softswitch"),) if ssrc is not None else ()
        attributes = (*keys, *section.attributes[:-1], *source, section.attributes[-1])
        return MediaDescription("audio", port, protocol, section.formats, None, attributes)
    if ssrc is None:
        return MediaDescription.known("audio", port, section, f"{before}{after}")
    text = f"{before}\r\na=ssrc:{ssrc} cname:softswitch{after}"
    media = MediaDescription.known("audio", port, section, text)
    media.announce(ssrc)
    return media


@lru_cache(REMEMBERED_MAX)
def _our_section(
    protocol: str, formats: Formats, ptime_ms: int, direction: str, rtcp_mux: bool
) -> tuple[Section, str, str]:
    """A section of ours without keys and source, and its text before and after the place of a source."""
    attributes: list[tuple[str, str | None]] = []
    for number, rtpmap, fmtp in formats:
        attributes.append(("rtpmap", f"{number} {rtpmap}"))
        if fmtp is not None:
            attributes.append(("fmtp", f"{number} {fmtp}"))
    attributes.append(("ptime", str(ptime_ms)))
    if rtcp_mux:
        attributes.append(("rtcp-mux", None))
    attributes.append((direction, None))
    section = Section.of(protocol, tuple([str(n) for n, _, _ in formats]), tuple(attributes))
    *before, after = section.text.rpartition("\r\n")
    return section, before[0], f"\r\n{after}"


def _with_old_lines(
    audio: MediaDescription, previous: SessionDescription | None
) -> tuple[MediaDescription, ...]:
    """Media lines never go away nor change places (RFC 3264 8): ours stands where it stood."""
    if previous is None:
        return (audio,)
    lines = [replace(m, port=0, attributes=()) for m in previous.media]
    place = next((i for i, m in enumerate(previous.media) if m.kind == "audio" and m.port), None)
    if place is None:
        place = next((i for i, m in enumerate(previous.media) if m.kind == "audio"), len(lines))
    lines[place : place + 1] = [audio]
    return tuple(lines)


def _describe(
    host: str,
    media: tuple[MediaDescription, ...],
    session_id: int,
    previous: SessionDescription | None,
    name: str,
) -> SessionDescription:
    if previous is None:
        return SessionDescription(Origin(str(session_id), 1, host), media, host, (), name)
    same = SessionDescription(previous.origin, media, host, (), previous.name)
    if same == previous:
        return previous
    origin = change(previous.origin, version=previous.origin.version + 1)
    return change(same, origin=origin)


# -- our answers ------------------------------------------------------------------------------


def make_answer(
    offer: SessionDescription,
    local_host: str,
    local_port: int,
    codecs: Sequence[str] = DEFAULT_CODECS,
    *,
    session_id: int = 0,
    direction: str = "sendrecv",
    ptime_ms: int = 20,
    dtmf: bool = True,
    rtcp_mux: bool = False,
    previous: SessionDescription | None = None,
    prefer_ours: bool = False,
    name: str = "-",
    srtp: str = "off",
    choose_crypto: ChooseCrypto | None = None,
    ssrc: int | None = None,
) -> tuple[SessionDescription, AudioNegotiated]:
    """The answer to `offer` and what it agrees.

    The first audio line with plain RTP and a codec in `codecs` is accepted, in the offerer's order
    of preference (in ours with `prefer_ours`); payload numbers are the offerer's; every other line
    is refused with port 0. `direction` is what we would like. `previous` is our last description
    of this session, as in `make_offer`. `srtp` is the policy towards this peer: "allow" takes a
    secure line where there is one, "require" no other; `choose_crypto` then picks the keys. Raises
    SdpError (488) when nothing fits.
    """
    index, number, codec = _choose(offer, tuple(codecs), prefer_ours, srtp, choose_crypto)
    media = offer.media[index]
    told = media.told
    their_formats = told.formats
    keys = _keys_for(media, choose_crypto)
    theirs = _effective_direction(offer, media, told)
    ours = answer_direction(theirs, direction)
    event_number = _event_number(their_formats, codec) if dtmf else None
    mux = rtcp_mux and "rtcp-mux" in told.first
    formats: Formats = ((number, codec.rtpmap, codec.format.fmtp),)
    if event_number is not None:
        rate_hz = codec.format.clock_hz
        formats += ((event_number, f"{TELEPHONE_EVENT}/{rate_hz}", EVENTS),)
    crypto = (keys[1],) if keys else ()
    audio = _our_audio(local_port, media.protocol, formats, ptime_ms, ours, mux, crypto, ssrc)
    lines = [audio if line is media else _refuse(line) for line in offer.media]
    answer = _describe(local_host, tuple(lines), session_id, previous, name)
    host = offer.host_of(media) or "0.0.0.0"
    return answer, AudioNegotiated(
        remote_host=host,
        remote_port=media.port,
        codec=codec.name,
        payload_type=number,
        dtmf_payload_type=event_number,
        ptime_ms=_ptime(told, ptime_ms),
        direction=ours,
        on_hold=not receives(theirs),
        rtcp_mux=mux,
        remote_rtcp_port=rtcp_port(media, mux, host),
        receive_payload_type=number,
        receive_dtmf_payload_type=event_number,
        rejected=len(lines) - 1,
        media_index=index,
        srtp_in=keys[0] if keys else None,
        srtp_out=keys[1] if keys else None,
        remote_ssrc=told.ssrc,
        fmtp=their_formats[number].fmtp,
        maxptime_ms=told.maxptime_ms,
    )


def _choose(
    offer: SessionDescription,
    codecs: tuple[str, ...],
    prefer_ours: bool,
    srtp: str,
    choose_crypto: ChooseCrypto | None,
) -> tuple[int, int, AudioCodec]:
    """(media line, payload type, codec) of the line we take, a secure one first."""
    for protocols in protocols_by_policy(srtp):
        for index, media in enumerate(offer.media):
            if (
                media.kind != "audio"
                or media.port == 0
                or media.protocol.upper() not in protocols
                or offer.host_of(media) is None
                or (protocols is _SECURE_PROTOCOLS and _keys_for(media, choose_crypto) is None)
            ):
                continue
            told = media.told
            best = _best if told.remembered else _best.__wrapped__
            found = best(told, codecs, prefer_ours)
            if found is not None:
                return index, *found
    raise SdpError("no audio format in common", 488)


@lru_cache(REMEMBERED_MAX)
def _best(told: Told, codecs: tuple[str, ...], prefer_ours: bool) -> tuple[int, AudioCodec] | None:
    """(payload type, codec) of what we take of an offered section, None where nothing fits."""
    found = [
        (number, codec)
        for number, audio_format in told.formats.items()
        if (codec := codec_of(audio_format)) is not None and codec.name in codecs
    ]
    if found and prefer_ours:
        found.sort(key=lambda pair: codecs.index(pair[1].name))
    return found[0] if found else None


def protocols_by_policy(srtp: str) -> tuple[frozenset[str], ...]:
    """The protocols of media lines that are taken, the preferred kind first."""
    if srtp == "require":
        return (_SECURE_PROTOCOLS,)
    return (_SECURE_PROTOCOLS, _PLAIN_PROTOCOLS) if srtp == "allow" else (_PLAIN_PROTOCOLS,)


def _keys_for(
    media: MediaDescription, choose_crypto: ChooseCrypto | None
) -> tuple[str, str] | None:
    """The peer's crypto value and ours for a secure line, None for a plain one or without keys."""
    if choose_crypto is None or media.protocol.upper() not in _SECURE_PROTOCOLS:
        return None
    return choose_crypto(_cryptos(media))


def _cryptos(media: MediaDescription) -> list[str]:
    return [value for name, value in media.attributes if name == "crypto" and value is not None]


def _refuse(media: MediaDescription) -> MediaDescription:
    """A refused line: port 0, otherwise what the offer said (RFC 3264 6)."""
    return MediaDescription(media.kind, 0, media.protocol, media.formats[:1] or ("0",))


def _effective_direction(
    description: SessionDescription, media: MediaDescription, told: Told
) -> str:
    """The peer's direction; c=0.0.0.0 means it does not want our media (RFC 3264 8.4)."""
    direction = told.direction or description.direction_of(media)
    host = description.host_of(media)
    # All that are unspecified begin so, mapped into IPv6 or not; the others need not be looked at.
    if host and host[0] in "0:" and address_kind(host) is AddressKind.UNSPECIFIED:
        return compose(send=sends(direction), receive=False)
    return direction


def _event_number(formats: Mapping[int, AudioFormat], codec: AudioCodec) -> int | None:
    """telephone-event at the codec's clock: with another one its timestamps would not fit."""
    clock_hz = codec.format.clock_hz
    for number, audio_format in formats.items():
        if audio_format.name == TELEPHONE_EVENT and audio_format.clock_hz == clock_hz:
            return number
    return None


def _ptime(told: Told, ours_ms: int) -> int:
    """The packet time to send: what the peer likes if we can, never above its maximum."""
    wish_ms = told.ptime_ms
    chosen = wish_ms if wish_ms in PTIMES_MS else ours_ms
    largest_ms = told.maxptime_ms
    if largest_ms is not None and chosen > largest_ms:
        chosen = max((p for p in PTIMES_MS if p <= largest_ms), default=chosen)
    return chosen


def rtcp_port(media: MediaDescription, mux: bool, host: str) -> int:
    """Where RTCP goes: the RTP port under mux, a=rtcp (RFC 3605), else the next port; 0: nowhere.

    A named port counts at the address of the media only: reports that anybody could have sent to a third
    party are not for us to send.
    """
    if mux:
        return media.port
    if "rtcp" not in media.told.first:
        return media.port + 1 if media.port < 65_535 else 0
    port, *address = (media.attribute("rtcp") or "").split()[:4] or [""]
    here = not address or canonical_address(address[-1]) == canonical_address(host)
    if here and len(port) <= 5 and port.isascii() and port.isdigit() and 0 < int(port) < 65_536:
        return int(port)
    return media.port + 1 if media.port < 65_535 else 0


# -- answers to us ----------------------------------------------------------------------------


def read_answer(offer: SessionDescription, answer: SessionDescription) -> AudioNegotiated:
    """What the peer's `answer` to our `offer` agrees.

    Lenient to answers with fewer or more media lines than offered, strict to what they mean: the
    first codec of the answer that we offered is taken. Raises SdpError (488) when the audio line
    was refused or nothing in it is ours, LocalProtocolError when `offer` offers no audio.
    """
    for index, ours in enumerate(offer.media):  # noqa: B007 - used below
        if ours.kind == "audio" and ours.port:
            break
    else:
        raise LocalProtocolError("our offer has no audio line")
    if index >= len(answer.media) or answer.media[index].kind != "audio":
        raise SdpError("the answer has no audio line", 488)
    media = answer.media[index]
    if media.port == 0:
        raise SdpError("the peer refused audio", 488)
    host = answer.host_of(media)
    if host is None:
        raise SdpError("the answer names no address", 488)
    srtp_in, srtp_out = _answered_keys(ours, media)
    offered, told = ours.told, media.told
    common = _first_common if told.remembered else _first_common.__wrapped__
    number, receive_number, event_number, receive_event_number, codec = common(offered, told)
    theirs = _effective_direction(answer, media, told)
    mux = "rtcp-mux" in offered.first and "rtcp-mux" in told.first
    return AudioNegotiated(
        remote_host=host,
        remote_port=media.port,
        codec=codec.name,
        payload_type=number,
        dtmf_payload_type=event_number,
        ptime_ms=_ptime(told, offered.ptime_ms or 20),
        direction=answer_direction(theirs, offered.direction or offer.direction_of(ours)),
        on_hold=not receives(theirs),
        rtcp_mux=mux,
        remote_rtcp_port=rtcp_port(media, mux, host),
        receive_payload_type=receive_number,
        receive_dtmf_payload_type=receive_event_number,
        rejected=[line.port for line in answer.media].count(0) if len(answer.media) > 1 else 0,
        media_index=index,
        srtp_in=srtp_in,
        srtp_out=srtp_out,
        remote_ssrc=told.ssrc,
        fmtp=told.formats[number].fmtp,
        maxptime_ms=told.maxptime_ms,
    )


def _answered_keys(
    ours: MediaDescription, theirs: MediaDescription
) -> tuple[str | None, str | None]:
    """The keys that an answer settles on; a plain answer to a secure offer is a downgrade: 488."""
    keys = _cryptos(ours)
    if not keys:
        return None, None
    offered = {value.partition(" ")[0]: value for value in keys}
    answered = _cryptos(theirs)
    tag = answered[0].partition(" ")[0] if answered else ""
    if theirs.protocol.upper() not in _SECURE_PROTOCOLS or tag not in offered:
        raise SdpError("the peer answers a secure offer without a key of it", 488)
    return answered[0], offered[tag]


@lru_cache(REMEMBERED_MAX)
def _first_common(ours: Told, theirs: Told) -> tuple[int, int, int | None, int | None, AudioCodec]:
    """Of the first format of the answer that we offered: their number and ours, those of telephone-event
    where both have it, and the codec."""
    offered = {
        codec.name: number
        for number, audio_format in ours.formats.items()
        if (codec := codec_of(audio_format)) is not None
    }
    for number, audio_format in theirs.formats.items():
        codec = codec_of(audio_format)
        if codec is not None and codec.name in offered:
            events = _event_number(theirs.formats, codec), _event_number(ours.formats, codec)
            if None in events:
                events = None, None
            return number, offered[codec.name], *events, codec
    raise SdpError("the answer has no codec that was offered", 488)
