"""What a new worker is told: everything that was going on, and nothing that has ended."""

from __future__ import annotations

import pytest

from media.ledger import RecordingState, StreamState, told_again
from media.protocol import (
    Connect,
    Monitor,
    OpenStream,
    PauseRecording,
    Prompts,
    SendDigits,
    StartPlay,
    StartRecording,
    StreamParams,
    Tone,
)


def state(stream_id, **doings):
    return StreamState(stream_id, 0, 1, 0, 7, None, **doings)


def test_supervision_goes_on_after_the_bridge_it_hears():
    streams = [
        state(1, monitor=Monitor(1, 2, "barge")),
        state(2, partner=3),
        state(3, partner=2),
        state(4, monitor=Monitor(4, 99)),
    ]
    told = [each for each in told_again(streams, [], 5.0) if not isinstance(each, OpenStream)]
    assert sorted(told, key=repr) == [Connect(2, 3), Monitor(1, 2, "barge")]


def test_an_announcement_goes_on_where_it_would_be_now():
    play = StartPlay(1, 7, Prompts((Tone("busy"),)), mix=True)
    (_, again) = told_again([state(1, play=play, play_since_s=3.0)], [], 5.5)
    assert again == StartPlay(1, 7, Prompts((Tone("busy"),)), False, 2500, True, 5.5)


def test_music_goes_on_where_it_was_left_off_and_nothing_else_does():
    music, other = Tone("music"), Tone("other")
    stream = state(1)
    begun = stream.start_play(StartPlay(1, 1, music, repeat=True), 10.0, resume=True)
    assert begun.at_ms == 0
    stream.start_play(StartPlay(1, 2, Tone("announcement")), 13.0)
    again = stream.start_play(StartPlay(1, 3, music, repeat=True), 18.0, resume=True)
    assert again.at_ms == 3000
    stream.stop_play(18.5)
    stream.stop_play(60.0)  # said twice: nothing was heard meanwhile
    stream.play = None
    assert stream.start_play(StartPlay(1, 4, music, repeat=True), 70.0, resume=True).at_ms == 3500
    assert stream.start_play(StartPlay(1, 5, music, repeat=True), 71.0).at_ms == 0
    assert stream.start_play(StartPlay(1, 6, other, repeat=True), 72.0, resume=True).at_ms == 0


def test_what_was_paused_stays_paused():
    command = StartRecording(4, 1, 2, "a.wav", ulaw=True)
    told = list(told_again([], [RecordingState(command, 0, 3.0, paused=True)], 5.5))
    assert told == [
        StartRecording(4, 1, 2, "a.wav", 2500, True, as_of_s=5.5),
        PauseRecording(4),
    ]


def test_a_sealed_stream_speaks_with_another_ssrc_through_a_new_worker():
    clear, sealed = state(1), state(2)
    clear.params = StreamParams(("192.0.2.1", 4000))
    key = "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40
    sealed.params = StreamParams(("192.0.2.1", 4002), srtp_in=key, srtp_out=key)
    for stream in (clear, sealed):
        stream.succeed()
    told = [each for each in told_again([clear, sealed], [], 1.0) if isinstance(each, OpenStream)]
    assert [each.ssrc for each in told] == [7, 8]


@pytest.mark.parametrize(
    ("died_s", "left"), [(10.0, "12,34"), (10.05, "2,34"), (10.25, ",34"), (10.5, "34"), (11.7, "")]
)
def test_digits_that_were_not_sent_yet_are_sent_by_the_next_worker(died_s, left):
    stream = state(1)
    stream.send_digits("12,34", 10.0)
    stream.hold_digits(died_s)
    told = [each for each in told_again([stream], [], died_s + 0.4) if isinstance(each, SendDigits)]
    assert told == ([SendDigits(1, left)] if left else [])
    # And they are over when that worker has sent them.
    stream.hold_digits(died_s + 10.0)
    assert len([*told_again([stream], [], died_s + 11.0)]) == 1


def test_digits_that_come_later_wait_for_those_before_and_told_ones_are_not_told_again():
    stream = state(1)
    stream.send_digits("1", 10.0)
    stream.send_digits("2", 10.1)
    stream.hold_digits(10.15)
    assert [*told_again([stream], [], 10.5)][-1] == SendDigits(1, "2")
    by_info = state(1)
    by_info.params = StreamParams(("192.0.2.1", 4000), dtmf_by_info=True)
    by_info.send_digits("12", 10.0)
    by_info.hold_digits(10.0)
    assert not any(isinstance(each, SendDigits) for each in told_again([by_info], [], 10.5))
