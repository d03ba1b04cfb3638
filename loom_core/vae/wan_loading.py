"""Finding, checking and building the Wan 2.2 VAE from what users have on disk.

Either a diffusers folder, whose config.json gives sizes and latent statistics, or one safetensors file of either
naming, whose sizes are read off the shapes and whose statistics are those of the released VAE.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import MissingExtraError, WeightsError
from ..geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE
from ..weights.checkpoint import Checkpoint
from ..weights.checks import KeyReport, compare_keys, wrong_model
from ..weights.detect import read_config_file
from ..weights.filling import fill_model
from ..weights.identify import ModelKind
from ..weights.key_maps import strip_vae_prefix, unique_sources
from ..weights.reading import open_checkpoint
from .latents import LATENT_CHANNELS, WAN22_STATISTICS, LatentStatistics
from .memory import VaeSizes
from .wan_keys import ORIGINAL_TO_DIFFUSERS, rename

WAN_PATCH = 2  # pixels a side that the VAE folds into channels before its first convolution
_CLASS_NAME = "AutoencoderKLWan"
_ORIGINAL_MARK = "conv2.weight"  # diffusers calls it post_quant_conv.weight
_EXPECTED = f"the Wan 2.2 VAE ({LATENT_CHANNELS} latent channels) or a codec of loom-tiny"
_FIX = "give wan2.2_vae.safetensors, or the vae folder of Wan2.2-TI2V-5B-Diffusers"


def load_wan_vae(path: Path, *, dtype: torch.dtype, device: torch.device | str) -> tuple[nn.Module, LatentStatistics]:
    """Load diffusers' `AutoencoderKLWan` of Wan 2.2 form.

    Args:
        path: A diffusers folder (or one with such a folder `vae` in it), or one safetensors file.
        dtype: Of the model.
        device: Of the model.

    Returns:
        The model, and the statistics of its raw latents.

    Raises:
        WeightsError: The file is missing, damaged, or of another model, or has wrong or non-finite tensors.
        MissingExtraError: diffusers is not installed.
    """
    checkpoint, sources, config = _open_named(path)
    path = checkpoint.files[0].parent if path.is_dir() else path
    statistics = _statistics(config, path=path)
    model = _build_on_meta(config, path=path)
    fill_model(model, checkpoint, sources, dtype=dtype, device=device, fix=_FIX)
    return model, statistics


def wan_vae_report(path: Path) -> KeyReport:
    """How the weights of a VAE differ from those of the model, from the header alone.

    Args:
        path: See `load_wan_vae`.

    Raises:
        WeightsError: The file is missing, damaged or of another model.
        MissingExtraError: diffusers is not installed.
    """
    checkpoint, sources, config = _open_named(path)
    model = _build_on_meta(config, path=checkpoint.path)
    found = {name: checkpoint.shapes[source] for name, source in sources.items()}
    return compare_keys(found, {name: tuple(weight.shape) for name, weight in model.state_dict().items()})


def wan_vae_sizes(path: Path) -> VaeSizes:
    """What decides how much memory a VAE takes, from the header alone.

    Args:
        path: See `load_wan_vae`.

    Raises:
        WeightsError: The file is missing, damaged or of another model.
    """
    checkpoint, sources, _ = _open_named(path)
    shapes = {name: checkpoint.shapes[source] for name, source in sources.items()}
    config = _infer_config(shapes, path=path)
    return VaeSizes(
        encoder_width=config["base_dim"],
        decoder_width=config["decoder_base_dim"],
        num_weights=sum(map(math.prod, shapes.values())),
    )


def _open_named(path: Path) -> tuple[Checkpoint, dict[str, str], dict[str, Any]]:
    """The weights, their names in the model and in the file, and the model's configuration."""
    checkpoint, config = open_wan_vae(path)
    path = checkpoint.files[0].parent if path.is_dir() else path
    names = unique_sources({name: strip_vae_prefix(name) for name in checkpoint})
    is_original = _ORIGINAL_MARK in names
    if config is None and not is_original:
        config = _read_config(checkpoint.files[0].with_name("config.json"))
    table = ORIGINAL_TO_DIFFUSERS if is_original else {}
    sources = unique_sources({in_file: rename(name, table) for name, in_file in names.items()})
    if config is None:
        config = _infer_config({name: checkpoint.shapes[in_file] for name, in_file in sources.items()}, path=path)
    return checkpoint, sources, config


def open_wan_vae(path: Path) -> tuple[Checkpoint, dict[str, Any] | None]:
    """The weights of a Wan 2.2 VAE, unread, and the config.json of its folder; None for a file.

    Raises:
        WeightsError: It is missing, damaged or another model.
    """
    config = None
    if path.is_dir():
        path, config = _folder_of_vae(path)
    checkpoint = open_checkpoint(path)
    if checkpoint.kind is not ModelKind.WAN_22_VAE:
        raise wrong_model(checkpoint, expected=_EXPECTED, fix=_FIX)
    return checkpoint, config


def _folder_of_vae(path: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of the VAE, `path` or the folder `vae` in it, and its config.json."""
    folder = path if (path / "config.json").is_file() or not (path / "vae").is_dir() else path / "vae"
    config = _read_config(folder / "config.json")
    if config is None:
        raise WeightsError(
            f"no config.json of an {_CLASS_NAME} in {folder}", expected="the folder of a Wan 2.2 VAE", fix=_FIX
        )
    return folder, config


def _read_config(path: Path) -> dict[str, Any] | None:
    """A config.json; None when it is absent or describes another class."""
    config = read_config_file(path) if path.is_file() else {}
    return config if config.get("_class_name") == _CLASS_NAME else None


def _infer_config(shapes: dict[str, tuple[int, ...]], *, path: Path) -> dict[str, Any]:
    """Arguments of `AutoencoderKLWan` for a file without config.json, from shapes under diffusers names."""
    sizes = {
        "base_dim": ("encoder.conv_in.weight", 0),
        "in_channels": ("encoder.conv_in.weight", 1),
        "decoder_base_dim": ("decoder.conv_out.weight", 1),
        "out_channels": ("decoder.conv_out.weight", 0),
        "z_dim": ("post_quant_conv.weight", 0),
    }
    missing = [name for name, _ in sizes.values() if name not in shapes]
    if missing:
        raise WeightsError(f"no {missing[0]} in {path}", expected="the Wan 2.2 VAE", fix=_FIX)
    return {
        **{argument: shapes[name][axis] for argument, (name, axis) in sizes.items()},
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "temperal_downsample": [False, True, True],
        "is_residual": True,
        "patch_size": WAN_PATCH,
        "scale_factor_spatial": SPATIAL_STRIDE,
        "scale_factor_temporal": TEMPORAL_STRIDE,
        "latents_mean": list(WAN22_STATISTICS.mean),
        "latents_std": list(WAN22_STATISTICS.std),
    }


def _build_on_meta(config: dict[str, Any], *, path: Path) -> nn.Module:
    try:
        from diffusers import AutoencoderKLWan
    except ImportError as error:
        raise MissingExtraError("diffusers", "the Wan 2.2 VAE") from error
    geometry = (config.get("z_dim"), config.get("patch_size"), config.get("is_residual"))
    if geometry != (LATENT_CHANNELS, WAN_PATCH, True):
        raise WeightsError(
            f"a VAE of {geometry[0]} latent channels, patch {geometry[1]}, residual {geometry[2]} in {path}",
            expected=f"the Wan 2.2 VAE ({LATENT_CHANNELS} latent channels, patch {WAN_PATCH}, residual)",
            fix=_FIX,
        )
    with torch.device("meta"):
        return AutoencoderKLWan.from_config(config)


def _statistics(config: dict[str, Any], *, path: Path) -> LatentStatistics:
    mean, std = config.get("latents_mean", ()), config.get("latents_std", ())
    if len(mean) != LATENT_CHANNELS or len(std) != LATENT_CHANNELS or min(std) <= 0:
        raise WeightsError(
            f"latents_mean and latents_std of {len(mean)} and {len(std)} numbers in the config.json of {path}",
            expected=f"{LATENT_CHANNELS} numbers each, the latter above 0",
            fix=_FIX,
        )
    return LatentStatistics(tuple(mean), tuple(std))
