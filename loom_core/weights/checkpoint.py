"""One lazy view of any checkpoint: what it holds is known at once, the data is read tensor by tensor."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ..errors import WeightsError
from .dtypes import COMPUTE_DTYPES
from .identify import ModelKind, identify
from .key_maps import NativeNames, native_names


@dataclass(frozen=True)
class TensorInfo:
    """What a file says of a tensor before its data is read.

    Args:
        shape: Of the weight that it stands for.
        dtype: Of the data.
        stored_bytes: Bytes of the data, where that is not a number of the dtype for each of the weight (GGUF).
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    stored_bytes: int | None = None

    @property
    def num_elements(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes of its data."""
        return self.num_elements * self.dtype.itemsize if self.stored_bytes is None else self.stored_bytes


@dataclass(frozen=True)
class Packing:
    """How a weight is quantised.

    Args:
        form: See `models.quantised`.
        scale: Name in the file of its scales; None where they are among its own data (GGUF).
    """

    form: str
    scale: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose tensors are read on demand.

    Args:
        path: What the user named.
        files: The files that hold the data; the first one leads.
        layout: How the data is stored, in words ("safetensors", "pickled EMA list" ...).
        infos: Name -> shape and dtype, in file order.
        load: Returns a tensor by name. The tensor is a view of the memory-mapped file where the layout allows it:
            do not write to it.
        metadata: Text stored in the file.
        packings: Name -> how that weight is quantised. Those of ComfyUI's files are known to `packing.with_packings`.
    """

    path: Path
    files: tuple[Path, ...]
    layout: str
    infos: Mapping[str, TensorInfo]
    load: Callable[[str], Tensor] = field(repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict)
    packings: Mapping[str, Packing] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.infos)

    def __iter__(self) -> Iterator[str]:
        return iter(self.infos)

    def __contains__(self, name: object) -> bool:
        return name in self.infos

    def tensor(self, name: str) -> Tensor:
        """Read one tensor.

        Raises:
            WeightsError: There is none of this name.
        """
        if name not in self.infos:
            raise WeightsError(f"no tensor {name!r} in {self.path}", fix="list the names with loom_core.cli.inspect")
        return self.load(name)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape."""
        return {name: info.shape for name, info in self.infos.items()}

    @cached_property
    def kind(self) -> ModelKind:
        """Which model this seems to be."""
        return identify(self.shapes)

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(info.num_bytes for info in self.infos.values())

    @property
    def num_parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(info.num_elements for info in self.infos.values())

    @property
    def dtypes(self) -> Counter[torch.dtype]:
        """How many tensors have each dtype."""
        return Counter(info.dtype for info in self.infos.values())

    @property
    def main_dtype(self) -> torch.dtype:
        """The number format, of those that a model can compute in, with most bytes; bfloat16 where there is none."""
        sizes: Counter[torch.dtype] = Counter()
        for info in self.infos.values():
            if info.dtype in COMPUTE_DTYPES:
                sizes[info.dtype] += info.num_bytes
        return max(sizes, key=sizes.__getitem__, default=torch.bfloat16)

    @cached_property
    def naming(self) -> NativeNames:
        """How the names become Wan-native ones.

        Raises:
            WeightsError: Two names stand for the same weight.
        """
        return native_names(self.infos)

    def native(self) -> Checkpoint:
        """The DiT in it under Wan-native names: dead weights and other components left out, the data still lazy.

        Raises:
            WeightsError: Two names stand for the same weight.
        """
        sources = self.naming.sources
        return replace(
            self,
            infos={name: self.infos[source] for name, source in sources.items()},
            load=lambda name: self.load(sources.get(name, name)),  # scales keep their names
            packings={name: self.packings[source] for name, source in sources.items() if source in self.packings},
        )
