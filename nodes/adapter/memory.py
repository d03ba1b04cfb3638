"""Out of memory: free what the host holds, try once more in a way that needs less, then say so in one sentence."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import torch
from comfy import model_management

from ...loom_core.errors import ResourceError

Result = TypeVar("Result")

_PLAIN = re.compile(r"DefaultCPUAllocator|MPS backend out of memory")
_SPARE = 0.9
"""Share of the free memory that is counted on."""
_GIB = 1 << 30
USUAL_FIX = "use fewer frames or a smaller size, or start ComfyUI with --lowvram"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on any device.

    Args:
        error: Whatever was raised. Interrupts are never one.
    """
    if not isinstance(error, Exception) or isinstance(error, model_management.InterruptProcessingException):
        return False
    # torch reports a failed allocation on a CPU or a Mac as a plain RuntimeError, which the host does not know
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _PLAIN.search(str(error))):
        return True
    return bool(model_management.is_oom(error))


def free_everything() -> None:
    """Have the host unload all its models and hand cached memory back."""
    model_management.unload_all_models()
    model_management.soft_empty_cache()


def free_others(keep: Collection[Any]) -> None:
    """Have the host unload all models but some, for use while those are at work.

    Args:
        keep: The host's model patchers that must stay where they are.
    """
    kept = [loaded for loaded in model_management.current_loaded_models if any(loaded.model is one for one in keep)]
    for device in {torch.device(model_management.get_torch_device()), *(loaded.device for loaded in kept)}:
        model_management.free_memory(1e30, device, keep_loaded=kept)
    model_management.soft_empty_cache()


def available_memory() -> tuple[int, bool]:
    """Bytes that a run can have, with what the host would unload for it, and whether they are a GPU's."""
    device = model_management.get_torch_device()
    loaded = [one for one in model_management.current_loaded_models if one.device == device and one.model is not None]
    free = model_management.get_free_memory(device) + sum(one.model_loaded_memory() for one in loaded)
    return int(free), not model_management.is_device_cpu(device)


def spare_memory(device: torch.device) -> float:
    """Bytes that may be counted on.

    Args:
        device: Whose memory is meant.
    """
    return _SPARE * float(model_management.get_free_memory(device))


def require_memory(what: str, num_bytes: int, *, expected: Callable[[float], str], fix: str) -> None:
    """Refuse what would not fit into ordinary memory, before the system ends the whole server for it.

    Args:
        what: What takes it, up to the number ("a source of 9 frames, which takes").
        num_bytes: How much it takes.
        expected: What would fit into a number of bytes, in words.
        fix: What to do.

    Raises:
        ResourceError: It is more than can be counted on.
    """
    spare = spare_memory(torch.device("cpu"))
    if num_bytes > spare:
        raise ResourceError(
            f"{what} {num_bytes / _GIB:.1f} GiB of memory where {spare / _GIB:.1f} are free",
            expected=expected(spare),
            fix=fix,
        )


def out_of_memory(what: str, *, expected: str = "", fix: str = "") -> ResourceError:
    """The sentence for a user.

    Args:
        what: What was being done ("encoding the source, 121 frames of 1280 x 704").
        expected: What would have fitted ("at most 65 frames"), where that is known.
        fix: What to do; the usual advice if empty.
    """
    return ResourceError(f"no memory left while {what}", expected=expected, fix=fix or USUAL_FIX)


def free_and_retry(
    attempt: Callable[[], Result],
    *,
    then: Callable[[], Result] | None = None,
    what: str,
    free: Callable[[], None] = free_everything,
    expected: str | Callable[[], str] = "",
    fix: str = "",
) -> Result:
    """Run something; if memory runs out, free what can be freed and run it once more.

    Args:
        attempt: What to do.
        then: How to do it with less memory (in tiles, one after another); None does the same again.
        what: What is being done, for the message ("decoding 121 frames").
        free: Frees memory between the two.
        expected: What would fit, where that is known; a function is asked once everything is freed.
        fix: What to do about it; the usual advice if empty.

    Returns:
        What `attempt` or `then` returned.

    Raises:
        ResourceError: Memory ran out twice; the host's models are unloaded by then.
    """
    result, done = _try(attempt, what)
    if not done:
        free()
        model_management.throw_exception_if_processing_interrupted()
        result, done = _try(then or attempt, what)
    if not done:
        free_everything()
        raise out_of_memory(what, expected=expected() if callable(expected) else expected, fix=fix)
    return result


def _try(attempt: Callable[[], Result], what: str) -> tuple[Any, bool]:
    """(result, True), or (None, False) if memory ran out; by then the traceback, which holds the tensors, is gone."""
    try:
        return attempt(), True
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # the text, not the exception: a log that keeps the record would keep its traceback, and so the tensors
        logging.warning("LoomVideo: out of memory while %s (%s)", what, str(error))
        return None, False
