from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from loom_core.errors import MediaError
from loom_core.media.stills import animation_frames, is_animation, is_transparent, open_image, to_rgb


def reread(path):
    with open_image(path) as image:
        return to_rgb(image)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (33, 41, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff"])
def test_images_without_transparency_equal_convert_rgb(tmp_path, noise, mode, suffix):
    path = tmp_path / f"picture.{suffix}"
    try:
        Image.fromarray(noise).convert(mode).save(path)
    except (OSError, ValueError, KeyError):
        pytest.skip(f"Pillow writes no {suffix} in mode {mode}")
    assert np.array_equal(reread(path), np.asarray(Image.open(path).convert("RGB")))


def test_transparency_is_laid_over_white(tmp_path, noise):
    alpha = np.zeros(noise.shape[:2], np.uint8)
    alpha[:, :20] = 255
    alpha[:, 20:30] = 128
    Image.fromarray(np.dstack([noise, alpha])).save(tmp_path / "cutout.png")
    frame = reread(tmp_path / "cutout.png").astype(int)
    assert np.array_equal(frame[:, :20], noise[:, :20])
    assert np.abs(frame[:, 20:30] - (noise[:, 20:30] * (128 / 255) + 255 * (127 / 255))).max() <= 1
    assert (frame[:, 30:] == 255).all()


def test_opaque_alpha_changes_nothing(tmp_path, noise):
    Image.fromarray(noise).convert("RGBA").save(tmp_path / "opaque.png")
    assert np.array_equal(reread(tmp_path / "opaque.png"), noise)


def test_transparent_palette_colour_becomes_white(tmp_path):
    indices = np.zeros((8, 8), np.uint8)
    indices[:, 4:] = 1
    image = Image.fromarray(indices).convert("P")
    image.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    image.save(tmp_path / "palette.png", transparency=1)
    frame = reread(tmp_path / "palette.png")
    assert frame[0, 0].tolist() == [255, 0, 0]
    assert frame[0, 7].tolist() == [255, 255, 255]


def test_transparent_only_where_a_pixel_is(noise):
    opaque = Image.fromarray(noise).convert("RGBA")
    assert not is_transparent(opaque)
    assert not is_transparent(Image.fromarray(noise))
    opaque.putpixel((1, 1), (0, 0, 0, 254))
    assert is_transparent(opaque)
    palette = Image.fromarray(noise[:8, :8, 0]).convert("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    assert is_transparent(palette)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    assert np.array_equal(reread(tmp_path / "deep.png")[..., 1], (levels >> 8).astype(np.uint8))


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0)), (2, (0, -1))]
)
def test_exif_orientation_is_applied(tmp_path, orientation, corner):
    frame = np.full((32, 48, 3), 255, np.uint8)
    frame[:8, :8] = 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(frame).save(tmp_path / "photo.jpg", exif=exif, quality=100)
    upright = reread(tmp_path / "photo.jpg")
    assert upright.shape[:2] == ((48, 32) if orientation in (6, 8) else (32, 48))
    assert upright[corner].max() < 30


def test_what_is_no_image_gives_none(clips):
    with open_image(clips.constant) as image:
        assert image is None


def test_a_page_of_several_is_still(tmp_path, noise):
    page = Image.fromarray(noise)
    page.save(tmp_path / "scan.tiff", save_all=True, append_images=[page])
    with open_image(tmp_path / "scan.tiff") as image:
        assert not is_animation(image)


def test_a_huge_image_is_refused(tmp_path, monkeypatch):
    Image.new("L", (300, 300)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(MediaError, match=r"huge\.png"), open_image(tmp_path / "huge.png"):
        pass


def test_a_damaged_animation_ends_early_with_a_warning(tmp_path, noise, caplog):
    pictures = [Image.fromarray(np.roll(noise, shift, axis=0)) for shift in range(6)]
    path = tmp_path / "animation.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_image(path) as image:
        frames = list(animation_frames(image))
    assert 1 <= len(frames) < 6
    assert "is damaged after" in caplog.text


def test_a_delay_of_zero_is_read_as_browsers_do(tmp_path, noise):
    pictures = [Image.fromarray(noise), Image.fromarray(noise[::-1].copy())]
    pictures[0].save(tmp_path / "fast.gif", save_all=True, append_images=pictures[1:], duration=0)
    with open_image(tmp_path / "fast.gif") as image:
        assert [frame.duration_seconds for frame in animation_frames(image)] == [0.1, 0.1]
