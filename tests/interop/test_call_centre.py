"""A call centre of real telephones: baresip as agents and callers, SIPp as callers who wait. Who gets whom is
checked by what is heard: each desk has a voice of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from scipy import signal

from softswitch.prompts import Prompts
from tests.interop.peers.audio import (
    LATE_S,
    RATE_HZ,
    TALK_S,
    assert_heard,
    assert_not_heard,
    match,
    read_wav,
)
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Record, Server, Trunk
from tests.interop.peers.sipp import Sipp

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
Peer = Callable[..., Sipp]

NORTH, EAST, ELSEWHERE, VIP = "01055550001", "02155550002", "075555550003", "13800000001"
RELAX_S = 3
OFFICE = """
[[region]]
name = "north"
prefixes = ["+8610"]
[[region]]
name = "east"
prefixes = ["+8621"]
[[queue]]
name = "support"
number = "5000"
route = ["priority", "last-agent", "region", "longest-idle"]
last_agent = { within_h = 1, wait_s = 5 }
region = { wait_s = 10 }
wrap_up_s = 0
tell_agent = ["queue"]
announce = { position = false, wait = false }
[[queue]]
name = "mandarin"
number = "5001"
route = ["priority", "skill", "longest-idle"]
skill = "lang.zh >= 3"
relax = [{ after_s = RELAX_S, skill = "" }]
wrap_up_s = 0
tell_agent = []
announce = { position = false, wait = false }
[[agent]]
id = "lilei"
name = "Li Lei"
extension = "1001"
password = "console-secret-lilei"
queues = ["support", "mandarin"]
skills = { "lang.zh" = 5 }
regions = ["north"]
[[agent]]
id = "mary"
name = "Mary Smith"
extension = "1002"
password = "console-secret-mary"
queues = ["support", "mandarin"]
skills = { "lang.en" = 5 }
regions = ["east"]
[[customer]]
phone = ["VIP"]
name = "Wang Wei"
priority = 5
[[inbound]]
number = "88000"
to = "queue:support"
[[inbound]]
number = "88001"
to = "queue:mandarin"
"""
VOICES = {"1001": "callee-late", "1002": "other-late"}


class Centre:
    """The switch, two desks, and a carrier whose subscribers call in from two addresses."""

    def __init__(self, serve: Serve, baresip: Phone, voices: dict) -> None:
        self.voices, self._baresip = voices, baresip
        self.ports = [free_port(), free_port(), free_port()]
        source = '", "'.join(f"{HOST}:{port}" for port in self.ports)
        carrier = Trunk("carrier", f"{HOST}:{self.ports[0]}", source)
        office = OFFICE.replace("RELAX_S", str(RELAX_S)).replace('"VIP"', f'"{VIP}"')
        self.server = serve(
            recording="queue", trunks=[carrier], extensions=("1001", "1002"), more=office
        )
        self.desks = {
            number: baresip(self.server, number, plays=voice) for number, voice in VOICES.items()
        }
        for number in self.desks:
            self.dial_code(number, "*22")

    def dial_code(self, number: str, code: str) -> None:
        """A feature code, confirmed in words until the switch hangs up."""
        desk = self.desks[number]
        since = desk.mark()
        desk.dial(code)
        desk.wait_event("CALL_CLOSED", since=since)

    def caller(self, number: str, port: int = 0) -> Baresip:
        return self._baresip(
            self.server,
            number,
            plays="caller-late",
            register=False,
            password="none",
            sip_port=self.ports[port],
        )

    def talk(self, number: str, *, seconds: float | None = None) -> tuple[str, Baresip]:
        """Call in, let both sentences pass (or so many seconds), hang up; which desk had the call, and the
        caller."""
        marks = {desk: phone.mark() for desk, phone in self.desks.items()}
        caller = self.caller(number)
        caller.dial("88000")
        caller.wait_event("CALL_ESTABLISHED")

        def rung() -> str | None:
            for desk, phone in self.desks.items():
                phone.has_event("CALL_ESTABLISHED")
                if any(e["type"] == "CALL_ESTABLISHED" for e in phone.events[marks[desk] :]):
                    return desk
            return None

        desk = wait_until(rung, f"a desk to answer {number}")
        spoken_s = max(len(voice.samples) for voice in self.voices.values()) / RATE_HZ
        whole_s = LATE_S + spoken_s + 1.5 if seconds is None else seconds
        settle([caller, *self.desks.values()], whole_s)
        caller.hang_up()
        self.desks[desk].wait_event("CALL_CLOSED", since=marks[desk])
        caller.close()
        return desk, caller

    def record_of(self, number: str) -> Record:
        """The last call of a number, after its end."""
        self.server.wait_idle()
        count = len(self.server.written())
        found = [r for r in self.server.records(count) if r.row["number_from"] == number]
        return max(found, key=lambda record: record.row["started_at_s"])

    def why(self, record: Record) -> str:
        told = self.server.run("why", record.call_id, str(self.server.file))
        assert "gives the same agent" in told, told
        return told


@pytest.fixture
def centre(serve: Serve, baresip: Phone, voices: dict) -> Centre:
    return Centre(serve, baresip, voices)


def voice_of(centre: Centre, desk: str) -> np.ndarray:
    return centre.voices[VOICES[desk]].samples


def prompt(name: str) -> np.ndarray:
    samples, rate_hz = soundfile.read(Prompts("en").find(name))
    return signal.resample_poly(samples, RATE_HZ, rate_hz)


@pytest.mark.slow
def test_regions_a_returning_customer_and_what_is_heard_and_recorded(centre: Centre) -> None:
    desk, caller = centre.talk(NORTH)
    assert desk == "1001", "the northern agent"
    heard = centre.desks[desk].heard()
    assert_heard(voice_of(centre, desk), caller.heard(), "the northern desk, by the caller")
    assert_heard(centre.voices["caller"].samples, heard, "the caller, at the desk")
    whisper = match(prompt("agent-call-from"), heard)
    assert whisper.correlation > 0.8, f"the desk was told first: {whisper}"
    spoken = match(centre.voices["caller"].samples, heard)
    assert whisper.delay_s < spoken.delay_s

    record = centre.record_of(NORTH)
    told = centre.why(record)
    assert "region north" in told, told
    assert "lilei took it after" in told, told
    (path,) = [p for p in centre.server.recordings() if record.call_id in p.name]
    recording = read_wav(path)
    assert_heard(centre.voices["caller"].samples, recording[:, 0], "left: the customer")
    assert_heard(voice_of(centre, desk), recording[:, 1], "right: the agent")
    assert_not_heard(voice_of(centre, desk), recording[:, 0], "left: the agent")

    desk, _ = centre.talk(EAST, seconds=5.0)
    assert desk == "1002", "the eastern agent"
    # Of no region: now the northern desk has been free for longer; the second time it is the eastern one.
    first, _ = centre.talk(ELSEWHERE, seconds=5.0)
    assert first == "1001"
    again, caller = centre.talk(ELSEWHERE)
    assert again == first, "the agent who has served him before"
    assert_heard(voice_of(centre, first), caller.heard(), "his agent of before")
    told = centre.why(centre.record_of(ELSEWHERE))
    assert "lilei" in told
    assert "last agent lilei" in told, told


def next_of(desk: Baresip, numbers: tuple[str, ...], since: int) -> str:
    """Which of these callers a desk has first after a mark."""

    def found() -> str | None:
        desk.has_event("CALL_ESTABLISHED")
        for event in desk.events[since:]:
            if event["type"] == "CALL_ESTABLISHED":
                for number in numbers:
                    if number in str(event):
                        return number
        return None

    return wait_until(found, f"one of {numbers} at {desk.number}")


@pytest.mark.slow
def test_a_vip_comes_first_and_a_chinese_speaker_to_a_chinese_speaking_agent(
    centre: Centre, sipp: Peer
) -> None:
    desk, other = centre.desks["1001"], centre.desks["1002"]
    centre.dial_code("1002", "*23")
    centre.dial_code("1001", "*23")
    waiting = []
    for number, port in ((EAST, 1), (VIP, 2)):
        waiting.append(
            sipp(
                "subscriber.xml",
                server=centre.server.address,
                port=centre.ports[port],
                number="88000",
                keys={"caller": number},
                rtp_echo=True,
            )
        )
        wait_until(lambda n=number: n in str(centre.server.status()["calls"]), f"{number} to wait")
    since = desk.mark()
    centre.dial_code("1001", "*23")
    assert next_of(desk, (EAST, VIP), since) == VIP, "he called last and is served first"
    settle([desk, other], LATE_S + TALK_S)
    since = desk.mark()
    desk.hang_up()
    assert waiting[1].wait().successful == 1
    assert next_of(desk, (EAST, VIP), since) == EAST
    assert_heard(voice_of(centre, "1001"), desk.heard(-2), "his own voice, said back by the VIP")
    settle(
        [desk, other], 5.0
    )  # he is told what it is about; who hangs up then has not had the call
    desk.hang_up()
    assert waiting[0].wait().successful == 1
    told = centre.why(centre.record_of(VIP))
    assert "priority 5" in told, told

    centre.dial_code("1002", "*23")  # both at work; the English desk has the longer rest behind it
    marks = desk.mark(), other.mark()
    first = centre.caller(NORTH)
    first.dial("88001")
    assert next_of(desk, (NORTH,), marks[0]) == NORTH
    other.has_event("CALL_ESTABLISHED")
    assert NORTH not in str(other.events[marks[1] :])
    late = sipp(
        "subscriber.xml",
        server=centre.server.address,
        port=centre.ports[1],
        number="88001",
        keys={"caller": EAST},
    )
    assert next_of(other, (EAST,), marks[1]) == EAST
    settle([first, desk, other], 1.0)
    other.hang_up()
    assert late.wait().successful == 1
    settle([first, desk], LATE_S + 2.0)
    first.hang_up()
    desk.wait_event("CALL_CLOSED", since=marks[0])
    first.close()
    assert_heard(voice_of(centre, "1001"), first.heard(), "the Chinese-speaking desk")
    told = centre.why(centre.record_of(NORTH))
    assert "lang.zh" in told, told
    relaxed = centre.record_of(EAST)
    told = centre.why(relaxed)
    assert "mary took it after" in told, told
    waited_s = float(told.partition("mary took it after ")[2].partition(" s")[0])
    assert RELAX_S <= waited_s < RELAX_S + 4, told
