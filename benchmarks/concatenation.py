"""The other way to show a model its source: as more tokens, instead of Scale-and-Add.

For comparison only; no weights were trained for it. The source becomes the first reference, as large as the target:
it goes through the target's patch embedding, every token attends to it, and it leaves before the head. As in published
models of that kind all its tokens go through all of each block; see `forward_whole`.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from loom_core.models.dit import LoomDiT, PreparedConditions
from loom_core.types import Condition, Reference

from .flops import forward_flops
from .workloads import Workload


def concatenate_source(condition: Condition) -> Condition:
    """The same condition with its source as tokens of the sequence.

    Args:
        condition: With a source.
    """
    if condition.source_latents is None:
        raise ValueError("a condition without a source cannot have it concatenated")
    source = Reference(condition.source_latents)
    return replace(condition, source_latents=None, references=(source, *condition.references))


def concatenated_workload(workload: Workload) -> Workload:
    """The sizes after `concatenate_source`."""
    return replace(workload, has_source=False, references=(workload.target, *workload.references))


def concatenated_flops(workload: Workload) -> int:
    """Closed formula of `forward_whole` after `concatenate_source`."""
    return forward_flops(concatenated_workload(workload), drops_references=False)


def forward_whole(model: LoomDiT, latents: Tensor, timestep: Tensor, conditions: PreparedConditions) -> Tensor:
    """What `LoomDiT.forward` does, with nothing left out of the last block; see there."""
    tokens, inputs = model.embed(latents, timestep, conditions)
    for block, context in zip(model.blocks, conditions.contexts, strict=True):
        tokens = block(tokens, context, inputs)
    return model.predict(tokens, inputs.time_embedding, conditions.shape)
