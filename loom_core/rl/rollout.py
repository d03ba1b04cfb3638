"""Answers of a policy: several to each prompt, of any task and size, side by side in packs.

Everything drawn for an answer follows from its own seed, on the CPU, whatever else is in its pack.

Legend: C latent channels, F latent frames, H W latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..config.rl import RolloutSettings
from ..data.sample import EncodedSample
from ..data.seeds import derive_seed, seeded_generator
from ..errors import TrainingError
from ..sampling.guidance import combine
from ..sampling.schedule import Schedule, schedule_for
from ..sampling.sde import DrawnStep
from ..sampling.solvers import History, get_solver
from ..training.interruption import IsStopped, never_stopped
from ..training.ranks import OneRank, Ranks
from ..types import Branch, Condition
from .together import in_step


class GivenUpError(Exception):
    """A stop was asked for while answers were made; nothing depends on those that were."""


class Velocities(Protocol):
    """A policy: the velocity of each sample of a pack, in one forward pass."""

    def __call__(
        self,
        latents: Sequence[Tensor],
        timestep: Tensor,
        conditions: Sequence[Condition],
        *,
        rounded_time: bool = False,
    ) -> Sequence[Tensor]:
        """Velocities of latents [C, F, H, W] at timestep [N]; see `PackObjective.velocities`."""
        ...


@dataclass(frozen=True)
class Prompt:
    """What is answered.

    Args:
        sample: Of its target only the size is looked at, unless it is an answer too; its seed is that of its place in
            the run.
        conditions: Of each branch that is run.
        weights: Of each branch; the full one alone without guidance.
    """

    sample: EncodedSample
    conditions: Mapping[Branch, Condition]
    weights: Mapping[Branch, float]

    def tokens(self) -> int:
        """Of target, references and prompts of all branches."""
        states = sum(len(self.conditions[branch].mllm_hidden_states[0]) for branch in self.weights)
        return len(self.weights) * self.sample.shift_tokens + states


@dataclass(frozen=True)
class RolloutPlan:
    """How prompts are answered.

    Args:
        settings: See `RolloutSettings`.
        token_budget: Most tokens of a pack.
        noise_level: Above 0, steps are drawn (`sampling.sde`) and kept; 0 follows the flow with the solver.
    """

    settings: RolloutSettings
    token_budget: int
    noise_level: float = 0.0


@dataclass(frozen=True)
class Visit:
    """A step on the way to an answer; tensors float32 [C, F, H, W] on the CPU.

    Args:
        latents: At its start.
        velocity: Predicted there by the policy that answered.
        following: Where it led.
        timestep: What the model was told.
        step: Coefficients.
    """

    latents: Tensor
    velocity: Tensor
    following: Tensor
    timestep: float
    step: DrawnStep


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """An answer.

    Args:
        prompt: Number of its prompt.
        sample: That prompt's.
        seed: Of everything drawn for this answer.
        clean: Latents, float32 [C, F, H, W] on the CPU.
        visits: Its steps, where they were drawn.
        is_target: It is the sample's target, and no policy's answer.
    """

    prompt: int
    sample: EncodedSample
    seed: int
    clean: Tensor
    visits: tuple[Visit, ...] = ()
    is_target: bool = False


@dataclass
class _Running:
    """An answer on its way."""

    prompt: int
    given: Prompt
    seed: int
    schedule: Schedule
    latents: Tensor
    noise: torch.Generator
    history: History | None = None
    visits: list[Visit] = field(default_factory=list)


def roll_out(
    velocities: Velocities,
    prompts: Sequence[Prompt],
    plan: RolloutPlan,
    *,
    device: torch.device | str = "cpu",
    is_stopped: IsStopped = never_stopped,
    ranks: Ranks | None = None,
) -> list[Rollout]:
    """Answer every prompt `group_size` times, where asked for the last time with its target.

    Args:
        velocities: The policy.
        prompts: Of any tasks and sizes.
        plan: How.
        device: Where latents are while they are computed with.
        is_stopped: Asked before each step.
        ranks: All of which answer prompts of their own.

    Returns:
        The answers to the first prompt, then those to the second and so on.

    Raises:
        GivenUpError: A stop was asked for.
    """
    own = plan.settings.own_answers
    places = [(number, turn) for number in range(len(prompts)) for turn in range(own)]
    tokens = [prompts[number].tokens() for number, _ in places]
    rollouts: list[Rollout] = []
    packs = list(packs_of(tokens, plan.token_budget))
    for pack in in_step(packs, ranks or OneRank()):
        running = [_started(prompts, *places[index], plan=plan, device=device) for index in pack or packs[-1]]
        finished = _finished(velocities, running, plan, is_stopped=is_stopped)
        rollouts += finished if pack else ()
    if not plan.settings.has_target:
        return rollouts
    groups = (rollouts[start : start + own] for start in range(0, len(rollouts), own))
    return [
        answer for number, group in enumerate(groups) for answer in (*group, _target(number, prompts[number].sample))
    ]


def _target(number: int, sample: EncodedSample) -> Rollout:
    """The right answer to a prompt."""
    return Rollout(prompt=number, sample=sample, seed=sample.seed, clean=sample.target.float().cpu(), is_target=True)


def check_finite(rollouts: Sequence[Rollout]) -> None:
    """Refuse answers of a model that is out of hand.

    Raises:
        TrainingError: One is not finite.
    """
    for rollout in rollouts:
        if not bool(torch.isfinite(rollout.clean).all()):
            raise TrainingError(
                f"an answer to {rollout.sample.key} that is not finite",
                expected="finite latents",
                fix="go on from an older checkpoint with a lower optimiser.lr",
            )


def packs_of(tokens: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in their order, as many to a pack as fit a budget of tokens, at least one."""
    pack: list[int] = []
    total = 0
    for index, count in enumerate(tokens):
        if pack and total + count > budget:
            yield pack
            pack, total = [], 0
        pack.append(index)
        total += count
    if pack:
        yield pack


def _started(
    prompts: Sequence[Prompt], number: int, turn: int, *, plan: RolloutPlan, device: torch.device | str
) -> _Running:
    """An answer before its first step."""
    prompt = prompts[number]
    seed = derive_seed(prompt.sample.seed, "answer", turn)
    generator = seeded_generator(seed, "noise")
    return _Running(
        prompt=number,
        given=prompt,
        seed=seed,
        schedule=schedule_for(plan.settings.sampling(), num_tokens=prompt.sample.shift_tokens),
        latents=torch.randn(prompt.sample.target.shape, generator=generator).to(device),
        noise=generator,
    )


@torch.no_grad()
def _finished(
    velocities: Velocities, running: list[_Running], plan: RolloutPlan, *, is_stopped: IsStopped
) -> list[Rollout]:
    """The answers of one pack, all steps taken."""
    for step in range(plan.settings.num_inference_steps):
        if is_stopped():
            raise GivenUpError
        predicted = _guided(velocities, running, step)
        for answer, velocity in zip(running, predicted, strict=True):
            if plan.noise_level > 0:
                _draw(answer, velocity, step, noise_level=plan.noise_level)
            else:
                _follow(answer, velocity, step, solver=plan.settings.solver)
    return [
        Rollout(
            prompt=answer.prompt,
            sample=answer.given.sample,
            seed=answer.seed,
            clean=answer.latents.cpu(),
            visits=tuple(answer.visits),
        )
        for answer in running
    ]


def _guided(velocities: Velocities, running: Sequence[_Running], step: int) -> list[Tensor]:
    """Velocity of each answer, float32."""
    timesteps = torch.stack([answer.schedule.timesteps[step] for answer in running])
    latents = [answer.latents for answer in running]
    return guided_velocities(velocities, latents, timesteps, [answer.given for answer in running])


def guided_velocities(
    velocities: Velocities,
    latents: Sequence[Tensor],
    timesteps: Tensor,
    prompts: Sequence[Prompt],
    *,
    rounded_time: bool = False,
) -> list[Tensor]:
    """What a policy says with the guidance of each prompt; all branches of all prompts are one pack.

    Args:
        velocities: The policy.
        latents: Of each prompt [C, F, H, W].
        timesteps: Of each, [N].
        prompts: With their branches.
        rounded_time: See `PackObjective.velocities`.

    Returns:
        Of each, float32 [C, F, H, W].
    """
    entries = [(index, branch) for index, prompt in enumerate(prompts) for branch in prompt.weights]
    places = torch.tensor([index for index, _ in entries], device=timesteps.device)
    predicted = velocities(
        [latents[index] for index, _ in entries],
        timesteps[places].to(latents[0].device),
        [prompts[index].conditions[branch] for index, branch in entries],
        rounded_time=rounded_time,
    )
    found = iter(predicted)
    return [combine({branch: next(found) for branch in prompt.weights}, prompt.weights) for prompt in prompts]


def _follow(answer: _Running, velocity: Tensor, step: int, *, solver: str) -> None:
    """Take a step along the flow."""
    result = get_solver(solver)(
        answer.latents, velocity, sigmas=answer.schedule.sigmas, step=step, history=answer.history
    )
    answer.latents, answer.history = result.latents, result.history


def _draw(answer: _Running, velocity: Tensor, step: int, *, noise_level: float) -> None:
    """Draw a step, and keep it."""
    drawn = DrawnStep.between(answer.schedule.sigmas, step, noise_level=noise_level)
    noise = torch.randn(velocity.shape, generator=answer.noise).to(velocity)
    following = drawn.draw(answer.latents, velocity, noise=noise)
    visit = Visit(answer.latents.cpu(), velocity.cpu(), following.cpu(), float(answer.schedule.timesteps[step]), drawn)
    answer.visits.append(visit)
    answer.latents = following
