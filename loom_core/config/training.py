"""Settings of a training run: what is trained from what, on which data, how it is saved and measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError
from .data import DataConfig, DataSetConfig
from .model import LOOM_TINY, LOOMVIDEO_5B, DiTConfig, RopePrecision
from .reading import build, flatten, read_settings
from .sampling import MAX_STEPS

MODEL_PRESETS: Mapping[str, DiTConfig] = {"5b": LOOMVIDEO_5B, "tiny": LOOM_TINY}
"""Sizes by name."""

Precision = Literal["bf16", "bf16-autocast", "fp32"]
OptimiserKind = Literal["adamw", "muon"]


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which DiT is trained.

    Args:
        preset: A name of `MODEL_PRESETS`, whose sizes hold where `sizes` has none.
        sizes: Fields of `DiTConfig`.
        has_source: Whether there is a source embedding; stage 1 of the released model had none.
        rope_precision: Of the rotary tables; None for the preset's.
    """

    preset: str = "5b"
    sizes: Mapping[str, Any] = field(default_factory=dict)
    has_source: bool = True
    rope_precision: RopePrecision | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no model.

        Raises:
            ConfigError: The preset is unknown or the sizes do not fit together.
        """
        self.dit_config()

    def dit_config(self) -> DiTConfig:
        """The sizes of the model."""
        if self.preset not in MODEL_PRESETS:
            raise ConfigError(
                f"model preset {self.preset!r}",
                expected=f"one of {', '.join(MODEL_PRESETS)}",
                fix="use one, and change its sizes under model.sizes",
            )
        values = flatten(MODEL_PRESETS[self.preset]) | dict(self.sizes) | {"has_source": self.has_source}
        if self.rope_precision is not None:
            values["rope_precision"] = self.rope_precision
        return build(DiTConfig, values, where="model.sizes")


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """What updates the weights, and its learning rate. Source of the defaults: official training configs.

    Args:
        kind: "adamw" as published, or "muon" (ours): matrices by Muon, all else by AdamW, at the same rate; in a single
            process alone. See `training/optimiser.py`.
        lr: Learning rate after the warm-up.
        betas: Decay of AdamW's first and second moment.
        eps: Added to the root of AdamW's second moment.
        weight_decay: Decoupled, times the learning rate.
        clip: Largest norm of the gradient over all parameters.
        warmup: Optimiser steps over which the rate rises evenly to `lr`.
        decay: What follows: "constant" as published, or "cosine" down to `final_lr` at the last step (ours).
        decay_steps: The last steps of the run, over which a cosine falls; 0 for all after the warm-up.
        final_lr: As a share of `lr`; only of "cosine".
        device: Where moments, float32 copies, summed gradients and averaged weights are: "model" for where the model
            is, or "cpu", where the official run has its optimiser, which spares a GPU all but weights and activations.
    """

    kind: OptimiserKind = "adamw"
    lr: float = 2e-5
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip: float = 1.0
    warmup: int = 1000
    decay: Literal["constant", "cosine"] = "constant"
    decay_steps: int = 0
    final_lr: float = 0.0
    device: Literal["model", "cpu"] = "model"

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        require(self, lr=self.lr > 0, eps=self.eps > 0, clip=self.clip > 0, warmup=self.warmup >= 0)
        require(self, weight_decay=self.weight_decay >= 0, final_lr=0 <= self.final_lr <= 1)
        require(self, decay_steps=self.decay_steps >= 0)
        require(self, betas=all(0 <= beta < 1 for beta in self.betas))

    def check_shared(self) -> None:
        """Refuse an optimiser that several processes cannot share, each of which has only rows of every weight.

        Raises:
            ConfigError: It needs whole matrices.
        """
        if self.kind == "muon":
            raise ConfigError(
                "optimiser.kind muon in several processes, each of which has only rows of a matrix",
                expected="a single process, or adamw",
                fix="start it without torchrun, or with --set optimiser.kind=adamw",
            )


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """A LoRA that is trained in place of the whole model: small changes of chosen layers, the rest frozen.

    A pattern names a layer, or whatever part of the model layers lie in; `*` stands for any text.

    Args:
        rank: Of each layer's change.
        alpha: The change counts times alpha / rank; None for the rank, so once.
        dropout: Share of a layer's inputs that its change does not see, drawn anew each time.
        modules: Patterns of the linear layers that get a change of that rank; no others can.
        whole: Patterns of what is trained whole beside them, and saved as a difference.
        starts_from: A LoRA that is trained further, of the same rank; None begins without any effect.
    """

    rank: int = 32
    alpha: float | None = None
    dropout: float = 0.0
    modules: tuple[str, ...] = ("blocks.*.self_attn", "blocks.*.cross_attn", "blocks.*.ffn")
    whole: tuple[str, ...] = ()
    starts_from: Path | None = None

    def __post_init__(self) -> None:
        """Refuse numbers out of range, and what would train nothing."""
        require(self, rank=self.rank > 0, dropout=0 <= self.dropout < 1)
        require(self, alpha=self.alpha is None or self.alpha > 0)
        if not (self.modules or self.whole):
            raise ConfigError("a LoRA of no part of the model", expected="a pattern", fix="name some in lora.modules")

    @property
    def scale(self) -> float:
        """What a product of two factors is multiplied by."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """When a run is saved and what is kept.

    Args:
        every: Optimiser steps between two checkpoints; the last step and a stop are saved too.
        keep_last: Newest checkpoints that are kept.
        keep_every: Checkpoints at multiples of this step are kept for good; 0 for none.
    """

    every: int = 1000
    keep_last: int = 3
    keep_every: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        require(self, every=self.every > 0, keep_last=self.keep_last > 0, keep_every=self.keep_every >= 0)


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """What is made of held-out samples: losses by task and noise third, and pictures.

    Args:
        sets: Held-out samples, cut like those of training; none, no losses and no pictures.
        every: Optimiser steps between two measurements, of which the last step is one; 0 for none.
        samples: Taken evenly from each set.
        levels_per_sample: Noise levels that each sample is measured at, of the 19 that are spread over all samples.
        pictures: So many of the samples are generated, the tasks in turn; 0 for none.
        picture_steps: Denoising steps of each.
        seed: Of their noise and clip starts, the same each time, so that differences are the model's.
    """

    sets: tuple[DataSetConfig, ...] = ()
    every: int = 1000
    samples: int = 30
    levels_per_sample: int = 3
    pictures: int = 4
    picture_steps: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        require(self, every=self.every >= 0, samples=self.samples > 0, levels_per_sample=self.levels_per_sample > 0)
        require(self, pictures=self.pictures >= 0, picture_steps=1 <= self.picture_steps <= MAX_STEPS)

    @property
    def is_on(self) -> bool:
        """Whether anything is measured."""
        return bool(self.every and self.sets)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run.

    Args:
        name: Of the run, in what is shown.
        run: Folder that everything is written to.
        steps: Optimiser steps.
        data: Sets, mixture, sizes, packing.
        mllm: Qwen3-VL, frozen; None for the built-in model's.
        codec: The VAE, frozen; None for the built-in model's.
        prompt_cache: Folder for the MLLM's states: every prompt is asked once, before the DiT is loaded, and the MLLM
            let go of then. For small sets with a cache of latents; None asks the MLLM in every step.
        mllm_device: Where the MLLM is: "model" for where the model is, or "cpu", which with a `prompt_cache` is slow
            but once.
        model: Which DiT.
        starts_from: A plain Wan 2.2 checkpoint, a LoomVideo checkpoint, or the run folder of the stage before; None
            for random weights.
        starts_from_ema: Take averaged weights where `starts_from` has them, as the official loader does.
        lora: Train a LoRA on the frozen weights of `starts_from`; None trains the whole model.
        seed: Of everything that is drawn.
        grad_accumulation: Packs to an optimiser step, on each rank.
        optimiser: What updates the weights, and its rate.
        timestep_shift_scale: How far noise levels move toward noise with the size of a sample.
        timestep_base_tokens: Size in tokens from which on they move.
        noise_draws: Noise levels that each sample is met at in a step, each with noise of its own; what is read of it
            is read once. A token budget counts one (ours).
        round_timestep: Round what the time embedding is made of, as the official run does, which casts it to bfloat16;
            the scale of the source stays exact.
        precision: "bf16": weights in bf16 with a float32 copy in the optimiser, as the official run has them;
            "bf16-autocast": float32 weights, computation in bf16; "fp32": all in float32.
        read_ahead: Packs that a second process decodes, encodes and asks the MLLM about while the model trains; on a
            CPU alone.
        gradient_checkpointing: Keep no activations inside blocks but compute them again, to save memory.
        ema: Decay of the averaged weights, which are kept in float32; 0 for none.
        checkpoint: When it is saved.
        validation: How it is measured.
        most_skipped_steps: So many steps in a row whose loss or gradient is not finite end the run.
    """

    name: str
    run: Path
    steps: int
    data: DataConfig
    mllm: Path | None = None
    codec: Path | None = None
    prompt_cache: Path | None = None
    mllm_device: Literal["model", "cpu"] = "model"
    model: ModelSettings = field(default_factory=ModelSettings)
    starts_from: Path | None = None
    starts_from_ema: bool = True
    lora: LoraSettings | None = None
    seed: int = 0
    grad_accumulation: int = 1
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    timestep_shift_scale: float = 0.5
    timestep_base_tokens: int = 64
    noise_draws: int = 1
    round_timestep: bool = False
    precision: Precision = "bf16"
    read_ahead: int = 0
    gradient_checkpointing: bool = True
    ema: float = 0.0
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    most_skipped_steps: int = 10

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        require(self, steps=self.steps > 0, grad_accumulation=self.grad_accumulation > 0, ema=0 <= self.ema < 1)
        require(
            self,
            timestep_shift_scale=self.timestep_shift_scale >= 0,
            timestep_base_tokens=self.timestep_base_tokens > 0,
            noise_draws=self.noise_draws > 0,
            read_ahead=self.read_ahead >= 0,
        )
        require(self, most_skipped_steps=self.most_skipped_steps > 0)
        if self.prompt_cache is not None and self.data.cache is None:
            raise ConfigError(
                "prompt_cache without data.cache, so that every epoch has other prompts",
                expected="both, or neither",
                fix="name a folder in data.cache",
            )
        if self.lora is not None and self.starts_from is None:
            raise ConfigError(
                "a LoRA of random weights", expected="weights that it changes", fix="name them in starts_from"
            )

    @property
    def mllm_stays(self) -> bool:
        """Whether the MLLM is beside the model while it is trained."""
        return self.prompt_cache is None and self.mllm_device == "model"


def read_training_config(path: Path, *, overrides: Iterable[str] = ()) -> TrainingConfig:
    """The run that a config file describes.

    Args:
        path: A YAML file.
        overrides: Texts `name.of.setting=value` that hold in place of the file's.

    Raises:
        ConfigError: Something in it makes no sense; the message names it.
    """
    values = read_settings(path, overrides=overrides)
    if "rl" in values:
        raise ConfigError(
            f"{path}, which describes an RL run",
            expected="a run without rl",
            fix="give it to python -m loom_core.cli.rl",
        )
    return build(TrainingConfig, values)


FREE_TO_CHANGE = (
    "name", "run", "steps", "prompt_cache", "mllm_device", "starts_from", "starts_from_ema", "lora.starts_from",
    "checkpoint.", "validation.", "most_skipped_steps", "gradient_checkpointing", "read_ahead", "optimiser.device",
    "data.workers", "data.prefetch", "data.cache", "data.cache_reserve_gb", "data.max_bad_share",
    "data.min_bad_samples", "rl.stops.",
)  # fmt: skip
"""Settings, or groups of them, that do not change what the next steps compute: a resumed run may change them."""


def changed_settings(before: Mapping[str, Any], config: TrainingConfig) -> dict[str, tuple[Any, Any]]:
    """Settings that differ between a saved run and a config in a way that changes what is trained.

    Args:
        before: What `flatten` gave for the saved run's config.
        config: Of the run that goes on.

    Returns:
        Dotted name -> (value before, value now).
    """
    now = flatten(config)
    free = tuple(name for name in FREE_TO_CHANGE if name != "steps" or config.optimiser.decay == "constant")
    return {
        name: (before.get(name), now.get(name))
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and not _is_free(name, free)
    }


def _is_free(name: str, free: Iterable[str]) -> bool:
    return any(name == entry or (entry.endswith(".") and name.startswith(entry)) for entry in free)


def with_steps(config: TrainingConfig, steps: int | None) -> TrainingConfig:
    """The config with another number of steps; None keeps its own."""
    return config if steps is None else replace(config, steps=steps)


def require(settings: Any, **conditions: bool) -> None:
    """Refuse the first setting whose condition does not hold.

    Args:
        settings: A dataclass.
        conditions: Name of a field -> whether its value makes sense.

    Raises:
        ConfigError: One does not hold, or the number is not finite.
    """
    for name, holds in conditions.items():
        value = getattr(settings, name)
        finite = not isinstance(value, float) or math.isfinite(value)
        if not (holds and finite):
            raise ConfigError(
                f"{name} {value!r}", expected="a number that makes sense there", fix="correct the config file"
            )
