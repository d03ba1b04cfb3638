"""What leaving out forward passes saves and loses.

Every way is held against the same run with all branches in all steps: forward passes by branch and FLOPs on one side,
distance of the latents and PSNR of the frames on the other. `python -m benchmarks shortcuts` does it with the built-in
model; see docs/performance.md. On real weights, which need a GPU:

    python -m benchmarks.shortcuts --model ... --mllm ... --vae ... --source clip.mp4 --prompt "Make it winter." \
        --output mine.json --pictures out
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loom_core.atomic import atomic_target
from loom_core.bundle import ModelFiles, default_preset_name, find_model
from loom_core.cli.compute import ComputeWords, choose_compute
from loom_core.compute import Compute
from loom_core.config.presets import Preset, get_preset, shortcuts_for
from loom_core.config.speed import EXACT, SPEEDS, Shortcuts
from loom_core.evaluation.measures import psnr
from loom_core.media.encode import write_image
from loom_core.models.dit import LoomDiT, PreparedConditions
from loom_core.pipeline import (
    decode_frames,
    encode_conditions,
    encode_prompt,
    fit_tiles,
    load_media,
    prepare_branches,
    sample,
)
from loom_core.request import Plan, Request, plan_request
from loom_core.types import Branch
from loom_core.vae.loading import load_codec
from loom_core.weights.loading import load_dit

from .flops import count_flops
from .registry import Benchmark
from .report import environment

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results" / "shortcuts.json"
DEMO = ROOT.parent / "demo"
STEPS = 50
SHOWN = 5  # frames of a clip in a picture


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to denoise.

    Args:
        steps: Share of the exact run's steps.
        solver: Name of a solver.
        shortcuts: What is left out of the steps.
    """

    steps: float = 1.0
    solver: str = "unipc"
    shortcuts: Shortcuts = field(default_factory=Shortcuts)


WAYS: dict[str, Way] = {
    EXACT: Way(),
    "half the steps": Way(steps=0.5),
    "half the steps, dpmpp_2m": Way(steps=0.5, solver="dpmpp_2m"),
    "half the steps, euler": Way(steps=0.5, solver="euler"),
    "a third of the steps": Way(steps=0.32),
    "guidance in the first half, then held": Way(shortcuts=Shortcuts(guidance_every=0, guidance_share=0.5)),
    "guidance every 3rd step": Way(shortcuts=Shortcuts(guidance_every=3)),
    **{name: Way(shortcuts=speed.shortcuts) for name, speed in SPEEDS.items() if name != EXACT},
    "reuse of steps up to 0.2": Way(shortcuts=Shortcuts(reuse_threshold=0.2)),
    "fast, and guidance every 2nd step": Way(shortcuts=replace(SPEEDS["fast"].shortcuts, guidance_every=2)),
}
"""By the name that results carry; the first is what the others are held against."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a way saved and lost.

    Args:
        way: Its name.
        forwards: Forward passes by branch.
        forwards_ratio: Of the exact run's forward passes, over these.
        flops_ratio: The same of their FLOPs.
        error: Norm of the difference of the latents, over the exact latents' norm.
        psnr: Of the frames against the exact ones, in decibels; None where all are equal.
    """

    way: str
    forwards: dict[str, int]
    forwards_ratio: float
    flops_ratio: float
    error: float
    psnr: float | None


class Counting:
    """A DiT that counts its forward passes by branch."""

    def __init__(self, model: LoomDiT, prepared: Mapping[Branch, PreparedConditions]) -> None:
        self._model = model
        self._branches = {id(conditions): branch for branch, conditions in prepared.items()}
        self.forwards: Counter[Branch] = Counter()

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: PreparedConditions) -> Tensor:
        """See `LoomDiT.forward`."""
        self.forwards[self._branches[id(conditions)]] += 1
        return self._model(latents, timestep, conditions)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A request, up to where it is denoised."""

    plan: Plan
    conditions: dict[Branch, PreparedConditions]
    model: LoomDiT
    files: ModelFiles
    compute: Compute

    def denoise(self, way: Way) -> tuple[Tensor, Counter[Branch]]:
        """Clean latents, and the forward passes that they took."""
        sampling = self.plan.sampling
        steps = max(1, round(way.steps * sampling.num_inference_steps))
        shortcuts = shortcuts_for(self.plan.task, way.shortcuts)
        sampling = replace(sampling, num_inference_steps=steps, solver=way.solver, shortcuts=shortcuts)
        plan, counting = replace(self.plan, sampling=sampling), Counting(self.model, self.conditions)
        latents = sample(plan, self.conditions, model=self.model, compute=self.compute, spread=lambda _: counting)
        return latents, counting.forwards

    def forward_flops(self, latents: Tensor) -> dict[Branch, int]:
        """FLOPs of one forward pass of each branch."""
        inputs, timestep = latents.to(self.compute.dtype), torch.full((1,), 500, device=latents.device)
        return {
            branch: count_flops(lambda: self.model(inputs, timestep, conditions))  # noqa: B023 - called at once
            for branch, conditions in self.conditions.items()
        }


def prepare(request: Request, files: ModelFiles, *, preset: Preset, compute: Compute) -> Prepared:
    """Read, encode and load all that denoising needs."""
    config = files.check()
    plan, media = load_media(plan_request(request, preset), print)
    prompt = encode_prompt(plan, media, files, config=config, compute=compute)
    codec = load_codec(files.codec, dtype=compute.codec_dtype, device=compute.device, tile_latents=compute.tile_latents)
    fit_tiles(codec, plan, compute=compute, direction="encode")
    conditions = encode_conditions(plan, media, prompt, codec=codec)
    codec.to("cpu")
    model = load_dit(files.dit, dtype=compute.dtype, device=compute.device, config=config, ema=files.ema)
    made = prepare_branches(plan, conditions, model=model, compute=compute)
    return Prepared(plan=plan, conditions=made, model=model, files=files, compute=compute)


def decode(prepared: Prepared, made: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Frames of latents, uint8 [F, height, width, 3]."""
    compute = prepared.compute
    codec = load_codec(prepared.files.codec, dtype=compute.codec_dtype, device=compute.device)
    fit_tiles(codec, prepared.plan, compute=compute, direction="decode")
    return {name: torch.cat(list(decode_frames(latents, codec))) for name, latents in made.items()}


def compare(
    made: Mapping[str, Tensor],
    frames: Mapping[str, Tensor],
    forwards: Mapping[str, Mapping[Branch, int]],
    *,
    flops: Mapping[Branch, int],
) -> Iterator[Outcome]:
    """Every way against the exact one.

    Args:
        made: Clean latents.
        frames: Their frames.
        forwards: Forward passes that they took, by branch.
        flops: Of one forward pass, by branch.
    """

    def cost(counts: Mapping[Branch, int]) -> int:
        return sum(count * flops[branch] for branch, count in counts.items())

    exact, whole = made[EXACT], forwards[EXACT]
    for name, latents in made.items():
        counts = forwards[name]
        difference = float((frames[name].float() - frames[EXACT].float()).square().mean())
        yield Outcome(
            way=name,
            forwards={branch.value: counts.get(branch, 0) for branch in whole},
            forwards_ratio=sum(whole.values()) / sum(counts.values()),
            flops_ratio=cost(whole) / cost(counts),
            error=float((latents - exact).norm() / exact.norm()),
            psnr=psnr(difference) if difference else None,
        )


def picture(frames: Mapping[str, Tensor]) -> Tensor:
    """A row of frames for each way, from top to bottom: uint8 [height, width, 3]."""
    rows = []
    for clip in frames.values():
        shown = torch.linspace(0, len(clip) - 1, min(SHOWN, len(clip))).long()
        rows.append(torch.cat(list(clip[shown]), dim=1))
    return torch.cat(rows)


def run_case(
    request: Request, files: ModelFiles, *, compute: Compute, pictures: Path | None
) -> tuple[dict[str, Any], list[Outcome]]:
    """Denoise one request in every way: its sizes, and what came out."""
    preset = get_preset(default_preset_name(files.dit_config()))
    prepared = prepare(request, files, preset=preset, compute=compute)
    made, forwards = {}, {}
    for name, way in WAYS.items():
        made[name], forwards[name] = prepared.denoise(way)
        print(f"  {name}: {sum(forwards[name].values())} forward passes", flush=True)
    flops = prepared.forward_flops(made[EXACT])
    frames = decode(prepared, made)
    outcomes = list(compare(made, frames, forwards, flops=flops))
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        write_image(pictures / f"{prepared.plan.task.value}.png", picture(frames))
    plan = prepared.plan
    sizes = {
        "task": plan.task.value,
        "prompt": request.prompt,
        "size": [plan.num_frames, plan.height, plan.width],
        "seed": request.seed,
        "steps": plan.sampling.num_inference_steps,
        "guidance": [plan.sampling.guidance_scale, plan.sampling.visual_guidance_scale],
        "gigaflops_a_forward": {branch.value: count / 1e9 for branch, count in flops.items()},
    }
    return sizes, outcomes


def cases(arguments: argparse.Namespace) -> list[Request]:
    """The request of the arguments, or those that the built-in model is measured with."""
    given = {"num_inference_steps": arguments.steps, "seed": arguments.seed, "num_frames": arguments.frames}
    if arguments.prompt is not None:
        return [
            Request(
                prompt=arguments.prompt, source=arguments.source, references=tuple(arguments.reference or ()), **given
            )
        ]
    clip, still = DEMO / "shapes.mp4", DEMO / "maroon.png"
    return [
        Request(prompt="Make the background maroon.", source=clip, **given),
        Request(prompt="Use the background of @Image 1.", source=clip, references=(still,), **given),
        Request(prompt="A large red circle moves to the right on a blue background.", **given),
    ]


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(description="What leaving out forward passes saves and loses.")
    parser.add_argument("--model", type=Path, help="DiT weights, or a folder (default: the built-in model)")
    parser.add_argument("--mllm", type=Path, help="Qwen3-VL (default: beside the model)")
    parser.add_argument("--vae", type=Path, help="VAE (default: beside the model)")
    parser.add_argument("--device", help="cpu, cuda (default: the fastest present)")
    parser.add_argument("--prompt", help="of a request of your own, instead of the three bundled ones")
    parser.add_argument("--source", type=Path, help="clip or image to edit, of your own request")
    parser.add_argument("--reference", type=Path, action="append", help="of your own request; repeat for more")
    parser.add_argument("--frames", type=int, help="4k + 1 (default: like the source)")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the exact run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="results file (default: %(default)s)")
    parser.add_argument("--pictures", type=Path, help="folder for a picture a request, a row a way")
    return parser


def run_cases(
    requests: Iterable[Request], files: ModelFiles, output: Path, *, compute: Compute, pictures: Path | None = None
) -> None:
    """Run all ways on all requests, print, write.

    Args:
        requests: What is made.
        files: Of the model.
        output: Results file.
        compute: Where and in which precision.
        pictures: Folder for a picture a request.
    """
    results = []
    for request in requests:
        print(request.prompt, flush=True)
        sizes, outcomes = run_case(request, files, compute=compute, pictures=pictures)
        results.append({**sizes, "outcomes": [asdict(one) for one in outcomes]})
        for one in outcomes:
            quality = "equal" if one.psnr is None else f"{one.psnr:5.1f} dB"
            ratios = f"forwards {one.forwards_ratio:5.2f} x, FLOPs {one.flops_ratio:5.2f} x"
            print(f"{ratios}, error {one.error:.4f}, {quality}  {one.way}", flush=True)
    ways = {name: asdict(way) for name, way in WAYS.items()}
    device = {"device": compute.device.type, "dtype": str(compute.dtype).removeprefix("torch.")}
    if compute.device.type == "cuda":
        device["gpu"] = torch.cuda.get_device_name(compute.device)
    content = {"environment": environment() | device, "model": files.dit.name, "ways": ways, "cases": results}
    with atomic_target(output) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    arguments = build_parser().parse_args(argv)
    files = find_model(arguments.model, mllm=arguments.mllm, codec=arguments.vae)
    compute = choose_compute(ComputeWords(device=arguments.device), files.dit_config())
    run_cases(cases(arguments), files, arguments.output, compute=compute, pictures=arguments.pictures)
    print(f"Results are in {arguments.output}")


def write(output: Path) -> None:
    """The built-in model on a CPU, with its own requests."""
    run_cases(cases(build_parser().parse_args([])), find_model(), output, compute=Compute())


BENCHMARK = Benchmark(
    about="what leaving out forward passes saves and loses, built-in model: three requests, each in all ways",
    seconds=60,
    write=write,
)


if __name__ == "__main__":
    main()
