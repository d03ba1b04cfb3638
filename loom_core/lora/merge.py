"""A LoRA written into the weights that it changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ConfigError
from ..weights.checks import require_dit
from ..weights.convert import ConversionReport, Progress, convert_checkpoint
from ..weights.dtypes import COMPUTE_DTYPES
from ..weights.hashing import file_sha256
from ..weights.reading import open_checkpoint
from .lora_file import LoraFile, open_lora


@dataclass(frozen=True)
class MergeReport:
    """What a merge did.

    Args:
        written: The new file.
        lora: What was merged.
        strength: Of it.
    """

    written: ConversionReport
    lora: LoraFile
    strength: float


def merge_lora(
    base: Path,
    lora: Path,
    target: Path,
    *,
    strength: float = 1.0,
    dtype: torch.dtype | None = None,
    ema: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> MergeReport:
    """Write a model with a LoRA in its weights; at most one weight is in memory at a time.

    Args:
        base: A DiT of any accepted layout.
        lora: A LoRA file of any naming, or the folder of a run that trains one.
        target: The new file.
        strength: Factor of the changes.
        dtype: Of all weights in the new file; None keeps each one's own. The sum is made in float32.
        ema: Take averaged weights where a folder has them.
        overwrite: Replace an existing file.
        progress: See `convert_checkpoint`.

    Raises:
        WeightsError: The LoRA is of another model, or the base is no DiT.
        ConfigError: The base is quantised; the target exists.
    """
    checkpoint = open_checkpoint(base, ema=ema)
    require_dit(checkpoint, allow_plain_wan=True)
    native = checkpoint.native()
    opened = open_lora(lora, native.shapes, ema=ema)
    narrow = [name for name in opened.changes if native.infos[name].dtype not in COMPUTE_DTYPES]
    if narrow:
        raise ConfigError(
            f"{base}, {len(narrow)} of whose changed weights are in {native.infos[narrow[0]].dtype} ({narrow[0]})",
            expected="weights in bf16, fp16 or fp32, which a change can be added to",
            fix="merge into the weights before they are quantised",
        )

    def change(name: str, weight: Tensor) -> Tensor:
        return weight.float() + strength * opened.delta(name) if name in opened.changes else weight

    file = opened.checkpoint.files[0]
    about = {"lora_name": file.name, "lora_sha256": file_sha256(file), "lora_strength": f"{strength:g}"}
    written = convert_checkpoint(
        base, target, dtype=dtype, ema=ema, overwrite=overwrite, progress=progress, change=change, about=about
    )
    return MergeReport(written, opened, strength)
