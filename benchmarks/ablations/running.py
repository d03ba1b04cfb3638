"""One run: a variant trained at a seed until its budget is spent, measured on the way and judged at the end.

A run ends with the first step after which its operations are at least the budget, so that it has spent that and less
than one step more. What the codec and the MLLM make of samples is kept on disk and shared by all runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from loom_core import __version__
from loom_core.atomic import atomic_target
from loom_core.bundle import BUILT_IN, find_model
from loom_core.cli.compute import ComputeWords, choose_compute
from loom_core.config.presets import get_preset
from loom_core.config.reading import flatten
from loom_core.config.rl import RLConfig, read_rl_config
from loom_core.config.training import TrainingConfig, read_training_config
from loom_core.errors import CancelledError, ConfigError
from loom_core.evaluation.plan import SuitePlan
from loom_core.evaluation.sampler import SamplingChoices
from loom_core.evaluation.scores import as_asked, mean_over_tasks, per_task_and_kind
from loom_core.evaluation.suite import run_suite
from loom_core.rl.run import open_rl_trainer, plan_rl_run
from loom_core.training.objective import PackObjective
from loom_core.training.planning import RunPlan, plan_run
from loom_core.training.prompt_cache import PromptCache
from loom_core.training.run import open_trainer
from loom_core.training.trainer import Trainer
from loom_core.training.validation import Validator
from loom_core.training.watch.observer import RunAbout, SilentObserver, StepMetrics, ValidationMetrics

from ..report import environment
from .changes import ChangedObjective, ChangedSampler
from .comparisons import BUDGET, Part, Variant
from .meter import Meter, UncountedPacks

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "training" / "ablations"
DIT = BUILT_IN / "dit.safetensors"
RESULT_FILE = "result.json"
MARKS = 6
"""Measurements on the way, after equal parts of the budget; one more is made at the start."""
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is done, alike for all variants.

    Args:
        budget: Operations of the DiT in each run.
        judged_samples: Samples that the judge is shown.
        judged_steps: Denoising steps of each; None for those of the preset.
        overrides: Settings of all configs that differ from their files.
        rl_overrides: Those of RL alone.
    """

    budget: float = BUDGET
    judged_samples: int = 100
    judged_steps: int | None = None
    overrides: tuple[str, ...] = ()
    rl_overrides: tuple[str, ...] = ()


SMOKE = Size(
    budget=2e10,
    judged_samples=2,
    judged_steps=2,
    overrides=(
        "data.max_samples_per_pack=3",
        "noise_draws=2",
        "validation.samples=2",
        "validation.levels_per_sample=3",
    ),
    rl_overrides=("noise_draws=1", "rl.rollout.group_size=2", "rl.rollout.num_inference_steps=2"),
)
"""A few steps of everything."""


@dataclass(frozen=True)
class Run:
    """A variant at a seed.

    Args:
        variant: What is run.
        seed: Of starting weights, order, dropout and noise, and of the requests that are judged.
        size: How much is done.
        work: Folder of all runs and of what they share.
    """

    variant: Variant
    seed: int
    size: Size
    work: Path

    @property
    def folder(self) -> Path:
        """Its own."""
        return self.work / "runs" / self.variant.name / f"seed-{self.seed}"

    @property
    def result_path(self) -> Path:
        """Its result."""
        return self.folder / RESULT_FILE

    def config(self, part: Part, *, number: int, starts_from: Path | None) -> TrainingConfig:
        """The settings of one of its parts."""
        settings = [
            f"run={self.folder / f'part-{number}'}",
            f"seed={self.seed}",
            f"data.cache={self.work / 'latents'}",
            f"starts_from={'null' if starts_from is None else starts_from}",
            *self.size.overrides,
        ]
        path = CONFIGS / f"{part.config}.yaml"
        if part.config == "rl":
            return read_rl_config(path, overrides=[*settings, *self.size.rl_overrides])
        return read_training_config(path, overrides=settings)

    def fingerprint(self) -> str:
        """Tells results of these settings and frozen parts from others; neither folders nor the seed are part of it."""
        parts: list[object] = [self.variant.name, asdict(self.size), MARKS, asdict(self.variant.judged)]
        parts.append(built_in_digest(with_dit=self.variant.is_built_in_start))
        for number, part in enumerate(self.variant.parts):
            values = flatten(self.config(part, number=number, starts_from=None))
            for name in ("run", "seed", "data.cache", "starts_from"):
                values.pop(name)
            parts += [part.share, values]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


@lru_cache
def built_in_digest(*, with_dit: bool) -> str:
    """Of the built-in codec and MLLM, which all runs have, and of the DiT that some start from."""
    digest = hashlib.sha256()
    for path in sorted(BUILT_IN.rglob("*.safetensors")):
        if with_dit or path != DIT:
            digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass
class Watch(SilentObserver):
    """Says when a budget is spent, and measures the model at marks on the way.

    Args:
        meter: Counts.
        limit: Operations upon which the part ends.
        marks: Operations after which the model is measured, rising; 0 for its start.
    """

    meter: Meter
    limit: float
    marks: list[float]
    curve: list[dict[str, Any]] = field(default_factory=list)
    validate: Callable[[int], ValidationMetrics | None] | None = None
    steps: int = 0
    samples: int = 0
    is_spent: bool = False

    def on_start(self, about: RunAbout) -> None:
        """Measure the start, then count; a limit of 0 is spent already."""
        self.is_spent = self.meter.flops >= self.limit
        self._measure(about.first_step)
        if not self.is_spent:
            self.meter.start()

    def on_step(self, metrics: StepMetrics) -> None:
        """See how far it is; within a step nothing is spent, so that none is given up."""
        self.steps, self.samples = metrics.step, self.samples + metrics.samples
        self.is_spent = self.meter.flops >= self.limit
        if self.is_spent:
            self.meter.stop()
        self._measure(metrics.step)

    def _measure(self, step: int) -> None:
        if not self.marks or self.meter.flops < self.marks[0] or self.validate is None:
            return
        self.marks = [mark for mark in self.marks if mark > self.meter.flops]
        with self.meter.paused():
            found = self.validate(step)
        assert found is not None
        self.curve.append(
            {
                "flops": self.meter.flops,
                "processor_seconds": round(self.meter.seconds, 2),
                "samples": self.samples,
                "loss": found.loss,
                "by_noise": found.by_noise(),
                "by_task": found.by_task(),
            }
        )


def result_of(run: Run) -> dict[str, Any] | None:
    """The result of a run that is finished; None for one that is not.

    Raises:
        ConfigError: It is of other settings.
    """
    if not run.result_path.is_file():
        return None
    result: dict[str, Any] = json.loads(run.result_path.read_text(encoding="utf-8"))
    if result["fingerprint"] != run.fingerprint():
        raise ConfigError(
            f"{run.result_path}, the result of other settings than now",
            expected="runs of the same settings in one folder",
            fix="delete the folder of that run, or give another --work",
        )
    return result


def finish(run: Run) -> dict[str, Any]:
    """Make a run, unless it is finished already; returns its result.

    One that was stopped begins anew; its weights are let go of once they are judged.

    Raises:
        CancelledError: A signal stopped it.
        LoomError: See the parts.
    """
    known = result_of(run)
    if known is not None:
        return known
    shutil.rmtree(run.folder, ignore_errors=True)
    trained = _train(run)
    judged = judge(run, trained.weights)
    result = {
        "variant": run.variant.name,
        "seed": run.seed,
        "budget": run.size.budget,
        "fingerprint": run.fingerprint(),
        "software": f"LoomVideo {__version__}",
        "environment": environment(),
        **trained.told,
        "judged": judged,
    }
    with atomic_target(run.result_path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for number in range(len(run.variant.parts)):
        shutil.rmtree(run.folder / f"part-{number}", ignore_errors=True)
    return result


@dataclass(frozen=True)
class Trained:
    """A variant after its last part.

    Args:
        weights: The run's folder, or the file of weights that it left as they were.
        told: Counts and the curve, for the result.
    """

    weights: Path
    told: Mapping[str, Any]


def _train(run: Run) -> Trained:
    meter, limit = Meter(), 0.0
    weights = DIT if run.variant.is_built_in_start else None
    steps = samples = 0
    curve: list[dict[str, Any]] = []
    for number, part in enumerate(run.variant.parts):
        limit += part.share * run.size.budget
        is_last = number == len(run.variant.parts) - 1
        marks = [run.size.budget * mark / MARKS for mark in range(MARKS + 1)] if is_last else []
        watch = Watch(meter, limit, [mark for mark in marks if meter.flops <= mark <= limit], samples=samples)
        config = run.config(part, number=number, starts_from=weights)
        _train_part(run, config, watch)
        steps, samples, curve = steps + watch.steps, watch.samples, watch.curve
        if watch.steps or weights is None:
            weights = config.run
    assert weights is not None
    told = {
        "steps": steps,
        "samples": samples,
        "passes": meter.passes,
        "tokens": meter.tokens,
        "flops": meter.flops,
        "processor_seconds": round(meter.seconds, 2),
        "curve": curve,
    }
    return Trained(weights, told)


def _train_part(run: Run, config: TrainingConfig, watch: Watch) -> None:
    trainer, plan = open_part(config, watch)
    adapt(trainer, plan, run, watch.meter)
    if isinstance(trainer.validate, Validator):
        watch.validate = trainer.validate
    trainer.run(is_stopped=lambda: watch.is_spent)
    if trainer.stopped_by is not None:
        raise CancelledError(f"a stop ({trainer.stopped_by.name})", fix="the same command makes the runs that are left")


def open_part(config: TrainingConfig, watch: Watch) -> tuple[Trainer, RunPlan]:
    """The trainer of a part, as its command would open it."""
    is_rl = isinstance(config, RLConfig)
    plan = (plan_rl_run if is_rl else plan_run)(config)
    return (open_rl_trainer if is_rl else open_trainer)(plan, device=CPU, observer=watch), plan


def adapt(trainer: Trainer, plan: RunPlan, run: Run, meter: Meter) -> None:
    """Make a trainer the variant's, and count what it does.

    Args:
        trainer: Opened.
        plan: Of its run.
        run: Names the variant.
        meter: Counts the model's passes; neither data nor prompts count.
    """
    given = trainer.objective
    assert isinstance(given, PackObjective)
    kept = PromptCache(
        run.work / "prompts",
        identity=plan.files.mllm_identity(plan.config),
        load=lambda: given.read_prompts,
    )

    def read_prompts(contents: Any) -> Any:
        with meter.paused():
            return kept(contents)

    objective = ChangedObjective(given, run.variant.change, read_prompts=read_prompts)
    trainer.objective = objective
    if isinstance(trainer.validate, Validator):
        trainer.validate.objective = objective
    trainer.packs = UncountedPacks(trainer.packs, meter)
    meter.attach(trainer.model)


def judge(run: Run, weights: Path) -> dict[str, Any]:
    """What the judge of the world says of a trained variant's answers; shares are 0 to 1."""
    size, judged = run.size, run.variant.judged
    files = find_model(weights, mllm=BUILT_IN / "mllm", codec=BUILT_IN / "codec.safetensors")
    sampler = ChangedSampler(
        files,
        change=run.variant.change,
        compute=choose_compute(ComputeWords(device="cpu"), files.dit_config()),
        preset=get_preset("tiny"),
        choices=SamplingChoices(num_inference_steps=size.judged_steps),
    )
    plan = SuitePlan(samples=size.judged_samples, seed=run.seed, tasks=judged.tasks, kinds=judged.kinds)
    scores = [answer.score for answer in run_suite(plan, sampler)]
    return {
        "samples": len(scores),
        "right": _number(mean_over_tasks(scores)),
        "asked": _number(mean_over_tasks(scores, as_asked)),
        "asked_by_kind": {
            "/".join(cell): _number(rate.share) for cell, rate in per_task_and_kind(scores, as_asked).items()
        },
    }


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
