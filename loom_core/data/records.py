"""What a reader finds: where the files of a sample lie and what is asked; nothing is decoded for it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import MediaError
from .problems import Problems
from .sample import SampleError
from .tasks import TrainingTask

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".ts", ".flv", ".gif"})
"""Endings by which the files of a folder are told apart; what a file is, its content decides when it is decoded."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Where a sample lies.

    Args:
        key: Names it within its set.
        task: What is asked.
        instruction: Caption or instruction; empty for a reconstruction.
        target: The file of the result.
        source: What is edited; the target itself for a reconstruction.
        references: In the order of `@Image 1`, `@Image 2` ...
    """

    key: str
    task: TrainingTask
    instruction: str
    target: Path
    source: Path | None = None
    references: tuple[Path, ...] = ()


class Found(Protocol):
    """What was found of a set."""

    @property
    def name(self) -> str:
        """In messages."""
        ...

    @property
    def problems(self) -> Problems:
        """What was left out, such as files without a caption."""
        ...

    def __len__(self) -> int:
        """Number of records that can be used."""
        ...


class Records(Found, Protocol):
    """The records of a set, in a fixed order."""

    fingerprint: str
    """Changes with the list of samples."""

    def record(self, index: int) -> Record:
        """One of them.

        Raises:
            SampleError: It lacks something.
        """
        ...


def make_record(
    key: str,
    task: TrainingTask,
    *,
    instruction: str,
    target: Path,
    source: Path | None = None,
    references: Iterable[Path] = (),
) -> Record:
    """A record that has what its task needs, and nothing that it does not take.

    Raises:
        SampleError: Caption, source or references are missing.
    """
    instruction = instruction.strip()
    references = tuple(references)
    if task.is_reconstruction:
        instruction, source = "", target
    elif not instruction:
        raise SampleError(key, "missing caption")
    if task.needs_source and source is None:
        raise SampleError(key, "missing source")
    if task.needs_references and not references:
        raise SampleError(key, "missing references")
    return Record(
        key=key,
        task=task,
        instruction=instruction,
        target=target,
        source=source if task.needs_source else None,
        references=references if task.needs_references else (),
    )


def check_found(records: Found, *, max_bad_share: float, where: Path) -> None:
    """Say what was left out at the start; refuse a set that is empty or lost too much.

    Args:
        records: As read.
        max_bad_share: Largest share that may be left out.
        where: The place, for the message.

    Raises:
        MediaError: Nothing is left, or too much was left out.
    """
    left_out, found = records.problems.total, len(records)
    if left_out:
        logger.warning(
            "%s: %d of %d left out: %s", records.name, left_out, left_out + found, records.problems.summary()
        )
    if not found:
        raise MediaError(
            f"no sample that can be used in {where}" + (f" ({records.problems.summary()})" if left_out else ""),
            expected="samples of the task, see docs/training.md for the layouts",
            fix="correct the path, or add what is missing",
        )
    if left_out > max_bad_share * (left_out + found):
        raise MediaError(
            f"{left_out} of {left_out + found} samples in {where} that cannot be used ({records.problems.summary()})",
            expected=f"at most {max_bad_share:.1%}",
            fix="add what is missing, remove those files, or raise max_bad_share",
        )
