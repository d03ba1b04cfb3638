"""Conversion of any accepted checkpoint to the one file that this library prefers: safetensors, Wan-native names.

The metadata says where it comes from. Nothing in it depends on the time or the machine, so that the same input gives
the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
from .gguf_saving import GgufEntry, form_for, save_gguf
from .hashing import file_sha256
from .identify import ModelKind
from .loading import key_report
from .memory import release_pages
from .quantise import MATRICES, Scheme, comfy_entries, quantise
from .reading import open_checkpoint
from .saving import Entry, save_safetensors

Progress = Callable[[int, int], None]
"""Receives the bytes done and the bytes in all, first of the source's hash, then of its tensors. What it raises ends
the conversion, and nothing is left behind."""

ARCHITECTURE = "wan"
"""What ComfyUI-GGUF calls the family that the DiT is of."""

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
    scheme: Scheme | None = None,
) -> ConversionReport:
    """Write a checkpoint of the DiT as one file; at most one tensor is in memory at a time.

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
        scheme: Quantises the matrices of the blocks; the rest is as `dtype` says. One of GGUF makes the file that.

    Raises:
        ConfigError: The target exists, its folder does not, or its ending is that of another format.
        WeightsError: The source is damaged, unsafe, of another model, quantised, incomplete or not finite.
        OutputError: The target cannot be written.
        ResourceError: The disk is full; nothing is left behind.
    """
    target = Path(target)
    check_target(target, overwrite=overwrite, scheme=scheme)
    checkpoint = open_checkpoint(source, ema=ema)
    require_dit(checkpoint, allow_plain_wan=True)
    detected = detect_config(checkpoint, config)
    require_keys(key_report(checkpoint, LoomDiT(detected, device="meta")), checkpoint.path)
    tell = teller(checkpoint, checkpoint.native().num_bytes, progress)
    entries = converted_entries(
        checkpoint.native(), in_file=checkpoint.naming.in_file, dtype=dtype, tell=tell, change=change, scheme=scheme
    )
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
        content_sha256=save(target, entries, metadata=metadata, architecture=ARCHITECTURE),
    )


def check_target(target: Path, *, overwrite: bool, scheme: Scheme | None = None) -> None:
    """Refuse a target before anything is read.

    Raises:
        ConfigError: See `convert_checkpoint`.
    """
    wanted, other = (".gguf", ".safetensors") if scheme is not None and scheme.is_gguf else (".safetensors", ".gguf")
    if target.suffix.lower() == other:  # every reader would take it for the other format
        raise ConfigError(f"the name {target}", expected=f"one in {wanted}", fix=f"{target.with_suffix(wanted)}")
    if target.is_dir():
        raise ConfigError(
            f"the folder {target}", expected="the name of a new file", fix=f"{target / 'dit.safetensors'}"
        )
    if target.exists() and not overwrite:
        raise ConfigError(f"the file {target}", expected="a new name", fix="choose another, or use --overwrite")
    if not target.parent.is_dir():
        raise ConfigError(f"no folder {target.parent}", expected="an existing folder", fix="make it first")


def teller(checkpoint: Checkpoint, num_bytes: int, progress: Progress | None) -> Callable[[int], None]:
    """What is told the number of bytes of each piece that is done.

    Args:
        checkpoint: Whose files are hashed.
        num_bytes: Of the tensors that are converted after that.
        progress: Told of all.
    """
    total = sum(file.stat().st_size for file in checkpoint.files) + num_bytes
    done = 0

    def tell(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        if progress is not None:
            progress(done, total)

    return tell


def converted_entries(
    checkpoint: Checkpoint,
    *,
    tell: Callable[[int], None],
    in_file: Callable[[str], str] = str,
    dtype: torch.dtype | None = None,
    change: Change | None = None,
    scheme: Scheme | None = None,
) -> list[Entry] | list[GgufEntry]:
    """What is written for each tensor of a checkpoint.

    Args:
        checkpoint: Under the names of the new file.
        tell: Told of the bytes that were read.
        in_file: What the source calls a tensor, for errors.
        dtype: See `convert_checkpoint`.
        change: See `convert_checkpoint`.
        scheme: See `convert_checkpoint`.
    """

    def converted(name: str, info: TensorInfo, *, share: int = 1) -> Tensor:
        original = checkpoint.tensor(name)
        result = (original if change is None else change(name, original)).to(info.dtype)
        if result is not original:
            release_pages(original)
        require_finite(result, in_file(name), checkpoint.path, cast_from=original.dtype)
        tell(original.nbytes // share)
        return result

    def gguf_entry(name: str, info: TensorInfo, form: str) -> GgufEntry:
        is_matrix = MATRICES.fullmatch(name) is not None
        written = form_for(info.shape, dtype or info.dtype, form if is_matrix else None)
        return GgufEntry(name, info.shape, written, lambda: converted(name, info))

    def quantised(name: str, info: TensorInfo, form: str) -> tuple[Tensor, Tensor]:
        weight = converted(name, info, share=2)
        made = quantise(weight, form)
        release_pages(weight)
        return made

    def entries(name: str, info: TensorInfo) -> Iterator[Entry]:
        written = TensorInfo(info.shape, dtype if dtype is not None and info.dtype.is_floating_point else info.dtype)
        if scheme is not None and MATRICES.fullmatch(name):
            yield from comfy_entries(name, info, lambda: quantised(name, info, scheme.form), scheme.form)
        else:
            yield Entry(name, written, lambda: converted(name, written), release=release_pages)

    if scheme is not None and scheme.is_gguf:
        return [gguf_entry(name, info, scheme.form) for name, info in checkpoint.infos.items()]
    return [entry for name, info in checkpoint.infos.items() for entry in entries(name, info)]


def save(
    target: Path, entries: list[Entry] | list[GgufEntry], *, metadata: Mapping[str, str], architecture: str
) -> str:
    """Write converted entries as what they are for.

    Args:
        target: The new file.
        entries: See `converted_entries`.
        metadata: Text to store.
        architecture: What GGUF files call the model.

    Returns:
        The content hash.

    Raises:
        LoomError: See `save_safetensors` and `save_gguf`.
    """
    packed = [entry for entry in entries if isinstance(entry, GgufEntry)]
    if packed:
        return save_gguf(target, packed, architecture=architecture, metadata=metadata)
    return save_safetensors(target, [entry for entry in entries if isinstance(entry, Entry)], metadata=metadata)


def _metadata(
    checkpoint: Checkpoint,
    config: DiTConfig,
    entries: list[Entry] | list[GgufEntry],
    *,
    tell: Callable[[int], None],
) -> dict[str, str]:
    return {
        FORMAT_KEY: FORMAT,
        FORMAT_VERSION_KEY: str(FORMAT_VERSION),
        CONFIG_KEY: config.to_json(),
        **origin(checkpoint, entries, tell=tell),
    }


def origin(
    checkpoint: Checkpoint, entries: list[Entry] | list[GgufEntry], *, tell: Callable[[int], None]
) -> dict[str, str]:
    """Metadata of where a file comes from."""
    source = checkpoint.files[0]
    dtypes = sorted({str(entry.info.dtype).removeprefix("torch.") for entry in entries})
    return {
        "model": checkpoint.kind.value,
        "dtype": ",".join(dtypes),
        "source_layout": checkpoint.layout,
        "source_files": ",".join(file.name for file in checkpoint.files),
        "source_sha256": ",".join(file_sha256(file, tell=tell) for file in checkpoint.files),
        "source_name": source.name,
        "torch_version": torch.__version__,
    }
