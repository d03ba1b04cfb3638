"""`python -m loom_core.cli.rl`: have a trained model answer, reward its answers, and train it on that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..config.rl import RLConfig, read_rl_config
from ..config.training import TrainingConfig
from .exits import run
from .train import RunKind, main_of

if TYPE_CHECKING:
    from ..training.planning import RunPlan
    from ..training.trainer import Trainer


def _parts() -> tuple[Callable[..., RunPlan], Callable[..., Trainer]]:
    from ..rl.run import open_rl_trainer, plan_rl_run

    return plan_rl_run, open_rl_trainer


def describe(config: TrainingConfig) -> list[str]:
    """What is rewarded, and how it is learned from, in a few lines."""
    assert isinstance(config, RLConfig)
    rl, rollout = config.rl, config.rl.rollout
    guided = f"guidance {rollout.guidance_scale:g}" if rollout.is_guided else "no guidance"
    most = config.data.max_samples_per_pack or "any number of"
    reference = []
    if rl.kl:
        reference = [f"reference   {'the model without its LoRA' if config.starts_at_base else _kept(config)}"]
    return [
        f"rewards     {rl.rewards_in_words}",
        f"answers     {rollout.group_size} to each prompt, {rollout.num_inference_steps} steps, {guided}; prompts of a "
        f"round: {config.grad_accumulation} packs of at most {most} samples",
        f"algorithm   {rl.algorithm}, {rl.updates} updates a round, distance to the start weighs {rl.kl:g}",
        *reference,
    ]


def _kept(config: RLConfig) -> str:
    """Where the weights are that a run starts with."""
    from ..training.estimate import training_needs
    from ..weights.inspection import format_bytes

    needs = training_needs(config)
    return (
        f"{format_bytes(4 * needs.parameters)} in the CPU's memory, spread over all ranks, "
        f"{format_bytes(needs.trained)} in the run's folder"
    )


RL = RunKind(
    "python -m loom_core.cli.rl",
    "Train a model on rewards for its own answers.",
    read_rl_config,
    _parts,
    describe,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return main_of(RL, argv)


if __name__ == "__main__":
    sys.exit(run(main))
