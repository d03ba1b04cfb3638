"""A folder on the host's machine looked through, and shown, before anything is trained on it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import folder_paths
from torch import Tensor

from ....loom_core.data.framing import Framing
from ....loom_core.data.records import check_found
from ....loom_core.data.sample import Sample
from ....loom_core.data.survey import set_of, survey
from ....loom_core.errors import ConfigError
from ....loom_core.geometry import snap_frames
from ....loom_core.training.watch.grid import row_of, sample_grid
from ....loom_core.training.watch.observer import SampleRow
from ...sockets import TrainingSet
from ..progress import NodeProgress
from .pictures import as_images
from .words import CUTS

SHORTEST = 5
"""Frames of the shortest clip that is used."""


@dataclass(frozen=True)
class Prepared:
    """A set, ready.

    Args:
        dataset: For training.
        grid: Some of its samples, float32 [1, height, width, 3] in [0, 1].
        report: What was found, in lines.
    """

    dataset: TrainingSet
    grid: Tensor
    report: str


def folder_of(text: str) -> Path:
    """The folder that somebody means: a whole path, or one below the host's input folder.

    Raises:
        ConfigError: Nothing is given.
    """
    given = text.strip().strip('"')
    if not given:
        raise ConfigError("no folder", expected="one with samples", fix="write its path")
    return Path(folder_paths.get_input_directory()) / Path(given).expanduser()


def fingerprint(text: str) -> str:
    """Changes when a file in the folder comes, goes or changes; empty where there is no folder."""
    digest = hashlib.sha256()
    if text.strip():
        for place, folders, files in os.walk(folder_of(text)):
            folders.sort()
            for name in sorted(files):
                path = Path(place, name)
                status = path.stat() if path.exists() else None
                digest.update(f"{path} {status and (status.st_size, status.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def prepare(
    text: str,
    *,
    task: str,
    resolution: str,
    length: int,
    max_bad_share: float,
    pictures: int,
    progress: NodeProgress,
) -> Prepared:
    """Look at every sample of a folder.

    Args:
        text: The folder, see `folder_of`.
        task: Of all its samples, or "auto".
        resolution: A key of `CUTS`.
        length: Longest clip in frames, cut to 4k + 1.
        max_bad_share: Largest share that may be left out, 0 to below 1.
        pictures: Number of samples that are shown, at least 1.
        progress: Shown how far this is.

    Raises:
        ConfigError: A setting makes no sense.
        MediaError: The folder is missing or empty, or too much in it cannot be used; kinds and examples are named.
        InterruptProcessingException: The host's own.
    """
    if resolution not in CUTS:
        raise ConfigError(f"resolution {resolution!r}", expected=f"one of {', '.join(CUTS)}", fix="choose one of these")
    num_frames, folder = snap_frames(max(SHORTEST, length)), folder_of(text)
    framing = Framing(num_frames=num_frames, **CUTS[resolution])
    rows: list[SampleRow] = []

    def tell(done: int, total: int, sample: Sample | None) -> None:
        progress.step(done, total)
        progress.text(f"looking at samples: {done} of {total}", is_frequent=done < total)
        if sample is not None and len(rows) < pictures:
            rows.append(row_of(sample))

    config = set_of(folder, task=task)
    found = survey(config, framing, tell=tell)
    check_found(found, max_bad_share=max_bad_share, where=folder)
    dataset = TrainingSet(config, framing, len(found), max_bad_share)
    return Prepared(dataset, as_images(sample_grid(rows)), "\n".join(found.lines()))
