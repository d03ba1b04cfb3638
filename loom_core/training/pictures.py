"""Generated held-out samples while a model is trained: the same samples, from the same noise, every time.

They are guided and denoised as at inference. Prompts are those of the run: its order of the parts, its unconditional
prompt, and for the visual branch what dropout leaves of a prompt without its text; of a clip that has the time marks of
the frames, which inference leaves out there. Nothing is drawn from a generator that the training draws from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..config.presets import Preset, sampling_config
from ..config.sampling import SamplingConfig
from ..data.dropout import Dropped
from ..data.sample import EncodedSample
from ..data.seeds import derive_seed
from ..geometry import SPATIAL_STRIDE
from ..media.resize import to_frames
from ..models.dit import LoomDiT
from ..protocols import VideoCodec
from ..sampling.denoise import denoise, initial_noise
from ..sampling.guidance import branch_weights, combine
from ..sampling.schedule import schedule_for
from ..sampling.solvers import get_solver
from ..types import Branch, Task
from ..vae.memory import tile_for_free_memory
from .ema import Ema, measured_weights
from .frozen import codec_dtype
from .interruption import IsStopped, never_stopped
from .objective import PackObjective
from .watch.grid import caption_of, shown_indices
from .watch.observer import SampleRow

DROPPED = {Branch.FULL: Dropped.NOTHING, Branch.VISUAL: Dropped.TEXT, Branch.UNCONDITIONAL: Dropped.ALL}
"""What a sample has lost in training where it was what a branch of guidance is."""


class SamplePictures:
    """Generates a few held-out samples.

    Args:
        samples: Held-out ones, of which some are chosen (`in_turn`).
        objective: Runs the model and makes its conditions.
        codec: Makes pictures of latents.
        model: Whose pictures these are.
        ema: If given, its weights are taken instead.
        preset: Has the guidance and the solver that are usual for the model.
        count: Of samples, at least 1.
        steps: Of denoising.
    """

    def __init__(
        self,
        samples: Iterable[EncodedSample],
        objective: PackObjective,
        codec: VideoCodec,
        *,
        model: LoomDiT,
        preset: Preset,
        ema: Ema | None = None,
        count: int = 4,
        steps: int = 20,
    ) -> None:
        self.samples, self.objective, self.codec = samples, objective, codec
        self.model, self.ema, self.preset = model, ema, preset
        self.count, self.steps = count, steps
        self._given: dict[int, tuple[Tensor | None, Tensor]] = {}  # place among the chosen -> source and truth

    def __call__(self, is_stopped: IsStopped = never_stopped) -> list[SampleRow] | None:
        """The samples as the model makes them now; None where a stop was asked for before all were made."""
        rows = []
        with measured_weights(self.model, self.ema):
            for place, sample in enumerate(in_turn(self.samples, self.count)):
                if is_stopped():
                    return None
                rows.append(self._row(place, sample))
        return rows

    def _row(self, place: int, sample: EncodedSample) -> SampleRow:
        if place not in self._given:
            self._given[place] = self._source_and_truth(sample)
        source, truth = self._given[place]
        return SampleRow(
            caption=caption_of(sample),
            result=self._decoded(self._generated(sample)),
            source=source,
            references=tuple(picture.frames for picture in sample.mllm_references),
            truth=truth,
        )

    def _source_and_truth(self, sample: EncodedSample) -> tuple[Tensor | None, Tensor]:
        """Source and target as they come back from the codec, which is as good as a result can be."""
        truth = _shown(self._decoded(sample.target))
        if sample.source is sample.target:
            return truth, truth
        if sample.source is not None:
            return _shown(self._decoded(sample.source)), truth
        return None if sample.mllm_source is None else _shown(sample.mllm_source.frames), truth

    def _generated(self, sample: EncodedSample) -> Tensor:
        """Latents [C, F, H, W]."""
        sampling = sampling_of(sample, self.preset, steps=self.steps)
        weights = branch_weights(
            sampling.guidance_scale, sampling.visual_guidance_scale, has_visual=self.objective.has_visual(sample)
        )
        conditions = self.objective.conditions([sample] * len(weights), [DROPPED[branch] for branch in weights])

        def velocity(latents: Tensor, timestep: Tensor) -> Tensor:
            # the branches are a pack: one forward pass a step
            predicted = self.objective.velocities(
                [latents[0]] * len(weights), timestep.expand(len(weights)), conditions
            )
            return combine(dict(zip(weights, predicted, strict=True)), weights)[None]

        noise = initial_noise((1, *sample.target.shape), seed=picture_seed(sample), device=self._device)
        schedule = schedule_for(sampling, num_tokens=sample.shift_tokens)
        return denoise(velocity, noise, schedule=schedule, solver=get_solver(sampling.solver))[0]

    def _decoded(self, latents: Tensor) -> Tensor:
        return decoded_frames(self.codec, latents, device=self._device)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def in_turn(samples: Iterable[EncodedSample], count: int) -> list[EncodedSample]:
    """At most `count` samples: the first of every task, then the second of every task and so on."""
    by_task: dict[str, list[EncodedSample]] = {}
    for sample in samples:
        by_task.setdefault(sample.task.name, []).append(sample)
    longest = max(map(len, by_task.values()), default=0)
    rounds = ([of_task[turn] for of_task in by_task.values() if turn < len(of_task)] for turn in range(longest))
    return [sample for turn in rounds for sample in turn][:count]


def decoded_frames(codec: VideoCodec, latents: Tensor, *, device: torch.device) -> Tensor:
    """Pictures of latents [C, F, H, W], made beside a model that is trained: uint8 [F, height, width, 3] on the CPU."""
    with _decodes_in_free_memory(codec, latents, device=device):
        return to_frames(codec.decode(latents[None].float())[0]).cpu()


def picture_seed(sample: EncodedSample) -> int:
    """Seed of the noise that a sample is generated from: the same at every step of a run."""
    return derive_seed(sample.seed, "picture")


def sampling_of(sample: EncodedSample, preset: Preset, *, steps: int) -> SamplingConfig:
    """How a sample is denoised: as its task at inference; a reconstruction, which nobody asks for there, as an edit.

    Args:
        sample: Of any task.
        preset: Fills the gaps.
        steps: Of denoising.
    """
    edit = Task.EDIT_IMAGE if sample.task.is_image else Task.EDIT_VIDEO
    return sampling_config(preset, sample.task.inference_task or edit, num_inference_steps=steps)


def _shown(frames: Tensor) -> Tensor:
    """The frames that a grid shows, which are little to keep."""
    return frames[shown_indices(frames.shape[0])]


@contextmanager
def _decodes_in_free_memory(codec: VideoCodec, latents: Tensor, *, device: torch.device) -> Iterator[None]:
    """Within, a codec on a GPU works on tiles that fit beside what is trained; afterwards as before.

    Encoding has to go on as it was: other tiles would make slightly other latents.
    """
    before = codec.tile_latents
    if device.type == "cuda":
        height, width = (side * SPATIAL_STRIDE for side in latents.shape[-2:])
        codec.tile_latents = tile_for_free_memory(height, width, dtype=codec_dtype(device), device=device)
    try:
        yield
    finally:
        codec.tile_latents = before
