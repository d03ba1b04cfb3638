from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from loom_core.media.color import RGBConverter

av = pytest.importorskip("av", reason="PyAV makes the frames of these tests")

COLOUR = np.array([200, 30, 60])
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593), 2: (0.299, 0.114)}
"""Kr and Kb by ITU-T H.273 matrix number; 2 is unstated and read as BT.601."""


def frame_of(matrix: int, *, full_range: bool, depth: int = 8):
    """A frame of COLOUR, converted by the equations of H.273 instead of by FFmpeg."""
    red, green, blue = COLOUR / 255
    kr, kb = WEIGHTS[matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    levels = [luma * 255, *(255 * c + 128 for c in chroma)] if full_range else [
        16 + 219 * luma, *(128 + 224 * c for c in chroma)
    ]  # fmt: skip
    frame = av.VideoFrame(64, 48, "yuv420p" if depth == 8 else "yuv420p10le")
    for plane, level in zip(frame.planes, levels, strict=True):
        kind = np.uint8 if depth == 8 else np.uint16
        plane.update(np.full(plane.buffer_size // kind().itemsize, round(level * 2 ** (depth - 8)), kind).tobytes())
    frame.colorspace = matrix
    frame.color_range = 2 if full_range else 1
    frame.time_base = Fraction(1, 24)
    return frame


@pytest.fixture(autouse=True)
def _settable_tags():
    if not hasattr(av.VideoFrame, "colorspace"):
        pytest.skip("this PyAV cannot tag a frame")


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", sorted(WEIGHTS))
def test_the_stated_matrix_and_range_are_used(matrix, full_range, depth):
    pixels = RGBConverter()(frame_of(matrix, full_range=full_range, depth=depth))
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels[20, 20].astype(int) - COLOUR).max() <= 3


def test_a_stream_that_changes_its_size_keeps_the_first():
    convert = RGBConverter()
    assert convert(frame_of(1, full_range=False)).shape == (48, 64, 3)
    other = av.VideoFrame.from_ndarray(np.full((30, 40, 3), 90, np.uint8), format="rgb24")
    other.time_base = Fraction(1, 24)
    assert convert(other).shape == (48, 64, 3)
    assert convert(frame_of(1, full_range=False)).shape == (48, 64, 3)
