"""Drawn pictures as the host's IMAGE."""

from __future__ import annotations

import pytest
import torch
from PIL import Image


@pytest.fixture
def pictures(stand_in):
    return stand_in("nodes.adapter.training.pictures")


def test_as_the_host_has_pictures(pictures):
    image = pictures.as_images(Image.new("RGBA", (3, 2), (255, 0, 51, 255)))
    assert image.shape == (1, 2, 3, 3)
    assert image.dtype == torch.float32
    assert torch.allclose(image[0, 0, 0], torch.tensor([1.0, 0.0, 0.2]))


def test_one_below_the_other(pictures):
    upper, lower = Image.new("RGB", (4, 2), (1, 2, 3)), Image.new("RGB", (2, 3), (4, 5, 6))
    sheet = pictures.stacked(upper, lower)
    assert sheet.size == (4, 5)
    assert sheet.getpixel((3, 1)) == (1, 2, 3)
    assert sheet.getpixel((1, 4)) == (4, 5, 6)
    assert sheet.getpixel((3, 4)) == (255, 255, 255)
    assert pictures.stacked(upper, None) is upper
