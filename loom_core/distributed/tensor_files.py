"""Tensors of which every rank has its part, in a folder that any number of ranks reads, one included.

torch.distributed.checkpoint plans who writes and reads what; the files are safetensors (its Hugging Face storage), so
that no pickle is ever read. Single numbers are written as one-element tensors.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..atomic import explained
from ..errors import RankError
from .group import is_of_group
from .sharding import as_sharded, is_sharded, local_part, old_torch

_NUMBER = "#number"
"""Ends the names of single numbers in the files."""
_BYTES_OF_A_FILE = 2 * 10**9
"""About so much of each rank's parts goes into one file; torch has a whole one of them in memory while it writes."""

LikeOf = Callable[[str], Tensor]
"""The weight that a tensor is shaped after, by the tensor's name."""


def save_parts(folder: Path, parts: Mapping[str, Tensor], *, like: LikeOf) -> None:
    """Write tensors; all ranks call this together.

    Args:
        folder: Made if it is not there.
        parts: This rank's, by name; the same names on all ranks. Single numbers are the same everywhere.
        like: Sharded weights of the whole tensors' shapes.

    Raises:
        LoomError: A rank could not write its part.
    """
    import torch.distributed.checkpoint as dcp

    meshes = {part.device.type: _mesh(part.device.type) for part in parts.values() if part.dim()}
    state = {name: as_sharded(part, like(name), meshes[part.device.type]) for name, part in parts.items() if part.dim()}
    state |= {name + _NUMBER: part.reshape(1) for name, part in parts.items() if not part.dim()}
    writer = _storage("HuggingFaceStorageWriter")(
        str(folder), fqn_to_index_mapping=_files_of(state), save_distributed=True
    )
    try:
        dcp.save(state, storage_writer=writer)
    except dcp.CheckpointException as error:
        raise _failed(error.failures, folder) from error


def load_parts(folder: Path, *, like: LikeOf) -> dict[str, Tensor]:
    """Read this rank's parts of what `save_parts` wrote, on any number of ranks; all of them call this together.

    Args:
        folder: Written by `save_parts`.
        like: Weights of the whole tensors' shapes, sharded or not.

    Returns:
        By name, on the CPU.

    Raises:
        KeyError: `like` knows no weight for a name.
        OSError: A file is missing or damaged.
    """
    import torch.distributed.checkpoint as dcp

    reader = _storage("HuggingFaceStorageReader")(str(folder))
    state: dict[str, Tensor] = {}
    for name, entry in reader.read_metadata().state_dict_metadata.items():
        dtype = entry.properties.dtype
        weight = torch.empty(0) if name.endswith(_NUMBER) else like(name)
        if is_sharded(weight) and weight.shape == entry.size:
            empty = torch.empty(local_part(weight).shape, dtype=dtype)
            state[name] = as_sharded(empty, weight, _mesh("cpu"))
        else:
            state[name] = torch.empty(entry.size, dtype=dtype)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # a single process is as welcome
            dcp.load(state, storage_reader=reader, no_dist=not torch.distributed.is_initialized())
    except dcp.CheckpointException as error:
        reason = next(iter(error.failures.values()))[0]
        if is_of_group(reason):
            raise reason from error
        raise OSError(errno.EIO, f"{type(reason).__name__}: {reason}", str(folder)) from error
    return {
        name.removesuffix(_NUMBER): tensor.reshape(()) if name.endswith(_NUMBER) else local_part(tensor)
        for name, tensor in state.items()
    }


def _mesh(device_type: str) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(device_type, (torch.distributed.get_world_size(),))


def _storage(name: str) -> Any:
    """A class of torch that reads or writes safetensors."""
    try:
        from torch.distributed.checkpoint import hf_storage
    except ImportError as error:
        raise old_torch() from error
    if not hasattr(hf_storage, name):
        raise old_torch()
    return getattr(hf_storage, name)


def _files_of(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Number from 1 of the file that each tensor goes to, on every rank."""
    limit, total, numbers = _BYTES_OF_A_FILE * torch.distributed.get_world_size(), 0, {}
    for name, tensor in state.items():
        numbers[name] = 1 + total // limit
        total += tensor.numel() * tensor.element_size()
    return numbers


def _failed(failures: Mapping[int, Any], folder: Path) -> Exception:
    """What the first rank's failure means, of those that had one; itself, if another rank did not answer."""
    rank, (error, _) = min(failures.items())
    if is_of_group(error):
        assert isinstance(error, Exception)
        return error
    if isinstance(error, OSError):
        return explained(error, folder)
    return RankError(
        f"rank {rank} that could not write its part of {folder.name} ({type(error).__name__}: {error})",
        expected="all ranks to write theirs",
        fix="look at what that rank said; older checkpoints are whole",
    )
