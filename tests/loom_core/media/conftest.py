"""Clips made on the spot, each with one property that real files have."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV reads and writes the clips of these tests")


def numbered_frame(number: int, width: int, height: int) -> np.ndarray:
    """A picture from which `frame_number` reads the number back after lossy coding: 8 black or white blocks."""
    frame = np.full((height, width, 3), 64, np.uint8)
    block = width // 8
    for bit in range(8):
        frame[: height // 2, bit * block : (bit + 1) * block] = 255 if number >> bit & 1 else 0
    return frame


def frame_number(frame) -> int:
    """The number that `numbered_frame` drew."""
    frame = np.asarray(frame)
    height, width, _ = frame.shape
    block = width // 8
    return sum((1 << bit) for bit in range(8) if frame[height // 4, int((bit + 0.5) * block)].mean() > 128)


def corner_frame(width: int, height: int) -> np.ndarray:
    """Red top left, green top right, blue bottom left, white bottom right."""
    frame = np.empty((height, width, 3), np.uint8)
    frame[: height // 2, : width // 2] = (255, 0, 0)
    frame[: height // 2, width // 2 :] = (0, 255, 0)
    frame[height // 2 :, : width // 2] = (0, 0, 255)
    frame[height // 2 :, width // 2 :] = (255, 255, 255)
    return frame


def make_clip(
    path: Path,
    frames,
    *,
    times=None,
    rate: Fraction | int = 30,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    audio: np.ndarray | None = None,
    audio_codec: str = "aac",
    audio_rate: int = 48000,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode frames with plain PyAV, independently of the code under test.

    Args:
        times: Seconds of each frame; every 1 / rate when None.
        audio: float32 samples, mono.
    """
    with av.open(str(path), "w", options=container_options or {}) as output:
        stream = output.add_stream(codec, rate=rate, options=options or {})
        frames = list(frames)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        unit = Fraction(1, 1000) if times is not None else 1 / Fraction(rate)
        stream.codec_context.time_base = unit
        sound = None
        if audio is not None:
            sound = output.add_stream(audio_codec, rate=audio_rate)
            sound.codec_context.layout = "mono"
        for number, array in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(array, format="rgb24").reformat(format=pixel_format)
            picture.pts = number if times is None else round(times[number] * 1000)
            picture.time_base = unit
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
        if sound is not None:
            block = av.AudioFrame.from_ndarray(audio[None].astype(np.float32), format="fltp", layout="mono")
            block.sample_rate = audio_rate
            block.time_base = Fraction(1, audio_rate)
            block.pts = 0
            output.mux(sound.encode(block))
            output.mux(sound.encode(None))
    return path


def turn_by_metadata(path: Path, degrees: int) -> Path:
    """Write a display matrix into the track header of an mp4, as a phone does (clockwise turn when shown)."""
    one = 1 << 16
    matrices = {
        90: (0, one, 0, -one, 0, 0, 0, 0, 1 << 30),
        180: (-one, 0, 0, 0, -one, 0, 0, 0, 1 << 30),
        270: (0, -one, 0, one, 0, 0, 0, 0, 1 << 30),
    }
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd") + 4
    assert content[header] == 0, "expected a version 0 track header"
    content[header + 40 : header + 76] = struct.pack(">9i", *matrices[degrees])
    path.write_bytes(content)
    return path


def sine(duration: float, *, rate: int = 48000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(duration * rate)) / rate)).astype(np.float32)


@pytest.fixture(name="sine", scope="session")
def sine_fixture():
    return sine


@pytest.fixture(name="make_clip", scope="session")
def make_clip_fixture():
    return make_clip


@pytest.fixture(name="read_samples", scope="session")
def read_samples_fixture():
    return read_samples


@pytest.fixture(scope="session")
def number_of():
    """Reads the number that a frame of the generated clips shows."""
    return frame_number


def read_samples(path: Path) -> tuple[np.ndarray, int]:
    """Mono samples on a time axis that begins at the container's 0:00, and their rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate = stream.codec_context.sample_rate
        zero = (container.start_time or 0) / av.time_base
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
        track = np.zeros(rate * 20, np.float32)
        end = 0
        for frame in container.decode(stream):
            at = round((float(frame.pts * frame.time_base) - zero) * rate)
            for part in resampler.resample(frame):
                samples = part.to_ndarray()[0]
                if at < 0:
                    samples, at = samples[-at:], 0
                track[at : at + len(samples)] = samples
                end = at = at + len(samples)
    return track[:end], rate


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> SimpleNamespace:
    """Paths of the clips, by what is special about them."""
    folder = tmp_path_factory.mktemp("clips")
    numbered = [numbered_frame(number, 128, 96) for number in range(60)]
    constant = make_clip(folder / "constant30.mp4", numbered, rate=30, container_options={"movflags": "faststart"})
    # 30 a second with gaps: a phone in the dark, then a screen recording that stands still for a second
    kept = [*range(0, 10), *range(10, 30, 2), *range(30, 33), *range(60 - 5, 60)]
    variable = make_clip(folder / "variable.mkv", [numbered[i] for i in kept], times=[i / 30 for i in kept])
    rotated = make_clip(folder / "rotated.mp4", [corner_frame(96, 64)] * 5, rate=24)
    corners = [corner_frame(96, 64)] * 5
    sound = make_clip(folder / "sound.mp4", numbered, rate=30, audio=sine(2.0))
    truncated = folder / "truncated.mp4"
    truncated.write_bytes(constant.read_bytes()[: constant.stat().st_size * 2 // 3])
    empty = folder / "empty.mp4"
    empty.touch()
    music = folder / "music.mp3"
    with av.open(str(music), "w") as output:
        stream = output.add_stream("libmp3lame", rate=48000)
        stream.codec_context.layout = "mono"
        block = av.AudioFrame.from_ndarray(sine(0.5)[None], format="fltp", layout="mono")
        block.sample_rate, block.time_base, block.pts = 48000, Fraction(1, 48000), 0
        output.mux(stream.encode(block))
        output.mux(stream.encode(None))
    return SimpleNamespace(
        folder=folder,
        constant=constant,
        variable=variable,
        variable_kept=kept,
        rotated=turn_by_metadata(rotated, 90),
        ten_bit=make_clip(folder / "ten.mp4", corners, codec="libx265", pixel_format="yuv420p10le", rate=24,
                          options={"x265-params": "log-level=none"}),
        full_chroma=make_clip(folder / "chroma.mkv", corners, codec="ffv1", pixel_format="yuv444p", rate=24),
        odd=make_clip(folder / "odd.webm", [corner_frame(333, 251)] * 5, codec="libvpx-vp9", rate=24,
                      options={"deadline": "realtime", "cpu-used": "8"}),
        avi=make_clip(folder / "old.avi", numbered[:30], codec="mpeg4", rate=25),
        transport=make_clip(folder / "camera.ts", numbered, rate=25, audio=sine(2.4)),
        single=make_clip(folder / "single.mp4", numbered[5:6], rate=24),
        sound=sound,
        truncated=truncated,
        empty=empty,
        music=music,
    )  # fmt: skip
