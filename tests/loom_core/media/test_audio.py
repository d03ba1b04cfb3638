"""Sound through `read_clip` and `write_video`: in step, cut to length, never in the way of the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loom_core.media.audio import _COPIED, _ENCODERS
from loom_core.media.decode import read_clip
from loom_core.media.encode import write_video

av = pytest.importorskip("av", reason="PyAV reads and writes the clips of these tests")

MOMENT = 1.5  # seconds at which the made clip flashes and beeps
ONE_FRAME = 0.04


@pytest.fixture(scope="module", params=["aac", "libopus", "flac", "pcm_s16le", "libmp3lame", "aac-ts"])
def flash_and_beep(request, tmp_path_factory, make_clip, sine):
    codec, _, kind = request.param.partition("-")
    frames = [np.full((48, 64, 3), 255 if 45 <= number < 48 else 20, np.uint8) for number in range(90)]
    samples = np.zeros(48000 * 3, np.float32)
    samples[72000:76800] = sine(0.1)
    suffix = kind or {"aac": "mp4", "libmp3lame": "mp4"}.get(codec, "mkv")
    path = tmp_path_factory.mktemp("sync") / f"source.{suffix}"
    return make_clip(path, frames, rate=30, audio=samples, audio_codec=codec)


def events(path, read_samples) -> tuple[float, float, float]:
    """Seconds of the flash, of the beep, and the length of the sound."""
    with av.open(str(path)) as container:
        zero = (container.start_time or 0) / av.time_base
        flash = next(
            float(frame.pts * frame.time_base) - zero
            for frame in container.decode(video=0)
            if frame.to_ndarray(format="rgb24").mean() > 130
        )
    samples, rate = read_samples(path)
    return flash, np.flatnonzero(np.abs(samples) > 0.1)[0] / rate, len(samples) / rate


@pytest.mark.parametrize("start", [0.0, 0.513])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_flash_and_beep_stay_together(flash_and_beep, tmp_path, read_samples, suffix, start):
    clip = read_clip(flash_and_beep, start_seconds=start)
    path = tmp_path / f"out{suffix}"
    write_video(path, clip.frames.split(7), fps=clip.fps, size=clip.size, audio_from=clip)
    flash, beep, length = events(path, read_samples)
    assert abs(flash - beep) < 0.005
    assert abs(flash - (MOMENT - clip.start_seconds)) <= ONE_FRAME
    assert abs(length - clip.num_frames / clip.fps) <= 0.08  # the longest packet: 4608 samples of flac


def test_packets_are_copied_where_the_file_takes_them(clips, tmp_path):
    clip = read_clip(clips.sound)
    write_video(tmp_path / "out.mp4", [clip.frames], fps=clip.fps, size=clip.size, audio_from=clip)
    packets = {}
    for path in (clips.sound, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            packets[path] = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    source, copy = packets.values()
    assert copy == source[: len(copy)]
    assert len(copy) > 80


def test_sound_from_a_path_begins_where_asked(clips, tmp_path, read_samples):
    frames = torch.zeros(24, 32, 32, 3, dtype=torch.uint8)
    write_video(tmp_path / "out.mp4", [frames], fps=24, size=(32, 32), audio_from=clips.music, audio_start_seconds=0.25)
    samples, rate = read_samples(tmp_path / "out.mp4")
    assert 0.2 < len(samples) / rate < 0.35  # a quarter of a second is left of the music


@pytest.mark.parametrize("case", ["silent", "image", "nothing"])
def test_no_sound_no_track(clips, tmp_path, case, caplog):
    source = {"silent": clips.constant, "image": None, "nothing": None}[case]
    frames = torch.zeros(5, 32, 32, 3, dtype=torch.uint8)
    write_video(tmp_path / "out.mp4", [frames], fps=24, size=(32, 32), audio_from=source)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert not caplog.records


def test_a_start_after_the_sound_ended_leaves_no_track(clips, tmp_path):
    frames = torch.zeros(5, 32, 32, 3, dtype=torch.uint8)
    write_video(tmp_path / "out.mp4", [frames], fps=24, size=(32, 32), audio_from=clips.music, audio_start_seconds=9)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_broken_sound_never_costs_the_video(clips, tmp_path, caplog, suffix):
    content = bytearray(clips.sound.read_bytes())
    for start in range(content.index(b"mdat") + 600, len(content) - 600, 97):
        content[start : start + 60] = bytes(60)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content)
    frames = torch.zeros(48, 32, 32, 3, dtype=torch.uint8)
    for source in (broken, clips.empty, tmp_path / "missing.mp4"):
        path = tmp_path / f"out{suffix}"
        write_video(path, [frames], fps=24, size=(32, 32), audio_from=source)
        assert read_clip(path).num_frames == 45
    assert "missing.mp4 cannot be copied" in caplog.text
    assert "goes on without it" in caplog.text


def test_a_gif_has_no_sound(clips, tmp_path):
    clip = read_clip(clips.sound, max_frames=5)
    write_video(tmp_path / "out.gif", [clip.frames], fps=clip.fps, size=clip.size, audio_from=clip)
    assert read_clip(tmp_path / "out.gif").num_frames == 5


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
def test_a_fault_of_ours_is_no_broken_sound(clips, tmp_path, monkeypatch, error):
    def fail(*_args):
        raise error("a bug")

    monkeypatch.setattr("loom_core.media.audio._EncodedTrack._take", fail)
    frames = torch.zeros(5, 32, 32, 3, dtype=torch.uint8)
    with pytest.raises(error, match="a bug"):
        write_video(tmp_path / "out.webm", [frames], fps=24, size=(32, 32), audio_from=clips.sound)
    assert list(tmp_path.iterdir()) == []


def test_an_ffmpeg_without_the_encoder_leaves_the_video_silent(clips, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(_ENCODERS, ".webm", "no_such_encoder")
    frames = torch.zeros(5, 32, 32, 3, dtype=torch.uint8)
    write_video(tmp_path / "out.webm", [frames], fps=24, size=(32, 32), audio_from=clips.sound)
    assert "goes on without it" in caplog.text
    assert read_clip(tmp_path / "out.webm").num_frames == 5


@pytest.mark.parametrize("refusal", ["resample", "copy"])
def test_what_pyav_itself_refuses_leaves_the_video_silent(clips, tmp_path, monkeypatch, caplog, refusal):
    """PyAV does so with a plain ValueError, not with one of FFmpeg's errors."""

    class Refusing:
        def __init__(self, **_options):
            pass

        def resample(self, _frame):
            raise ValueError("Frame does not match AudioResampler setup.")

    if refusal == "resample":
        monkeypatch.setattr(av, "AudioResampler", Refusing)
    else:  # a webm file takes no mp3
        monkeypatch.setitem(_COPIED, ".webm", frozenset({"mp3", "mp3float"}))
    frames = torch.zeros(5, 32, 32, 3, dtype=torch.uint8)
    write_video(tmp_path / "out.webm", [frames], fps=24, size=(32, 32), audio_from=clips.music)
    assert "goes on without it" in caplog.text
    assert read_clip(tmp_path / "out.webm").num_frames == 5
