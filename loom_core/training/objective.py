"""The training objective of a pack: what of its conditions is dropped, what the MLLM says, the errors of the model.

Everything drawn for a sample follows from its own seed, on the CPU: the same on every device and rank, whatever else is
in the pack. (The official trainer seeds every rank alike, so that first draws coincide across ranks.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config.data import PromptOrder, UnconditionalPrompt
from ..config.training import TrainingConfig
from ..data.dropout import Conditions, Dropped, conditions_of, draw_dropout
from ..data.sample import EncodedSample
from ..models.dit import LoomDiT
from ..sampling.schedule import BASE_TOKENS
from ..types import Clip, Condition, Reference
from .packed import Draws, draw, pack_errors

ReadPrompts = Callable[[Sequence[Sequence[str | Clip]]], Sequence[tuple[Tensor, ...]]]
"""States of the MLLM for each prompt, one [S, W] a DiT block; on any device, without gradients."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """What the objective depends on beside model and samples.

    Args:
        shift_scale: How far noise levels move toward noise with the size of a sample.
        base_tokens: Size in tokens from which on they move.
        dropout_all: Share of samples that lose all conditions.
        dropout_text: Share of samples that lose all text.
        source_to_mllm: Whether the prompt has the source.
        source_to_dit: Whether the DiT gets its latents.
        prompt_order: See `DataConfig`.
        unconditional_prompt: See `DataConfig`.
        noise_draws: Noise levels that each sample is met at, each with noise of its own.
        rounded_timesteps: Give the model its time rounded to bfloat16, as the official run does.
        token_budget: Most tokens of a pack that is made here, of a sample at several noise levels.
        autocast: Compute in bfloat16 with float32 weights.
        checkpointing: Compute the insides of blocks again in the backward pass instead of keeping them.
    """

    shift_scale: float
    base_tokens: int = BASE_TOKENS
    dropout_all: float = 0.0
    dropout_text: float = 0.0
    source_to_mllm: bool = True
    source_to_dit: bool = True
    prompt_order: PromptOrder = "training"
    unconditional_prompt: UnconditionalPrompt = "empty"
    noise_draws: int = 1
    rounded_timesteps: bool = False
    token_budget: int = 16_384
    autocast: bool = False
    checkpointing: bool = False

    @classmethod
    def of(cls, config: TrainingConfig) -> ObjectiveSettings:
        """What a config says of the objective."""
        data = config.data
        return cls(
            shift_scale=config.timestep_shift_scale,
            base_tokens=config.timestep_base_tokens,
            dropout_all=data.dropout_all,
            dropout_text=data.dropout_text,
            source_to_mllm=data.source_to_mllm,
            source_to_dit=data.source_to_dit,
            prompt_order=data.prompt_order,
            unconditional_prompt=data.unconditional_prompt,
            noise_draws=config.noise_draws,
            rounded_timesteps=config.round_timestep,
            token_budget=data.token_budget,
            autocast=config.precision == "bf16-autocast",
            checkpointing=config.gradient_checkpointing,
        )


def drawn_dropout(sample: EncodedSample, settings: ObjectiveSettings) -> Dropped:
    """What a sample loses at its place in the run."""
    return draw_dropout(sample.seed, dropout_all=settings.dropout_all, dropout_text=settings.dropout_text)


def left_of(sample: EncodedSample, dropped: Dropped, settings: ObjectiveSettings) -> Conditions:
    """What is left of a sample's conditions when it loses something."""
    return conditions_of(
        sample,
        dropped=dropped,
        source_to_mllm=settings.source_to_mllm,
        source_to_dit=settings.source_to_dit,
        prompt_order=settings.prompt_order,
        unconditional_prompt=settings.unconditional_prompt,
    )


class PackObjective:
    """Squared errors of a model's predictions for a pack.

    Args:
        model: The DiT, or what wraps it; called as a module.
        read_prompts: Asks the MLLM.
        settings: See `ObjectiveSettings`.
    """

    def __init__(self, model: LoomDiT, read_prompts: ReadPrompts, settings: ObjectiveSettings) -> None:
        self.model, self.read_prompts, self.settings = model, read_prompts, settings
        self._prepared: dict[int, tuple[Sequence[EncodedSample], list[Condition]]] = {}

    def prepare(self, samples: Sequence[EncodedSample]) -> list[Condition]:
        """What the model is conditioned on for each sample of a pack, after dropout."""
        return self.conditions(samples, [drawn_dropout(sample, self.settings) for sample in samples])

    def accept(self, samples: Sequence[EncodedSample], prepared: list[Condition]) -> None:
        """Take what `prepare` gave elsewhere for a pack that a later call is about.

        Args:
            samples: The very object that the call will be given.
            prepared: Of these samples.
        """
        self._prepared[id(samples)] = samples, prepared

    def __call__(self, samples: Sequence[EncodedSample]) -> Tensor:
        """The squared error of each sample, summed over its elements, float32 [N], at what is drawn for it.

        With several draws it is their mean.
        """
        _, conditions = self._prepared.pop(id(samples), (samples, None))
        if conditions is None:
            conditions = self.prepare(samples)
        times = self.settings.noise_draws
        met = [sample for sample in samples for _ in range(times)]
        given = [condition for condition in conditions for _ in range(times)]  # the very same, so that it is read once
        errors = self._errors(met, given, self._draw(samples, times))
        return errors.unflatten(0, (len(samples), times)).mean(1)

    def at_levels(self, sample: EncodedSample, levels: Tensor) -> Tensor:
        """The squared error of one sample, summed over its elements, at each of some noise levels.

        Args:
            sample: Keeps all its conditions.
            levels: [K], in (0, 1); the noise is the same at all of them. As many as fit the token budget are a pack.

        Returns:
            float32 [K].
        """
        (condition,) = self.conditions([sample], [Dropped.NOTHING])
        noise = self._draw([sample]).noises[0]
        tokens = sample.shift_tokens + len(condition.mllm_hidden_states[0])
        at_once = max(1, self.settings.token_budget // tokens)
        errors = [
            self._errors([sample] * len(part), [condition] * len(part), Draws(part, (noise,) * len(part)))
            for part in levels.split(at_once)
        ]
        return torch.cat(errors)

    def _draw(self, samples: Sequence[EncodedSample], times: int = 1) -> Draws:
        settings = self.settings
        return draw(samples, shift_scale=settings.shift_scale, base_tokens=settings.base_tokens, times=times)

    def conditions(self, samples: Sequence[EncodedSample], dropped: Sequence[Dropped]) -> list[Condition]:
        """What the model is conditioned on for each sample when it loses something."""
        left = [left_of(*pair, self.settings) for pair in zip(samples, dropped, strict=True)]
        states = self.read_prompts([entry.content for entry in left])
        return [_condition(*pair) for pair in zip(left, states, strict=True)]

    def has_visual(self, sample: EncodedSample) -> bool:
        """Whether anything of a sample is left without its text: a source or references."""
        left = left_of(sample, Dropped.TEXT, self.settings)
        return bool(left.content or left.references) or left.source is not None

    def velocities(
        self,
        latents: Sequence[Tensor],
        timestep: Tensor,
        conditions: Sequence[Condition],
        *,
        rounded_time: bool = False,
    ) -> tuple[Tensor, ...]:
        """What the model predicts, computed as in training; with gradients where they are kept.

        Args:
            latents: Noised, of each sample of a pack, [C, F, H, W].
            timestep: [N], 0 to 1000.
            conditions: One a sample.
            rounded_time: Round the time embedding where the settings say so of training.
        """
        dtype = next(self.model.parameters()).dtype
        with self._autocast():
            return self.model(
                [noised.to(dtype) for noised in latents],
                timestep,
                conditions,
                checkpointing=self.settings.checkpointing and torch.is_grad_enabled(),
                rounded_time=rounded_time and self.settings.rounded_timesteps,
            )

    def _autocast(self) -> torch.autocast:
        device = next(self.model.parameters()).device
        return torch.autocast(device.type, torch.bfloat16, enabled=self.settings.autocast)

    def _errors(self, samples: Sequence[EncodedSample], conditions: Sequence[Condition], draws: Draws) -> Tensor:
        with self._autocast():
            return pack_errors(
                self.model,
                [sample.target for sample in samples],
                conditions,
                draws,
                checkpointing=self.settings.checkpointing,
                rounded_timesteps=self.settings.rounded_timesteps,
            )


def _condition(left: Conditions, states: tuple[Tensor, ...]) -> Condition:
    return Condition(
        mllm_hidden_states=states,
        source_latents=left.source,
        references=tuple(Reference(latents) for latents in left.references),
    )
