"""`python -m loom_core.cli.evaluate`: how often a model does what it is asked to."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_target, check_writable, explained
from ..config.speed import EXACT, SPEEDS
from ..errors import ConfigError
from ..weights.presence import require_present
from .arguments import Parser
from .compute import ComputeWords, choose_compute
from .exits import run

if TYPE_CHECKING:
    from ..bundle import ModelFiles
    from ..compute import Compute
    from ..evaluation.grids import Grids
    from ..evaluation.plan import SuitePlan
    from ..evaluation.sampler import BatchSampler
    from ..evaluation.scores import Score

SUITES = ("tiny",)


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog="python -m loom_core.cli.evaluate",
        description="Run a model on samples whose right answers are known, and print how often it gives them.",
    )
    parser.add_argument("--suite", default="tiny", metavar="NAME", help=", ".join(SUITES) + " (default: tiny)")
    parser.add_argument("--samples", type=int, default=200, metavar="N", help="how many (default: 200)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of scenes and noise (default: 0)")
    parser.add_argument("--split", default="held-out", metavar="NAME", help="held-out (default) or train combinations")
    parser.add_argument("--tasks", nargs="+", default=[], metavar="NAME", help="only these tasks (default: all)")
    parser.add_argument(
        "--kinds", nargs="+", default=[], metavar="NAME", help='only these kinds: recolour, "2 references" ...'
    )
    parser.add_argument("--frames", type=int, default=9, metavar="N", help="of clips, 4k + 1 (default: 9)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    parser.add_argument("--grids", type=Path, metavar="FOLDER", help="write pictures of successes and failures here")
    parser.add_argument("--quiet", action="store_true", help="print nothing but the tables")
    parser.add_argument("--check-judge", action="store_true", help="judge right and wrong pictures, without a model")
    model = parser.add_argument_group("model")
    model.add_argument("--model", type=Path, metavar="PATH", help="DiT weights, or a folder (default: built-in)")
    model.add_argument("--mllm", type=Path, metavar="PATH", help="Qwen3-VL folder or file (default: beside the model)")
    model.add_argument("--vae", type=Path, metavar="PATH", help="VAE file or folder (default: beside the model)")
    model.add_argument("--no-ema", action="store_true", help="take live weights where a folder has averaged ones too")
    model.add_argument("--device", metavar="NAME", help="cpu, cuda, mps (default: the fastest present)")
    model.add_argument("--dtype", metavar="NAME", help="bf16, fp16 or fp32 (default: small models on a CPU fp32)")
    model.add_argument("--threads", type=int, metavar="N", help="of the CPU (default: all)")
    model.add_argument("--batch", type=int, default=8, metavar="N", help="samples at a time (default: 8)")
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument("--preset", metavar="NAME", help="where the rest comes from (default: by the model's size)")
    sampling.add_argument("--steps", type=int, metavar="N", help="denoising steps")
    sampling.add_argument("--guidance", type=float, metavar="X", help="text guidance")
    sampling.add_argument("--visual-guidance", type=float, metavar="Y", help="visual guidance")
    sampling.add_argument("--shift", type=float, metavar="S", help="of the schedule; 0 takes it from the size")
    sampling.add_argument("--solver", metavar="NAME", help="unipc, euler ...")
    sampling.add_argument("--speed", default=EXACT, metavar="NAME", help=f"{', '.join(SPEEDS)} (default: {EXACT})")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what can be told to be wrong before torch is imported."""
    if arguments.suite not in SUITES:
        raise ConfigError(f"suite {arguments.suite!r}", expected=" or ".join(SUITES), fix="leave it out")
    for name in ("samples", "batch", "threads"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} {value}", expected="at least 1", fix="leave it out for the default")
    for name in ("json", "grids"):
        if arguments.check_judge and getattr(arguments, name) is not None:
            raise ConfigError(
                f"--check-judge with --{name}",
                expected="one of the two: a check of the judge runs no model and writes nothing",
                fix=f"leave --{name} out",
            )
    require_present(arguments.model, arguments.mllm, arguments.vae)
    if arguments.json is not None:
        check_writable(arguments.json)
    if arguments.grids is not None:
        _check_folder(arguments.grids)


def _check_folder(folder: Path) -> None:
    """Make a folder and write to it, before minutes of work are spent on what goes there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explained(error, folder) from error
    check_writable(folder / "grid.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = build_parser().parse_args(argv)
    _check(arguments)

    import torch

    from ..bundle import find_model
    from ..evaluation.plan import SuitePlan

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    plan = SuitePlan(
        samples=arguments.samples,
        seed=arguments.seed,
        split=arguments.split,
        frames=arguments.frames,
        tasks=tuple(arguments.tasks),
        kinds=tuple(arguments.kinds),
    )
    files = find_model(arguments.model, mllm=arguments.mllm, codec=arguments.vae, ema=not arguments.no_ema)
    return _check_judge(plan, files) if arguments.check_judge else _evaluate(plan, files, arguments)


def _check_judge(plan: SuitePlan, files: ModelFiles) -> int:
    """Print how often pictures of known worth are judged right; ends with 1 if the judge fails one."""
    from ..evaluation.plan import suite_samples
    from ..evaluation.report import measures_table
    from ..evaluation.self_check import SHOULD_BE_RIGHT, check_judge, codec_ceiling
    from ..vae.loading import load_codec

    codec, samples = load_codec(files.codec), list(suite_samples(plan))
    found = check_judge(samples, codec=codec)
    failed = 0
    for name, rate in found.items():
        expected = rate.total if name in SHOULD_BE_RIGHT else 0
        failed += rate.right != expected
        print(f"{name}: {rate.right} of {rate.total} judged right, {expected} should be")
    print("\nThe right answers after the codec alone, which no model can surpass:\n")
    print(measures_table(codec_ceiling(samples, codec=codec)))
    return 1 if failed else 0


def _evaluate(plan: SuitePlan, files: ModelFiles, arguments: argparse.Namespace) -> int:
    from ..evaluation.grids import Grids
    from ..evaluation.report import markdown, samples_json, to_json

    start = time.monotonic()
    words = ComputeWords(device=arguments.device, dtype=arguments.dtype)
    compute = choose_compute(words, files.dit_config())
    sampler = _load(files, compute, arguments)
    grids = Grids()
    scores = _scores(plan, sampler, arguments, grids)
    seconds = time.monotonic() - start
    print(markdown(scores))
    print(f"\n{len(scores)} samples in {seconds:.0f} s")
    if arguments.json is not None:
        settings = _settings(plan, files, compute, sampler, arguments) | {"seconds": round(seconds, 1)}
        results = to_json(scores, settings=settings) | {"details": samples_json(scores)}
        _write_json(arguments.json, results)
    if arguments.grids is not None:
        print(f"{len(grids.write(arguments.grids))} pictures in {arguments.grids}")
    return 0


def _load(files: ModelFiles, compute: Compute, arguments: argparse.Namespace) -> BatchSampler:
    from ..bundle import default_preset_name
    from ..config.presets import get_preset
    from ..evaluation.sampler import BatchSampler, SamplingChoices

    return BatchSampler(
        files,
        compute=compute,
        preset=get_preset(arguments.preset or default_preset_name(files.dit_config())),
        choices=SamplingChoices(
            num_inference_steps=arguments.steps,
            guidance_scale=arguments.guidance,
            visual_guidance_scale=arguments.visual_guidance,
            shift=arguments.shift,
            solver=arguments.solver,
            speed=arguments.speed,
        ),
        batch_size=arguments.batch,
    )


def _scores(plan: SuitePlan, sampler: BatchSampler, arguments: argparse.Namespace, grids: Grids) -> list[Score]:
    """Scores of all samples, whose pictures are let go of unless grids show them."""
    from tqdm import tqdm

    from ..evaluation.suite import run_suite

    scores = []
    with tqdm(total=plan.samples, unit="sample", file=sys.stderr, disable=arguments.quiet) as bar:

        def show(done: int, _total: int) -> None:
            bar.update(done - bar.n)

        for answer in run_suite(plan, sampler, batch_size=arguments.batch, progress=show):
            scores.append(answer.score)
            if arguments.grids is not None:
                grids.add(answer)
    return scores


def _settings(
    plan: SuitePlan, files: ModelFiles, compute: Compute, sampler: BatchSampler, arguments: argparse.Namespace
) -> dict[str, Any]:
    """How the results came about."""
    from .. import __version__
    from ..types import Task
    from ..weights.hashing import weights_hash

    described = asdict(plan)
    described["cells"] = len(plan.cells)
    return described | {
        "suite": arguments.suite,
        "software": f"LoomVideo {__version__}",
        "weights": files.dit.name,
        "weights_sha256": weights_hash(files.dit, ema=files.ema).value,
        "ema": files.ema,
        "dtype": str(compute.dtype).removeprefix("torch."),
        "device": compute.device.type,
        "batch": arguments.batch,
        "sampling": {task.value: asdict(sampler.sampling_of(task)) for task in Task},
    }


def _write_json(path: Path, results: dict[str, Any]) -> None:
    text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    with atomic_target(path) as partial:
        partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run(main))
