"""Many samples through a model at once: the pipeline's steps, with samples of one size side by side in a batch.

All parts of the model stay loaded, unlike in `pipeline.generate`, which is made for one large request.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..bundle import ModelFiles
from ..compute import Compute
from ..config.presets import Preset, sampling_config
from ..config.sampling import DEFAULT_NEGATIVE_PROMPT, SamplingConfig
from ..config.speed import EXACT
from ..data.sample import Sample
from ..geometry import NATIVE_FPS, PATCH, latent_shape
from ..media.resize import to_frames
from ..models.attention_backends import attention_by
from ..models.dit import LoomDiT
from ..pipeline import Media, encode_conditions, load_encoder
from ..protocols import EncodedPrompt
from ..request import Plan, Request
from ..sampling.denoise import denoise, initial_noise
from ..sampling.guidance import branch_weights
from ..sampling.schedule import schedule_for
from ..sampling.shortcuts import shortened_velocity
from ..sampling.solvers import get_solver
from ..types import Branch, Condition, Task
from ..vae.loading import load_codec
from ..weights.loading import load_dit


@dataclass(frozen=True, kw_only=True)
class SamplingChoices:
    """What a user chose; None leaves it to the preset or the task."""

    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    visual_guidance_scale: float | None = None
    shift: float | None = None
    solver: str | None = None
    speed: str = EXACT


@dataclass(frozen=True)
class _Item:
    """One sample, ready for the DiT."""

    index: int
    seed: int
    size: tuple[int, int, int, int]
    sampling: SamplingConfig
    weights: dict[Branch, float]
    conditions: dict[Branch, Condition]

    @property
    def num_tokens(self) -> int:
        """Of target and references, in the branch that has most."""
        _, frames, height, width = self.size
        pictures = [[picture.latents[0].numel() for picture in one.references] for one in self.conditions.values()]
        return (frames * height * width + max(map(sum, pictures))) // PATCH**2

    @property
    def group(self) -> Hashable:
        """What samples must have in common to stand in one batch."""
        by_tokens = self.num_tokens if self.sampling.shift is None else None
        return self.size, self.sampling, tuple(self.weights.items()), by_tokens


class BatchSampler:
    """A loaded model that answers samples in batches; as the pipeline would for the same seeds, up to rounding.

    Args:
        files: The model.
        compute: Where and in which precision.
        preset: Fills what the choices leave open.
        choices: Steps, guidance and so on.
        batch_size: Most samples in one forward pass.
    """

    def __init__(
        self,
        files: ModelFiles,
        *,
        compute: Compute,
        preset: Preset,
        choices: SamplingChoices | None = None,
        batch_size: int = 8,
    ) -> None:
        config = files.check()
        if compute.rope_precision is not None:
            config = replace(config, rope_precision=compute.rope_precision)
        self._compute, self._preset, self._batch_size = compute, preset, batch_size
        self._choices = choices or SamplingChoices()
        self._encoder = load_encoder(files, config=config, compute=compute)
        self.codec = load_codec(
            files.codec, dtype=compute.codec_dtype, device=compute.device, tile_latents=compute.tile_latents
        )
        self._model: LoomDiT = load_dit(
            files.dit, dtype=compute.dtype, device=compute.device, config=config, ema=files.ema
        )
        self._model.attention = attention_by(compute.attention)
        self._negative: tuple[Tensor, ...] | None = None

    def sampling_of(self, task: Task) -> SamplingConfig:
        """How samples of a task are denoised."""
        return sampling_config(
            self._preset,
            task,
            num_inference_steps=self._choices.num_inference_steps,
            shift=self._choices.shift,
            guidance_scale=self._choices.guidance_scale,
            visual_guidance_scale=self._choices.visual_guidance_scale,
            solver=self._choices.solver,
            speed=self._choices.speed,
        )

    def answer(
        self, samples: Sequence[tuple[Sample, int]], *, progress: Callable[[int], None] | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """Answer samples with their seeds, as they get done: (index, uint8 [F, height, width, 3]).

        Args:
            samples: (sample, seed of its noise) of any sizes and tasks.
            progress: Told how many got done in each batch.
        """
        groups: dict[Hashable, list[_Item]] = {}
        for index, (sample, seed) in enumerate(samples):
            item = self._prepare(index, sample, seed)
            waiting = groups.setdefault(item.group, [])
            waiting.append(item)
            if len(waiting) == self._batch_size:
                yield from self._finish(groups.pop(item.group), progress)
        for waiting in groups.values():
            yield from self._finish(waiting, progress)

    def _finish(self, items: list[_Item], progress: Callable[[int], None] | None) -> Iterator[tuple[int, Tensor]]:
        latents = self._denoise(items)
        for item, own in zip(items, latents, strict=True):
            yield item.index, to_frames(self.codec.decode(own[None])[0]).cpu()
        if progress is not None:
            progress(len(items))

    def _prepare(self, index: int, sample: Sample, seed: int) -> _Item:
        task = sample.task.inference_task
        assert task is not None  # a suite has no reconstructions
        sampling = self.sampling_of(task)
        has_visual = sample.source is not None or bool(sample.references)
        weights = branch_weights(sampling.guidance_scale, sampling.visual_guidance_scale, has_visual=has_visual)
        width, height = sample.target.size
        plan = Plan(
            request=Request(prompt=sample.instruction, seed=seed),
            task=task,
            width=width,
            height=height,
            num_frames=sample.target.num_frames,
            fps=NATIVE_FPS,
            sampling=sampling,
        )
        media = Media(source=sample.source, references=sample.references)
        conditions = encode_conditions(plan, media, self._read(plan, media, weights), codec=self.codec)
        shape = latent_shape(plan.num_frames, height, width)
        size = (self._model.config.in_channels, shape.frames, shape.height, shape.width)
        return _Item(index, seed, size, sampling, weights, conditions)

    def _read(self, plan: Plan, media: Media, weights: dict[Branch, float]) -> EncodedPrompt:
        """The prompt's states; the negative prompt, which is the same for all, is read once."""
        prompt = self._encoder.encode(
            plan.task,
            plan.request.prompt,
            negative_prompt="",
            references=media.references,
            source=media.source,
            branches=[branch for branch in (Branch.FULL, Branch.VISUAL) if branch in weights],
        )
        if Branch.UNCONDITIONAL not in weights:
            return prompt
        if self._negative is None:
            self._negative = self._encoder.encode(
                plan.task, "", negative_prompt=DEFAULT_NEGATIVE_PROMPT, branches=[Branch.UNCONDITIONAL]
            ).negative
        return replace(prompt, negative=self._negative)

    @torch.no_grad()
    def _denoise(self, items: list[_Item]) -> Tensor:
        """Clean latents of samples of one group, [B, C, F, H, W]."""
        first, compute = items[0], self._compute
        target = torch.zeros(len(items), *first.size, device=compute.device, dtype=compute.dtype)
        make_table = self._model.make_tables()
        prepared = {
            branch: self._model.prepare([item.conditions[branch] for item in items], target, make_table=make_table)
            for branch in first.weights
        }
        noise = torch.cat([initial_noise((1, *item.size), seed=item.seed, device=compute.device) for item in items])
        schedule = schedule_for(first.sampling, num_tokens=first.num_tokens)
        velocity = shortened_velocity(
            self._model,
            prepared,
            first.weights,
            dtype=compute.dtype,
            shortcuts=first.sampling.shortcuts,
            schedule=schedule,
        )
        return denoise(
            velocity,
            noise,
            schedule=schedule,
            solver=get_solver(first.sampling.solver),
        )
