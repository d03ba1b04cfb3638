"""The other way to show a model its source: as more tokens, instead of Scale-and-Add.

For comparison only; no weights were trained for it. The source becomes the first reference, as large as the target:
it goes through the target's patch embedding, every token attends to it, and it leaves before the head.
"""

from __future__ import annotations

from dataclasses import replace

from loom_core.types import Condition, Reference

from .workloads import Workload


def concatenate_source(condition: Condition) -> Condition:
    """The same condition with its source as tokens of the sequence.

    Args:
        condition: With a source.
    """
    if condition.source_latents is None:
        raise ValueError("a condition without a source cannot have it concatenated")
    source = Reference(condition.source_latents)
    return replace(condition, source_latents=None, references=(source, *condition.references))


def concatenated_workload(workload: Workload) -> Workload:
    """The sizes after `concatenate_source`."""
    return replace(workload, has_source=False, references=(workload.target, *workload.references))
