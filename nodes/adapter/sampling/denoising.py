"""A whole denoising run, from LATENT to LATENT, with preview, progress and the time left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import comfy.utils
import latent_preview
from comfy import model_management
from comfy import sample as host_sample
from torch import Tensor

from ....loom_core.config.sampling import SamplingConfig
from ....loom_core.errors import ConfigError
from ....loom_core.sampling.schedule import token_shift
from ..conditioning import Conditioning
from ..progress import NodeProgress, StepClock, as_clock
from .guider import CascadedGuider
from .sampler import flow_sampler, flow_sigmas
from .settings import token_count

Latent = Mapping[str, Any]
"""The host's LATENT."""
StepCallback = Callable[[int, Tensor, Tensor, int], None]
"""(step from 0, denoised, latents, steps in all)."""


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
    noise = host_sample.prepare_noise(samples, seed, latent.get("batch_index"))
    result = guider.sample(
        noise,
        samples,
        flow_sampler(settings.solver),
        sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=step_callback(guider, len(sigmas) - 1),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    kept = {name: value for name, value in latent.items() if not name.startswith("downscale_ratio_")}
    return {**kept, "samples": result.to(model_management.intermediate_device())}


def step_callback(guider: CascadedGuider, num_steps: int) -> StepCallback:
    """What is told after each step: the host's preview and bar, and a line with step, time left and branches.

    Args:
        guider: Says which branches run.
        num_steps: Steps in all.
    """
    preview = latent_preview.prepare_callback(guider.model_patcher, num_steps)
    progress, clock = NodeProgress(), StepClock(num_steps)
    about = guider.describe() + (f"; {guider.notice}" if guider.notice else "")
    progress.text(f"loading the model\n{about}")

    def tell(step: int, denoised: Tensor, latents: Tensor, total: int) -> None:
        preview(step, denoised, latents, total)
        done = step + 1
        left = as_clock(clock.remaining_seconds(done))
        progress.text(f"step {done} of {total}, {left} left\n{about}", is_frequent=done < total)

    return tell
