"""A whole denoising run, from LATENT to LATENT, with preview, progress and the time left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import comfy.utils
from comfy import model_management
from comfy import sample as host_sample

from ....loom_core.config.sampling import SamplingConfig
from ....loom_core.errors import ConfigError
from ....loom_core.sampling.schedule import token_shift
from ..conditioning import Conditioning
from .guider import CascadedGuider
from .sampler import flow_sampler, flow_sigmas
from .settings import token_count, token_counts
from .watching import DenoisingWatch

Latent = Mapping[str, Any]
"""The host's LATENT."""


def denoise_latent(
    guider: CascadedGuider,
    latent: Latent,
    *,
    settings: SamplingConfig,
    seed: int,
    denoise: float = 1.0,
    positive: Conditioning | None = None,
) -> dict[str, Any]:
    """Sample with our solvers and schedule, as the host's SamplerCustomAdvanced does with any.

    Args:
        guider: Holds the model and the conditionings.
        latent: Where to begin, and of which size; zeros are empty. A noise mask in it is honoured.
        settings: Steps, solver and shift.
        seed: Of the noise, which is drawn as the host's own samplers draw it.
        denoise: Share of the whole run that is taken, 0 to 1; below 1 the latent shows through.
        positive: Conditioning of the full prompt, whose references count for a shift by size.

    Returns:
        The LATENT with the clean samples; a noise mask and other entries stay.

    Raises:
        ConfigError: Only a part of the run is asked for, and the latent is empty: there is nothing to begin with.
    """
    if denoise < 1 and not bool(latent["samples"].any()):
        raise ConfigError(
            f"denoise {denoise:g} with an empty latent",
            expected="a latent with something in it, which a part of the run can begin with",
            fix="set denoise to 1; to stay near a source, raise its strength in LoomVideo Source Latent Scaler, "
            "or encode it with VAE Encode and connect that latent",
        )
    model = guider.model_patcher
    shift = token_shift(token_count(latent, positive)) if settings.shift is None else settings.shift
    sigmas = flow_sigmas(settings.num_inference_steps, shift=shift, denoise=denoise)
    samples = host_sample.fix_empty_latent_channels(
        model, latent["samples"], latent.get("downscale_ratio_spacial"), latent.get("downscale_ratio_temporal")
    )
    watch = DenoisingWatch(guider, samples, steps=len(sigmas) - 1, tokens=token_counts(latent, positive))
    guider.watch = watch
    noise = host_sample.prepare_noise(samples, seed, latent.get("batch_index"))
    result = guider.sample(
        noise,
        samples,
        flow_sampler(settings.solver),
        sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=watch,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    kept = {name: value for name, value in latent.items() if not name.startswith("downscale_ratio_")}
    return {**kept, "samples": result.to(model_management.intermediate_device())}
