"""How much memory and disk a run needs, by arithmetic; activations are an estimate."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..config.model import DiTConfig
from ..config.training import TrainingConfig
from ..data.opening import DTYPES
from ..data.tasks import TRAINING_TASKS, TrainingTask, training_task
from ..geometry import IMAGE_BUCKETS, VIDEO_BUCKETS, latent_shape
from ..lora.adapters import Adapters
from ..mllm.frames import downsample_indices
from ..models.dit import LoomDiT
from .optimiser import moments_like

_FLOAT, _HALF = 4, 2
_WIDTHS_KEPT = 14
"""Tensors as wide as the model that a block keeps for its backward pass: norms, q k v, rotated, mixed, residuals."""
_FFN_KEPT = 2
"""Tensors as wide as the feed-forward part: before and after its activation."""
_RGB = 3


@dataclass(frozen=True)
class Needs:
    """Bytes that a run needs, unsharded, when it needs most of each.

    Args:
        parameters: Number of trained weights.
        total: Number of all weights of the model, a LoRA's included.
        weights: Of the model, as it computes.
        casts: Weights in bfloat16 that autocast keeps through a forward pass.
        masters: Float32 copies of bfloat16 weights.
        gradients: Of one step.
        moments: What the optimiser averages: two of each weight, or one of a matrix where Muon updates it.
        ema: Averaged weights.
        activations: Kept for the backward pass of a full pack, about; with the MLLM's states.
        frozen: MLLM and codec.
        is_offloaded: Masters, gradients, moments and averages are in the CPU's memory.
        checkpoint: On disk, one.
    """

    parameters: int
    total: int
    weights: int
    casts: int
    masters: int
    gradients: int
    moments: int
    ema: int
    activations: int
    frozen: int
    is_offloaded: bool
    checkpoint: int

    @property
    def optimiser(self) -> int:
        """What updates the weights."""
        return self.masters + self.gradients + self.moments + self.ema

    @property
    def trained(self) -> int:
        """The trained weights, as the model computes."""
        return self.weights * self.parameters // self.total

    @property
    def on_model_device(self) -> int:
        """Where the model is."""
        return self.weights + self.casts + self.activations + self.frozen + (0 if self.is_offloaded else self.optimiser)

    @property
    def on_cpu(self) -> int:
        """Beside a model that is on a GPU; its trained weights wait here while averaged ones are measured."""
        return (self.optimiser if self.is_offloaded else 0) + (self.trained if self.ema else 0)


def training_needs(config: TrainingConfig, *, frozen: Iterable[Path] = (), on_gpu: bool = True) -> Needs:
    """What a run needs.

    Args:
        config: Of the run.
        frozen: Files and folders of its frozen parts, which are as large in memory, about.
        on_gpu: Whether the model is on one; else a float32 weight that is updated in place needs no copy.
    """
    model = empty_model_of(config)
    trained = trained_weights(model)
    total, count = count_numbers(model.parameters()), count_numbers(trained.values())
    is_half = config.precision == "bf16"
    is_offloaded = config.optimiser.device == "cpu" and on_gpu
    width = _HALF if is_half else _FLOAT
    moments = _FLOAT * count_numbers(moments_like(trained, config.optimiser.kind))
    ema = _FLOAT * count if config.ema else 0
    return Needs(
        parameters=count,
        total=total,
        weights=width * total,
        casts=_HALF * total if config.precision == "bf16-autocast" else 0,
        masters=_FLOAT * count if is_half or is_offloaded else 0,
        gradients=_FLOAT * count,
        moments=moments,
        ema=ema,
        activations=_activations(model.config, config),
        frozen=sum(map(_weights_size, frozen)),
        is_offloaded=is_offloaded,
        checkpoint=width * count + (_FLOAT * count if is_half else 0) + moments + ema,
    )


def empty_model_of(config: TrainingConfig) -> LoomDiT:
    """A run's model without its values, with the LoRA that it trains if it is one."""
    model = LoomDiT(config.model.dit_config(), device="meta")
    if config.lora is not None:
        Adapters(model, config.lora)
    return model


def trained_weights(part: nn.Module) -> dict[str, Tensor]:
    """The trained weights of a part of a model, by name."""
    return {name: weight for name, weight in part.named_parameters() if weight.requires_grad}


def count_numbers(weights: Iterable[Tensor]) -> int:
    """How many numbers some weights have in all."""
    return sum(weight.numel() for weight in weights)


def cache_needs(config: TrainingConfig, lengths: Sequence[int]) -> int:
    """Bytes of the cached latents of all samples, at most about: each as large as its set allows, with one reference.

    Args:
        config: Of the run.
        lengths: Samples of each set.
    """
    total = 0
    for entry, length in zip(config.data.sets, lengths, strict=True):
        tasks = map(training_task, entry.tasks or entry.options.get("tasks") or TRAINING_TASKS)
        starts = config.data.clip_variants if entry.kind != "world" else 1  # a world's clips are never cut
        total += length * max(_cached(task, config) * (1 if task.is_image else starts) for task in tasks)
    return total


def memory_of(device: torch.device) -> int | None:
    """Bytes of memory that a device has in all; None where that cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "cpu" and hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _activations(sizes: DiTConfig, config: TrainingConfig) -> int:
    """A pack's tokens are the DiT's, at each noise level, or those of prompts, of which all blocks' states are kept."""
    width = _FLOAT if config.precision == "fp32" else _HALF
    of_a_block = width * (_WIDTHS_KEPT * sizes.hidden_size + _FFN_KEPT * sizes.ffn_dim)
    kept = width * sizes.hidden_size if config.gradient_checkpointing else of_a_block
    states = 0 if config.prompt_cache is not None else width * sizes.mllm_dim  # kept ones wait on the CPU
    inside = of_a_block if config.gradient_checkpointing else 0
    draws = config.noise_draws
    return config.data.token_budget * (sizes.num_layers * max(draws * kept, states) + draws * inside)


def _cached(task: TrainingTask, config: TrainingConfig) -> int:
    """Bytes of a sample's latents and of the pictures that the MLLM reads."""
    data = config.data
    table = IMAGE_BUCKETS if task.is_image else VIDEO_BUCKETS
    sizes = data.sizes or [size for side in data.buckets for size in table[side]]
    width, height = max(sizes, key=lambda size: size[0] * size[1])

    def latents(frames: int) -> int:
        shape = latent_shape(frames, height, width)
        numbers = config.model.dit_config().in_channels * shape.frames * shape.height * shape.width
        return numbers * DTYPES[data.latent_dtype].itemsize

    frames, picture = 1 if task.is_image else data.num_frames, _RGB * width * height
    total = latents(frames)
    if task.needs_source and data.source_to_dit and not task.is_reconstruction:
        total += latents(frames)
    if task.needs_source and data.source_to_mllm:
        total += len(downsample_indices(frames)) * picture
    return total + (latents(1) + picture if task.needs_references else 0)


def _weights_size(path: Path) -> int:
    files = [path] if path.is_file() else path.glob("*.safetensors")
    return sum(file.stat().st_size for file in files)
