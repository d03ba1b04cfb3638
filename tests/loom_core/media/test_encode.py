from __future__ import annotations

import errno
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from loom_core.errors import ConfigError, MediaError, OutputError, ResourceError
from loom_core.media import encode
from loom_core.media.decode import read_clip
from loom_core.media.encode import write_image, write_video
from loom_core.media.probe import probe
from loom_core.media.targets import IMAGE_SUFFIXES, VIDEO_SUFFIXES

av = pytest.importorskip("av", reason="PyAV reads and writes the clips of these tests")

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "skin": (224, 172, 105),
}


def plain(colour, *, frames=5, width=64, height=48) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8).expand(frames, height, width, 3).contiguous()


def decoded(path) -> np.ndarray:
    """Frames by the BT.709 equations of ITU-T H.273, without FFmpeg's converter (PyAV below 17 ignores the tags)."""
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            planes = [
                np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width].astype(float)
                for plane in frame.planes
            ]
            luma = (planes[0] - 16) / 219
            blue, red = ((plane.repeat(2, 0).repeat(2, 1) - 128) / 224 for plane in planes[1:])
            r, b = luma + 1.5748 * red, luma + 1.8556 * blue
            g = (luma - 0.2126 * r - 0.0722 * b) / 0.7152
            frames.append(np.stack([r, g, b], axis=-1).clip(0, 1) * 255)
    return np.stack(frames).round().astype(np.uint8)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_colours_come_back(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_video(path, [plain(colour, frames=1) for colour in COLOURS.values()], fps=24, size=(64, 48))
    for name, frame in zip(COLOURS, decoded(path), strict=True):
        assert np.abs(frame[24, 32].astype(int) - COLOURS[name]).max() <= 3, (name, frame[24, 32])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_tags_say_bt709(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_video(path, [plain((9, 9, 9))], fps=24, size=(64, 48))
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize(
    ("fps", "rate"), [(24, Fraction(24)), (23.976, Fraction(24000, 1001)), (12.5, Fraction(25, 2))]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_rate_length_and_size(tmp_path, suffix, fps, rate):
    path = tmp_path / f"out{suffix}"
    write_video(path, [plain((9, 9, 9), frames=3), plain((9, 9, 9), frames=22)], fps=fps, size=(64, 48))
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == rate
    info = probe(path)
    assert (info.num_frames, info.width, info.height) == (25, 64, 48)
    assert info.duration_seconds == pytest.approx(25 / rate, abs=1e-3)


@pytest.mark.parametrize(("suffix", "size"), [(".mp4", (334, 252)), (".webm", (334, 252)), (".gif", (333, 251))])
def test_odd_sizes(tmp_path, suffix, size):
    path = tmp_path / f"out{suffix}"
    write_video(path, [plain((200, 30, 30), width=333, height=251)], fps=24, size=(333, 251))
    info = probe(path)
    assert (info.width, info.height) == size
    edge = read_clip(path).frames[0, -1, -1].int()
    assert (edge - torch.tensor([200, 30, 30])).abs().max() <= 6


def test_mp4_can_start_to_play_before_it_is_loaded(tmp_path):
    write_video(tmp_path / "out.mp4", [plain((9, 9, 9))], fps=24, size=(64, 48))
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_quality(tmp_path):
    gradient = torch.linspace(0, 255, 128).expand(96, 128)
    frame = torch.stack([gradient, gradient.flip(1), gradient * 0.5], dim=-1).to(torch.uint8)
    write_video(tmp_path / "out.mp4", [frame.expand(9, -1, -1, -1)], fps=24, size=(128, 96))
    error = decoded(tmp_path / "out.mp4").astype(float) - frame.numpy()
    assert 10 * np.log10(255**2 / (error**2).mean()) > 40


def test_a_gif_plays_at_its_rate(tmp_path):
    frames = [plain((10 * n, 0, 0), frames=1) for n in range(24)]
    write_video(tmp_path / "out.gif", frames, fps=24, size=(64, 48))
    info = probe(tmp_path / "out.gif")
    assert (info.num_frames, info.duration_seconds) == (24, 1.0)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".JPEG"])
def test_write_image(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    noise = np.random.default_rng(5).integers(60, 200, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    write_image(path, torch.from_numpy(noise))
    with Image.open(path) as image:
        assert image.format == {".png": "PNG", ".webp": "WEBP"}.get(suffix, "JPEG")
        difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - noise)
    assert difference.max() == 0 if suffix == ".png" else difference.mean() < 6
    write_image(path, torch.from_numpy(noise)[None])  # replaces


def test_write_image_takes_one_frame(tmp_path):
    with pytest.raises(MediaError, match="2 frames for one image"):
        write_image(tmp_path / "out.png", plain((0, 0, 0), frames=2))
    with pytest.raises(MediaError, match="expected uint8"):
        write_image(tmp_path / "out.png", torch.zeros(8, 8, 3))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.avi", "out", "out.mp4.txt", ".mp4"])
def test_unknown_ending(tmp_path, name):
    with pytest.raises(MediaError) as caught:
        write_video(tmp_path / name, [plain((0, 0, 0))], fps=24, size=(64, 48))
    assert all(suffix in str(caught.value) for suffix in VIDEO_SUFFIXES)
    with pytest.raises(MediaError) as caught:
        write_image(tmp_path / name, plain((0, 0, 0), frames=1))
    assert all(suffix in str(caught.value) for suffix in IMAGE_SUFFIXES)
    assert not list(tmp_path.iterdir())


def test_missing_folder_is_found_before_any_frame_is_made(tmp_path):
    def frames():
        raise AssertionError("asked for frames")
        yield

    with pytest.raises(OutputError, match="no folder"):
        write_video(tmp_path / "nowhere" / "out.mp4", frames(), fps=24, size=(64, 48))
    with pytest.raises(OutputError, match="no folder"):
        write_image(tmp_path / "nowhere" / "out.png", plain((0, 0, 0), frames=1))


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_bad_frames_leave_no_file(tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    for chunks, message in (
        ([], "no frames to write"),
        ([plain((0, 0, 0)), plain((0, 0, 0), width=32)], "frames of 32x48; expected 64x48"),
        ([plain((0, 0, 0)).float()], "expected uint8"),
    ):
        with pytest.raises(MediaError, match=message):
            write_video(target, chunks, fps=24, size=(64, 48))
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("fps", "size"), [(0, (64, 48)), (-1, (64, 48)), (float("nan"), (64, 48)), (24, (0, 48))])
def test_numbers_out_of_range(tmp_path, fps, size):
    with pytest.raises(ConfigError):
        write_video(tmp_path / "out.mp4", [plain((0, 0, 0))], fps=fps, size=size)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failing_model_leaves_the_old_file(tmp_path, error):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")

    def frames():
        yield plain((0, 0, 0))
        raise error("stopped")

    with pytest.raises(error):
        write_video(target, frames(), fps=24, size=(64, 48))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_a_resource_error(tmp_path, monkeypatch):
    def full(_writer, _frame):
        raise av.error.OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(encode.VideoWriter, "write", full)
    with pytest.raises(ResourceError, match="no space left"):
        write_video(tmp_path / "out.mp4", [plain((0, 0, 0))], fps=24, size=(64, 48))
    assert not list(tmp_path.iterdir())
