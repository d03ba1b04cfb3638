"""Settings of an RL run: those of a training run, and what it is rewarded for and how it learns from that."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from .reading import build, read_settings
from .sampling import MAX_STEPS, SamplingConfig
from .training import TrainingConfig, require

REWARD_KINDS = (
    "preservation", "sharpness", "motion", "world-success", "world-asks", "world-unchanged", "mllm-judge", "pickscore",
    "clip",
)  # fmt: skip
"""Rewards that are part of this."""
_OWN_KIND = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """One part of the reward.

    Args:
        kind: Which one: "preservation" of what an edit does not touch; the guards "sharpness" and "motion"; of samples
            of the world "world-success", "world-asks" and "world-unchanged"; "mllm-judge", "pickscore" and "clip".
            Or one of the user's own: "module:name", see `rewards.base.Reward`.
        weight: Its value is multiplied by this; negative for what is to be avoided.
        path: Weights of "pickscore" and "clip"; of another MLLM than the run's for "mllm-judge".
    """

    kind: str
    weight: float = 1.0
    path: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what says nothing."""
        require(self, weight=self.weight != 0)
        if self.kind not in REWARD_KINDS and not self.is_own:
            raise ConfigError(
                f"the reward {self.kind!r}",
                expected=f"one of {', '.join(REWARD_KINDS)}, or module:name of one of your own",
                fix="correct rl.rewards",
            )
        if self.path is not None and self.kind not in ("mllm-judge", "pickscore", "clip"):
            raise ConfigError(f"a path of the reward {self.kind}", expected="none, it has no weights", fix="remove it")

    @property
    def is_own(self) -> bool:
        """Whether it is code of the user's."""
        return _OWN_KIND.fullmatch(self.kind) is not None


@dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """How the old policy answers.

    Args:
        group_size: Answers to each prompt, which are compared with each other; at least 2.
        has_target: The last answer of each group is not the policy's but the sample's target, which is rewarded as the
            others are; of "nft" alone, at least 3 answers.
        num_inference_steps: Denoising steps of each.
        shift: Moves the schedule toward noise; None derives it from the token count.
        solver: Name of a solver; of "nft" alone, "grpo" has its own.
        guidance_scale: Text guidance, of answers and of what learns from them; 1 for none, as published, and always for
            "grpo".
        visual_guidance_scale: Visual guidance, likewise.
    """

    group_size: int = 16
    has_target: bool = False
    num_inference_steps: int = 12
    shift: float | None = 5.0
    solver: str = "unipc"
    guidance_scale: float = 1.0
    visual_guidance_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        require(self, group_size=self.own_answers > 1, num_inference_steps=1 < self.num_inference_steps <= MAX_STEPS)
        self.sampling()

    @property
    def own_answers(self) -> int:
        """Answers of a group that are the policy's; they come first."""
        return self.group_size - self.has_target

    def sampling(self) -> SamplingConfig:
        """The same as for inference."""
        return SamplingConfig(
            num_inference_steps=self.num_inference_steps,
            shift=self.shift,
            solver=self.solver,
            guidance_scale=self.guidance_scale,
            visual_guidance_scale=self.visual_guidance_scale,
        )

    @property
    def is_guided(self) -> bool:
        """Whether more than one branch is run."""
        return self.guidance_scale > 1 or self.visual_guidance_scale > 1


@dataclass(frozen=True, kw_only=True)
class NFTSettings:
    """DiffusionNFT.

    Args:
        beta: How far the implicit policies lie from the old one: 1.0 as published for one reward, 0.1 for several.
        levels_per_answer: Noise levels at which each answer is learned from, drawn as in training.
        is_self_normalised: Divide each error by its own mean size, as published; without, it is plain flow matching.
    """

    beta: float = 0.1
    levels_per_answer: int = 2
    is_self_normalised: bool = True

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        require(self, beta=self.beta > 0, levels_per_answer=self.levels_per_answer > 0)


@dataclass(frozen=True, kw_only=True)
class GRPOSettings:
    """Flow-GRPO.

    Args:
        noise_level: Of the steps that are drawn: their standard deviation is so many times sqrt(sigma / (1 - sigma)).
        clip: The ratio counts only from 1 - clip to 1 + clip; small, since log-probabilities are means over elements.
        trained_steps: Of each answer's steps, drawn anew for each; 0 for all but the last, which draws nothing.
    """

    noise_level: float = 0.7
    clip: float = 1e-4
    trained_steps: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        require(self, noise_level=self.noise_level > 0, clip=self.clip > 0, trained_steps=self.trained_steps >= 0)


@dataclass(frozen=True, kw_only=True)
class StopSettings:
    """When a run is stopped because it earns its reward in a way that nobody wants.

    All measures are means of the last rounds, beside those of the first.

    Args:
        first_rounds: So many rounds are the measure of what was.
        last_rounds: So many rounds are what is.
        least_motion: While the reward rises, motion may fall to this part of what it was; 0 for no stop, as below.
        least_sharpness: The same of sharpness.
        least_diversity: Answers to one prompt may differ by this part of what they did.
        most_growth: Clean latents may grow to so many times their size; 0 for no stop.
    """

    first_rounds: int = 8
    last_rounds: int = 8
    least_motion: float = 0.7
    least_sharpness: float = 0.7
    least_diversity: float = 0.1
    most_growth: float = 1.5

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        require(self, first_rounds=self.first_rounds > 0, last_rounds=self.last_rounds > 0)
        for name in ("least_motion", "least_sharpness", "least_diversity"):
            require(self, **{name: 0 <= getattr(self, name) < 1})
        require(self, most_growth=self.most_growth == 0 or self.most_growth > 1)


@dataclass(frozen=True, kw_only=True)
class RLSettings:
    """What a run is rewarded for, and how it learns from it.

    Args:
        algorithm: "nft", the one that the paper names, or "grpo".
        rewards: Their weighted sum is the reward; at least one.
        rollout: How the old policy answers.
        nft: Of that algorithm.
        grpo: Of that algorithm.
        advantage_scale: Rewards less their group's mean are divided by the standard deviation within the "group", of
            "all" of the round, or by "none".
        advantage_clip: Advantages beyond this do not count.
        kl: Weight of the squared distance to what the run started from; 0 for none.
        corrections: Weight of the way to the sample's target from wherever its answers lead, of edits; 0 for none.
        updates: Optimiser steps that a round's answers are spread over.
        old_ramp: The old policy keeps this share more of itself after each round, up to `ema`.
        stops: When the run is stopped.
    """

    rewards: tuple[RewardSettings, ...]
    algorithm: Literal["nft", "grpo"] = "nft"
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    nft: NFTSettings = field(default_factory=NFTSettings)
    grpo: GRPOSettings = field(default_factory=GRPOSettings)
    advantage_scale: Literal["group", "all", "none"] = "group"
    advantage_clip: float = 5.0
    kl: float = 2e-5
    corrections: float = 0.0
    updates: int = 1
    old_ramp: float = 0.001
    stops: StopSettings = field(default_factory=StopSettings)

    def __post_init__(self) -> None:
        """Refuse what makes no run."""
        require(self, advantage_clip=self.advantage_clip > 0, kl=self.kl >= 0, updates=self.updates > 0)
        require(self, old_ramp=self.old_ramp >= 0, corrections=self.corrections >= 0)
        kinds = [reward.kind for reward in self.rewards]
        doubles = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if not kinds or doubles:
            raise ConfigError(
                f"the reward {doubles[0]} twice" if doubles else "no rewards",
                expected="at least one, each of another kind",
                fix="correct rl.rewards",
            )
        if self.algorithm == "grpo" and self.rollout.has_target:
            raise ConfigError(
                "targets among the answers with Flow-GRPO, which learns from the steps that led to an answer",
                expected="rl.rollout.has_target: false",
                fix="set it so, or take rl.algorithm nft",
            )
        if self.algorithm == "grpo" and self.rollout.is_guided:
            raise ConfigError(
                "guidance with Flow-GRPO, whose probabilities are those of the policy alone",
                expected="rl.rollout.guidance_scale and visual_guidance_scale of 1",
                fix="set them to 1, or take rl.algorithm nft",
            )

    @property
    def rewards_in_words(self) -> str:
        """The weighted sum, to be shown."""
        return ", ".join(f"{reward.weight:g} x {reward.kind}" for reward in self.rewards)


@dataclass(frozen=True, kw_only=True)
class RLConfig(TrainingConfig):
    """An RL run. A step is a round: the old policy answers, rewards are given, the policy is updated.

    Of the settings of training, `ema` is the largest share of itself that the old policy keeps (0: the old policy is
    the policy itself at the start of the round); `grad_accumulation` packs are the prompts of a round; the optimiser's
    warm-up and decay count updates, `rl.updates` a round.

    Args:
        rl: See `RLSettings`.
    """

    rl: RLSettings

    def __post_init__(self) -> None:
        """Refuse settings of training that RL has no use for.

        Raises:
            ConfigError: See above.
        """
        super().__post_init__()
        for name, value, of_rl, reason in (
            ("data.dropout_all", self.data.dropout_all, 0, "answers are learned from with all they were given"),
            ("data.dropout_text", self.data.dropout_text, 0, "answers are learned from with all they were given"),
            ("lora.dropout", self.lora.dropout if self.lora else 0, 0, "what answered has to be what is learned from"),
            ("noise_draws", self.noise_draws, 1, "rl.nft.levels_per_answer says how many levels an answer is met at"),
            ("read_ahead", self.read_ahead, 0, "a round needs the policy that the one before left"),
        ):
            if value != of_rl:
                raise ConfigError(
                    f"{name} {value:g} in an RL run", expected=f"{of_rl}: {reason}", fix=f"set it to {of_rl}"
                )
        is_judge = any(reward.kind == "mllm-judge" and reward.path is None for reward in self.rl.rewards)
        if self.prompt_cache is not None and (is_judge or self.rl.rollout.is_guided):
            raise ConfigError(
                f"prompt_cache in a run whose {'reward asks the MLLM' if is_judge else 'answers are guided'}",
                expected="the MLLM to be there throughout",
                fix="leave prompt_cache out" + (", or name another MLLM in the reward's path" if is_judge else ""),
            )

    @property
    def starts_at_base(self) -> bool:
        """Whether the run starts at its model without the LoRA, so that the reference needs no file."""
        return self.lora is not None and self.lora.starts_from is None


def read_rl_config(path: Path, *, overrides: Iterable[str] = ()) -> RLConfig:
    """The RL run that a config file describes; see `read_training_config`."""
    values = read_settings(path, overrides=overrides)
    if "rl" not in values:
        raise ConfigError(
            f"{path}, which says nothing of rl",
            expected="an RL run: what its answers are rewarded for, rl.rewards",
            fix="train it with python -m loom_core.cli.train, or add rl as in configs/training/rl.yaml",
        )
    return build(RLConfig, values)
