"""Reading what `torch.save` wrote, without ever running code from the file.

A pickle is a program. torch's restricted loader (`weights_only=True`) runs only the part of it that builds tensors and
plain containers; it is the only loader used here, and there is no option to use another.
"""

from __future__ import annotations

import logging
import pickle
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
_FORBIDDEN_GLOBAL = re.compile(r"(?:Unsupported global: GLOBAL|Unsupported class|GLOBAL) ([\w.]+)")


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
    text = str(error)
    forbidden = _FORBIDDEN_GLOBAL.search(text)
    if forbidden is None and "invalid load key" in text:
        return _damaged(path, "not a pickle")
    if forbidden is None and "Weights only" not in text and "nsupported" not in text:
        return _damaged(path, _first_line(error))
    wanted = f" (it asks for {forbidden.group(1)})" if forbidden else ""
    return WeightsError(
        f"{path}, a pickle with code in it{wanted}; nothing of it was run",
        expected="only tensors",
        fix="do not trust this file; get the weights from the publisher, best as safetensors",
    )


def _damaged(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"{path}, a torch file that is damaged or cut short ({why})",
        expected="a whole file",
        fix="copy or download it again",
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
