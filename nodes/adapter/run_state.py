"""What the panel of a run in the browser is told, see `web/js/run`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from ...loom_core.types import Branch
from .memory_use import MemoryUse


class Phase(Enum):
    """Of a run. The last one, decoding, is done by the host's nodes: the browser sees those run."""

    LOAD = "load"
    ENCODE = "encode"
    DENOISE = "denoise"


@dataclass(frozen=True, kw_only=True)
class TokenCounts:
    """Tokens of a sample; a source adds none.

    Args:
        target: Of what is made.
        references: Of all references.
        context: Of what the MLLM read for the full branch; None where that is not known.
    """

    target: int
    references: int = 0
    context: int | None = None

    @property
    def total(self) -> int:
        """Tokens that go through the model's blocks."""
        return self.target + self.references


@dataclass(frozen=True, kw_only=True)
class RunState:
    """How far a node is; what is None is not known, or does not concern the phase.

    Args:
        phase: What is being done.
        step: Parts that are done: of denoising its steps.
        steps: Parts in all.
        seconds_left: Estimate for the parts that remain.
        tokens: That the model works on.
        branches: Of guidance, those that the step under way runs; a shortcut may leave out all of them.
        memory: On the device of the model.
        guidance_scale: Text guidance, with the default filled in.
        visual_guidance_scale: Visual guidance; None where there is no visual branch.
        notice: What the user should know about the branches, in a sentence; empty if all is as usual.
    """

    phase: Phase
    step: int | None = None
    steps: int | None = None
    seconds_left: float | None = None
    tokens: TokenCounts | None = None
    branches: tuple[Branch, ...] | None = None
    memory: MemoryUse | None = None
    guidance_scale: float | None = None
    visual_guidance_scale: float | None = None
    notice: str = ""

    def message(self) -> dict[str, Any]:
        """As it is sent."""
        branches = None if self.branches is None else [branch.value for branch in self.branches]
        tokens = None if self.tokens is None else {**asdict(self.tokens), "total": self.tokens.total}
        return {**asdict(self), "phase": self.phase.value, "tokens": tokens, "branches": branches}
