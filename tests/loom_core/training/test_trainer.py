"""The loop: the loss falls, the gradient is the mean over tokens, what is not finite is left out."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
import torch

from loom_core.config.training import CheckpointSettings, OptimiserSettings, ValidationSettings
from loom_core.data.problems import BadSample, BadSamplesError
from loom_core.errors import CancelledError, MediaError, ResourceError, TrainingError
from loom_core.training.checkpoint import RunState, newest_checkpoint, read_state
from loom_core.training.starting import starting_model
from loom_core.training.watch.observer import ValidationMetrics


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


class KeptGradients:
    """Stands in for an optimiser: gradients stay where they are."""

    def __init__(self, model):
        self.weights = dict(model.named_parameters())

    def clip_gradients(self):
        return 1.0

    def step(self, *, lr):
        self.lr = lr


def test_the_loss_falls_on_few_samples(config, make_trainer, make_packs, recorder):
    config = replace(config, steps=60, optimiser=OptimiserSettings(lr=3e-3, warmup=5))
    trainer = make_trainer(config, packs=make_packs(num_samples=2, per_pack=4))
    trainer.run()
    assert trainer.stopped_by is None
    losses = [metrics.loss for metrics in recorder.steps]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert recorder.is_closed


def test_who_watches_is_told_what_run_it_is(config, make_trainer, recorder, monkeypatch):
    told = []
    monkeypatch.setattr(recorder, "on_start", told.append, raising=False)
    make_trainer(config).run()
    (about,) = told
    assert (about.name, about.folder, about.steps, about.first_step) == ("micro", config.run, 6, 0)
    assert about.settings == {
        "packs": "1 a step, of at most 16384 tokens", "optimiser": "adamw, lr 0.01 constant, 0 steps of warm-up",
        "precision": "fp32", "averages": "decay 0.99",
    }  # fmt: skip


def test_metrics_tell_of_the_step(config, make_trainer, recorder):
    make_trainer(config).run()
    first = recorder.steps[0]
    assert (first.step, first.steps, first.samples) == (1, 6, 2)
    assert first.tokens == 4 + 8  # an image of 2 x 2 tokens, a clip of two latent frames
    assert set(first.loss_by_task) == {"edit-image", "text-to-image"}
    assert [metrics.step for metrics in recorder.steps] == list(range(1, 7))


def test_fault_6_accumulated_gradients_are_those_of_one_pack(config, make_trainer, make_packs):
    """Two packs of unequal size to a step give the gradient of one pack with all their samples."""
    model = starting_model(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    whole = make_trainer(config, model=model, optimiser=KeptGradients(model), ema=None, packs=make_packs(per_pack=6))
    whole_loss = whole.step().loss
    expected = gradients(model)
    model.zero_grad()

    class Unequal:
        """The same samples as 1 + 5."""

        def __init__(self):
            pack = next(make_packs(per_pack=6))
            self.packs = [replace(pack, samples=pack.samples[:1]), replace(pack, samples=pack.samples[1:])]

        def __next__(self):
            return self.packs.pop(0)

    config = replace(config, grad_accumulation=2)
    parts = make_trainer(config, model=model, optimiser=KeptGradients(model), ema=None, packs=Unequal())
    assert parts.step().loss == pytest.approx(whole_loss, rel=1e-6)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-7)


class TwoRanks:
    """One of two ranks: keeps what it adds up, and adds what the other one kept."""

    size = 2

    def __init__(self, rank, other=None):
        self.rank, self.kept, self.other = rank, [], iter(other.kept if other else ())

    def sum(self, values):
        self.kept.append(values.clone())
        return values + next(self.other, 0)


def test_fault_8_ranks_with_unequal_packs_have_the_gradient_of_the_whole(config, make_trainer, make_packs):
    """The mean over ranks of their gradients, as DDP takes it, is that of all samples in one pack."""
    model = starting_model(config)

    def step(pack, **changes):
        model.zero_grad()
        changes = {"model": model, "optimiser": KeptGradients(model), "ema": None, "packs": iter([pack]), **changes}
        return make_trainer(config, **changes).step()

    pack = next(make_packs(per_pack=6))
    whole = step(pack)
    expected = gradients(model)
    parts = [replace(pack, samples=pack.samples[:2]), replace(pack, samples=pack.samples[2:])]
    alone = [TwoRanks(0), TwoRanks(1)]
    for part, ranks in zip(parts, alone, strict=True):
        step(part, ranks=ranks)
    found: dict[str, torch.Tensor] = {}
    for rank, part in enumerate(parts):
        metrics = step(part, ranks=TwoRanks(rank, other=alone[1 - rank]))
        assert metrics.loss == pytest.approx(whole.loss, rel=1e-6)
        assert (metrics.samples, metrics.tokens) == (whole.samples, whole.tokens)
        assert metrics.loss_by_task == pytest.approx(whole.loss_by_task, rel=1e-6)
        for name, gradient in gradients(model).items():
            found[name] = found.get(name, 0) + gradient / 2
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-7)


def test_fault_7_the_model_is_called_so_that_hooks_fire(config, make_trainer):
    model = starting_model(config)
    calls = []
    model.register_forward_hook(lambda *_: calls.append("model"))
    for block in model.blocks:
        block.register_forward_hook(lambda *_: calls.append("block"))
    model.mllm_embedder.register_forward_hook(lambda *_: calls.append("projector"))
    make_trainer(config, model=model).step()
    assert calls.count("model") == 1
    assert calls.count("block") == 2
    assert "projector" in calls


class Poisoned:
    """An objective that gives no number at some steps."""

    def __init__(self, objective, bad):
        self.objective, self.bad, self.calls = objective, bad, 0

    def __call__(self, samples):
        self.calls += 1
        errors = self.objective(samples)
        return errors * float("nan") if self.calls in self.bad else errors


def test_steps_that_are_not_finite_are_left_out(config, make_trainer, make_objective, recorder):
    model = starting_model(config)
    trainer = make_trainer(config, model=model, objective=Poisoned(make_objective(model), {2, 3}))
    trainer.step()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    trainer.step(), trainer.step()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert trainer.ema.updates == 1
    metrics = trainer.step()
    assert metrics.skipped_steps == 2
    assert metrics.step == 4
    assert trainer.state.skipped_in_a_row == 0
    assert len(recorder.notes) == 2
    assert "step 2 left out" in recorder.notes[0]
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())


def test_gradients_that_are_not_finite_are_left_out(config, make_trainer):
    model = starting_model(config)
    model.head.head.bias.register_hook(lambda gradient: gradient * float("inf"))
    trainer = make_trainer(config, model=model)
    before = model.head.head.bias.clone()
    assert trainer.step().skipped_steps == 1
    assert torch.equal(model.head.head.bias, before)


def test_too_many_in_a_row_end_the_run(config, make_trainer, make_objective, recorder):
    config = replace(config, steps=100, most_skipped_steps=3, checkpoint=CheckpointSettings(every=2))
    model = starting_model(config)
    trainer = make_trainer(config, model=model, objective=Poisoned(make_objective(model), set(range(4, 100))))
    with pytest.raises(TrainingError, match=r"3 steps in a row.*lower optimiser.lr") as caught:
        trainer.run()
    assert caught.value.exit_code == 7
    assert recorder.is_closed
    assert read_state(newest_checkpoint(config.run)).step == 4


def test_checkpoints_come_in_time_and_at_the_end(config, make_trainer, recorder):
    make_trainer(replace(config, steps=5, checkpoint=CheckpointSettings(every=2, keep_last=2))).run()
    assert [step for step, _ in recorder.checkpoints] == [2, 4, 5]
    assert sorted(path.name for path in (config.run / "checkpoints").iterdir()) == ["step-000004", "step-000005"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step(config, make_trainer, recorder, number):
    class Interrupting:
        def on_step(self, metrics):
            recorder.on_step(metrics)
            if metrics.step == 2:
                os.kill(os.getpid(), number)

        def __getattr__(self, name):
            return getattr(recorder, name)

    before = signal.getsignal(number)
    trainer = make_trainer(config, observer=Interrupting())
    assert trainer.run().step == 2
    assert trainer.stopped_by is number
    assert [step for step, _ in recorder.checkpoints] == [2]
    assert recorder.notes == [f"{signal.Signals(number).name}: stopped after step 2, which is saved"]
    assert signal.getsignal(number) is before


def test_a_program_that_it_is_part_of_ends_it_likewise(config, make_trainer, recorder):
    trainer = make_trainer(config)
    assert trainer.run(lambda: len(recorder.steps) == 2).step == 2
    assert trainer.stopped_by is None
    assert [step for step, _ in recorder.checkpoints] == [2]
    assert recorder.notes == ["asked to: stopped after step 2, which is saved"]


class Failing:
    """Packs that end with an error after some."""

    def __init__(self, packs, count, error, then=lambda: None):
        self.packs, self.count, self.error, self.then = packs, count, error, then

    def __next__(self):
        if self.count == 0:
            self.then()
            raise self.error
        self.count -= 1
        return next(self.packs)


@pytest.mark.parametrize("error", [MediaError("many bad samples"), ResourceError("no memory")])
def test_data_that_fails_loses_no_step(config, make_trainer, make_packs, recorder, error):
    trainer = make_trainer(config, packs=Failing(make_packs(), 3, error))
    with pytest.raises(type(error)):
        trainer.run()
    assert read_state(newest_checkpoint(config.run)).step == 3
    assert read_state(newest_checkpoint(config.run)).data == {"0": {"position": 6}}
    assert recorder.is_closed


def test_samples_that_cannot_be_used_are_told_with_their_step(config, make_trainer, make_packs, recorder):
    """Those of a run that ends by them too, before which a pack of its step was made."""
    bad = [BadSample("cats", f"{number}.png", "unreadable") for number in range(4)]

    class Packs:
        made = iter([(), bad[:2], (), (), bad[2:3]])

        def __init__(self):
            self.packs = make_packs()

        def __next__(self):
            for left_out in self.made:
                return replace(next(self.packs), left_out=tuple(left_out))
            raise BadSamplesError("too many", expected="fewer", fix="mend them", left_out=(bad[3],))

    with pytest.raises(BadSamplesError):
        make_trainer(replace(config, grad_accumulation=2), packs=Packs()).run()
    assert recorder.bad_samples == [(1, (bad[0], bad[1])), (3, (bad[2], bad[3]))]
    assert read_state(newest_checkpoint(config.run)).step == 2


def test_nothing_is_saved_where_no_step_was_made(config, make_trainer, make_packs):
    with pytest.raises(MediaError):
        make_trainer(config, packs=Failing(make_packs(), 0, MediaError("no data"))).run()
    assert newest_checkpoint(config.run) is None


def test_a_signal_that_ends_the_decoding_processes_too_is_a_normal_stop(config, make_trainer, make_packs, recorder):
    packs = Failing(make_packs(), 2, ResourceError("a worker ended"), lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert make_trainer(config, packs=packs).run().step == 2
    assert read_state(newest_checkpoint(config.run)).step == 2
    assert "SIGTERM: stopped after step 2" in recorder.notes[-1]


LOST = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")


def test_a_worker_lost_at_any_place_loses_no_step(config, make_trainer, make_objective, recorder):
    """torch raises its word in a signal handler, wherever the main thread is."""
    model = starting_model(config)
    objective = make_objective(model)

    class Failing:
        calls = 0

        def __call__(self, samples):
            self.calls += 1
            if self.calls == 3:
                raise LOST
            return objective(samples)

    with pytest.raises(ResourceError, match="a decoding process that was ended"):
        make_trainer(config, model=model, objective=Failing()).run()
    assert read_state(newest_checkpoint(config.run)).step == 2
    assert recorder.is_closed


def test_a_worker_lost_in_an_update_saves_nothing_half_done(config, make_trainer):
    trainer = make_trainer(replace(config, checkpoint=CheckpointSettings(every=2)))
    update = trainer.ema.update

    def updating(weights):
        if trainer.state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            raise LOST
        update(weights)

    trainer.ema.update = updating
    with pytest.raises(ResourceError):
        trainer.run()
    assert read_state(newest_checkpoint(config.run)).step == 2


def test_other_errors_are_passed_on(config, make_trainer, make_packs):
    with pytest.raises(RuntimeError, match="illegal"):
        make_trainer(config, packs=Failing(make_packs(), 1, RuntimeError("illegal memory access"))).run()
    assert newest_checkpoint(config.run) is None


def test_fault_5_warm_up_is_counted_in_optimiser_steps(config, make_trainer, recorder):
    """Whatever the packs to a step and the number of processes."""

    class ManyRanks:
        rank, size = 0, 8

        def sum(self, values):
            return values

    config = replace(config, grad_accumulation=3, optimiser=OptimiserSettings(lr=1.0, warmup=4))
    trainer = make_trainer(config, ranks=ManyRanks())
    rates = [trainer.step().lr for _ in range(5)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_samples_are_drawn_at_the_measurements_and_at_the_end(config, make_trainer, recorder):
    config = replace(config, steps=5, validation=ValidationSettings(every=2))
    make_trainer(config, draw_samples=lambda _: ["row"]).run()
    assert recorder.samples == [(2, ["row"]), (4, ["row"]), (5, ["row"])]
    recorder.samples.clear()
    make_trainer(replace(config, validation=ValidationSettings(every=0)), draw_samples=lambda _: ["row"]).run()
    assert recorder.samples == []


def test_samples_that_cannot_be_drawn_are_noted_and_tried_again(config, make_trainer, recorder, caplog):
    tries = []

    def drawing(_):
        tries.append(1)
        if len(tries) == 1:
            raise torch.OutOfMemoryError("no room")
        return ["row"]

    config = replace(config, steps=4, validation=ValidationSettings(every=2))
    assert make_trainer(config, draw_samples=drawing).run().step == 4
    assert recorder.notes == ["no sample pictures after step 2: OutOfMemoryError: no room"]
    assert recorder.samples == [(4, ["row"])]
    assert "no sample pictures after step 2" in caplog.text


def test_a_person_s_stop_passes_through_the_drawing_of_samples(config, make_trainer, recorder):
    def cancelled(_):
        raise CancelledError("a stop")

    with pytest.raises(CancelledError):
        make_trainer(replace(config, validation=ValidationSettings(every=1)), draw_samples=cancelled).run()
    assert recorder.is_closed


def test_a_run_that_is_told_to_stop_draws_no_samples_first(config, make_trainer, recorder):
    config = replace(config, validation=ValidationSettings(every=1))
    drawing = lambda _: os.kill(os.getpid(), signal.SIGTERM) or ["row"]  # noqa: E731
    assert make_trainer(config, draw_samples=drawing, validate=None).run().step == 1
    assert len(recorder.samples) == 1

    def measuring(step, _):
        os.kill(os.getpid(), signal.SIGTERM)
        return ValidationMetrics(step=step, losses=())

    recorder.samples.clear()
    make_trainer(config, draw_samples=lambda _: ["row"], validate=measuring).run()
    assert recorder.samples == []


def test_another_rank_takes_part_in_drawing_samples(config, make_trainer, recorder):
    """Each has its part of the model; what one alone meets there would leave the others waiting, so it ends the run."""

    class SecondRank:
        rank, size = 1, 2

        def sum(self, values):
            return values

        def gather(self, value):
            return [value, value]

    config = replace(config, steps=2, validation=ValidationSettings(every=1))
    make_trainer(config, draw_samples=lambda _: ["row"], ranks=SecondRank()).run()
    assert recorder.samples == [(1, ["row"]), (2, ["row"])]

    def failing(_):
        raise RuntimeError("out of memory on one GPU")

    config = replace(config, run=config.run.with_name("other"))
    with pytest.raises(RuntimeError, match="one GPU"):
        make_trainer(config, draw_samples=failing, ranks=SecondRank()).run()


@pytest.mark.parametrize("every", [1, 100])
def test_a_measurement_that_fails_loses_no_step(config, make_trainer, recorder, every):
    """Not even where no checkpoint was due."""

    def measuring(step, _):
        saved = newest_checkpoint(config.run)
        assert (None if saved is None else read_state(saved).step) == (step if every == 1 else None)
        raise MediaError("a held-out set is gone")

    config = replace(config, validation=ValidationSettings(every=2), checkpoint=CheckpointSettings(every=every))
    with pytest.raises(MediaError):
        make_trainer(config, validate=measuring).run()
    assert read_state(newest_checkpoint(config.run)).step == 2
    assert recorder.is_closed


def test_a_run_that_is_told_to_stop_measures_nothing_first(config, make_trainer, recorder):
    class Interrupting:
        def on_step(self, metrics):
            os.kill(os.getpid(), signal.SIGTERM)

        def __getattr__(self, name):
            return getattr(recorder, name)

    config = replace(config, validation=ValidationSettings(every=1))
    assert make_trainer(config, validate=lambda *_: pytest.fail("measured"), observer=Interrupting()).run().step == 1
    assert read_state(newest_checkpoint(config.run)).step == 1


def test_a_stop_gives_up_the_measurement_that_is_under_way(config, make_trainer, recorder):
    def measuring(_, is_stopped):
        assert not is_stopped()
        os.kill(os.getpid(), signal.SIGTERM)
        return None if is_stopped() else pytest.fail("not told")

    config = replace(config, validation=ValidationSettings(every=1))
    assert make_trainer(config, validate=measuring, draw_samples=lambda _: pytest.fail("drawn")).run().step == 1
    assert recorder.validations == []
    assert read_state(newest_checkpoint(config.run)).step == 1


@pytest.mark.parametrize(("is_measured", "measured"), [(False, [4, 6]), (True, [6])])
def test_a_measurement_that_a_stop_prevented_is_made_up_for(config, make_trainer, recorder, is_measured, measured):
    """Also where no step is left."""
    config = replace(config, validation=ValidationSettings(every=4))
    arguments = {
        "validate": lambda step, _: ValidationMetrics(step=step, losses=()),
        "draw_samples": lambda _: ["row"],
        "is_measured": is_measured,
    }
    make_trainer(config, state=RunState(step=4), **arguments).run()
    assert [metrics.step for metrics in recorder.validations] == measured
    assert [step for step, _ in recorder.samples] == measured
    recorder.validations.clear()
    make_trainer(config, state=RunState(step=6), **arguments).run()
    assert [metrics.step for metrics in recorder.validations] == ([] if is_measured else [6])


def test_a_checkpoint_has_the_position_of_each_rank(config, make_trainer, make_packs):
    class Pair:
        size = 2

        def __init__(self, rank):
            self.rank, self.given = rank, []

        def sum(self, values):
            return values

        def gather(self, value):
            is_position = isinstance(value, dict) and "position" in value
            self.given += [value] if is_position else []
            return [value, {"position": 77} if is_position else value]

    first, second = Pair(0), Pair(1)
    config = replace(config, steps=2)
    make_trainer(config, ranks=second, packs=make_packs(position=40)).run()
    assert newest_checkpoint(config.run) is None, "the first one writes"
    assert second.given == [{"position": 44}]
    make_trainer(config, ranks=first).run()
    assert read_state(newest_checkpoint(config.run)).data == {"0": {"position": 4}, "1": {"position": 77}}
