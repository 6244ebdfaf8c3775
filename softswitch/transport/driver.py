"""The driver: stamps the time, pumps the SIP stack, sends what it wants sent, owns its timer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from softswitch.clock import Clock
from softswitch.errors import SoftswitchError
from softswitch.sip.events import SipEvent
from softswitch.sip.flow import Flow, Outgoing
from softswitch.sip.rank import Rank
from softswitch.sip.stack import SipStack
from softswitch.sip.terse import Terse
from softswitch.transport.gathering import Gathering
from softswitch.transport.intake import Intake
from softswitch.transport.interface import OnShed, Tap, Transport, nobody_asks
from softswitch.transport.stream import StreamTransport
from softswitch.transport.stun import binding_answer, is_stun
from softswitch.transport.udp import UdpTransport

_log = logging.getLogger("softswitch.transport")

Sieve = Callable[[bytes, Flow, float], bool]
Sort = Callable[[bytes, Flow, float], Rank | None]
OnEvent = Callable[[SipEvent, float], None]

_TRACEBACKS_PER_MINUTE = 20
_TRANSPORTS_MAX = 64
_FLOWS_MAX = 1024
_TURN_S = 0.008
_TURN_MESSAGES_MAX = 256
_LOOKED_AT_EVERY = 4
_BUSY_READINGS = 10
_BUSY_WINDOW_S = 0.1
_LETTERS = ord("A")  # SIP begins with one
_ACK, _INVITE = ord("A"), ord("I")
_SLACK_S = 0.04
"""How late a timer may be while messages come all the time, each of which looks whether one is due: less than a
tenth of the shortest (T1), and on average as long as until the next message."""


@dataclass(slots=True)
class DriverCounters:
    """What has passed the driver. `sieved`: not even read (see `Driver.sieve`); `deferred`: had to wait
    (see `Driver.defer`); `acks_absorbed`: of refusals written from the octets; `stun_answered`: keep-alives of
    telephones. `exceptions` counts escapes from handlers, `stack_exceptions` those from the stack itself:
    either is a bug and must stay 0."""

    received: int = 0
    sent: int = 0
    events: int = 0
    unroutable: int = 0
    unreachable: int = 0
    sieved: int = 0
    deferred: int = 0
    acks_absorbed: int = 0
    stun_answered: int = 0
    exceptions: int = 0
    stack_exceptions: int = 0


class Driver:
    """The only caller of a `SipStack`'s I/O methods.

    Parameters: `on_event(event, now_s)` is called for each event, in order, on the loop's thread;
    an exception out of it is caught, counted and logged, then `on_broken(event, error)` decides,
    by default by hanging up the session of the event: a broken call dies alone.

    `before_sending()`, when set, is called before messages leave: a media plane must know what they will
    bring before their receiver does.
    `tap((now_s, received, flow, data))`, when set, sees every message.
    `sieve(data, flow, now_s)`, when set, says whether a message is looked at at all.
    `on_waited(wait_s)`, when set, hears after each turn how long the first of those that wait has done so.
    `on_shed(host, refused, now_s)`, when set, hears of each message that a limit has dropped or `refused`, and
    of connections that were not let in, by the address of the sender.
    `token` marks refusals written from the octets, see `Terse`.
    `on_flow_lost(flow)`, when set, hears of connections that have closed: what was registered over
    them cannot be reached any more (RFC 5626).
    """

    def __init__(
        self,
        stack: SipStack,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        on_event: OnEvent,
        *,
        on_broken: Callable[[SipEvent, Exception], None] | None = None,
        tap: Tap | None = None,
        before_sending: Callable[[], None] | None = None,
        token: str = "overload",
    ) -> None:
        self.stack = stack
        self.counters = DriverCounters()
        self.tap = tap
        self.on_flow_lost: Callable[[Flow], None] | None = None
        self.sieve: Sieve | None = None
        self.on_waited: Callable[[float], None] | None = None
        self.on_shed: OnShed = nobody_asks
        self._terse = Terse(token)
        self.intake = Intake(self._terse.refusal, on_shed=self._shed)
        self._sort: Sort | None = None
        self._serving = False
        self._clock = clock
        self._loop = loop
        self._on_event = on_event
        self._before_sending = before_sending
        self._on_broken = on_broken if on_broken is not None else self._end_session
        self._transports: dict[tuple[str, tuple[str, int]], Transport] = {}
        self._flows: dict[tuple[tuple[str, int], str, str], Flow] = {}  # what `flow_to` has found
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0
        self._due_s = float("inf")
        self._busy = False
        self._readings = 0
        self._readings_since_s = float("-inf")
        self._pumping = False
        self._held: list[Outgoing] | None = None
        self._closed = False
        self._tracebacks = 0
        self._tracebacks_since_s = float("-inf")

    @property
    def transports(self) -> list[Transport]:
        """The attached transports, in the order of attachment."""
        return list(self._transports.values())

    def attach(self, transport: Transport) -> None:
        """Receive from `transport` and send its flows through it, until `close`."""
        key = (transport.name, transport.local)
        if key in self._transports:
            raise SoftswitchError(f"{transport.name} {transport.local} is attached already")
        if len(self._transports) >= _TRANSPORTS_MAX:
            raise SoftswitchError(f"more than {_TRANSPORTS_MAX} transports")
        self._transports[key] = transport
        self._flows.clear()
        if isinstance(transport, UdpTransport):
            transport.gather = self.gather
        if isinstance(transport, StreamTransport):
            transport.on_refused = self._shed
        transport.start(self.feed, self.fail_flow)

    def use_ranks(self, sort: Sort) -> None:
        """From now on what one turn has no time for waits, by the rank that `sort(data, flow, now_s)` gives;
        None: it is not looked at. Without this everything is handled in the order in which it comes, and
        at once: with it what comes by UDP waits some milliseconds for others under load (`Gathering`)."""
        self._sort = sort
        for transport in self._transports.values():
            if isinstance(transport, UdpTransport):
                transport.defer = self.defer
                transport.gathering = Gathering()

    def flow_to(
        self, remote: tuple[str, int], transport: str = "udp", server_name: str = ""
    ) -> Flow:
        """A flow from our first address of that transport and IP family to `remote`; over TLS the
        certificate there must be for `server_name`.

        A loopback address reaches only loopback peers, so that one is taken for them, and another
        for others, as far as there is a choice. Raises `SoftswitchError` where nothing fits.
        """
        known = self._flows.get((remote, transport, server_name))
        if known is not None:
            return known
        six = ":" in remote[0]
        found = [
            local
            for name, local in self._transports
            if name == transport and ((":" in local[0]) == six or local[0] == "::")
        ]
        if not found:
            raise SoftswitchError(f"no {transport} transport reaches {remote[0]}")
        inside = _is_loopback(remote[0])
        fitting = [local for local in found if _is_loopback(local[0]) == inside]
        flow = Flow(transport, (fitting or found)[0], remote, 0, server_name)
        if len(self._flows) >= _FLOWS_MAX:
            self._flows.clear()
        self._flows[remote, transport, server_name] = flow
        return flow

    def stream_to(self, remote: tuple[str, int]) -> Flow | None:
        """A TCP flow to `remote`; None without a listener of ours, or when it refused the last one."""
        try:
            flow = self.flow_to(remote, "tcp")
        except SoftswitchError:
            return None
        transport = self._transports[flow.transport, flow.local]
        refused = isinstance(transport, StreamTransport) and transport.refused(flow)
        return None if refused else flow

    def prove(self, flow: Flow) -> None:
        """The sender of this flow has shown who he is: his connection comes before strangers'."""
        transport = self._transports.get((flow.transport, flow.local))
        if transport is not None:
            transport.prove(flow)

    def why_unreachable(self, flow: Flow) -> str:
        """What the last connection to this peer failed by, in a few words; "" where nothing is known."""
        transport = self._transports.get((flow.transport, flow.local))
        return transport.why_unreachable(flow) if isinstance(transport, StreamTransport) else ""

    def feed(self, data: bytes, flow: Flow) -> None:
        """One datagram or framed message has come; everything that follows from it happens now, unless
        others wait already."""
        if self._closed:
            return
        first = data[0] if data else 0
        if first < _LETTERS and is_stun(data):
            self._keep_alive(data, flow)
            return
        intake = self.intake
        if intake.waiting:
            self.defer(data, flow)
            return
        now_s = self._clock.monotonic_s()
        self.counters.received += 1
        if self.sieve is not None and not self.sieve(data, flow, now_s):
            self.counters.sieved += 1
            self._shed(flow.remote[0], False, now_s)
            return
        if first == _ACK:
            if self._terse.is_acknowledged(data):
                self.counters.acks_absorbed += 1
                return
        elif first == _INVITE:
            answer = intake.passes(data, flow, now_s)
            if answer is not None:
                self._answer(answer, flow)
                return
        self._process(data, flow, now_s)

    def _keep_alive(self, data: bytes, flow: Flow) -> None:
        """STUN of a telephone over UDP that has proven who it is; strangers could make us a mirror."""
        self.counters.received += 1
        if flow.reliable or self._sort is None:
            return
        rank = self._sort(data, flow, self._clock.monotonic_s())
        if rank is None or rank > Rank.PHONE:
            return
        answer = binding_answer(data, flow.remote)
        if answer is not None:
            self.counters.stun_answered += 1
            self._leave([Outgoing(answer, flow)])

    def defer(self, data: bytes, flow: Flow) -> None:
        """One message has come for which there is no time in this turn: it waits with those of its rank, or
        is turned away."""
        if self._closed:
            return
        if is_stun(data):
            self._keep_alive(data, flow)
            return
        now_s = self._clock.monotonic_s()
        self.counters.received += 1
        if self._terse.is_acknowledged(data):
            self.counters.acks_absorbed += 1
            return
        rank = self._sort(data, flow, now_s) if self._sort is not None else Rank.GOING
        if rank is None:
            self.counters.sieved += 1
            self._shed(flow.remote[0], False, now_s)
            return
        self.counters.deferred += 1
        answer = self.intake.offer(rank, data, flow, now_s)
        if answer is not None:
            self._answer(answer, flow)
        if self.intake and not self._serving:
            self._serving = True
            self._loop.call_soon(self._serve)

    def _shed(self, host: str, refused: bool, now_s: float) -> None:
        self.on_shed(host, refused, now_s)

    def _serve(self) -> None:
        """A turn's worth of what waits; then the loop's other readers and timers have theirs."""
        self.gather(self._serve_some)
        if self.on_waited is not None:
            self.on_waited(self.intake.longest_wait_s(self._clock.monotonic_s()))
        self._serving = bool(self.intake) and not self._closed
        if self._serving:
            self._loop.call_soon(self._serve)

    def _serve_some(self) -> None:
        began_s = now_s = self._clock.monotonic_s()
        for count in range(_TURN_MESSAGES_MAX):
            turn = self.intake.take(now_s)
            if turn is None or self._closed:
                break
            if turn.answer is not None:
                self._answer(turn.answer, turn.flow)
            else:
                self._process(turn.data, turn.flow, now_s)
            if count % _LOOKED_AT_EVERY == 0:
                now_s = self._clock.monotonic_s()
                if now_s - began_s >= _TURN_S:
                    break

    def gather(self, read: Callable[[], None]) -> None:
        """Let a transport read some messages; what they bring to send leaves together afterwards, and the media
        plane hears of it once. Timers that are due have their turn with them: at some hundred calls a second
        they would wake the loop as often as messages do."""
        held: list[Outgoing] = []
        self._held = held
        try:
            read()
            now_s = self._clock.monotonic_s()
            if now_s - self._readings_since_s >= _BUSY_WINDOW_S:
                self._busy = self._readings >= _BUSY_READINGS
                self._readings = 0
                self._readings_since_s = now_s
            self._readings += 1
            if self._due_s <= now_s and not self._closed:
                self._handle_timers(now_s)
        finally:
            self._held = None
            if not self._closed:
                if held:
                    self._send_all(held)
                self._arm_timer()

    def _answer(self, data: bytes, flow: Flow) -> None:
        """Send what was written from the octets, together with what else leaves (`gather`): to wake who is
        asleep at the other end costs as much as all the rest of a refusal."""
        if self._held is not None:
            self._held.append(Outgoing(data, flow))
        else:
            self._leave([Outgoing(data, flow)])

    def _send_all(self, outgoing: list[Outgoing]) -> None:
        if self._before_sending is not None:
            self._before_sending()
        self._leave(outgoing)

    def _leave(self, outgoing: list[Outgoing]) -> None:
        tap, transports = self.tap, self._transports
        now_s = self._clock.monotonic_s()
        for message in outgoing:
            flow = message.flow
            transport = transports.get((flow.transport, flow.local))
            if transport is None:
                self.counters.unroutable += 1
                continue
            self.counters.sent += 1
            if tap is not None:
                tap((now_s, False, flow, message.data))
            transport.send(message.data, flow)

    def _process(self, data: bytes, flow: Flow, now_s: float) -> None:
        if self.tap is not None:
            self.tap((now_s, True, flow, data))
        try:
            self.stack.receive_datagram(data, flow, now_s)
        except Exception:
            self.counters.stack_exceptions += 1
            self._log_exception("the SIP stack failed on a message of %d octets", len(data))
        self.pump()

    def fail_flow(self, flow: Flow) -> None:
        """The far end of `flow` does not listen: its transactions end with 503 now, not in 32 s."""
        if self._closed:
            return
        self.counters.unreachable += 1
        try:
            self.stack.transport_failed(flow, self._clock.monotonic_s())
        except Exception:
            self.counters.stack_exceptions += 1
            self._log_exception("the SIP stack failed on a lost flow %s", flow.transport)
        if flow.connection_id and self.on_flow_lost is not None:
            try:
                self.on_flow_lost(flow)
            except Exception:
                self.counters.exceptions += 1
                self._log_exception("a handler failed on a lost flow %s", flow.transport)
        self.pump()

    def pump(self) -> None:
        """Dispatch events, send, re-arm the timer. Call it after any command given to the stack
        from outside `on_event`; inside it, the pump that is running goes on by itself. What `gather` holds
        leaves, and the timer is armed, when its reading is over."""
        if self._pumping:  # or closed
            return
        self._pumping = True
        stack, held = self.stack, self._held
        events, outbox = stack.events, stack.outbox
        try:
            while True:
                while events:
                    event = events.popleft()
                    self.counters.events += 1
                    try:
                        self._on_event(event, self._clock.monotonic_s())
                    except Exception as error:
                        self._failed_on(event, error)
                if not outbox:
                    break
                if held is not None:
                    held += outbox
                    outbox.clear()
                    break
                self._send_all(stack.datagrams_to_send())
        finally:
            self._pumping = self._closed
        if held is None:
            self._arm_timer()

    def close(self) -> None:
        """Stop the timer and close every transport. May be called twice."""
        self._closed = self._pumping = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for transport in self._transports.values():
            transport.close()
        self._transports.clear()
        self._flows.clear()

    def snapshot(self) -> dict[str, int]:
        """The counters, and `timers`: 1 while the one timer is armed."""
        counters = self.counters
        found = {name: getattr(counters, name) for name in DriverCounters.__slots__}
        found["timers"] = int(self._timer is not None)
        found["transports"] = len(self._transports)
        return found

    def _failed_on(self, event: SipEvent, error: Exception) -> None:
        self.counters.exceptions += 1
        self._log_exception("a handler failed on %s", type(event).__name__)
        try:
            self._on_broken(event, error)
        except Exception:
            self.counters.exceptions += 1
            self._log_exception("ending a broken call failed on %s", type(event).__name__)

    def _end_session(self, event: SipEvent, error: Exception) -> None:
        session = getattr(event, "session", None)
        if session is not None:
            self.stack.hang_up(session, now_s=self._clock.monotonic_s())

    def _arm_timer(self) -> None:
        due_s = self.stack.get_timer()
        timer = self._timer
        if due_s is None:
            self._due_s = float("inf")
            if timer is not None:
                timer.cancel()
                self._timer = None
            return
        self._due_s = due_s
        if self._busy:
            due_s += _SLACK_S  # a message will come before that, and look
        if timer is not None:
            # A timer that is too early only wakes us to look again, cheaper than to re-arm it
            # for each message, most of which move the earliest timer to a later time.
            if self._timer_at_s <= due_s:
                return
            timer.cancel()
        self._timer_at_s = due_s
        delay_s = max(0.0, due_s - self._clock.monotonic_s())
        self._timer = self._loop.call_later(delay_s, self._fire_timer)

    def _fire_timer(self) -> None:
        self._timer = None
        now_s = self._clock.monotonic_s()
        if now_s - self._readings_since_s >= 2 * _BUSY_WINDOW_S:
            self._busy = False  # nothing has been read for a while
        self._handle_timers(now_s)

    def _handle_timers(self, now_s: float) -> None:
        try:
            self.stack.handle_timer(now_s)
        except Exception:
            self.counters.stack_exceptions += 1
            self._log_exception("the SIP stack failed on a timer")
        self.pump()

    def _log_exception(self, message: str, *args: object) -> None:
        """With traceback, but only so many a minute: a log that fills the disk helps nobody."""
        now_s = self._clock.monotonic_s()
        if now_s - self._tracebacks_since_s > 60.0:
            self._tracebacks_since_s, self._tracebacks = now_s, 0
        self._tracebacks += 1
        if self._tracebacks <= _TRACEBACKS_PER_MINUTE:
            _log.exception(message, *args)


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host == "::1"
