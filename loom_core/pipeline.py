"""Request in, video out.

The parts of the model are loaded one after another and let go as soon as they are done with, so that the largest of
them, not their sum, decides how much memory a run takes: MLLM, then codec, then DiT.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from . import __version__
from .bundle import ModelFiles
from .config.model import DiTConfig
from .errors import ConfigError
from .geometry import latent_shape
from .media.decode import read_clip, read_image
from .media.resize import to_frames, to_pixels
from .mllm.encoder import QwenEncoder
from .models.dit import LoomDiT, PreparedConditions
from .protocols import EncodedPrompt, Progress, StepReport, VideoCodec
from .request import Plan
from .sampling.denoise import denoise, initial_noise
from .sampling.guidance import branch_weights, guided_velocity
from .sampling.schedule import schedule_for
from .sampling.solvers import get_solver
from .types import Branch, Clip, Condition, Reference
from .vae.loading import load_codec
from .weights.hashing import weights_sha256
from .weights.loading import load_dit

Notify = Callable[[str], None]
"""Told the name of each phase as it begins."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where and in which precision a run computes.

    Args:
        device: Of all parts.
        dtype: Of the DiT and the MLLM.
        codec_dtype: Of the codec; float32 unless memory is short.
        rope_precision: Of the rotary tables of DiT and MLLM, "exact" or "bf16"; None takes what the weights were
            trained with.
        tile_latents: Side of the tiles in which the VAE works, in latents of 16 pixels; None works on whole frames.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    codec_dtype: torch.dtype = torch.float32
    rope_precision: Literal["exact", "bf16"] | None = None
    tile_latents: int | None = None


@dataclass(frozen=True, kw_only=True)
class Media:
    """What the request named, decoded and sized."""

    source: Clip | None
    references: tuple[Clip, ...]


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A result whose pictures are decoded while they are read.

    Args:
        plan: What was done.
        frames: uint8 [f, height, width, 3] pieces, in order; read them once.
        source: The source as the model saw it, for comparisons.
        metadata: The whole request, seed, hash of the weights and versions, for the written file.
    """

    plan: Plan
    frames: Iterator[Tensor]
    source: Clip | None
    metadata: Mapping[str, str]


def load_media(plan: Plan) -> tuple[Plan, Media]:
    """Decode and size source and references; the plan takes the number of frames that were really there."""
    request, size = plan.request, (plan.width, plan.height)
    source = None
    if request.source is not None:
        source = read_clip(request.source, target_fps=plan.fps, max_frames=plan.num_frames, size=size)
        plan = replace(plan, num_frames=source.num_frames)
    references = tuple(read_image(path, size=size) for path in request.references)
    return plan, Media(source=source, references=references)


def encode_prompt(plan: Plan, media: Media, files: ModelFiles, *, config: DiTConfig, compute: Compute) -> EncodedPrompt:
    """Read the prompt with the MLLM, which is loaded for that and released."""
    encoder = QwenEncoder.load(
        files.mllm,
        num_blocks=config.num_layers,
        dtype=compute.dtype,
        device=compute.device,
        rope_precision=config.rope_precision,
        max_frames=plan.request.mllm_frames,
    )
    try:
        if encoder.hidden_size != config.mllm_dim:
            raise ConfigError(
                f"an MLLM of width {encoder.hidden_size}",
                expected=f"one of width {config.mllm_dim}, which the DiT was trained with",
                fix="name the right one with --mllm (Qwen3-VL-8B-Instruct for the released weights)",
            )
        return encoder.encode(
            plan.task,
            plan.request.prompt,
            negative_prompt=plan.request.negative_prompt,
            references=media.references,
            source=media.source,
            layout=plan.request.layout,
        )
    finally:
        encoder.release()


def encode_conditions(
    plan: Plan, media: Media, prompt: EncodedPrompt, *, codec: VideoCodec, device: torch.device
) -> dict[Branch, Condition]:
    """The condition of each branch: MLLM states, and for all but the unconditional one source and references."""
    # parity: the official encode samples the posterior
    generator = torch.Generator().manual_seed(plan.request.seed) if plan.request.posterior == "sample" else None

    def latents_of(clip: Clip) -> Tensor:
        pixels = to_pixels(clip.frames).to(device)
        return codec.encode(pixels[None], generator=generator)[0]  # [C, F, H, W]

    source = None if media.source is None else latents_of(media.source)
    references = tuple(Reference(latents_of(clip)) for clip in media.references)
    conditions: dict[Branch, Condition] = {Branch.UNCONDITIONAL: Condition(prompt.negative)}
    states = {Branch.FULL: prompt.full, Branch.VISUAL: prompt.visual}
    for branch, layers in states.items():
        if layers is not None:
            conditions[branch] = Condition(layers, source, references, plan.request.source_strength)
    return conditions


def weights_of(plan: Plan) -> dict[Branch, float]:
    """Weight of each branch that has to run."""
    sampling = plan.sampling
    return branch_weights(sampling.guidance_scale, sampling.visual_guidance_scale, has_visual=plan.has_visual)


@torch.no_grad()
def prepare_branches(
    plan: Plan, conditions: Mapping[Branch, Condition], *, model: LoomDiT
) -> dict[Branch, PreparedConditions]:
    """What the steps share, for each branch that has to run; the MLLM states are not needed after this."""
    parameter = next(model.parameters())
    shape = latent_shape(plan.num_frames, plan.height, plan.width)
    target = torch.zeros(1, model.config.in_channels, shape.frames, shape.height, shape.width).to(parameter)
    return {branch: model.prepare([conditions[branch]], target) for branch in weights_of(plan)}


def sample(
    plan: Plan,
    prepared: Mapping[Branch, PreparedConditions],
    *,
    model: LoomDiT,
    progress: Progress | None = None,
) -> Tensor:
    """Denoise to clean latents, float32 [1, C, F, H, W]."""
    shape = latent_shape(plan.num_frames, plan.height, plan.width)
    size = (1, model.config.in_channels, shape.frames, shape.height, shape.width)
    num_tokens = max(branch.rope.cos.shape[1] for branch in prepared.values())  # of target and references
    return denoise(
        guided_velocity(model, prepared, weights_of(plan)),
        initial_noise(size, seed=plan.request.seed, device=next(model.parameters()).device),
        schedule=schedule_for(plan.sampling, num_tokens=num_tokens),
        solver=get_solver(plan.sampling.solver),
        progress=progress,
    )


def decode_frames(latents: Tensor, codec: VideoCodec) -> Iterator[Tensor]:
    """Pictures of latents [1, C, F, H, W], a latent frame at a time: uint8 [1 or 4, height, width, 3]."""
    for chunk in codec.decode_chunks(latents):
        yield to_frames(chunk[0]).cpu()


def describe(plan: Plan, files: ModelFiles, *, compute: Compute) -> dict[str, str]:
    """All that is needed to make a result again, for its metadata; paths are cut to names."""
    request = plan.request
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
        "num_inference_steps": str(plan.sampling.num_inference_steps),
        "solver": plan.sampling.solver,
        "shift": "by tokens" if plan.sampling.shift is None else f"{plan.sampling.shift:g}",
        "guidance_scale": f"{plan.sampling.guidance_scale:g}",
        "visual_guidance_scale": f"{plan.sampling.visual_guidance_scale:g}",
        "source_strength": f"{request.source_strength:g}",
        "layout": request.layout,
        "mllm_frames": str(request.mllm_frames),
        "posterior": request.posterior,
        "weights": files.dit.name,
        "weights_sha256": weights_sha256(files.dit, ema=files.ema),
        "dtype": str(compute.dtype).removeprefix("torch."),
        "device": compute.device.type,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _with_preview(
    progress: Progress | None, preview: Callable[[Tensor], None] | None, codec: VideoCodec
) -> Progress | None:
    """A progress that also hands out previews."""
    if preview is None:
        return progress

    def both(report: StepReport) -> bool | None:
        preview(codec.preview(report.clean_latents[0]))
        return None if progress is None else progress(report)

    return both


def _silently(_phase: str) -> None:
    """Tell nobody."""


def generate(
    plan: Plan,
    files: ModelFiles,
    *,
    compute: Compute | None = None,
    progress: Progress | None = None,
    preview: Callable[[Tensor], None] | None = None,
    notify: Notify | None = None,
) -> Generated:
    """Run a plan.

    Args:
        plan: From `plan_request`.
        files: From `find_model`.
        compute: Where and in which precision; the CPU in float32 by default.
        progress: Told after each step; returning False cancels.
        preview: Given a small picture of the result so far after each step, uint8 [H, W, 3].
        notify: Told each phase.

    Returns:
        The result; its frames are decoded as they are read.

    Raises:
        LoomError: Anything that a user can put right.
    """
    compute = compute or Compute()
    tell = notify or _silently
    config = files.dit_config()
    if compute.rope_precision is not None:
        config = replace(config, rope_precision=compute.rope_precision)

    tell("reading the source and references")
    plan, media = load_media(plan)

    tell("reading the prompt with the MLLM")
    prompt = encode_prompt(plan, media, files, config=config, compute=compute)

    tell("encoding to latents")
    codec = load_codec(files.codec, dtype=compute.codec_dtype, device=compute.device, tile_latents=compute.tile_latents)
    conditions = encode_conditions(plan, media, prompt, codec=codec, device=compute.device)

    tell("loading the DiT")
    model = load_dit(files.dit, dtype=compute.dtype, device=compute.device, config=config, ema=files.ema)

    prepared = prepare_branches(plan, conditions, model=model)
    del prompt, conditions  # the states of the MLLM are as large as what was made of them

    tell("denoising")
    latents = sample(plan, prepared, model=model, progress=_with_preview(progress, preview, codec))
    del model, prepared

    return Generated(
        plan=plan,
        frames=decode_frames(latents, codec),
        source=media.source,
        metadata=describe(plan, files, compute=compute),
    )
