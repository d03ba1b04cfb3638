"""How much of a run's work may be left out, from nothing to what costs a little likeness; and the names for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Shortcuts:
    """Forward passes that a run leaves out, at a loss; the defaults leave out none.

    Args:
        guidance_every: Behind `guidance_share`, all branches run in every Nth step that is computed, and the
            full branch alone in the others; 1 runs all in each, 0 in none.
        guidance_share: Share of the steps, from the first on, in which all branches run, 0 to 1.
        reuse_threshold: A step is not computed while the change that its prediction must have gone through stays
            below this share of it; 0 computes every step.
        reuse_after: Share of the steps, from the first on, that are computed whatever the threshold, 0 to 1.
    """

    guidance_every: int = 1
    guidance_share: float = 0.2
    reuse_threshold: float = 0.0
    reuse_after: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers out of range.

        Raises:
            ConfigError: See the ranges above.
        """
        if not 0 <= self.guidance_share <= 1:
            raise ConfigError(
                f"guidance share {self.guidance_share}", expected="0 to 1", fix="1 runs all branches in every step"
            )
        if self.guidance_every < 0:
            raise ConfigError(
                f"guidance every {self.guidance_every} steps", expected="0 or more", fix="0 never runs them again"
            )
        if not 0 <= self.reuse_after <= 1:
            raise ConfigError(f"reuse after {self.reuse_after}", expected="0 to 1", fix="0 may reuse the fourth step")
        if not (math.isfinite(self.reuse_threshold) and self.reuse_threshold >= 0):
            raise ConfigError(
                f"reuse threshold {self.reuse_threshold}", expected="0 or more", fix="0 computes every step"
            )

    @property
    def is_exact(self) -> bool:
        """Whether nothing is left out."""
        return (self.guidance_every == 1 or self.guidance_share == 1) and self.reuse_threshold == 0


@dataclass(frozen=True, kw_only=True)
class Speed:
    """A named trade of likeness for time.

    Args:
        shortcuts: What is left out.
        about: One line for `--help`.
    """

    shortcuts: Shortcuts
    about: str


EXACT = "exact"

SPEEDS: dict[str, Speed] = {
    EXACT: Speed(shortcuts=Shortcuts(), about="every branch in every step, nothing lost"),
    "balanced": Speed(shortcuts=Shortcuts(reuse_threshold=0.05), about="about every second step reused, hardly a loss"),
    "fast": Speed(shortcuts=Shortcuts(reuse_threshold=0.1), about="about two of three reused, a small loss"),
}
"""Speeds by name; what each loses is measured in docs/performance.md."""


def get_speed(name: str) -> Speed:
    """Speed of a name.

    Raises:
        ConfigError: No speed has it.
    """
    if name not in SPEEDS:
        raise ConfigError(f"speed {name!r}", expected=f"one of {', '.join(SPEEDS)}", fix="leave it out for exact")
    return SPEEDS[name]
