"""Open any checkpoint: told by its content, not by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ..errors import WeightsError
from ..phrases import phrase
from .checkpoint import Checkpoint, TensorInfo
from .ema import SIBLING, name_parameters
from .gguf_files import MAGIC, open_gguf
from .layouts import find_weights
from .pickles import EMA_LIST, load_pickle, named_tensors
from .safetensors_files import open_safetensors, open_sharded

_HEAD_BYTES = 64
_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000
"""Bytes. Source: the safetensors format's own limit."""
_ZIP, _PICKLE, _JSON = b"PK\x03\x04", b"\x80", b"{"
_FOREIGN = (
    (
        b"version https://git-lfs",
        "a pointer that Git LFS left in place of the file",
        "fetch the file with git lfs pull",
    ),
    (b"<!DOCTYPE", "a web page", "download the file itself, not the page that shows it"),
    (b"<html", "a web page", "download the file itself, not the page that shows it"),
)
"""(first bytes, what that is, what to do)."""


def open_checkpoint(path: str | Path, *, ema: bool = True) -> Checkpoint:
    """Open a checkpoint without reading its tensors.

    Args:
        path: A safetensors or GGUF file, a shard index, a file of `torch.save`, or a folder (see `layouts.py`).
        ema: Take averaged weights where a folder has them.

    Raises:
        WeightsError: There is no such file, or it is damaged, unsafe or no checkpoint.
        MissingExtraError: It is a GGUF file, and the package that reads those is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise WeightsError(
            phrase("no file {path}", path=path), expected="a checkpoint file or folder", fix="check the path"
        )
    file = find_weights(path, ema=ema) if path.is_dir() else path
    head = _read_head(file)
    if _is_safetensors(head):  # first: the length that such a file begins with may look like the start of a pickle
        checkpoint = open_safetensors(file)
    elif head.startswith(_JSON):
        checkpoint = open_sharded(file)
    elif head.startswith(MAGIC):
        checkpoint = open_gguf(file)
    elif head.startswith((_ZIP, _PICKLE)):
        checkpoint = _open_pickle(file)
    else:
        raise _no_checkpoint(file, head)
    return replace(checkpoint, path=path)


def _is_safetensors(head: bytes) -> bool:
    """Whether a file begins with the length of a JSON header, as eight little-endian bytes, and then that header."""
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    return head[_LENGTH_BYTES:].startswith(_JSON) and length <= _LONGEST_HEADER


def _read_head(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_HEAD_BYTES)
    except OSError as error:
        raise WeightsError(f"{file}, which cannot be read ({error.strerror})", fix="check its permissions") from error


def _open_pickle(file: Path) -> Checkpoint:
    content = load_pickle(file)
    layout = "pickled state dict"
    if isinstance(content, dict) and isinstance(content.get(EMA_LIST), list):
        tensors = _name_ema(content[EMA_LIST], file)
        layout = "pickled EMA list"
    else:
        tensors = named_tensors(content, file)
    return Checkpoint(
        path=file,
        files=(file,),
        layout=layout,
        infos={name: TensorInfo(tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()},
        load=tensors.__getitem__,
    )


def _name_ema(tensors: list[Tensor], file: Path) -> dict[str, Tensor]:
    sibling = file.parent / SIBLING
    live = named_tensors(load_pickle(sibling), sibling) if sibling.is_file() else None
    return name_parameters(tensors, file, sibling=live)


def _no_checkpoint(file: Path, head: bytes) -> WeightsError:
    if not head:
        return WeightsError(
            phrase("{path}, an empty file", path=file), expected="a checkpoint", fix="copy or download it again"
        )
    for first_bytes, what, fix in _FOREIGN:
        if head.lstrip().startswith(first_bytes):
            return WeightsError(phrase("{path}, {what}", path=file, what=what), expected="a checkpoint", fix=fix)
    return WeightsError(
        phrase("{path}, which is no checkpoint (first bytes {head})", path=file, head=repr(head[:8])),
        expected="safetensors, GGUF or a file of torch.save",
        fix="give the file with the model's weights",
    )
