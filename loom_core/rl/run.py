"""An RL run put together: that of training, with another trainer, the old policy for averages, and rewards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config.rl import RLConfig
from ..config.training import TrainingConfig
from ..training.ema import Ema
from ..training.estimate import training_needs
from ..training.interruption import IsStopped, never_stopped
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
from .policy import OldPolicy, Policy, Reference, keep_reference, read_reference
from .rewards.opening import check_rewards, open_rewards
from .rollout import RolloutPlan
from .trainer import RLTrainer

_STARTED_AT_BASE = "started_at_base"
"""In a run's state, see `RLConfig.starts_at_base`: the config may name another `lora.starts_from` by now."""


def plan_rl_run(config: RLConfig, *, resume: str | Path = AUTO, allow_config_change: bool = False) -> RunPlan:
    """Look at everything that an RL run needs, before anything large is read or written; see `plan_run`."""
    check_rewards(config)
    plan = plan_run(config, resume=resume, allow_config_change=allow_config_change)
    has_reference = plan.checkpoint is not None and _run_of(plan.checkpoint).resolve() == config.run.resolve()
    if has_reference or not config.rl.kl or config.starts_at_base:
        return plan
    return replace(plan, disk=replace(plan.disk, beside=training_needs(config).trained))


def open_rl_trainer(
    plan: RunPlan,
    *,
    device: torch.device,
    observer: TrainingObserver,
    ranks: Ranks | None = None,
    is_stopped: IsStopped = never_stopped,
) -> Trainer:
    """Load everything and return the trainer at the place where the run stands; see `training.run.open_trainer`.

    Args:
        plan: From `plan_rl_run`.
        device: Of all parts.
        observer: Is told what happens.
        ranks: The processes of the run.
        is_stopped: Asked while prompts are kept.
    """
    return open_trainer(
        plan, device=device, observer=observer, ranks=ranks, is_stopped=is_stopped, averages=old_policy, build=_build
    )


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


def _run_of(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint is of."""
    return checkpoint.parent.parent


def _reference(config: RLConfig, parts: RunParts, ranks: Ranks, *, is_base: bool) -> Reference | None:
    """What the run started with."""
    model, adapters = parts.trained.model, parts.trained.adapters
    if not config.rl.kl:
        return None
    if is_base and adapters is not None:
        return adapters.disabled
    checkpoint = parts.plan.checkpoint
    if checkpoint is None:
        kept = keep_reference(config.run, model, ranks)
    else:
        kept = read_reference(config.run, model, ranks, begun_in=_run_of(checkpoint))
    return partial(kept.swapped_into, model)


def _build(parts: RunParts, arguments: Mapping[str, Any]) -> Trainer:
    """The trainer of loaded parts."""
    plan, device = parts.plan, parts.device
    config = plan.config
    assert isinstance(config, RLConfig)
    state, ranks = arguments["state"], arguments["ranks"]
    is_base = bool(state.extra.get(_STARTED_AT_BASE, config.starts_at_base))
    state = replace(state, extra={**state.extra, _STARTED_AT_BASE: is_base})
    reference = _reference(config, parts, ranks, is_base=is_base)
    learner = Learner(
        Policy(parts.trained.model, parts.objective.velocities, parts.trained.ema, reference),
        algorithm_of(config),
        open_rewards(config, codec=parts.codec, encoder=parts.encoder, mllm=plan.files.mllm, device=device),
        Pictures(parts.codec, device=device),
        settings=config.rl,
        token_budget=config.data.token_budget,
        ranks=ranks,
    )
    return RLTrainer(config, learner=learner, **{**arguments, "state": state})
