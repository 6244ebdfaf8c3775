"""Who is allowed to speak: source latching and the change of an SSRC.

Media is taken from the address that SDP names; behind NAT also from any port of the host that
signals. After four packets in sequence with one SSRC the stream is locked to that source, and only
then is anything sent to an address that was learned. Another SSRC of the right source is taken after
four packets in sequence too, if the old one has fallen silent: a forger who knows the source's
address cannot mix in while the true one speaks. A new lock needs new signalling.
"""

from __future__ import annotations

from collections.abc import Callable

from media.plane.packet_io import HOST_MASK, PacketIo
from media.plane.sources import Sources
from media.plane.stream import Stream
from media.plane.streams import (
    HEAD,
    NONE,
    PAYLOAD_TYPE,
    POLICED_HEAD,
    SOURCE,
    SSRC,
    WRONG_SSRC,
    Streams,
)
from media.plane.timelines import Timelines
from media.plane.voices import Voices
from media.protocol import Address

DROP, AUDIO, EVENT, NOISE = range(4)
"""What `Latch.admit` says of a packet."""

RUN = 4
"""Packets in sequence that lock a source."""

_RUNS_MAX = 8
_SILENCE_S = 0.05
_NOISE_TYPE = 13  # RFC 3389


class Latch:
    """The decisions on single packets of sources that are not plain; changes rows and claims.

    `locked(stream)` is called when a stream has been locked to its source.
    """

    def __init__(
        self,
        io: PacketIo,
        streams: Streams,
        sources: Sources,
        timelines: Timelines,
        voices: Voices,
        locked: Callable[[Stream], None],
    ) -> None:
        self._io = io
        self._streams = streams
        self._sources = sources
        self._timelines = timelines
        self._voices = voices
        self._locked = locked
        self.before_change: Callable[[Stream], None] = lambda stream: None
        """Called before a row begins to hear another source; the relay notes where it stands."""

    def expect(self, stream: Stream, remote: Address | None, nat: bool) -> None:
        """Begin anew: nothing is locked, these sources may speak."""
        self.forget(stream)
        hosts = stream.signalled_host
        if remote is not None and remote[1]:
            self._claim(stream, remote)
            self._io.set_destination(stream.row, remote)
            hosts = hosts or remote[0]
        if nat and hosts is not None:
            stream.host_key = self._io.source_key(stream.port_id, (hosts, 0)) & HOST_MASK
            self._sources.claim_host(stream.host_key, stream.row)

    def restore(self, stream: Stream, source: Address) -> None:
        """Lock at once to `source`, which an earlier worker had locked to; the SSRC is learned."""
        self.forget(stream)
        self._claim(stream, source)
        stream.locked = source
        self._io.set_destination(stream.row, source)

    def forget(self, stream: Stream) -> None:
        """Take back every claim of a stream."""
        if stream.key is None and stream.host_key is None:
            return  # it has claimed nothing yet, so that nobody has been heard
        row = stream.row
        self.before_change(stream)
        if stream.key is not None:
            self._sources.release(stream.key, row)
        if stream.rtcp_key is not None:
            self._sources.release(stream.rtcp_key, row)
        if stream.host_key is not None:
            self._sources.release_host(stream.host_key, row)
        self._sources.note_ssrc(None, row, None)
        stream.key = stream.rtcp_key = stream.host_key = stream.locked = None
        stream.has_ssrc = False
        stream.runs.clear()
        self._streams.expected_words[row, HEAD] = 0

    def _claim(self, stream: Stream, source: Address) -> None:
        stream.key = self._io.source_key(stream.port_id, source)
        self._sources.claim(stream.key, stream.row)
        if stream.params is not None and stream.params.remote_ssrc is not None:
            self._sources.note_ssrc(stream.key, stream.row, stream.params.remote_ssrc)
        twin = stream.rtcp_address(source)
        if twin is not None and not (stream.params is not None and stream.params.rtcp_mux):
            stream.rtcp_key = self._io.source_key(stream.port_id + 1, twin)
            self._sources.claim(stream.rtcp_key, stream.row)

    def refresh(self, stream: Stream) -> None:
        """Let plain packets pass unseen if there is nothing left to decide about them."""
        plain = stream.locked is not None and stream.has_ssrc and not stream.unsynced
        plain = plain and not stream.timed_out
        head = 0
        if plain and stream.audio_type is not None:
            head = 0x80000000 | (stream.audio_type << 16)
        if stream.policed:
            head = POLICED_HEAD
        self._streams.expected_words[stream.row, HEAD] = head

    def admits_rtcp(self, stream: Stream, key: int) -> bool:
        """RTCP obeys the rule of the media: only the source that speaks, once it is known."""
        return key in (stream.key, stream.rtcp_key)

    def admit(
        self, stream: Stream, place: int, key: int, first: int, ssrc: int, now_s: float
    ) -> int:
        """Judge one packet: `place` in the receive buffer, its source `key`, first word, SSRC."""
        row = stream.row
        kind = self._kind(stream, (first >> 16) & 0x7F)
        if kind == DROP:
            return DROP
        heard = int(self._streams.expected_words[row, SSRC]) if stream.has_ssrc else -1
        if stream.locked is not None and key == stream.key and ssrc == heard:
            return kind
        run = self._count_run(stream, key, ssrc, first & 0xFFFF)
        if stream.locked is not None:
            return self._another(stream, key, ssrc, first, run, kind, now_s)
        if run >= RUN:
            self._lock(stream, place, key, ssrc, first & 0xFFFF)
            return kind
        if key == stream.key and heard in (-1, ssrc):
            # The address that SDP names may speak at once; it has only to prove itself to stay.
            if not stream.has_ssrc:
                self._adopt(stream, ssrc, first & 0xFFFF)
            return kind
        self._streams.drops[row, SOURCE] += 1
        return DROP

    def _kind(self, stream: Stream, payload_type: int) -> int:
        params, row = stream.params, stream.row
        if params is None:
            self._streams.drops[row, SOURCE] += 1
            return DROP
        if payload_type == stream.audio_type:
            return AUDIO
        if payload_type == stream.event_type:
            return EVENT
        if payload_type == _NOISE_TYPE and params.codec in ("PCMU", "PCMA"):
            return NOISE
        self._streams.drops[row, PAYLOAD_TYPE] += 1
        return DROP

    def _count_run(self, stream: Stream, key: int, ssrc: int, sequence: int) -> int:
        runs = stream.runs
        run = runs.get((key, ssrc))
        if run is None:
            if len(runs) >= _RUNS_MAX:
                runs.clear()
            runs[key, ssrc] = [sequence, 1]
            return 1
        run[1] = run[1] + 1 if sequence == (run[0] + 1) & 0xFFFF else 1
        run[0] = sequence
        return run[1]

    def _another(
        self, stream: Stream, key: int, ssrc: int, first: int, run: int, kind: int, now_s: float
    ) -> int:
        """A locked stream hears an SSRC that is not its own."""
        row = stream.row
        if key != stream.key:
            self._streams.drops[row, SOURCE] += 1
            return DROP
        restored = not stream.has_ssrc
        silent = now_s - float(self._streams.heard_s[row]) >= _SILENCE_S
        if restored or (run >= RUN and silent):
            stream.runs.clear()
            self._adopt(stream, ssrc, first & 0xFFFF)
            self.refresh(stream)
            return kind
        self._streams.drops[row, WRONG_SSRC] += 1
        return DROP

    def _adopt(self, stream: Stream, ssrc: int, sequence: int) -> None:
        row = stream.row
        self.before_change(stream)
        self._streams.begin_sequence(row, sequence)
        self._streams.expected_words[row, SSRC] = ssrc
        self._sources.note_ssrc(stream.key, row, ssrc)
        stream.has_ssrc = True
        stream.unsynced = stream.feeds is not None
        self._voices.reset(row)
        slot = int(self._streams.slot[row])
        if slot != NONE:
            self._timelines.at(stream.rate_hz).forget_anchor(slot)

    def _lock(self, stream: Stream, place: int, key: int, ssrc: int, sequence: int) -> None:
        source = self._io.source_of(place)
        if key != stream.key:
            if stream.key is not None:
                self._sources.release(stream.key, stream.row)
            if stream.rtcp_key is not None:
                self._sources.release(stream.rtcp_key, stream.row)
                stream.rtcp_key = None
            self._claim(stream, source)
            self._io.set_destination(stream.row, source)
        if stream.host_key is not None:
            self._sources.release_host(stream.host_key, stream.row)
            stream.host_key = None
        if not stream.has_ssrc or int(self._streams.expected_words[stream.row, SSRC]) != ssrc:
            self._adopt(stream, ssrc, sequence)
        stream.runs.clear()
        stream.locked = source
        self.refresh(stream)
        self._locked(stream)
