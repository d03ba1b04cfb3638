import json

import pytest
import torch

from loom_core.errors import WeightsError
from loom_core.mllm.picture_sizes import IMAGE_SETTINGS, VIDEO_SETTINGS, VisionSettings
from loom_core.mllm.vision import load_vision_settings, vision_patches

SMALL = VisionSettings(min_pixels=1024, max_pixels=9216)


def test_patch_order_and_normalisation(pictures):
    frames = pictures(2, 64, 32)
    patches = vision_patches(frames, settings=SMALL)
    assert patches.grid == (1, 4, 2)
    assert patches.tokens_a_frame == 2
    assert patches.pixels.shape == (8, 3 * 2 * 16 * 16)
    # second patch of the first token: top right; value order channel, frame, row, column
    expected = frames[:, :16, 16:32].permute(3, 0, 1, 2).float() / 127.5 - 1
    assert torch.allclose(patches.pixels[1], expected.flatten(), atol=1e-6)
    # fifth patch: the second token begins, 32 rows down
    expected = frames[:, 32:48, :16].permute(3, 0, 1, 2).float() / 127.5 - 1
    assert torch.allclose(patches.pixels[4], expected.flatten(), atol=1e-6)


def test_the_last_frame_fills_up(pictures):
    frames = pictures(3, 32, 32)
    full = torch.cat([frames, frames[-1:]])
    assert torch.equal(vision_patches(frames, settings=SMALL).pixels, vision_patches(full, settings=SMALL).pixels)


@pytest.mark.parametrize("name", ["image_text", "two_images_video_text", "interleaved"])
def test_golden_pixels(golden_case, qwen_dir, name):
    """Resized pictures included: exact."""
    _, tensors = golden_case(f"deepstack/{name}")
    image_settings, _ = load_vision_settings(qwen_dir)
    raw = {key: value for key, value in sorted(tensors.items()) if key.startswith("raw.")}
    stills = [vision_patches(value[None], settings=image_settings) for key, value in raw.items() if "image" in key]
    assert torch.equal(torch.cat([still.pixels for still in stills]), tensors["pixel_values"])
    assert [list(still.grid) for still in stills] == tensors["image_grid_thw"].tolist()


def test_defaults_without_files(tmp_path):
    assert load_vision_settings(tmp_path) == (IMAGE_SETTINGS, VIDEO_SETTINGS)


def test_settings_from_files(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"size": {"shortest_edge": 7, "longest_edge": 8}, "patch_size": 4, "image_mean": [0, 0.1, 0.2]})
    )
    (tmp_path / "video_preprocessor_config.json").write_text(json.dumps({"min_pixels": 5, "max_pixels": 6}))
    image, video = load_vision_settings(tmp_path)
    assert (image.min_pixels, image.max_pixels, image.patch_size, image.image_mean) == (7, 8, 4, (0.0, 0.1, 0.2))
    assert (video.min_pixels, video.max_pixels) == (5, 6)


@pytest.mark.parametrize("text", ["{", "[]", '{"image_mean": [1, 2]}', '{"patch_size": "x"}'])
def test_damaged_settings(tmp_path, text):
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json"):
        load_vision_settings(tmp_path)
