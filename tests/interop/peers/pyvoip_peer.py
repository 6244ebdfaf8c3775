"""A phone of pyVoIP, run as a process of its own; neither product nor test process imports this.

    python pyvoip_peer.py JSON

JSON: server, port, number, password, sip_port, rtp_port, plays (8 kHz WAV), heard (WAV to write),
hear_s (seconds of audio to wait for), dial (a number) or nothing to wait for a call. It prints
"registered", "established", "ended" as it gets there.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
import wave

import numpy as np
from pyVoIP.VoIP import CallState, VoIPCall, VoIPPhone

WAIT_S = 30.0


def say(text: str) -> None:
    print(text, flush=True)


def wait_state(call: VoIPCall, wanted: CallState) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while call.state != wanted:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the call is {call.state}, not {wanted}")
        time.sleep(0.02)


def played(path: str) -> bytes:
    """The WAV as pyVoIP wants it: unsigned 8 bit."""
    with wave.open(path) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return ((samples.astype(np.int32) >> 8) + 128).astype(np.uint8).tobytes()


def talk(call: VoIPCall, settings: dict) -> None:
    """Play, keep what arrives at its RTP timestamps, write it when enough has come."""
    say("established")
    call.write_audio(played(settings["plays"]))
    incoming = call.RTPClients[0].pmin
    wanted = int(settings["hear_s"] * 8000)
    deadline_s = time.monotonic() + settings["hear_s"] + WAIT_S
    while len(incoming.buffer.getvalue()) < wanted and time.monotonic() < deadline_s:
        time.sleep(0.1)
    heard = call.read_audio(len(incoming.buffer.getvalue()), blocking=False)
    with wave.open(settings["heard"], "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        wide = (np.frombuffer(heard, dtype=np.uint8).astype(np.int16) - 128) * 256
        file.writeframes(wide.astype("<i2").tobytes())


def run(settings: dict) -> None:
    rang: list[VoIPCall] = []
    came = threading.Event()
    over = threading.Event()

    def on_call(call: VoIPCall) -> None:
        # pyVoIP forgets a call as soon as this callback returns, so it stays until the call is over
        rang.append(call)
        came.set()
        over.wait()

    phone = VoIPPhone(
        settings["server"],
        settings["port"],
        settings["number"],
        settings["password"],
        myIP="127.0.0.1",
        callCallback=on_call,
        sipPort=settings["sip_port"],
        rtpPortLow=settings["rtp_port"],
        rtpPortHigh=settings["rtp_port"] + 8,
    )
    phone.start()
    say("registered")
    if settings.get("dial"):
        call = phone.call(settings["dial"])
        wait_state(call, CallState.ANSWERED)
        talk(call, settings)
        call.hangup()
    else:
        if not came.wait(WAIT_S):
            raise TimeoutError("nobody called")
        call = rang[0]
        call.answer()
        talk(call, settings)
        say("heard")
        wait_state(call, CallState.ENDED)
    over.set()
    say("ended")
    phone.stop()


if __name__ == "__main__":
    code = 0
    try:
        run(json.loads(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # its threads are not daemons and some of them never end
