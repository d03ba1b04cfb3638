"""Did the model do what was asked? Analysis by synthesis: whatever else could be seen there is painted, and compared.

For each ask all alternatives (every colour, every shape, there or not ...) are rendered with the rest of the scene as
it should be, and passed through the codec, whose blur is common to all. The nearest to the output, by squared error
where they differ, is what is seen. It counts as right only if it also lies much nearer to the output than the
alternatives lie to each other (`MOST_ERROR`), or as near as noise lets it (`NOISE_ERROR`), so that mush, which is near
to nothing, is never right. Whether anything else changed is told apart from that (`collateral`): what was asked may be
right, and the whole not.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from ..data.world.edits import Ask
from ..data.world.render import Rendering, render
from ..data.world.samples import Request
from ..data.world.scene import Scene
from ..media.resize import to_frames, to_pixels
from ..protocols import VideoCodec
from .alternatives import Alternative, alternatives, unasked
from .collateral import Spill, find_spill
from .fitting import fit_scene
from .regions import codec_box, region_of

MOST_ERROR = 0.5
"""Largest error of a right answer, as a part of the squared distance between it and the nearest other one."""

NOISE_ERROR = 18.0
"""Root mean squared error, of 255 levels, that is no fault of a right answer however near the others are: latent noise
that leaves 24 dB makes so much in places, and in a dark picture more than half of what tells two shapes apart."""

ALIKE = 10.0
"""Root mean squared difference, of 255 levels, below which two alternatives look the same and are no rivals: black
backgrounds hardly show a pattern."""

KEPT_PSNR = 25.0
"""Decibels that a result must reach where nothing may change."""


_MOST_OPTIONS = 8  # more are first thinned out
_LIKELY = 2  # rivals kept by each of two criteria
_KEPT = 16  # looks at one request, each painted with all its options; their codec, which is small, is kept too


@dataclass(frozen=True)
class AskVerdict:
    """What became of one ask.

    Args:
        ask: What was asked.
        is_right: Whether it is seen.
        seen: The alternative that is nearest to the output.
        error: Root mean squared error to the right answer, in levels of 255.
        margin: Root mean squared distance of the right answer to its nearest rival.
    """

    ask: Ask
    is_right: bool
    seen: str
    error: float
    margin: float


@dataclass(frozen=True)
class Verdict:
    """What became of a request.

    Args:
        asks: One for each ask that can be seen at all.
        changed: Parts that nothing was asked of and that are seen otherwise: "the ring: nothing", "the square: circle".
        is_asked_right: Whether all asks are right; where nothing was asked, whether the whole is close to the source.
        error: Mean squared error to the right answer, over the whole picture, in levels of 255.
        scene: The right answer with its things where the output has them, as far as words leave it open.
        spilled: The worst change that was not asked for; None if there is none.
    """

    asks: tuple[AskVerdict, ...]
    changed: tuple[str, ...]
    is_asked_right: bool
    error: float
    scene: Scene
    spilled: Spill | None = None

    @property
    def is_right(self) -> bool:
        """Whether what was asked is there and nothing else changed."""
        return self.is_asked_right and not self.changed and self.spilled is None


def judge(request: Request, output: Tensor, *, codec: VideoCodec | None, is_brief: bool = False) -> Verdict:
    """Judge the answer to a request.

    Args:
        request: What was asked.
        output: uint8 [F, height, width, 3], as long as the right answer.
        codec: What the output was decoded with; None for an output that no codec has blurred.
        is_brief: Look for changes that nobody asked for only until the answer is known to be wrong: `is_right` and
            `asks` are the same, `changed` and `spilled` may say less. Several times as fast, as most answers to
            learn from are wrong in what was asked.
    """
    output = output.cpu()
    scene, expected, error = _fitted(request, output, codec)
    verdicts = [judge_ask(alternatives(request, ask, scene), ask, output, codec=codec) for ask in request.asks]
    seen = tuple(verdict for verdict in verdicts if verdict is not None)
    if request.asks:
        is_asked_right = bool(seen) and all(verdict.is_right for verdict in seen)
    else:
        is_asked_right = error <= 255.0**2 / 10 ** (KEPT_PSNR / 10)
    verdict = Verdict(seen, (), is_asked_right, error, scene)
    if is_brief and not verdict.is_right:
        return verdict
    verdict = replace(verdict, spilled=find_spill(request, scene, output, expected=expected))
    if is_brief and not verdict.is_right:
        return verdict
    return replace(verdict, changed=_changed_parts(request, scene, output, codec))


def judge_ask(
    options: tuple[Alternative, ...], ask: Ask, output: Tensor, *, codec: VideoCodec | None
) -> AskVerdict | None:
    """Judge one ask.

    Args:
        options: All that could be seen.
        ask: What was asked.
        output: uint8 [F, height, width, 3].
        codec: See `judge`.

    Returns:
        The verdict; None if no frame could show it, as of a thing that is hidden behind another.
    """
    if len(options) > _MOST_OPTIONS and ask.attribute not in ("motion", "camera"):
        options = _likely(options, ask, output)
    found = _compare(options, ask, output, codec=codec)
    if found is None:
        return None
    rivals = found.is_rival
    if not bool(rivals.any()):
        return None
    error, margin = float(found.errors[found.best]), float(found.distances[rivals].min())
    return AskVerdict(
        ask,
        is_right=error < float(found.errors[rivals].min()) and error < max(MOST_ERROR * margin, NOISE_ERROR**2),
        seen=options[int(found.errors.argmin())].name,
        error=error**0.5,
        margin=margin**0.5,
    )


@dataclass(frozen=True)
class _Comparison:
    """Options beside an output, where they differ.

    Args:
        errors: Of each option to the output, mean squared.
        distances: Of each option to the best right one, mean squared.
        best: Which of the right options is nearest to the output.
        is_rival: Which options are wrong and look it.
    """

    errors: Tensor
    distances: Tensor
    best: int
    is_rival: Tensor


@dataclass(frozen=True)
class _Painted:
    """Options where they differ.

    Args:
        inside: Where they do, within the box, bool [F, rows, columns].
        rows: Of the box.
        columns: Likewise.
        seen: Each option there after the codec, uint8 [options, pixels, 3].
    """

    inside: Tensor
    rows: slice
    columns: slice
    seen: Tensor


@lru_cache(maxsize=_KEPT)  # answers to one request are judged one after the other, and mostly beside the same options
def _painted(
    options: tuple[Alternative, ...], ask: Ask, size: tuple[int, int, int], codec: VideoCodec | None
) -> _Painted | None:
    """Paint options at a size [F, height, width]; None where no pixel could tell them apart."""
    renderings = [_render(option.scene, size) for option in options]
    region = region_of(ask, renderings)
    if not bool(region.any()):
        return None
    rows, columns = codec_box(region)
    inside = region[:, rows, columns]
    boxes = torch.stack([rendering.frames[:, rows, columns] for rendering in renderings])
    return _Painted(inside, rows, columns, through_codec(boxes, codec)[:, inside].to(torch.uint8))


def _compare(
    options: tuple[Alternative, ...], ask: Ask, output: Tensor, *, codec: VideoCodec | None
) -> _Comparison | None:
    """Compare with every option; None where no pixel could tell them apart."""
    painted = _painted(options, ask, _size_of(output), cast(Hashable, codec))
    if painted is None:
        return None
    seen = painted.seen.float()
    errors = _distances(seen, output[:, painted.rows, painted.columns][painted.inside].float())
    is_right = torch.tensor([option.is_right for option in options])
    best = int(errors.masked_fill(~is_right, torch.inf).argmin())
    distances = _distances(seen, seen[best])
    return _Comparison(errors, distances, best, ~is_right & (distances >= ALIKE**2))


def _likely(options: tuple[Alternative, ...], ask: Ask, output: Tensor) -> tuple[Alternative, ...]:
    """The right options, and of the rivals those that are nearest to the output or to the right ones.

    Told from the middle frame without the codec, which is cheap; the verdict then needs only these.
    """
    middle = output[output.shape[0] // 2][None]
    found = _compare(options, ask, middle, codec=None)
    if found is None:
        return options
    rivals = found.is_rival.nonzero().flatten().tolist()
    kept = {index for index, option in enumerate(options) if option.is_right}
    kept |= set(sorted(rivals, key=lambda index: float(found.errors[index]))[:_LIKELY])
    kept |= set(sorted(rivals, key=lambda index: float(found.distances[index]))[:_LIKELY])
    return tuple(options[index] for index in sorted(kept))


def _distances(pictures: Tensor, other: Tensor) -> Tensor:
    """Mean squared difference of pictures [N, ...] to one [...]: [N]."""
    return (pictures - other).square().flatten(1).mean(dim=1)


def _size_of(output: Tensor) -> tuple[int, int, int]:
    """Frames, height and width."""
    num_frames, height, width = output.shape[:3]
    return num_frames, height, width


def _render(scene: Scene, size: tuple[int, int, int]) -> Rendering:
    num_frames, height, width = size
    return render(scene, num_frames=num_frames, width=width, height=height)


def _fitted(request: Request, output: Tensor, codec: VideoCodec | None) -> tuple[Scene, Tensor, float]:
    """The right answer as the output has it, or exactly, whichever is nearer.

    Returns:
        The scene; its pictures after the codec, [F, height, width, 3]; and their mean squared error.
    """
    fitted = fit_scene(request, output)
    scenes = [request.after] if fitted == request.after else [request.after, fitted]
    seen = through_codec(torch.stack([_render(scene, _size_of(output)).frames for scene in scenes]), codec)
    errors = _distances(seen, output.float())
    best = int(errors.argmin())
    return scenes[best], seen[best], float(errors[best])


def _changed_parts(request: Request, scene: Scene, output: Tensor, codec: VideoCodec | None) -> tuple[str, ...]:
    """Parts that nothing was asked of and that are seen otherwise: an edit must not take them along.

    Of a thing one finding is enough; it may not be mush either. Motion and background must only not look like another
    one: what else may be wrong there, such as a thing that is too many, `find_spill` tells.
    """
    changed: dict[int | None, str] = {}
    for part in unasked(request, scene, is_clip=output.shape[0] > 1):
        verdict = judge_ask(part.options, part.ask, output, codec=codec)
        if verdict is None or verdict.is_right or part.ask.thing in changed:
            continue
        is_unclear = verdict.seen in [option.name for option in part.options if option.is_right]
        if not is_unclear or part.ask.attribute == "presence":
            changed[part.ask.thing] = f"{part.name}: {'unclear' if is_unclear else verdict.seen}"
    return tuple(changed.values())


def through_codec(clips: Tensor, codec: VideoCodec | None) -> Tensor:
    """Clips uint8 [B, F, height, width, 3], encoded and decoded: the same in float32 levels, rounded as a result is."""
    if codec is None:
        return clips.float()
    pixels = torch.stack([to_pixels(clip) for clip in clips])
    decoded = codec.decode(codec.encode(pixels)).cpu()
    return torch.stack([to_frames(clip) for clip in decoded]).float()
