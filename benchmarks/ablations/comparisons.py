"""Which variants there are, and which of them are compared: data alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .changes import (
    Change,
    as_shipped,
    last_layer_only,
    references_after,
    references_at_zero,
    references_before,
    references_inside,
    source_as_tokens,
    source_to_mllm_only,
)

BUDGET = 20e12
"""Operations of the DiT that each run has: about four minutes of one core."""

EDIT_KINDS = ("recolour", "background", "style", "keep")


@dataclass(frozen=True)
class Part:
    """One training run of a variant.

    Args:
        config: Name of a file in configs/training/ablations.
        share: Of the variant's budget.
    """

    config: str
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the judge of the world is shown of a trained variant: `SuitePlan` without its numbers.

    Args:
        tasks: Names of tasks.
        kinds: Kinds of request.
    """

    tasks: tuple[str, ...]
    kinds: tuple[str, ...]


EDITS = Judged(tasks=("edit-image", "text-to-image"), kinds=(*EDIT_KINDS, "generate"))
REFERENCES = Judged(tasks=("reference-to-image", "reference-to-video"), kinds=())
EDITS_ALONE = Judged(tasks=("edit-image",), kinds=(*EDIT_KINDS, "remove"))


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Something that is trained and measured once a seed.

    Args:
        name: In results and on the page.
        parts: One after another, each from the weights of the one before.
        change: Of the conditions.
        judged: What the judge is shown.
        is_built_in_start: Whether the first part starts from the built-in weights; else from random ones.
    """

    name: str
    parts: tuple[Part, ...] = (Part("edits"),)
    change: Change = as_shipped
    judged: Judged = EDITS
    is_built_in_start: bool = False


def _of_references(name: str, change: Change) -> Variant:
    return Variant(name=name, parts=(Part("references"),), change=change, judged=REFERENCES)


def _of_the_built_in(name: str, part: Part) -> Variant:
    return Variant(name=name, parts=(part,), judged=EDITS_ALONE, is_built_in_start=True)


VARIANTS: Mapping[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(name="as-shipped"),
        Variant(name="last-layer", change=last_layer_only),
        Variant(name="source-as-tokens", change=source_as_tokens),
        Variant(name="source-to-mllm-only", change=source_to_mllm_only),
        Variant(name="stage-1-first", parts=(Part("captions", 0.2), Part("edits", 0.8))),
        _of_references("references-before", references_before),
        _of_references("references-after", references_after),
        _of_references("references-inside", references_inside),
        _of_references("references-at-zero", references_at_zero),
        _of_the_built_in("rl", Part("rl")),
        _of_the_built_in("trained-further", Part("further")),
        _of_the_built_in("built-in", Part("further", 0.0)),
    )
}
"""By name."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Variants that stand side by side.

    Args:
        key: Names its place on the page and its picture.
        title: For people.
        variants: Names; the first is the paper's way, which the others are compared with.
        headline: What is plotted as the result: the held-out "loss", or the share "right" of the judge.
    """

    key: str
    title: str
    variants: tuple[str, ...]
    headline: Literal["loss", "right"] = "loss"


COMPARISONS = (
    Comparison(key="deepstack", title="Deepstack against the last layer only", variants=("as-shipped", "last-layer")),
    Comparison(
        key="source",
        title="Scale-and-Add against concatenation and against no source",
        variants=("as-shipped", "source-as-tokens", "source-to-mllm-only"),
    ),
    Comparison(
        key="references",
        title="Temporal index of references",
        variants=("references-before", "references-after", "references-inside", "references-at-zero"),
    ),
    Comparison(key="stage1", title="With and without stage 1", variants=("stage-1-first", "as-shipped")),
    Comparison(key="rl", title="RL or not", variants=("rl", "trained-further", "built-in"), headline="right"),
)
