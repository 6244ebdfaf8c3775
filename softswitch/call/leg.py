"""A leg: one SIP session and its media stream, seen by call control as one thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from softswitch.call.identity import PhoneIdentity
from softswitch.call.leg_media import LegMedia
from softswitch.call.shown import Shown, connected_lines
from softswitch.errors import RemoteProtocolError
from softswitch.sip.credentials import Credentials
from softswitch.sip.flow import Flow
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.reliable import Reliability, reliability_of
from softswitch.sip.sdp import SessionDescription
from softswitch.sip.software import software_of
from softswitch.sip.uri import NameAddr

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.wiring import Wiring
    from softswitch.sip.events import InviteReceived
    from softswitch.sip.message import SipResponse

# Our timers of a leg we start are in Dial; the stack's own is only the last resort (timer C, 16.6).
_INVITE_TIMEOUT_S = 180.0


class LegPlan(msgspec.Struct, frozen=True):
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


class Leg(LegMedia):
    """One leg of a call.

    Attributes: `session`, the stack's number; `answered`; `rang`: it rings, or hears it ring; `referred`: it
    has asked for a transfer before; `who` is at this end, and `told` the number that it has been told of the
    other. `user_agent`: what is there says it is; `agent_told`: the journal knows.
    """

    __slots__ = (
        "_calls",
        "_offers_early",
        "_unreadable",
        "_warning",
        "agent_told",
        "answered",
        "on_stream",
        "on_stream_closed",
        "rang",
        "referred",
        "session",
        "told",
        "user_agent",
        "who",
    )

    def __init__(self, wiring: Wiring, call: Call, leg_id: int, label: str, flow: Flow) -> None:
        super().__init__(wiring, call, leg_id, label, flow)
        self._calls = self._unreadable = self._offers_early = self.referred = False
        self._warning = ""
        self.session: int | None = None
        self.on_stream: Callable[[Call, Leg, int], None] | None = None
        self.on_stream_closed: Callable[[int], None] | None = None
        self.answered = False
        self.rang = False
        self.who: Shown | None = None
        self.told = ""
        self.user_agent = ""
        self.agent_told = False

    @property
    def sip_call_id(self) -> str:
        """The Call-ID of its messages, "" where there are none (yet)."""
        return "" if self.session is None else self._wiring.stack.call_id_of(self.session)

    @classmethod
    def nobody(cls, wiring: Wiring, call: Call) -> Leg:
        """Stands for the caller of a call that the office begins, until somebody has answered it."""
        nowhere = Flow("udp", ("0.0.0.0", 0), ("0.0.0.0", 0))
        return cls(wiring, call, 0, "nobody", nowhere)

    def snapshot(self) -> dict[str, object]:
        if self.answered:
            state = "held" if self.held else "answered"
        else:
            state = "ringing" if self.rang else "started"
        return {"leg": self.leg_id, "endpoint": self.label, "state": state, "codec": self.codec}

    def hear_agent(self, response: SipResponse) -> None:
        """What we call may say in any of its answers what it is; the first time counts."""
        if not self.user_agent:
            self.user_agent = software_of(response)

    # -- a leg that comes in -------------------------------------------------------------------------

    @classmethod
    def incoming(
        cls, wiring: Wiring, call: Call, leg_id: int, event: InviteReceived, *, label: str
    ) -> Leg:
        """The caller's leg. An unreadable offer is kept for `offer_problem` to tell."""
        leg = cls(wiring, call, leg_id, label, event.flow)
        leg.session, leg._calls = event.session, True
        leg.user_agent = software_of(event.request)
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
        if not self.is_phone or who is None or who.number == self.told:
            return ()
        self.told = who.number
        return connected_lines(who, office.office.domain) if office.sip.connected_identity else ()

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

    def _stream_opened(self, call: Call, stream_id: int) -> None:
        if self.on_stream is not None:
            self.on_stream(call, self, stream_id)

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
