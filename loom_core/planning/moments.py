"""The largest set of tensors alive at once, found by naming the moments that can be the largest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MARGIN = 1.1
"""Of all but weights: lost by allocators in gaps and rounding, and kernels' scratch memory."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is in a device's memory at one moment of a phase, in bytes.

    Args:
        name: For people.
        weights: Of the part that works.
        held: Made by earlier phases and kept: frames, latents, states of the MLLM.
        cache: Keys and values of all blocks and branches, or their projected contexts.
        conditions: Tokens of source and references, rotary tables; in the prompt's phase the states that are kept.
        latents: Of the solver, or the result of encoding.
        activations: All that dies before the phase ends.
    """

    name: str
    weights: int = 0
    held: int = 0
    cache: int = 0
    conditions: int = 0
    latents: int = 0
    activations: int = 0

    @property
    def new(self) -> int:
        """What the phase itself has made."""
        return self.cache + self.conditions + self.latents + self.activations

    @property
    def total(self) -> int:
        """All that is alive."""
        return self.weights + self.held + self.new

    @property
    def needed(self) -> int:
        """What a device should have free."""
        return self.weights + int(MARGIN * (self.held + self.new))


@dataclass(frozen=True)
class Phase:
    """A part of a run during which one part of the model works.

    Args:
        name: Of the phase.
        moments: Those that can be the largest.
        on_cpu: Whether it takes the processor's memory although the run has a GPU.
    """

    name: str
    moments: tuple[Moment, ...]
    on_cpu: bool = False

    @property
    def peak(self) -> Moment:
        """The moment that takes the most."""
        return max(self.moments, key=lambda moment: moment.total)

    @property
    def new(self) -> int:
        """Most bytes that the phase itself has made at one moment."""
        return max(moment.new for moment in self.moments)


def largest(sums: Iterable[tuple[str, int]]) -> tuple[str, int]:
    """The name and size of the largest."""
    return max(sums, key=lambda entry: entry[1])
