"""A model whose weights are spread over the ranks: FSDP2, block by block, put around the model from outside.

Every weight is split along its first dimension, in equal runs of rows of which the last ones may be shorter or empty.
A block's weights are whole in a rank only while that block runs. Optimiser and averages never see more than their own
rows, as plain tensors; `local_part`, `part_of` and `whole_of` lead from one form to the other.

Source of the plan: torchtitan's `apply_fsdp`. Differences: the root's weights, which include the projector that every
block uses, are given back after a forward pass too, so that a model that is only measured keeps no stale copy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MissingExtraError


def shard(model: nn.Module, mesh: Any) -> None:
    """Spread the weights of a model with `blocks` over the ranks of a mesh, in place.

    What it computes stays the same; its dtype too, but gradients are added up in float32.

    Args:
        model: The same weights on every rank, on the device of the mesh.
        mesh: A `DeviceMesh` of one dimension, of all ranks.

    Raises:
        MissingExtraError: This torch is too old.
    """
    try:
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    except ImportError as error:
        raise old_torch() from error
    policy = MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)
    for part in (*model.get_submodule("blocks").children(), model):
        fully_shard(part, mesh=mesh, mp_policy=policy, reshard_after_forward=True)


def old_torch() -> MissingExtraError:
    """This torch lacks something that training in several processes needs."""
    return MissingExtraError(
        "torch", "training in several processes, in version 2.9 or newer", fix=f"update torch {torch.__version__}"
    )


def is_sharded(tensor: Tensor) -> bool:
    """Whether this process has only its part of a tensor."""
    return hasattr(tensor, "to_local")


def local_part(tensor: Tensor) -> Tensor:
    """What of a tensor lies in this process, in the same memory: the tensor itself, or the rows of a sharded one."""
    if not is_sharded(tensor):
        return tensor
    with torch.no_grad():
        rows: Tensor = tensor.detach().to_local()  # type: ignore[attr-defined]
    return rows


def part_of(whole: Tensor, like: Tensor) -> Tensor:
    """The rows of a whole tensor that `local_part` has of another one of that shape; a view."""
    if not is_sharded(like) or not whole.dim():
        return whole
    mesh: Any = like.device_mesh  # type: ignore[attr-defined]
    rows = -(-len(whole) // mesh.size())
    start = min(mesh.get_local_rank() * rows, len(whole))
    return whole[start : start + rows]


def as_sharded(part: Tensor, like: Tensor, mesh: Any) -> Tensor:
    """A part as what torch takes for a tensor spread over a mesh, in the same memory where it is on its device.

    Args:
        part: Rows that `part_of` gives.
        like: The sharded tensor that they are shaped after.
        mesh: All ranks, with the device that the result has.
    """
    from torch.distributed.tensor import DTensor, Shard

    return DTensor.from_local(
        part.to(mesh.device_type), mesh, [Shard(0)], run_check=False, shape=like.shape, stride=like.stride()
    )


def whole_of(part: Tensor, like: Tensor) -> Tensor:
    """All rows of what every rank has its part of; all ranks call this together.

    Args:
        part: Rows that `part_of` gives, on any device; or the whole of a tensor that is not sharded.
        like: The tensor that they are shaped after.
    """
    if not is_sharded(like):
        return part
    whole: Tensor = as_sharded(part, like, like.device_mesh).full_tensor()  # type: ignore[attr-defined]
    return whole
