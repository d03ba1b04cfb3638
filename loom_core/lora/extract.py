"""The difference of two models as a LoRA: what a fine-tuning did, in a small file.

Linear layers get the best approximation of their difference of a given rank, from its largest singular values; all
else that differs (biases, norms, convolutions, tables) is kept whole. Nothing is clamped, so that a difference that has
that rank is met exactly.

Differences from kohya's script and its descendants: they clamp factors at a quantile, which spoils what was exact, and
store convolutions at low rank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ConfigError, WeightsError
from ..weights.checkpoint import Checkpoint
from ..weights.checks import compare_keys, require_dit, require_finite, require_keys
from ..weights.detect import FORMAT_KEY, FORMAT_VERSION_KEY, detect_config
from ..weights.hashing import samples_sha256
from ..weights.reading import open_checkpoint
from ..weights.saving import entries_of, save_safetensors
from .adapters import BASE_CONFIG_KEY, BASE_HASH_KEY, FORMAT, FORMAT_VERSION
from .naming import file_name_of

_OVERSAMPLING = 16
"""Directions that are looked at beyond the rank. Source: Halko, Martinsson and Tropp 2011, who find 5 to 10 enough."""
_ITERATIONS = 4
"""Turns that sharpen the directions where singular values fall slowly, as those of a fine-tuning do."""
_ALWAYS_EXACT = 1024
"""Smaller side of a matrix up to which all singular values are computed."""
_SEED = 0
_TABLE_AXES = 2

Progress = Callable[[int, int], None]
"""Receives the weights done and the weights in all."""


@dataclass(frozen=True)
class ExtractionReport:
    """What was extracted.

    Args:
        target: The file that was written.
        low_rank: Layers whose difference was approximated.
        whole: Weights whose difference was kept.
        unchanged: Weights that are the same in both.
        kept: Share of the squared difference of the approximated layers that the file has, 0 to 1.
        num_bytes: Of the tensors.
    """

    target: Path
    low_rank: int
    whole: int
    unchanged: int
    kept: float
    num_bytes: int


@torch.no_grad()
def extract_lora(
    before: Path,
    after: Path,
    target: Path,
    *,
    rank: int = 32,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    ema: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExtractionReport:
    """Write the difference of two models as a LoRA in the names that ComfyUI reads.

    Args:
        before: The model that the LoRA will be put on.
        after: The same model, trained on.
        target: The new file.
        rank: Of every layer's change, or its smaller side where that is less.
        dtype: Of the file.
        device: Where singular values are computed.
        ema: Take averaged weights where a folder has them.
        overwrite: Replace an existing file.
        progress: Told after each weight.

    Raises:
        WeightsError: They are not the same model, or equal.
        ConfigError: The rank is none; the target exists.
        OutputError: The target cannot be written.
    """
    if rank < 1:
        raise ConfigError(f"rank {rank}", expected="at least 1", fix="32 suits most")
    if target.exists() and not overwrite:
        raise ConfigError(f"the file {target}", expected="a new name", fix="choose another, or use --overwrite")
    first, second = _open_pair(before, after, ema=ema)
    found = _Found()
    for done, name in enumerate(first, start=1):
        difference = _difference(name, first, second, device=device)
        if difference is not None:
            found.add(name, difference, rank=rank, dtype=dtype)
        if progress is not None:
            progress(done, len(first))
    if not found.tensors:
        raise WeightsError(f"{before} and {after}, which hold the same weights", expected="a difference")
    for name, tensor in found.tensors.items():
        require_finite(tensor, name, target, cast_from=torch.float32)
    save_safetensors(target, entries_of(found.tensors), metadata=_about(first, second, rank))
    return ExtractionReport(
        target=target,
        low_rank=found.low_rank,
        whole=found.whole,
        unchanged=len(first) - found.low_rank - found.whole,
        kept=found.kept / found.total if found.total else 1.0,
        num_bytes=sum(tensor.nbytes for tensor in found.tensors.values()),
    )


class _Found:
    """The tensors of a LoRA as they are found, and the sums of squares of layers' differences."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.low_rank = self.whole = 0
        self.total = self.kept = 0.0

    def add(self, name: str, difference: Tensor, *, rank: int, dtype: torch.dtype) -> None:
        """Take a weight's difference; alpha is the rank, so that a product counts once."""
        if not _is_layer(name, difference):
            self.tensors[file_name_of(name, "diff")] = difference.to(dtype).cpu()
            self.whole += 1
            return
        up, down = approximated(difference, rank)
        self.total += float(difference.square().sum())
        self.kept += float((up @ down).square().sum())
        self.tensors |= {
            file_name_of(name, "lora_A.weight"): down.to(dtype).cpu().contiguous(),
            file_name_of(name, "lora_B.weight"): up.to(dtype).cpu().contiguous(),
            file_name_of(name, "alpha"): torch.tensor(float(down.shape[0])),
        }
        self.low_rank += 1


def approximated(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The nearest matrix of a rank, as a product whose factors are of like size.

    Args:
        matrix: float32 [rows, columns].
        rank: Of the product, or the smaller side where that is less.

    Returns:
        [rows, rank] and [rank, columns].
    """
    smaller = min(matrix.shape)
    rank = min(rank, smaller)
    if smaller <= max(_ALWAYS_EXACT, 2 * (rank + _OVERSAMPLING)):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    else:
        basis = _range_of(matrix, rank + _OVERSAMPLING)
        inner, values, right = torch.linalg.svd(basis.mT @ matrix, full_matrices=False)
        left = basis @ inner
    root = values[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]


def _range_of(matrix: Tensor, size: int) -> Tensor:
    """An orthonormal basis [rows, size] of nearly all that a matrix reaches. Source: Halko et al. 2011, algorithm 4.4.

    Drawn from a generator of its own, so that the same models always give the same file.
    """
    drawn = torch.randn(matrix.shape[1], size, generator=torch.Generator().manual_seed(_SEED))
    basis, _ = torch.linalg.qr(matrix @ drawn.to(matrix))
    for _ in range(_ITERATIONS):
        turned, _ = torch.linalg.qr(matrix.mT @ basis)
        basis, _ = torch.linalg.qr(matrix @ turned)
    return basis


def _open_pair(before: Path, after: Path, *, ema: bool) -> tuple[Checkpoint, Checkpoint]:
    """Two files of the same model, under Wan-native names."""
    opened = []
    for path in (before, after):
        checkpoint = open_checkpoint(path, ema=ema)
        require_dit(checkpoint, allow_plain_wan=True)
        opened.append(checkpoint.native())
    first, second = opened
    require_keys(
        compare_keys(second.shapes, first.shapes),
        after,
        fix=f"give two checkpoints of one model; a part that {before} lacks cannot be a change of it",
    )
    return first, second


def _difference(name: str, first: Checkpoint, second: Checkpoint, *, device: torch.device | str) -> Tensor | None:
    """Second less first, in float32; None where they are equal."""
    old, new = (checkpoint.tensor(name).to(device=device, dtype=torch.float32) for checkpoint in (first, second))
    return None if torch.equal(old, new) else new - old


def _is_layer(name: str, weight: Tensor) -> bool:
    return name.endswith(".weight") and weight.dim() == _TABLE_AXES


def _about(first: Checkpoint, second: Checkpoint, rank: int) -> dict[str, str]:
    return {
        FORMAT_KEY: FORMAT,
        FORMAT_VERSION_KEY: str(FORMAT_VERSION),
        BASE_CONFIG_KEY: detect_config(first).to_json(),
        BASE_HASH_KEY: samples_sha256(first),
        "rank": str(rank),
        "alpha": str(rank),
        "extracted_from": second.files[0].name,
    }
