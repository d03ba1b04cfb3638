"""What changed without being asked for is found, named and measured; blur, noise and what was asked are left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.data.world.edits import Ask, with_thing
from loom_core.data.world.scene import Background, Scene, Thing
from loom_core.data.world.words import COLOURS
from loom_core.evaluation.collateral import BLOCK_ERROR, PART_ERROR, find_spill, spills_of
from loom_core.evaluation.judge import judge, through_codec
from loom_core.evaluation.self_check import noisy


@pytest.fixture
def recolour(edit, scene):
    after = with_thing(scene, 0, replace(scene.things[0], colour="blue", rgb=COLOURS["blue"]))
    return edit("recolour", scene, after, Ask("colour", 0))


@pytest.fixture
def spill_of(paint, codec):
    """Finds what an output, a scene or its pictures, has beyond the right answer."""

    def find(request, wrong):
        output = paint(wrong) if not isinstance(wrong, torch.Tensor) else wrong
        seen = through_codec(torch.stack([output, paint(request.after)]), codec)
        return find_spill(request, request.after, seen[0].round().to(torch.uint8), expected=seen[1])

    return find


def test_the_right_answer_has_none_not_even_with_noise(recolour, paint, codec):
    truth = paint(recolour.after)
    expected = through_codec(truth[None], codec)[0]
    for seed in range(5):
        output = noisy(truth, codec, seed=seed)
        assert find_spill(recolour, recolour.after, output, expected=expected) is None
        errors = [spill.error for spill in spills_of(recolour, recolour.after, output, expected=expected)]
        assert max(errors) > 5  # the noise is no little one


def test_what_was_asked_about_is_left_to_its_own_verdict(recolour, spill_of):
    assert spill_of(recolour, recolour.before) is None


def test_a_thing_more_is_found_where_it_is(recolour, spill_of):
    wrong = replace(
        recolour.after, things=(*recolour.after.things, Thing("star", "white", (242, 242, 242), place="left"))
    )
    found = spill_of(recolour, wrong)
    assert found.error > 2 * found.limit
    rows, columns = (part.split()[1::2] for part in found.where.split(", ")[1:])
    assert 30 <= int(rows[0]) <= int(rows[1]) <= 100
    assert 0 <= int(columns[0]) <= int(columns[1]) <= 64


def test_a_background_or_thing_of_another_colour_is_named(recolour, spill_of):
    """A little too bright: no block stands out, the whole does."""
    off = tuple(value + 16 for value in recolour.after.background.rgb)
    found = spill_of(recolour, replace(recolour.after, background=Background("grey", off)))
    assert (found.where, found.limit) == ("the background", PART_ERROR)
    assert found.error == pytest.approx(16, abs=2)
    ring = replace(recolour.after.things[1], rgb=(225, 40, 40))
    assert spill_of(recolour, with_thing(recolour.after, 1, ring)).where == "the ring"


@pytest.mark.parametrize("offset", [(8.0, 0.0), (-8.0, 0.0), (0.0, 8.0), (0.0, -8.0)])
def test_a_moved_thing_is_found_and_a_hair_is_no_move(recolour, spill_of, offset):
    def moved(share):
        place = (share * offset[0], share * offset[1])
        return spill_of(recolour, with_thing(recolour.after, 1, replace(recolour.after.things[1], offset=place)))

    assert moved(0.125) is None
    assert moved(1.0) is not None


def test_a_thing_that_hardly_shows_cannot_be_seen_to_move(edit, scene, spill_of):
    pale = with_thing(scene, 1, replace(scene.things[1], rgb=(128, 128, 128)))
    request = edit("recolour", pale, pale, Ask("colour", 0))
    assert spill_of(request, with_thing(pale, 1, replace(pale.things[1], offset=(8.0, 0.0)))) is None


def test_on_a_new_background_its_tone_is_free_but_a_thing_more_is_not(edit, scene, spill_of):
    after = replace(scene, background=Background("navy", (28, 34, 92)))
    request = edit("background", scene, after, Ask("background"))
    assert spill_of(request, replace(after, background=Background("navy", (60, 66, 124)))) is None
    star = Thing("star", "white", (242, 242, 242), place="bottom left")
    assert spill_of(request, replace(after, things=(*after.things, star))) is not None


def test_words_say_the_size(edit, square, paint, codec):
    """What is generated may lie a little aside, but not be of the other size."""
    scene = Scene((square,), Background("grey", (125, 125, 125)))
    request = edit("generate", None, scene, Ask("colour", 0), Ask("shape", 0), task="text-to-video")
    for size, offset, is_right in (("large", (3.0, -5.0), True), ("small", (0.0, 0.0), False)):
        seen = with_thing(scene, 0, replace(square, size=size, offset=offset))
        verdict = judge(request, through_codec(paint(seen)[None], codec)[0].to(torch.uint8), codec=codec)
        assert verdict.is_asked_right
        assert verdict.is_right == is_right
        assert (None if is_right else "the size of the square") == (verdict.spilled and verdict.spilled.where)


def test_a_single_wrong_block_is_enough(recolour, paint, spill_of):
    output = paint(recolour.after)
    output[3, 64:80, 16:32] = 255
    found = spill_of(recolour, output)
    assert found.error > BLOCK_ERROR
    assert "rows 6" in found.where or "rows 5" in found.where
