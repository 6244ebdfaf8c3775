"""A leg: one SIP session and its media stream, seen by call control as one thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.protocol import StreamParams
from media.wire.sdes import SdesKeys
from softswitch.call.identity import PhoneIdentity
from softswitch.call.plane import LocalStream
from softswitch.call.shown import Shown, connected_lines
from softswitch.errors import RemoteProtocolError
from softswitch.sip.credentials import Credentials
from softswitch.sip.flow import Flow
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.reliable import Reliability, reliability_of
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
from softswitch.sip.sdp.refusal import refusal_of
from softswitch.sip.uri import NameAddr

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.wiring import Wiring
    from softswitch.sip.events import InviteReceived

# Our timers of a leg we start are in Dial; the stack's own is only the last resort (timer C, 16.6).
_INVITE_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class LegPlan:
    """Everything needed to call one endpoint. `identity`: whom a telephone that comes from another address
    in the middle of the call must prove to be; `route` leads there through proxies; `who` is there, and `told`
    the number that it is told of who calls.
    """

    label: str
    target: str
    flow: Flow
    from_: NameAddr
    to: NameAddr
    credentials: Credentials | None = None
    permitted_hosts: frozenset[str] = frozenset()
    follow_contact: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    identity: PhoneIdentity | None = None
    route: tuple[str, ...] = ()
    who: Shown | None = None
    told: str = ""


class Leg:
    """One leg of a call.

    Attributes: `session`, the stack's number; `stream`, the local media stream once there is one;
    `answered`; `held`: the peer has put us on hold, that is, does not want to hear us; `referred`: it has
    asked for a transfer before; `who` is at this end, and `told` the number that it has been told of the other.
    """

    __slots__ = (
        "_audio",
        "_call",
        "_calls",
        "_flow",
        "_judged",
        "_keys",
        "_listening",
        "_local",
        "_offer",
        "_offered",
        "_offers_early",
        "_policy",
        "_unreadable",
        "_warning",
        "_wiring",
        "answered",
        "held",
        "label",
        "leg_id",
        "on_stream",
        "on_stream_closed",
        "rang",
        "referred",
        "session",
        "stream",
        "told",
        "who",
    )

    def __init__(
        self,
        wiring: Wiring,
        call: Call,
        leg_id: int,
        label: str,
        flow: Flow,
    ) -> None:
        self._wiring = wiring
        self._call: Call | None = call
        self._flow = flow
        self._calls = self._unreadable = self._offers_early = False
        self._listening = self.referred = False
        self._warning = ""
        self._policy = wiring.media_policy(label)
        self._keys: SdesKeys | None = None
        self._offer: SessionDescription | None = None
        self._offered: tuple[SessionDescription, tuple[str, ...]] | None = None
        self._local: SessionDescription | None = None
        self._audio: AudioNegotiated | None = None
        self._judged: SessionDescription | None = None
        self.leg_id = leg_id
        self.label = label
        self.session: int | None = None
        self.stream: LocalStream | None = None
        self.on_stream: Callable[[Call, Leg, int], None] | None = None
        self.on_stream_closed: Callable[[int], None] | None = None
        self.answered = False
        self.rang = False
        self.held = False
        self.who: Shown | None = None
        self.told = ""

    @classmethod
    def nobody(cls, wiring: Wiring, call: Call) -> Leg:
        """Stands for the caller of a call that the office begins, until somebody has answered it."""
        nowhere = Flow("udp", ("0.0.0.0", 0), ("0.0.0.0", 0))
        return cls(wiring, call, 0, "nobody", nowhere)

    @property
    def codec(self) -> str | None:
        """The codec agreed so far."""
        return self._audio.codec if self._audio is not None else None

    def snapshot(self) -> dict[str, object]:
        if self.answered:
            state = "held" if self.held else "answered"
        else:
            state = "ringing" if self.rang else "started"
        return {"leg": self.leg_id, "endpoint": self.label, "state": state, "codec": self.codec}

    # -- a leg that comes in -------------------------------------------------------------------------

    @classmethod
    def incoming(
        cls, wiring: Wiring, call: Call, leg_id: int, event: InviteReceived, *, label: str
    ) -> Leg:
        """The caller's leg. An unreadable offer is kept for `offer_problem` to tell."""
        leg = cls(wiring, call, leg_id, label, event.flow)
        leg.session, leg._calls = event.session, True
        if event.sdp is None:
            leg._offers_early = reliability_of(event.request) is Reliability.REQUIRED
        else:
            try:
                leg._offer = SessionDescription.parse(event.sdp)
            except RemoteProtocolError:
                leg._unreadable = True
        return leg

    def offer_problem(self) -> int | None:
        """The status to refuse this INVITE with for its SDP (400 or 488), or None."""
        if self._unreadable:
            return 400
        if self._offer is None:
            return None
        self._warning = self._objection(self._offer)
        return 488 if self._warning else None

    def _objection(self, offer: SessionDescription) -> str:
        """The Warning (RFC 3261 20.43) that refuses an offer; "" for one that can be answered."""
        found = refusal_of(offer, self._wiring.codecs, self._policy.srtp)
        if found is None and self._reflects(offer):
            found = 399, "sound would be sent to where nobody may have it sent"
        self._judged = None if found else offer
        return self._warn(*found) if found else ""

    def _warn(self, code: int, text: str) -> str:
        """A Warning's value in our name (RFC 3261 20.43)."""
        return f'{code} {self._wiring.office.office.domain} "{text}"'

    def offered_codecs(self) -> tuple[str, ...]:
        """Codecs that this peer offered and we can carry, in its order."""
        if self._offer is None:
            return (self.codec,) if self.codec is not None else ()
        if self._offered is not None and self._offered[0] is self._offer:
            return self._offered[1]
        found: list[str] = []
        for media in self._offer.media:
            if media.kind == "audio" and media.port:
                codecs = (codec_of(f) for f in media.audio_formats().values())
                found += [c.name for c in codecs if c is not None and c.name in self._wiring.codecs]
        self._offered = (self._offer, tuple(found))
        return self._offered[1]

    def ring(self, *, early_codec: str | None = None) -> bool:
        """180, or with `early_codec` 183 with our SDP so that the caller hears what comes; says
        whether he will."""
        assert self.session is not None
        if self._offers_early:
            return self._ring_with_offer()
        if early_codec is not None and self._answer_offer(early_codec):
            sdp = self._local.serialise() if self._local is not None else None
            self._wiring.stack.progress(self.session, 183, sdp, now_s=self._wiring.now_s())
            return True
        if not self.rang:
            self.rang = True
            self._wiring.stack.progress(self.session, 180, now_s=self._wiring.now_s())
        return False

    def _ring_with_offer(self) -> bool:
        """A caller who insists on reliable responses and made no offer: the first has to bring ours, and its
        PRACK the answer (RFC 3262 5)."""
        assert self.session is not None
        if not self.rang:
            self.rang = True
            self._make_offer((), self._flow.remote[0])
            assert self._local is not None
            offer = self._local.serialise()
            self._wiring.stack.progress(self.session, 180, offer, now_s=self._wiring.now_s())
        return self._audio is not None

    def forwarded(self) -> None:
        """181: the call goes on to somebody else (RFC 5359 2.7)."""
        if self.session is not None and not self.answered and self._local is None:
            self._wiring.stack.progress(self.session, 181, now_s=self._wiring.now_s())

    def answer(self, prefer: str | None = None, who: Shown | None = None) -> bool:
        """200 with our answer, or with our offer when the INVITE had none; `who` has answered. False:
        nothing in common."""
        assert self.session is not None
        if self._offer is None:
            if self._local is None:
                self._make_offer((), self._flow.remote[0])
        elif not self._answer_offer(prefer):
            return False
        assert self._local is not None
        self.answered = True
        told = self._news(who)
        self._wiring.stack.answer(self.session, self._local.serialise(), self._wiring.now_s(), told)
        return True

    def tell(self, who: Shown | None) -> None:
        """Let a telephone show to whom it is connected now (RFC 4916); carriers are told nothing."""
        lines = self._news(who)
        if lines and self.session is not None:
            self._wiring.stack.tell(self.session, lines, self._wiring.now_s())

    def _news(self, who: Shown | None) -> tuple[tuple[str, str], ...]:
        """The header lines that say who is at the other end, where that is another than was said before."""
        office = self._wiring.office
        if who is None or who.number == self.told or not self.label.startswith("extension:"):
            return ()
        self.told = who.number
        return connected_lines(who, office.office.domain) if office.sip.connected_identity else ()

    def _answer_offer(self, prefer: str | None) -> bool:
        if self._offer is None:
            return False
        if self._local is not None:
            return True  # said in a 183 already; the 200 repeats it (RFC 6337 3.1)
        self._open_stream(self._signalled_host(self._offer))
        return self._accept(self._offer, prefer)

    def _accept(self, offer: SessionDescription, prefer: str | None) -> bool:
        stream = self.stream
        if stream is None:
            return False
        if not self._is_judged(offer, stream) and self._reflects(offer):
            return False
        ours = self._wiring.codecs
        if prefer in ours:
            ours = (prefer, *(codec for codec in ours if codec != prefer))
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

    # -- a leg that goes out -------------------------------------------------------------------------

    @classmethod
    def outgoing(
        cls,
        wiring: Wiring,
        call: Call,
        leg_id: int,
        plan: LegPlan,
        *,
        prefer: Sequence[str] = (),
        silence_s: float | None = None,
    ) -> Leg:
        """Call the plan's endpoint, offering the caller's codecs first so that audio can be relayed.

        Raises `MediaError` or `LocalProtocolError` when a limit is reached; nothing is left behind.
        """
        leg = cls(wiring, call, leg_id, plan.label, plan.flow)
        leg.who, leg.told = plan.who, plan.told
        leg._make_offer(prefer, plan.flow.remote[0])
        assert leg._local is not None
        try:
            leg.session = wiring.stack.invite(
                target=plan.target,
                flow=plan.flow,
                from_=plan.from_,
                to=plan.to,
                sdp=leg._local.serialise(),
                headers=(("Max-Forwards", str(call.max_forwards)), *plan.headers),
                credentials=plan.credentials,
                identity=plan.identity,
                timeout_s=_INVITE_TIMEOUT_S,
                silence_s=silence_s,
                route=plan.route,
                permitted_hosts=plan.permitted_hosts,
                follow_contact=plan.follow_contact,
                now_s=wiring.now_s(),
            )
        except Exception:
            assert leg.stream is not None
            wiring.plane.release(leg.stream.stream_id)
            raise
        return leg

    def _make_offer(self, prefer: Sequence[str], signalled_host: str | None) -> None:
        stream = self._open_stream(signalled_host)
        codecs = tuple(dict.fromkeys((*prefer, *self._wiring.codecs)))
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

    # -- changes while the call is up ------------------------------------------------------------

    def answer_reoffer(self, sdp: bytes | None) -> bool:
        """Answer a re-INVITE: hold, resume, a new address; without SDP, with our offer. False: refused."""
        assert self.session is not None
        wiring = self._wiring
        if sdp is None:
            prefer = (self.codec,) if self.codec else ()
            self._make_offer(prefer, None)
        elif not self._take_reoffer(sdp):
            wiring.stack.reject_reoffer(
                self.session, 488, wiring.now_s(), (("Warning", self._why_not(sdp)),)
            )
            return False
        assert self._local is not None
        wiring.stack.answer_reoffer(self.session, self._local.serialise(), wiring.now_s())
        return True

    def _take_reoffer(self, sdp: bytes) -> bool:
        try:
            offer = SessionDescription.parse(sdp)
        except RemoteProtocolError:
            return False
        if not self._accept(offer, self.codec):
            return False
        self._offer = offer
        return True

    def _why_not(self, sdp: bytes) -> str:
        """The Warning for a later offer that was not taken."""
        said = self._warn(399, "the call goes on as it was")
        try:
            return self._objection(SessionDescription.parse(sdp)) or said
        except RemoteProtocolError:
            return said

    @property
    def is_live(self) -> bool:
        """Not over yet."""
        return self._call is not None

    def moved_to(self, call: Call) -> None:
        """From now on a leg of another call."""
        self._call = call

    def parted(self) -> None:
        """The leg is over: it lets go of its call, so that both are freed without the collector."""
        self._call = self.on_stream = self.on_stream_closed = None

    def rehome(self) -> None:
        """Change to a stream on the worker of this leg's call, telling the peer by re-INVITE: two
        streams can be joined only where one worker has both."""
        assert self.session is not None
        old, self.stream = self.stream, None
        self._make_offer((self.codec,) if self.codec else (), self._flow.remote[0])
        assert self._local is not None
        self._wiring.stack.reinvite(self.session, self._local.serialise(), self._wiring.now_s())
        if old is not None:
            if self.on_stream_closed is not None:
                self.on_stream_closed(old.stream_id)
            self._wiring.plane.release(old.stream_id)

    # -- its end ---------------------------------------------------------------------------------------

    def hang_up(self, cause: ReasonHeader, *, status: int = 200) -> None:
        """BYE, CANCEL, or for a caller not answered yet a final response with `status`."""
        if self.session is None:
            return
        wiring = self._wiring
        if not self.answered and status >= 300 and self._calls:
            headers = [("Reason", str(cause))]
            warning = self._warning
            if status in (488, 606) and not warning:
                warning = self._warn(399, "who is called takes no sound of this kind")
            if warning:
                headers.append(("Warning", warning))
            wiring.stack.reject(self.session, status, headers=headers, now_s=wiring.now_s())
        else:
            wiring.stack.hang_up(self.session, cause=cause, now_s=wiring.now_s())

    # -- media -----------------------------------------------------------------------------------------

    def _reflects(self, remote: SessionDescription) -> bool:
        """Whether sending there would hurt: a group, the machine itself, or our own media ports. Who
        calls from this machine may name it, and so may a network of loopback addresses."""
        media, peer = self._wiring.office.media, self._flow.remote[0]
        own = {self._flow.local[0], media.address}
        if media.other_address:
            own.add(media.other_address)
        if self.stream is not None:
            own.add(self.stream.host)
        looped = address_kind(peer) is AddressKind.LOOPBACK
        near = looped or peer in own
        for line in remote.media:
            host = remote.host_of(line) or ""
            if host in own:
                named = (line.port, rtcp_port(line, False, host))
                if any(media.ports[0] <= port <= media.ports[1] for port in named):
                    return True
            if reflects(host, () if near else own, allow_loopback=looped):
                return True
        return False

    def _is_judged(self, offer: SessionDescription, stream: LocalStream) -> bool:
        """Whether it was looked at when it came, and no address of our own has been added since."""
        media = self._wiring.office.media
        ours = (self._flow.local[0], media.address, media.other_address)
        return offer is self._judged and stream.host in ours

    def _open_stream(self, signalled_host: str | None) -> LocalStream:
        if self.stream is None:
            assert self._call is not None, "a leg that is over opens no stream"
            self.stream = self._wiring.plane.reserve(
                group=self._call.media_group, signalled_host=signalled_host
            )
            if self.on_stream is not None:
                self.on_stream(self._call, self, self.stream.stream_id)
        return self.stream

    def _signalled_host(self, remote: SessionDescription) -> str | None:
        if self._policy.by_source:
            return self._flow.remote[0]
        hosts = (remote.host_of(line) for line in remote.media if line.kind == "audio")
        return next(hosts, None)

    def _take_audio(self) -> None:
        assert self._audio is not None
        self.held = self._audio.on_hold
        self._configure()

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
