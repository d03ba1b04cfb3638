from __future__ import annotations

import logging
import os
import re

import numpy as np
import pytest
import torch
from PIL import Image

from loom_core.errors import ConfigError, MediaError
from loom_core.geometry import resample_indices
from loom_core.media.decode import read_clip, read_image


def corners(clip) -> list[str]:
    """Colour names of the four corners of the first frame, row by row."""
    names = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
    frame = clip.frames[0].numpy().astype(int)
    found = []
    for row, column in ((6, 6), (6, -7), (-7, 6), (-7, -7)):
        name, distance = min(
            ((name, np.abs(frame[row, column] - colour).max()) for name, colour in names.items()), key=lambda x: x[1]
        )
        assert distance <= 4, frame[row, column]
        found.append(name)
    return found


@pytest.mark.parametrize(("target_fps", "max_frames"), [(24, 121), (24, 33), (16, 81), (30, 9), (24, 1), (60, 121)])
def test_constant_rate_gives_the_official_frames(clips, number_of, target_fps, max_frames):
    clip = read_clip(clips.constant, target_fps=target_fps, max_frames=max_frames)
    assert [number_of(frame) for frame in clip.frames] == resample_indices(
        30.0, 60, target_fps=target_fps, max_frames=max_frames
    )
    assert (clip.fps, clip.is_image, clip.size, clip.start_seconds) == (target_fps, False, (128, 96), 0.0)
    assert clip.source_path == clips.constant
    assert clip.frames.dtype == torch.uint8


@pytest.mark.parametrize(("name", "fps", "frames"), [("avi", 25.0, 30), ("transport", 25.0, 60)])
def test_other_containers_give_the_official_frames(clips, number_of, name, fps, frames):
    clip = read_clip(getattr(clips, name))
    assert [number_of(frame) for frame in clip.frames] == resample_indices(fps, frames)


def test_variable_rate_stays_in_time(clips, number_of):
    clip = read_clip(clips.variable)
    shown = [number_of(frame) for frame in clip.frames]
    for position, number in enumerate(shown):
        moment = position / 24
        due = max(kept for kept in clips.variable_kept if kept / 30 <= moment + 0.5 / 30)
        assert number == due, position
    assert len(shown) == 45  # the whole two seconds, although only 28 frames are stored


@pytest.mark.parametrize("name", ["constant", "variable", "transport", "avi", "sound"])
def test_start_inside_the_clip(clips, number_of, name):
    fps = 25 if name in ("transport", "avi") else 30
    clip = read_clip(getattr(clips, name), start_seconds=0.5, max_frames=9)
    number = number_of(clip.frames[0])
    assert abs(number / fps - 0.5) <= 1.0 / fps + 0.01
    assert clip.start_seconds == pytest.approx(0.5, abs=0.5 / fps + 0.001)
    assert clip.num_frames == 9


def test_start_in_a_pause_shows_the_frame_held_then(clips, number_of):
    clip = read_clip(clips.variable, start_seconds=1.5, max_frames=13)  # frame 32 stays from 1.07 to 1.83
    assert number_of(clip.frames[0]) == 32
    assert clip.start_seconds == pytest.approx(1.5)
    assert number_of(clip.frames[-1]) >= 55


def test_rotation_metadata_is_applied(clips):
    clip = read_clip(clips.rotated)
    assert clip.size == (64, 96)
    assert corners(clip) == ["blue", "red", "white", "green"]  # a quarter turn clockwise


@pytest.mark.parametrize("name", ["ten_bit", "full_chroma", "odd"])
def test_unusual_pixel_formats_keep_their_colours(clips, name):
    clip = read_clip(getattr(clips, name))
    assert corners(clip) == ["red", "green", "blue", "white"]
    assert clip.size == ((333, 251) if name == "odd" else (96, 64))


def test_single_frame_video(clips, number_of):
    clip = read_clip(clips.single)
    assert (clip.num_frames, clip.is_image, clip.fps) == (1, False, 24.0)
    assert number_of(clip.frames[0]) == 5


def test_truncated_video_gives_what_is_there_and_warns(clips, number_of, caplog):
    with caplog.at_level(logging.WARNING):
        clip = read_clip(clips.truncated)
    assert "truncated.mp4 seems to be cut off" in caplog.text
    shown = [number_of(frame) for frame in clip.frames]
    assert shown == resample_indices(30.0, 60)[: len(shown)]
    assert (len(shown) - 1) % 4 == 0


@pytest.fixture(scope="module", params=["mp4", "mkv"])
def cut_files(request, tmp_path_factory, make_clip, number_of):
    """60 frames at 24 a second, cut at several places: (path, numbers of the frames that FFmpeg itself decodes)."""
    av = pytest.importorskip("av", reason="PyAV reads and writes the clips of these tests")
    folder, generator = tmp_path_factory.mktemp("cut"), np.random.default_rng(0)
    frames = []
    for number in range(60):
        bits = [255 * (number >> bit & 1) for bit in range(8)]
        top = np.repeat(np.repeat(np.uint8(bits)[None], 48, axis=0), 16, axis=1)  # as `frame_number` reads
        noise = generator.integers(0, 255, (48, 128), dtype=np.uint8)  # so that every frame has its weight in bytes
        frames.append(np.repeat(np.concatenate([top, noise])[..., None], 3, axis=2))
    whole = make_clip(
        folder / f"whole.{request.param}",
        frames,
        rate=24,
        container_options={"movflags": "faststart"} if request.param == "mp4" else None,
    )
    content, files = whole.read_bytes(), []
    for percent in (55, 66, 75, 90, 97):
        path = folder / f"cut{percent}.{request.param}"
        path.write_bytes(content[: len(content) * percent // 100])
        decoded = []
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                try:
                    decoded += [number_of(frame.to_ndarray(format="rgb24")) for frame in packet.decode()]
                except av.error.FFmpegError:
                    assert packet.is_corrupt
        files.append((path, decoded))
    return files


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_a_cut_off_file_gives_all_that_decodes_and_the_warning_counts_right(cut_files, start, number_of, caplog):
    for path, decoded in cut_files:
        first = round(start * 24)
        caplog.clear()
        clip = read_clip(path, start_seconds=start)
        available = decoded[first:]
        assert [number_of(frame) for frame in clip.frames] == available[: (len(available) - 1) // 4 * 4 + 1]
        (record,) = (record for record in caplog.records if record.name.startswith("loom_core"))
        found, expected = (int(number) for number in re.findall(r"(\d+) of (?:about )?(\d+) frames", record.message)[0])
        assert (found, expected) == (len(available), 60 - first)


def test_a_whole_file_is_not_called_cut_off(clips, caplog):
    for name in ("constant", "variable", "ten_bit", "full_chroma", "odd", "avi", "transport", "single", "sound"):
        for start in (0.0, 0.1):
            read_clip(getattr(clips, name), start_seconds=start if name != "single" else 0.0)
    assert "cut off" not in caplog.text


def test_frames_are_resized_while_they_are_decoded(clips):
    clip = read_clip(clips.constant, size=(32, 64), max_frames=5)
    assert clip.size == (32, 64)


def test_reading_stops_after_the_last_frame_needed(clips, monkeypatch):
    from loom_core.media import pictures

    decoded = []
    whole = pictures._decoded_frames
    monkeypatch.setattr(
        pictures, "_decoded_frames", lambda *args: (decoded.append(0) or frame for frame in whole(*args))
    )
    read_clip(clips.constant, max_frames=5)
    assert len(decoded) == 6  # the fifth frame of the result is frame 5 of the source


def test_each_frame_is_told_and_reading_can_be_stopped(clips):
    told = []
    read_clip(clips.constant, max_frames=5, on_frame=lambda *counts: told.append(counts))
    assert told == [(number, 5) for number in range(1, 6)]

    def stop(done, wanted):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_clip(clips.constant, on_frame=stop)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"target_fps": 0}, "target_fps 0"),
        ({"target_fps": float("nan")}, "target_fps nan"),
        ({"max_frames": 0}, "max_frames 0"),
        ({"start_seconds": -1}, "start_seconds -1"),
    ],
)
def test_numbers_out_of_range(clips, numbers, message):
    with pytest.raises(ConfigError, match=message):
        read_clip(clips.constant, **numbers)


@pytest.mark.parametrize("name", ["constant", "avi", "single"])
def test_start_beyond_the_end(clips, name):
    with pytest.raises(MediaError, match="ends before 7 seconds"):
        read_clip(getattr(clips, name), start_seconds=7)


@pytest.mark.parametrize("name", ["empty", "music"])
def test_no_picture_at_all(clips, name):
    with pytest.raises(MediaError, match="to fix"):
        read_clip(getattr(clips, name))


def test_header_without_frames(clips, tmp_path):
    path = tmp_path / "head.mp4"
    content = clips.constant.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 8])
    with pytest.raises(MediaError, match="no frame that can be decoded"):
        read_clip(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo") or os.geteuid() == 0, reason="the superuser may read everything")
def test_no_permission(clips, tmp_path):
    path = tmp_path / "secret.mp4"
    path.write_bytes(clips.constant.read_bytes())
    path.chmod(0)
    with pytest.raises(MediaError, match="no permission"):
        read_clip(path)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animated_image_plays_in_time(tmp_path, suffix):
    levels = (0, 90, 180, 250)
    pictures = [Image.fromarray(np.full((24, 32, 3), level, np.uint8)) for level in levels]
    path = tmp_path / f"animation.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 200, 100, 300], **options)
    clip = read_clip(path)
    assert clip.num_frames == 17  # 0.7 seconds
    ends = np.cumsum([0.1, 0.2, 0.1, 0.3])
    for position, frame in enumerate(clip.frames):
        reach = [position / 24 + side * (0.5 / 30 + 0.001) for side in (-1, 1)]  # half a position of the grid
        due = {levels[int(np.searchsorted(ends, moment, side="right").clip(max=3))] for moment in reach}
        assert min(abs(int(frame[5, 5, 0]) - level) for level in due) <= 2, position


def test_still_image_is_a_clip_of_one_frame(tmp_path):
    path = tmp_path / "picture.png"
    noise = np.random.default_rng(1).integers(0, 255, (31, 47, 3), np.uint8)
    Image.fromarray(noise).save(path)
    for clip in (read_clip(path), read_image(path)):
        assert (clip.num_frames, clip.fps, clip.is_image) == (1, 0.0, True)
        assert np.array_equal(clip.frames[0].numpy(), noise)
    assert read_image(path, size=(32, 64), fit="contain").size == (32, 64)


def test_read_image_refuses_a_clip(clips):
    with pytest.raises(MediaError, match="not a still image"):
        read_image(clips.constant)
