"""LoomDiT: the video diffusion transformer of LoomVideo.

Wan 2.2 TI2V-5B with its text encoder replaced: block i cross-attends to the projected states of one MLLM decoder layer
(Deepstack injection); a source video is added, scaled by the noise level (Scale-and-Add); references are extra tokens
at negative time (Negative Temporal RoPE).

Differences from the official code, none of which changes the numbers:
- what does not depend on the step (projected contexts, cross-attention keys and values, source and reference tokens,
  rotary tables) is prepared once a run by `LoomDiT.prepare`;
- modulation is two rows a sample, not one a token;
- of the references the last block makes keys and values alone, since they leave after it;
- batches: each sample has its own source, references and context length (padding is masked);
- the fixed T5 embedding, which no block reads, does not exist.

Parameter names are Wan-native; `mllm_embedder` and `source_patch_embedding` are the released files' names.

Legend: B batch, C latent channels, F H W latent frames, rows and columns, L target tokens, R reference tokens,
S context tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import cast, overload

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..config.model import DiTConfig
from ..geometry import PATCH, LatentShape
from ..types import Condition
from .attention import KeysValues
from .block import NUM_ROWS, BlockInputs, LoomBlock, inputs_in_turn
from .checks import check_count, check_sources, check_states, checked_shape
from .head import Head
from .layers import sinusoidal_embedding
from .operations import Attention, LayerFactory, Operations, TorchOperations
from .packed import forward_pack
from .padding import length_mask
from .projector import MLLMProjector
from .references import ReferenceTokens, reference_tokens
from .rope import MakeTable, RopeTable, shared_tables
from .source import Curve, add_source, patchify, source_curves, source_tokens


@dataclass(frozen=True)
class PreparedConditions:
    """All that a run's steps share, made by `LoomDiT.prepare`.

    Args:
        shape: Size of the target.
        contexts: Keys and values for each block, or its projected context [B, S, D].
        context_mask: bool [B, S], False on padding; None without padding.
        source: Unscaled source tokens [B, L, D]; None for a model without a source embedding.
        source_curves: Each sample's strength over the noise level; empty where none has one.
        references: The references' tokens; None without references.
        rope: Table of target and reference tokens.
        token_mask: bool [B, L + R], False on padding; None without padding.
    """

    shape: LatentShape
    contexts: tuple[Tensor | KeysValues, ...]
    context_mask: Tensor | None
    source: Tensor | None
    source_curves: tuple[Curve, ...]
    references: ReferenceTokens | None
    rope: RopeTable
    token_mask: Tensor | None


class LoomDiT(nn.Module):
    """The diffusion transformer; see the module's docstring.

    Args:
        config: Sizes.
        operations: Where its layers come from.
        device: Where parameters are made; "meta" makes none.
        dtype: Of the parameters.
        block_dtype: Of the linear layers of the blocks, nearly all of the weights; None is `dtype`.
    """

    def __init__(
        self,
        config: DiTConfig,
        *,
        operations: type[Operations] = TorchOperations,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        block_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.attention: Attention = operations.attention
        dim, eps = config.hidden_size, config.eps
        layers = LayerFactory(operations, None if device is None else torch.device(device), dtype)
        block_layers = replace(layers, linear_dtype=block_dtype)
        self.patch_embedding = layers.patch_embedding(config.in_channels, dim, config.patch_size)
        if config.has_source:
            self.source_patch_embedding = layers.patch_embedding(config.in_channels, dim, config.patch_size)
        if config.has_projector:
            self.mllm_embedder = MLLMProjector(config.mllm_dim, dim, layers=layers)
        self.time_embedding = nn.Sequential(
            layers.linear(config.time_embed_dim, dim), nn.SiLU(), layers.linear(dim, dim)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), layers.linear(dim, NUM_ROWS * dim))
        self.blocks = nn.ModuleList(
            LoomBlock(dim, config.ffn_dim, num_heads=config.num_heads, eps=eps, layers=block_layers)
            for _ in range(config.num_layers)
        )
        self.head = Head(dim, config.out_channels * PATCH * PATCH, eps=eps, layers=layers)

    def fuse_projections(self) -> None:
        """Lay together the weights of projections that read the same tokens, once they are where they will be used.

        Two matrix products a block fewer; names and values stay. For inference: a copy of one block's at a time.
        """
        for block in cast("list[LoomBlock]", list(self.blocks)):
            block.self_attn.fuse()
            block.cross_attn.fuse()

    def _contexts(
        self, conditions: Sequence[Condition], like: Tensor, *, keys_values: bool
    ) -> tuple[Tensor | KeysValues, ...]:
        """Every block's context, made one after another: the states of the others stay where they are.

        Where only the projected context is kept no block is asked for, so that none whose weights are elsewhere comes.
        """
        blocks = cast("Iterable[LoomBlock | None]", self.blocks if keys_values else repeat(None, len(self.blocks)))
        contexts: list[Tensor | KeysValues] = []
        for index, block in enumerate(blocks):
            states = [condition.mllm_hidden_states[index].to(like) for condition in conditions]
            context = self.mllm_embedder(pad_sequence(states, batch_first=True))  # [B, S, D]
            contexts.append(context if block is None else block.cross_attn.keys_values(context))
        return tuple(contexts)

    def _source(self, conditions: Sequence[Condition], target: Tensor) -> Tensor | None:
        """Every sample's source tokens; None for a model that knows no source."""
        check_sources(self.config, conditions)
        return source_tokens(self.source_patch_embedding, conditions, target) if self.config.has_source else None

    def make_tables(self) -> MakeTable:
        """What makes the rotary tables of a run, each once; give it to `prepare` for all of the run's branches."""
        return shared_tables(self.config.head_dim, rounded=self.config.rope_precision == "bf16")

    def prepare(
        self,
        conditions: Sequence[Condition],
        target: Tensor,
        *,
        keys_values: bool = True,
        contexts: Sequence[Tensor | KeysValues] | None = None,
        make_table: MakeTable | None = None,
    ) -> PreparedConditions:
        """Compute once what every step of a run needs.

        Args:
            conditions: One a sample; their tensors may lie on another device and in another dtype.
            target: Latents [B, C, F, H, W] of the size, dtype and device of the run; their values do not matter.
            keys_values: Keep each block's keys and values; False keeps the projected context, half as large, from
                which a block makes them anew at each step.
            contexts: Each block's, already projected, [B, S, D], without padding; the conditions' states are not
                looked at then.
            make_table: From `make_tables`, where several calls share them.

        Returns:
            The prepared conditions; pass them to `forward`.

        Raises:
            ConfigError: A condition does not fit the model or the target.
        """
        check_count(conditions, len(target))
        shape = checked_shape(self.config, target)
        context_mask = None
        if contexts is None:
            check_states(self.config, conditions)
            contexts = self._contexts(conditions, target, keys_values=keys_values)
            context_mask = length_mask([condition.mllm_hidden_states[0].shape[0] for condition in conditions], target)
        make_table = make_table or self.make_tables()
        rope = make_table(shape).to(target.device)
        references = reference_tokens(
            self.patch_embedding,
            conditions,
            target,
            dim=self.config.hidden_size,
            head_dim=self.config.head_dim,
            make_table=make_table,
        )
        token_mask = None
        if references is not None:
            rope = rope.append(references.rope)
            if references.mask is not None:
                token_mask = torch.cat((references.mask.new_ones(len(target), shape.tokens), references.mask), dim=1)
        return PreparedConditions(
            shape=shape,
            contexts=tuple(contexts),
            context_mask=context_mask,
            source=self._source(conditions, target),
            source_curves=source_curves(conditions),
            references=references,
            rope=rope,
            token_mask=token_mask,
        )

    @overload
    def forward(
        self, latents: Tensor, timestep: Tensor, conditions: PreparedConditions | Sequence[Condition]
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        latents: Sequence[Tensor],
        timestep: Tensor,
        conditions: Sequence[Condition],
        *,
        checkpointing: bool,
        rounded_time: bool = False,
    ) -> tuple[Tensor, ...]: ...

    def forward(
        self,
        latents: Tensor | Sequence[Tensor],
        timestep: Tensor,
        conditions: PreparedConditions | Sequence[Condition],
        *,
        checkpointing: bool = False,
        rounded_time: bool = False,
    ) -> Tensor | tuple[Tensor, ...]:
        """Predict the velocity (noise - clean).

        Args:
            latents: Noised latents [B, C, F, H, W]; or a pack of samples [C, F, H, W] of any size (`forward_pack`).
            timestep: [B], 0 to 1000; integers at inference, as the official scheduler gives them.
            conditions: Made by `prepare` for latents of this size; or one condition a sample, as in training, where
                nothing is shared between steps and every weight has to be used inside its module's own forward.
            checkpointing: Of a pack alone, see `forward_pack`.
            rounded_time: Of a pack alone, see `forward_pack`.

        Returns:
            [B, C, F, H, W]; of a pack, one [C, F, H, W] a sample.
        """
        if not isinstance(latents, Tensor):
            assert not isinstance(conditions, PreparedConditions)
            return forward_pack(
                self, latents, timestep, conditions, checkpointing=checkpointing, rounded_time=rounded_time
            )
        if not isinstance(conditions, PreparedConditions):
            conditions = self.prepare(conditions, latents, keys_values=False)
        tokens, inputs = self.embed(latents, timestep, conditions)
        turns = inputs_in_turn(inputs, len(self.blocks))
        for block, context, given in zip(self.blocks, conditions.contexts, turns, strict=True):
            tokens = block(tokens, context, given)
        return self.predict(tokens, inputs.time_embedding, conditions.shape)

    def embed(
        self,
        latents: Tensor,
        timestep: Tensor,
        conditions: PreparedConditions,
        *,
        attention: Attention | None = None,
    ) -> tuple[Tensor, BlockInputs]:
        """What comes before the blocks; whoever runs them one by one calls this, then each block, then `predict`.

        Args:
            latents: See `forward`.
            timestep: See `forward`.
            conditions: Made by `prepare` for latents of this size.
            attention: Of this pass; None for that of the model's operations.

        Returns:
            Tokens [B, L + R, D], target tokens first, and what every block is given beside them.
        """
        tokens = patchify(self.patch_embedding, latents)  # [B, L, D]
        if conditions.source is not None:
            tokens = add_source(tokens, conditions.source, timestep, conditions.source_curves)
        if conditions.references is not None:
            tokens = torch.cat((tokens, conditions.references.tokens), dim=1)  # [B, L + R, D]

        sinusoid = sinusoidal_embedding(timestep, self.config.time_embed_dim).to(tokens.dtype)
        time_embedding = self.time_embedding(sinusoid)  # [B, D]
        inputs = BlockInputs(
            time_embedding=time_embedding,
            time_rows=self.time_projection(time_embedding).float(),  # [B, 6 * D]
            num_target=conditions.shape.tokens,
            rope=conditions.rope,
            attention=attention or self.attention,
            token_mask=conditions.token_mask,
            context_mask=conditions.context_mask,
        )
        return tokens, inputs

    def predict(self, tokens: Tensor, time_embedding: Tensor, shape: LatentShape) -> Tensor:
        """What comes after the blocks: tokens [B, >= L, D] and time embedding [B, D] to a velocity [B, C, F, H, W]."""
        patches = self.head(tokens[:, : shape.tokens], time_embedding)  # [B, L, 4 * C]
        sizes = {"f": shape.frames, "h": shape.height // PATCH, "w": shape.width // PATCH}
        return rearrange(patches, "b (f h w) (p q c) -> b c f (h p) (w q)", p=PATCH, q=PATCH, **sizes)
