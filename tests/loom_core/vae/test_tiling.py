from itertools import pairwise

import pytest
import torch

from loom_core.errors import ConfigError
from loom_core.vae.tiling import (
    SMALLEST_TILE,
    blend_ramp,
    blend_weights,
    check_tiles,
    default_overlap,
    plan_spans,
    plan_tiles,
    window,
)

PLANS = [(30, 52, 16, 4), (13, 13, 8, 4), (17, 5, 8, 0), (9, 16, 8, 3), (1, 1, 4, 1), (8, 8, 8, 2)]


@pytest.mark.parametrize(("height", "width", "size", "overlap"), PLANS)
def test_spans_reach_from_end_to_end_and_overlap_enough(height, width, size, overlap):
    for extent in (height, width):
        spans = plan_spans(extent, size=size, overlap=overlap)
        assert spans[0].start == 0
        assert spans[-1].start + spans[-1].length == extent
        assert all(span.length == min(size, extent) for span in spans)
        for left, right in pairwise(spans):
            shared = left.start + left.length - right.start
            assert overlap <= shared < size
            assert left.overlap_after == right.overlap_before == shared


@pytest.mark.parametrize(("height", "width", "size", "overlap"), PLANS)
@pytest.mark.parametrize("scale", [1, 3])
def test_weights_add_up_to_one_everywhere(height, width, size, overlap, scale):
    tiles = plan_tiles(height, width, size=size, overlap=overlap)
    total = torch.zeros(height * scale, width * scale)
    for tile, weight in zip(tiles, blend_weights(tiles, scale=scale), strict=True):
        assert weight.min() > 0
        total[window(tile, scale=scale)] += weight
    assert torch.allclose(total, torch.ones_like(total), atol=1e-6)


def test_ramp_is_linear_in_the_overlap():
    first, last = plan_spans(6, size=4, overlap=2)
    assert torch.allclose(blend_ramp(first, scale=2), torch.tensor([1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125]))
    assert torch.allclose(blend_ramp(last, scale=2), blend_ramp(first, scale=2).flip(0))


def test_no_more_tiles_than_needed():
    assert len(plan_tiles(30, 52, size=16, overlap=4)) == 3 * 4
    assert len(plan_tiles(16, 16, size=16, overlap=4)) == 1


@pytest.mark.parametrize(("size", "overlap"), [(1, 0), (3, 0), (0, 0), (-4, 0), (8, 5), (8, -1)])
def test_senseless_tiles_are_refused(size, overlap):
    with pytest.raises(ConfigError, match="overlap"):
        plan_tiles(8, 8, size=size, overlap=overlap)


def test_the_smallest_tile_still_overlaps():
    assert default_overlap(SMALLEST_TILE) == 1
    check_tiles(SMALLEST_TILE, default_overlap(SMALLEST_TILE))
    with pytest.raises(ConfigError, match=f"at least {SMALLEST_TILE} latents"):
        check_tiles(SMALLEST_TILE - 1, 0)
