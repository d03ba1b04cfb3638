"""LoomDiT as the host calls a diffusion model: with its layers, its wrappers and its hooks around every block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from comfy.ldm.common_dit import pad_to_patch_size
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers
from torch import Tensor

from ....loom_core.config.model import DiTConfig
from ....loom_core.geometry import PATCH
from ....loom_core.models.block import BlockInputs, LoomBlock, inputs_in_turn
from ....loom_core.models.dit import LoomDiT, PreparedConditions
from ....loom_core.types import Condition, Reference
from .operations import HostAttention, with_attention

BLOCK_TYPE = "double_block"
"""What the host and its extensions call the blocks of Wan models, whose names and hooks these have."""


class HostDiT(LoomDiT):
    """The DiT, driven by the host.

    Nothing is kept between two calls: what does not depend on the step comes in as conditions, which
    `LoomVideoModel.extra_conds` makes once a run.

    Args:
        loom_config: Sizes.
        dtype: Of the weights: of the large matrices alone if it is narrower than 16 bits.
        small_dtype: Of all other weights; None is `dtype`.
        device: Where weights are made.
        operations: The host's set of layers.
        image_model: The host's name of the architecture; of no use here.
    """

    def __init__(
        self,
        *,
        loom_config: DiTConfig,
        operations: Any,
        dtype: torch.dtype | None = None,
        small_dtype: torch.dtype | None = None,
        device: torch.device | None = None,
        image_model: str = "",
    ) -> None:
        del image_model
        super().__init__(
            loom_config,
            operations=with_attention(operations),
            device=device,
            dtype=small_dtype or dtype,
            block_dtype=dtype,
        )
        self.dtype = dtype

    def project(self, states: Tensor, like: Tensor) -> Tensor:
        """MLLM states to the contexts of all blocks, one layer after another.

        Args:
            states: [B, S, blocks * W], on any device.
            like: Whose device and dtype the result has.

        Returns:
            [B, S, blocks * D].
        """
        layers = states.chunk(self.config.num_layers, dim=-1)
        return torch.cat([self.mllm_embedder(layer.to(like)) for layer in layers], dim=-1)

    def forward(  # type: ignore[override]  # the host's arguments, not loom_core's
        self,
        x: Tensor,
        timestep: Tensor,
        context: Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **conditions: Any,
    ) -> Tensor:
        """Predict the velocity, through whatever the host's extensions have wrapped around it.

        Args:
            x: Noised latents [B, C, F, H, W], of any size.
            timestep: [B], 0 to 1000.
            context: Projected contexts [B, S, blocks * D]; None if `mllm_states` are given instead.
            control: Of the host's protocol; there are no control nets for this model.
            transformer_options: The host's, of this pass.
            conditions: See `_forward`.

        Returns:
            [B, C, F, H, W].
        """
        del control
        options = {} if transformer_options is None else transformer_options
        wrappers = get_all_wrappers(WrappersMP.DIFFUSION_MODEL, options)
        executor = WrapperExecutor.new_class_executor(self._forward, self, wrappers)
        # extensions expect the options as the last positional argument
        velocity: Tensor = executor.execute(x, timestep, context, options, **conditions)
        return velocity

    def _forward(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Tensor | None,
        transformer_options: dict[str, Any],
        *,
        mllm_states: Tensor | None = None,
        source_latent: Tensor | None = None,
        source_mask: Tensor | None = None,
        source_strength: float = 1.0,
        source_curve: Sequence[tuple[float, float]] = (),
        ref_latents: Sequence[Tensor] = (),
        ref_indices: Sequence[int] = (),
        **_: Any,
    ) -> Tensor:
        """The forward pass itself.

        Args:
            x: See `forward`.
            timestep: See `forward`.
            context: See `forward`.
            transformer_options: See `forward`.
            mllm_states: [B, S, blocks * W], to be projected in this pass.
            source_latent: Normalised [B, C, F, H, W], of the size of `x`; None for no source.
            source_mask: [B, 1, F, H, W], a factor for each latent, alike in a token.
            source_strength: Factor of the source.
            source_curve: Points (sigma, factor), see `Condition.source_curve`.
            ref_latents: One normalised [B, C, F, H, W] a reference, of any size.
            ref_indices: Temporal index of each.
            _: What else the host or an extension hands to every model.
        """
        frames, height, width = x.shape[2:]
        latents = _padded(x)
        if context is None:
            assert mllm_states is not None
            context = self.project(mllm_states, latents)
        references = [_padded(reference) for reference in ref_latents]
        source = None if source_latent is None else _padded(source_latent)
        mask = None if source_mask is None else _padded(source_mask)[:, 0, :, ::PATCH, ::PATCH]
        conditions = [
            Condition(
                mllm_hidden_states=(),
                source_latents=None if source is None else source[sample],
                references=tuple(
                    Reference(reference[sample], index)
                    for reference, index in zip(references, ref_indices, strict=True)
                ),
                source_strength=source_strength,
                source_curve=tuple(source_curve),
                source_mask=None if mask is None else mask[sample],
            )
            for sample in range(len(latents))
        ]
        contexts = context.chunk(self.config.num_layers, dim=-1)
        prepared = self.prepare(conditions, latents, contexts=contexts)
        attention = HostAttention(transformer_options)
        tokens, time_embedding = self._run_blocks(latents, timestep, prepared, attention, x=x)
        velocity = self.predict(tokens, time_embedding, prepared.shape)
        return velocity[:, :, :frames, :height, :width]

    def _run_blocks(
        self, latents: Tensor, timestep: Tensor, prepared: PreparedConditions, attention: HostAttention, *, x: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All blocks in turn, each replaced or followed by what extensions ask for, as in the host's Wan models.

        The first block's tokens are made here, so that nobody keeps them while the others run.

        Returns:
            Tokens after the last block, those of references perhaps among them, and the time embedding.
        """
        tokens, inputs = self.embed(latents, timestep, prepared, attention=attention)
        options: Any = attention.transformer_options  # the host writes into them
        replacements: Mapping[Any, Callable[..., Any]] = options.get("patches_replace", {}).get("dit", {})
        followers: Sequence[Callable[..., Any]] = options.get("patches", {}).get(BLOCK_TYPE, ())
        options["total_blocks"], options["block_type"] = len(self.blocks), "double"
        turns = inputs_in_turn(inputs, len(self.blocks))
        for index, (block, context, turn) in enumerate(zip(self.blocks, prepared.contexts, turns, strict=True)):
            options["block_index"] = index
            if (replacement := replacements.get((BLOCK_TYPE, index))) is not None:
                given: dict[str, Any] = {"img": tokens, "txt": context, "vec": inputs.time_rows, "pe": inputs.rope}
                original = _original(cast("LoomBlock", block), inputs)
                tokens = replacement({**given, "transformer_options": options}, {"original_block": original})["img"]
            else:
                # an extension is given as many tokens by the last block as by the others
                tokens = block(tokens, context, inputs if followers else turn)
            for follower in followers:
                given = {"img": tokens, "x": x, "vec": inputs.time_embedding, "block_index": index, "img_offset": 0}
                tokens = follower({**given, "transformer_options": options})["img"]
        return tokens, inputs.time_embedding


def _original(block: LoomBlock, inputs: BlockInputs) -> Callable[[Mapping[str, Any]], dict[str, Tensor]]:
    """A block as extensions call it, with arguments that they may have changed."""

    def run(args: Mapping[str, Any]) -> dict[str, Tensor]:
        changed = replace(
            inputs, time_rows=args["vec"], rope=args["pe"], attention=HostAttention(args["transformer_options"])
        )
        return {"img": block(args["img"], args["txt"], changed)}

    return run


def _padded(latents: Tensor) -> Tensor:
    """Latents [B, C, F, H, W] with rows and columns made even, as the host does it."""
    padded: Tensor = pad_to_patch_size(latents, (1, PATCH, PATCH))
    return padded
