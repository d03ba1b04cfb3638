"""The frozen MLLM as the trainer asks it: many prompts at once, in batches of bounded size, equal ones once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from ..mllm.encoder import QwenEncoder
from ..mllm.tokens import TokenizedPrompt
from ..types import Clip

MOST_TOKENS = 16_384
"""Of a batch, padding included."""


class PromptBatches:
    """Reads the prompts of a pack; an `objective.ReadPrompts`.

    Args:
        encoder: The MLLM.
        most_tokens: Of a batch, padding included; a longer prompt is a batch of its own.
    """

    def __init__(self, encoder: QwenEncoder, *, most_tokens: int = MOST_TOKENS) -> None:
        self.encoder, self.most_tokens = encoder, most_tokens

    def __call__(self, contents: Sequence[Sequence[str | Clip]]) -> list[tuple[Tensor, ...]]:
        """States of each prompt, one [S, W] a DiT block, in the order given."""
        read = self.encoder.reader.read
        places: dict[str, int] = {}  # words alone -> their place among the prompts; samples without text share one
        prompts: list[TokenizedPrompt] = []
        indices = []
        for content in contents:
            words = "".join(item for item in content if isinstance(item, str))
            is_text = all(isinstance(item, str) for item in content)
            if not (is_text and words in places):
                prompts.append(read(content))
                if is_text:
                    places[words] = len(prompts) - 1
                indices.append(len(prompts) - 1)
            else:
                indices.append(places[words])
        states: dict[int, tuple[Tensor, ...]] = {}
        for batch in batches([len(prompt.input_ids) for prompt in prompts], self.most_tokens):
            found = self.encoder.hidden_states_of_all([prompts[index] for index in batch])
            states |= dict(zip(batch, found, strict=True))
        return [states[index] for index in indices]


def batches(lengths: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """Indices of sequences, grouped so that a padded group has at most so many tokens; like lengths together.

    Args:
        lengths: Tokens of each.
        most_tokens: Of a group, padding included.
    """
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if group and (len(group) + 1) * lengths[index] > most_tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
