"""Who hears whom: decides for every stream what feeds it, and switches over without a seam.

A stream is fed by relay (its bridge partner's packets, or its own: echo) unless something is played
into it, it sends digits, sits in a conference, or a supervisor speaks to it; then the tick makes its
packets. Its own audio is decoded only while somebody listens to it: a conference, a recording, a
supervisor. A call that is only overheard goes on as it was, packet by packet.
"""

from __future__ import annotations

from collections.abc import Collection

from media.errors import NotSupported
from media.plane.ears import Ears
from media.plane.handover import Tail
from media.plane.hush import SILENCE, Hush
from media.plane.mixer import Mixer
from media.plane.relay import Relay, relayable
from media.plane.stream import Stream
from media.plane.streams import NONE, Streams
from media.plane.timeline import RATE_HZ
from media.plane.timelines import Timelines
from media.plane.voices import Voices

_SUSPECT_DELAY = 480
"""Samples that one waits who is listened to because of a suspicion: three packets of 20 ms."""
_JITTERS = 4


class Wiring:
    """Connections between streams; every change ends in `rewire` of those it touches."""

    def __init__(
        self,
        streams: Streams,
        timelines: Timelines,
        relay: Relay,
        mixer: Mixer,
        voices: Voices,
        ears: Ears,
        hush: Hush,
    ) -> None:
        self._streams = streams
        self._timelines = timelines
        self._relay = relay
        self._mixer = mixer
        self._handover = mixer.handover
        self._voices = voices
        self._ears = ears
        self._hush = hush

    def connect(self, a: Stream, b: Stream) -> None:
        """Bridge two streams."""
        if a is b:
            raise ValueError("a stream is not bridged with itself; use echo")
        if a.partner is b:
            return
        for stream in (a, b):
            if stream.partner is not None:
                self._part(stream)
            if stream.room is not None:
                self.leave(stream)
            if stream.monitors is not None:
                self.stop_monitor(stream)
            stream.echo = False
        a.partner, b.partner = b, a
        self.rewire(a)

    def disconnect(self, a: Stream, b: Stream) -> None:
        """End the bridge of two streams if there is one."""
        if a.partner is b:
            self._part(a)

    def _part(self, stream: Stream) -> None:
        other = stream.partner
        if other is not None:
            stream.partner = other.partner = None
            self.rewire(stream)
            self.rewire(other)

    def echo(self, stream: Stream, on: bool) -> None:
        """Send a stream's packets back to it."""
        stream.echo = on
        self.rewire(stream)

    def join(self, stream: Stream, room: int, *, mute: bool, deaf: bool, gain: float) -> None:
        """Put a stream into a conference or change its part there."""
        if stream.params is not None:
            self.check_decodable(stream)
        self._part(stream)
        self.stop_monitor(stream)
        stream.echo = False
        stream.room, stream.mute, stream.deaf, stream.gain = room, mute, deaf, gain
        self.rewire(stream)

    def leave(self, stream: Stream) -> None:
        """Take a stream out of its conference."""
        if stream.room is None:
            return
        stream.room = None
        self.rewire(stream)

    def monitor(self, stream: Stream, target: Stream, mode: str) -> None:
        """Let `stream` hear the call of `target`, wherever that call goes; with "whisper" `target`
        hears it too, with "barge" the whole call does. Raises `NotSupported`, `ValueError`."""
        if stream is target:
            raise ValueError("nobody supervises himself")
        for party in (stream, target, target.partner):
            if party is not None:
                self.check_decodable(party)
        self._part(stream)
        self.leave(stream)
        self.stop_monitor(stream)
        stream.echo = False
        stream.monitors, stream.mode = target, mode
        target.supervisors.append(stream)
        self.rewire(stream)
        self.rewire(target)

    def stop_monitor(self, stream: Stream) -> None:
        """`stream` hears and says nothing there any more; nothing happens if it did not."""
        target, stream.monitors = stream.monitors, None
        if target is not None:
            target.supervisors.remove(stream)
            self.rewire(stream)
            self.rewire(target)

    def tap(self, stream: Stream) -> int:
        """Listen to a stream; returns its slot."""
        self.check_decodable(stream)
        stream.taps += 1
        self.rewire(stream)
        return int(self._streams.slot[stream.row])

    def untap(self, stream: Stream) -> None:
        """One listener less."""
        stream.taps = max(0, stream.taps - 1)
        self.rewire(stream)

    def check_decodable(self, stream: Stream) -> None:
        """Raise `NotSupported` if the codec of a stream cannot be decoded here."""
        if stream.params is not None:
            self._voices.check(stream.params.codec)

    def unplug(self, stream: Stream, leaving: Collection[int] = ()) -> None:
        """The stream goes away: nothing leads to it or comes from it. Of those that go with it, by their ids
        in `leaving`, nothing new is decided."""
        left, stream.partner = stream.partner, None
        stream.echo = False
        if stream.feeds is not None:
            self._relay.feed(stream, None)
        if left is not None:
            left.partner = None
            if left.stream_id in leaving:
                self._relay.feed(left, None)
            else:
                self.rewire(left)
        if stream.room is not None:
            self.leave(stream)
        if stream.monitors is not None:
            self.stop_monitor(stream)
        if stream.supervisors:
            for supervisor in list(stream.supervisors):
                self.stop_monitor(supervisor)
        stream.announced = stream.by_mix = False
        if stream.row in self._hush.watched:
            self._hush.watch(stream.row, None)
        if stream.decoded:
            self._mixer.admit(stream, False)
            self._ears.listen(stream, False)
            self._set_slot(stream, False)
            stream.decoded = False

    def rewire(self, stream: Stream) -> None:
        """Decide anew what feeds `stream` and its partner, and whether it is decoded."""
        partner = stream.partner
        stream.wired = True
        tails = {} if partner is None else self._tails(stream, partner)
        self._listen(stream)
        if partner is None and not stream.echo:
            self._handover.leave_relay(stream)
            self._relay.feed(stream, None)
            self._watch(stream, None)
            self._mixer.changed()
            return
        if partner is not None:
            partner.wired = True
            self._listen(partner)
        # First end what must end, then begin: a target has one feed at a time.
        pairs = [(stream, self._target(stream))]
        if partner is not None:
            pairs.append((partner, self._target(partner)))
        for source, target in pairs:
            if source.feeds is not target and source.feeds is not None:
                self._handover.leave_relay(source)
                self._relay.feed(source, None)
        for source, target in pairs:
            self._relay.feed(source, target)
            self._watch(source, target)
            if target is not None and source in tails:
                source.lead = self._mixer.finish(target, tails[source])
        self._mixer.changed()

    def _tails(self, a: Stream, b: Stream) -> dict[Stream, Tail]:
        """What the two still have in the mix of one another, by who says it."""
        if not (a.by_mix or b.by_mix):
            return {}
        found = {source: self._handover.tail(source, target) for source, target in ((a, b), (b, a))}
        return {source: tail for source, tail in found.items() if tail is not None}

    def _watch(self, source: Stream, target: Stream | None) -> None:
        if not (source.listens_for_digits or source.row in self._hush.watched):
            return  # as of most, whose digits come as events
        codec = None if source.params is None else source.params.codec
        relayed_as = None if target is None or target.params is None else target.params.codec
        self._hush.watch(source.row, codec if source.listens_for_digits else None, relayed_as)

    def attend(self, stream: Stream) -> None:
        """Whether `stream` says something like a digit has changed: listen to it closely, or no longer."""
        self._listen(stream)
        if not stream.decoded:
            self._ears.listen(stream, False)  # nor is it suspected any more

    def _target(self, source: Stream) -> Stream | None:
        target = source if source.echo else source.partner
        if target is None or not source.receives or not target.sends:
            return None
        if target.playing or target.digits or target.spelling or target.by_mix:
            return None
        if target.echo and target is not source:
            return None
        return target if relayable(source, target) else None

    def _listen(self, stream: Stream) -> None:
        """Decode a stream if somebody needs its samples, live or not."""
        partner = stream.partner
        third = stream.monitors is not None or stream.supervisors or stream.announced
        if partner is not None:
            third = third or partner.supervisors or partner.announced
        mixed = stream.room is not None or (bool(third) and self._joined(stream))
        if not mixed and partner is not None:
            mixed = self._differs(stream, partner) or self._screened(stream, partner)
        stream.by_mix = mixed and not stream.echo and self._hears_mix(stream)
        digits = stream.listens_for_digits
        closely = digits and (self._unseen(stream) or self._ears.suspects(stream))
        needed = mixed or stream.progress is not None
        if not (needed or closely or stream.taps or stream.decoded):
            return  # as of most
        stream.decoded = needed or closely or stream.taps > 0
        slot = self._set_slot(stream, needed or closely or stream.taps > 0)
        self._mixer.admit(stream, mixed)
        self._ears.listen(stream, closely)
        if slot != NONE:
            # A recorded stream that is listened to now and then keeps the time it is played at; one that is
            # listened to for a moment has no time to learn a delay.
            lasting = needed or stream.taps > 0 or self._unseen(stream)
            self._timelines.at(stream.rate_hz).play(slot, needed or digits, learning=lasting)

    @staticmethod
    def _unseen(stream: Stream) -> bool:
        """Its packets cannot be looked at one by one, so that its sound must be listened to all the time."""
        return stream.params is not None and stream.params.codec not in SILENCE

    def _joined(self, stream: Stream) -> bool:
        """A supervisor or an announcement has to do with it: whether more than two can be brought together."""
        partner = stream.partner
        return self._decodable(stream) and (partner is None or self._decodable(partner))

    def _hears_mix(self, stream: Stream) -> bool:
        """One who takes part in the mix hears it, unless the packets of his partner are all."""
        if stream.room is not None or stream.monitors is not None or stream.announced:
            return True
        partner = stream.partner
        if any(supervisor.mode != "listen" for supervisor in stream.supervisors):
            return True
        if partner is not None and any(each.mode == "barge" for each in partner.supervisors):
            return True
        return partner is not None and (
            self._differs(stream, partner) or self._screened(stream, partner)
        )

    def _screened(self, stream: Stream, partner: Stream) -> bool:
        """A bridge in which digits are listened for in a codec whose packets cannot be silenced one by
        one: what is heard of it is made anew, so that the digits can be left out."""
        if not (stream.listens_for_digits or partner.listens_for_digits):
            return False
        if not all(
            party.params is not None and self._decodable(party) for party in (stream, partner)
        ):
            return False
        return any(
            party.listens_for_digits
            and party.params is not None
            and party.params.codec not in SILENCE
            for party in (stream, partner)
        )

    def _decodable(self, stream: Stream) -> bool:
        try:
            self.check_decodable(stream)
        except NotSupported:
            return False
        return True

    def _differs(self, stream: Stream, partner: Stream) -> bool:
        """A bridge whose two codecs cannot be relayed into each other, and both can be decoded."""
        if stream.params is None or partner.params is None:
            return False
        if relayable(stream, partner) and relayable(partner, stream):
            return False
        return self._decodable(stream) and self._decodable(partner)

    def change_rate(self, stream: Stream, rate_hz: int) -> None:
        """The codec of `stream` has another sampling rate: it moves to another ring. `rewire` next."""
        self._set_slot(stream, False)
        stream.rate_hz = rate_hz
        self._streams.rate_hz[stream.row] = rate_hz
        self._mixer.changed()

    def _set_slot(self, stream: Stream, wanted: bool) -> int:
        """Give a stream a slot or take it away; returns the one it has then, or `NONE`."""
        slots = self._streams.slot
        slot: int = slots.item(stream.row)
        if wanted and slot == NONE:
            slot = slots[stream.row] = self._timelines.take(stream.rate_hz)
            if self._ears.suspects(stream):
                # Too short a delay would lose a digit, and nothing has been learned by playing.
                row = stream.row
                jitter_s = float(self._streams.jitter[row] / self._streams.clock_hz[row])
                samples = _SUSPECT_DELAY + round(_JITTERS * jitter_s * RATE_HZ)
                self._timelines.at(stream.rate_hz).wait(slot, samples)
        elif not wanted and slot != NONE:
            slots[stream.row] = NONE
            self._timelines.give_back(stream.rate_hz, slot)
            slot = NONE
        return slot
