"""From settings to rewards: which are asked for, whether they can be had, and loading them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import torch

from ...config.rl import RewardSettings, RLConfig
from ...errors import ConfigError
from ...mllm.encoder import QwenEncoder
from ...mllm.loading import open_qwen
from ...protocols import VideoCodec
from . import appearance
from .base import Reward, RewardSum
from .clip_score import TextImageScore, check_path
from .mllm_judge import MLLMJudge
from .world import AsksSeen, Success, Unchanged, WorldKnowledge

_OF_PIXELS: Mapping[str, Reward] = {
    "preservation": appearance.preservation,
    "sharpness": appearance.sharpness_guard,
    "motion": appearance.motion_guard,
}
_OF_WORLD: Mapping[str, Callable[[WorldKnowledge], Reward]] = {
    "world-success": Success,
    "world-asks": AsksSeen,
    "world-unchanged": Unchanged,
}


def check_rewards(config: RLConfig) -> None:
    """Refuse rewards that cannot be had, before anything large is loaded.

    Args:
        config: Of the run.

    Raises:
        WeightsError: Weights are missing or of another model.
        ConfigError: A reward of the world is asked for with sets that are none, or one of the user's is not there.
    """
    if any(settings.kind in _OF_WORLD for settings in config.rl.rewards):
        WorldKnowledge(config.data, codec=None)
    for settings in config.rl.rewards:
        if settings.is_own:
            own_reward(settings.kind)
        elif settings.kind in ("pickscore", "clip"):
            check_path(settings.path, is_pickscore=settings.kind == "pickscore")
        elif settings.kind == "mllm-judge" and settings.path is not None:
            open_qwen(settings.path)


def open_rewards(
    config: RLConfig, *, codec: VideoCodec, encoder: QwenEncoder | None, mllm: Path, device: torch.device
) -> RewardSum:
    """The rewards of a run that `check_rewards` found nothing wrong with, loaded.

    Args:
        config: Of the run.
        codec: Of the run.
        encoder: The run's MLLM, which judges too unless another is named; None if it is not there to be asked.
        mllm: Its weights.
        device: Where models compute.

    Raises:
        WeightsError: Weights are missing or of another model.
        MissingExtraError: A package is not installed.
        ConfigError: See `check_rewards`.
    """
    world = None
    parts: dict[str, tuple[Reward, float]] = {}
    for settings in config.rl.rewards:
        if settings.kind in _OF_WORLD:
            world = world or WorldKnowledge(config.data, codec=codec)
            reward = _OF_WORLD[settings.kind](world)
        elif settings.kind in _OF_PIXELS:
            reward = _OF_PIXELS[settings.kind]
        elif settings.is_own:
            reward = own_reward(settings.kind)
        else:
            reward = _of_model(settings, encoder=encoder, mllm=mllm, device=device)
        parts[settings.kind] = reward, settings.weight
    return RewardSum(parts)


def own_reward(kind: str) -> Reward:
    """A reward of the user's own.

    Args:
        kind: "module:name", a module that Python finds and the name of a callable in it.

    Raises:
        ConfigError: It is not there, or nothing that can be called.
    """
    module, _, name = kind.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ConfigError(
            f"the reward {kind}, which cannot be imported ({error})",
            expected="a module that Python finds, and in it a callable of that name",
            fix="correct rl.rewards, or name the module's folder in PYTHONPATH",
        ) from error
    if not callable(found) or isinstance(found, type):
        raise ConfigError(
            f"the reward {kind}, which is {'a class' if isinstance(found, type) else type(found).__name__}",
            expected="a function, or an object that can be called, of outcomes that gives a tensor [N]",
            fix="name a function, or an object of the class",
        )
    return cast("Reward", found)


def _of_model(settings: RewardSettings, *, encoder: QwenEncoder | None, mllm: Path, device: torch.device) -> Reward:
    """A reward that a model gives."""
    if settings.kind != "mllm-judge":
        return TextImageScore.load(settings.path, is_pickscore=settings.kind == "pickscore", device=device)
    if settings.path is None:
        assert encoder is not None, "refused by RLConfig"
        return MLLMJudge.of(encoder, mllm)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    return MLLMJudge.of(QwenEncoder.load(settings.path, num_blocks=1, dtype=dtype, device=device), settings.path)
