"""Conversion of Qwen3-VL: another number format, or quantised, the names as they were, without the head.

A file becomes a file, which ComfyUI's own loader reads as well. A folder becomes a folder with what else lay in it:
configuration, tokenizer, settings of pictures.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..atomic import make_folder
from ..errors import ConfigError, WeightsError
from ..weights.checkpoint import Checkpoint
from ..weights.checks import compare_keys, require_keys
from ..weights.convert import Progress, check_target, converted_entries, origin, save, teller
from ..weights.key_maps import unique_sources
from ..weights.packing import forms_of
from ..weights.quantise import Scheme
from .loading import build_empty, model_key, open_qwen

WEIGHTS_FILE, GGUF_FILE = "model.safetensors", "model.gguf"
ARCHITECTURE = "qwen3vl"
"""What llama.cpp and ComfyUI-GGUF call the family."""
_WEIGHT_SUFFIXES = (".safetensors", ".index.json", ".bin", ".pth", ".pt", ".gguf")


@dataclass(frozen=True)
class QwenReport:
    """What a conversion did.

    Args:
        source: What was read.
        target: The file that was written.
        num_tensors: Tensors written.
        num_bytes: Bytes of their data.
        dropped: Names of the head's weights, left out.
        content_sha256: Hash of what was written (see `weights.hashing`).
    """

    source: Path
    target: Path
    num_tensors: int
    num_bytes: int
    dropped: tuple[str, ...]
    content_sha256: str


def convert_qwen(
    source: Path,
    target: Path,
    *,
    dtype: torch.dtype | None = None,
    scheme: Scheme | None = None,
    overwrite: bool = False,
    config: Path | None = None,
    progress: Progress | None = None,
) -> QwenReport:
    """Write Qwen3-VL anew; at most one tensor is in memory at a time.

    Args:
        source: A Hugging Face folder, or one safetensors file.
        target: The new folder, or file.
        dtype: Of all floating-point tensors that are not quantised; None keeps each one's own.
        scheme: Quantises the matrices of the decoder layers, the vision tower's blocks and its mergers.
        overwrite: Replace an existing file, also in a folder.
        config: See `load_qwen`.
        progress: Told after each piece.

    Raises:
        ConfigError: The target exists, its folder does not, or its ending is that of another format.
        WeightsError: The source is damaged, of another model, quantised, incomplete or not finite.
        OutputError: The target cannot be written.
        ResourceError: The disk is full; nothing is left behind.
    """
    checkpoint, values = open_qwen(source, config=config)
    if forms := forms_of(checkpoint):
        raise WeightsError(
            f"{source}, quantised already ({', '.join(forms)})",
            expected="Qwen3-VL in bf16, fp16 or fp32",
            fix="give the files that these were quantised from",
        )
    sources = unique_sources({in_file: model_key(in_file) for in_file in checkpoint})
    expected = {name: tuple(weight.shape) for name, weight in build_empty(values).state_dict().items()}
    found = {name: checkpoint.shapes[in_file] for name, in_file in sources.items()}
    require_keys(compare_keys(found, expected), checkpoint.path, fix="give the whole model, or its config.json")
    body = replace(checkpoint, infos={in_file: checkpoint.infos[in_file] for in_file in sources.values()})
    if not source.is_dir():
        check_target(target, overwrite=overwrite, scheme=scheme)
        return _write(checkpoint, body, target, dtype=dtype, scheme=scheme, progress=progress)
    file = GGUF_FILE if scheme is not None and scheme.is_gguf else WEIGHTS_FILE
    is_new = _check_folder(target, file, overwrite=overwrite)
    try:
        report = _write(checkpoint, body, target / file, dtype=dtype, scheme=scheme, progress=progress)
        for path in sorted(source.iterdir()):
            if path.is_file() and not path.name.endswith(_WEIGHT_SUFFIXES):
                shutil.copyfile(path, target / path.name)
    except BaseException:
        if is_new:
            shutil.rmtree(target)
        raise
    return report


def _check_folder(target: Path, file: str, *, overwrite: bool) -> bool:
    """Make the target's folder; returns whether it is new. Refuses one with other weights, which would stay in it."""
    if target.is_dir():
        others = [path.name for path in target.iterdir() if path.name.endswith(_WEIGHT_SUFFIXES)]
        if not overwrite or set(others) - {file}:
            raise ConfigError(
                f"the folder {target}" + (f" with {', '.join(sorted(others))}" if others else ""),
                expected="a new one",
                fix="choose another name" + ("" if overwrite else ", or use --overwrite"),
            )
        return False
    if target.exists() or not target.parent.is_dir():
        raise ConfigError(f"{target} as a folder to make", expected="a free name in a folder", fix="choose another")
    make_folder(target, what="the folder", fix="choose another")
    return True


def _write(
    checkpoint: Checkpoint,
    body: Checkpoint,
    target: Path,
    *,
    dtype: torch.dtype | None,
    scheme: Scheme | None,
    progress: Progress | None,
) -> QwenReport:
    tell = teller(checkpoint, body.num_bytes, progress)
    entries = converted_entries(body, dtype=dtype, tell=tell, scheme=scheme)
    return QwenReport(
        source=checkpoint.path,
        target=target,
        num_tensors=len(entries),
        num_bytes=sum(entry.info.num_bytes for entry in entries),
        dropped=tuple(name for name in checkpoint if name not in body),
        # "format" is what transformers asks safetensors files for
        content_sha256=save(
            target,
            entries,
            metadata={"format": "pt", **origin(checkpoint, entries, tell=tell)},
            architecture=ARCHITECTURE,
        ),
    )
