"""What the host has to know of a model before it makes it: sizes, number formats, sampling, latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from comfy import latent_formats, supported_models_base
from torch import Tensor

from ....loom_core.config.model import DiTConfig
from ....loom_core.sampling.schedule import NUM_TRAIN_TIMESTEPS
from ....loom_core.vae.preview import ColourMap
from ....loom_core.weights.key_maps import CONFIG_TENSOR

USUAL_SHIFT = 5.0
MEMORY_UNIT_WIDTH = 2222
"""Width of a Wan model whose memory factor is 1. Source: the host's rule for Wan models."""


class LoomVideoConfig(supported_models_base.BASE):
    """The host's configuration object of a LoomVideo model.

    Args:
        config: Sizes.
        integer_timesteps: Tell the model whole timesteps below 1000, as the official scheduler does.
        colours: Colours of the latents in a preview; None for those of the Wan 2.2 VAE.
    """

    unet_extra_config: ClassVar[dict[str, Any]] = {}
    sampling_settings: ClassVar[dict[str, Any]] = {"shift": USUAL_SHIFT, "multiplier": NUM_TRAIN_TIMESTEPS}
    latent_format = latent_formats.Wan22
    # fp16 only where there is no bf16: the weights were trained in bf16, whose range it does not have
    supported_inference_dtypes: ClassVar[list[torch.dtype]] = [torch.bfloat16, torch.float16, torch.float32]

    def __init__(self, config: DiTConfig, *, integer_timesteps: bool = True, colours: ColourMap | None = None) -> None:
        super().__init__({"image_model": "loomvideo", "loom_config": config})
        self.loom_config = config
        self.integer_timesteps = integer_timesteps
        self.memory_usage_factor = config.hidden_size / MEMORY_UNIT_WIDTH
        if colours is not None:
            self.latent_format.latent_rgb_factors = colours.weight.mT.tolist()
            self.latent_format.latent_rgb_factors_bias = colours.bias.tolist()

    def set_inference_dtype(
        self, dtype: torch.dtype, manual_cast_dtype: torch.dtype | None, device: torch.device | None = None
    ) -> None:
        """See the host's `BASE`; weights narrower than 16 bits are the blocks' large matrices alone."""
        del device
        super().set_inference_dtype(dtype, manual_cast_dtype)  # older hosts take no device
        # the rest is 3 % of the released weights, and what it rounds reaches every token of every block: in fp8_e4m3fn
        # loom-tiny's velocity is off by 3 %, with the rest in it too by 7 to 25 %
        self.unet_config["small_dtype"] = manual_cast_dtype if dtype.itemsize == 1 else None

    def get_model(self, state_dict: Mapping[str, Tensor], prefix: str = "", device: torch.device | None = None) -> Any:
        """The host's model, still without weights."""
        from .base_model import LoomVideoModel

        del state_dict, prefix
        return LoomVideoModel(self, device=device)

    def process_unet_state_dict_for_saving(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights under the host's names, and the sizes that no weight shows, so that they can be loaded again."""
        text = self.loom_config.to_json().encode()
        named = {**state_dict, CONFIG_TENSOR: torch.tensor(list(text), dtype=torch.uint8)}
        saved: dict[str, Tensor] = super().process_unet_state_dict_for_saving(named)
        return saved
