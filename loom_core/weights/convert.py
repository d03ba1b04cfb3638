"""Conversion of any accepted checkpoint to the one file that this library prefers: safetensors, Wan-native names.

The metadata says where it comes from. Nothing in it depends on the time or the machine, so that the same input gives
the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config.model import DiTConfig
from ..errors import ConfigError
from ..models.dit import LoomDiT
from .checkpoint import Checkpoint, TensorInfo
from .checks import require_dit, require_finite, require_keys
from .detect import CONFIG_KEY, FORMAT, FORMAT_KEY, FORMAT_VERSION, FORMAT_VERSION_KEY, detect_config
from .hashing import file_sha256
from .identify import ModelKind
from .loading import key_report
from .memory import release_pages
from .reading import open_checkpoint
from .saving import Entry, save_safetensors

Progress = Callable[[int, int], None]
"""Receives the bytes done and the bytes in all, first of the source's hash, then of its tensors. What it raises ends
the conversion, and nothing is left behind."""

Change = Callable[[str, Tensor], Tensor]
"""Given a weight's Wan-native name and what the file holds, returns what is written, of the same shape."""


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did.

    Args:
        source: The file that was read (of a folder, the one that holds the weights).
        target: The file that was written.
        kind: Which model it is.
        config: Its configuration.
        num_tensors: Tensors written.
        num_bytes: Bytes of their data.
        dropped: Names of dead weights left out.
        foreign: Names left out because they belong to other components.
        content_sha256: Hash of what was written (see `hashing.py`).
    """

    source: Path
    target: Path
    kind: ModelKind
    config: DiTConfig
    num_tensors: int
    num_bytes: int
    dropped: tuple[str, ...]
    foreign: tuple[str, ...]
    content_sha256: str


def convert_checkpoint(
    source: str | Path,
    target: str | Path,
    *,
    dtype: torch.dtype | None = None,
    ema: bool = True,
    overwrite: bool = False,
    config: DiTConfig | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    change: Change | None = None,
    about: Mapping[str, str] | None = None,
) -> ConversionReport:
    """Write a checkpoint of the DiT as one safetensors file; at most one tensor is in memory at a time.

    Args:
        source: See `open_checkpoint`; LoomVideo of any stage, or plain Wan 2.2 TI2V-5B.
        target: The new file.
        dtype: Of all floating-point tensors; None keeps each one's own.
        ema: Take averaged weights where a folder has them.
        overwrite: Replace an existing file.
        config: Overrides what the source says of itself (see `detect_config`).
        progress: Told after each piece.
        change: Makes other weights of those of the source, before they are cast.
        about: Goes into the metadata as well.

    Raises:
        ConfigError: The target exists or its folder does not.
        WeightsError: The source is damaged, unsafe, of another model, incomplete or not finite.
        OutputError: The target cannot be written.
        ResourceError: The disk is full; nothing is left behind.
    """
    target = Path(target)
    _check_target(target, overwrite=overwrite)
    checkpoint = open_checkpoint(source, ema=ema)
    require_dit(checkpoint, allow_plain_wan=True)
    detected = detect_config(checkpoint, config)
    require_keys(key_report(checkpoint, LoomDiT(detected, device="meta")), checkpoint.path)
    tell = _teller(checkpoint, progress)
    entries = _entries(checkpoint, dtype=dtype, tell=tell, change=change)
    metadata = {**_metadata(checkpoint, detected, entries, tell=tell), **(about or {})}
    return ConversionReport(
        source=checkpoint.files[0],
        target=target,
        kind=checkpoint.kind,
        config=detected,
        num_tensors=len(entries),
        num_bytes=sum(entry.info.num_bytes for entry in entries),
        dropped=checkpoint.naming.dropped,
        foreign=checkpoint.naming.foreign,
        content_sha256=save_safetensors(target, entries, metadata=metadata),
    )


def _check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse before anything is read."""
    if target.is_dir():
        raise ConfigError(
            f"the folder {target}", expected="the name of a new file", fix=f"{target / 'dit.safetensors'}"
        )
    if target.exists() and not overwrite:
        raise ConfigError(f"the file {target}", expected="a new name", fix="choose another, or use --overwrite")
    if not target.parent.is_dir():
        raise ConfigError(f"no folder {target.parent}", expected="an existing folder", fix="make it first")


def _teller(checkpoint: Checkpoint, progress: Progress | None) -> Callable[[int], None]:
    """What is told the number of bytes of each piece that is done."""
    total = sum(file.stat().st_size for file in checkpoint.files) + checkpoint.native().num_bytes
    done = 0

    def tell(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        if progress is not None:
            progress(done, total)

    return tell


def _entries(
    checkpoint: Checkpoint, *, dtype: torch.dtype | None, tell: Callable[[int], None], change: Change | None
) -> list[Entry]:
    native = checkpoint.native()

    def converted(name: str, info: TensorInfo) -> Tensor:
        original = native.tensor(name)
        result = (original if change is None else change(name, original)).to(info.dtype)
        if result is not original:
            release_pages(original)
        require_finite(result, checkpoint.naming.in_file(name), checkpoint.path, cast_from=original.dtype)
        tell(original.nbytes)
        return result

    def entry(name: str, info: TensorInfo) -> Entry:
        written = TensorInfo(info.shape, dtype if dtype is not None and info.dtype.is_floating_point else info.dtype)
        return Entry(name, written, lambda: converted(name, written), release=release_pages)

    return [entry(name, info) for name, info in native.infos.items()]


def _metadata(
    checkpoint: Checkpoint, config: DiTConfig, entries: list[Entry], *, tell: Callable[[int], None]
) -> dict[str, str]:
    source = checkpoint.files[0]
    dtypes = sorted({str(entry.info.dtype).removeprefix("torch.") for entry in entries})
    return {
        FORMAT_KEY: FORMAT,
        FORMAT_VERSION_KEY: str(FORMAT_VERSION),
        "model": checkpoint.kind.value,
        CONFIG_KEY: config.to_json(),
        "dtype": ",".join(dtypes),
        "source_layout": checkpoint.layout,
        "source_files": ",".join(file.name for file in checkpoint.files),
        "source_sha256": ",".join(file_sha256(file, tell=tell) for file in checkpoint.files),
        "source_name": source.name,
        "torch_version": torch.__version__,
    }
