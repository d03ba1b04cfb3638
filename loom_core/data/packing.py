"""Samples to packs: as many as fit a budget of tokens, none decoded twice, none lost.

The budget counts everything that takes memory: target and reference tokens of the DiT and the tokens of the prompt.
The sample that would overflow a pack is kept and opens the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..config.data import PromptOrder
from ..mllm.reader import PromptReader
from .dropout import prompt_content
from .problems import BadSample
from .sample import EncodedSample, SampleError
from .stream import Positioned, SampleStream

PromptTokens = Callable[[EncodedSample], int]
"""Number of tokens of a sample's whole prompt, before dropout."""


@dataclass(frozen=True)
class Pack:
    """Samples of one training step of one rank.

    Args:
        samples: At least one.
        tokens: Of the DiT and the prompts, together.
        state: Of the loader after this pack; give it to a new loader to go on with the next one.
        left_out: Samples that cannot be used, met since the pack before and not known from earlier epochs.
    """

    samples: tuple[EncodedSample, ...]
    tokens: int
    state: dict[str, Any] = field(default_factory=dict, repr=False)
    left_out: tuple[BadSample, ...] = ()


def prompt_counter(
    reader: PromptReader, *, source_to_mllm: bool = True, prompt_order: PromptOrder = "training"
) -> PromptTokens:
    """Counts prompts exactly as the MLLM's own reader writes them.

    Args:
        reader: Of the MLLM.
        source_to_mllm: Whether the MLLM sees the source.
        prompt_order: See `DataConfig`.
    """

    def count(sample: EncodedSample) -> int:
        return reader.count(prompt_content(sample, source_to_mllm=source_to_mllm, prompt_order=prompt_order))

    return count


class PackStream:
    """The packs of one rank, without end.

    Args:
        samples: Where they come from.
        token_budget: Most tokens of a pack.
        prompt_tokens: Counts a prompt.
        max_samples: Most samples of a pack; None for no limit.
    """

    def __init__(
        self,
        samples: SampleStream,
        *,
        token_budget: int,
        prompt_tokens: PromptTokens,
        max_samples: int | None = None,
    ) -> None:
        self.samples = samples
        self.token_budget = token_budget
        self.max_samples = max_samples
        self._prompt_tokens = prompt_tokens
        self._carry: tuple[Positioned, int] | None = None

    def __iter__(self) -> Iterator[Pack]:
        return self

    def __next__(self) -> Pack:
        """The next pack.

        Raises:
            MediaError: Too many samples cannot be used.
        """
        taken: list[EncodedSample] = []
        total = 0
        while self.max_samples is None or len(taken) < self.max_samples:
            if self._carry is None:
                self._carry = self._next_fitting()
            item, tokens = self._carry
            if total + tokens > self.token_budget:
                break
            taken.append(item.sample)
            total += tokens
            self._carry = None
        return Pack(tuple(taken), total, self.state(), self.samples.guard.take_new())

    def state(self) -> dict[str, Any]:
        """Where the stream stands, as plain values: a new one that is given this goes on with the same packs."""
        carried = None if self._carry is None else self._carry[0]
        return self.samples.state(before=carried)

    def close(self) -> None:
        """Stop the workers."""
        self.samples.close()

    def _next_fitting(self) -> tuple[Positioned, int]:
        """The next sample that is no larger than a whole pack, and its tokens; larger ones are counted as bad."""
        while True:
            item = next(self.samples)
            tokens = item.sample.shift_tokens + self._prompt_tokens(item.sample)
            if tokens <= self.token_budget:
                return item, tokens
            self.samples.reject(
                item,
                SampleError(
                    item.sample.key,
                    f"larger than a pack: {tokens} tokens ({item.sample.target_tokens} of the target,"
                    f" {item.sample.reference_tokens} of references) with a budget of {self.token_budget}",
                ),
            )
