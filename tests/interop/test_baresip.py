"""Two baresip phones through the switch: what one says the other hears, and is recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import soundfile

from tests.interop.peers.audio import (
    LATE_S,
    RATE_HZ,
    assert_heard,
    assert_heard_in_steps,
    assert_not_heard,
    read_wav,
)
from tests.interop.peers.baresip import (
    Baresip,
    assert_both_heard,
    settle,
    talk,
    talk_and_hear,
    talk_until_heard,
)
from tests.interop.peers.server import Server
from tests.interop.peers.stage import Stage

Phone = Callable[..., Baresip]

pytestmark = pytest.mark.xdist_group("recorded calls")


@pytest.fixture(scope="module")
def the_office(shared: Stage) -> Server:
    return shared.serve(recording="all", extension_more={"1003": 'srtp = "require"'})


def assert_recorded(
    office: Server,
    voices: dict,
    *,
    rate_hz: int = 8_000,
    least: Callable[[str], float] | None = None,
) -> None:
    """The one recording holds each voice on its own side, at the rate of the better phone; with `least`, of a
    voice, it was mixed."""
    (path,) = office.recordings()
    assert soundfile.info(path).samplerate == rate_hz
    recording = read_wav(path)
    assert recording.shape[1] == 2
    for side, own, other in ((0, "caller", "callee"), (1, "callee", "caller")):
        said, found, what = voices[own].samples, recording[:, side], f"the {own} on his side"
        if least is None:
            assert_heard(said, found, what)
        else:
            assert_heard_in_steps(said, found, what, least=least(own))
        assert_not_heard(voices[other].samples, recording[:, side], f"the {other} there")


def test_two_phones_talk_and_are_recorded(office: Server, baresip: Phone, voices: dict) -> None:
    callee = baresip(office, "1002", plays="callee", answer="manual")
    caller = baresip(office, "1001", plays="caller")

    caller.dial("1002")
    callee.wait_event("CALL_INCOMING")
    caller.wait_event("CALL_RINGING")
    callee.accept()
    caller.wait_event("CALL_ESTABLISHED")
    callee.wait_event("CALL_ESTABLISHED")
    talk_until_heard(caller, callee, voices)
    caller.hang_up()
    callee.wait_event("CALL_CLOSED")

    assert_both_heard(caller, callee, voices)
    office.wait_idle()
    (record,) = office.records(1)
    assert record.status == "answered", record
    assert_recorded(office, voices)


# baresip makes 16 kHz of what it is given in a way that leaves 0.91: in its packets already, for a recording of
# them has the same. Opus keeps what is heard, not the waveform: coded twice, 0.92 was measured.
LEAST = {"G722/16000/1": 0.8, "opus/48000/2": 0.85, "PCMA/8000/1": 0.95, "PCMU/8000/1": 0.95}


@pytest.mark.parametrize(
    ("callee_codecs", "caller_codecs"),
    [
        ("G722/16000/1", "PCMA/8000/1"),
        ("G722/16000/1", "G722/16000/1"),
        ("opus/48000/2", "PCMU/8000/1"),
        ("opus/48000/2", "opus/48000/2"),
    ],
)
def test_wideband_and_narrowband_phones_understand_each_other(
    office: Server,
    baresip: Phone,
    voices: dict,
    callee_codecs: str,
    caller_codecs: str,
) -> None:
    """That their codecs are understood, not that baresip is never late: where its processor is busy elsewhere
    it sends some packets 25 ms and more too late now and then, and the exchange, which mixes these calls, waits
    longer for it from then on. What comes after such a step is as good as what came before, and is judged as
    strictly; that nothing but a telephone's lateness makes one is for tests/media/test_plane_stall.py to say.
    """
    codecs = {"caller": caller_codecs, "callee": callee_codecs}
    callee = baresip(office, "1002", plays="callee", codecs=callee_codecs)
    caller = baresip(office, "1001", plays="caller", codecs=caller_codecs)
    talk(caller, callee, voices)

    def said_by(voice: str) -> float:
        return LEAST[codecs[voice]]

    for voice, listener, where in (("caller", callee, "callee"), ("callee", caller, "caller")):
        # Opus codes the sound anew for who hears it; our G.722 leaves all of it.
        least = min(said_by(voice), LEAST["opus/48000/2"] if "opus" in codecs[where] else 1.0)
        what = f"the {voice}'s voice at the other end"
        assert_heard_in_steps(voices[voice].samples, listener.heard(), what, least=least)
    office.wait_idle()
    assert_recorded(office, voices, rate_hz=16_000, least=said_by)


@pytest.mark.parametrize("both", [True, False], ids=["two SRTP phones", "SRTP and plain"])
def test_an_srtp_phone_speaks_with_any_other(
    office: Server, baresip: Phone, voices: dict, both: bool
) -> None:
    number = "1003" if both else "1002"
    callee = baresip(office, number, plays="callee", srtp=both)
    caller = baresip(office, "1001", plays="caller", srtp=True)
    talk_and_hear(caller, callee, voices)
    office.wait_idle()
    assert_recorded(office, voices)


@pytest.mark.slow
def test_hold_and_resume(office: Server, baresip: Phone, voices: dict) -> None:
    """After hold and resume both directions speak again. The recording tells: this baresip keeps no
    more of what it hears once its call has been changed."""
    callee = baresip(office, "1002", plays="callee-late")
    caller = baresip(office, "1001", plays="caller-late")
    caller.dial("1002")
    caller.wait_event("CALL_ESTABLISHED")
    callee.wait_event("CALL_ESTABLISHED")
    for phone in (caller, callee):
        for command in ("hold", "resume"):
            since = phone.mark()
            phone.command(command)
            phone.wait_event("CALL_REMOTE_SDP", since=since, param="answer")
    spoken_s = max(len(voices[who].samples) for who in ("caller", "callee")) / RATE_HZ
    settle([caller, callee], LATE_S + spoken_s + 1.0)
    assert not [p.number for p in (caller, callee) if p.has_event("CALL_CLOSED")]
    caller.hang_up()
    callee.wait_event("CALL_CLOSED")
    office.wait_idle()
    (path,) = office.recordings()
    recording = read_wav(path)
    assert_heard(voices["caller"].samples, recording[:, 0], "the caller after the hold")
    assert_heard(voices["callee"].samples, recording[:, 1], "the callee after the hold")
