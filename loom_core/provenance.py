"""How a result was made: everything that has a say in it, for the metadata of the written file."""

from __future__ import annotations

import json
import platform
from importlib import metadata

import torch

from . import __version__
from .bundle import ModelFiles
from .compute import Compute
from .config.attention import PACKAGES as ATTENTION
from .config.model import DiTConfig
from .request import Plan
from .weights.hashing import weights_hash

PACKAGES = (
    "torch",
    "transformers",
    "diffusers",
    "numpy",
    "pillow",
    "av",
    "torchao",
    *(one.package for one in ATTENTION.values()),
)


def _versions() -> dict[str, str]:
    """Versions of what computes; a package that is absent is left out."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def describe(plan: Plan, files: ModelFiles, *, config: DiTConfig, compute: Compute) -> dict[str, str]:
    """What is needed to make a result again; paths are cut to names, since they would tell of the machine.

    Args:
        plan: What is done.
        files: With what; the DiT is also told by the hash of its weights.
        config: Of the DiT as it runs.
        compute: Where and in which precision.
    """
    request, sampling = plan.request, plan.sampling
    weights = weights_hash(files.dit, ema=files.ema)
    return {
        "software": f"LoomVideo {__version__}",
        "task": plan.task.value,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "source": "" if request.source is None else request.source.name,
        "references": json.dumps([path.name for path in request.references]),
        "width": str(plan.width),
        "height": str(plan.height),
        "num_frames": str(plan.num_frames),
        "fps": f"{plan.fps:g}",
        "seed": str(request.seed),
        "num_inference_steps": str(sampling.num_inference_steps),
        "solver": sampling.solver,
        "speed": request.speed,
        "guidance_every": str(sampling.shortcuts.guidance_every),
        "shift": "by tokens" if sampling.shift is None else f"{sampling.shift:g}",
        "guidance_scale": f"{sampling.guidance_scale:g}",
        "visual_guidance_scale": f"{sampling.visual_guidance_scale:g}",
        "source_strength": f"{request.source_strength:g}",
        "layout": request.layout,
        "mllm_frames": str(request.mllm_frames),
        "posterior": request.posterior,
        "weights": files.dit.name,
        "weights_sha256": weights.value,
        "weights_sha256_origin": weights.origin,
        "ema": str(files.ema),
        "mllm": files.mllm.name,
        "codec": files.codec.name,
        "rope_precision": config.rope_precision,
        "dtype": _word(compute.dtype),
        "quantised": compute.quantises or "",
        "codec_dtype": _word(compute.codec_dtype),
        "tile_latents": str(compute.tile_latents),
        "attention": compute.attention,
        "device": compute.device.type,
        "python": platform.python_version(),
        "versions": json.dumps(_versions()),
    }
