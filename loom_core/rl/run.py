"""An RL run put together: that of training, with another trainer, the old policy for averages, and rewards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config.rl import RLConfig
from ..config.training import TrainingConfig
from ..training.ema import Ema
from ..training.planning import RunPlan, plan_run
from ..training.ranks import Ranks
from ..training.resuming import AUTO
from ..training.run import RunParts, open_trainer
from ..training.trainer import Trainer
from ..training.watch.observer import TrainingObserver
from .grpo import FlowGRPO
from .learner import Learner
from .nft import DiffusionNFT
from .outcomes import Pictures
from .points import Algorithm
from .policy import OldPolicy, Policy, keep_reference, read_reference
from .rewards.opening import check_rewards, open_rewards
from .rollout import RolloutPlan
from .trainer import RLTrainer


def plan_rl_run(config: RLConfig, *, resume: str | Path = AUTO, allow_config_change: bool = False) -> RunPlan:
    """Look at everything that an RL run needs, before anything large is read or written; see `plan_run`."""
    check_rewards(config)
    return plan_run(config, resume=resume, allow_config_change=allow_config_change)


def open_rl_trainer(
    plan: RunPlan, *, device: torch.device, observer: TrainingObserver, ranks: Ranks | None = None
) -> Trainer:
    """Load everything and return the trainer at the place where the run stands; see `training.run.open_trainer`.

    Args:
        plan: From `plan_rl_run`.
        device: Of all parts.
        observer: Is told what happens.
        ranks: The processes of the run.
    """
    return open_trainer(plan, device=device, observer=observer, ranks=ranks, averages=old_policy, build=_build)


def old_policy(weights: Mapping[str, Tensor], config: TrainingConfig) -> Ema | None:
    """The old policy of a run; None where it is the policy itself."""
    assert isinstance(config, RLConfig)
    return OldPolicy(weights, limit=config.ema, ramp=config.rl.old_ramp) if config.ema else None


def algorithm_of(config: RLConfig) -> Algorithm[Any]:
    """The algorithm that a config names."""
    rl, budget = config.rl, config.data.token_budget
    if rl.algorithm == "grpo":
        return FlowGRPO(rl.grpo, RolloutPlan(rl.rollout, budget, noise_level=rl.grpo.noise_level))
    return DiffusionNFT(
        rl.nft,
        RolloutPlan(rl.rollout, budget),
        advantage_clip=rl.advantage_clip,
        shift_scale=config.timestep_shift_scale,
        base_tokens=config.timestep_base_tokens,
        rounded_time=config.round_timestep,
    )


def _build(parts: RunParts, arguments: Mapping[str, Any]) -> Trainer:
    """The trainer of loaded parts."""
    plan, device = parts.plan, parts.device
    config = plan.config
    assert isinstance(config, RLConfig)
    assert parts.encoder is not None
    reference = None
    if config.rl.kl:
        if plan.checkpoint is None:
            reference = keep_reference(config.run, parts.trained.model, is_written=arguments["ranks"].rank == 0)
        else:
            reference = read_reference(config.run, parts.trained.model)
    learner = Learner(
        Policy(parts.trained.model, parts.objective.velocities, parts.trained.ema, reference),
        algorithm_of(config),
        open_rewards(config, codec=parts.codec, encoder=parts.encoder, mllm=plan.files.mllm, device=device),
        Pictures(parts.codec, device=device),
        settings=config.rl,
        token_budget=config.data.token_budget,
    )
    return RLTrainer(config, learner=learner, **arguments)
