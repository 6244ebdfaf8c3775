"""Finished recordings in less space: whole or not at all, sample by sample where FLAC is asked for."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from media.dsp import g711, wav
from media.transcode import KINDS, PART, TranscodeError, main, marks_of, transcode

RATE_HZ = 16_000


def write(path, samples, *, code=wav.PCM, marks=()):
    form = wav.WavFormat(RATE_HZ, samples.shape[1], code)
    stored = samples.astype("<i2") if code == wav.PCM else g711.encode_ulaw(samples)
    data = stored.tobytes()
    trailer = wav.marks(list(marks))
    path.write_bytes(wav.header(form, len(data), len(trailer)) + data + trailer)


@pytest.fixture
def sound():
    at = np.arange(RATE_HZ * 3) / RATE_HZ
    left = 8000 * np.sin(2 * np.pi * 440 * at)
    right = 8000 * np.sin(2 * np.pi * 1000 * at)
    return np.stack([left, right], axis=1).astype(np.int16)


@pytest.mark.parametrize("code", [wav.PCM, wav.ULAW])
def test_flac_loses_nothing_and_keeps_the_marks(tmp_path, sound, code):
    source, target = tmp_path / "a.wav", tmp_path / "a.flac"
    write(source, sound, code=code, marks=[wav.Mark(8000, "paused"), wav.Mark(24_000, "resumed")])
    assert transcode(source, target, "flac") == len(sound)
    got, rate_hz = soundfile.read(target, dtype="int16")
    assert rate_hz == RATE_HZ
    expected = sound if code == wav.PCM else g711.decode_ulaw(g711.encode_ulaw(sound))
    assert np.array_equal(got, expected)
    with soundfile.SoundFile(target) as made:
        assert marks_of(made.comment) == [(0.5, "paused"), (1.5, "resumed")]
    assert target.stat().st_size < 0.8 * source.stat().st_size
    assert target.stat().st_mode & 0o777 == 0o640
    assert source.exists()


def test_opus_is_small_and_sounds_alike(tmp_path, sound):
    source, target = tmp_path / "a.wav", tmp_path / "a.opus"
    write(source, sound)
    transcode(source, target, "opus")
    got, rate_hz = soundfile.read(target, dtype="int16")
    assert (rate_hz, len(got)) == (RATE_HZ, len(sound))
    for side, hz in ((0, 440), (1, 1000)):
        spectrum = np.abs(np.fft.rfft(got[RATE_HZ : 2 * RATE_HZ, side].astype(float)))
        assert spectrum.argmax() == hz
    assert target.stat().st_size < source.stat().st_size / 8


def test_what_cannot_be_done_leaves_everything_as_it_was(tmp_path, sound, monkeypatch):
    source, target = tmp_path / "a.wav", tmp_path / "a.flac"
    for octets in (b"", b"RIFF....WAVE", b"no sound"):
        source.write_bytes(octets)
        with pytest.raises(TranscodeError):
            transcode(source, target, "flac")
    write(source, sound)
    with pytest.raises(TranscodeError, match="allowed: flac, opus"):
        transcode(source, target, "mp3")
    # A disk that forgets the end of the new file is found out before the old one could go.
    monkeypatch.setattr(
        "media.transcode._copy",
        lambda *_: len(sound) + 1 if _[1].write_bytes(source.read_bytes()) else 0,
    )
    with pytest.raises(TranscodeError, match="in, 48000 out"):
        transcode(source, target, "flac")
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir() if path.name != f"a.flac{PART}"] == ["a.wav"]


def test_a_process_of_its_own(tmp_path, sound, capsys):
    source, target = tmp_path / "a.wav", tmp_path / "a.flac"
    write(source, sound)
    command = [sys.executable, "-P", "-m", "media.transcode", str(source), str(target), "flac"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(len(sound))
    monkey = subprocess.run([*command[:4], "x", "y"], capture_output=True, text=True, check=False)
    assert monkey.returncode == 2
    assert set(KINDS) == {"flac", "opus"}
    assert main([]) == 2


def test_marks_are_read_back():
    points = [wav.Mark(10, "paused"), wav.Mark(30, "resumed"), wav.Mark(31, "")]
    data = b"\0" * 200
    trailer = wav.marks(points)
    whole = wav.header(wav.WavFormat(8000, 2), len(data), len(trailer)) + data + trailer
    assert wav.read_marks(io.BytesIO(whole)) == points
    for end in range(244, len(whole)):
        wav.read_marks(io.BytesIO(whole[:end]))  # cut anywhere: fewer marks, no error
    assert wav.read_marks(io.BytesIO(whole[:244])) == []
