"""What a worker that was not woken in time makes of it: its own lateness is not the network's."""

from __future__ import annotations

import pytest

from media.protocol import JoinRoom, StartRecording, StopRecording

CYCLE_S = 0.01
TALKED_S = 6.0
STREAMS = (1, 2)


class Stalled:
    """Two streams in a room on the clock of a worker, which fetches every 10 ms and when ticks are due, but not
    while it stands still: `stalls`, each (seconds from the start, for how long)."""

    def __init__(self, world, make_talker, phase_s, stalls, late=()):
        self.world = world
        self.talkers = {
            number: make_talker(("127.0.0.1", 4000 + 2 * number), ssrc=number) for number in STREAMS
        }
        for number in STREAMS:
            world.open(number, self.talkers[number].address, port_id=2 * number)
            world.do(JoinRoom(1, number))
        self.start_s = world.now_s
        self.stalls = [(self.start_s + at, self.start_s + at + length) for at, length in stalls]
        packets = round(TALKED_S / 0.02)
        self.said = {number: [] for number in STREAMS}
        delays = dict(late)
        self.due = sorted(
            (
                self.start_s + phase_s + 0.02 * packet + delays.get(packet, 0.0),
                number,
                self.talkers[number].packet(self.payload(number)),
            )
            for packet in range(packets)
            for number in STREAMS
        )

    def payload(self, number):
        """The next words of one who never says the same twice."""
        packet = len(self.said[number])
        said = bytes(
            (7 * number + packet * 13 + place * (packet % 5 + 1)) % 0x70 for place in range(160)
        )
        self.said[number].append(said)
        return said

    def run(self):
        """Let them talk to the end; returns, by stream, the payloads that it was sent."""
        world, fetched_s = self.world, self.world.now_s
        while self.due:
            planned_s = min(fetched_s + CYCLE_S, world.engine.deadline_s())
            until = [end for begin, end in self.stalls if begin <= planned_s < end]
            fetched_s = world.now_s = until[0] if until else planned_s + 0.0002
            while self.due and self.due[0][0] <= fetched_s:
                _, number, packet = self.due.pop(0)
                world.io.deliver(2 * number, self.talkers[number].address, packet)
            world.engine.poll(fetched_s, fetched_s - planned_s)
        heard = {number: [] for number in STREAMS}
        for rtp in world.sent():
            for number in STREAMS:
                if rtp.remote == self.talkers[number].address:
                    heard[number].append(rtp.payload)
        return heard

    def assert_unbroken(self, heard):
        """Each has been sent every packet of the other, in order, with nothing in between."""
        for number, other in (STREAMS, STREAMS[::-1]):
            words = [
                payload for payload in heard[number] if any(octet != 0xFF for octet in payload)
            ]
            said = self.said[other]
            assert len(words) >= len(said) - 5
            begin = said.index(words[0])
            assert words == said[begin : begin + len(words)]


@pytest.mark.parametrize("phase_s", [0.001, 0.006, 0.011, 0.016])
@pytest.mark.parametrize("stalled_s", [0.025, 0.041, 0.055, 0.09, 0.14])
def test_a_worker_that_is_woken_late_makes_nobodys_delay_longer(
    world, make_talker, phase_s, stalled_s
):
    """With many other programs on its core it is woken late now and then. What waited is in time all the
    same, for the ticks waited as well; it was taken for jitter of the network, and each such stall cost the
    call a jump of 40 ms within a word."""
    stalls = [(1.203, stalled_s), (2.911, stalled_s), (4.407, stalled_s)]
    room = Stalled(world, make_talker, phase_s, stalls)
    room.assert_unbroken(room.run())
    for number in STREAMS:
        stats = world.engine.stats(number)
        assert (stats.late, stats.lost) == (0, 0)
        assert stats.jitter_ms < 3.0


@pytest.mark.parametrize("phase_s", [0.001, 0.006, 0.011, 0.016])
def test_a_recording_of_a_stalled_room_is_unbroken_too(world, make_talker, phase_s):
    room = Stalled(world, make_talker, phase_s, [(1.203, 0.041), (2.911, 0.055)])
    world.do(StartRecording(5, 1, 2, "5.wav"))
    room.assert_unbroken(room.run())
    world.do(StopRecording(5))


@pytest.mark.parametrize("phase_s", [0.001, 0.006, 0.011, 0.016])
def test_a_telephone_that_is_late_gets_the_delay_that_it_needs(world, make_talker, phase_s):
    """That is not ours: packets 60 ms late every now and then are waited for from the next second on."""
    late = [(packet, 0.06) for packet in range(60, 300, 12)]
    room = Stalled(world, make_talker, phase_s, [], late)
    room.run()
    for number in STREAMS:
        assert 1 <= world.engine.stats(number).late <= 8
