"""What each pure piece of the media plane costs, in microseconds a stream and tick of 20 ms.

    .venv/bin/python bench/media_dsp.py [--streams 2000] [--only NAME] [--json]

One thread, one process. Figures are the best of several runs, so that a busy machine disturbs them
least; `% core` is what one stream costs at 50 ticks a second.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from media.dsp import comfort_noise, g711, opus, plc, tones
from media.dsp.codecs import codec_of
from media.dsp.g722 import G722Decoder, G722Encoder, extension_found
from media.dsp.goertzel import DtmfDetector
from media.dsp.levels import VoiceActivity
from media.dsp.mixer import MixPlan
from media.dsp.resample import Resampler
from media.wire import rtp, srtp, telephone_event
from media.wire.jitter import PlayoutDelay, ReceptionStats

Case = tuple[str, int, Callable[[], object]]
RNG = np.random.default_rng(1)


def best_us(work: Callable[[], object], seconds: float) -> float:
    work()
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - start)
        if now >= end:
            return best * 1e6


def speech(streams: int, samples: int = 160) -> np.ndarray:
    return RNG.normal(0, 900, (streams, samples)).astype(np.int16)


def codec_cases(streams: int) -> Iterator[Case]:
    codes, audio = RNG.integers(0, 256, (streams, 160)).astype(np.uint8), speech(streams)
    packets = np.zeros((streams, 172), np.uint8)
    samples = np.empty((streams, 160), np.int16)
    yield "g711 decode u-law", streams, lambda: g711.decode_ulaw(codes, samples)
    yield "g711 encode A-law", streams, lambda: g711.encode_alaw(audio, packets[:, 12:])
    yield "g711 u-law to A-law", streams, lambda: g711.ulaw_to_alaw(codes)
    engines = [False, True] if extension_found() else [False]
    for extension in engines:
        name = "extension" if extension else "numpy"
        for count in (1, 50, 500):
            rows, wide = np.arange(count), speech(count, 320)
            coder, decoder = G722Encoder(count, extension), G722Decoder(count, extension)
            octets = coder.encode(rows, wide)
            yield (
                f"g722 encode {name} x{count}",
                count,
                partial(coder.encode, rows, wide),
            )
            yield (
                f"g722 decode {name} x{count}",
                count,
                partial(decoder.decode, rows, octets),
            )
    if opus.available():
        count = 20
        codec, rows = codec_of("opus", count), np.arange(count)
        wide = np.tile(tones.to_int16(tones.sines((300.0, 900.0), 320, rate_hz=16000)), (count, 1))
        payloads, lengths = codec.encode(rows, wide)
        yield "opus encode 16 kHz", count, lambda: codec.encode(rows, wide)
        yield "opus decode 16 kHz", count, lambda: codec.decode(rows, payloads, lengths, 320)


def mixing_cases(streams: int) -> Iterator[Case]:
    for name, bridge in (
        ("mix conference of 200", np.zeros(200, int)),
        ("mix 500 bridges of 2", np.arange(1000) // 2),
        ("mix 300 bridges of 3", np.arange(900) // 3),
    ):
        audio = speech(len(bridge))
        out, plan = np.empty_like(audio), MixPlan(bridge)
        yield name, len(bridge), partial(plan.mix, audio, out)
    audio = speech(200)
    halved = MixPlan(np.zeros(200, int), gain=np.full(200, 0.5))
    yield "mix conference of 200, gains", 200, lambda: halved.mix(audio)


def hearing_cases(streams: int) -> Iterator[Case]:
    rows, audio = np.arange(streams), speech(streams)
    detector = DtmfDetector(streams)
    yield "dtmf in band, speech", streams, lambda: detector.process(rows, audio)
    voice = VoiceActivity(streams)
    yield "voice activity", streams, lambda: voice.process(rows, audio)
    history = speech(100, 320)
    gap = np.zeros(100, int)
    yield "conceal a lost packet", 100, lambda: plc.conceal(history, gap, 160)
    noise = comfort_noise.NoiseSource(100)
    noise.configure(np.arange(100), np.full(100, -50.0), np.full((100, 4), 0.1))
    yield "comfort noise", 100, lambda: noise.generate(np.arange(100), 160)
    for in_hz, out_hz in ((8000, 16000), (16000, 8000), (48000, 8000), (8000, 48000)):
        count = min(streams, 500)
        some, block = np.arange(count), speech(count, in_hz // 50)
        change = Resampler(in_hz, out_hz, count)
        yield (
            f"resample {in_hz // 1000} to {out_hz // 1000} kHz",
            count,
            partial(change.process, some, block),
        )


def wire_cases(streams: int) -> Iterator[Case]:
    packets = np.zeros((streams, 256), np.uint8)
    rows, sequence = np.arange(streams), np.arange(streams)
    lengths = np.full(streams, 172)
    headers = packets[:, :12]
    yield "rtp build", streams, lambda: rtp.build(0, False, sequence, sequence, rows, out=headers)
    yield "rtp parse", streams, lambda: rtp.parse(packets, lengths)
    yield "rtp classify", streams, lambda: rtp.classify(packets, lengths)
    stats, delay = ReceptionStats(streams), PlayoutDelay(streams)
    clock = [0]

    def receive() -> None:
        clock[0] += 1
        numbers = np.full(streams, clock[0] & 0xFFFF, np.uint16)
        stats.receive(rows, numbers, numbers * np.uint32(160), clock[0] * 0.02)

    def follow() -> None:
        clock[0] += 1
        delay.receive(rows, np.full(streams, clock[0] * 160, np.uint32), clock[0] * 0.02)

    yield "reception counters", streams, receive
    yield "play-out delay", streams, follow
    receiver = telephone_event.EventReceiver(streams)
    columns = telephone_event.parse(packets, np.full(streams, 12), np.full(streams, 4))
    stamps = np.zeros(streams, np.uint32)
    yield (
        "telephone events, all at once",
        streams,
        lambda: receiver.receive(rows, stamps, columns, 0.0),
    )
    if srtp.available():
        yield from srtp_cases()


def srtp_cases() -> Iterator[Case]:
    count = 200
    for suite in ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"):
        table = srtp.SrtpTable(2)
        key = srtp.make_crypto(1, suite, bytes(range(60)))
        table.set_inbound(0, key)
        table.set_outbound(1, key)
        number = [0]

        def both(table: srtp.SrtpTable = table, number: list[int] = number) -> None:
            packets = np.zeros((count, 256), np.uint8)
            number[0] += count
            sequence = np.arange(number[0], number[0] + count)
            rtp.build(0, False, sequence, sequence, np.full(count, 7), out=packets[:, :12])
            lengths = np.full(count, 172)
            table.protect(np.ones(count, int), packets, lengths)
            table.unprotect(np.zeros(count, int), packets, lengths)

        yield f"srtp {suite}, both ways", count, both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=0.3, help="time spent on each piece")
    parser.add_argument("--only", default="", help="a part of the names wanted")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    for group in (codec_cases, mixing_cases, hearing_cases, wire_cases):
        for name, streams, work in group(options.streams):
            if options.only in name:
                figures[name] = best_us(work, options.seconds) / streams
                if not options.json:
                    cost = figures[name]
                    print(f"{name:36s} {cost:10.3f} us   {cost * 50 / 1e4:8.4f} % core")
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
