"""The heart of a worker: all its streams, driven by `poll`; no clock, no socket of its own.

Commands come in by `handle`, events go out by `emit`, datagrams move through a `PacketIo`. The
worker's loop, a test or the simulation drives it with whatever time it likes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import assert_never

import numpy as np

from media.plane.background import Background
from media.plane.backlog import Backlog
from media.plane.disk import Disk
from media.plane.ears import Ears
from media.plane.hush import Hush
from media.plane.ingress import Ingress
from media.plane.latch import Latch
from media.plane.mixer import Mixer
from media.plane.outlet import Outlet
from media.plane.packet_io import PacketIo
from media.plane.player import Library
from media.plane.progress import Progress
from media.plane.prompter import Prompter
from media.plane.recorder import Recorder
from media.plane.relay import Relay
from media.plane.reports import Reports
from media.plane.roster import Roster
from media.plane.seals import Seals
from media.plane.sources import Sources
from media.plane.stream import Stream
from media.plane.streams import Streams
from media.plane.taping import Taping, sides_of
from media.plane.ticks import Ticks
from media.plane.timeline import RATE_HZ
from media.plane.timelines import Timelines
from media.plane.voices import Voices
from media.plane.wiring import Wiring
from media.protocol import (
    AddPort,
    Command,
    CommandRefused,
    ConfigureStream,
    Connect,
    DigitReceived,
    Disconnect,
    DropPort,
    HearProgress,
    JoinRoom,
    LeaveRoom,
    MediaEvent,
    MediaTimedOut,
    Monitor,
    OpenStream,
    PauseRecording,
    PlayFinished,
    ProgressHeard,
    RecordingStopped,
    ReleaseStream,
    ResumeRecording,
    SendDigits,
    SetEcho,
    Setup,
    StartPlay,
    StartRecording,
    Stop,
    StopMonitor,
    StopPlay,
    StopRecording,
    StreamLatched,
    StreamStats,
)
from media.wire.srtp import SrtpTable
from media.wire.telephone_event import DigitReports

_STALL_TICKS = 10
_RING_TICKS = 45
_LISTENED_PACE = 4
"""Ticks that gather while streams are listened to for tones, and nobody hears them: 80 ms."""
_EXPIRE_S = 0.1
_ADAPT_S = 1.0
_LATE_S = 0.004
"""Packets that are fetched so much later than they were to be have waited for us: they tell nothing of the pace
at which they came."""
_POLICE_S = 0.01
_BEEP_S = 15.0
_REPORT_S = 0.01
_REPORTS_MAX = 32
"""RTCP reports at once: twice as many as gather of 8,192 streams, in pieces that keep no packet waiting."""


def _since_ms(as_of_s: float | None, now_s: float) -> int:
    return 0 if as_of_s is None else max(0, round(1000 * (now_s - as_of_s)))


class Engine:
    """All streams of one worker.

    Parameters: `io` moves datagrams; `emit` receives events; `disk` writes and `reader` reads files;
    `recordings_dir`; `streams_max` rows; `rtp_timeout_s` until `MediaTimedOut`; `rng` draws SSRCs,
    sequence numbers and timestamps; `start_s` is the time of the first tick; `unix_offset_s` makes Unix time of
    `now_s` (for RTCP).
    """

    def __init__(
        self,
        io: PacketIo,
        *,
        emit: Callable[[MediaEvent], None],
        disk: Disk,
        reader: Disk,
        recordings_dir: str,
        start_s: float,
        rng: random.Random,
        streams_max: int = 8192,
        rtp_timeout_s: float = 30.0,
        unix_offset_s: float = 0.0,
    ) -> None:
        self._io = io
        self._emit = emit
        self._rtp_timeout_s = rtp_timeout_s
        self._streams = Streams(streams_max)
        self._sources = Sources(streams_max)
        self._timelines = Timelines()
        self._voices = Voices(streams_max)
        self._hush = Hush(streams_max)
        self._background = Background(self._streams, self._timelines)
        self._backlog = Backlog(self._streams, self._voices, self._timelines)
        self._srtp = SrtpTable(streams_max)
        self._outlet = Outlet(io, self._srtp, streams_max)
        self._latch = Latch(
            io, self._streams, self._sources, self._timelines, self._voices, self._on_locked
        )
        self._relay = Relay(self._streams, self._latch)
        self._rows: list[Stream | None] = [None] * streams_max
        self._recorder = Recorder(self._timelines, disk, recordings_dir)
        self._library = Library(reader)
        self._mixer = Mixer(
            self._outlet,
            self._streams,
            self._timelines,
            self._relay,
            self._voices,
            lambda stream, play, reason: self._prompter.end(stream, play, reason),
            lambda stream: self._wiring.rewire(stream),
        )
        self._ears = Ears(
            self._streams,
            self._timelines,
            self._on_sound_digits,
            lambda stream: self._wiring.attend(stream),
        )
        self._progress = Progress(self._streams, self._timelines, self._on_progress)
        self._reports = Reports(
            io, self._outlet, self._streams, self._relay, self._voices, rng, unix_offset_s
        )
        self._wiring = Wiring(
            self._streams,
            self._timelines,
            self._relay,
            self._mixer,
            self._voices,
            self._ears,
            self._hush,
        )
        self._taping = Taping(self._recorder, self._wiring, emit)
        self._prompter = Prompter(self._streams, self._library, self._mixer, self._wiring, emit)
        self._ingress = Ingress(
            io,
            self._streams,
            self._sources,
            self._rows,
            self._latch,
            self._relay,
            self._timelines,
            self._backlog,
            self._hush,
            self._background,
            self._srtp,
            self._outlet,
            self._on_event_digit,
            self._on_suspicion,
            self._reports.heard,
            self._on_revived,
        )
        self._roster = Roster(
            self._streams,
            self._rows,
            self._timelines,
            self._voices,
            self._background,
            self._latch,
            self._relay,
            self._recorder,
            self._mixer,
            self._progress,
            self._reports,
            self._wiring,
            self._taping,
            self._prompter,
            self._ingress,
            Seals(self._srtp, self._ingress, self._outlet),
            emit,
            rng,
        )
        self._ticks = Ticks(start_s, self._timelines.now)
        self._paced = 1
        self.next_second_s = start_s + 1.0
        """When it does what each second wants; who has such things to do as well does them then."""
        self._next_expire_s = start_s + _EXPIRE_S
        # Not in the turn that does what each second wants.
        self._next_adapt_s = start_s + _ADAPT_S / 2
        self._next_police_s = start_s
        self._next_report_s = start_s
        self._next_beep_s = start_s + _BEEP_S
        self._now_s = start_s
        self._noted_s = float("-inf")
        self.packets_in = 0

    @property
    def packets_out(self) -> int:
        """Datagrams that were handed to the network."""
        return self._io.packets_sent

    # --- driving ----------------------------------------------------------------------------

    def poll(self, now_s: float, late_s: float = 0.0) -> int:
        """Do all that is due at `now_s`, which is `late_s` later than it was to be; returns how many datagrams
        were taken in."""
        self._now_s = now_s
        self._note_time(now_s)
        count = self._io.receive()
        if count:
            self.packets_in += count
            if self._timelines.active:
                self._take_to_be_heard(count, now_s, late_s)
            else:
                self._ingress.take(count, now_s)
            if now_s >= self._next_police_s:
                self._next_police_s = now_s + _POLICE_S
                self._ingress.police()
        if self.ticking:
            pace = self._pace()
            self._skip_ticks(now_s, _STALL_TICKS + pace)
            self._tick(now_s, pace)
        if now_s >= self._next_report_s and len(self._reports):
            more = self._send_reports(now_s)
            self._next_report_s = now_s + (_REPORT_S if more else self._reports.gather_s)
        if now_s >= self._next_expire_s:
            self._keep_house(now_s)
        return count

    def _take_to_be_heard(self, count: int, now_s: float, late_s: float) -> None:
        """Take datagrams some of which are decoded.

        Those that waited because we were woken late, or had something long to do, are in time: what was due
        meanwhile is done after them. But when they came nobody knows, and a delay that is made
        longer for it would help nobody.
        """
        self._timelines.gather(self._paced > 1 or self._pace() > 1)
        if late_s <= _LATE_S:
            self._ingress.take(count, now_s)
            return
        self._backlog.flush()
        self._timelines.learn(False)
        try:
            self._ingress.take(count, now_s, timed=False)
            self._backlog.flush()
        finally:
            self._timelines.learn(True)

    @property
    def ticking(self) -> bool:
        """Somebody needs decoded audio: there is work every 20 ms."""
        return bool(self._timelines.active) or self._mixer.busy

    @property
    def relaying(self) -> bool:
        """Packets are passed on as they come: the sooner they are fetched, the less they wait."""
        return self._relay.feeds > 0

    def deadline_s(self) -> float:
        """Return when `poll` is due again even if nothing arrives."""
        house_s = self._next_expire_s
        if not self._expecting:
            house_s = max(house_s, self.next_second_s)
        return min(house_s, self._ticks.due_s(self._pace())) if self.ticking else house_s

    @property
    def _expecting(self) -> bool:
        """Something comes about by time or by another thread: the end of a digit, a report, a file."""
        return bool(
            len(self._reports)
            or self._ingress.events.sounding
            or self._recorder.closing
            or self._library.awaiting
        )

    def _pace(self) -> int:
        if self._mixer.busy or len(self._background):  # noise lasts until sound follows
            return 1
        pace = self._recorder.pace
        return min(pace, _LISTENED_PACE) if len(self._ears) or len(self._progress) else pace

    def _tick(self, now_s: float, pace: int) -> None:
        if now_s < self._ticks.due_s(pace):
            return
        self._backlog.flush()
        self._library.poll()
        pending = self._ticks.pending(now_s)
        # What gathered while nobody heard anything is not sent to the one who hears something now.
        unheard = pending - 1 if self._paced > 1 else 0
        self._paced = pace
        for number in range(pending):
            self._background.tick()
            self._timelines.conceal()
            self._ears.tick()
            if number >= unheard and self._mixer.busy:
                self._mixer.tick(now_s)
            self._progress.tick()
            self._timelines.advance()
            self._recorder.tick()
            self._ticks.done += 1
            if not self.ticking:
                break
        self.drain_events()

    def _note_time(self, now_s: float) -> None:
        if now_s == self._noted_s:
            return  # commands that came together, and the poll after them
        self._noted_s = now_s
        self._timelines.note_time(self._ticks.position(now_s), now_s)
        # What arrived during a short stall still finds its place if it is laid before we move on.
        self._skip_ticks(now_s, _RING_TICKS if self.ticking else 0)

    def _skip_ticks(self, now_s: float, most: int) -> None:
        """Ticks that nobody waited for, or that the process slept through, are not made up for."""
        position = self._ticks.skip(now_s, most)
        if position is not None:
            self._backlog.flush()
            self._recorder.skip_to(position)
            self._timelines.skip_to(position)

    def _keep_house(self, now_s: float) -> None:
        self._next_expire_s = now_s + _EXPIRE_S
        self._ingress.report(self._ingress.events.expire(now_s))
        self._library.poll()
        self.drain_events()
        if now_s >= self.next_second_s:
            self.next_second_s = now_s + 1.0
            self._each_second(now_s)
        if now_s >= self._next_adapt_s:
            self._next_adapt_s = now_s + _ADAPT_S
            self._backlog.flush()
            self._timelines.adapt()

    def _send_reports(self, now_s: float) -> bool:
        """Send what is due, as many as go at once; True if there are more."""
        rows = self._reports.due(now_s)
        due = [self._rows[row] for row in rows[:_REPORTS_MAX]]
        streams = [stream for stream in due if stream is not None and not stream.timed_out]
        if streams:
            self._reports.send(streams, now_s)
        return len(rows) > _REPORTS_MAX

    def _beep(self) -> None:
        for stream_id in self._recorder.beeping():
            stream = self._roster.find(stream_id)
            if stream is not None:
                self._prompter.beep(stream)

    def _each_second(self, now_s: float) -> None:
        if now_s >= self._next_beep_s:
            self._next_beep_s = now_s + _BEEP_S
            self._beep()
        self._ingress.begin_second()
        streams = self._streams
        used = slice(0, streams.high_water)
        silent = streams.expecting[used] & (now_s - streams.heard_s[used] > self._rtp_timeout_s)
        for row in np.flatnonzero(silent).tolist():
            stream = self._rows[row]
            streams.expecting[row] = False
            if stream is not None:
                stream.timed_out = True
                self._latch.refresh(stream)
                self._wiring.rewire(stream)
                self._emit(MediaTimedOut(stream.stream_id))

    # --- commands ---------------------------------------------------------------------------

    def handle(self, command: Command, now_s: float) -> None:
        """Carry out one command; what cannot be done becomes a `CommandRefused` event."""
        self.handle_all((command,), now_s)

    def handle_all(self, commands: Sequence[Command], now_s: float) -> None:
        """Carry out commands that came together, in their order."""
        self._now_s = now_s
        self._backlog.flush()
        self._note_time(now_s)
        # Nothing is decided anew for a stream whose partner goes a moment before it.
        self._roster.foresee(c.stream_id for c in commands if type(c) is ReleaseStream)
        for command in commands:
            try:
                self._carry_out(command, now_s)
            except Exception as error:  # one call's command must never end the others' media
                self._refuse(command, error)
        for stream in self._roster.take_unwired():
            try:
                self._wiring.rewire(stream)
            except Exception as error:
                self._emit(CommandRefused("ConfigureStream", stream.stream_id, str(error)))

    def _refuse(self, command: Command, error: Exception) -> None:
        stream_id = getattr(command, "stream_id", getattr(command, "a", -1))
        self._emit(CommandRefused(type(command).__name__, stream_id, str(error)))
        # Who waits for an end must not wait for ever.
        if isinstance(command, StartRecording):
            reason = f"refused: {error}"
            self._emit(RecordingStopped(command.recording_id, command.name, 0, reason))
        elif isinstance(command, StartPlay):
            reason = f"failed: {error}"
            self._emit(PlayFinished(command.stream_id, command.play_id, reason))

    def _carry_out(self, command: Command, now_s: float) -> None:
        match command:
            case OpenStream():
                self._roster.open(command, now_s)
            case ConfigureStream():
                self._roster.configure(command, now_s)
            case ReleaseStream():
                self._roster.release(command.stream_id)
            case Connect():
                self._wiring.connect(self._roster.get(command.a), self._roster.get(command.b))
            case Disconnect():
                a, b = self._roster.find(command.a), self._roster.find(command.b)
                if a is not None and b is not None:
                    self._wiring.disconnect(a, b)
            case SetEcho():
                self._wiring.echo(self._roster.get(command.stream_id), command.on)
            case JoinRoom():
                self._wiring.join(
                    self._roster.get(command.stream_id),
                    command.room,
                    mute=command.mute,
                    deaf=command.deaf,
                    gain=command.gain,
                )
            case LeaveRoom():
                leaver = self._roster.find(command.stream_id)
                if leaver is not None:
                    self._wiring.leave(leaver)
            case Monitor():
                target = self._roster.get(command.target)
                self._wiring.monitor(self._roster.get(command.stream_id), target, command.mode)
            case StopMonitor():
                supervisor = self._roster.find(command.stream_id)
                if supervisor is not None:
                    self._wiring.stop_monitor(supervisor)
            case StartPlay():
                since_ms = _since_ms(command.as_of_s, now_s)
                self._prompter.play(self._roster.get(command.stream_id), command, since_ms)
            case StopPlay():
                self._prompter.stop(self._roster.find(command.stream_id), "stopped")
            case HearProgress():
                self._hear_progress(self._roster.get(command.stream_id), command)
            case SendDigits():
                self._prompter.send_digits(self._roster.get(command.stream_id), command.digits)
            case StartRecording() if command.recording_id in self._recorder:
                pass  # asked for again
            case StartRecording():
                streams = [self._roster.get(stream_id) for stream_id in sides_of(command)]
                self._taping.start(command, streams, _since_ms(command.as_of_s, now_s))
            case PauseRecording():
                self._recorder.pause(command.recording_id)
            case ResumeRecording():
                self._recorder.resume(command.recording_id)
            case StopRecording():
                self._taping.stop(command.recording_id, "stopped")
            case DropPort():
                self._io.close_port(command.port_id)
                self._io.close_port(command.port_id + 1)
            case Setup() | AddPort() | Stop():
                raise ValueError("not for the engine")  # the worker keeps these to itself
            case _:
                assert_never(command)

    # --- recording --------------------------------------------------------------------------

    def finish(self) -> None:
        """End every recording, as the process is about to end."""
        self._backlog.flush()
        self._taping.finish()

    def release_all(self) -> None:
        """Say goodbye to all peers, as nobody will give their streams back."""
        self._roster.release_all()

    def drain_events(self) -> None:
        """Emit what disk threads have reported meanwhile."""
        for event in self._recorder.take_finished():
            self._taping.finished(event)

    # --- what the parts report --------------------------------------------------------------

    def _on_locked(self, stream: Stream) -> None:
        if stream.locked is not None:
            self._wiring.rewire(stream)
            self._reports.begin(stream, self._now_s)
            self._emit(StreamLatched(stream.stream_id, stream.locked))

    def _hear_progress(self, stream: Stream, command: HearProgress) -> None:
        if command.country is None:
            self._progress.forget(stream)
        else:
            self._wiring.check_decodable(stream)
            self._progress.listen(stream, command.country, answered=command.answered)
        self._wiring.rewire(stream)

    def _on_progress(self, stream: Stream, what: str) -> None:
        self._emit(ProgressHeard(stream.stream_id, what))

    def _on_sound_digits(self, reports: DigitReports) -> None:
        for row, digit, duration in reports.over():
            stream = self._rows[row]
            if stream is not None:
                self._on_digit(stream, digit, duration / RATE_HZ, relayed=False)

    def _on_suspicion(self, stream: Stream) -> None:
        if self._ears.suspect(stream):
            self._wiring.attend(stream)

    def _on_event_digit(self, row: int, digit: str, duration: int) -> None:
        stream = self._rows[row]
        if stream is not None:
            duration_s = duration / float(self._streams.clock_hz[row])
            self._on_digit(stream, digit, duration_s, relayed=self._relay.passes_events(stream))

    def _on_digit(self, stream: Stream, digit: str, duration_s: float, *, relayed: bool) -> None:
        if not stream.receives:
            return
        self._emit(DigitReceived(stream.stream_id, digit, round(1000 * duration_s)))
        if not relayed:
            self._prompter.pass_on(stream, digit)

    def _on_revived(self, stream: Stream) -> None:
        stream.timed_out = False
        self._streams.expecting[stream.row] = stream.receives
        self._latch.refresh(stream)
        self._wiring.rewire(stream)

    def snapshot(self) -> dict[str, int]:
        """Return what is held: all zero but `capacity` when every stream has been released."""
        return {
            "streams": len(self._roster),
            "rows": len(self._streams),
            "claims": len(self._sources),
            "slots": self._timelines.active,
            "recordings": len(self._recorder),
            "plays": len(self._mixer.plays),
            "parties": len(self._mixer.parties),
            "feeds": self._relay.feeds,
            "conversions": self._relay.converting,
            "unknown_sources": self._ingress.unknown_sources,
            "send_errors": self._io.send_errors,
        }

    def stats(self, stream_id: int) -> StreamStats:
        """Return the `StreamStats` of a stream so far."""
        return self._roster.stats(self._roster.get(stream_id))
