"""Request in, video out.

The parts of the model are loaded one after another and let go as soon as they are done with, so that the largest of
them, not their sum, decides how much memory a run takes: MLLM, then codec, then DiT.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .bundle import ModelFiles
from .compute import Compute
from .config.model import DiTConfig
from .errors import ConfigError, MediaError
from .geometry import MAX_FRAMES, TEMPORAL_STRIDE, latent_shape
from .media.decode import read_clip, read_image
from .media.resize import to_frames, to_pixels
from .mllm.encoder import QwenEncoder
from .mllm.frames import TRAINED_MAX_FRAMES
from .models.attention_backends import attention_by
from .models.compiling import compile_blocks
from .models.dit import LoomDiT, PreparedConditions
from .models.kernels import has_kernels
from .models.lockstep import LockstepDiT
from .offload.blocks import streamed
from .protocols import Denoiser, EncodedPrompt, Progress, StepReport, VideoCodec
from .provenance import describe
from .request import Plan
from .sampling.denoise import denoise, initial_noise
from .sampling.guidance import branch_weights
from .sampling.schedule import schedule_for
from .sampling.shortcuts import shortened_velocity
from .sampling.solvers import get_solver
from .types import Branch, Clip, Condition, Reference
from .vae.loading import load_codec
from .vae.memory import Direction, tile_for_free_memory
from .weights.loading import load_dit
from .weights.torchao_layers import quantise_loaded

Notify = Callable[[str], None]
"""Told the name of each phase as it begins."""

Spread = Callable[[LoomDiT], Denoiser]
"""Makes what is called in place of a DiT."""


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


def load_media(plan: Plan, notify: Notify) -> tuple[Plan, Media]:
    """Decode and size source and references.

    Args:
        plan: What they are for.
        notify: Told when the source ends early.

    Returns:
        The plan with the number of frames that were really there, and the pictures.

    Raises:
        MediaError: A file cannot be read, or the source ends before the number of frames that was asked for.
    """
    request, size = plan.request, (plan.width, plan.height)
    source = None
    if request.source is not None:
        # The plan counts by the average rate; only the frames' own times tell the exact number.
        is_fixed = plan.is_image or request.num_frames is not None
        most = plan.num_frames if is_fixed else MAX_FRAMES
        source = read_clip(request.source, target_fps=plan.fps, max_frames=most, size=size)
        short = f"{source.num_frames} of {plan.num_frames} frames that can be read in {request.source.name}"
        if is_fixed and source.num_frames < plan.num_frames:
            raise MediaError(short, expected="a whole file", fix="give a file that is not cut off, or fewer frames")
        if source.num_frames < plan.num_frames - TEMPORAL_STRIDE:
            notify(f"note: only {short}; the file seems to be cut off")
        plan = replace(plan, num_frames=source.num_frames)
    references = tuple(read_image(path, size=size) for path in request.references)
    return plan, Media(source=source, references=references)


def load_encoder(
    files: ModelFiles, *, config: DiTConfig, compute: Compute, max_frames: int = TRAINED_MAX_FRAMES
) -> QwenEncoder:
    """The MLLM that belongs to a DiT.

    Args:
        files: Of the model.
        config: Of the DiT.
        compute: Where and in which precision.
        max_frames: Frames of a clip that it sees.

    Raises:
        ConfigError: Its width is not what the DiT reads.
        WeightsError: Its files are missing, damaged or of another model.
    """
    encoder = QwenEncoder.load(
        files.mllm,
        num_blocks=config.num_layers,
        dtype=compute.dtype,
        device=compute.mllm_device or compute.device,
        config=files.mllm_config,
        tokenizer=files.mllm_tokenizer,
        rope_precision=config.rope_precision,
        max_frames=max_frames,
        streams=compute.streams_mllm,
    )
    if encoder.hidden_size == config.mllm_dim:
        return encoder
    width = encoder.hidden_size
    encoder.release()
    raise ConfigError(
        f"an MLLM of width {width}",
        expected=f"one of width {config.mllm_dim}, which the DiT was trained with",
        fix="name the right one with --mllm (Qwen3-VL-8B-Instruct for the released weights)",
    )


def encode_prompt(plan: Plan, media: Media, files: ModelFiles, *, config: DiTConfig, compute: Compute) -> EncodedPrompt:
    """Read the prompt with the MLLM, which is loaded for that and released."""
    encoder = load_encoder(files, config=config, compute=compute, max_frames=plan.request.mllm_frames)
    try:
        return encoder.encode(
            plan.task,
            plan.request.prompt,
            negative_prompt=plan.request.negative_prompt,
            references=media.references,
            source=media.source,
            layout=plan.request.layout,
            branches=weights_of(plan),
        )
    finally:
        encoder.release()


def posterior_seed(seed: int) -> int:
    """Seed of the posterior's noise: another than the run's, whose first numbers would be the initial noise itself."""
    return random.Random(f"posterior of {seed}").getrandbits(63)


def encode_conditions(plan: Plan, media: Media, prompt: EncodedPrompt, *, codec: VideoCodec) -> dict[Branch, Condition]:
    """The condition of each branch that was read: MLLM states, and for all but the unconditional one the pictures."""
    generator = None
    if plan.request.posterior == "sample":  # parity: as the official encode does
        generator = torch.Generator().manual_seed(posterior_seed(plan.request.seed))

    def latents_of(clip: Clip) -> Tensor:
        return codec.encode(to_pixels(clip.frames)[None], generator=generator)[0]  # [C, F, H, W]

    source = None if media.source is None else latents_of(media.source)
    references = tuple(Reference(latents_of(clip)) for clip in media.references)

    def condition(branch: Branch, states: tuple[Tensor, ...]) -> Condition:
        if branch is Branch.UNCONDITIONAL:
            return Condition(states)
        return Condition(states, source, references, plan.request.source_strength)

    return {branch: condition(branch, states) for branch, states in prompt.by_branch.items()}


def fit_tiles(codec: VideoCodec, plan: Plan, *, compute: Compute, direction: Direction) -> None:
    """Have a codec on a GPU work on tiles as large as the free memory allows, unless the user chose them."""
    if compute.device.type != "cuda" or compute.tile_latents is not None:
        return
    codec.tile_latents = tile_for_free_memory(
        plan.height,
        plan.width,
        dtype=compute.codec_dtype,
        device=compute.device,
        direction=direction,
        num_frames=plan.num_frames,
    )


def weights_of(plan: Plan) -> dict[Branch, float]:
    """Weight of each branch that has to run."""
    sampling = plan.sampling
    return branch_weights(sampling.guidance_scale, sampling.visual_guidance_scale, has_visual=plan.has_visual)


@contextmanager
def loaded_dit(files: ModelFiles, *, config: DiTConfig, compute: Compute) -> Iterator[LoomDiT]:
    """Within, the DiT is where it computes, but for blocks that are to come for their turn alone."""
    waits = compute.streamed_blocks or compute.quantises is not None
    device = torch.device("cpu") if waits else compute.device
    model = load_dit(files.dit, dtype=compute.dtype, device=device, config=config, ema=files.ema)
    model.attention = attention_by(compute.attention)
    if compute.quantises is not None:
        quantise_loaded(model, compute.quantises, device=compute.device)
    if not compute.streamed_blocks:
        if compute.compiles:
            compile_blocks(model)
        elif has_kernels(torch.empty(0, device=compute.device, dtype=compute.dtype)):
            with torch.no_grad():
                model.fuse_projections()  # which the kernels read without a copy
        yield model
        return
    with streamed(model, "blocks", device=compute.device, count=compute.streamed_blocks, pin=True):
        yield model


@torch.no_grad()
def prepare_branches(
    plan: Plan, conditions: Mapping[Branch, Condition], *, model: LoomDiT, compute: Compute
) -> dict[Branch, PreparedConditions]:
    """What the steps share, for each branch that has to run; the MLLM states are not needed after this."""
    target = torch.zeros(_latent_size(plan, model), device=compute.device, dtype=compute.dtype)
    options: dict[str, Any] = {"keys_values": compute.keeps_keys_values, "make_table": model.make_tables()}
    return {branch: model.prepare([conditions[branch]], target, **options) for branch in weights_of(plan)}


def sample(
    plan: Plan,
    prepared: Mapping[Branch, PreparedConditions],
    *,
    model: LoomDiT,
    compute: Compute,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> Tensor:
    """Denoise to clean latents, float32 [1, C, F, H, W]."""
    denoiser: Denoiser = model
    if spread is not None:
        denoiser = spread(model)
    elif compute.streamed_blocks:
        denoiser = LockstepDiT(model)  # weights come once for all branches
    num_tokens = max(branch.rope.cos.shape[1] for branch in prepared.values())  # of target and references
    schedule = schedule_for(plan.sampling, num_tokens=num_tokens)
    velocity = shortened_velocity(
        denoiser,
        prepared,
        weights_of(plan),
        dtype=compute.dtype,
        shortcuts=plan.sampling.shortcuts,
        schedule=schedule,
    )
    return denoise(
        velocity,
        initial_noise(_latent_size(plan, model), seed=plan.request.seed, device=compute.device),
        schedule=schedule,
        solver=get_solver(plan.sampling.solver),
        progress=progress,
    )


def _latent_size(plan: Plan, model: LoomDiT) -> tuple[int, int, int, int, int]:
    """[1, C, F, H, W] of the result."""
    shape = latent_shape(plan.num_frames, plan.height, plan.width)
    return 1, model.config.in_channels, shape.frames, shape.height, shape.width


def decode_frames(latents: Tensor, codec: VideoCodec) -> Iterator[Tensor]:
    """Pictures of latents [1, C, F, H, W], a latent frame at a time: uint8 [1 or 4, height, width, 3]."""
    for chunk in codec.decode_chunks(latents):
        yield to_frames(chunk[0]).cpu()


def _with_preview(progress: Progress | None, preview: Callable[[Tensor], None], codec: VideoCodec) -> Progress:
    """A progress that also hands out previews."""
    codec.preview(torch.zeros(codec.latent_channels, 1, 1, 1))  # learns its colours now, on the device it is on

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
    spread: Spread | None = None,
) -> Generated:
    """Run a plan.

    Args:
        plan: From `plan_request`.
        files: From `find_model`.
        compute: Where and in which precision; the CPU in float32 by default.
        progress: Told after each step; returning False cancels.
        preview: Given a small picture of the result so far after each step, uint8 [H, W, 3].
        notify: Told each phase.
        spread: Has several processes share the DiT's work; all of them run the same plan.

    Returns:
        The result; its frames are decoded as they are read.

    Raises:
        LoomError: Anything that a user can put right.
    """
    compute, tell = compute or Compute(), notify or _silently
    config = files.check()
    if compute.rope_precision is not None:
        config = replace(config, rope_precision=compute.rope_precision)

    tell("reading the source and references")
    plan, media = load_media(plan, tell)

    tell("hashing the weights")  # now: after minutes of work the files might be gone
    record = describe(plan, files, config=config, compute=compute)

    tell("reading the prompt with the MLLM")
    prompt = encode_prompt(plan, media, files, config=config, compute=compute)

    tell("encoding to latents")
    codec = load_codec(files.codec, dtype=compute.codec_dtype, device=compute.device, tile_latents=compute.tile_latents)
    fit_tiles(codec, plan, compute=compute, direction="encode")
    conditions = encode_conditions(plan, media, prompt, codec=codec)
    watched = progress if preview is None else _with_preview(progress, preview, codec)
    codec.to("cpu")  # while the DiT works

    tell("loading the DiT")
    with loaded_dit(files, config=config, compute=compute) as model:
        prepared = prepare_branches(plan, conditions, model=model, compute=compute)
        del prompt, conditions  # the states of the MLLM are as large as what was made of them

        tell("denoising")
        latents = sample(plan, prepared, model=model, compute=compute, progress=watched, spread=spread)
    del model, prepared

    codec.to(compute.device)
    fit_tiles(codec, plan, compute=compute, direction="decode")
    return Generated(plan=plan, frames=decode_frames(latents, codec), source=media.source, metadata=record)
