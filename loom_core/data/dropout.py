"""Dropout of conditions, and what is left of a sample for the MLLM and the DiT.

One uniform draw decides for a sample: below the first rate everything goes, below the sum of both the text alone, the
prefix with it. The outcomes exclude each other. What the noise level is shifted by, target and reference tokens, is
counted before dropout, as the official trainer does (`EncodedSample.shift_tokens`).

Source: official `UniTrainDataset._getitem`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from ..config.data import PromptOrder, UnconditionalPrompt
from ..config.sampling import DEFAULT_NEGATIVE_PROMPT
from ..mllm.prompts import NEGATIVE_PREFIX, Part
from ..types import Clip
from .sample import EncodedSample
from .seeds import seeded_generator


class Dropped(Enum):
    """What a sample loses."""

    NOTHING = "nothing"
    TEXT = "text"
    ALL = "all"


@dataclass(frozen=True)
class Conditions:
    """What is left of a sample's conditions.

    Args:
        content: Texts and pictures in reading order, as `mllm.reader.PromptReader.read` takes them.
        source: Latents of the source for the DiT, or None.
        references: Latents of the references for the DiT.
    """

    content: tuple[str | Clip, ...]
    source: Tensor | None
    references: tuple[Tensor, ...]


def dropped_by(draw: float, *, dropout_all: float, dropout_text: float) -> Dropped:
    """What a draw from [0, 1) means."""
    if draw < dropout_all:
        return Dropped.ALL
    if draw < dropout_all + dropout_text:
        return Dropped.TEXT
    return Dropped.NOTHING


def draw_dropout(seed: int, *, dropout_all: float, dropout_text: float) -> Dropped:
    """What a sample loses at its place in the run, by its own seed (`EncodedSample.seed`)."""
    draw = torch.rand((), generator=seeded_generator(seed, "dropout"), dtype=torch.float64)
    return dropped_by(float(draw), dropout_all=dropout_all, dropout_text=dropout_text)


def conditions_of(
    sample: EncodedSample,
    *,
    dropped: Dropped = Dropped.NOTHING,
    source_to_mllm: bool = True,
    source_to_dit: bool = True,
    prompt_order: PromptOrder = "training",
    unconditional_prompt: UnconditionalPrompt = "empty",
) -> Conditions:
    """Everything that a sample's prediction is conditioned on.

    Args:
        sample: With all its conditions.
        dropped: What it loses.
        source_to_mllm: Whether the prompt has the source.
        source_to_dit: Whether the DiT gets its latents.
        prompt_order: See `DataConfig`.
        unconditional_prompt: See `DataConfig`.
    """
    is_bare = dropped is Dropped.ALL
    content = prompt_content(sample, dropped=dropped, source_to_mllm=source_to_mllm, prompt_order=prompt_order)
    if is_bare and unconditional_prompt == "inference":
        content = (NEGATIVE_PREFIX + DEFAULT_NEGATIVE_PROMPT,)
    return Conditions(
        content=content,
        source=sample.source if source_to_dit and not is_bare else None,
        references=() if is_bare else sample.references,
    )


def prompt_content(
    sample: EncodedSample,
    *,
    dropped: Dropped = Dropped.NOTHING,
    source_to_mllm: bool = True,
    prompt_order: PromptOrder = "training",
) -> tuple[str | Clip, ...]:
    """Texts and pictures of a prompt in reading order; neighbouring texts are joined, empty ones left out."""
    if dropped is Dropped.ALL:
        return ()
    text = dropped is Dropped.NOTHING
    source = sample.mllm_source if source_to_mllm else None
    parts: dict[Part, tuple[str | Clip, ...]] = {
        Part.PREFIX: (sample.task.prefix,) if text else (),
        Part.INSTRUCTION: (sample.instruction,) if text else (),
        Part.SOURCE: () if source is None else (source,),
        Part.REFERENCES: sample.mllm_references,
    }
    content: list[str | Clip] = []
    order = sample.task.order if prompt_order == "training" else sample.task.inference_order
    for item in (item for part in order for item in parts[part]):
        last = content[-1] if content else None
        if isinstance(item, str) and isinstance(last, str):
            content[-1] = last + item
        elif item != "":
            content.append(item)
    return tuple(content)
