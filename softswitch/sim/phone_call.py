"""One call as a simulated phone sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.wire.sdes import SdesKeys
from softswitch.sim.audio import Samples
from softswitch.sim.datagram import Address
from softswitch.sim.loop import SimulationError
from softswitch.sim.phone_audio import PhoneAudio
from softswitch.sip.events import (
    Answered,
    Cancelled,
    Confirmed,
    Ended,
    Failed,
    InfoReceived,
    InviteReceived,
    Progressed,
    ReofferAnswered,
    ReofferFailed,
    ReofferReceived,
    SipEvent,
)
from softswitch.sip.message import SipResponse
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.sdp import (
    AudioNegotiated,
    SdpError,
    SessionDescription,
    make_answer,
    make_offer,
    read_answer,
)

if TYPE_CHECKING:
    from softswitch.sim.user_agent import UserAgent


class CallNotAnswered(SimulationError):
    """The call ended before it was answered; `status` is the final one, 0 if there was none."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(f"{status} {reason}")


class ReofferRefused(SimulationError):
    """The peer refused a hold, a resume or another re-INVITE with `status`."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(str(status))


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How a call ended: `by` "remote", "local", "timer", "cancelled" or "failed"; `status` is the
    final status of the INVITE as far as known, `cause` the Reason header of the BYE or CANCEL."""

    by: str
    status: int
    cause: ReasonHeader | None = None


class PhoneCall:
    """A call of a simulated phone; made by `VirtualPhone.call` or by an INVITE that comes in.

    Attributes to read: `outgoing`, `number` (who was called, or who calls), `state` ("calling",
    "ringing", "up", "ended"), `provisional` (statuses seen), `status` (final), `held` (the peer
    wants none of our audio), `audio` (None for phones without sound), `invite` (the incoming
    request), `infos` (content type and body of each INFO), `times` of the states in seconds.
    """

    def __init__(
        self, agent: UserAgent, *, outgoing: bool, number: str, audio: PhoneAudio | None
    ) -> None:
        self.session = -1
        self.outgoing = outgoing
        self.number = number
        self.audio = audio
        self.state = "calling" if outgoing else "ringing"
        self.status = 0
        self.provisional: list[int] = []
        self.held = False
        self.infos: list[tuple[str, bytes]] = []
        self.invite: InviteReceived | None = None
        self.agreed: AudioNegotiated | None = None
        self.keys: SdesKeys | None = None
        """With them sound is SRTP: of calls that go out always, of those that come in where it is offered."""
        self.times: dict[str, float] = {self.state: agent.now_s()}
        self.end: CallEnd | None = None
        self.refusal: SipResponse | None = None
        """The final response that refused our call, where one came."""
        self._agent = agent
        self._local: SessionDescription | None = None
        self._offer: SessionDescription | None = None
        self._offer_comes_in_200 = False
        self._changed = asyncio.Event()
        self._reoffer: asyncio.Future[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []

    # -- waiting -----------------------------------------------------------------------------

    async def ringing(self) -> None:
        """Wait for a provisional response above 100. Raises `CallNotAnswered` if the call ends."""
        await self._until(lambda: bool(self.provisional) or self.state == "up")

    async def answered(self) -> None:
        """Wait until the call is up (at once if it is). Raises `CallNotAnswered` if it ends."""
        await self._until(lambda: self.state == "up")

    async def ended(self) -> CallEnd:
        """Wait for the end."""
        while self.end is None:
            self._changed.clear()
            await self._changed.wait()
        return self.end

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self.end is not None:
                raise CallNotAnswered(self.status, self.end.by)
            self._changed.clear()
            await self._changed.wait()

    # -- acting ------------------------------------------------------------------------------

    def ring(self, status: int = 180, *, early_media: bool = False) -> None:
        """Send a provisional response; with `early_media` it carries the answer to the offer."""
        sdp = self._answer_offer() if early_media else None
        self._agent.stack.progress(self.session, status, sdp, now_s=self._agent.now_s())
        self._agent.driver.pump()

    def answer(self) -> None:
        """Send 200 to an incoming call; nothing happens if it has ended meanwhile."""
        if self.state != "ringing":
            return
        assert self.invite is not None
        now_s = self._agent.now_s()
        if self.invite.sdp is None:
            self._offer = self._make_offer("sendrecv")
            sdp = self._offer.serialise()
        else:
            try:
                sdp = self._answer_offer()
            except SdpError:
                self.reject(488)
                return
        self.status = 200
        self._enter("up")
        self._agent.stack.answer(self.session, sdp, now_s)
        self._agent.driver.pump()

    def reject(self, status: int = 603, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Send a final response 300 to 699 to an incoming call."""
        if self.state == "ringing":
            self.status = status
            now_s = self._agent.now_s()
            self._agent.stack.reject(self.session, status, headers=headers, now_s=now_s)
            self._agent.driver.pump()

    def hang_up(self) -> None:
        """End the call whatever its state: CANCEL, BYE or a final response. Harmless twice."""
        if self.end is None:
            self._agent.stack.hang_up(self.session, now_s=self._agent.now_s())
            self._agent.driver.pump()

    async def hold(self) -> None:
        """Put the peer on hold (re-INVITE `sendonly`). Raises `ReofferRefused`."""
        await self._reinvite(self._make_offer("sendonly"))

    async def resume(self) -> None:
        """Take the peer back (re-INVITE `sendrecv`). Raises `ReofferRefused`."""
        await self._reinvite(self._make_offer("sendrecv"))

    async def reinvite(self, *, sdp: bool = True) -> None:
        """Offer again, or with `sdp` False ask the peer for an offer and answer it in the ACK."""
        await self._reinvite(self._make_offer("sendrecv") if sdp else None)

    def play(self, pcm: Samples, *, repeat: bool = False) -> asyncio.Future[None]:
        """Say `pcm`, int16 at 8,000 Hz; the future is done when the last frame has been sent."""
        return self._sound().play(pcm, repeat=repeat)

    def press(self, digits: str) -> None:
        """Send DTMF by RFC 4733."""
        self._sound().press(digits)

    def heard(self) -> Samples:
        """What has been heard so far, int16 at 8,000 Hz, placed by RTP timestamp."""
        return self._sound().heard()

    async def listen(self, duration_s: float) -> Samples:
        """Wait until `duration_s` of sound have come in all, then return `heard()`."""
        return await self._sound().listen(duration_s)

    def send_info(self, content_type: str, body: bytes) -> None:
        """Send INFO in the dialog (`application/dtmf-relay`, for one)."""
        self._agent.stack.info(self.session, content_type, body, self._agent.now_s())
        self._agent.driver.pump()

    def refer(self, target: str, headers: tuple[tuple[str, str], ...] = ()) -> int:
        """Send REFER in the dialog (a blind transfer to the URI `target`); returns its handle."""
        handle = self._agent.stack.request_in_dialog(
            self.session,
            "REFER",
            headers=(("Refer-To", target), *headers),
            now_s=self._agent.now_s(),
        )
        self._agent.driver.pump()
        return handle

    @property
    def local_media(self) -> Address | None:
        """Our RTP address as SDP names it, None before there is one."""
        if self._local is None or not self._local.media:
            return None
        media = self._local.media[0]
        return (self._local.host_of(media) or "0.0.0.0", media.port)

    def _sound(self) -> PhoneAudio:
        if self.audio is None:
            raise SimulationError("this phone was made without sound")
        return self.audio

    # -- events of the stack (called by the user agent) -------------------------------------------

    def take(self, event: SipEvent) -> None:
        """Follow one event of our session."""
        match event:
            case Progressed():
                self._take_progress(event)
            case Answered():
                self._take_answer(event)
            case Failed():
                self.status, self.refusal = event.status, event.response
                self._finish(CallEnd("failed", event.status))
            case Ended():
                self._finish(CallEnd(event.by, self.status, event.cause))
            case Cancelled():
                self.status = 487
                self._finish(CallEnd("cancelled", 487, event.cause))
            case Confirmed() if event.sdp is not None and self._offer is not None:
                self._agree(self._offer, event.sdp)
            case ReofferReceived():
                self._take_reoffer(event)
            case ReofferAnswered():
                self._take_reoffer_answer(event)
            case ReofferFailed():
                self._settle(ReofferRefused(event.status))
            case InfoReceived():
                self.infos.append((event.content_type, event.body))
            case _:
                pass
        self._changed.set()

    def offer(self) -> bytes:
        """The first offer of an outgoing call."""
        self._offer = self._make_offer("sendrecv")
        return self._offer.serialise()

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something later unless the call has ended by then."""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(delay_s, action))

    def _take_progress(self, event: Progressed) -> None:
        self.provisional.append(event.status)
        if self.state == "calling":
            self._enter("ringing")
        if event.sdp is not None and self._offer is not None:
            self._agree(self._offer, event.sdp)

    def _take_answer(self, event: Answered) -> None:
        self.status = event.response.status
        self._enter("up")
        if event.sdp is None:
            return
        if self._offer is None:
            self._agent.stack.ack_with(
                self.session, self._answer_to(event.sdp), self._agent.now_s()
            )
        else:
            self._agree(self._offer, event.sdp)

    def _take_reoffer(self, event: ReofferReceived) -> None:
        now_s = self._agent.now_s()
        if event.sdp is None:
            self._offer = self._make_offer("sendrecv")
            self._agent.stack.answer_reoffer(self.session, self._offer.serialise(), now_s)
            return
        try:
            sdp = self._answer_to(event.sdp)
        except SdpError:
            self._agent.stack.reject_reoffer(self.session, 488, now_s)
            return
        self._agent.stack.answer_reoffer(self.session, sdp, now_s)

    def _take_reoffer_answer(self, event: ReofferAnswered) -> None:
        if event.sdp is not None:
            if self._offer_comes_in_200:
                self._offer_comes_in_200 = False
                sdp = self._answer_to(event.sdp)
                self._agent.stack.ack_with(self.session, sdp, self._agent.now_s())
            elif self._offer is not None:
                self._agree(self._offer, event.sdp)
        self._settle(None)

    # -- session descriptions ---------------------------------------------------------------------

    def _make_offer(self, direction: str) -> SessionDescription:
        host, port = self._agent.media_address(self)
        self._local = make_offer(
            host,
            port,
            self._agent.codecs,
            session_id=self._agent.session_number,
            direction=direction,
            dtmf=self._agent.dtmf,
            previous=self._local,
            crypto=self.keys.offered() if self.keys is not None else (),
        )
        return self._local

    def _answer_offer(self) -> bytes:
        assert self.invite is not None
        assert self.invite.sdp is not None
        if self._local is not None:
            return self._local.serialise()
        return self._answer_to(self.invite.sdp)

    def _answer_to(self, sdp: bytes) -> bytes:
        host, port = self._agent.media_address(self)
        self._local, agreed = make_answer(
            SessionDescription.parse(sdp),
            host,
            port,
            self._agent.codecs,
            session_id=self._agent.session_number,
            dtmf=self._agent.dtmf,
            previous=self._local,
            srtp="off" if self.keys is None else "allow",
            choose_crypto=self.keys.choose if self.keys is not None else None,
        )
        self._use(agreed)
        return self._local.serialise()

    def _agree(self, offer: SessionDescription, sdp: bytes) -> None:
        self._use(read_answer(offer, SessionDescription.parse(sdp)))

    def _use(self, agreed: AudioNegotiated) -> None:
        self.agreed = agreed
        self.held = agreed.on_hold
        if self.audio is not None:
            self.audio.configure(agreed)

    async def _reinvite(self, offer: SessionDescription | None) -> None:
        if self.state != "up" or self._reoffer is not None:
            raise SimulationError("a re-INVITE needs a call that is up, one at a time")
        self._offer = offer
        self._offer_comes_in_200 = offer is None
        self._reoffer = asyncio.get_running_loop().create_future()
        sdp = offer.serialise() if offer is not None else None
        self._agent.stack.reinvite(self.session, sdp, self._agent.now_s())
        self._agent.driver.pump()
        try:
            await self._reoffer
        finally:
            self._reoffer = None

    def _settle(self, error: Exception | None) -> None:
        if self._reoffer is None or self._reoffer.done():
            return
        if error is None:
            self._reoffer.set_result(None)
        else:
            self._reoffer.set_exception(error)

    # -- states ------------------------------------------------------------------------------

    def _enter(self, state: str) -> None:
        self.state = state
        self.times.setdefault(state, self._agent.now_s())
        self._changed.set()

    def _finish(self, end: CallEnd) -> None:
        self.end = end
        self._enter("ended")
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._settle(ReofferRefused(481))
        if self.audio is not None:
            self.audio.close()
        self._agent.forget(self)
