"""A local Qwen3-VL as judge: how probable it finds "Yes" when it is asked whether the answer is what was asked for.

The MLLM that reads the run's prompts serves, so that it costs no memory beyond two rows of its head. It is asked
greedily, one question an answer, and nothing it writes is parsed: only the two words' probabilities count.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...data.encoding import thinned
from ...errors import WeightsError
from ...geometry import NATIVE_FPS
from ...mllm.encoder import QwenEncoder
from ...mllm.loading import open_qwen
from ...types import Clip
from .base import Outcome

YES, NO = ("Yes", "yes"), ("No", "no")
_HEADS = (
    "lm_head.weight", "model.lm_head.weight", "model.language_model.embed_tokens.weight",
    "language_model.embed_tokens.weight", "model.embed_tokens.weight",
)  # fmt: skip
"""Where the rows of words lie in a file; the embedding's own where it has no head."""

EDIT_QUESTION = (
    "The first is the original, the second the result of this instruction: {instruction}\n"
    "Was the instruction followed, is everything else as it was, and is the result sharp and without faults? "
    "Answer with one word, Yes or No."
)
REFERENCE_QUESTION = (
    "The last is the result of this instruction, which names the pictures before it: {instruction}\n"
    "Was the instruction followed, and is the result sharp and without faults? Answer with one word, Yes or No."
)
QUESTION = (
    "This is to show: {instruction}\n"
    "Does it show just that, and is it sharp and without faults? Answer with one word, Yes or No."
)


class MLLMJudge:
    """The probability of "Yes" against "No", 0 to 1; a `Reward`.

    Args:
        encoder: Qwen3-VL, loaded.
        rows: Of the words in its head, see `word_rows`.
    """

    def __init__(self, encoder: QwenEncoder, rows: Tensor) -> None:
        self.encoder, self.rows = encoder, rows

    @classmethod
    def of(cls, encoder: QwenEncoder, path: Path) -> MLLMJudge:
        """The judge that an encoder can be.

        Args:
            encoder: Loaded.
            path: Of its weights, which have the head.

        Raises:
            WeightsError: They have none.
        """
        return cls(encoder, word_rows(path, encoder))

    @torch.no_grad()
    def __call__(self, outcomes: Sequence[Outcome]) -> Tensor:
        """See `Reward`."""
        return torch.stack([self._probability(outcome) for outcome in outcomes])

    def _probability(self, outcome: Outcome) -> Tensor:
        prompt = self.encoder.reader.read(question(outcome))
        (states,) = self.encoder.hidden_states_of_all([prompt])
        last = self.encoder.model.language_model.norm(states[-1][-1])  # [W]
        logits = self.rows.to(last).float() @ last.float()  # of both spellings of each word
        yes, no = logits.view(2, -1).logsumexp(dim=1)
        return torch.sigmoid(yes - no).cpu()


def question(outcome: Outcome) -> list[str | Clip]:
    """What the judge is shown and asked."""
    sample = outcome.sample
    result = _clip(outcome.frames, is_image=sample.task.is_image)
    references: list[str | Clip] = list(sample.mllm_references)
    if outcome.source is not None:
        source = _clip(outcome.source, is_image=sample.task.is_image)
        return [*references, source, result, EDIT_QUESTION.format(instruction=sample.instruction)]
    asked = REFERENCE_QUESTION if references else QUESTION
    return [*references, result, asked.format(instruction=sample.instruction)]


def word_rows(path: Path, encoder: QwenEncoder) -> Tensor:
    """Rows of the head for "Yes", "yes", "No" and "no": [4, W].

    Args:
        path: Of Qwen3-VL's weights.
        encoder: Has its tokenizer.

    Raises:
        WeightsError: There is neither head nor embedding.
    """
    checkpoint, _ = open_qwen(path)
    name = next((name for name in _HEADS if name in checkpoint), None)
    if name is None:
        raise WeightsError(f"{path} without a head", expected="lm_head.weight", fix="give all of Qwen3-VL's weights")
    ids = [encoder.tokenizer.text_ids(word)[0] for word in (*YES, *NO)]
    return checkpoint.tensor(name)[ids].clone()


def _clip(frames: Tensor, *, is_image: bool) -> Clip:
    clip = Clip(frames, 0.0 if is_image else NATIVE_FPS, is_image=is_image)
    return clip if is_image else thinned(clip)
