"""`python -m loom_core.cli.generate`: generate or edit a clip or an image."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.attention import AUTO, PACKAGES, SDPA
from ..config.presets import PRESETS, get_preset
from ..config.sampling import DEFAULT_NEGATIVE_PROMPT
from ..config.speed import EXACT, SPEEDS
from ..distributed.launch import Launch, find_launch
from ..errors import ConfigError
from ..media.targets import check_output, compare_path, output_path
from ..mllm.prompts import LAYOUTS
from ..request import Plan, Request, plan_request
from ..sampling.solvers import SOLVERS
from ..types import Task
from ..weights.presence import require_present
from .arguments import Parser
from .compute import CACHES, ComputeWords, choose_compute
from .display import Display
from .exits import run
from .fitting import fit_to_gpu

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..bundle import ModelFiles
    from ..compute import Compute
    from ..pipeline import Spread


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog="python -m loom_core.cli.generate",
        description="Generate or edit a clip or an image. What is done follows from what is given: a prompt alone "
        "generates, --source edits, --reference takes looks from images that the prompt names as @Image 1, @Image 2. "
        "Several GPUs share the work of one clip: torchrun --nproc-per-node 2 -m -- loom_core.cli.generate ...",
    )
    add_arguments(parser)
    return parser


def add_arguments(parser: argparse.ArgumentParser, *, needed: bool = True) -> None:
    """Everything that a run can be told.

    Args:
        parser: Of a command.
        needed: Whether a run needs prompt and output; a command that only looks at one does not.
    """
    parser.add_argument("--prompt", required=needed, metavar="TEXT", help="text or instruction")
    parser.add_argument("--source", type=Path, metavar="FILE", help="clip or image to edit")
    parser.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        metavar="IMAGE",
        help="reference image; repeat for more, in order of @Image N",
    )
    parser.add_argument(
        "--output", type=Path, required=needed, metavar="FILE", help="where the result goes: .mp4, .png ..."
    )
    parser.add_argument("--task", metavar="NAME", help="; ".join(task.value for task in Task) + " (default: inferred)")
    parser.add_argument(
        "--negative-prompt", default=DEFAULT_NEGATIVE_PROMPT, metavar="TEXT", help="what to stay away from"
    )

    _add_model_arguments(parser)
    size = parser.add_argument_group("size")
    size.add_argument("--width", type=int, metavar="PX", help="multiple of 32 (default: like the source)")
    size.add_argument("--height", type=int, metavar="PX", help="multiple of 32 (default: like the source)")
    size.add_argument("--frames", type=int, metavar="N", help="4k + 1; 1 makes an image (default: like the source)")
    size.add_argument("--fps", type=float, metavar="F", help="rate to sample the source at and to write (default: 24)")

    _add_sampling_arguments(parser)
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--compare", action="store_true", help="also write source and result side by side")
    shown.add_argument("--preview", type=Path, metavar="IMAGE", help="write a small picture here after each step")
    shown.add_argument("--quiet", action="store_true", help="print nothing but the path of the result")


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", type=Path, metavar="FILE", help="DiT weights, or a folder (default: the built-in model)"
    )
    model.add_argument("--mllm", type=Path, metavar="PATH", help="Qwen3-VL folder or file (default: beside the model)")
    model.add_argument(
        "--mllm-tokenizer", type=Path, metavar="PATH", help="tokenizer folder or file (default: beside it)"
    )
    model.add_argument("--mllm-config", type=Path, metavar="FILE", help="config.json of the MLLM (default: beside it)")
    model.add_argument("--vae", type=Path, metavar="PATH", help="VAE file or folder (default: beside the model)")
    model.add_argument("--no-ema", action="store_true", help="take live weights where a folder has averaged ones too")
    model.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (default: the fastest present)")
    model.add_argument("--dtype", metavar="NAME", help="bf16, fp16 or fp32 (default: bf16; small models on a CPU fp32)")
    model.add_argument("--vae-dtype", metavar="NAME", help="of the VAE (default: bf16 on a GPU, fp32 on a CPU)")
    model.add_argument(
        "--vae-tile", type=int, metavar="PX", help="work on tiles of this side, to save memory (256, 512)"
    )
    model.add_argument(
        "--mllm-device", metavar="NAME", help="where the MLLM reads the prompt (default: --device where it fits)"
    )
    model.add_argument(
        "--cache",
        metavar="NAME",
        help=f"kept of the contexts: {' or '.join(CACHES)}, half as large (default: the first where it fits)",
    )
    model.add_argument(
        "--compile", action="store_true", help="have torch.compile make the DiT's kernels; the first step waits for it"
    )
    model.add_argument(
        "--quantise",
        metavar="NAME",
        help="have torchao quantise the DiT once it is loaded: int8-torchao, or int8-dynamic-torchao, which multiplies "
        "in 8 bits too",
    )
    model.add_argument(
        "--offload",
        metavar="NAME",
        help="weights that come to the device only for their turn: none, blocks (all of DiT and MLLM), or auto "
        "(default) for as many as memory asks for",
    )
    packages = "; ".join(f"{word} ({one.package}): {one.about}" for word, one in PACKAGES.items())
    model.add_argument(
        "--attention",
        default=AUTO,
        metavar="NAME",
        help=f"what computes it: sdpa, torch's own; {packages}; or auto (default), flash where it works, else sdpa",
    )
    model.add_argument(
        "--rope", metavar="NAME", help="rotary tables: exact or bf16 (default: as the weights were trained)"
    )


def _add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    sampling = parser.add_argument_group("sampling")
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items())
    sampling.add_argument("--preset", metavar="NAME", help=presets)
    sampling.add_argument("--steps", type=int, metavar="N", help="denoising steps")
    speeds = "; ".join(f"{name}: {speed.about}" for name, speed in SPEEDS.items())
    sampling.add_argument("--speed", default=EXACT, metavar="NAME", help=f"{speeds} (default: {EXACT})")
    sampling.add_argument(
        "--guidance-every",
        type=int,
        metavar="N",
        help="guide in every Nth step only, after a fifth of them; 0: no more after it (default: 1)",
    )
    sampling.add_argument(
        "--guidance-scale", type=float, metavar="X", help="text guidance (default: 5, edits 2.5, tiny 2)"
    )
    sampling.add_argument(
        "--visual-guidance-scale", type=float, metavar="Y", help="visual guidance (default: 1.5, tiny 1)"
    )
    sampling.add_argument(
        "--shift", type=float, metavar="S", help="of the schedule; 0 takes it from the size (default: 5)"
    )
    sampling.add_argument("--solver", metavar="NAME", help=", ".join(SOLVERS))
    sampling.add_argument("--source-strength", type=float, default=1.0, metavar="X", help="of the source (default: 1)")
    sampling.add_argument("--layout", default="official", metavar="NAME", help=" or ".join(LAYOUTS) + " prompt")
    sampling.add_argument(
        "--mllm-frames", type=int, default=4, metavar="N", help="source frames the MLLM sees (default: 4)"
    )
    sampling.add_argument("--posterior", default="sample", metavar="NAME", help="VAE latents: sample (default) or mode")
    sampling.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")


def to_request(arguments: argparse.Namespace) -> Request:
    """The request that the arguments stand for."""
    return Request(
        prompt=arguments.prompt,
        source=arguments.source,
        references=tuple(arguments.reference),
        task=arguments.task,
        negative_prompt=arguments.negative_prompt,
        width=arguments.width,
        height=arguments.height,
        num_frames=arguments.frames,
        fps=arguments.fps,
        num_inference_steps=arguments.steps,
        guidance_scale=arguments.guidance_scale,
        visual_guidance_scale=arguments.visual_guidance_scale,
        shift=arguments.shift,
        solver=arguments.solver,
        speed=arguments.speed,
        guidance_every=arguments.guidance_every,
        source_strength=arguments.source_strength,
        layout=arguments.layout,
        mllm_frames=arguments.mllm_frames,
        posterior=arguments.posterior,
        seed=arguments.seed,
    )


def find_files(arguments: argparse.Namespace) -> ModelFiles:
    """The files that the arguments name; see `find_model`."""
    from ..bundle import find_model

    return find_model(
        arguments.model,
        mllm=arguments.mllm,
        codec=arguments.vae,
        mllm_tokenizer=arguments.mllm_tokenizer,
        mllm_config=arguments.mllm_config,
        ema=not arguments.no_ema,
    )


def to_compute_words(arguments: argparse.Namespace) -> ComputeWords:
    """What the arguments say of device and precision."""
    return ComputeWords(
        device=arguments.device,
        dtype=arguments.dtype,
        vae_dtype=arguments.vae_dtype,
        rope=arguments.rope,
        tile_pixels=arguments.vae_tile,
        mllm_device=arguments.mllm_device,
        cache=arguments.cache,
        offload=arguments.offload,
        # packages' kernels break the one graph that the blocks are compiled to
        attention=SDPA if arguments.compile and arguments.attention == AUTO else arguments.attention,
        quantise=arguments.quantise,
    )


def _say_plan(plan: Plan, say: Callable[[str], None]) -> None:
    size = f"{plan.width}x{plan.height}"
    length = "" if plan.is_image else f", {plan.num_frames} frames at {plan.fps:g} a second"
    scales = f"guidance {plan.sampling.guidance_scale:g} / {plan.sampling.visual_guidance_scale:g} (text / visual)"
    steps = f"{plan.sampling.num_inference_steps} steps, seed {plan.request.seed}"
    speed = "" if plan.request.speed == EXACT else f", {plan.request.speed}"
    say(f"{plan.task.value}: {size}{length}, {steps}, {scales}{speed}")
    for notice in plan.notices:
        say(f"note: {notice}")


def check_places(plan: Plan, arguments: argparse.Namespace) -> Path:
    """Where the result goes; refuses places that cannot be written or hold an input."""
    inputs = [path for path in (plan.request.source, *plan.request.references) if path is not None]
    path = output_path(arguments.output, is_image=plan.is_image)
    check_output(path, is_image=plan.is_image, inputs=inputs)
    if arguments.compare:
        check_output(compare_path(path), is_image=plan.is_image, inputs=inputs)
    if arguments.preview is not None:
        check_output(arguments.preview, is_image=True, inputs=inputs)
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = build_parser().parse_args(argv)
    start = time.monotonic()
    # What is wrong with the request is said before torch is even imported.
    request = to_request(arguments)
    words = to_compute_words(arguments)
    launch = find_launch()
    if arguments.compare and request.source is None:
        raise ConfigError("--compare without --source", expected="an edit", fix="leave --compare out")
    if arguments.compile and not launch.is_single:
        raise ConfigError(f"--compile in {launch.size} processes", expected="one", fix="leave --compile out")
    for given, flag in ((arguments.compile, "--compile"), (arguments.quantise, "--quantise")):
        if given and arguments.offload == "blocks":
            raise ConfigError(f"{flag} with --offload blocks", expected="one of them", fix="leave one of them out")
    if arguments.compile and words.attention != SDPA:
        raise ConfigError(f"--compile with --attention {words.attention}", expected="one of them", fix="leave one out")
    plan = plan_request(request, get_preset(arguments.preset or "official"))
    if launch.is_first:
        check_places(plan, arguments)
    require_present(
        arguments.model, arguments.mllm, arguments.mllm_tokenizer, arguments.mllm_config, arguments.vae
    )  # what they are is looked at later, with torch

    from ..bundle import default_preset_name

    files = find_files(arguments)
    config = files.dit_config()
    if arguments.preset is None:
        plan = plan_request(request, get_preset(default_preset_name(config)))
    path = check_places(plan, arguments) if launch.is_first else arguments.output
    display = Display(quiet=arguments.quiet or not launch.is_first)
    _say_plan(plan, display.say)
    if files.is_built_in:
        display.say("note: this is the small built-in model, made to try things out; --model loads real weights")
    if path != arguments.output:
        display.say(f"note: one frame is written as a still image, {path.name}")
    compute = replace(choose_compute(words, config), compiles=arguments.compile)
    if launch.is_single:
        compute = fit_to_gpu(compute, words, plan, files, config=config, say=display.say)
    work = partial(
        _run, plan, files, path, compute=compute, arguments=arguments, display=display, writes=launch.is_first
    )
    if launch.is_single:
        work()
    else:
        display.say(f"{launch.size} processes share the work")
        _run_together(work, launch, num_heads=config.num_heads, device=compute.device, arguments=arguments)
    display.say(f"done in {time.monotonic() - start:.1f} s")
    return 0


def _run_together(
    work: Callable[..., None], launch: Launch, *, num_heads: int, device: torch.device, arguments: argparse.Namespace
) -> None:
    """Have all processes of this run do the same work, each with its share of the sequence."""
    from ..distributed.agreement import check_agreed
    from ..distributed.group import joined
    from ..distributed.sequence import SequenceParallel
    from ..distributed.ulysses import check_heads

    check_heads(num_heads, launch.size)
    with joined(launch, device) as ranks:
        check_agreed(ranks, vars(arguments), own=("device", "mllm_device", "output", "preview", "quiet"))
        work(spread=SequenceParallel)


def _run(
    plan: Plan,
    files: ModelFiles,
    path: Path,
    *,
    compute: Compute,
    arguments: argparse.Namespace,
    display: Display,
    writes: bool,
    spread: Spread | None = None,
) -> None:
    """Generate, and write what was asked for where this process writes."""
    from ..media.encode import write_image
    from ..media.resize import resize_and_crop
    from ..output import write_compare, write_output
    from ..pipeline import generate

    def preview(picture: Tensor) -> None:
        enlarged = resize_and_crop(picture[None], width=plan.width, height=plan.height, fit="stretch")
        write_image(arguments.preview, enlarged[0])

    try:
        result = generate(
            plan,
            files,
            compute=compute,
            progress=display.step,
            preview=preview if arguments.preview and writes else None,
            notify=display.say,
            spread=spread,
        )
    finally:
        display.close()
    if not writes:
        return
    display.say("decoding and writing")
    write_output(result, path)
    print(path)
    if arguments.compare:
        print(write_compare(result, path))


if __name__ == "__main__":
    sys.exit(run(main))
