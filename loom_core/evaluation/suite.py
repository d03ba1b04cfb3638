"""The tiny suite: held-out samples of the world through a model, judged and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from ..data.world.render import pictures
from ..protocols import VideoCodec
from .judge import judge
from .measures import flicker, motion_agreement, sharpness, unchanged_psnr
from .plan import SuitePlan, SuiteSample, suite_samples
from .sampler import BatchSampler
from .scores import Score

_CHUNK = 16
"""Batches' worth of samples that are made and answered before the next are: memory for pictures stays small."""

Progress = Callable[[int, int], None]
"""Told (samples done, samples in all)."""


@dataclass(frozen=True)
class Answer:
    """A sample, what the model made of it, and what that is worth.

    Args:
        sample: What was asked.
        output: uint8 [F, height, width, 3].
        score: Verdict and measures.
    """

    sample: SuiteSample
    output: Tensor
    score: Score


def run_suite(
    plan: SuitePlan, sampler: BatchSampler, *, batch_size: int = 8, progress: Progress | None = None
) -> Iterator[Answer]:
    """Answer and score all samples of a suite, in its order.

    Args:
        plan: Which samples.
        sampler: The model.
        batch_size: As the sampler's; so many times `_CHUNK` samples are in memory at a time.
        progress: Told after each batch.
    """
    waiting: list[SuiteSample] = []
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, plan.samples)

    for sample in suite_samples(plan):
        waiting.append(sample)
        if len(waiting) == _CHUNK * batch_size:
            yield from _answer_all(waiting, sampler, tell)
            waiting = []
    yield from _answer_all(waiting, sampler, tell)


def _answer_all(samples: list[SuiteSample], sampler: BatchSampler, tell: Callable[[int], None]) -> Iterator[Answer]:
    answers: dict[int, Answer] = {}
    pairs = [(sample.world.sample, sample.seed) for sample in samples]
    for index, output in sampler.answer(pairs, progress=tell):
        score = score_answer(samples[index], output, codec=sampler.codec)
        answers[index] = Answer(samples[index], output, score)
    yield from (answers[index] for index in sorted(answers))


def score_answer(sample: SuiteSample, output: Tensor, *, codec: VideoCodec | None) -> Score:
    """Judge and measure one answer."""
    request, target = sample.world.request, sample.world.sample.target.frames
    source = sample.world.sample.source
    verdict = judge(request, output, codec=codec)
    there = target  # what is made anew is measured where it stands
    if source is None:
        num_frames, height, width = output.shape[:3]
        there = pictures(verdict.scene, num_frames=num_frames, width=width, height=height)
    return Score(
        sample.key,
        request,
        verdict,
        unchanged_psnr=None if source is None else unchanged_psnr(output, source=source.frames, truth=target),
        motion_agreement=motion_agreement(output, replace(request, after=verdict.scene)),
        flicker=flicker(output, truth=there),
        sharpness=sharpness(output, truth=there),
    )
