"""Which slot is which reference, and where in time, without ComfyUI."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="module")
def slots(stand_in):
    return stand_in("nodes.adapter.media.reference_slots")


@pytest.fixture(scope="module")
def errors(stand_in):
    return stand_in("loom_core.errors")


def image(value=0.5, frames=1, height=40, width=50):
    return torch.full((frames, height, width, 3), value)


def test_order_is_that_of_the_numbers(slots):
    given = {f"image_{number}": image(number / 20) for number in (10, 2, 1, 3, 4, 5, 6, 7, 8, 9)}
    assert [round(float(one.mean()) * 20) for one in slots.connected_images(given)] == list(range(1, 11))


@pytest.mark.parametrize(
    ("filled", "says"),
    [
        ((1, 3), "image_2 empty with image_3 connected"),
        ((2,), "image_1 empty with image_2 connected"),
        ((2, 4), "image_1, image_3 empty with image_4 connected"),
        ((), "no reference"),
    ],
)
def test_gaps_are_one_sentence(slots, errors, filled, says):
    with pytest.raises(errors.ConfigError, match=says):
        slots.connected_images({f"image_{number}": image() for number in filled})


def test_frames_of_a_slot_are_one_reference_each_or_one_together(slots):
    given = [image(frames=7), image()]
    each = slots.reference_pictures(given, size=(64, 32), fit="cover", is_one_a_frame=True)
    assert [tuple(one.frames.shape) for one in each] == [(1, 32, 64, 3)] * 8
    together = slots.reference_pictures(given, size=(64, 32), fit="cover", is_one_a_frame=False)
    assert [len(one.frames) for one in together] == [5, 1]
    assert [one.notice for one in together] == ["image_1: the first 5 of 7 frames (4k + 1)", ""]


def test_sizes(slots, errors):
    (own,) = slots.reference_pictures([image()], size=(1, 1), fit="native size", is_one_a_frame=True)
    assert own.frames.shape[1:3] == (32, 64)
    (barred,) = slots.reference_pictures([image()], size=(96, 32), fit="contain", is_one_a_frame=True)
    assert not barred.frames[:, :, :24].any() and barred.frames[:, :, 40:56].all()
    with pytest.raises(errors.ConfigError, match="size 50x40"):
        slots.reference_pictures([image()], size=(50, 40), fit="cover", is_one_a_frame=True)
    with pytest.raises(errors.ConfigError, match="fit 'squeeze'"):
        slots.reference_pictures([image()], size=(64, 32), fit="squeeze", is_one_a_frame=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", (-10, -20)), ("  ", (-10, -20)), ("-5,-6", (-5, -6)), (" -30 ; -1 ", (-30, -1))],
)
def test_temporal_indices(slots, text, expected):
    assert slots.parse_indices(text, 2) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-10, x", "temporal index 'x'"),
        ("-10, -2.5", r"temporal index '-2\.5'"),
        ("-10,,", "temporal index ''"),
        ("-10", "1 temporal indices; expected 2, one for each reference"),
        ("-10, 0", "temporal index 0; expected numbers below 0"),
        ("-10, -10", "temporal index -10 twice"),
    ],
)
def test_temporal_indices_that_make_no_sense(slots, errors, text, says):
    with pytest.raises(errors.ConfigError, match=says):
        slots.parse_indices(text, 2)
