"""`python -m loom_core.cli.train`: train a stage, from its start or from where it was stopped."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.reading import flatten
from ..config.training import TrainingConfig, read_training_config, with_steps
from ..distributed.launch import Launch, find_launch
from ..errors import ConfigError
from ..weights.presence import require_present
from .arguments import Parser
from .compute import ComputeWords, choose_device
from .exits import DONE, code_of_signal, run
from .memory import memory_lines

if TYPE_CHECKING:
    import torch

    from ..distributed.group import ProcessRanks
    from ..training.estimate import Needs
    from ..training.planning import RunPlan
    from ..training.trainer import Trainer

OF_EACH_RANK = ("data.workers", "data.prefetch", "data.cache", "data.cache_reserve_gb", "prompt_cache")
"""Settings that may differ between the machines of a run."""


@dataclass(frozen=True)
class RunKind:
    """A kind of run that this command, or one like it, is for.

    Args:
        prog: The command.
        about: What it does, in a sentence.
        read: Reads its config: (file, overrides) -> config.
        parts: Gives what plans a run and what opens its trainer; imports torch.
        describe: Lines of its plan beside those of every run.
    """

    prog: str
    about: str
    read: Callable[..., TrainingConfig]
    parts: Callable[[], tuple[Callable[..., RunPlan], Callable[..., Trainer]]]
    describe: Callable[[TrainingConfig], list[str]] = lambda _: []


def _training_parts() -> tuple[Callable[..., RunPlan], Callable[..., Trainer]]:
    from ..training.planning import plan_run
    from ..training.run import open_trainer

    return plan_run, open_trainer


TRAINING = RunKind("python -m loom_core.cli.train", "Train a stage.", read_training_config, _training_parts)


def build_parser(kind: RunKind = TRAINING) -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog=kind.prog,
        description=f"{kind.about} What is trained on what is said by a config file (configs/training/); a run that "
        "was stopped or killed goes on from its newest checkpoint when the same command is given again. Several GPUs "
        f"or machines: torchrun ... -m -- {kind.prog.split()[-1]} with the same arguments (configs/launch/).",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML file of the run")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="where the run writes (default: the config's)")
    parser.add_argument(
        "--resume",
        default="auto",
        metavar="HOW",
        help="auto: from the newest checkpoint of the run, if there is one (default); never; or a checkpoint's folder",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="steps in all, of RL rounds (default: the config's)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="NAME=VALUE",
        help="a setting in place of the config's, as in optimiser.lr=1e-4; repeat for more",
    )
    parser.add_argument(
        "--allow-config-change", action="store_true", help="resume with other settings than the run was saved with"
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (default: the fastest present)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads that compute (default: all cores)")
    parser.add_argument("--tensorboard", action="store_true", help="also write metrics for TensorBoard")
    parser.add_argument("--log-every", type=int, default=10, metavar="N", help="steps between lines without a terminal")
    parser.add_argument("--dry-run", action="store_true", help="check everything and show the plan, without training")
    parser.add_argument(
        "--memory",
        action="store_true",
        help="only show what 1 to 64 GPUs need each, for which nothing has to be there",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress; metrics are written all the same")
    return parser


def to_config(arguments: argparse.Namespace, kind: RunKind = TRAINING) -> TrainingConfig:
    """The run that the arguments stand for.

    Raises:
        ConfigError: Something makes no sense.
    """
    config = with_steps(kind.read(arguments.config, overrides=arguments.overrides), arguments.steps)
    return config if arguments.run is None else replace(config, run=arguments.run)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return main_of(TRAINING, argv)


def main_of(kind: RunKind, argv: Sequence[str] | None = None) -> int:
    """Run the command of a kind of run; returns its exit code."""
    arguments = build_parser(kind).parse_args(argv)
    # What is wrong with the request is said before torch is asked for anything.
    words = ComputeWords(device=arguments.device)
    if arguments.threads is not None and arguments.threads < 1:
        raise ConfigError(f"{arguments.threads} threads", expected="at least 1", fix="leave --threads out")
    config, launch = to_config(arguments, kind), find_launch()
    if not launch.is_single:
        config.optimiser.check_shared()
    if arguments.memory or (arguments.dry_run and not launch.is_first):
        for line in [*memory_lines(config), *kind.describe(config)] if launch.is_first else ():
            print(line)
        return DONE
    require_present(config.mllm, config.codec)

    import torch

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    device = choose_device(words.device)
    if arguments.dry_run:
        plan = _plan(kind, config, arguments)
        for line in [*describe(plan, device=device), *kind.describe(config)]:
            print(line)
        plan.disk.check()
        return DONE
    if not launch.is_single:
        return _train_together(kind, launch, config, device=device, arguments=arguments)
    plan = _plan(kind, config, arguments)
    plan.disk.check()
    return _train(kind, plan, device=device, arguments=arguments)


def _plan(kind: RunKind, config: TrainingConfig, arguments: argparse.Namespace) -> RunPlan:
    """What the run will do."""
    plan_run, _ = kind.parts()
    return plan_run(config, resume=arguments.resume, allow_config_change=arguments.allow_config_change)


def _train_together(
    kind: RunKind, launch: Launch, config: TrainingConfig, *, device: torch.device, arguments: argparse.Namespace
) -> int:
    """Train with the other processes of this run, once all are known to be about the same; returns the exit code."""
    from ..distributed.agreement import check_agreed
    from ..distributed.group import joined

    with joined(launch, device) as ranks:
        check_agreed(ranks, {**flatten(config), "--resume": arguments.resume}, own=OF_EACH_RANK)
        plan = ranks.in_turn(lambda: _plan(kind, config, arguments))
        if launch.is_first:
            plan.disk.check()
        samples = {f"samples of {source.name}": (len(source), source.fingerprint) for source in plan.sources}
        check_agreed(ranks, {"the checkpoint": str(plan.checkpoint), "its step": plan.state.step, **samples})
        return _train(kind, plan, device=device, arguments=arguments, ranks=ranks)


def _train(
    kind: RunKind,
    plan: RunPlan,
    *,
    device: torch.device,
    arguments: argparse.Namespace,
    ranks: ProcessRanks | None = None,
) -> int:
    """Train to the end or to a signal; returns the exit code."""
    from ..training.run import make_run_folder
    from ..training.watch.observer import SilentObserver, TrainingObserver
    from ..training.watch.run_folder import watch_run

    is_first = ranks is None or ranks.rank == 0
    observer: TrainingObserver = SilentObserver()
    if is_first:
        make_run_folder(plan.config.run)
        observer = watch_run(
            plan.config.run,
            stream=None if arguments.quiet else sys.stderr,
            tensorboard=arguments.tensorboard,
            log_every=arguments.log_every,
        )
    try:
        _, open_trainer = kind.parts()
        shared = {} if ranks is None else {"ranks": ranks}
        trainer = open_trainer(plan, device=device, observer=observer, **shared)
    except BaseException:
        observer.close()
        raise
    if plan.start is not None:
        observer.on_note(f"starts from {plan.start}")
    if plan.checkpoint is not None:
        observer.on_note(f"goes on from {plan.checkpoint}")
    for line in plan.disk.lines():
        observer.on_note(f"disk: {line}")
    state = trainer.run()
    if is_first:
        print(f"{plan.config.run}: {state.step} of {plan.config.steps} steps")
    return DONE if trainer.stopped_by is None else code_of_signal(trainer.stopped_by)


def describe(plan: RunPlan, *, device: torch.device) -> list[str]:
    """A plan in a few lines."""
    from ..training.estimate import training_needs

    config, sizes = plan.config, plan.config.model.dit_config()
    frozen = (plan.files.mllm, plan.files.codec) if config.mllm_stays else (plan.files.codec,)
    needs = training_needs(config, frozen=frozen, on_gpu=device.type != "cpu")
    begun = f"from {plan.start}" if plan.start is not None else f"goes on from {plan.checkpoint}"
    precision = config.precision + (", gradient checkpointing" if config.gradient_checkpointing else "")
    return [
        f"run         {config.name} in {config.run}: step {plan.state.step} of {config.steps} on {device}",
        f"weights     {begun}",
        f"model       {sizes.num_layers} blocks, {sizes.hidden_size} wide, {needs.total / 1e6:.1f} M parameters; "
        f"{precision}",
        *_describe_lora(config, needs),
        f"frozen      {plan.files.mllm}, {plan.files.codec}",
        *_describe_data(plan),
        *_describe_memory(needs, device=device, of_frozen="MLLM and codec" if config.mllm_stays else "codec"),
        *_describe_prompts(config),
        *_labelled("disk", plan.disk.lines()),
        f"{'':12}saved every {config.checkpoint.every} steps, the last {config.checkpoint.keep_last} kept",
    ]


def _describe_lora(config: TrainingConfig, needs: Needs) -> list[str]:
    """What is trained where it is not all."""
    if config.lora is None:
        return []
    lora = config.lora
    whole = f"; whole: {', '.join(lora.whole)}" if lora.whole else ""
    return [
        f"lora        rank {lora.rank}, times {lora.scale:g}, {needs.parameters / 1e6:.2f} M of these parameters "
        f"({needs.parameters / needs.total:.2%}), in {', '.join(lora.modules) or 'no layers'}{whole}"
    ]


def _labelled(label: str, lines: Sequence[str]) -> list[str]:
    """Lines with a label before the first."""
    return [f"{label if index == 0 else '':12}{line}" for index, line in enumerate(lines)]


def _describe_prompts(config: TrainingConfig) -> list[str]:
    """What becomes of the MLLM where it does not stay beside the model."""
    place = "the CPU" if config.mllm_device == "cpu" else "the same device"
    if config.prompt_cache is not None:
        return [f"prompts     asked once, on {place} before the model is loaded; states in {config.prompt_cache}"]
    return [f"prompts     asked in every step, on {place}"] if config.mllm_device == "cpu" else []


def _describe_memory(needs: Needs, *, device: torch.device, of_frozen: str) -> list[str]:
    """What is needed where, and whether it is there."""
    import torch

    from ..training.estimate import memory_of
    from ..weights.inspection import format_bytes

    def fits(needed: int, place: torch.device) -> str:
        has = memory_of(place)
        if has is None:
            return ""
        verdict = "fits" if needed <= has else "DOES NOT FIT"
        return f"; {place} has {format_bytes(has)}: {verdict}"

    updating = (
        f"gradients {format_bytes(needs.gradients)}, moments {format_bytes(needs.moments)}, float32 copies "
        f"{format_bytes(needs.masters)}, EMA {format_bytes(needs.ema)}"
    )
    parts = f"weights {format_bytes(needs.weights + needs.casts)}, {of_frozen} {format_bytes(needs.frozen)}"
    if not needs.is_offloaded:
        parts += f", {updating}"
    lines = [
        f"memory      {format_bytes(needs.on_model_device)}: {parts}, activations about "
        f"{format_bytes(needs.activations)}{fits(needs.on_model_device, device)}"
    ]
    if device.type != "cpu" and needs.on_cpu:
        of_cpu = f"optimiser on the CPU: {updating}" if needs.is_offloaded else "weights while averages are measured"
        lines.append(f"{'':12}{format_bytes(needs.on_cpu)}: {of_cpu}{fits(needs.on_cpu, torch.device('cpu'))}")
    return lines


def _describe_data(plan: RunPlan) -> list[str]:
    """The sets of a plan and the tokens."""
    from ..data.mixture import set_weights

    data, validation = plan.config.data, plan.config.validation
    sets = [
        f"{source.name}: {len(source)} samples, {share:.1%} of the stream"
        for source, share in zip(plan.sources, set_weights(data), strict=True)
    ]
    lines = _labelled("data", sets)
    sides = ", ".join(map(str, data.buckets)) or ", ".join(f"{width}x{height}" for width, height in data.sizes)
    times = f" at each of {plan.config.noise_draws} noise levels" if plan.config.noise_draws > 1 else ""
    lines.append(
        f"tokens      at most {data.token_budget} a pack{times}, {plan.config.grad_accumulation} packs a step; "
        f"sizes {sides}, up to {data.num_frames} frames"
    )
    if validation.is_on:
        names = ", ".join(entry.label for entry in validation.sets)
        lines.append(
            f"validation  every {validation.every} steps, {validation.samples} samples each of {names}; "
            f"{validation.pictures} generated"
        )
    else:
        lines.append("validation  none" + ("; validation.sets names no samples" if validation.every else ""))
    return lines


if __name__ == "__main__":
    sys.exit(run(main))
