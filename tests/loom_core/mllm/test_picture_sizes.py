import pytest

from loom_core.errors import ConfigError
from loom_core.mllm.picture_sizes import IMAGE_SETTINGS, VIDEO_SETTINGS, VisionSettings, smart_resize

SMALL = VisionSettings(min_pixels=1024, max_pixels=9216)


def test_sizes_of_whole_tokens_stay():
    assert smart_resize(480, 832, settings=IMAGE_SETTINGS) == (480, 832)
    assert smart_resize(704, 1280, settings=VIDEO_SETTINGS, num_frames=4) == (704, 1280)


def test_small_pictures_grow_and_large_ones_shrink():
    assert smart_resize(64, 64, settings=IMAGE_SETTINGS) == (256, 256)
    assert smart_resize(10, 10, settings=SMALL) == (32, 32)
    height, width = smart_resize(1000, 500, settings=SMALL)
    assert height * width <= SMALL.max_pixels
    assert (height, width) == (128, 64)


def test_frames_share_the_limit():
    one = smart_resize(96, 96, settings=SMALL, num_frames=2)
    assert one[0] * one[1] * 2 <= SMALL.max_pixels


def test_sides_never_vanish():
    assert min(smart_resize(32, 3200, settings=SMALL)) == 32


def test_a_ribbon_is_refused():
    with pytest.raises(ConfigError, match="6432x32"):
        smart_resize(32, 6432, settings=SMALL)
