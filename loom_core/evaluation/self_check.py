"""Is the judge itself right? Pictures whose verdict is known, judged over many samples.

The truth, blurred by the codec, must always be right, also with some noise on its latents; and so must what is made
anew with all its things elsewhere, where their places allow. The source, a grey picture,
the truth's mean colour, noise, and the truth with one fault must never be, but for the source where nothing was to
change. A fault is one asked thing replaced by another, or damage to what nobody asked about (`faults`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from ..data.world.render import render
from ..media.resize import to_frames, to_pixels
from ..protocols import VideoCodec
from . import faults
from .alternatives import alternatives
from .arrangement import room, shifted
from .judge import ALIKE, judge, through_codec
from .plan import SuiteSample
from .scores import Rate, Score, rates
from .suite import score_answer

Pictures = Callable[[SuiteSample], Tensor | None]
"""Makes the output to judge, uint8 [F, height, width, 3]; None where there is none of this kind."""

GREY = 125


def _truth(sample: SuiteSample) -> Tensor:
    return sample.world.sample.target.frames


def _source(sample: SuiteSample) -> Tensor | None:
    source, request = sample.world.sample.source, sample.world.request
    return None if source is None or not request.asks else source.frames


def _grey(sample: SuiteSample) -> Tensor:
    return torch.full_like(_truth(sample), GREY)


def _mean_colour(sample: SuiteSample) -> Tensor:
    truth = _truth(sample)
    return truth.float().mean(dim=(0, 1, 2)).round().to(torch.uint8).expand_as(truth)


def _noise(sample: SuiteSample) -> Tensor:
    generator = torch.Generator().manual_seed(sample.seed)
    return torch.randint(256, _truth(sample).shape, generator=generator, dtype=torch.uint8)


def _wrong(sample: SuiteSample) -> Tensor | None:
    """The truth but for one ask, where another alternative is seen."""
    request, truth = sample.world.request, _truth(sample)
    if not request.asks:
        return None
    ask = random.Random(sample.key).choice(request.asks)
    num_frames, height, width = truth.shape[:3]
    chance = random.Random(f"wrong {sample.key}")
    options = [option for option in alternatives(request, ask, request.after) if not option.is_right]
    for option in chance.sample(options, len(options)):
        frames = render(option.scene, num_frames=num_frames, width=width, height=height).frames
        if _differs(frames, truth):
            return frames
    return None


def _differs(frames: Tensor, truth: Tensor) -> bool:
    """Whether two clips look different where they differ."""
    changed = (frames != truth).any(dim=-1)
    return bool(changed.any()) and float((frames[changed].float() - truth[changed]).square().mean()) >= 2 * ALIKE**2


def _with_fault(fault: faults.Fault) -> Pictures:
    """Makes the truth but for a fault; None where it would not show."""

    def pictures(sample: SuiteSample) -> Tensor | None:
        truth = _truth(sample)
        scene = fault(sample.world.request, random.Random(f"fault {sample.key}"))
        if scene is None:
            return None
        num_frames, height, width = truth.shape[:3]
        frames = render(scene, num_frames=num_frames, width=width, height=height).frames
        return frames if _differs(frames, truth) else None

    return pictures


NOISE = 12.0
"""Root mean squared levels of 255 that a right answer may be off by noise on its latents: beside the loss of the tiny
codec itself, which is 10, it leaves 24 dB of what should not change."""

_PROBE = 0.3  # of a latent's own deviation, from which the noise is scaled
NOISY_TRUTH = "noisy truth"
SHIFTED_TRUTH = "shifted truth"
SHOULD_BE_RIGHT = ("truth", NOISY_TRUTH, SHIFTED_TRUTH)
SHOULD_BE_WRONG: Mapping[str, Pictures] = {
    "source": _source,
    "grey": _grey,
    "mean colour": _mean_colour,
    "noise": _noise,
    "one thing wrong": _wrong,
    **{name: _with_fault(fault) for name, fault in faults.FAULTS.items()},
}


def codec_ceiling(samples: Iterable[SuiteSample], *, codec: VideoCodec) -> list[Score]:
    """Scores of the right answers after the codec alone: no model that it decodes can do better."""
    return [score_answer(sample, _through(_truth(sample), codec), codec=codec) for sample in samples]


def check_judge(samples: Iterable[SuiteSample], *, codec: VideoCodec) -> dict[str, Rate]:
    """How often each kind of picture is judged right: all of `SHOULD_BE_RIGHT`, none of `SHOULD_BE_WRONG`.

    Args:
        samples: To judge on.
        codec: Blurs the pictures first, as it does a model's.
    """
    return rates(_judgements(samples, codec))


def _judgements(samples: Iterable[SuiteSample], codec: VideoCodec) -> Iterable[tuple[str, bool]]:
    for sample in samples:
        request, truth = sample.world.request, _truth(sample)
        yield "truth", judge(request, _through(truth, codec), codec=codec).is_right
        yield NOISY_TRUTH, judge(request, noisy(truth, codec, seed=sample.seed), codec=codec).is_right
        elsewhere = _shifted_truth(sample)
        if elsewhere is not None:
            yield SHIFTED_TRUTH, judge(request, _through(elsewhere, codec), codec=codec).is_right
        for name, pictures in SHOULD_BE_WRONG.items():
            frames = pictures(sample)
            if frames is not None:
                yield name, judge(request, _through(frames, codec), codec=codec).is_right


def _shifted_truth(sample: SuiteSample) -> Tensor | None:
    """What is made anew with all its things elsewhere, not only on the grid that the judge looks on."""
    request = sample.world.request
    if request.before is not None:
        return None
    chance = random.Random(f"shift {sample.key}")
    x, y = (chance.uniform(*span) for span in room(request.after))
    num_frames, height, width = _truth(sample).shape[:3]
    return render(shifted(request.after, x, y), num_frames=num_frames, width=width, height=height).frames


def noisy(frames: Tensor, codec: VideoCodec, *, seed: int) -> Tensor:
    """Frames uint8 [F, height, width, 3] after the codec, with Gaussian noise on their latents that makes `NOISE`."""
    latents = codec.encode(to_pixels(frames)[None])
    noise = _PROBE * torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed)).to(latents)
    off = codec.decode(latents + noise) - codec.decode(latents)
    levels = float(off.square().mean()) ** 0.5 * 127.5  # pixels reach from -1 to 1
    return to_frames(codec.decode(latents + NOISE / levels * noise)[0]).cpu()


def _through(frames: Tensor, codec: VideoCodec) -> Tensor:
    return through_codec(frames[None], codec)[0].round().to(torch.uint8)
