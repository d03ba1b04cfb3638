"""ComfyUI's IMAGE as frames of one kind."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def pictures(part):
    return part("nodes.adapter.media.pictures")


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.zeros(0, 8, 8, 3), "the source without a single frame"),
        (torch.zeros(1, 0, 8, 3), "the source without a single pixel"),
        (torch.zeros(8, 8, 3), r"the source of shape \[8, 8, 3\]"),
        (torch.zeros(1, 8, 8, 2), r"of shape \[1, 8, 8, 2\]"),
        ({"samples": 1}, "the source of type dict"),
    ],
)
def test_what_is_no_image_is_refused(pictures, errors, images, says):
    with pytest.raises(errors.MediaError, match=says):
        pictures.check_images(images, what="the source")


def test_grey_is_grey_and_transparency_lies_over_white(pictures):
    grey = pictures.rgb_frame(torch.full((2, 2, 1), 0.25), what="it")
    assert torch.equal(grey, torch.full((2, 2, 3), 0.25))
    clear = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.5], [1.0, 0.0, 0.0, 1.0]]])
    seen = pictures.rgb_frame(clear, what="it")
    torch.testing.assert_close(seen, torch.tensor([[[1.0, 1.0, 1.0], [1.0, 0.5, 0.5], [1.0, 0.0, 0.0]]]))


def test_half_precision_becomes_float_and_beyond_the_range_is_cut(pictures):
    frame = pictures.rgb_frame(torch.tensor([[[-0.5, 0.5, 7.0]]], dtype=torch.float16), what="it")
    assert torch.equal(frame, torch.tensor([[[0.0, 0.5, 1.0]]]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(pictures, errors, value):
    with pytest.raises(errors.MediaError, match="the source with values that are not numbers"):
        pictures.rgb_frame(torch.full((2, 2, 3), value), what="the source")


def test_frames_of_the_right_size_stay_as_they_are(pictures, picture):
    images = picture(3, 64, 96)
    assert torch.equal(pictures.fitted_frames(images, [2, 0], size=(96, 64), fit="cover", what="it"), images[[2, 0]])


@pytest.mark.parametrize("fit", ["cover", "contain"])
def test_frames_are_resized_as_files_are(pictures, part, picture, fit):
    images, told = picture(3, 100, 90), []
    made = pictures.fitted_frames(
        images, [0, 0, 2], size=(64, 96), fit=fit, what="it", on_frame=lambda *counts: told.append(counts)
    )
    levels = (images[[0, 0, 2]] * 255).round().to(torch.uint8)
    expected = part("loom_core.media.resize").resize_and_crop(levels, width=64, height=96, fit=fit)
    assert torch.equal(made, expected.float() / 255)
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((500, 300), (512, 288)), ((10, 10), (32, 32)), ((4000, 3000), (1120, 832)), ((1, 5000), (32, 4992))],
)
def test_native_size(pictures, size, expected):
    assert pictures.native_size(*size, max_pixels=960 * 960) == expected


def test_frames_in_rgb_are_made_as_they_are_gone_through(pictures, picture):
    frames = pictures.RGBFrames(picture(2, channels=1), "it")
    assert len(frames) == 2
    assert [frame.shape for frame in frames] == [(64, 96, 3)] * 2
    assert len(list(frames)) == 2
