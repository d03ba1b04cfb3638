"""What a run of the DiT costs: operations by closed formula, tokens, processor time.

A pass with gradients counts as three forward passes, as usual: one forward, two backward. Matrix products,
convolutions and attention count; elementwise work, the optimiser, the frozen MLLM and the frozen codec do not.
Processor time has the optimiser in it, and, in RL, rewards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from loom_core.config.model import DiTConfig
from loom_core.data.packing import Pack
from loom_core.geometry import LatentShape
from loom_core.models.dit import LoomDiT
from loom_core.types import Condition

from ..flops import context_flops, forward_flops, prepare_flops
from ..workloads import Workload

WITH_GRADIENTS = 3
"""Forward passes that a pass forward and backward counts as."""


def pack_workloads(
    config: DiTConfig, latents: Sequence[Tensor], conditions: Sequence[Condition]
) -> Iterator[tuple[Workload, Condition]]:
    """The sizes of each sample of a pack, beside its condition."""
    for sample, condition in zip(latents, conditions, strict=True):
        workload = Workload(
            name="training",
            config=config,
            target=LatentShape(*sample.shape[1:]),
            context_tokens=len(condition.mllm_hidden_states[0]),
            has_source=condition.source_latents is not None,
            references=tuple(LatentShape(*reference.latents.shape[1:]) for reference in condition.references),
        )
        yield workload, condition


def pack_flops(config: DiTConfig, latents: Sequence[Tensor], conditions: Sequence[Condition]) -> int:
    """Operations of `models.packed.forward_pack`, in which samples of the very same condition share its contexts."""
    total, seen = 0, set()
    for workload, condition in pack_workloads(config, latents, conditions):
        contexts = context_flops(config, workload.context_tokens)
        total += forward_flops(workload, drops_references=False) + prepare_flops(workload)
        if id(condition) in seen:
            total -= contexts
        seen.add(id(condition))
    return total


class Meter:
    """Counts what goes through a model, and the processor's time meanwhile; stopped at first.

    Args:
        clock: Seconds of the processor, rising.
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self.flops = self.tokens = self.passes = 0
        self._clock, self._seconds, self._since = clock, 0.0, clock()
        self._is_on = False

    @property
    def seconds(self) -> float:
        """Processor time while it counted."""
        return self._seconds + (self._clock() - self._since if self._is_on else 0.0)

    def attach(self, model: LoomDiT) -> None:
        """Count the packs that go through a model."""
        model.register_forward_pre_hook(self._see)

    def start(self) -> None:
        """Count from here on."""
        self._switch(True)

    def stop(self) -> None:
        """Count no more."""
        self._switch(False)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within, nothing counts."""
        before = self._is_on
        self._switch(False)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, is_on: bool) -> None:
        self._seconds, self._since, self._is_on = self.seconds, self._clock(), is_on

    def _see(self, model: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if not self._is_on:
            return
        assert isinstance(model, LoomDiT)
        latents, _, conditions = arguments
        times = WITH_GRADIENTS if torch.is_grad_enabled() else 1
        self.flops += times * pack_flops(model.config, latents, conditions)
        sizes = [workload for workload, _ in pack_workloads(model.config, latents, conditions)]
        self.tokens += sum(size.target.tokens + size.reference_tokens for size in sizes)
        self.passes += len(sizes)


class Packs(Protocol):
    """See `Trainer`."""

    def __next__(self) -> Pack:
        """The next pack."""
        ...


class UncountedPacks:
    """Packs whose making does not count.

    Args:
        packs: Where they come from.
        meter: Is paused.
    """

    def __init__(self, packs: Packs, meter: Meter) -> None:
        self._packs, self._meter = packs, meter

    def __iter__(self) -> Iterator[Pack]:
        return self

    def __next__(self) -> Pack:
        """The next pack."""
        with self._meter.paused():
            return next(self._packs)
