"""What a variant changes: the conditions that the shipped model is given, in training, measurement and sampling alike.

The model itself, its sizes and its starting weights are the same for all variants; nothing in loom_core knows of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from loom_core.data.dropout import Dropped
from loom_core.data.sample import EncodedSample
from loom_core.errors import ConfigError
from loom_core.evaluation.sampler import BatchSampler
from loom_core.models.rope import reference_temporal_index
from loom_core.training.objective import PackObjective, ReadPrompts
from loom_core.types import Condition

from ..concatenation import concatenate_source

Change = Callable[[Condition], Condition]


def as_shipped(condition: Condition) -> Condition:
    """The same condition."""
    return condition


def last_layer_only(condition: Condition) -> Condition:
    """Every block reads the MLLM's last layer, as the last block does; no Deepstack."""
    states = condition.mllm_hidden_states
    return replace(condition, mllm_hidden_states=(states[-1],) * len(states))


def source_as_tokens(condition: Condition) -> Condition:
    """The source as further tokens of the sequence, at time -10, in place of Scale-and-Add.

    A source embedding stays, and is given zeros as for any request without a source.

    Raises:
        ConfigError: The source is a clip, whose frames would all stand at one time.
    """
    source = condition.source_latents
    if source is None:
        return condition
    if source.shape[1] > 1:
        raise ConfigError(
            f"a source of {source.shape[1]} latent frames to concatenate",
            expected="a still",
            fix="compare on stills, or give each frame a time index of its own",
        )
    return concatenate_source(condition)


def source_to_mllm_only(condition: Condition) -> Condition:
    """The DiT gets no source; what the prompt's states say of it stays."""
    return replace(condition, source_latents=None)


def references_at(index: Callable[[int], int]) -> Change:
    """The reference at position n (from 0) stands at temporal index `index(n)`."""

    def change(condition: Condition) -> Condition:
        placed = (
            replace(reference, temporal_index=index(position))
            for position, reference in enumerate(condition.references)
        )
        return replace(condition, references=tuple(placed))

    return change


references_before = references_at(reference_temporal_index)
"""-10, -20 ..., as shipped."""
references_after = references_at(lambda position: -reference_temporal_index(position))
"""10, 20 ..., after the last frame of clips as short as these."""
references_inside = references_at(lambda position: position + 1)
"""1, 2 ..., where frames of the target are, as 10, 20 and 30 are inside the 31 latent frames of a clip of 121."""
references_at_zero = references_at(lambda _: 0)
"""All at the target's first frame."""


class ChangedObjective(PackObjective):
    """An objective whose conditions are changed before the model sees them.

    Args:
        given: The objective of a run.
        change: Of each condition.
        read_prompts: Asks the MLLM in place of the given one's.
    """

    def __init__(self, given: PackObjective, change: Change, *, read_prompts: ReadPrompts | None = None) -> None:
        super().__init__(given.model, read_prompts or given.read_prompts, given.settings)
        self.change = change

    def conditions(self, samples: Sequence[EncodedSample], dropped: Sequence[Dropped]) -> list[Condition]:
        """See `PackObjective.conditions`."""
        return [self.change(condition) for condition in super().conditions(samples, dropped)]


class ChangedSampler(BatchSampler):
    """A sampler that changes the conditions of all branches likewise.

    Args:
        *arguments: As of a `BatchSampler`.
        change: Of each condition.
        **settings: As of a `BatchSampler`.
    """

    def __init__(self, *arguments: Any, change: Change, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.change = change

    def _prepare(self, *arguments: Any) -> Any:
        item = super()._prepare(*arguments)
        return replace(item, conditions={branch: self.change(each) for branch, each in item.conditions.items()})
