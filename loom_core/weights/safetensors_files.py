"""Reading safetensors: one file, or shards with an index."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import WeightsError
from .checkpoint import Checkpoint, TensorInfo
from .dtypes import dtype_from_name

INDEX_SUFFIX = ".safetensors.index.json"


def open_safetensors(path: Path) -> Checkpoint:
    """Open one safetensors file; tensors are views of the memory-mapped file.

    Args:
        path: The file.

    Raises:
        WeightsError: It is truncated, no safetensors file, or has a number format unknown here.
    """
    try:
        handle = safe_open(path, framework="pt", device="cpu")
        slices = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118 - a handle, not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path}, a safetensors file that is damaged or cut short ({error})",
            expected="a whole file",
            fix="copy or download it again",
        ) from error
    return Checkpoint(
        path=path,
        files=(path,),
        layout="safetensors",
        infos={
            name: TensorInfo(tuple(part.get_shape()), dtype_from_name(part.get_dtype()))
            for name, part in slices.items()
        },
        load=_loader(handle),
        metadata=handle.metadata() or {},
    )


def open_sharded(index_path: Path) -> Checkpoint:
    """Open a set of safetensors shards through its index.

    Args:
        index_path: The `*.safetensors.index.json` file; the shards lie beside it.

    Raises:
        WeightsError: The index is damaged, or a shard or a tensor that it names is missing.
    """
    shard_of_name = read_index(index_path)
    shard_names = sorted(set(shard_of_name.values()))
    missing = [shard for shard in shard_names if not (index_path.parent / shard).is_file()]
    if missing:
        raise WeightsError(
            f"{len(missing)} of {len(shard_names)} shards missing beside {index_path}: {', '.join(missing)}",
            expected="every file that the index names",
            fix="copy or download the missing ones",
        )
    shards = {shard: open_safetensors(index_path.parent / shard) for shard in shard_names}
    absent = [name for name, shard in shard_of_name.items() if name not in shards[shard]]
    if absent:
        raise WeightsError(
            f"{len(absent)} tensors that {index_path} promises are not in its shards: {', '.join(absent[:5])} ...",
            expected="index and shards of the same model",
            fix="download index and shards together",
        )
    metadata: dict[str, str] = {}
    for shard in shards.values():
        metadata.update(shard.metadata)
    return Checkpoint(
        path=index_path,
        files=(index_path, *(index_path.parent / shard for shard in shard_names)),
        layout=f"safetensors in {len(shards)} shards",
        infos={name: shards[shard].infos[name] for name, shard in shard_of_name.items()},
        load=lambda name: shards[shard_of_name[name]].load(name),
        metadata=metadata,
    )


def _loader(handle: Any) -> Callable[[str], Tensor]:
    def load(name: str) -> Tensor:
        tensor: torch.Tensor = handle.get_tensor(name)
        return tensor

    return load


def read_index(index_path: Path) -> dict[str, str]:
    """Name of each tensor -> name of the shard beside the index that holds it.

    Raises:
        WeightsError: It is damaged, or names files in other folders.
    """
    try:
        shard_of_name = json.loads(index_path.read_text(encoding="utf-8"))["weight_map"]
        shards = set(shard_of_name.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{index_path}, no index of safetensors shards ({type(error).__name__}: {error})",
            expected='a JSON object with a "weight_map"',
            fix="download it again",
        ) from error
    outside = sorted(str(shard) for shard in shards if str(shard) != PurePath(str(shard)).name)
    if outside:  # an index could otherwise point at any file of the machine
        raise WeightsError(
            f"shards outside the folder of {index_path}: {', '.join(outside)}",
            expected="plain file names",
            fix="do not use this index",
        )
    return dict(shard_of_name)
