from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from loom_core.config.presets import PRESETS
from loom_core.errors import MediaError
from loom_core.media.decode import read_clip
from loom_core.media.probe import MediaInfo, probe
from loom_core.request import Request, plan_request


def test_constant_clip(clips):
    assert probe(clips.constant) == MediaInfo(False, 128, 96, 30.0, 60, 2.0, False, "yuv420p")


def test_rotation_gives_the_upright_size(clips):
    info = probe(clips.rotated)
    assert (info.width, info.height) == (64, 96)


def test_sound_and_pixel_format(clips):
    assert probe(clips.sound).has_audio
    assert probe(clips.ten_bit).pixel_format == "yuv420p10le"


def test_frames_are_counted_where_the_container_does_not_say(clips):
    assert probe(clips.transport).num_frames == 60
    assert probe(clips.odd).num_frames == 5
    assert probe(clips.variable).num_frames == len(clips.variable_kept)


def test_transparency(clips, tmp_path):
    """Many pictures have an alpha channel that is opaque all over."""
    cutout = Image.new("RGBA", (8, 8), (200, 0, 0, 255))
    cutout.save(tmp_path / "opaque.png")
    cutout.putpixel((3, 3), (200, 0, 0, 0))
    cutout.save(tmp_path / "cutout.png")
    assert [probe(tmp_path / f"{name}.png").is_transparent for name in ("opaque", "cutout")] == [False, True]
    assert not probe(clips.single).is_transparent


def test_single_frame_video_is_no_image(clips):
    info = probe(clips.single)
    assert not info.is_image
    assert info.num_frames == 1


def test_content_decides_not_the_name(clips, tmp_path):
    disguised = tmp_path / "photo.png"
    disguised.write_bytes(clips.constant.read_bytes())
    assert not probe(disguised).is_image
    picture = tmp_path / "clip.mp4"
    Image.new("RGB", (40, 30)).save(picture, format="PNG")
    assert probe(picture) == MediaInfo(True, 40, 30, 0.0, 1, 0.0, False, "RGB")


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animated_images_are_clips(tmp_path, suffix):
    frames = [Image.fromarray(np.full((20, 30, 3), level, np.uint8)) for level in (0, 120, 240)]
    path = tmp_path / f"animation.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50)
    info = probe(path)
    assert (info.is_image, info.num_frames, info.fps, info.duration_seconds) == (False, 3, 20.0, 0.15)


def test_exif_orientation_gives_the_upright_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg", exif=exif)
    info = probe(tmp_path / "photo.jpg")
    assert (info.width, info.height) == (30, 40)


def test_missing_folder_and_empty(clips, tmp_path):
    with pytest.raises(MediaError, match=r"found no file .*nothing\.mp4.* to fix: check the path"):
        probe(tmp_path / "nothing.mp4")
    with pytest.raises(MediaError, match="found the folder"):
        probe(tmp_path)
    with pytest.raises(MediaError, match=r"empty\.mp4 \(0 bytes\)"):
        probe(clips.empty)


def test_sound_alone_is_no_video(clips):
    with pytest.raises(MediaError, match=r"music\.mp3 without a video stream \(it has audio\)"):
        probe(clips.music)


def test_cover_art_is_no_video(clips, tmp_path):
    path = tmp_path / "song.mp3"
    picture = tmp_path / "cover.png"
    Image.new("RGB", (16, 16), "red").save(picture)
    data = b"\0image/png\0\x03\0" + picture.read_bytes()
    frame = b"APIC" + len(data).to_bytes(4, "big") + b"\0\0" + data
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + size + frame + clips.music.read_bytes())
    with pytest.raises(MediaError, match="without a video stream"):
        probe(path)


@pytest.mark.parametrize("content", [b"just a text\n" * 50, bytes(range(256)) * 40], ids=["text", "noise"])
@pytest.mark.parametrize("name", ["clip.mp4", "notes.txt", "photo.png"])
def test_what_is_no_media_is_refused(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match="to fix"):
        probe(path)


def test_a_file_cut_off_before_its_first_frame_is_refused(clips, tmp_path):
    path = tmp_path / "head.mp4"
    content = clips.constant.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 8])
    with pytest.raises(MediaError, match="no frame that can be decoded"):
        probe(path)


def test_a_cut_off_image_is_refused(tmp_path):
    path = tmp_path / "half.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(MediaError, match=r"half\.png, which cannot be read"):
        probe(path)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".webm"])
def test_a_rate_that_varies_is_told_by_length_not_by_the_header(tmp_path, suffix, make_clip):
    """49 frames over 3.2 seconds, in a file whose header claims 24 a second; the sound is longer still."""
    chance = np.random.default_rng(0)
    times = np.cumsum(chance.uniform(0.02, 0.11, 49))
    times = (times - times[0]) * 3.15 / (times[-1] - times[0])
    frames = [np.full((32, 64, 3), 5 * number, np.uint8) for number in range(49)]
    codec = {"codec": "libvpx", "audio_codec": "libopus"} if suffix == ".webm" else {}
    sound = np.zeros(48000 * 5, np.float32)
    clip = make_clip(tmp_path / f"a{suffix}", frames, times=list(times), rate=24, audio=sound, **codec)
    info = probe(clip)
    assert info.num_frames == 49
    assert info.num_frames / info.fps == pytest.approx(3.2, abs=0.12)
    plan = plan_request(Request(prompt="x", source=clip), PRESETS["tiny"])
    assert abs(plan.num_frames - read_clip(clip).num_frames) <= 4  # exact times are read with the frames
    assert plan.num_frames / plan.fps == pytest.approx(3.2, abs=0.2)
