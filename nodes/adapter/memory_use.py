"""How much memory a run has, takes, and should take, on the device that it runs on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from comfy import model_management

GPU, PROCESS = "gpu", "process"


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """Bytes; None where a number is not known.

    Args:
        of: What is counted: all that this process has on the GPU (`GPU`), or of ordinary memory (`PROCESS`).
        predicted: What the run should take at most.
        used: The most that was taken since the run began.
        free: What the run could have at most, counted alike.
    """

    of: str
    predicted: int | None = None
    used: int | None = None
    free: int | None = None


class MemoryMeter:
    """Counts over one run, which begins when this is made.

    Args:
        device: Where the model runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._most = 0
        self.of = PROCESS if model_management.is_device_cpu(device) else GPU
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats(device)
        now = self._now()
        self._free = None if now is None else int(model_management.get_free_memory(device)) + now

    @property
    def _is_cuda(self) -> bool:
        return self._device.type == "cuda"

    def use(self, predicted: int | None = None) -> MemoryUse:
        """The numbers of now.

        Args:
            predicted: Handed through.
        """
        now = self._now(at_most=True)
        self._most = max(self._most, now or 0)
        return MemoryUse(of=self.of, predicted=predicted, used=None if now is None else self._most, free=self._free)

    def with_weights(self, step: int, *, to_load: int = 0) -> int | None:
        """What a run should take: what is there already, and what its steps add.

        Args:
            step: Bytes that a step takes beside the weights.
            to_load: Bytes of weights that are on their way to a GPU; 0 once the host has loaded them.
        """
        if self.of == PROCESS:  # weights lie in the process's memory before they are used
            now = self._now()
            return None if now is None else now + step
        return max(to_load, _weights_on(self._device)) + step

    def _now(self, *, at_most: bool = False) -> int | None:
        """What is taken now, or since the run began; None on devices that torch does not count on."""
        if self.of == PROCESS:
            import psutil  # the host brings it

            return int(psutil.Process().memory_info().rss)
        if not self._is_cuda:
            return None
        count = torch.cuda.max_memory_allocated if at_most else torch.cuda.memory_allocated
        return int(count(self._device)) + _weights_on(self._device, beside_torch=True)


def _weights_on(device: torch.device, *, beside_torch: bool = False) -> int:
    """Bytes of weights that the host has on a device; `beside_torch` only those that it pages by itself."""
    models = [one for one in model_management.current_loaded_models if one.device == device and one.model is not None]
    return sum(int(one.model_loaded_memory()) for one in models if not beside_torch or one.model.is_dynamic())
