"""What the media plane reports about the streams of calls."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from media import protocol
from softswitch.call.events import LegEnded
from softswitch.sip.reason import ReasonHeader

if TYPE_CHECKING:
    from softswitch.call.control import CallControl
    from softswitch.call.dialling import Dialling
    from softswitch.call.in_call import InCalls
    from softswitch.call.info import InfoKeys
    from softswitch.call.leg_events import LegEvents
    from softswitch.call.listening import Line
    from softswitch.call.table import CallTable

_log = logging.getLogger("softswitch.call")


class MediaEvents:
    """Turns what a stream reports into what happens to its call."""

    def __init__(
        self,
        control: CallControl,
        table: CallTable,
        dialling: Dialling,
        legs: LegEvents,
        in_calls: InCalls,
        info_keys: InfoKeys,
    ) -> None:
        self._control = control
        self._table = table
        self._dialling = dialling
        self._legs = legs
        self._in_calls = in_calls
        self._info_keys = info_keys

    def handle(self, event: protocol.MediaEvent) -> None:
        """One event of the media plane."""
        match event:
            case protocol.DigitReceived():
                known = self._table.of_stream(event.stream_id)
                if known is not None:
                    self._legs.digit(*known, event.digit)
            case protocol.DigitsDue():
                known = self._table.of_stream(event.stream_id)
                if known is not None and known[1].session is not None:
                    self._info_keys.press(known[1].session, event.digits)
            case protocol.MediaTimedOut():
                self._timed_out(event.stream_id)
            case protocol.PlayFinished():
                known = self._table.of_stream(event.stream_id)
                if known is not None:
                    known[0].play_finished(event.play_id)
            case protocol.ProgressHeard():
                known = self._table.of_stream(event.stream_id)
                if known is not None and known[0].listening is not None:
                    line: Line = "caller" if known[1] is known[0].caller else "partner"
                    known[0].listening.says(line, event.what)
            case protocol.RecordingStopped():
                self._control.audio.recording_stopped(event)
            case protocol.WorkerDied():
                _log.error(
                    "media worker %d died: %d streams, %d recordings; it is being replaced",
                    event.worker,
                    len(event.streams),
                    len(event.recordings),
                )
            case protocol.WorkerReplaced():
                _log.warning("media worker %d is back", event.worker)
            case protocol.CommandRefused():
                _log.error("media plane refused %s: %s", event.command, event.problem)
            case _:
                pass

    def _timed_out(self, stream_id: int) -> None:
        known = self._table.of_stream(stream_id)
        if known is None:
            return
        call, leg = known
        if not leg.answered or leg.held or call.answered_at_s is None:
            return
        _log.info("call %s: no media from %s", call.call_id, leg.label)
        if call.trio is not None or (leg is call.partner and call.outlives_partner):
            leg.hang_up(ReasonHeader("Q.850", 41))
            if self._in_calls.left(call, leg, "media", 200, 41):
                return
            self._table.drop(call, leg, "media", 200, 41)
            self._dialling.feed(call, LegEnded(leg.leg_id, "media", 41))
            return
        self._control.end_call(call, by="media", q850=41, status=200, outcome="answered")
