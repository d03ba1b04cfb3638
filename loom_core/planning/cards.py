"""Recipes for cards of common sizes: what each runs, with which measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ResourceError
from ..geometry import MAX_FRAMES, TEMPORAL_STRIDE
from .choice import GIGA, MemoryPlan, choose
from .plan import Setting
from .run import RunSizes
from .sizes import FORMATS, WeightFormat
from .table import plan_data

CARDS = (24, 16, 12, 8, 6)
"""GB of memory. A card's own GB are 7 % larger than ours of 10^9 bytes, about what driver and desktop take of it."""
FORMATS_OF_RECIPES = ("bf16", "fp8")
"""From the best on; int8 takes as much as fp8."""
USUAL = RunSizes(width=832, height=480, num_frames=81, has_source=True)
LARGE = RunSizes(width=1280, height=704, num_frames=MAX_FRAMES, has_source=True)
_PIXELS = 16


@dataclass(frozen=True)
class Recipe:
    """What a card runs with weights of one format.

    Args:
        card: GB.
        form: Number format.
        usual: An edit at 832x480 of 81 frames, or of fewer where those do not fit; None where none does.
        large: An edit at 1280x704 of as many frames as fit, up to the longest in training; None where none does.
    """

    card: int
    form: WeightFormat
    usual: MemoryPlan | None
    large: MemoryPlan | None


def longest(setting: Setting, budget: int) -> MemoryPlan | None:
    """The plan for as many frames as fit, no more than those of the setting; at least 5."""
    for num_frames in range(setting.run.num_frames, TEMPORAL_STRIDE, -TEMPORAL_STRIDE):
        try:
            return choose(replace(setting, run=replace(setting.run, num_frames=num_frames)), budget)
        except ResourceError:
            continue
    return None


def recipe(card: int, form: WeightFormat, setting: Setting) -> Recipe:
    """What a card runs.

    Args:
        card: GB.
        form: Number format of the weights.
        setting: Says which model.
    """
    usual, large = (longest(replace(setting, form=form, run=run), card * GIGA) for run in (USUAL, LARGE))
    return Recipe(card, form, usual, large)


def recipes(setting: Setting, cards: Sequence[int] = CARDS) -> list[Recipe]:
    """For each card the formats up to the first that makes the large run whole without streaming blocks."""
    found: list[Recipe] = []
    for card in cards:
        for name in FORMATS_OF_RECIPES:
            made = recipe(card, FORMATS[name], setting)
            if made.usual is not None:
                found.append(made)
            if _is_enough(made):
                break
    return found


def _is_enough(made: Recipe) -> bool:
    if made.usual is None or made.large is None:
        return False
    if made.usual.measures.streamed_blocks or made.large.measures.streamed_blocks:
        return False
    return made.large.setting.run.num_frames == LARGE.num_frames


def recipe_rows(found: Sequence[Recipe]) -> list[list[str]]:
    """Cells of a table, its head first."""
    head = ["card", "weights", "MLLM on", "832x480", "kept of contexts", "VAE tiles", "needed", "1280x704"]
    return [head, *map(_row, found)]


def recipe_data(found: Sequence[Recipe]) -> list[dict[str, Any]]:
    """The same for programs: of each recipe its plans."""

    def data(plan: MemoryPlan | None) -> dict[str, Any] | None:
        return None if plan is None else plan_data(plan)

    return [
        {"card": one.card, "weights": one.form.name, "usual": data(one.usual), "large": data(one.large)}
        for one in found
    ]


def _row(found: Recipe) -> list[str]:
    usual = found.usual
    assert usual is not None
    measures = usual.measures
    tile = measures.decode_tile
    return [
        f"{found.card} GB",
        found.form.name,
        "processor" if measures.mllm_on_cpu else "GPU, streamed" if measures.streams_mllm else "GPU",
        _length(usual),
        "keys, values" if measures.keeps_keys_values else "projections",
        "whole frames" if tile is None else f"{tile * _PIXELS} px",
        f"{usual.needed / GIGA:.1f} GB",
        "-" if found.large is None else _length(found.large),
    ]


def _length(plan: MemoryPlan) -> str:
    streamed = plan.measures.streamed_blocks
    blocks = f", {streamed} of {plan.setting.model.dit.num_layers} blocks streamed" if streamed else ""
    return f"{plan.setting.run.num_frames} frames{blocks}"


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The same for a page of the documentation."""
    head, *others = rows
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *others)]
