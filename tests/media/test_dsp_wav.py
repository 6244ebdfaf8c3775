"""WAV: headers true at any instant, marks, reading, repair of what kill -9 leaves behind."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from media.dsp import g711, wav
from media.dsp.wav import Mark, WavFormat
from media.errors import WavError

STEREO = WavFormat(8000, 2)
ULAW = WavFormat(8000, 2, wav.ULAW)


def frames(count: int, parties: int = 2) -> np.ndarray:
    return (np.arange(count * parties) * 37 % 60000 - 30000).astype("<i2")


def test_a_stranger_reads_the_header_at_every_instant() -> None:
    data = frames(100).tobytes()
    for length in range(0, len(data), 4):
        file = io.BytesIO(wav.header(STEREO, length) + data[:length])
        with wave.open(file) as reader:
            assert reader.getparams()[:4] == (2, 2, 8000, length // 4)
            assert reader.readframes(1000) == data[:length]


def test_ulaw_and_alaw_are_read_by_soundfile_and_by_us() -> None:
    samples = frames(500, 1)
    for code, encode, decode in (
        (wav.ULAW, g711.encode_ulaw, g711.decode_ulaw),
        (wav.ALAW, g711.encode_alaw, g711.decode_alaw),
    ):
        layout = WavFormat(16000, 1, code)
        coded = encode(samples)
        data = wav.header(layout, len(coded)) + coded.tobytes()
        assert len(wav.header(layout, 0)) == layout.header_octets == 58
        theirs, rate_hz = soundfile.read(io.BytesIO(data), dtype="int16")
        assert rate_hz == 16000
        assert (theirs == decode(coded)).all()
        assert wav.read(io.BytesIO(data))[0] == 16000
        assert (wav.read(io.BytesIO(data))[1][0] == decode(coded)).all()


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
@pytest.mark.parametrize("parties", [1, 2])
def test_what_soundfile_writes_is_read(rate_hz, parties) -> None:
    samples = frames(321, parties).reshape(-1, parties)
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype="PCM_16")
    got_rate, got = wav.read(file)
    assert got_rate == rate_hz
    assert got.shape == (parties, 321)
    assert (samples == got.T).all()


def test_marks_name_points_and_leave_the_samples_alone() -> None:
    data = np.stack([frames(50, 1), frames(50, 1)], axis=-1).tobytes()
    trailer = wav.marks([Mark(10, "pause"), Mark(30, "resume, card number over")])
    whole = wav.header(STEREO, len(data), len(trailer)) + data + trailer
    with wave.open(io.BytesIO(whole)) as reader:
        assert reader.readframes(1000) == data
    info = wav.inspect(io.BytesIO(whole))
    assert info.whole
    assert info.data_octets == len(data)
    assert len(trailer) % 2 == 0
    assert b"resume, card number over\0" in trailer
    assert wav.marks([]) == b""
    assert wav.marks([Mark(0, "x")] * 1001) == wav.marks([Mark(0, "x")] * 1000)


@pytest.mark.parametrize("layout", [STEREO, ULAW, WavFormat(8000, 1, wav.ULAW)])
@given(said=st.integers(0, 120), written=st.integers(0, 997))
@settings(max_examples=60, deadline=None)
def test_a_file_cut_anywhere_is_repaired(layout, said, written) -> None:
    """`said` octets are in the last header; `written` had reached the disk when the end came."""
    data = np.arange(1000, dtype=np.int64).astype(np.uint8).tobytes()[:written]
    said -= said % layout.octets_per_frame
    # One octet behind an odd number of them is the pad of RIFF, or one sample more: nobody can tell.
    assume(not (said % 2 and written == said + 1))
    file = io.BytesIO(wav.header(layout, said) + data)
    before = wav.read(file)[1]
    info = wav.repair(file)
    assert info.whole
    assert info.data_octets == written - written % layout.octets_per_frame
    after = wav.read(file)[1]
    assert (before == after).all()
    assert after.shape[1] == written // layout.octets_per_frame
    again = file.getvalue()
    assert wav.repair(file) == info
    assert file.getvalue() == again
    theirs, _ = soundfile.read(io.BytesIO(again), dtype="int16", always_2d=True)
    assert (after == theirs.T).all()


def test_repair_keeps_the_chunks_of_a_stranger() -> None:
    trailer = wav.marks([Mark(1, "theirs")])
    data = frames(10).tobytes()
    whole = bytearray(wav.header(STEREO, len(data), len(trailer)) + data + trailer + b"....")
    file = io.BytesIO(whole)
    info = wav.repair(file)
    assert info.data_octets == len(data)
    assert trailer in file.getvalue()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAVE",
        b"RIFX" + wav.header(STEREO, 0)[4:],
        wav.header(STEREO, 0)[:36],
        wav.header(WavFormat(8000, 9), 0),
        wav.header(WavFormat(1, 1), 0),
        wav.header(WavFormat(8000, 1, 85), 0),
        wav.header(STEREO, 0).replace(b"\x10\0data", b"\x18\0data"),
        wav.header(STEREO, 0)[:12] + b"data\4\0\0\0abcd",
    ],
)
def test_what_is_no_wav_is_refused(octets) -> None:
    with pytest.raises(WavError):
        wav.read(io.BytesIO(octets))


def test_size_limit_is_exact() -> None:
    data = frames(10).tobytes()
    whole = wav.header(STEREO, len(data)) + data
    assert wav.read(io.BytesIO(whole), octets_max=len(data))[1].shape == (2, 10)
    with pytest.raises(WavError):
        wav.read(io.BytesIO(whole), octets_max=len(data) - 1)


@given(st.binary(max_size=120), st.integers(0, 200), st.binary(max_size=4))
@settings(max_examples=300, deadline=None)
def test_broken_files_end_in_an_error_or_in_samples(garbage, at, patch) -> None:
    whole = bytearray(wav.header(ULAW, 40) + bytes(40) + wav.marks([Mark(1, "a")]))
    whole[at : at + len(patch)] = patch
    for octets in (garbage, bytes(whole), b"RIFF\0\0\0\0WAVE" + garbage):
        try:
            rate_hz, samples = wav.read(io.BytesIO(octets))
        except WavError:
            continue
        assert rate_hz > 0
        assert samples.size <= len(octets)


def test_beyond_four_gigabytes_sizes_saturate() -> None:
    assert wav.header(STEREO, 5 << 30)[40:] == b"\xff\xff\xff\xff"
