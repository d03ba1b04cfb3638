from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from loom_core.data.sample import Sample
from loom_core.data.tasks import training_task
from loom_core.errors import MediaError
from loom_core.training.watch.grid import (
    GAP,
    GROUP_GAP,
    HEADER,
    MARGIN,
    SampleGrids,
    row_of,
    sample_grid,
    shown_indices,
    wrapped,
)
from loom_core.training.watch.observer import SampleRow
from loom_core.types import Clip

RED, GREEN, BLUE, YELLOW = (200, 10, 20), (10, 180, 30), (30, 40, 210), (230, 220, 20)
SIDE = 100  # between the smallest and the largest: shown as it is


def pictures(colour, *, frames=1, height=SIDE, width=SIDE):
    return torch.tensor(colour, dtype=torch.uint8).expand(frames, height, width, 3).clone()


def colours(picture):
    return {colour for _, colour in picture.getcolors(maxcolors=picture.width * picture.height)}


def extent(picture, colour):
    """(left, top, right, bottom) of what has a colour."""
    mask = (np.asarray(picture) == colour).all(axis=-1)
    return Image.fromarray(mask.astype(np.uint8)).getbbox()


def test_columns_stand_in_order_and_captions_below():
    row = SampleRow(
        caption="edit",
        result=pictures(GREEN),
        source=pictures(RED),
        references=(pictures(BLUE),),
        truth=pictures(YELLOW),
    )
    sheet = sample_grid([row])
    lefts = [extent(sheet, colour)[0] for colour in (RED, BLUE, GREEN, YELLOW)]
    assert lefts == [MARGIN + index * (SIDE + GROUP_GAP) for index in range(4)]
    for colour in (RED, BLUE, GREEN, YELLOW):
        left, top, right, bottom = extent(sheet, colour)
        assert (right - left, top, bottom) == (SIDE, HEADER, HEADER + SIDE)
    below = sheet.crop((0, HEADER + SIDE, sheet.width, HEADER + SIDE + 25))
    above = sheet.crop((0, 0, sheet.width, HEADER))
    assert min(below.convert("L").getextrema()) < 120
    assert min(above.convert("L").getextrema()) < 200


def test_columns_that_no_sample_has_are_left_out_and_others_stay_aligned():
    only = sample_grid([SampleRow(caption="", result=pictures(GREEN))])
    assert extent(only, GREEN)[0] == MARGIN
    mixed = sample_grid(
        [
            SampleRow(caption="", result=pictures(GREEN), source=pictures(RED)),
            SampleRow(caption="", result=pictures(BLUE)),
        ]
    )
    assert extent(mixed, GREEN)[0] == extent(mixed, BLUE)[0] == MARGIN + SIDE + GROUP_GAP
    assert extent(mixed, BLUE)[1] > extent(mixed, GREEN)[3]


def test_of_a_clip_three_frames_are_shown():
    clip = pictures((0, 0, 0), frames=9)
    for index, colour in ((0, RED), (4, GREEN), (8, BLUE)):
        clip[index] = torch.tensor(colour, dtype=torch.uint8)
    sheet = sample_grid([SampleRow(caption="", result=clip)])
    assert [extent(sheet, colour)[0] for colour in (RED, GREEN, BLUE)] == [
        MARGIN + index * (SIDE + GAP) for index in range(3)
    ]
    assert (0, 0, 0) not in colours(sheet)


@pytest.mark.parametrize(
    ("frames", "shown"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (5, [0, 2, 4]), (121, [0, 60, 120])]
)
def test_the_frames_shown(frames, shown):
    assert shown_indices(frames) == shown


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_reference_is_seen_in_reading_order(count):
    inks = [(250 - 40 * index, 20 + 30 * index, 5 * index) for index in range(count)]
    row = SampleRow(caption="", result=pictures((128, 128, 128)), references=tuple(pictures(ink) for ink in inks))
    sheet = sample_grid([row])
    boxes = [extent(sheet, ink) for ink in inks]
    assert None not in boxes
    places = [(box[1], box[0]) for box in boxes]
    assert places == sorted(places)
    assert len({(box[2] - box[0], box[3] - box[1]) for box in boxes}) == 1


def test_large_pictures_are_brought_down_and_tiny_ones_up_with_their_aspect():
    sheet = sample_grid(
        [
            SampleRow(caption="", result=pictures(RED, height=480, width=832)),
            SampleRow(caption="", result=pictures(GREEN, height=832, width=416)),
            SampleRow(caption="", result=pictures(BLUE, height=32, width=16)),
        ]
    )
    sizes = [(box[2] - box[0], box[3] - box[1]) for box in (extent(sheet, colour) for colour in (RED, GREEN, BLUE))]
    assert sizes == [(160, 92), (80, 160), (48, 96)]


def test_long_captions_are_wrapped_inside_the_picture():
    long, row = "paint the circle " * 40, SampleRow(caption="short", result=pictures(GREEN))
    short_sheet = sample_grid([row])
    sheet = sample_grid([SampleRow(caption=long, result=pictures(GREEN))])
    assert sheet.width == short_sheet.width
    assert sheet.height > short_sheet.height + 5 * 18
    edge = sheet.crop((sheet.width - MARGIN, 0, sheet.width, sheet.height))
    assert colours(edge) == {(255, 255, 255)}


@pytest.mark.parametrize(
    "text", ["one two three four five six seven", "a" * 200, "", "  spaces \n and lines ", "短い" * 60]
)
def test_wrapped_lines_fit_and_lose_nothing(text):
    font = ImageFont.load_default(14)
    lines = wrapped(text, font=font, width=120)
    assert all(font.getlength(line) <= 120 for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@pytest.mark.parametrize(
    "bad",
    [torch.zeros(1, 8, 8, 3), torch.zeros(8, 8, 3, dtype=torch.uint8), torch.zeros(0, 8, 8, 3, dtype=torch.uint8)],
    ids=["float", "no frames axis", "no frame"],
)
def test_other_tensors_are_refused(bad):
    good = pictures(RED)
    for row in (
        SampleRow(caption="", result=bad),
        SampleRow(caption="", result=good, source=bad),
        SampleRow(caption="", result=good, references=(good, bad)),
        SampleRow(caption="", result=good, truth=bad),
    ):
        with pytest.raises(MediaError, match="uint8"):
            sample_grid([row])


def test_a_grid_is_written_by_step(tmp_path):
    observer = SampleGrids(tmp_path / "samples")
    observer.on_samples(5, [])
    assert not (tmp_path / "samples").exists()
    observer.on_samples(100, [SampleRow(caption="", result=pictures(GREEN))])
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step-000100.png"]
    with Image.open(tmp_path / "samples" / "step-000100.png") as sheet:
        assert GREEN in colours(sheet.convert("RGB"))


def test_a_sample_of_a_set_as_a_row():
    """Its target is what the result should be; of clips the three frames that are shown are kept."""

    def clip(colour, frames):
        return Clip(pictures(colour, frames=frames), 24.0)

    sample = Sample(
        key="one",
        task=training_task("reference-edit"),
        instruction="make it @Image 1",
        target=clip(RED, 9),
        source=clip(GREEN, 9),
        references=(clip(BLUE, 1),),
    )
    row = row_of(sample)
    assert row.caption == "reference-edit: make it @Image 1"
    assert row.result.shape[0] == row.source.shape[0] == 3
    assert {RED, GREEN, BLUE} <= colours(sample_grid([row]))
    assert row.truth is None
