"""Where alternatives are told apart, and the box in which a codec gives the same pixels as of the whole picture."""

from __future__ import annotations

import torch
from torch.nn import functional

from loom_core.data.world.edits import Ask
from loom_core.data.world.render import render
from loom_core.evaluation.judge import through_codec
from loom_core.evaluation.regions import codec_box, dilate, erode, highest_within, region_of, things_mask


def test_masks_grow_and_shrink():
    mask = torch.zeros(1, 9, 9)
    mask[0, 4, 4] = 1
    assert int(dilate(mask, 2).sum()) == 25
    assert int(erode(dilate(mask, 2), 2).sum()) == 1
    assert int(erode(torch.ones(1, 9, 9), 3).sum()) == 81  # nothing is lost at the border
    assert torch.equal(dilate(mask, 0), mask.bool())


def test_the_highest_nearby_is_as_pooling_finds_it():
    values = torch.randn(2, 3, 12, 7, generator=torch.Generator().manual_seed(0))
    for pixels in (0, 1, 2, 5, 9):
        side = 2 * pixels + 1
        padded = functional.pad(values, (pixels,) * 4, value=-torch.inf)
        assert torch.equal(highest_within(values, pixels), functional.max_pool2d(padded, side, stride=1))


def test_a_thing_is_looked_at_where_any_alternative_has_it(scene):
    pictures = [render(scene, num_frames=1) for _ in range(2)]
    region = region_of(Ask("colour", 0), pictures)
    assert bool(region[0, 32, 32])
    assert not bool(region[0, 100, 100])
    assert bool((region >= (pictures[0].masks[0] > 0)).all())


def test_a_background_is_looked_at_outside_all_things(scene):
    picture = render(scene, num_frames=1)
    region = region_of(Ask("background"), [picture])
    assert not bool((region & things_mask(picture)).any())
    assert bool(region[0, 32, 100])


def test_a_style_is_looked_at_everywhere(scene):
    assert bool(region_of(Ask("style"), [render(scene, num_frames=5)]).all())


def test_in_its_box_the_codec_works_as_on_the_whole_picture(scene, codec):
    picture = render(scene, num_frames=5)
    for index in range(2):
        region = region_of(Ask("colour", index), [picture])
        rows, columns = codec_box(region)
        whole = through_codec(picture.frames[None], codec)[0]
        part = through_codec(picture.frames[None, :, rows, columns], codec)[0]
        inside = region[:, rows, columns]
        assert part.shape[1] < 128 or part.shape[2] < 128
        assert float((part[inside] - whole[:, rows, columns][inside]).abs().max()) <= 1  # a level: rounding
