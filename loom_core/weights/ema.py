"""Names for official EMA files, which hold a nameless list of tensors in the order of the model's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ..errors import WeightsError
from .key_maps import DEAD_MODULES, MODULES_IN_BLOCK

SIBLING = Path("..", "latest", "gen_model.pth")
"""Where, seen from the EMA file's folder, the trainer puts the live weights, whose names are in the same order."""

_NORMS_WITHOUT_BIAS = ("norm_q", "norm_k")
_HEAD = (
    "scale_shift_table",
    *(
        f"{module}.{part}"
        for module in (
            "patch_embedding",
            "condition_embedder.time_embedder.linear_1",
            "condition_embedder.time_embedder.linear_2",
            "condition_embedder.time_proj",
            f"{DEAD_MODULES[0]}.linear_1",
            f"{DEAD_MODULES[0]}.linear_2",
        )
        for part in ("weight", "bias")
    ),
)
_TAIL = (
    "proj_out.weight",
    "proj_out.bias",
    "mllm_embedder.norm.weight",
    "mllm_embedder.linear_1.weight",
    "mllm_embedder.linear_1.bias",
    "mllm_embedder.linear_2.weight",
    "mllm_embedder.linear_2.bias",
)
_SOURCE = ("source_patch_embedding.weight", "source_patch_embedding.bias")


def parameter_order(num_layers: int, *, has_source: bool = True) -> tuple[str, ...]:
    """Official names of the official DiT's parameters, in the order in which it registers them.

    Args:
        num_layers: Transformer blocks.
        has_source: Whether the source embedding is among them.

    Source: order recorded from the official class (golden `weights/layout.json`).
    """
    blocks = (f"blocks.{index}.{name}" for index in range(num_layers) for name in _names_in_block())
    return (*_HEAD, *blocks, *_TAIL, *(_SOURCE if has_source else ()))


def name_parameters(
    tensors: Sequence[Tensor], path: Path, *, sibling: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Give the tensors of an EMA list their official names.

    Args:
        tensors: The list.
        path: Of the EMA file, for error messages.
        sibling: The live weights saved beside it; None derives the order from the number of tensors.

    Raises:
        WeightsError: Number or shapes do not fit the names.
    """
    names = tuple(sibling) if sibling is not None else _known_order(len(tensors), path)
    if len(names) != len(tensors):
        raise WeightsError(
            f"{len(tensors)} tensors in {path} and {len(names)} in the live weights beside it",
            expected="the same number, since the list has no names of its own",
            fix="load the live weights instead (without EMA)",
        )
    if sibling is not None:
        wrong = [
            f"{name} {tuple(tensor.shape)} instead of {tuple(sibling[name].shape)}"
            for name, tensor in zip(names, tensors, strict=True)
            if tensor.shape != sibling[name].shape
        ]
        if wrong:
            raise WeightsError(
                f"{len(wrong)} tensors in {path} of another shape than the live weights: {'; '.join(wrong[:10])}",
                expected="the same order and shapes",
                fix="load the live weights instead (without EMA)",
            )
    return dict(zip(names, tensors, strict=True))


def _names_in_block() -> tuple[str, ...]:
    names: list[str] = []
    for module, _ in MODULES_IN_BLOCK:
        if module == "scale_shift_table":
            names.append(module)
        else:
            names.append(f"{module}.weight")
            if not module.endswith(_NORMS_WITHOUT_BIAS):
                names.append(f"{module}.bias")
    return tuple(names)


def _known_order(count: int, path: Path) -> tuple[str, ...]:
    in_block = len(_names_in_block())
    for has_source in (True, False):
        outside = len(parameter_order(0, has_source=has_source))
        if count > outside and (count - outside) % in_block == 0:
            return parameter_order((count - outside) // in_block, has_source=has_source)
    raise WeightsError(
        f"{count} nameless tensors in {path} and no live weights beside it",
        expected=f"a LoomVideo EMA list: {in_block} tensors a block and those outside the blocks",
        fix=f"put the trainer's latest/gen_model.pth at {SIBLING}, or load the live weights",
    )
