"""Sizes and starts."""

from __future__ import annotations

import pytest

from loom_core.config.data import DataConfig, DataSetConfig
from loom_core.data.framing import Framing


def test_trained_sizes_of_the_nearest_area():
    framing = Framing(buckets=(256, 640))
    assert framing.size_of(1920, 1080, is_image=False) == (832, 480)
    assert framing.size_of(300, 200, is_image=True) == (320, 224)
    assert Framing(buckets=(256,)).size_of(1920, 1080, is_image=False) == (352, 192)


def test_stills_and_clips_have_tables_of_their_own():
    framing = Framing(buckets=(960,))
    assert framing.size_of(1364, 1000, is_image=False) == (960, 704)
    assert framing.size_of(1364, 1000, is_image=True) == (1152, 800)


def test_own_sizes_by_aspect_then_area():
    framing = Framing(sizes=((128, 128), (256, 256), (192, 128)))
    assert framing.size_of(140, 130, is_image=True) == (128, 128)
    assert framing.size_of(300, 310, is_image=True) == (256, 256)
    assert framing.size_of(600, 400, is_image=True) == (192, 128)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((31, 31), r"31x31 would be enlarged 4.1 times to 128x128 of data\.sizes; data\.max_enlarge allows 4$"),
        ((600, 200), r"would lose 67% of its area to become 128x128 of data\.sizes; data\.max_cropped allows 60%$"),
    ],
)
def test_what_fits_nothing_is_told_with_the_setting_and_its_limit(size, reason):
    with pytest.raises(ValueError, match=reason):
        Framing(sizes=((128, 128),)).size_of(*size, is_image=True)
    with pytest.raises(ValueError, match=r"to 256x256 of data\.buckets; data\.max_enlarge allows 4\.5"):
        Framing(buckets=(256,), max_enlarge=4.5).size_of(50, 50, is_image=True)


def test_the_limits_can_be_moved():
    framing = Framing(sizes=((128, 128),), max_enlarge=5.0, max_cropped=0.7)
    assert framing.size_of(31, 31, is_image=True) == framing.size_of(600, 200, is_image=True) == (128, 128)


def test_starts_leave_the_clip_its_length():
    framing = Framing(sizes=((64, 64),), num_frames=9)
    starts = {framing.start_at(share / 100, 12 / 24) for share in range(100)}
    assert starts == {0.0, 1 / 24, 2 / 24, 3 / 24}
    assert framing.start_at(0.999, 12 / 24 - 1e-6) == 3 / 24  # a length that was rounded down


def test_a_short_clip_begins_at_its_start():
    framing = Framing(sizes=((64, 64),), num_frames=9)
    assert framing.start_at(0.99, 9 / 24) == framing.start_at(0.99, 0.1) == 0.0


def test_from_settings():
    config = DataConfig(
        sets=(DataSetConfig(kind="world"),), sizes=((64, 64),), num_frames=9, fps=12.0, reference_size="own"
    )
    assert Framing.of(config) == Framing(sizes=((64, 64),), num_frames=9, fps=12.0, reference_size="own")
