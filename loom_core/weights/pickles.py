"""Reading what `torch.save` wrote, without ever running code from the file.

A pickle is a program. torch's restricted loader (`weights_only=True`) runs only the part of it that builds tensors and
plain containers; it is the only loader used here, and there is no option to use another.
"""

from __future__ import annotations

import logging
import pickle
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import WeightsError

logger = logging.getLogger(__name__)

EMA_LIST = "shadow_params"
"""Entry of an official EMA file that holds its nameless tensors."""
WRAPPERS = ("state_dict", "model", "module")
"""Entries under which training programs put the weights, beside optimizer states and counters."""

_OLDEST_SAFE_TORCH = (2, 6)
_REFUSED_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
"""In torch's messages."""
_HARMLESS_GLOBALS = frozenset({"collections.OrderedDict", "torch._utils._rebuild_tensor_v2"})
_LONGEST_PROGRAM = 1 << 26
"""Bytes of a pickle that are looked at for an error message."""


def load_pickle(path: Path) -> Any:
    """Load a pickled file; tensors of the usual zip layout are memory-mapped, not read.

    Args:
        path: The file.

    Raises:
        WeightsError: It holds code, is damaged, or torch is too old to be trusted with it.
    """
    _require_safe_torch(path)
    is_zip = zipfile.is_zipfile(path)
    if not is_zip:
        _refuse_damaged_zip(path)
        logger.warning("%s has the layout of torch before 1.6; it is read into memory as a whole", path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise _as_weights_error(path, error) from error
    except (RuntimeError, ValueError, TypeError, EOFError, AttributeError, KeyError, IndexError, OSError) as error:
        raise _damaged(path, f"{type(error).__name__}: {_first_line(error)}") from error


def named_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in a loaded pickle.

    Args:
        content: What `load_pickle` returned.
        path: For error messages.

    Raises:
        WeightsError: There is none.
    """
    if isinstance(content, dict):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            if len(tensors) < len(content):
                logger.info("%s: %d entries that are no tensors are ignored", path, len(content) - len(tensors))
            return tensors
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), dict):
                return named_tensors(content[wrapper], path)
    entries = f" of {sorted(map(str, content))[:8]}" if isinstance(content, dict) else ""
    raise WeightsError(
        f"{path}, a pickled {type(content).__name__}{entries} without named tensors",
        expected="a state dict: name -> tensor",
        fix="give the file with the model's weights",
    )


def _require_safe_torch(path: Path) -> None:
    # The restricted loader of torch up to 2.5 can be made to run code (CVE-2025-32434).
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < _OLDEST_SAFE_TORCH:
        raise WeightsError(
            f"{path}, a pickle, and torch {torch.__version__}, whose restricted loader can be broken out of",
            expected="torch 2.6 or newer for pickled files",
            fix="update torch, or convert the file to safetensors on another machine",
        )


def _refuse_damaged_zip(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            raise _damaged(path, "its table of contents, which lies at the end, is missing")


def _as_weights_error(path: Path, error: pickle.UnpicklingError) -> WeightsError:
    """Tell a pickle that asks for more than tensors from a damaged one."""
    match = _REFUSED_GLOBAL.search(str(error))
    try:
        wanted = [match.group(1)] if match else sorted(globals_of(_program(path)) - _HARMLESS_GLOBALS)
    except (ValueError, IndexError, zipfile.BadZipFile):  # what pickletools raises on bytes that are no pickle
        return _damaged(path, "not a pickle")
    if wanted:
        return WeightsError(
            f"{path}, a pickle with code in it (it asks for {', '.join(wanted[:5])}); nothing of it was run",
            expected="only tensors",
            fix="do not trust this file; get the weights from the publisher, best as safetensors",
        )
    return WeightsError(
        f"{path}, a pickle that torch did not write", expected="a file of torch.save", fix="give the model's weights"
    )


def globals_of(program: bytes) -> set[str]:
    """The functions and classes that a pickle asks for, read off without running it.

    Args:
        program: The pickle.

    Returns:
        Names like "collections.OrderedDict".

    Raises:
        ValueError: It is no pickle.
    """
    found = set()
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(program):
        if opcode.name == "GLOBAL":
            found.add(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":  # takes module and name from the strings put on the stack before it
            found.add(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    return found


def _program(path: Path) -> bytes:
    """The pickle in a file of either layout."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return file.read(_LONGEST_PROGRAM)
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".pkl")]
        with archive.open(names[0]) as file:
            return file.read(_LONGEST_PROGRAM)


def _damaged(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"{path}, a torch file that is damaged or cut short ({why})",
        expected="a whole file",
        fix="copy or download it again",
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
