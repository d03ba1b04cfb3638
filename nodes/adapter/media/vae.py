"""Loading a VAE through the host, and refusing one whose latents the model does not know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import comfy.sd
import comfy.utils
import torch

from ....loom_core.bundle import BUILT_IN as BUILT_IN_FOLDER
from ....loom_core.errors import WeightsError
from ....loom_core.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE
from ....loom_core.phrases import phrase
from ....loom_core.vae.latents import LATENT_CHANNELS
from ....loom_core.vae.wan_keys import DIFFUSERS_TO_ORIGINAL, rename
from ....loom_core.weights.checkpoint import Checkpoint
from ....loom_core.weights.identify import ModelKind
from ....loom_core.weights.key_maps import strip_vae_prefix
from ....loom_core.weights.reading import open_checkpoint
from ..files import BUILT_IN, path_of
from .built_in_vae import BuiltInVAE

FOLDER = "vae"
"""The host's name of the folder."""
EXPECTED = phrase("the Wan 2.2 VAE, with {channels} channels", channels=LATENT_CHANNELS)
FIX = phrase("choose wan2.2_vae.safetensors (or {name}) in LoomVideo VAE Loader", name=BUILT_IN)
_CODEC_FILE = "codec.safetensors"
_PERHAPS = frozenset({ModelKind.WAN_22_VAE, ModelKind.OTHER_VAE, ModelKind.UNKNOWN})
"""What the host may know how to load; it also knows small approximations of the VAE, which have other names."""


def load_vae(name: str) -> Any:
    """The host's VAE of a choice in the loader's list.

    Args:
        name: As `files.offered` showed it.

    Raises:
        WeightsError: The file is gone, damaged, another model, or a VAE of other latents.
    """
    return BuiltInVAE(BUILT_IN_FOLDER / _CODEC_FILE) if name == BUILT_IN else load_vae_file(path_of(name, [FOLDER]))


def load_vae_file(path: Path) -> Any:
    """The host's VAE of a file; told by its header what it is before anything large is read.

    Args:
        path: The file.

    Raises:
        WeightsError: It is damaged, another model, or a VAE of other latents.
    """
    kind = open_checkpoint(path).kind
    if kind is ModelKind.LINEAR_CODEC:
        return BuiltInVAE(path)
    if kind not in _PERHAPS:
        raise WeightsError(f"{path.name}, which is {kind.value}", expected=EXPECTED, fix=FIX)
    tensors, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    tensors = {rename(strip_vae_prefix(key), DIFFUSERS_TO_ORIGINAL): value for key, value in tensors.items()}
    try:
        vae = comfy.sd.VAE(sd=tensors, metadata=metadata)
    except RuntimeError as error:  # weights of other shapes than the host builds
        raise WeightsError(f"{path.name}, which cannot be loaded ({error})", expected=EXPECTED, fix=FIX) from error
    check_vae(vae, found=path.name)
    missing = sorted(set(vae.first_stage_model.state_dict()) - set(tensors))
    if kind is ModelKind.WAN_22_VAE:
        _require_whole(path, missing)
    vae.patcher.cached_patcher_init = (vae_patcher, (path,))
    return vae


def require_whole_vae(checkpoint: Checkpoint) -> None:
    """Refuse a Wan 2.2 VAE that lacks weights, by its header.

    Args:
        checkpoint: Of one, in any naming.

    Raises:
        WeightsError: It lacks some.
    """
    from comfy.ldm.wan.vae2_2 import WanVAE  # here, so that a host that moved it still has the nodes

    with torch.device("meta"):  # its widths are the released ones, which change no name
        model = WanVAE(
            z_dim=LATENT_CHANNELS,
            dim_mult=[1, 2, 4, 4],
            num_res_blocks=2,
            attn_scales=[],
            temperal_downsample=[False, True, True],
            dropout=0.0,
        )
    found = {rename(strip_vae_prefix(name), DIFFUSERS_TO_ORIGINAL) for name in checkpoint}
    _require_whole(checkpoint.path, sorted(set(model.state_dict()) - found))


def _require_whole(path: Path, missing: Sequence[str]) -> None:
    if missing:
        raise WeightsError(
            phrase(
                "{path} without {count} weights, {name} among them",
                path=path.name,
                count=len(missing),
                name=missing[0],
            ),
            expected="the whole file",
            fix="download it again",
        )


def vae_patcher(path: Path, *, disable_dynamic: bool = False) -> Any:
    """A new patcher of a VAE file, for the host's copies on other devices.

    Args:
        path: The file.
        disable_dynamic: Of the host's protocol, which ignores it for its own VAEs, too.
    """
    del disable_dynamic
    return load_vae_file(path).patcher


def check_vae(vae: Any, *, found: str = "") -> None:
    """Refuse a VAE whose latents the model does not know.

    Args:
        vae: The host's VAE, from whichever loader.
        found: What it is called, for the message.

    Raises:
        WeightsError: It has other channels or another geometry, or is none at all.
    """
    if getattr(vae, "first_stage_model", None) is None:
        raise WeightsError(f"{found or 'a VAE input'} without a VAE in it", expected=EXPECTED, fix=FIX)
    channels = vae.latent_channels
    about = f"{found or 'a VAE'} with {channels} channels"
    if channels == LATENT_CHANNELS:
        if _strides(vae) == (TEMPORAL_STRIDE, SPATIAL_STRIDE, SPATIAL_STRIDE):
            return
        about = f"{found or 'a VAE'} of another geometry"
    elif channels == _CHANNELS_OF_WAN_21 and vae.latent_dim == _VIDEO:
        about += ", as that of Wan 2.1 and the 14B models"
    raise WeightsError(about, expected=EXPECTED, fix=FIX)


_CHANNELS_OF_WAN_21 = 16
_VIDEO = 3
"""Dimensions of what a video VAE encodes."""


def _strides(vae: Any) -> tuple[Any, ...] | None:
    """Frames, rows and columns a latent; None for a VAE of images."""
    formula = getattr(vae, "downscale_index_formula", None)
    return tuple(formula) if isinstance(formula, (tuple, list)) else None
