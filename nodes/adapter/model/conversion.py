"""An official file, which is a pickle, becomes a safetensors file beside it, once."""

from __future__ import annotations

import logging
from pathlib import Path

from ....loom_core.errors import LoomError, OutputError, ResourceError
from ....loom_core.weights.checkpoint import Checkpoint
from ....loom_core.weights.convert import convert_checkpoint
from ....loom_core.weights.hashing import samples_sha256
from ....loom_core.weights.inspection import format_bytes
from ....loom_core.weights.safetensors_files import open_safetensors
from ..progress import NodeProgress
from .files import SAFETENSORS, open_checkpoint_of_dit


def ready_file(path: Path, *, convert: bool, progress: NodeProgress) -> Path:
    """The file to load in place of a choice.

    Args:
        path: What was chosen.
        convert: Convert a pickled file if it has not been yet.
        progress: Where it is shown how far this is; a cancelled prompt stops it, and nothing is left behind.

    Returns:
        `path` itself, unless it is pickled: then its conversion, where there is one or it can be made.

    Raises:
        WeightsError: The file is damaged, unsafe, of another model, or lacks weights.
    """
    checkpoint = open_checkpoint_of_dit(path)
    if checkpoint.layout.startswith("safetensors"):
        return path
    target = path.with_suffix(SAFETENSORS[0])
    if target.exists():
        if _is_conversion(target, checkpoint):
            return target
        if convert:
            _tell(progress, f"{target.name} is no conversion of {path.name}, which is loaded itself; rename either")
        return path
    if not convert:
        return path
    try:
        _convert(path, target, progress)
    except (OutputError, ResourceError) as error:
        _tell(progress, f"{path.name} cannot be converted and is loaded itself ({error})")
        return path
    return target


def _convert(path: Path, target: Path, progress: NodeProgress) -> None:
    logging.info("LoomVideo: converting %s to %s, once", path.name, target.name)

    def tell(done: int, total: int) -> None:
        progress.step(done, total)
        share = f"{format_bytes(done)} of {format_bytes(total)}"
        progress.text(f"converting {path.name}, once: {share}", is_frequent=done < total)

    convert_checkpoint(path, target, progress=tell)


def _is_conversion(target: Path, checkpoint: Checkpoint) -> bool:
    """Whether a file has the weights of a checkpoint, each in its own number format, by samples of every one."""
    try:
        return samples_sha256(open_safetensors(target).native()) == samples_sha256(checkpoint.native())
    except LoomError as error:
        logging.warning("LoomVideo: %s", error)
        return False


def _tell(progress: NodeProgress, text: str) -> None:
    logging.warning("LoomVideo: %s", text)
    progress.text(text)
