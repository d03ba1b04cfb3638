"""The training loop: packs in, optimiser steps, checkpoints and metrics out.

Differences from the official trainer:
- the loss of a step is the sum of squared errors over all packs and ranks, divided by the number of elements over all
  packs and ranks, so that the gradient is the mean over target tokens however they are spread (there it is a mean of
  means, and with accumulation divided twice);
- the model is called, not a method of it, so that the hooks of FSDP fire;
- a step whose loss or gradient is not finite is left out and counted; several in a row end the run.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..config.training import TrainingConfig
from ..data.packing import Pack
from ..data.problems import BadSample, BadSamplesError
from ..data.sample import EncodedSample
from ..data.workers import ended_worker
from ..errors import CancelledError, LoomError, RankError, ResourceError, TrainingError
from ..lora.adapters import Adapters
from ..models.dit import LoomDiT
from .checkpoint import RunState, save_checkpoint
from .ema import Ema
from .interruption import IsStopped, StopRequest, never_stopped
from .learning_rate import learning_rate
from .optimiser import Optimiser
from .ranks import OneRank, Ranks
from .retention import prune
from .totals import Totals, totals_of
from .watch.observer import RunAbout, SampleRow, StepMetrics, TrainingObserver, ValidationMetrics

logger = logging.getLogger(__name__)


class Objective(Protocol):
    """Squared errors of a model's predictions for a pack."""

    def __call__(self, samples: Sequence[EncodedSample]) -> Tensor:
        """The squared error of each sample, summed over its elements: float32 [N], with a graph."""
        ...


class Trainer:
    """One run, from where its state says to its last step.

    Args:
        config: Of the run.
        model: What is trained.
        optimiser: Of the model.
        ema: Averaged weights, if any.
        adapters: The LoRA that is trained, if it is one.
        packs: At the position of `state`.
        objective: Runs the model.
        state: Where the run stands.
        observer: Is told what happens.
        bad_samples: Tells how many different samples were left out since the run began, from a pack's state.
        validate: Measures the model after a number of steps, or gives it up (None) once the stop that it is given is
            asked for; None for no measurements.
        draw_samples: Generates held-out samples, or gives up likewise; None for none.
        is_measured: Whether the step of `state` was measured, where it was time to: a stop may have come between its
            checkpoint and its measurement.
        on_end: Called when the run ends, however it does: lets go of what makes the packs.
        ranks: The processes of the run.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        model: LoomDiT,
        optimiser: Optimiser,
        packs: Iterator[Pack],
        objective: Objective,
        state: RunState,
        observer: TrainingObserver,
        ema: Ema | None = None,
        adapters: Adapters | None = None,
        bad_samples: Callable[[Mapping[str, Any]], int] = lambda _: 0,
        validate: Callable[[int, IsStopped], ValidationMetrics | None] | None = None,
        draw_samples: Callable[[IsStopped], Sequence[SampleRow] | None] | None = None,
        is_measured: bool = True,
        on_end: Callable[[], None] = lambda: None,
        ranks: Ranks | None = None,
    ) -> None:
        self.config, self.model, self.optimiser, self.ema = config, model, optimiser, ema
        self.adapters = adapters
        self.packs, self.objective, self.on_end = packs, objective, on_end
        self.validate, self.draw_samples, self.is_measured = validate, draw_samples, is_measured
        self.state, self.observer, self.bad_samples = state, observer, bad_samples
        self.ranks: Ranks = ranks or OneRank()
        self.stopped_by: signal.Signals | None = None
        """What ended `run` before its last step, if something did."""
        self._saved_step = state.step
        self._is_updating = False  # weights and state do not belong together

    def about(self) -> RunAbout:
        """What those are told at the start who watch."""
        return _about(self.config, first_step=self.state.step)

    def run(self, is_stopped: IsStopped = never_stopped) -> RunState:
        """Train until the last step or a stop; returns where the run stands then, which is saved.

        Args:
            is_stopped: Another way to ask for a stop than by a signal, for a program that the trainer is a part of.

        Raises:
            TrainingError: Too many steps in a row were not finite.
            MediaError: Too many samples could not be used; the last whole step is saved.
            ResourceError: Memory for decoding ran out, which is saved likewise; or a checkpoint found no room.
        """
        self.observer.on_start(self.about())
        try:
            with StopRequest(is_stopped) as stop:

                def any_is_stopped() -> bool:
                    return self._any_rank(stop.is_asked())

                try:
                    self._take_steps(any_is_stopped)
                except RuntimeError as error:
                    self._save_after_lost_worker(error, is_stopped=stop.is_asked())
                if any_is_stopped():
                    self._save(is_last=True)  # it may have come after the last one was written
                    self.stopped_by = next(filter(None, self.ranks.gather(stop.signal)), None)
                    asker = "asked to" if self.stopped_by is None else self.stopped_by.name
                    self.observer.on_note(f"{asker}: stopped after step {self.state.step}, which is saved")
        finally:
            self.on_end()
            self.observer.close()
        return self.state

    def _any_rank(self, is_so: bool) -> bool:
        """Whether something is so on any rank; all of them ask at the same places."""
        return is_so if self.ranks.size == 1 else bool(self.ranks.sum(_scalar(is_so)))

    def _take_steps(self, is_stopped: IsStopped) -> None:
        """Train until the last step or a stop of any rank."""
        if self._any_rank(not self.is_measured):
            self._measure(is_stopped)
            self._show_samples(is_stopped)
        while self.state.step < self.config.steps and not is_stopped():
            try:
                metrics = self.step()
            except ResourceError:
                if self.ranks.size > 1 or not is_stopped():
                    raise
                break  # what asked for the stop ended the processes that decode as well
            self.observer.on_step(metrics)
            self._save(is_last=is_stopped())
            self._measure(is_stopped)
            self._show_samples(is_stopped)

    def _save_after_lost_worker(self, error: RuntimeError, *, is_stopped: bool) -> None:
        """Save after torch's word that a decoding process is gone, which it raises anywhere; then pass it on.

        Raises:
            ResourceError: It is an error of its own, or broke into an update, of which nothing can be saved.
            RuntimeError: The error, if it says something else.
        """
        lost = ended_worker(error)
        if lost is None:
            raise error
        if self._is_updating or self.ranks.size > 1:
            raise lost from error
        self._save(is_last=True)
        if not is_stopped:
            raise lost from error

    def step(self) -> StepMetrics:
        """One optimiser step.

        Raises:
            TrainingError: Too many in a row were not finite.
        """
        start = time.perf_counter()
        number = self.state.step + 1
        packs = self._next_packs()
        totals = self._backward(packs)
        norm = self.optimiser.clip_gradients()
        is_finite = math.isfinite(totals.loss) and math.isfinite(norm)
        lr = learning_rate(number, self.config.optimiser, steps=self.config.steps)
        self._is_updating = True
        if is_finite:
            self.optimiser.step(lr=lr)
            if self.ema is not None:
                self.ema.update(self.optimiser.weights)
        else:
            self.optimiser.discard_gradients()
        seconds = time.perf_counter() - start
        self.state = self._after(
            packs[-1].state,
            samples=totals.samples,
            tokens=totals.tokens,
            bad_samples=totals.bad_samples,
            is_finite=is_finite,
            seconds=seconds,
        )
        self._is_updating = False
        if not is_finite:
            self._tell_of_skipped(totals.loss, norm)
        return StepMetrics(
            step=number,
            steps=self.config.steps,
            loss=totals.loss,
            grad_norm=norm,
            lr=lr,
            tokens=totals.tokens,
            samples=totals.samples,
            seconds=seconds,
            bad_samples=self.state.bad_samples,
            skipped_steps=self.state.skipped_steps,
            loss_by_task=totals.loss_by_task,
        )

    def _next_packs(self) -> list[Pack]:
        packs: list[Pack] = []
        left_out: list[BadSample] = []
        failure: LoomError | None = None
        try:
            while len(packs) < self.config.grad_accumulation:
                packs.append(next(self.packs))
                left_out += packs[-1].left_out
        except LoomError as error:
            failure = error
            left_out += error.left_out if isinstance(error, BadSamplesError) else ()
        if self._any_rank(bool(left_out) or failure is not None):
            self._tell_of_ranks(left_out, failure)
        return packs

    def _tell_of_ranks(self, left_out: Sequence[BadSample], failure: LoomError | None) -> None:
        """Tell of the samples that any rank left out; end the run where one of them has no more packs."""
        reports = self.ranks.gather((left_out, None if failure is None else str(failure)))
        self._tell_of_bad(tuple(sample for samples, _ in reports for sample in samples))
        failed = [(rank, words) for rank, (_, words) in enumerate(reports) if words is not None]
        if not failed:
            return
        self._save(is_last=True)  # everything is still as the last whole step left it
        if failure is not None:
            raise failure
        rank, words = failed[0]
        raise RankError(f"rank {rank}, which cannot go on: {words}")

    def _tell_of_bad(self, samples: Sequence[BadSample]) -> None:
        if samples:
            self.observer.on_bad_samples(self.state.step + 1, samples)

    def _backward(self, packs: Sequence[Pack]) -> Totals:
        """Gradients of a step's loss."""
        samples = [sample for pack in packs for sample in pack.samples]
        elements = float(self.ranks.sum(_scalar(sum(sample.target.numel() for sample in samples))))
        errors: list[float] = []
        for pack in packs:
            pack_errors = self.objective(pack.samples)
            # times the number of ranks, over which whatever wraps the model takes the mean
            (pack_errors.sum() * (self.ranks.size / elements)).backward()
            errors += pack_errors.detach().double().tolist()
        return totals_of(samples, errors, bad_samples=self.bad_samples(packs[-1].state), ranks=self.ranks)

    def _after(
        self,
        data: Mapping[str, Any],
        *,
        samples: int,
        tokens: int,
        bad_samples: int,
        is_finite: bool,
        seconds: float,
    ) -> RunState:
        """Where the run stands after a step, which these numbers are of; bad samples are those since the run began."""
        before = self.state
        return replace(
            before,
            step=before.step + 1,
            data={str(self.ranks.rank): data},
            ema_updates=0 if self.ema is None else self.ema.updates,
            skipped_steps=before.skipped_steps + (not is_finite),
            skipped_in_a_row=0 if is_finite else before.skipped_in_a_row + 1,
            bad_samples=bad_samples,
            samples=before.samples + samples,
            tokens=before.tokens + tokens,
            seconds=before.seconds + seconds,
        )

    def _tell_of_skipped(self, loss: float, norm: float) -> None:
        """Note a step without an update; end the run when they are too many in a row."""
        what = f"loss {loss:g}, gradient norm {norm:g}"
        if self.state.skipped_in_a_row >= self.config.most_skipped_steps:
            raise TrainingError(
                f"{self.state.skipped_in_a_row} steps in a row without a finite loss and gradient (the last: step "
                f"{self.state.step}, {what})",
                expected="finite numbers",
                fix="go on from an older checkpoint with a lower optimiser.lr, or train with precision bf16-autocast",
            )
        self.observer.on_note(f"step {self.state.step} left out, not finite: {what}")

    def _measure(self, is_stopped: IsStopped) -> None:
        """Measure the model where it is time to; a measurement that fails ends the run, which loses no step by it."""
        if self.validate is None or not self._is_time_to_measure or is_stopped():
            return
        try:
            metrics = self.validate(self.state.step, is_stopped)
        except Exception:
            if self.ranks.size == 1:  # else the others may still be measuring
                self._save(is_last=True)
            raise
        if metrics is not None:
            self.observer.on_validation(metrics)

    def _show_samples(self, is_stopped: IsStopped) -> None:
        """Generate held-out samples where it is time to; as with all that a run is watched by, it ends no run.

        All ranks take part, since each has its part of the model; where one alone meets an error the others would wait.
        """
        if self.draw_samples is None or not self._is_time_to_measure or is_stopped():
            return
        try:
            rows = self.draw_samples(is_stopped)
        except CancelledError:
            raise
        except Exception as error:
            if self.ranks.size > 1 and not isinstance(error, LoomError):
                raise
            # such as memory that is short, or a model that has not learned finite numbers yet
            logger.warning("no sample pictures after step %d", self.state.step, exc_info=error)
            self.observer.on_note(f"no sample pictures after step {self.state.step}: {type(error).__name__}: {error}")
        else:
            if rows is not None:
                self.observer.on_samples(self.state.step, rows)

    @property
    def _is_time_to_measure(self) -> bool:
        every, step = self.config.validation.every, self.state.step
        return bool(every) and (step % every == 0 or step == self.config.steps)

    def _save(self, *, is_last: bool) -> None:
        """Save the run where it is time to and has not been done; all ranks take part."""
        config, step = self.config, self.state.step
        is_due = is_last or step % config.checkpoint.every == 0 or step == config.steps
        if not is_due or step == self._saved_step:
            return
        positions = self.ranks.gather(self.state.data[str(self.ranks.rank)])
        state = replace(self.state, data={str(rank): position for rank, position in enumerate(positions)})
        path = save_checkpoint(
            config.run,
            state,
            model=self.model,
            optimiser=self.optimiser,
            ema=self.ema,
            adapters=self.adapters,
            ranks=self.ranks,
        )
        self._saved_step = step
        self.observer.on_checkpoint(step, path)
        if self.ranks.rank == 0:
            prune(config.run, config.checkpoint)


def _about(config: TrainingConfig, *, first_step: int) -> RunAbout:
    """What those are told at the start who watch."""
    optimiser, data = config.optimiser, config.data
    settings = {
        "packs": f"{config.grad_accumulation} a step, of at most {data.token_budget} tokens",
        "optimiser": f"{optimiser.kind}, lr {optimiser.lr:g} {optimiser.decay}, {optimiser.warmup} steps of warm-up",
        "precision": config.precision,
        "averages": f"decay {config.ema:g}" if config.ema else "none",
    }
    if config.lora is not None:
        settings["lora"] = f"rank {config.lora.rank}, times {config.lora.scale:g}"
    return RunAbout(name=config.name, folder=config.run, steps=config.steps, first_step=first_step, settings=settings)


def _scalar(value: float) -> Tensor:
    return torch.tensor(float(value), dtype=torch.float64)
