"""What our CONDITIONING carries, under which names, and how it is made.

The tensor is [1, S, blocks * W]: the states of every block's MLLM layer side by side, so that core nodes that carry,
combine or store conditioning work on it. Latents in it are as the VAE made them; the model normalises them once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ...loom_core.types import Branch, Task
from ..sockets import ReferenceClip, SourceClip

TASK = "loom_task"
"""Value of a `Task`."""
BRANCH = "loom_branch"
"""Value of a `Branch`."""
NUM_LAYERS = "loom_num_layers"
"""Blocks whose states lie side by side in the tensor."""
SOURCE_LATENT = "loom_source_latent"
"""[1, 48, F, H, W]."""
SOURCE_STRENGTH = "loom_source_strength"
"""float."""
SOURCE_CURVE = "loom_source_curve"
"""Points (sigma, factor), see `SourceClip.strength_curve`."""
SOURCE_MASK = "loom_source_mask"
"""[1, F, H / 2, W / 2]."""
REFERENCE_LATENTS = "reference_latents"
"""List of [1, 48, F, H, W]; core's name, so that core's ReferenceLatent node adds to it."""
REFERENCE_INDICES = "loom_reference_indices"
"""Temporal indices of the first references of the list; those behind take the trained default."""

Conditioning = list[list[Any]]


def make_conditioning(
    states: Sequence[Tensor],
    *,
    task: Task,
    branch: Branch,
    source: SourceClip | None = None,
    references: Sequence[ReferenceClip] = (),
) -> Conditioning:
    """ComfyUI's CONDITIONING of one branch.

    Args:
        states: One [S, W] a DiT block, in block order.
        task: What is asked.
        branch: Which branch it is.
        source: What is edited; the unconditional branch has none.
        references: In the order of their mentions; the unconditional branch has none.

    Returns:
        One entry; its tensor is bfloat16 [1, S, blocks * W] on the CPU.
    """
    tensor = rearrange(torch.stack(tuple(states)), "n s w -> 1 s (n w)").to(torch.bfloat16).cpu()
    return around(tensor, num_layers=len(states), task=task, branch=branch, source=source, references=references)


def around(
    tensor: Tensor,
    *,
    num_layers: int,
    task: Task,
    branch: Branch,
    source: SourceClip | None = None,
    references: Sequence[ReferenceClip] = (),
) -> Conditioning:
    """The same around states that lie side by side already; the tensor itself is what the conditioning holds.

    Args:
        tensor: bfloat16 [1, S, num_layers * W] on the CPU.
        num_layers: Blocks whose states it holds.
        task: See `make_conditioning`.
        branch: See `make_conditioning`.
        source: See `make_conditioning`.
        references: See `make_conditioning`.
    """
    values: dict[str, Any] = {TASK: task.value, BRANCH: branch.value, NUM_LAYERS: num_layers}
    if source is not None:
        values[SOURCE_LATENT] = source.latents
        values[SOURCE_STRENGTH] = source.strength
        if source.strength_curve:
            values[SOURCE_CURVE] = source.strength_curve
        if source.mask is not None:
            values[SOURCE_MASK] = source.mask[None]
    if references:
        values[REFERENCE_LATENTS] = [reference.latents for reference in references]
        values[REFERENCE_INDICES] = tuple(reference.temporal_index for reference in references)
    return [[tensor, values]]


def task_of(conditioning: Conditioning) -> Task | None:
    """The task that a conditioning was made for; None if another node made it."""
    name = conditioning[0][1].get(TASK) if conditioning else None
    return None if name is None else Task(name)


def has_visual(conditioning: Conditioning) -> bool:
    """Whether a conditioning has a source or a reference."""
    return any(values.get(SOURCE_LATENT) is not None or values.get(REFERENCE_LATENTS) for _, values in conditioning)
