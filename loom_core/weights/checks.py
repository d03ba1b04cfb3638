"""What must hold before weights are used: the right model, every weight, every number finite."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import WeightsError
from ..phrases import joined, phrase
from .checkpoint import Checkpoint
from .identify import ModelKind
from .packing import forms_of

MOST_NAMES = 60
"""Names of one sort that an error lists one by one; of more, those alike in several blocks are written as one."""

_BLOCK = re.compile(r"(.*?(?:blocks|layers)\.)(\d+)(\..*)")
_CHUNK = 1 << 24
_REDUCED_AS_THEY_ARE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class KeyReport:
    """How a file's weights differ from a model's.

    Args:
        missing: In the model, not in the file.
        unexpected: In the file, not in the model.
        misshaped: "name (found [..], expected [..])".
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether there is no difference."""
        return not (self.missing or self.unexpected or self.misshaped)

    @property
    def words(self) -> str:
        """What differs, in words; empty where nothing does."""
        told = []
        if self.missing:
            told.append(phrase("{count} missing: {names}", **_counted(self.missing)))
        if self.unexpected:
            told.append(phrase("{count} unexpected: {names}", **_counted(self.unexpected)))
        if self.misshaped:
            told.append(phrase("{count} of wrong shape: {names}", **_counted(self.misshaped)))
        return joined(told, "{this}; {that}") if told else ""

    def __str__(self) -> str:
        return self.words


def _counted(names: Sequence[str]) -> dict[str, int | str]:
    return {"count": len(names), "names": shortened(names)}


def compare_keys(found: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]) -> KeyReport:
    """Compare the weights of a file with those of a model.

    Args:
        found: Name -> shape in the file.
        expected: Name -> shape in the model.
    """
    return KeyReport(
        missing=tuple(name for name in expected if name not in found),
        unexpected=tuple(name for name in found if name not in expected),
        misshaped=tuple(
            f"{name} (found {list(found[name])}, expected {list(shape)})"
            for name, shape in expected.items()
            if name in found and tuple(found[name]) != tuple(shape)
        ),
    )


def require_keys(
    report: KeyReport, path: Path, *, fix: str = "use the whole, unchanged checkpoint of a LoomVideo DiT"
) -> None:
    """Refuse weights that differ from their model.

    Args:
        report: What differs.
        path: The file.
        fix: What to do about it.

    Raises:
        WeightsError: They do; it names the weights.
    """
    if not report.fits:
        raise WeightsError(
            phrase("{path}, whose weights do not fit the model: {differences}", path=path, differences=report.words),
            expected="every weight of the model, of its shape, and no other",
            fix=fix,
        )


def require_dit(checkpoint: Checkpoint, *, allow_plain_wan: bool, allow_quantised: bool = False) -> None:
    """Refuse a file that is no LoomVideo DiT.

    Args:
        checkpoint: What was given as the DiT.
        allow_plain_wan: Whether a plain Wan 2.2 TI2V-5B is welcome too.
        allow_quantised: Whether quantised weights are.

    Raises:
        WeightsError: It is something else, or quantised; the error says what.
    """
    kind = checkpoint.kind
    if not allow_quantised and (forms := forms_of(checkpoint)):
        raise WeightsError(
            f"{checkpoint.path}, whose weights are quantised ({', '.join(forms)})",
            expected="weights in bf16, fp16 or fp32",
            fix="give the file that these were quantised from",
        )
    if kind.is_loomvideo or (allow_plain_wan and kind is ModelKind.WAN_22_5B):
        return
    fix = "give the file with the DiT's weights (gen_model)"
    if kind is ModelKind.WAN_22_5B:
        fix = "use LoomVideo weights, or allow plain Wan (allow_plain_wan) to start a training from it"
    raise wrong_model(checkpoint, expected="a LoomVideo DiT", fix=fix)


def wrong_model(checkpoint: Checkpoint, *, expected: str, fix: str) -> WeightsError:
    """The error for a file of another model than was asked for: it says what the file seems to be."""
    found = phrase("{path}, which is {kind}", path=checkpoint.path, kind=checkpoint.kind.value)
    if checkpoint.kind is ModelKind.UNKNOWN:
        first = ", ".join(list(checkpoint)[:3])
        found = phrase(
            "{this} (the first of its {count} tensors are {names})", this=found, count=len(checkpoint), names=first
        )
    return WeightsError(found, expected=expected, fix=fix)


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds no NaN and no infinity."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    for chunk in tensor.flatten().split(_CHUNK):
        numbers = chunk if chunk.dtype in _REDUCED_AS_THEY_ARE else chunk.float()
        # NaN and infinity stay in a sum, the fastest way to read a tensor; a sum of large numbers may overflow too, so
        # that smallest and largest decide. None of them makes the mask in memory that isfinite makes.
        if math.isfinite(numbers.sum().item()):
            continue
        if not all(math.isfinite(bound.item()) for bound in numbers.aminmax()):
            return False
    return True


def require_finite(tensor: Tensor, name: str, path: Path, *, cast_from: torch.dtype | None = None) -> None:
    """Refuse a weight with NaN or infinity in it.

    Args:
        tensor: The weight.
        name: Its name in the file.
        path: The file.
        cast_from: What it was converted from, if it was.

    Raises:
        WeightsError: It has.
    """
    if is_finite(tensor):
        return
    amount = int((~torch.isfinite(tensor.float())).sum())
    # a NaN is never made by a conversion, infinity is: a number too large for the narrower dtype
    overflowed = cast_from not in (None, tensor.dtype) and not bool(torch.isnan(tensor.float()).any())
    cast = f" after conversion from {cast_from} to {tensor.dtype}" if overflowed else ""
    raise WeightsError(
        f"{path}, whose weight {name!r} has {amount} NaN or infinite values of {tensor.numel()}{cast}",
        expected="finite numbers",
        fix="use bf16 or fp32" if overflowed else "get the file again; it is damaged, or training diverged",
    )


def shortened(names: Sequence[str]) -> str:
    """Names as one text: every one, or of more than `MOST_NAMES` as `blocks.{0-29}.norm3.weight`."""
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    blocks_of: dict[tuple[str, str], list[int]] = {}
    for name in names:
        match = _BLOCK.fullmatch(name)
        before, block, after = match.groups() if match else (name, "", "")
        blocks_of.setdefault((before, after), []).extend([int(block)] if block else [])
    return ", ".join(
        f"{before}{{{ranges(blocks)}}}{after}" if blocks else before for (before, after), blocks in blocks_of.items()
    )


def ranges(numbers: Sequence[int]) -> str:
    """Whole numbers in short: [0, 1, 2, 5] as "0-2,5"."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
