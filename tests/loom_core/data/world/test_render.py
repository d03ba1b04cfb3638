"""Pictures show what the scene says, at its place, in its colour, moving as it should; masks say where."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from loom_core.data.world import render as module
from loom_core.data.world.render import pictures, progress, render, silhouette, swatch, texture_sample, travel
from loom_core.data.world.scene import Background, Scene, Thing

THING = Thing("square", "red", (225, 40, 40), place="middle")
SCENE = Scene((THING,), Background("navy", (28, 34, 92)))


def with_(**changes):
    return replace(SCENE, things=(replace(THING, **changes),))


def centre(mask):
    """(x, y) of the middle of a mask [height, width]."""
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in mask.shape), indexing="ij")
    return float((x * mask).sum() / mask.sum()), float((y * mask).sum() / mask.sum())


def test_colours_are_exact_inside_and_outside():
    picture = render(SCENE, num_frames=1)
    assert picture.frames[0, 64, 64].tolist() == [225, 40, 40]
    assert picture.frames[0, 5, 5].tolist() == [28, 34, 92]
    assert (picture.frames.shape, picture.frames.dtype) == ((1, 128, 128, 3), torch.uint8)


def test_the_mask_is_where_the_thing_is():
    picture = render(SCENE, num_frames=1)
    changed = (picture.frames[0] != picture.frames[0, 0, 0]).any(-1)
    assert torch.equal(picture.masks[0, 0] > 0.01, changed)
    assert centre(picture.masks[0, 0]) == pytest.approx((64, 64), abs=0.1)


def test_those_in_front_cover_those_behind():
    front = replace(THING, shape="circle", rgb=(40, 165, 60), offset=(10.0, 0.0))
    picture = render(replace(SCENE, things=(THING, front)), num_frames=1)
    assert picture.frames[0, 64, 70].tolist() == [40, 165, 60]
    assert float(picture.masks[:, 0].sum(0).max()) == pytest.approx(1)
    assert float(picture.masks[0, 0, 64, 70]) == 0


@pytest.mark.parametrize(
    ("motion", "way"),
    [("moves left", (-20, 0)), ("moves right", (20, 0)), ("moves up", (0, -20)), ("moves down", (0, 20))],
)
def test_motion_goes_its_way_about_the_place(motion, way):
    masks = render(with_(motion=motion), num_frames=9).masks[0]
    first, middle, last = (centre(masks[index]) for index in (0, 4, 8))
    assert (last[0] - first[0], last[1] - first[1]) == pytest.approx(way, abs=0.2)
    assert middle == pytest.approx((64, 64), abs=0.2)


def test_things_grow_and_shrink():
    for motion, sign in (("grows", 1), ("shrinks", -1)):
        areas = render(with_(motion=motion), num_frames=9).masks[0].sum(dim=(1, 2))
        assert bool((areas.diff() * sign > 0).all())


def test_spinning_turns_about_the_middle():
    masks = render(with_(motion="spins"), num_frames=9).masks[0]
    assert centre(masks[0]) == pytest.approx(centre(masks[8]), abs=0.2)
    assert float((masks[0] - masks[8]).abs().sum()) > 50


def test_cameras_move_everything():
    striped = replace(with_(), background=replace(SCENE.background, pattern="striped"))
    pan = render(replace(striped, camera="pans right"), num_frames=9)
    assert centre(pan.masks[0, 0])[0] - centre(pan.masks[0, 8])[0] == pytest.approx(module.PAN, abs=0.3)
    zoom = render(replace(striped, camera="zooms in"), num_frames=9).masks[0].sum(dim=(1, 2))
    assert float(zoom[8] / zoom[0]) == pytest.approx(math.exp(2 * module.ZOOM), rel=0.03)
    still = render(striped, num_frames=9).frames
    assert not torch.equal(pan.frames[0, :10], still[0, :10])  # the background moves too
    assert torch.equal(pan.frames[4], still[4])


def test_a_still_is_the_middle_of_its_clip():
    for scene in (with_(motion="moves left"), with_(motion="grows"), replace(SCENE, camera="zooms in")):
        assert torch.equal(render(scene, num_frames=1).frames[0], render(scene, num_frames=5).frames[2])


def test_frames_alone_are_the_same():
    scene = replace(with_(motion="moves left"), camera="pans left", style="warm")
    for num_frames in (1, 5):
        assert torch.equal(
            pictures(scene, num_frames=num_frames, width=96), render(scene, num_frames=num_frames, width=96).frames
        )


def test_what_was_drawn_before_leaves_no_trace():
    """Parts that pictures have in common are kept; none is painted on."""
    first = render(SCENE, num_frames=5)
    render(replace(with_(rgb=(1, 2, 3)), style="negative"), num_frames=5)
    again = render(SCENE, num_frames=5)
    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.masks, again.masks)


def test_progress_and_travel():
    assert progress(5) == [-0.5, -0.25, 0.0, 0.25, 0.5]
    assert (progress(1), travel(1)) == ([0.0], 0.0)
    assert travel(9) == module.TRAVEL
    assert travel(33) == pytest.approx(2 * module.TRAVEL)


def test_styles():
    plain = render(SCENE, num_frames=1).frames.int()

    def styled(name):
        return render(replace(SCENE, style=name), num_frames=1).frames.int()

    grey = styled("black and white")
    assert bool((grey.amax(-1) == grey.amin(-1)).all())
    assert int((styled("negative") + plain - 255).abs().max()) <= 1
    assert int((styled("dark") - 0.45 * plain).abs().max()) <= 1
    assert bool((styled("warm")[..., 0] >= plain[..., 0]).all())
    assert bool((styled("cold")[..., 2] >= plain[..., 2]).all())
    assert not torch.equal(styled("warm"), styled("cold"))


def test_sizes_scale_with_the_picture():
    small, large = (render(SCENE, num_frames=1, width=side, height=side).masks[0, 0] for side in (64, 128))
    assert float(large.mean()) == pytest.approx(float(small.mean()), rel=0.02)


def test_a_thing_may_reach_over_the_border():
    frames = render(with_(place="top left", offset=(-40.0, -40.0)), num_frames=1).frames
    assert frames[0, 0, 0].tolist() == [225, 40, 40]
    assert render(with_(offset=(-200.0, 0.0)), num_frames=1).masks.sum() == 0


def test_pictures_of_references():
    assert bool((swatch((1, 2, 3)) == torch.tensor([1, 2, 3])).all())
    texture = texture_sample("striped")
    assert bool((texture[..., 0] == texture[..., 2]).all())
    assert int(texture.max()) - int(texture.min()) > 80
    shape = silhouette("ring")
    assert shape[0, 64, 64].tolist() == [30, 30, 30]
    assert shape[0, 64, 64 + 30].tolist() == [245, 245, 245]
    assert {picture.shape for picture in (texture, shape)} == {(1, 128, 128, 3)}
