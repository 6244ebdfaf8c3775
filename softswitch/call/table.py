"""The table of calls: which call and leg a session of the stack, or a stream of the media plane, is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.protocol import StreamStats

if TYPE_CHECKING:
    from media.protocol import StreamClosed
    from softswitch.call.audio import CallAudio
    from softswitch.call.call import Call
    from softswitch.call.leg import Leg
    from softswitch.call.wiring import Wiring


class CallTable:
    """Calls that live, by their id; their legs by session and by stream.

    Every change of it is written to the journal. Streams stay known after their leg until the media
    plane has said how they were heard.
    """

    def __init__(self, wiring: Wiring, audio: CallAudio) -> None:
        self._wiring = wiring
        self._audio = audio
        self._calls: dict[str, Call] = {}
        self.sessions: dict[int, tuple[Call, Leg]] = {}
        self._streams: dict[int, tuple[Call, Leg]] = {}
        self._closing: dict[int, tuple[str, int]] = {}
        self._of_endpoint: dict[str, int] = {}
        self.total = 0

    # -- what is in it ---------------------------------------------------------------------------

    @property
    def calls(self) -> list[Call]:
        return list(self._calls.values())

    def named(self, call_id: str) -> Call | None:
        """A call by its id."""
        return self._calls.get(call_id)

    def of_session(self, session: int | None) -> tuple[Call, Leg] | None:
        """The call and leg of a session of the stack."""
        return self.sessions.get(session) if session is not None else None

    def of_stream(self, stream_id: int) -> tuple[Call, Leg] | None:
        """The call and leg that a stream of the media plane belongs to."""
        return self._streams.get(stream_id)

    def legs_of(self, endpoint: str) -> int:
        """How many legs ``extension:NUMBER`` has."""
        return self._of_endpoint.get(endpoint, 0)

    def has_leg(self, endpoint: str) -> bool:
        """Whether a phone of ``extension:NUMBER``, or a trunk by its label, is in any call."""
        return endpoint in self._of_endpoint

    def snapshot(self) -> dict[str, int]:
        return {
            "calls": len(self._calls),
            "legs": sum(len(call.legs) for call in self._calls.values()),
            "sessions": len(self.sessions),
            "streams": len(self._streams),
            "closing_streams": len(self._closing),
            "total": self.total,
        }

    # -- what changes it -------------------------------------------------------------------------

    def enter(self, call: Call) -> None:
        """The call begins."""
        self.total += 1
        self._calls[call.call_id] = call
        self._wiring.records.started(call, call.started_at_s)

    def remove(self, call: Call) -> None:
        """The call is over; its legs are dropped one by one."""
        self._calls.pop(call.call_id, None)

    def adopt(self, call: Call, leg: Leg) -> None:
        """A leg of `call` begins."""
        call.legs[leg.leg_id] = leg
        self._of_endpoint[leg.label] = self._of_endpoint.get(leg.label, 0) + 1
        self._index(call, leg)
        leg.on_stream = self._stream_opened
        leg.on_stream_closed = self._forget_stream
        self._wiring.records.leg_started(call, leg, self._wiring.wall_s())

    def drop(self, call: Call, leg: Leg, by: str, status: int, q850: int) -> None:
        """Forget a leg whose session has been ended; its stream and its record are closed."""
        if call.legs.pop(leg.leg_id, None) is None:
            return
        label, wiring, partner = leg.label, self._wiring, call.partner
        left = self._of_endpoint[label] - 1
        if left:
            self._of_endpoint[label] = left
        else:
            del self._of_endpoint[label]
        if leg.session is not None:
            self.sessions.pop(leg.session, None)
        if call.recording is not None and (leg is partner or leg is call.caller):
            self._audio.stop_recording(call)  # before its streams go, so that it ends as wanted
        if leg is partner:
            call.partner = None
            if call.listening is not None:
                call.listening.partner_went()
            if not call.ended and call.caller.leg_id in call.legs:
                call.caller.tune()
        stream = leg.stream
        if stream is not None:
            stream_id = stream.stream_id
            self._streams.pop(stream_id, None)
            self._closing[stream_id] = (call.call_id, leg.leg_id)
            wiring.plane.release(stream_id)
        wiring.records.leg_ended(call, leg, wiring.wall_s(), by=by, status=status, q850=q850)
        leg.parted()

    def move(self, leg: Leg, source: Call, target: Call) -> None:
        """A leg changes its call (attended transfer); trunks it uses are counted there from now on."""
        source.legs.pop(leg.leg_id)
        target.legs[leg.leg_id] = leg
        leg.moved_to(target)
        self._index(target, leg)
        now, records = self._wiring.wall_s(), self._wiring.records
        records.leg_ended(source, leg, now, by="transfer", status=200, q850=16)
        records.leg_started(target, leg, now)
        records.leg_answered(target, leg, now)
        target.trunks_taken += source.trunks_taken
        source.trunks_taken = []

    def _index(self, call: Call, leg: Leg) -> None:
        if leg.session is not None:
            self.sessions[leg.session] = (call, leg)
        if leg.stream is not None:
            self._streams[leg.stream.stream_id] = (call, leg)

    def _stream_opened(self, call: Call, leg: Leg, stream_id: int) -> None:
        self._streams[stream_id] = (call, leg)

    def _forget_stream(self, stream_id: int) -> None:
        self._streams.pop(stream_id, None)

    def stream_closed(self, event: StreamClosed) -> None:
        """The media plane has closed a stream: write down how it was heard."""
        owner = self._closing.pop(event.stream_id, None)
        if owner is None:
            return
        call_id, leg_id = owner
        quality = _UNHEARD if event.stats == _NOTHING else _quality(event.stats)
        self._wiring.records.quality(call_id, self._wiring.wall_s(), leg_id, quality)


def _quality(stats: StreamStats) -> dict[str, float | None]:
    return {
        "packets_in": stats.packets_in,
        "packets_out": stats.packets_out,
        "lost": stats.lost,
        "late": stats.late,
        "jitter_ms": round(stats.jitter_ms, 2),
        "round_trip_ms": _rounded(stats.round_trip_ms),
        "mos": _rounded(stats.mos),
        "remote_lost": stats.remote_lost,
        "remote_jitter_ms": round(stats.remote_jitter_ms, 2),
        "remote_mos": _rounded(stats.remote_mos),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


_NOTHING = StreamStats()
_UNHEARD = _quality(_NOTHING)
"""Of a leg that no packet has come to or gone from."""
