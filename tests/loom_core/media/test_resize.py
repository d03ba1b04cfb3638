from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from benchmarks.live_memory import peak_live_bytes
from loom_core.errors import ConfigError, MediaError
from loom_core.media.resize import resize_and_crop, to_frames, to_pixels


def test_golden_resize_and_crop_to_the_bit(golden_dir):
    path = golden_dir / "visual_only_prompt" / "resize_and_crop.safetensors"
    if not path.exists():
        pytest.skip("the case resize_and_crop is only in the full golden set (LOOM_GOLDEN_DIR)")
    tensors = load_file(path)
    count = sum(name.startswith("in.") for name in tensors)
    assert count == len([k for k in json.loads(path.with_suffix(".json").read_text())["tensors"] if k[:3] == "in."]) > 0
    for number in range(count):
        expected = tensors[f"out.{number}"]
        frames = resize_and_crop(tensors[f"in.{number}"][None], width=expected.shape[1], height=expected.shape[0])
        assert torch.equal(frames[0], expected), number
        assert torch.equal(to_pixels(frames)[:, 0], tensors[f"tensor.{number}"]), number


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (3, 37, 53, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(64, 32), (32, 64), (53, 37), (20, 11), (100, 100), (1, 1)])
def test_cover_equals_pillow_then_centre_crop(frames, size):
    width, height = size
    scale = max(width / 53, height / 37)
    scaled = (round(53 * scale), round(37 * scale))
    left, top = round((scaled[0] - width) / 2), round((scaled[1] - height) / 2)
    result = resize_and_crop(frames, width=width, height=height)
    for frame, expected in zip(result, frames, strict=True):
        picture = Image.fromarray(expected.numpy()).resize(scaled, Image.Resampling.BILINEAR)
        assert np.array_equal(frame.numpy(), np.asarray(picture.crop((left, top, left + width, top + height))))


def test_contain_shows_everything_between_black_bars():
    white = torch.full((1, 20, 40, 3), 255, dtype=torch.uint8)
    result = resize_and_crop(white, width=64, height=64, fit="contain")[0]
    assert (result[16:48] == 255).all()
    assert (result[:16] == 0).all()
    assert (result[48:] == 0).all()


def test_stretch_fills_without_cutting():
    halves = torch.zeros((1, 10, 10, 3), dtype=torch.uint8)
    halves[:, :, 5:] = 255
    result = resize_and_crop(halves, width=100, height=10, fit="stretch")[0]
    assert (result[:, 0] == 0).all()
    assert (result[:, -1] == 255).all()


def test_pixels_and_frames_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(2, 1, 1, 3)
    pixels = to_pixels(levels)
    assert pixels.shape == (3, 2, 16, 16)
    assert pixels.dtype == torch.float32
    assert pixels.min() == -1
    assert pixels.max() == 1
    assert torch.equal(to_frames(pixels), levels)


def test_one_float_copy_of_a_clip():
    frames = torch.zeros(121, 48, 64, 3, dtype=torch.uint8)
    size = 121 * 48 * 64 * 3 * 4
    assert size <= peak_live_bytes(lambda: to_pixels(frames)) < 1.1 * size
    assert to_pixels(frames).is_contiguous()


def test_frames_of_a_long_clip_need_only_themselves():
    pixels = torch.zeros(3, 121, 48, 64)
    size = 121 * 48 * 64 * 3  # a byte each, while the pixels take four
    assert size <= peak_live_bytes(lambda: to_frames(pixels)) < 1.5 * size
    assert to_frames(pixels).is_contiguous()


def test_no_frames_no_problem_and_any_frame_is_checked():
    assert to_frames(torch.zeros(3, 0, 4, 4)).shape == (0, 4, 4, 3)
    pixels = torch.zeros(3, 9, 4, 4)
    pixels[1, 8, 2, 2] = float("nan")
    with pytest.raises(MediaError, match="not numbers"):
        to_frames(pixels)


def test_to_frames_rounds_and_clips():
    pixels = torch.tensor([-3.0, -1.0, 0.0, 0.9999, 7.0]).reshape(1, 1, 1, 5).repeat(3, 1, 1, 1)
    assert to_frames(pixels)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_to_frames_does_not_change_its_input():
    pixels = torch.zeros(3, 1, 2, 2)
    to_frames(pixels)
    assert (pixels == 0).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_to_frames_refuses_what_is_no_number(value):
    with pytest.raises(MediaError, match="not numbers"):
        to_frames(torch.full((3, 1, 2, 2), value))


def test_bad_input(frames):
    with pytest.raises(ConfigError, match="fit 'zoom'; expected one of cover, contain, stretch"):
        resize_and_crop(frames, width=8, height=8, fit="zoom")
    with pytest.raises(ConfigError, match="size 0x8"):
        resize_and_crop(frames, width=0, height=8)
    with pytest.raises(MediaError, match="expected uint8"):
        resize_and_crop(frames.float(), width=8, height=8)
    with pytest.raises(MediaError, match="expected uint8"):
        to_pixels(frames[0])
    with pytest.raises(MediaError, match=r"shape \[1, 2, 2\]"):
        to_frames(torch.zeros(1, 2, 2))
