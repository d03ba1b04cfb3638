"""The built-in linear codec as a VAE of the host's, so that its nodes, memory management and tiles work with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.sd
import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ....loom_core.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE, video_frames
from ....loom_core.vae.latents import LATENT_CHANNELS, RGB, WAN22_STATISTICS, denormalise, normalise
from ....loom_core.vae.linear import LinearCodec

_SOMETHING_THE_HOST_KNOWS = "pixel_space_vae"
_COPIES = 3
"""Of a clip's pixels that are alive at once: as they came, as they are worked on, as they are handed out."""


class BuiltInVAE(comfy.sd.VAE):
    """A linear codec behind everything that the host's VAE offers.

    Latents are raw, as the host's Wan 2.2 VAE gives them: normalised by the statistics of Wan 2.2, which the latent
    format of the model does, they are the codec's own. It computes in float32 whatever flags the host was started
    with: it is small, and the weights of the DiT were trained on that.

    Args:
        path: File of the codec.

    Raises:
        WeightsError: The file is missing, damaged, or of another model.
    """

    def __init__(self, path: Path) -> None:
        model = LinearVAEModel(LinearCodec.load(path).tensors())
        # The host's own constructor sets whatever its methods read, in each of its versions. It knows no codec like
        # this one, so it is given a kind that has no weights to speak of, and what tells them apart is set anew.
        super().__init__(sd={_SOMETHING_THE_HOST_KNOWS: torch.tensor(1.0)})
        self.latent_channels, self.latent_dim, self.output_channels = LATENT_CHANNELS, 3, RGB
        self.downscale_ratio = (_latent_frames, SPATIAL_STRIDE, SPATIAL_STRIDE)
        self.upscale_ratio = (_frames, SPATIAL_STRIDE, SPATIAL_STRIDE)
        self.downscale_index_formula = self.upscale_index_formula = (TEMPORAL_STRIDE, SPATIAL_STRIDE, SPATIAL_STRIDE)
        self.memory_used_encode = lambda shape, _: _COPIES * math.prod(shape) * torch.float32.itemsize
        self.memory_used_decode = lambda shape, _: _COPIES * _num_pixels(shape) * RGB * torch.float32.itemsize
        self.working_dtypes, self.vae_dtype = [torch.float32], torch.float32
        self.first_stage_model = model.eval()
        model_management.archive_model_dtypes(model)
        # moved whole or not at all: a few megabytes, and not of the host's layers, which it would stream in
        self.disable_offload = True
        self.patcher = ModelPatcher(model, self.device, model_management.vae_offload_device())
        self.patcher.cached_patcher_init = (built_in_patcher, (path,))
        self.size = None
        self.model_size()


def built_in_patcher(path: Path, *, disable_dynamic: bool = False) -> ModelPatcher:
    """A new patcher of the codec, for the host's copies on other devices.

    Args:
        path: File of the codec.
        disable_dynamic: Of the host's protocol; this one never is.
    """
    del disable_dynamic
    return BuiltInVAE(path).patcher


class LinearVAEModel(nn.Module):
    """A linear codec as a module of the form that the host's VAE drives: raw latents in and out.

    Whoever watches `encoder` or `decoder` sees a latent frame at a time, as in the host's own Wan VAE.

    Args:
        tensors: Those of the codec's file.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.image, self.clip = (_weights_of(tensors, kind) for kind in ("image", "clip"))
        self.encoder, self.decoder = nn.Identity(), nn.Identity()

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, frames, height, width] in [-1, 1] to raw latents [B, 48, F, H, W].

        Raises:
            ConfigError: Frames that are not 4k + 1, or sides that are not multiples of 16.
        """
        latents = [_went_on(self.encoder, part) for part in self._codec(pixels.device).encode_chunks(pixels)]
        return denormalise(torch.cat(latents, dim=2), WAN22_STATISTICS)

    def decode(self, latents: Tensor, **_: Any) -> Tensor:
        """Raw latents [B, 48, F, H, W] to pixels [B, 3, frames, height, width] in [-1, 1].

        Raises:
            ConfigError: Latents of another shape.
        """
        parts = self._codec(latents.device).decode_chunks(normalise(latents.float(), WAN22_STATISTICS))
        return torch.cat([_went_on(self.decoder, part) for part in parts], dim=2)

    def _codec(self, device: torch.device) -> LinearCodec:
        return LinearCodec.from_tensors(self.state_dict(), device=device)


def _weights_of(tensors: Mapping[str, Tensor], kind: str) -> nn.Module:
    module = nn.Module()
    for name, tensor in tensors.items():
        if not name.startswith(f"{kind}."):
            continue
        short = name.removeprefix(f"{kind}.")
        if tensor.is_floating_point():
            module.register_parameter(short, nn.Parameter(tensor, requires_grad=False))
        else:
            module.register_buffer(short, tensor)
    return module


def _went_on(watched: nn.Module, part: Tensor) -> Tensor:
    """One more part is done; a cancelled prompt stops here."""
    model_management.throw_exception_if_processing_interrupted()
    return watched(part)


def _latent_frames(num_frames: int) -> int:
    return max(0, (num_frames + TEMPORAL_STRIDE - 1) // TEMPORAL_STRIDE)


def _frames(num_latents: int) -> int:
    return max(0, video_frames(num_latents))


def _num_pixels(shape: tuple[int, ...]) -> int:
    """Of a decoded clip, for the shape of its latents."""
    batch, _, frames, height, width = shape
    return batch * _frames(frames) * height * width * SPATIAL_STRIDE**2
