"""One way to load any codec: the file itself tells which it is."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from ..errors import MissingExtraError
from ..protocols import VideoCodec
from ..weights.identify import ModelKind
from ..weights.reading import open_checkpoint
from .linear import LinearCodec
from .memory import VaeSizes
from .wan import WanCodec
from .wan_loading import open_wan_vae, wan_vae_sizes


def check_codec(path: Path) -> None:
    """Look at a codec's header, so that a wrong file is told before anything large is loaded.

    Raises:
        WeightsError: The file is missing, damaged, or holds no codec for 48 latent channels.
        MissingExtraError: It is the Wan 2.2 VAE, and diffusers is not installed.
    """
    if path.is_dir() or open_checkpoint(path).kind is not ModelKind.LINEAR_CODEC:
        open_wan_vae(path)
        if find_spec("diffusers") is None:
            raise MissingExtraError("diffusers", "the Wan 2.2 VAE")


def codec_sizes(path: Path) -> VaeSizes:
    """What decides how much memory a codec takes, from its header.

    Args:
        path: See `load_codec`.

    Raises:
        WeightsError: The file is missing, damaged, or holds no codec for 48 latent channels.
    """
    if not path.is_dir() and (checkpoint := open_checkpoint(path)).kind is ModelKind.LINEAR_CODEC:
        # it works on the pixels themselves, in a few frames' memory
        return VaeSizes(encoder_width=0, decoder_width=0, num_weights=checkpoint.num_parameters)
    return wan_vae_sizes(path)


def load_codec(
    path: Path | str,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    tile_latents: int | None = None,
) -> VideoCodec:
    """Load a codec: the Wan 2.2 VAE (file or diffusers folder), or a linear codec (file).

    Args:
        path: The file or folder.
        dtype: Of weights and computation.
        device: Of weights and computation.
        tile_latents: Side of a tile in latents, to save memory (see `WanCodec`); None works on whole frames. The
            linear codec needs no tiles and ignores it.

    Raises:
        ConfigError: The tiles make no sense.
        WeightsError: The file is missing, damaged, or holds no codec for 48 latent channels; the message says what it
            seems to be.
        MissingExtraError: It is the Wan 2.2 VAE, and diffusers is not installed.
    """
    path = Path(path)
    if not path.is_dir() and open_checkpoint(path).kind is ModelKind.LINEAR_CODEC:
        return LinearCodec.load(path, dtype=dtype, device=device)
    return WanCodec.load(path, dtype=dtype, device=device, tile_latents=tile_latents)
