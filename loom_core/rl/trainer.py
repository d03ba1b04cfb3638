"""The RL loop: a step of the run is a round, which is answered, rewarded, learned from and then saved whole.

Everything else is the trainer's own: stops, checkpoints, held-out losses, pictures, metrics. Several processes
have prompts of their own each, and learn together from all answers (`together.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..config.rl import RLConfig
from ..data.sample import EncodedSample
from ..data.seeds import derive_seed
from ..errors import TrainingError
from ..sampling.guidance import branch_weights
from ..training.interruption import IsStopped
from ..training.learning_rate import learning_rate
from ..training.objective import PackObjective
from ..training.pictures import DROPPED
from ..training.trainer import Trainer
from ..training.watch.observer import RunAbout, StepMetrics
from .health import Stops
from .learner import Experience, Learner
from .rollout import GivenUpError, Prompt
from .together import FailedTogetherError

_STOPS = "stops"


@dataclass(frozen=True)
class _Learned:
    """What became of a round's updates.

    Args:
        sums: Over all points: "loss" and so on.
        points: Their number.
        norm: Mean of the gradients' norms.
        made: Updates made.
        left_out: Updates left out, since they were not finite.
    """

    sums: Mapping[str, float]
    points: int
    norm: float
    made: int
    left_out: int

    @property
    def means(self) -> dict[str, float]:
        """Over the points."""
        return {name: value / max(1, self.points) for name, value in self.sums.items()}


class RLTrainer(Trainer):
    """One RL run; see `Trainer`, whose averaged weights are the old policy.

    Args:
        config: Of the run.
        learner: Answers and learns.
        **parts: As of a trainer.
    """

    def __init__(self, config: RLConfig, *, learner: Learner, **parts: Any) -> None:
        super().__init__(config, **parts)
        self.rl_config, self.learner = config, learner
        self.stops = Stops.from_state(config.rl.stops, self.state.extra.get(_STOPS, {}))

    def about(self) -> RunAbout:
        """What those are told at the start who watch."""
        rl = self.rl_config.rl
        settings = {
            "algorithm": f"{rl.algorithm}, {rl.rollout.group_size} answers to a prompt, {rl.updates} updates a round",
            "rewards": rl.rewards_in_words,
            "old policy": f"keeps up to {self.config.ema:g} of itself" if self.config.ema else "the policy itself",
        }
        about = super().about()
        return replace(about, settings={**settings, **about.settings})

    def _take_steps(self, is_stopped: IsStopped) -> None:
        """Rounds until the last one or a stop, upon which one that is still being answered is given up."""
        self.learner.is_stopped = is_stopped
        with suppress(GivenUpError):
            super()._take_steps(is_stopped)

    def step(self) -> StepMetrics:
        """One round.

        Raises:
            GivenUpError: A stop was asked for while it was answered; the run is as after the round before.
            TrainingError: An answer or a reward makes no sense, too many rounds in a row had no finite update, or the
                reward is earned in a way that `StopSettings` does not allow; the last whole round is saved.
            RankError: An answer or a reward of another rank makes no sense; likewise.
        """
        start = time.perf_counter()
        packs = self._next_packs()
        samples = [sample for pack in packs for sample in pack.samples]
        try:
            experience = self.learner.collect(self._prompts(samples))
        except FailedTogetherError as failed:
            self._save(is_last=True)  # nothing was updated yet
            raise failed.reason from None
        self._is_updating = True
        learned = self._learn(experience)
        if self.ema is not None:
            self.ema.update(self.optimiser.weights)
        measures = self._measures(experience, learned)
        reason = self.stops.reason(measures)
        seconds = time.perf_counter() - start
        answers, tokens, bad_samples = self._counted(experience, bad_samples=self.bad_samples(packs[-1].state))
        after = self._after(
            packs[-1].state,
            samples=answers,
            tokens=tokens,
            bad_samples=bad_samples,
            is_finite=learned.made > 0 or not learned.left_out,
            seconds=seconds,
        )
        self.state = replace(after, extra={**after.extra, _STOPS: self.stops.state()})
        self._is_updating = False
        metrics = self._metrics(learned, measures, samples=answers, tokens=tokens, seconds=seconds)
        self._tell(experience, learned)
        if reason is not None:
            self._stop(metrics, reason)
        return metrics

    def _counted(self, experience: Experience, *, bad_samples: int) -> tuple[int, int, int]:
        """Answers, their tokens and bad samples, of all ranks."""
        tokens = sum(experience.prompts[rollout.prompt].sample.shift_tokens for rollout in experience.rollouts)
        own = torch.tensor([len(experience.rollouts), tokens, bad_samples], dtype=torch.float64)
        answers, tokens, bad_samples = map(int, self.ranks.sum(own).tolist())
        return answers, tokens, bad_samples

    def _prompts(self, samples: Sequence[EncodedSample]) -> list[Prompt]:
        """The prompts of a round, read."""
        rollout, objective = self.rl_config.rl.rollout, self.objective
        assert isinstance(objective, PackObjective)
        weights = [
            branch_weights(
                rollout.guidance_scale, rollout.visual_guidance_scale, has_visual=objective.has_visual(sample)
            )
            for sample in samples
        ]
        entries = [(sample, branch) for sample, own in zip(samples, weights, strict=True) for branch in own]
        conditions = iter(
            objective.conditions([sample for sample, _ in entries], [DROPPED[branch] for _, branch in entries])
        )
        return [
            Prompt(sample, {branch: next(conditions) for branch in own}, own)
            for sample, own in zip(samples, weights, strict=True)
        ]

    def _learn(self, experience: Experience) -> _Learned:
        """Update the policy."""
        updates = self.rl_config.rl.updates
        seed = derive_seed(self.config.seed, "round", self.state.step)
        sums: dict[str, float] = {}
        norms: list[float] = []
        left_out = points = 0
        for number, batch in enumerate(self.learner.batches(experience, seed=seed)):
            found = self.learner.backward(experience, batch)
            norm = self.optimiser.clip_gradients()
            if math.isfinite(norm) and math.isfinite(found["loss"]):
                update = self.state.step * updates + number + 1
                lr = learning_rate(update, self.config.optimiser, steps=self.config.steps * updates)
                self.optimiser.step(lr=lr)
                norms.append(norm)
                points += int(found.pop("points"))
                for name, value in found.items():
                    sums[name] = sums.get(name, 0.0) + value
            else:
                self.optimiser.discard_gradients()
                left_out += 1
        return _Learned(sums, points, sum(norms) / max(1, len(norms)), len(norms), left_out)

    def _measures(self, experience: Experience, learned: _Learned) -> dict[str, float]:
        """What is watched of a round."""
        kept = {} if self.ema is None else {"old_kept": self.ema.next_decay()}
        return {**experience.measures, **learned.means, **kept}

    def _metrics(
        self, learned: _Learned, measures: Mapping[str, float], *, samples: int, tokens: int, seconds: float
    ) -> StepMetrics:
        updates = self.rl_config.rl.updates
        return StepMetrics(
            step=self.state.step,
            steps=self.config.steps,
            loss=measures.get("loss", 0.0),
            grad_norm=learned.norm,
            lr=learning_rate(self.state.step * updates, self.config.optimiser, steps=self.config.steps * updates),
            tokens=tokens,
            samples=samples,
            seconds=seconds,
            bad_samples=self.state.bad_samples,
            skipped_steps=self.state.skipped_steps,
            measures={name: value for name, value in measures.items() if name != "loss"},
        )

    def _tell(self, experience: Experience, learned: _Learned) -> None:
        """Note what was not learned from."""
        step = self.state.step
        if experience.measures["groups_without_contrast"] == 1:
            only = "; only corrections were learned from" if experience.points else ""
            self.observer.on_note(f"round {step}: zero contrast, all answers to each prompt have the same reward{only}")
        elif learned.made > 1 and learned.sums.get("contrast") == 0:
            self.observer.on_note(f"round {step}: zero contrast, the policy is still the old one after its updates")
        if not learned.left_out:
            return
        if learned.made:
            self.observer.on_note(f"round {step}: {learned.left_out} updates left out, not finite")
        else:
            self._tell_of_skipped(float("nan"), float("nan"))

    def _stop(self, metrics: StepMetrics, reason: str) -> None:
        """End the run for what it has come to."""
        self.observer.on_step(metrics)
        self._save(is_last=True)
        raise TrainingError(
            f"a policy that earns its reward in another way than meant, after round {self.state.step}: {reason}",
            expected="better results",
            fix="go on from an older checkpoint with more weight on guards (rl.rewards: motion, sharpness, "
            "preservation), more rl.kl or a lower optimiser.lr; rl.stops has the limits",
        )
