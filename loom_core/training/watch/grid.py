"""Generated samples as a picture: a row a sample, source | references | result | truth, its caption under it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ...atomic import atomic_target
from ...data.sample import EncodedSample, Sample
from ...errors import MediaError
from ...types import Clip
from .observer import SampleRow, SilentObserver

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

SAMPLES_FOLDER = "samples"
"""Where the grids lie in a run's folder."""

COLUMNS = ("source", "references", "result", "truth")

SHOWN_FRAMES = 3
"""Of a clip: first, middle, last."""

_LARGEST_SIDE = 160
_SMALLEST_SIDE = 72
_NUM_DIMENSIONS, _CHANNELS = 4, 3
GAP = 4
GROUP_GAP = 16
MARGIN = 12
HEADER = 26
_LINE_HEIGHT = 18
_ROW_GAP = 14
_MIN_WIDTH = 360
_TEXT, _FAINT, _PAPER, _RULE = (40, 44, 52), (120, 126, 138), (255, 255, 255), (225, 228, 233)


class SampleGrids(SilentObserver):
    """Writes a grid a time that samples were generated, named by the step.

    Args:
        folder: For the pictures; made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_samples(self, step: int, rows: Sequence[SampleRow]) -> None:
        """Write a grid."""
        if not rows:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with atomic_target(self._folder / f"step-{step:06d}.png") as temporary:
            sample_grid(rows).save(temporary, format="PNG", optimize=True)


def sample_grid(rows: Sequence[SampleRow]) -> Image:
    """Draw samples; columns that no sample has are left out.

    Raises:
        MediaError: Pictures are not uint8 [F, height, width, 3], or there is no sample.
    """
    from PIL import Image, ImageDraw

    if not rows:
        raise MediaError("no samples", expected="at least one", fix="generate some")
    groups = [_groups(row) for row in rows]
    widths = [max((group[column].width for group in groups if column in group), default=0) for column in COLUMNS]
    columns = [(name, width) for name, width in zip(COLUMNS, widths, strict=True) if width]
    inner = max(_MIN_WIDTH, sum(width for _, width in columns) + GROUP_GAP * (len(columns) - 1))
    font = _font(14)
    captions = [wrapped(row.caption, font=font, width=inner) for row in rows]
    heights = [max(picture.height for picture in group.values()) for group in groups]
    text_heights = [_LINE_HEIGHT * len(lines) for lines in captions]
    total = HEADER + sum(heights) + sum(text_heights) + (GAP + _ROW_GAP) * len(rows)
    sheet = Image.new("RGB", (inner + 2 * MARGIN, total), _PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts, left = {}, MARGIN
    for name, width in columns:
        lefts[name] = left
        draw.text((left, HEADER / 2), name, fill=_FAINT, font=font, anchor="lm")
        left += width + GROUP_GAP
    top = HEADER
    for group, lines, height, text_height in zip(groups, captions, heights, text_heights, strict=True):
        for name, picture in group.items():
            sheet.paste(picture, (lefts[name], top))
        for number, line in enumerate(lines):
            y = top + height + GAP + _LINE_HEIGHT * (number + 0.5)
            draw.text((MARGIN, y), line, fill=_TEXT, font=font, anchor="lm")
        top += height + text_height + GAP + _ROW_GAP
        draw.line((MARGIN, top - _ROW_GAP // 2, MARGIN + inner - 1, top - _ROW_GAP // 2), fill=_RULE)
    return sheet


def caption_of(sample: Sample | EncodedSample) -> str:
    """Task and instruction of a sample, as its row is called."""
    return f"{sample.task.name}: {sample.instruction}" if sample.instruction else sample.task.name


def row_of(sample: Sample) -> SampleRow:
    """A sample of a set as a row: its target stands for the result; only the frames that are shown are kept."""

    def shown(clip: Clip) -> Tensor:
        return clip.frames[shown_indices(clip.num_frames)]

    return SampleRow(
        caption=caption_of(sample),
        result=shown(sample.target),
        source=None if sample.source is None else shown(sample.source),
        references=tuple(clip.frames[:1] for clip in sample.references),
    )


def _groups(row: SampleRow) -> dict[str, Image]:
    groups = {"result": _strip(row.result)}
    if row.source is not None:
        groups["source"] = _strip(row.source)
    if row.references:
        groups["references"] = _block(row.references)
    if row.truth is not None:
        groups["truth"] = _strip(row.truth)
    return groups


def shown_indices(num_frames: int) -> list[int]:
    """Which frames of a clip are shown: first, middle and last, each once."""
    return sorted({0, num_frames // 2, num_frames - 1})[:SHOWN_FRAMES]


def _strip(frames: Tensor) -> Image:
    """Frames of a clip, side by side."""
    _check(frames)
    return _beside([_picture(frames[index], _LARGEST_SIDE) for index in shown_indices(frames.shape[0])], columns=0)


def _block(references: Sequence[Tensor]) -> Image:
    """The first frame of each reference; several share the room of one, in reading order."""
    for frames in references:
        _check(frames)
    side = math.ceil(math.sqrt(len(references)))
    room = _LARGEST_SIDE if side == 1 else max(_SMALLEST_SIDE, _LARGEST_SIDE // side) - GAP // 2
    return _beside([_picture(frames[0], room) for frames in references], columns=side)


def _beside(pictures: Sequence[Image], *, columns: int) -> Image:
    from PIL import Image

    columns = columns or len(pictures)
    width, height = max(each.width for each in pictures), max(each.height for each in pictures)
    rows = math.ceil(len(pictures) / columns)
    joined = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), _PAPER)
    for index, picture in enumerate(pictures):
        joined.paste(picture, (index % columns * (width + GAP), index // columns * (height + GAP)))
    return joined


def _picture(frame: Tensor, room: int) -> Image:
    """A frame at a size to be looked at: large ones are brought down to `room`, tiny ones enlarged by whole factors."""
    from PIL import Image

    picture = Image.fromarray(frame.cpu().contiguous().numpy())
    longest = max(picture.size)
    if longest > room:
        size = (max(1, round(picture.width * room / longest)), max(1, round(picture.height * room / longest)))
        return picture.resize(size, Image.Resampling.LANCZOS)
    factor = min(room // longest, math.ceil(_SMALLEST_SIDE / longest))
    if factor > 1:
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    return picture


def _check(frames: Tensor) -> None:
    is_right = frames.dim() == _NUM_DIMENSIONS and frames.shape[-1] == _CHANNELS and frames.numel() > 0
    if not is_right or str(frames.dtype) != "torch.uint8":
        raise MediaError(
            f"pictures of {frames.dtype} {tuple(frames.shape)}",
            expected="uint8 [F, height, width, 3]",
            fix="convert them before they are shown",
        )


def wrapped(text: str, *, font: FreeTypeFont | ImageFont, width: float) -> list[str]:
    """Break a text into lines that fit, at spaces where there are any, else anywhere."""
    lines = [""]
    for word in text.split():
        candidate = f"{lines[-1]} {word}".strip()
        if font.getlength(candidate) <= width:
            lines[-1] = candidate
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and font.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return [line for line in lines if line]


def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)
