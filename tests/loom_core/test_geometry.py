from __future__ import annotations

import json
import re

import pytest

from loom_core.errors import ConfigError
from loom_core.geometry import (
    IMAGE_BUCKETS,
    VIDEO_BUCKETS,
    ContainBox,
    CoverCrop,
    LatentShape,
    check_frames,
    check_size,
    closest_bucket,
    contain_box,
    cover_crop,
    latent_frames,
    latent_shape,
    resample_indices,
    snap_frames,
    snap_size,
    video_frames,
)


def test_resample_indices_equal_the_official_loader(golden_dir):
    table = json.loads((golden_dir / "visual_only_prompt" / "prompts.json").read_text())["load_video_indices"]
    pattern = re.compile(r"fps=([\d.]+),frames=(\d+),target_fps=([\d.]+),target_num_frames=(\d+)")
    assert len(table) > 10
    for key, expected in table.items():
        fps, frames, target_fps, max_frames = (float(part) for part in pattern.fullmatch(key).groups())
        indices = resample_indices(fps, int(frames), target_fps=target_fps, max_frames=int(max_frames))
        assert indices == expected["indices"], key
        assert len(indices) == expected["count"], key


@pytest.mark.parametrize("fps", [0.5, 7.3, 23.976, 24, 25, 29.97, 30, 59.94, 144])
@pytest.mark.parametrize("frames", [1, 2, 16, 1000])
def test_resample_indices_stay_inside_and_rise(fps, frames):
    indices = resample_indices(fps, frames)
    assert (len(indices) - 1) % 4 == 0
    assert len(indices) <= 121
    assert indices[0] == 0
    assert indices == sorted(indices)
    assert indices[-1] < frames


def test_buckets_equal_the_official_tables(golden_dir):
    tables = json.loads((golden_dir / "training" / "functions.json").read_text())["bucket_tables"]
    for name, buckets in (("image", IMAGE_BUCKETS), ("video", VIDEO_BUCKETS)):
        assert {str(side): [list(size) for size in sizes] for side, sizes in buckets.items()} == tables[name]


def test_closest_bucket_equals_the_official_choice(golden_dir):
    tables = json.loads((golden_dir / "training" / "functions.json").read_text())["closest_resolution"]["table"]
    for name, table in tables.items():
        kind, _, allowed = name.partition(",allowed=")
        sides = None if allowed == "None" else tuple(int(side) for side in re.findall(r"\d+", allowed))
        buckets = IMAGE_BUCKETS if kind == "image" else VIDEO_BUCKETS
        for size, (height, width) in table.items():
            picture = tuple(int(side) for side in size.split("x"))
            assert closest_bucket(*picture, buckets=buckets, allowed_sides=sides) == (width, height), (name, size)


def test_closest_bucket_refuses_sides_that_do_not_exist():
    with pytest.raises(ConfigError, match=r"found bucket sides \(512,\); expected some of \[256, 640, 960\]"):
        closest_bucket(640, 480, allowed_sides=(512,))


def test_every_bucket_is_a_size_the_model_takes():
    for buckets in (IMAGE_BUCKETS, VIDEO_BUCKETS):
        for sizes in buckets.values():
            for width, height in sizes:
                check_size(width, height)


@pytest.mark.parametrize(
    ("frames", "snapped"), [(-3, 1), (0, 1), (1, 1), (4, 1), (5, 5), (8, 5), (97, 97), (98, 97), (121, 121)]
)
def test_snap_frames(frames, snapped):
    assert snap_frames(frames) == snapped
    check_frames(snapped)


@pytest.mark.parametrize(
    ("size", "snapped"),
    [
        ((832, 480), (832, 480)),
        ((1, 1), (32, 32)),
        ((1920, 1080), (1920, 1088)),
        ((48.1, 48), (64, 32)),
        ((1280, 720), (1280, 704)),
    ],
)
def test_snap_size(size, snapped):
    assert snap_size(*size) == snapped
    check_size(*snapped)


@pytest.mark.parametrize(
    ("frames", "fix"), [(98, "use 97 or 101"), (0, "use 1 for an image, 5 or more for a clip"), (2, "use 1 or 5")]
)
def test_check_frames_offers_what_fits(frames, fix):
    with pytest.raises(ConfigError) as caught:
        check_frames(frames)
    assert caught.value.found == f"{frames} frames"
    assert caught.value.fix == fix


@pytest.mark.parametrize(("size", "fix"), [((833, 480), "832x480"), ((100, 20), "96x32"), ((-64, 64), "32x64")])
def test_check_size_offers_the_nearest(size, fix):
    with pytest.raises(ConfigError) as caught:
        check_size(*size)
    assert caught.value.fix == f"use {fix}"


def test_latent_arithmetic():
    assert [latent_frames(n) for n in (1, 5, 97, 121)] == [1, 2, 25, 31]
    assert [video_frames(n) for n in (1, 2, 25, 31)] == [1, 5, 97, 121]
    assert latent_shape(97, 480, 832) == LatentShape(25, 30, 52)
    assert latent_shape(97, 480, 832).tokens == 25 * 15 * 26


def test_cover_crop_never_falls_short_of_the_target():
    for width in range(1, 90, 7):
        for height in range(1, 90, 5):
            for target in ((32, 32), (64, 32), (33, 97), (832, 480)):
                crop = cover_crop(width, height, target_width=target[0], target_height=target[1])
                assert crop.scaled_width >= target[0]
                assert crop.scaled_height >= target[1]
                assert 0 <= crop.left <= crop.scaled_width - target[0]
                assert 0 <= crop.top <= crop.scaled_height - target[1]


def test_contain_box_is_the_largest_that_fits_in_the_middle():
    assert contain_box(200, 100, target_width=64, target_height=128) == ContainBox(64, 32, 0, 48)
    assert contain_box(100, 200, target_width=300, target_height=100) == ContainBox(50, 100, 125, 0)
    assert contain_box(1, 4000, target_width=64, target_height=64) == ContainBox(1, 64, 31, 0)


def test_cover_crop_cuts_the_longer_side():
    assert cover_crop(1920, 1080, target_width=480, target_height=480) == CoverCrop(853, 480, 186, 0)
