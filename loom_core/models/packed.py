"""The forward pass of training: samples of any size, with any conditions, as one sequence without padding.

Equal to `LoomDiT.forward` on each sample alone, whose weights it uses through the same modules. A sample's target and
reference tokens lie side by side; samples are sorted by length, so that equal ones are neighbours and share a batched
attention call. Neighbours with the same condition, one sample at several noise levels, share its context as well.

Legend: N samples, T tokens of the pack (targets and references), C latent channels, F H W latent frames, rows and
columns, D width, W the MLLM's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from typing import TYPE_CHECKING, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..geometry import PATCH, LatentShape
from ..types import Condition
from .block import BlockInputs, LoomBlock
from .checks import check_count, check_sources, check_states, checked_shape
from .layers import sinusoidal_embedding
from .references import checked_reference
from .rope import RopeTable, reference_temporal_index, rope_table
from .segments import SegmentAttention, Segments
from .source import source_factor, source_of

if TYPE_CHECKING:
    from .dit import LoomDiT

_cached_rope_table = lru_cache(maxsize=64)(rope_table)  # packs meet the same few sizes again and again


@dataclass(frozen=True)
class _Sample:
    """One sample of a pack, and where it stood among those that were given."""

    place: int
    latents: Tensor
    timestep: Tensor
    condition: Condition
    shape: LatentShape
    references: tuple[LatentShape, ...]

    @property
    def target_tokens(self) -> int:
        return self.shape.tokens

    @property
    def reference_tokens(self) -> int:
        return sum(shape.tokens for shape in self.references)

    @property
    def tokens(self) -> int:
        return self.target_tokens + self.reference_tokens

    @property
    def context_tokens(self) -> int:
        return self.condition.mllm_hidden_states[0].shape[0]


def forward_pack(
    model: LoomDiT,
    latents: Sequence[Tensor],
    timestep: Tensor,
    conditions: Sequence[Condition],
    *,
    checkpointing: bool = False,
    rounded_time: bool = False,
) -> tuple[Tensor, ...]:
    """Predict the velocity (noise - clean) of every sample of a pack.

    Args:
        model: The DiT.
        latents: Noised latents of each sample, [C, F, H, W] of any size.
        timestep: [N], 0 to 1000.
        conditions: One a sample.
        checkpointing: Keep only what enters each block, and compute its inside again in the backward pass.
        rounded_time: Round what the time embedding is made of to bfloat16; the source's scale stays exact.

    Returns:
        One [C, F, H, W] a sample, in the order given.

    Raises:
        ConfigError: A condition or a size does not fit the model.
    """
    samples = _sorted_samples(model, latents, timestep, conditions)
    tokens, inputs = _embed(model, samples, rounded_time=rounded_time)
    prompts = [group[0].condition.mllm_hidden_states for group in _by_condition(samples)]
    draws = checkpointing and any(isinstance(part, nn.Dropout) for part in model.modules())
    for index, block in enumerate(cast("list[LoomBlock]", list(model.blocks))):
        states = [prompt[index] for prompt in prompts]
        step = partial(_run_block, block, model.mllm_embedder, inputs, states)
        if checkpointing:
            tokens = checkpoint(step, tokens, use_reentrant=False, preserve_rng_state=draws)
        else:
            tokens = step(tokens)
    return _predict(model, tokens, inputs, samples)


def _run_block(
    block: LoomBlock, projector: nn.Module, inputs: BlockInputs, states: Sequence[Tensor], tokens: Tensor
) -> Tensor:
    """One block; the samples' states as one and the projector's wide inside are part of what is computed again."""
    together = torch.cat([state.to(tokens) for state in states])[None]
    return block(tokens, projector(together), inputs)


def _sorted_samples(
    model: LoomDiT, latents: Sequence[Tensor], timestep: Tensor, conditions: Sequence[Condition]
) -> list[_Sample]:
    """The pack's samples, checked, those of equal lengths next to each other."""
    config = model.config
    check_count(conditions, len(latents))
    check_states(config, conditions)
    check_sources(config, conditions)
    samples = [
        _Sample(
            place,
            sample,
            level,
            condition,
            shape=checked_shape(config, sample),
            references=tuple(checked_reference(reference, config.in_channels) for reference in condition.references),
        )
        for place, (sample, level, condition) in enumerate(zip(latents, timestep, conditions, strict=True))
    ]
    return sorted(samples, key=lambda sample: (sample.tokens, sample.context_tokens))


def _by_condition(samples: Sequence[_Sample]) -> list[list[_Sample]]:
    """Neighbours that have the very same condition, which attend to one context."""
    return [list(group) for _, group in groupby(samples, key=lambda sample: id(sample.condition))]


def _embed(model: LoomDiT, samples: Sequence[_Sample], *, rounded_time: bool) -> tuple[Tensor, BlockInputs]:
    """The pack's tokens [1, T, D] as they enter the first block, and what every block is given beside them."""
    tokens = _tokens(model, samples)
    timestep = torch.stack([sample.timestep for sample in samples])
    if rounded_time:
        timestep = timestep.bfloat16().float()
    sinusoid = sinusoidal_embedding(timestep, model.config.time_embed_dim).to(tokens.dtype)
    time_embedding = model.time_embedding(sinusoid)  # [N, D]
    lengths = [sample.tokens for sample in samples]
    groups = _by_condition(samples)
    sharing = [sum(sample.tokens for sample in group) for group in groups]
    contexts = [group[0].context_tokens for group in groups]
    inputs = BlockInputs(
        time_embedding=time_embedding,
        time_rows=model.time_projection(time_embedding).float(),  # [N, 6 * D]
        num_target=sum(sample.target_tokens for sample in samples),
        rope=_rope(model, samples).to(tokens.device),
        attention=SegmentAttention(lengths, lengths, attend=model.attention, device=tokens.device),
        context_attention=SegmentAttention(sharing, contexts, attend=model.attention, device=tokens.device),
        segments=_segments(samples),
    )
    return tokens, inputs


def _segments(samples: Sequence[_Sample]) -> Segments:
    """Target tokens of sample n take row n, all reference tokens the row after the last."""
    runs = [
        run
        for row, sample in enumerate(samples)
        for run in ((sample.target_tokens, row), (sample.reference_tokens, len(samples)))
        if run[0]
    ]
    return Segments(*map(tuple, zip(*runs, strict=True)))


def _patches(latents: Tensor) -> Tensor:
    """Latents [C, F, H, W] as one patch a token, [F * H/2 * W/2, C, 1, 2, 2]."""
    return rearrange(latents, "c f (h p) (w q) -> (f h w) c 1 p q", p=PATCH, q=PATCH)


def _tokens(model: LoomDiT, samples: Sequence[_Sample]) -> Tensor:
    """Target tokens with the source added, and reference tokens, of each sample in turn."""
    like = samples[0].latents
    patches, source_patches, factors = [], [], []
    for sample in samples:
        targets = _patches(sample.latents)
        references = [_patches(reference.latents.to(like)) for reference in sample.condition.references]
        patches += [targets, *references]
        if model.config.has_source:
            source_patches.append(_patches(source_of(sample.condition, sample.latents)))
            factor = source_factor(sample.condition, sample.timestep, sample.shape)
            factors.append(factor.to(like.device).expand(sample.target_tokens))
    tokens = model.patch_embedding(torch.cat(patches)).flatten(1)  # [T, D]
    if model.config.has_source:
        source = model.source_patch_embedding(torch.cat(source_patches)).flatten(1)  # [targets, D]
        source = source * torch.cat(factors)[:, None]  # the factors stay float32: in bfloat16 0.999 would be 1
        tokens = tokens + _spread(source.to(tokens.dtype), samples)
    return tokens[None]


def _spread(values: Tensor, samples: Sequence[_Sample]) -> Tensor:
    """Values of target tokens at their places in the pack, zero on reference tokens."""
    parts = []
    for sample, part in zip(samples, values.split([sample.target_tokens for sample in samples]), strict=True):
        parts += [part, part.new_zeros(sample.reference_tokens, part.shape[1])]
    return torch.cat(parts)


def _rope(model: LoomDiT, samples: Sequence[_Sample]) -> RopeTable:
    """The rotary tables of all tokens, [1, T, head_dim / 2]."""
    config = model.config
    make = partial(_cached_rope_table, head_dim=config.head_dim, rounded=config.rope_precision == "bf16")
    tables = []
    for sample in samples:
        tables.append(make(sample.shape))
        for position, shape in enumerate(sample.references):
            index = sample.condition.references[position].temporal_index
            index = reference_temporal_index(position) if index is None else index
            tables.append(make(shape, temporal_index=index))
    return RopeTable(torch.cat([table.cos for table in tables], dim=1), torch.cat([table.sin for table in tables], 1))


def _predict(model: LoomDiT, tokens: Tensor, inputs: BlockInputs, samples: Sequence[_Sample]) -> tuple[Tensor, ...]:
    """Velocities [C, F, H, W] in the order that the samples were given in."""
    counts = [count for sample in samples for count in (sample.target_tokens, sample.reference_tokens)]
    targets = torch.cat(tokens[0].split(counts)[::2])[None]
    lengths = tuple(sample.target_tokens for sample in samples)
    patches = model.head(targets, inputs.time_embedding, Segments(lengths, tuple(range(len(samples)))))
    velocities = {}
    for sample, part in zip(samples, patches[0].split(lengths), strict=True):
        sizes = {"f": sample.shape.frames, "h": sample.shape.height // PATCH, "w": sample.shape.width // PATCH}
        pattern = "(f h w) (p q c) -> c f (h p) (w q)"
        velocities[sample.place] = rearrange(part, pattern, p=PATCH, q=PATCH, **sizes)
    return tuple(velocities[place] for place in range(len(samples)))
