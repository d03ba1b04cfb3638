"""The judge: right answers are right, wrong ones and mush are wrong, whatever the codec does to all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.data.world.edits import Ask, with_thing
from loom_core.data.world.scene import Background, Thing
from loom_core.data.world.words import COLOURS, SHAPES
from loom_core.evaluation.judge import KEPT_PSNR, judge, through_codec


@pytest.fixture
def blurred(codec, paint):
    """Paints a scene and passes it through the codec, as a result would have been."""
    return lambda scene: through_codec(paint(scene)[None], codec)[0].to(torch.uint8)


@pytest.fixture
def recolour(edit, scene):
    after = with_thing(scene, 0, replace(scene.things[0], colour="blue", rgb=COLOURS["blue"]))
    return edit("recolour", scene, after, Ask("colour", 0))


def test_only_the_right_colour_is_right(recolour, blurred, codec):
    for colour, rgb in COLOURS.items():
        seen = with_thing(recolour.after, 0, replace(recolour.after.things[0], colour=colour, rgb=rgb))
        verdict = judge(recolour, blurred(seen), codec=codec)
        assert verdict.is_right == (colour == "blue")
        assert verdict.asks[0].seen == colour


def test_only_the_right_shape_is_right(edit, scene, blurred, codec):
    after = with_thing(scene, 0, replace(scene.things[0], shape="star"))
    request = edit("reshape", scene, after, Ask("shape", 0))
    for shape in SHAPES:
        verdict = judge(request, blurred(with_thing(after, 0, replace(after.things[0], shape=shape))), codec=codec)
        assert (verdict.is_right, verdict.asks[0].seen) == (shape == "star", shape)


def test_half_way_is_not_there(recolour, blurred, codec):
    """Nearer to the truth than to the source, but far from both."""
    before, after = blurred(recolour.before).float(), blurred(recolour.after).float()
    close, far = ((share * after + (1 - share) * before).to(torch.uint8) for share in (0.9, 0.3))
    assert judge(recolour, close, codec=codec).is_right
    assert not judge(recolour, far, codec=codec).is_right


def test_an_edit_must_not_take_other_things_along(recolour, blurred, codec):
    alone = replace(recolour.after, things=recolour.after.things[:1])
    verdict = judge(recolour, blurred(alone), codec=codec)
    assert verdict.asks[0].is_right
    assert (verdict.changed, verdict.is_right) == (("the ring: nothing",), False)


@pytest.mark.parametrize(
    ("index", "changes", "told"),
    [
        (0, {"shape": "circle"}, "the square: circle"),  # the recoloured one
        (0, {"size": "small"}, "the square: small"),
        (1, {"shape": "circle"}, "the ring: circle"),
        (1, {"texture": "checkered"}, "the ring: checkered"),
        (1, {"motion": "moves down"}, "the ring: unclear"),  # twice, each time for half of the clip
    ],
)
def test_what_nothing_was_asked_of_keeps_its_look(recolour, blurred, codec, index, changes, told):
    assert judge(recolour, blurred(recolour.after), codec=codec).is_right
    wrong = with_thing(recolour.after, index, replace(recolour.after.things[index], **changes))
    verdict = judge(recolour, blurred(wrong), codec=codec)
    assert verdict.changed == (told,)
    assert not verdict.is_right


def test_a_background_that_nothing_was_asked_of_keeps_its_pattern(recolour, blurred, codec):
    wrong = replace(recolour.after, background=replace(recolour.after.background, pattern="striped"))
    verdict = judge(recolour, blurred(wrong), codec=codec)
    assert verdict.changed == ("the background: striped grey",)
    assert not verdict.is_right


def test_nothing_but_grey_removes_nothing(edit, scene, blurred, codec):
    request = edit("remove", scene, replace(scene, things=scene.things[1:]), Ask("absence", 0))
    grey = torch.full((5, 128, 128, 3), 125, dtype=torch.uint8)
    assert judge(request, blurred(request.after), codec=codec).is_right
    assert not judge(request, blurred(scene), codec=codec).is_right
    assert not judge(request, grey, codec=codec).is_right


def test_backgrounds_that_look_the_same_are_no_rivals(edit, scene, blurred, codec):
    black = Background("black", (24, 24, 24))
    request = edit("background", scene, replace(scene, background=black), Ask("background"))
    striped = replace(scene, background=replace(black, pattern="striped"))
    assert judge(request, blurred(striped), codec=codec).is_right
    assert not judge(request, blurred(scene), codec=codec).is_right


@pytest.mark.parametrize(
    ("attribute", "right", "wrong"),
    [("motion", "moves down", "moves up"), ("camera", "pans left", "pans right"), ("style", "warm", "cold")],
)
def test_motion_camera_and_style(edit, scene, blurred, codec, attribute, right, wrong):
    def changed(value):
        if attribute != "motion":
            return replace(scene, **{attribute: value})
        return with_thing(scene, 1, replace(scene.things[1], motion=value))

    request = edit(attribute, scene, changed(right), Ask(attribute, 1 if attribute == "motion" else None))
    assert judge(request, blurred(changed(right)), codec=codec).is_right
    verdict = judge(request, blurred(changed(wrong)), codec=codec)
    assert (verdict.is_right, verdict.asks[0].seen) == (False, wrong)


def test_keeping_everything_is_told_by_decibels(edit, scene, paint):
    request = edit("keep", scene, scene)
    limit = 255 / 10 ** (KEPT_PSNR / 20)
    signs = 1 - 2 * (torch.arange(128)[:, None] + torch.arange(128)).remainder(2).float()  # as many up as down
    for error, is_right in ((limit - 1, True), (limit + 1, False)):
        off = paint(scene).float().clamp(20, 235) + error * signs[..., None]
        assert judge(request, off.round().to(torch.uint8), codec=None).is_asked_right == is_right


def test_what_was_asked_may_be_right_and_the_whole_not(recolour, blurred, codec):
    star = Thing("star", "white", COLOURS["white"], place="bottom left")
    verdict = judge(recolour, blurred(replace(recolour.after, things=(*recolour.after.things, star))), codec=codec)
    assert (verdict.is_asked_right, verdict.changed, verdict.is_right) == (True, (), False)
    assert verdict.spilled is not None


def test_a_new_picture_may_have_all_its_things_elsewhere_but_not_one_of_them(edit, scene, square, ring, blurred, codec):
    pair = replace(scene, things=(square, replace(ring, place="middle")))
    asks = [Ask(attribute, index) for index in (0, 1) for attribute in ("colour", "shape")]
    request = edit("generate", None, pair, *asks, Ask("background"), task="text-to-video")

    def at(*places):
        return replace(pair, things=tuple(replace(t, place=p) for t, p in zip(pair.things, places, strict=True)))

    for places, is_right in ((("top left", "middle"), True), (("middle", "bottom right"), True),
                             (("top left", "bottom"), False), (("middle", "top left"), False),
                             (("middle", "bottom left"), False)):  # fmt: skip
        assert judge(request, blurred(at(*places)), codec=codec).is_right == is_right, places
    given = replace(request, before=pair)
    assert not judge(given, blurred(at("middle", "bottom right")), codec=codec).is_right


def test_what_no_frame_shows_is_not_judged(edit, scene, paint):
    """A thing wholly behind another."""
    hidden = replace(scene.things[0], size="small")
    cover = replace(scene.things[1], shape="square", place=hidden.place, motion="stays still")
    behind = replace(scene, things=(hidden, cover))
    verdict = judge(edit("recolour", behind, behind, Ask("colour", 0)), paint(behind), codec=None)
    assert (verdict.asks, verdict.is_right) == ((), False)


def test_a_brief_look_tells_right_from_wrong_as_a_whole_one_does(recolour, blurred, codec):
    after, things = recolour.after, recolour.after.things
    scenes = {
        "right": after,
        "not as asked": recolour.before,
        "a thing less": replace(after, things=things[:1]),
        "another background": replace(after, background=replace(after.background, rgb=(120, 60, 20))),
    }
    for name, scene in scenes.items():
        whole, brief = (judge(recolour, blurred(scene), codec=codec, is_brief=is_brief) for is_brief in (False, True))
        assert (brief.is_right, brief.asks, brief.error) == (whole.is_right, whole.asks, whole.error), name
        assert whole.is_right == (name == "right"), name
        assert brief.changed in ((), whole.changed), name
