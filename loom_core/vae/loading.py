"""One way to load any codec: the file itself tells which it is."""

from __future__ import annotations

from pathlib import Path

import torch

from ..protocols import VideoCodec
from .files import CodecKind, identify_codec, read_header
from .linear import LinearCodec
from .wan import WanCodec


def load_codec(
    path: Path | str, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> VideoCodec:
    """Load a codec: the Wan 2.2 VAE (file or diffusers folder), or a linear codec (file).

    Args:
        path: The file or folder.
        dtype: Of weights and computation.
        device: Of weights and computation.

    Raises:
        WeightsError: The file is missing, damaged, or holds no codec for 48 latent channels; the message says what it
            seems to be.
        MissingExtraError: It is the Wan 2.2 VAE, and diffusers is not installed.
    """
    path = Path(path)
    if path.is_dir() or identify_codec(read_header(path)) is not CodecKind.LINEAR:
        return WanCodec.load(path, dtype=dtype, device=device)
    return LinearCodec.load(path, dtype=dtype, device=device)
