"""What a sampling with our nodes costs inside ComfyUI, beside `loom_core` alone and ComfyUI's own Wan 2.2 5B.

Counted inside the real ComfyUI, in its own interpreter: COMFYUI_PATH names a checkout, COMFYUI_PYTHON an interpreter
that has its packages (this one where it names none). Nothing is timed.

`python -m benchmarks.host CHECKOUT` counts in this process, and prints what it found as JSON.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loom_core.bundle import BUILT_IN
from loom_core.config.model import LOOM_TINY
from loom_core.geometry import LatentShape
from loom_core.models.dit import LoomDiT
from loom_core.sampling.denoise import denoise, initial_noise
from loom_core.sampling.guidance import branch_weights, guided_velocity
from loom_core.sampling.schedule import flow_schedule
from loom_core.sampling.solvers import get_solver
from loom_core.types import Branch, Condition, Task
from loom_core.weights.loading import load_dit

from .flops import count_flops, forward_flops, prepare_flops
from .imports import missing
from .live_memory import LiveMemory
from .registry import Benchmark
from .report import Comparison, Figure
from .workloads import Workload

ROOT = Path(__file__).resolve().parents[1]
PACK = "loom_pack"
STEPS, SHIFT, SEED = 4, 5.0, 0
SCALES = (2.5, 1.5)
SHAPE = (1, 48, 9, 16, 16)
"""Latents of 33 frames of 256x256."""
LENGTHS = {Branch.FULL: 90, Branch.VISUAL: 60, Branch.UNCONDITIONAL: 30}
"""Tokens of the contexts."""
MOST_APART = 1e-4
"""Relative error between the nodes' latents and those of `loom_core`: more, and the samplings are not the same."""
GIGA, MEGA = 1e9, 1e6


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Of one sampling, what it prepares included.

    Args:
        flops: Operations.
        peak: Most bytes of new tensors alive at once.
        forward_peak: The same of what one call of the DiT makes.
        forwards: Calls of the DiT.
        samples: Latents in all of these calls, one a branch.
        projector: Calls of what widens the contexts.
        keys_values: Times that a block made keys of a context.
    """

    flops: int
    peak: int
    forward_peak: int
    forwards: int
    samples: int
    projector: int
    keys_values: int


@contextmanager
def counted_calls(model: Any, projector: nn.Module) -> Iterator[Counter[str]]:
    """Counts the calls of a DiT and of its parts while it is open."""
    counter: Counter[str] = Counter()

    def count(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            counter[name] += 1
            if name == "forwards":
                counter["samples"] += len(args[0])

        return hook

    handles = [model.register_forward_pre_hook(count("forwards"))]
    handles.append(projector.register_forward_pre_hook(count("projector")))
    handles += [block.cross_attn.k.register_forward_pre_hook(count("keys_values")) for block in model.blocks]
    try:
        yield counter
    finally:
        for handle in handles:
            handle.remove()


def costs(sampling: Callable[[], object], model: Any, projector: nn.Module) -> Costs:
    """What a sampling takes; it is run twice.

    Args:
        sampling: Runs it whole.
        model: Its DiT.
        projector: The part of it that widens contexts.
    """
    with counted_calls(model, projector) as calls:
        flops = count_flops(sampling)
    whole, forward = peaks(sampling, model)
    return Costs(
        flops=flops,
        peak=whole,
        forward_peak=forward,
        forwards=calls["forwards"],
        samples=calls["samples"],
        projector=calls["projector"],
        keys_values=calls["keys_values"],
    )


def peaks(sampling: Callable[[], object], model: Any) -> tuple[int, int]:
    """Most bytes of new tensors alive at once in a sampling, and most that one call of its DiT makes."""
    whole, forward, before = [0], [0], [0]

    def begin(_module: nn.Module, _args: tuple[Any, ...]) -> None:
        whole.append(memory.peak)
        before[0] = memory.peak = memory.live

    def end(_module: nn.Module, _args: tuple[Any, ...], _result: Tensor) -> None:
        forward.append(memory.peak - before[0])

    handles = [model.register_forward_pre_hook(begin), model.register_forward_hook(end)]
    try:
        with torch.no_grad(), LiveMemory() as memory:
            sampling()
    finally:
        for handle in handles:
            handle.remove()
    return max(*whole, memory.peak), max(forward)


def random_conditions() -> dict[Branch, Condition]:
    """Of an edit: all branches but the unconditional one have a source."""
    generator = torch.Generator().manual_seed(SEED)

    def condition(branch: Branch) -> Condition:
        size = (LOOM_TINY.num_layers, LENGTHS[branch], LOOM_TINY.mllm_dim)
        states = torch.randn(size, generator=generator).bfloat16().float().unbind(0)  # as a conditioning has them
        source = None if branch is Branch.UNCONDITIONAL else torch.randn(SHAPE[1:], generator=generator)
        return Condition(states, source)

    return {branch: condition(branch) for branch in Branch}


def alone(model: LoomDiT, conditions: Mapping[Branch, Condition]) -> Tensor:
    """An edit sampled by `loom_core`."""
    weights = branch_weights(*SCALES, has_visual=True)
    prepared = {branch: model.prepare([conditions[branch]], torch.zeros(SHAPE)) for branch in weights}
    return denoise(
        guided_velocity(model, prepared, weights, dtype=torch.float32),
        initial_noise(SHAPE, seed=SEED),
        schedule=flow_schedule(STEPS, shift=SHIFT),
        solver=get_solver("euler"),
    )


class Inside:
    """ComfyUI and the pack, imported into this process.

    Args:
        checkout: Folder of ComfyUI.
    """

    def __init__(self, checkout: Path) -> None:
        # the project's own folder has a package `nodes`, and so has ComfyUI: that one must come first here
        sys.path.insert(0, str(checkout))
        importlib.import_module("comfy.options").enable_args_parsing(False)
        arguments = importlib.import_module("comfy.cli_args").args
        arguments.cpu = True
        arguments.use_pytorch_cross_attention = True  # a fused kernel, as on a GPU
        spec = importlib.util.spec_from_file_location(
            PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec is not None and spec.loader is not None
        sys.modules[PACK] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[PACK])
        self.model = self.part("nodes.loaders").LoomVideoModelLoader.execute(
            model_name="built-in: loom-tiny",
            weight_dtype="default",
            convert_official=True,
            integer_timesteps=True,
            rope_precision="auto",
        )[0]

    def part(self, name: str) -> Any:
        """A module of the pack."""
        return importlib.import_module(f"{PACK}.{name}")

    def inputs(self, conditions: Mapping[Branch, Condition], task: Task) -> dict[str, Any]:
        """Conditions as inputs of a sampling node."""
        keys, types = self.part("nodes.adapter.conditioning"), self.part("loom_core.types")
        latents = self.part("loom_core.vae.latents")
        names = {Branch.FULL: "positive", Branch.UNCONDITIONAL: "negative", Branch.VISUAL: "visual"}
        made = {}
        for branch, condition in conditions.items():
            conditioning = keys.make_conditioning(
                condition.mllm_hidden_states, task=types.Task(task.value), branch=types.Branch(branch.value)
            )
            if condition.source_latents is not None and task is Task.EDIT_VIDEO:
                source = latents.denormalise(condition.source_latents[None], latents.WAN22_STATISTICS)
                conditioning[0][1] |= {keys.SOURCE_LATENT: source, keys.SOURCE_STRENGTH: 1.0}
            made[names[branch]] = conditioning
        return made

    def node(self, inputs: Mapping[str, Any]) -> Tensor:
        """Our sampling node."""
        widgets = {"seed": SEED, "steps": STEPS, "guidance_scale": SCALES[0], "visual_guidance_scale": SCALES[1]}
        made = self.part("nodes.sampler").LoomVideoSampler.execute(
            model=self.model,
            latent={"samples": torch.zeros(SHAPE)},
            solver="euler",
            shift=SHIFT,
            denoise=1.0,
            **widgets,
            **inputs,
        )
        return made[0]["samples"]

    def plain_wan(self) -> Any:
        """ComfyUI's own Wan 2.2 5B at the built-in model's size, random weights."""
        sizes = {
            "dim": LOOM_TINY.hidden_size, "ffn_dim": LOOM_TINY.ffn_dim, "num_heads": LOOM_TINY.num_heads,
            "num_layers": LOOM_TINY.num_layers, "freq_dim": LOOM_TINY.time_embed_dim, "text_dim": LOOM_TINY.mllm_dim,
            "in_dim": LOOM_TINY.in_channels, "out_dim": LOOM_TINY.out_channels,
        }  # fmt: skip
        models = importlib.import_module("comfy.supported_models")
        config = models.WAN22_T2V({"image_model": "wan2.1", "model_type": "t2v", **sizes})
        config.set_inference_dtype(torch.float32, None)
        cpu = torch.device("cpu")
        model = config.get_model({}, device=cpu)
        for parameter in model.parameters():
            parameter.data.normal_(std=0.02)
        return importlib.import_module("comfy.model_patcher").ModelPatcher(model, cpu, cpu)

    def ksampler(self, model: Any, conditions: Mapping[Branch, Condition]) -> Tensor:
        """ComfyUI's own sampling of text to video."""
        positive, negative = (
            [[conditions[branch].mllm_hidden_states[0][None], {}]] for branch in (Branch.FULL, Branch.UNCONDITIONAL)
        )
        latent = torch.zeros(SHAPE)
        noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(SEED))
        return importlib.import_module("comfy.sample").sample(
            model, noise, STEPS, SCALES[0], "euler", "simple", positive, negative, latent, disable_pbar=True, seed=SEED
        )


def measure_here(checkout: Path) -> dict[str, Any]:
    """All samplings in this process: costs by name, and how far our two are apart."""
    host, conditions = Inside(checkout), random_conditions()
    dit = host.model.model.diffusion_model
    model = load_dit(BUILT_IN / "dit.safetensors", dtype=torch.float32)
    edit = host.inputs(conditions, Task.EDIT_VIDEO)
    text = {branch: conditions[branch] for branch in (Branch.FULL, Branch.UNCONDITIONAL)}
    words = host.inputs(text, Task.TEXT_TO_VIDEO)
    wan = host.plain_wan()
    wan_dit = wan.model.diffusion_model
    found = {
        "alone": costs(lambda: alone(model, conditions), model, model.mllm_embedder),
        "nodes": costs(lambda: host.node(edit), dit, dit.mllm_embedder),
        "text": costs(lambda: host.node(words), dit, dit.mllm_embedder),
        "wan": costs(lambda: host.ksampler(wan, conditions), wan_dit, wan_dit.text_embedding),
    }
    with torch.no_grad():
        latents = host.part("loom_core.vae.latents")
        made = latents.normalise(host.node(edit), latents.WAN22_STATISTICS)
        own = alone(model, conditions)
    return {**{name: asdict(one) for name, one in found.items()}, "error": float((made - own).norm() / own.norm())}


def measure_apart(checkout: Path, python: str) -> dict[str, Any]:
    """`measure_here` in a process of another interpreter."""
    command = [python, "-m", "benchmarks.host", str(checkout)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def unprepared() -> dict[str, int]:
    """What the edit would take if each forward pass prepared its contexts and its source, as the official code's do."""
    target = LatentShape(*SHAPE[2:])
    branches = [
        Workload(name=branch.value, config=LOOM_TINY, target=target, context_tokens=LENGTHS[branch])
        for branch in Branch
    ]
    flops = sum(prepare_flops(branch) + forward_flops(branch) for branch in branches)
    return {"flops": STEPS * flops, "projector": STEPS * len(branches) * LOOM_TINY.num_layers}


def comparisons(found: Mapping[str, Any]) -> Iterator[Comparison]:
    """Of what was found inside: the nodes against `loom_core` alone, and against ComfyUI's own model.

    Args:
        found: See `measure_here`.
    """
    edit = f"loom-tiny, an edit of 33 frames of 256x256, {STEPS} steps, three branches, Euler, float32, CPU"
    text = f"text to video of the same size, {STEPS} steps, two branches; ComfyUI's Wan with as many weights a block"
    units = {
        "flops": ("operations", "GFLOP", GIGA),
        "peak": ("peak of live tensors", "MB", MEGA),
        "forward_peak": ("what one forward pass makes at most", "MB", MEGA),
        "samples": ("latents passed through the DiT", "latents", 1),
        "projector": ("calls of what widens the contexts", "calls", 1),
        "keys_values": ("keys and values made of a context", "calls", 1),
    }
    every = unprepared()
    for what in ("flops", "projector"):
        title, unit, scale = units[what]
        yield Comparison(
            key=f"host_{what}_unprepared",
            title=f"{title} of a sampling, all prepared in every forward pass / our nodes",
            first=Figure("in every forward pass, by the formula", every[what] / scale),
            second=Figure("our nodes in ComfyUI", found["nodes"][what] / scale),
            unit=unit,
            conditions=edit,
        )
    pairs = (
        ("alone", "loom_core alone", "nodes", "our nodes in ComfyUI", edit),
        ("wan", "ComfyUI's own Wan 2.2", "text", "our nodes in ComfyUI", text),
    )
    for first, first_name, second, second_name, conditions in pairs:
        for what, (title, unit, scale) in units.items():
            yield Comparison(
                key=f"host_{what}_{first}",
                title=f"{title} of a sampling, {first_name} / {second_name}",
                first=Figure(first_name, found[first][what] / scale),
                second=Figure(second_name, found[second][what] / scale),
                unit=unit,
                conditions=conditions,
            )


def measure() -> Iterator[Comparison]:
    """In ComfyUI's interpreter."""
    checkout, python = Path(os.environ["COMFYUI_PATH"]).resolve(), os.environ.get("COMFYUI_PYTHON", sys.executable)
    found = measure_apart(checkout, python)
    if found["error"] > MOST_APART:
        raise RuntimeError(f"the nodes' latents are {found['error']:.2g} from loom_core's: not the same sampling")
    yield from comparisons(found)


BENCHMARK = Benchmark(
    about="what a sampling with our nodes costs inside ComfyUI, beside loom_core alone and ComfyUI's own Wan 2.2",
    seconds=20,
    measure=measure,
    missing=missing,
)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(measure_here(Path(sys.argv[1]).resolve())))
