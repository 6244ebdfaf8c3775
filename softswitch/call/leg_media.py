"""The sound of a leg: its media stream, and what its peer and we have offered and agreed (RFC 3264)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from media.protocol import StreamParams
from media.wire.sdes import SdesKeys
from softswitch.call.plane import LocalStream
from softswitch.errors import RemoteProtocolError
from softswitch.sip.flow import Flow
from softswitch.sip.sdp import (
    AddressKind,
    AudioNegotiated,
    SdpError,
    SessionDescription,
    address_kind,
    make_answer,
    make_offer,
    read_answer,
    reflects,
    rtcp_port,
)
from softswitch.sip.sdp.codecs import codec_of
from softswitch.sip.sdp.description import Told
from softswitch.sip.sdp.refusal import refusal_of

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.wiring import Wiring

_NOBODY: frozenset[str] = frozenset()
_HOST_MAX = 64


@lru_cache(maxsize=256)
def _own_hosts(*hosts: str | None) -> frozenset[str]:
    return frozenset(host for host in hosts if host)


@lru_cache(maxsize=1024)
def _known_to_reflect(host: str, own: frozenset[str], looped: bool) -> bool:
    return reflects(host, own, allow_loopback=looped)


def _reflects(host: str, own: frozenset[str], looped: bool) -> bool:
    """As `reflects`; that of an address, which are many calls', is remembered."""
    if len(host) <= _HOST_MAX:
        return _known_to_reflect(host, own, looped)
    return reflects(host, own, allow_loopback=looped)


@lru_cache(maxsize=256)
def _first(preferred: tuple[str, ...], ours: tuple[str, ...]) -> tuple[str, ...]:
    """Our codecs, those preferred before the others."""
    return tuple(dict.fromkeys((*preferred, *ours)))


def _codecs_of(told: Told, ours: tuple[str, ...]) -> tuple[str, ...]:
    """What a section offers that we can carry, in its order."""
    read = _known_codecs if told.remembered else _known_codecs.__wrapped__
    return read(told, ours)


@lru_cache(maxsize=1024)
def _known_codecs(told: Told, ours: tuple[str, ...]) -> tuple[str, ...]:
    codecs = (codec_of(audio_format) for audio_format in told.formats.values())
    return tuple(codec.name for codec in codecs if codec is not None and codec.name in ours)


class LegMedia:
    """The half of a leg that knows no SIP but its descriptions of sessions.

    Attributes: `leg_id`; `label`, whose end it is, and `is_phone`, whether an extension's; `stream`, the local
    media stream once there is one;
    `held`: the peer has put us on hold, that is, does not want to hear us.
    """

    __slots__ = (
        "_audio",
        "_call",
        "_flow",
        "_judged",
        "_keys",
        "_listening",
        "_local",
        "_offer",
        "_offered",
        "_policy",
        "_wiring",
        "held",
        "is_phone",
        "label",
        "leg_id",
        "stream",
    )

    def __init__(self, wiring: Wiring, call: Call, leg_id: int, label: str, flow: Flow) -> None:
        self._wiring = wiring
        self._call: Call | None = call
        self._flow = flow
        self._listening = False
        self._policy = wiring.media_policy(label)
        self._keys: SdesKeys | None = None
        self._offer: SessionDescription | None = None
        self._offered: tuple[SessionDescription, tuple[str, ...]] | None = None
        self._local: SessionDescription | None = None
        self._audio: AudioNegotiated | None = None
        self._judged: SessionDescription | None = None
        self.leg_id = leg_id
        self.label = label
        self.is_phone = label.startswith("extension:")
        self.stream: LocalStream | None = None
        self.held = False

    @property
    def codec(self) -> str | None:
        """The codec agreed so far."""
        return self._audio.codec if self._audio is not None else None

    def offered_codecs(self) -> tuple[str, ...]:
        """Codecs that this peer offered and we can carry, in its order."""
        if self._offer is None:
            return (self.codec,) if self.codec is not None else ()
        if self._offered is not None and self._offered[0] is self._offer:
            return self._offered[1]
        found: list[str] = []
        ours = self._wiring.codecs
        for media in self._offer.media:
            if media.kind == "audio" and media.port:
                found += _codecs_of(media.told, ours)
        self._offered = (self._offer, tuple(found))
        return self._offered[1]

    # -- offers of the peer ----------------------------------------------------------------------------

    def _objection(self, offer: SessionDescription) -> str:
        """The Warning (RFC 3261 20.43) that refuses an offer; "" for one that can be answered."""
        found = refusal_of(offer, self._wiring.codecs, self._policy.srtp)
        if found is None and self._reflects(offer):
            found = 399, "sound would be sent to where nobody may have it sent"
        self._judged = None if found else offer
        return self._warn(*found) if found else ""

    def _why_not(self, sdp: bytes) -> str:
        """The Warning for a later offer that was not taken."""
        said = self._warn(399, "the call goes on as it was")
        try:
            return self._objection(SessionDescription.parse(sdp)) or said
        except RemoteProtocolError:
            return said

    def _warn(self, code: int, text: str) -> str:
        """A Warning's value in our name (RFC 3261 20.43)."""
        return f'{code} {self._wiring.office.office.domain} "{text}"'

    def _answer_offer(self, prefer: str | None) -> bool:
        if self._offer is None:
            return False
        if self._local is not None:
            return True  # said in a 183 already; the 200 repeats it (RFC 6337 3.1)
        self._open_stream(self._signalled_host(self._offer))
        return self._accept(self._offer, prefer)

    def _take_reoffer(self, sdp: bytes) -> bool:
        try:
            offer = SessionDescription.parse(sdp)
        except RemoteProtocolError:
            return False
        if not self._accept(offer, self.codec):
            return False
        self._offer = offer
        return True

    def _accept(self, offer: SessionDescription, prefer: str | None) -> bool:
        stream = self.stream
        if stream is None:
            return False
        if not self._is_judged(offer, stream) and self._reflects(offer):
            return False
        ours = self._wiring.codecs
        if prefer in ours:
            ours = _first((prefer,), ours)
        try:
            self._local, self._audio = make_answer(
                offer,
                stream.host,
                stream.port,
                ours,
                session_id=self.leg_id,
                rtcp_mux=True,  # for whoever asks; we ask nobody, and keep what was agreed
                previous=self._local,
                prefer_ours=prefer is not None,
                srtp=self._policy.srtp,
                choose_crypto=self._session_keys().choose,
                ssrc=stream.ssrc,
            )
        except SdpError:
            return False
        self._take_audio()
        return True

    # -- offers of ours --------------------------------------------------------------------------------

    def _make_offer(self, prefer: Sequence[str], signalled_host: str | None) -> None:
        stream = self._open_stream(signalled_host)
        codecs = _first(tuple(prefer), self._wiring.codecs)
        self._local = make_offer(
            stream.host,
            stream.port,
            codecs,
            session_id=self.leg_id,
            rtcp_mux=self._audio is not None and self._audio.rtcp_mux,
            previous=self._local,
            crypto=self._session_keys().offered() if self._policy.srtp == "require" else (),
            ssrc=stream.ssrc,
        )

    def _session_keys(self) -> SdesKeys:
        if self._keys is None:
            self._keys = SdesKeys(self._wiring.random)
        return self._keys

    def take_early_media(self, sdp: bytes) -> bool:
        """SDP of a provisional response: from now on the callee is heard."""
        return self.take_answer(sdp)

    def take_answer(self, sdp: bytes) -> bool:
        """The peer's answer to our offer; False when nothing fits."""
        assert self._local is not None
        try:
            answer = SessionDescription.parse(sdp)
            audio = read_answer(self._local, answer)
        except RemoteProtocolError:
            return False
        if self._reflects(answer):
            return False
        self._audio = audio
        self._take_audio()
        return True

    def _take_audio(self) -> None:
        assert self._audio is not None
        self.held = self._audio.on_hold
        self._configure()

    # -- where sound may be sent -----------------------------------------------------------------------

    def _reflects(self, remote: SessionDescription) -> bool:
        """Whether sending there would hurt: a group, the machine itself, or our own media ports. Who
        calls from this machine may name it, and so may a network of loopback addresses."""
        media, peer = self._wiring.office.media, self._flow.remote[0]
        stream_host = self.stream.host if self.stream is not None else media.address
        own = _own_hosts(self._flow.local[0], media.address, media.other_address, stream_host)
        looped = address_kind(peer) is AddressKind.LOOPBACK
        near = looped or peer in own
        for line in remote.media:
            host = remote.host_of(line) or ""
            if host in own:
                named = (line.port, rtcp_port(line, False, host))
                if any(media.ports[0] <= port <= media.ports[1] for port in named):
                    return True
            if _reflects(host, _NOBODY if near else own, looped):
                return True
        return False

    def _is_judged(self, offer: SessionDescription, stream: LocalStream) -> bool:
        """Whether it was looked at when it came, and no address of our own has been added since."""
        media = self._wiring.office.media
        ours = (self._flow.local[0], media.address, media.other_address)
        return offer is self._judged and stream.host in ours

    def _signalled_host(self, remote: SessionDescription) -> str | None:
        if self._policy.by_source:
            return self._flow.remote[0]
        hosts = (remote.host_of(line) for line in remote.media if line.kind == "audio")
        return next(hosts, None)

    # -- the stream ------------------------------------------------------------------------------------

    def _open_stream(self, signalled_host: str | None) -> LocalStream:
        if self.stream is None:
            assert self._call is not None, "a leg that is over opens no stream"
            self.stream = self._wiring.plane.reserve(
                group=self._call.media_group, signalled_host=signalled_host
            )
            self._stream_opened(self._call, self.stream.stream_id)
        return self.stream

    def _stream_opened(self, call: Call, stream_id: int) -> None:
        """There is a stream now."""

    def _configure(self) -> None:
        audio, stream = self._audio, self.stream
        assert audio is not None
        assert stream is not None
        self._listening = self._listens_for_digits()
        # Behind a NAT the address in SDP is not the one packets come from: then, and only for phones and
        # trunks that ask for it, any port of the address that signals is believed (RFC 4961; RTP
        # bleed otherwise).
        nat = self._policy.by_source and audio.remote_host != self._flow.remote[0]
        self._wiring.plane.configure(
            stream.stream_id,
            StreamParams(
                remote=audio.remote,
                codec=audio.codec,
                payload_type=audio.payload_type,
                dtmf_payload_type=None if self._policy.by_info else audio.dtmf_payload_type,
                ptime_ms=audio.ptime_ms,
                direction=audio.direction,
                nat=nat,
                rtcp_mux=audio.rtcp_mux,
                rtcp_port=audio.named_rtcp_port,
                signalled_host=self._flow.remote[0] if nat else None,
                inband_dtmf=self._listening,
                srtp_in=audio.srtp_in,
                srtp_out=audio.srtp_out,
                remote_ssrc=audio.remote_ssrc,
                fmtp=audio.fmtp,
                maxptime_ms=audio.maxptime_ms,
                receive_payload_type=audio.receive_payload_type,
                receive_dtmf_payload_type=(
                    audio.receive_dtmf_payload_type
                    if audio.receive_dtmf_payload_type is not None or not self._policy.by_info
                    else audio.dtmf_payload_type
                ),
                dtmf_by_info=self._policy.by_info,
            ),
        )

    def tune(self) -> None:
        """Tell the media plane again how to treat this leg: its part in the call has changed."""
        if self._audio is None or self.stream is None:
            return
        if self._listens_for_digits() != self._listening:  # the one thing that depends on it
            self._configure()

    def _listens_for_digits(self) -> bool:
        """Digits that come as sound are looked for only where an application waits for them: between two
        phones they are part of what is relayed, unless the office says that the phone has no other keys."""
        if self._policy.inband:
            return True
        audio, call = self._audio, self._call
        if audio is None or audio.dtmf_payload_type is not None or call is None:
            return False
        return call.partner is None and self is getattr(call, "caller", None)
