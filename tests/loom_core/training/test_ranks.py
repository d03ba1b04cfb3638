"""A single process adds nothing up; several with their parts of a model train what one with all of it trains."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from loom_core.config.training import CheckpointSettings, LoraSettings, ValidationSettings
from loom_core.data.problems import BadSample
from loom_core.errors import MediaError
from loom_core.lora.lora_file import open_lora, shapes_of
from loom_core.training import checkpoint
from loom_core.training.checkpoint import load_checkpoint, newest_checkpoint, read_state
from loom_core.training.ema import Ema
from loom_core.training.estimate import training_needs
from loom_core.training.optimiser import Optimiser
from loom_core.training.ranks import OneRank
from loom_core.training.starting import add_lora, empty_model, starting_model
from loom_core.training.validation import Validator
from loom_core.weights.loading import load_dit
from loom_core.weights.saving import entries_of, save_safetensors


def test_one_rank_is_the_whole():
    ranks = OneRank()
    values = torch.arange(3.0)
    model = torch.nn.Linear(2, 2)
    before = dict(model.named_parameters())
    ranks.shard(model)
    assert (ranks.rank, ranks.size) == (0, 1)
    assert torch.equal(ranks.sum(values), values)
    assert ranks.gather({"next": 3}) == [{"next": 3}]
    assert all(weight is before[name] for name, weight in model.named_parameters())


class Share:
    """Every so-manieth pack of a sequence."""

    def __init__(self, packs, rank, size):
        self.packs, self.rank, self.size = packs, rank, size

    def __next__(self):
        chosen = None
        for number in range(self.size):
            pack = next(self.packs)
            chosen = pack if number == self.rank else chosen
        return chosen

    def close(self):
        pass


def whole_run(config, make_trainer, make_packs, **changes):
    """A run of a single process, two packs a step."""
    trainer = make_trainer(replace(config, grad_accumulation=2), packs=make_packs(per_pack=1), **changes)
    trainer.run()
    return trainer


def parts_of(ranks, config, checkpoint=None):
    """Model, optimiser and so on of a rank; with the state of the checkpoint, if it goes on from one."""
    is_new = checkpoint is None
    model = starting_model(config) if is_new or config.lora else empty_model(config)
    adapters = add_lora(model, config, is_new=is_new) if config.lora else None
    ranks.shard(model)
    optimiser = Optimiser(model, config.optimiser, sum_over_ranks=ranks.sum)
    parts = {"model": model, "optimiser": optimiser, "ema": Ema(optimiser.weights, decay=config.ema)}
    parts["adapters"] = adapters
    return parts if is_new else {**parts, "state": load_checkpoint(checkpoint, **parts, rank=ranks.rank)}


def shared_run(ranks, config, make_trainer, make_packs, *, checkpoint=None, position=0, **changes):
    """The same of several, a pack a step each; what it came to."""
    packs = changes.pop("packs", None) or make_packs(per_pack=1, position=position)
    trainer = make_trainer(
        config,
        packs=Share(packs, ranks.rank, ranks.size),
        ranks=ranks,
        **parts_of(ranks, config, checkpoint),
        **changes,
    )
    trainer.observer.__init__()  # forked with what another run was told
    state = trainer.run()
    norms = [(metrics.loss, metrics.grad_norm, metrics.samples) for metrics in trainer.observer.steps]
    return state.step, norms, trainer.observer


def weights_of(config):
    folder = newest_checkpoint(config.run)
    names = ("lora", "lora_ema") if config.lora else ("model", "ema")
    return {name: load_file(folder / f"{name}.safetensors") for name in names}


def assert_same_weights(found, expected, *, tolerance):
    for kind, weights in expected.items():
        assert found[kind].keys() == weights.keys()
        for name, weight in weights.items():
            assert found[kind][name].dtype == weight.dtype
            torch.testing.assert_close(found[kind][name], weight, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("precision", "tolerance", "draws"),
    [("fp32", 2e-5, 1), ("fp32", 2e-5, 3), ("bf16", 2e-2, 1), ("bf16-autocast", 2e-3, 1)],
)
def test_two_processes_train_what_one_trains(
    tmp_path, config, make_trainer, make_packs, processes, precision, tolerance, draws
):
    """The same samples in each step, in one process as two packs, in two as one each."""
    config = replace(config, steps=3, precision=precision, gradient_checkpointing=True, noise_draws=draws)
    one = whole_run(replace(config, run=tmp_path / "one"), make_trainer, make_packs)
    of_one = [(metrics.loss, metrics.grad_norm, metrics.samples) for metrics in one.observer.steps]
    two = replace(config, run=tmp_path / "two")
    outcomes = processes.in_ranks(shared_run, two, make_trainer, make_packs)
    for step, of_two, _ in outcomes:
        assert step == 3
        for ours, theirs in zip(of_two, of_one, strict=True):
            assert ours == pytest.approx(theirs, rel=max(tolerance, 1e-4))
    assert_same_weights(weights_of(two), weights_of(replace(config, run=tmp_path / "one")), tolerance=tolerance)


def test_a_checkpoint_of_two_ranks_goes_on_with_one_and_one_of_one_with_three(
    tmp_path, config, make_trainer, make_packs, processes
):
    """Weights, moments, averages and place: as if the number of processes had never changed."""
    config = replace(config, steps=4)
    whole_run(replace(config, run=tmp_path / "one"), make_trainer, make_packs)
    expected = weights_of(replace(config, run=tmp_path / "one"))

    part = replace(config, run=tmp_path / "two", steps=2)
    processes.in_ranks(shared_run, part, make_trainer, make_packs)
    folder = newest_checkpoint(part.run)
    assert (folder / "optimiser").is_dir()
    assert load_dit(folder, dtype=torch.float32) is not None, "it loads like any other"
    model = empty_model(config)
    optimiser = Optimiser(model, config.optimiser)
    ema = Ema(optimiser.weights, decay=config.ema)
    state = load_checkpoint(folder, model=model, optimiser=optimiser, ema=ema)
    assert set(state.data) == {"0", "1"}
    later = replace(config, run=tmp_path / "later")
    whole_run(later, make_trainer, lambda **_: make_packs(per_pack=1, position=4), model=model, optimiser=optimiser,
              ema=ema, state=state)  # fmt: skip
    assert_same_weights(weights_of(later), expected, tolerance=2e-5)

    alone = replace(config, run=tmp_path / "alone", steps=2)
    whole_run(alone, make_trainer, make_packs)
    third = replace(config, run=tmp_path / "third", steps=4, grad_accumulation=2)
    processes.in_ranks(same_packs_on_all, third, make_trainer, make_packs, newest_checkpoint(alone.run), size=3)
    assert_same_weights(weights_of(third), expected, tolerance=2e-5)


@pytest.fixture
def lora_config(config, model, tmp_path):
    """A LoRA in blocks, in the projector that all blocks share, and whole weights of both kinds beside it."""
    path = tmp_path / "base.safetensors"
    about = {"format": "loomvideo-dit", "config": model.config.to_json()}
    save_safetensors(path, entries_of(model.state_dict()), metadata=about)
    lora = LoraSettings(
        rank=3,
        alpha=6,
        modules=("blocks.*.self_attn", "blocks.1.ffn", "mllm_embedder"),
        whole=("source_patch_embedding", "blocks.0.norm3", "blocks.*.cross_attn.norm_q"),
    )
    return replace(config, starts_from=path, lora=lora, steps=4, gradient_checkpointing=True)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-5), ("bf16", 2e-2)])
def test_a_lora_is_trained_by_any_number_of_processes(
    tmp_path, lora_config, make_trainer, make_packs, processes, precision, tolerance
):
    """The frozen weights are spread over them too; its file is whole, and any number goes on from it."""
    config = replace(lora_config, precision=precision)
    runs = {name: replace(config, run=tmp_path / name) for name in ("one", "two", "later")}
    whole_run(runs["one"], make_trainer, make_packs, **parts_of(OneRank(), config))
    expected = weights_of(runs["one"])
    assert any(bool(tensor.any()) for name, tensor in expected["lora"].items() if name.endswith("lora_B.weight"))

    processes.in_ranks(shared_run, replace(runs["two"], steps=2), make_trainer, make_packs)
    half = newest_checkpoint(runs["two"].run)
    assert (half / "optimiser").is_dir()
    assert open_lora(half / "lora.safetensors", shapes_of(config.model.dit_config())).changes
    alone = parts_of(OneRank(), config, half)
    whole_run(runs["later"], make_trainer, lambda **_: make_packs(per_pack=1, position=4), **alone)
    assert_same_weights(weights_of(runs["later"]), expected, tolerance=tolerance)
    processes.in_ranks(at_half, runs["two"], make_trainer, make_packs, half)
    assert_same_weights(weights_of(runs["two"]), expected, tolerance=tolerance)


def at_half(ranks, config, make_trainer, make_packs, checkpoint):
    return shared_run(ranks, config, make_trainer, make_packs, checkpoint=checkpoint, position=4)[0]


def same_packs_on_all(ranks, config, make_trainer, make_packs, checkpoint):
    class All:
        def __init__(self):
            self.packs = make_packs(per_pack=1, position=4)

        def __next__(self):
            return next(self.packs)

    return make_trainer(config, packs=All(), ranks=ranks, **parts_of(ranks, config, checkpoint)).run().step


def measured_run(ranks, config, make_trainer, make_packs, sample_of, make_objective):
    """With measurements in between, which must leave the weights as they are."""
    parts = parts_of(ranks, config)
    objective = make_objective(parts["model"])
    held_out = [sample_of(index, seed=index) for index in range(2)]
    trainer = make_trainer(
        config, **parts, objective=objective, ranks=ranks, packs=Share(make_packs(per_pack=1), ranks.rank, ranks.size),
        validate=Validator(held_out, objective, model=parts["model"], ema=parts["ema"]),
    )  # fmt: skip
    trainer.run()
    return [metrics.losses for metrics in trainer.observer.validations]


def test_all_ranks_measure_the_averages_and_train_on_with_their_own_weights(
    tmp_path, config, make_trainer, make_packs, make_objective, sample_of, processes
):
    config = replace(config, steps=3, validation=ValidationSettings(every=1))
    one = replace(config, run=tmp_path / "one")
    whole_run(one, make_trainer, make_packs)
    two = replace(config, run=tmp_path / "two")
    first, second = processes.in_ranks(measured_run, two, make_trainer, make_packs, sample_of, make_objective)
    assert len(first) == 3
    assert first == second
    assert_same_weights(weights_of(two), weights_of(one), tolerance=2e-5)


def sized_run(ranks, config, make_trainer, make_packs):
    parts = parts_of(ranks, config)
    trainer = make_trainer(config, packs=Share(make_packs(per_pack=1), ranks.rank, ranks.size), ranks=ranks, **parts)
    trainer.run()
    tensors = checkpoint._tensors(trainer.model, trainer.optimiser, trainer.ema, trainer.adapters, rng=[{}])
    return checkpoint._size_of(tensors, trainer.optimiser)


def test_the_size_of_a_checkpoint_of_several_ranks_is_told_whole(
    config, lora_config, make_trainer, make_packs, processes
):
    runs = (replace(config, run=config.run / "whole"), replace(lora_config, lora=LoraSettings(rank=24)))
    for each in (replace(run, steps=1) for run in runs):
        sizes = processes.in_ranks(sized_run, each, make_trainer, make_packs)
        written = [
            path for path in newest_checkpoint(each.run).rglob("*.safetensors") if path.name != "rng.safetensors"
        ]
        assert sizes == [pytest.approx(sum(path.stat().st_size for path in written), rel=0.1)] * 2
        assert sizes[0] == pytest.approx(training_needs(each).checkpoint, rel=0.01)


BROKEN = (BadSample("set", "sample 7", "broken"),)


def stopped_run(ranks, config, make_trainer, make_packs):
    class Packs:
        def __init__(self):
            self.packs, self.count = make_packs(per_pack=1), 0

        def __next__(self):
            self.count += 1
            if ranks.rank == 1 and self.count == 4:  # two a step are drawn, one is kept
                os.kill(os.getpid(), signal.SIGTERM)
            return replace(next(self.packs), left_out=BROKEN if ranks.rank == 1 and self.count == 2 else ())

    step, _, observer = shared_run(ranks, config, make_trainer, make_packs, packs=Packs())
    return step, observer.notes, observer.bad_samples


def test_a_signal_to_one_rank_stops_all_after_the_same_step(config, make_trainer, make_packs, processes):
    """And what one rank left out is told by the first one."""
    outcomes = processes.in_ranks(stopped_run, config, make_trainer, make_packs)
    assert [step for step, *_ in outcomes] == [2, 2]
    _, notes, bad_samples = outcomes[0]
    assert notes == ["SIGTERM: stopped after step 2, which is saved"]
    assert bad_samples == [(1, BROKEN)]
    assert read_state(newest_checkpoint(config.run)).step == 2


def failing_run(ranks, config, make_trainer, make_packs):
    class Packs:
        def __init__(self):
            self.packs, self.count = make_packs(per_pack=1), 0

        def __next__(self):
            self.count += 1
            pack = next(self.packs)
            if ranks.rank == 1 and self.count > 4:
                raise MediaError("a disk that is gone")
            return pack

    try:
        shared_run(ranks, config, make_trainer, make_packs, packs=Packs())
    except Exception as error:
        return type(error).__name__, str(error)


def test_a_rank_without_samples_ends_the_run_for_all_and_loses_no_step(config, make_trainer, make_packs, processes):
    config = replace(config, checkpoint=CheckpointSettings(every=100))
    first, second = processes.in_ranks(failing_run, config, make_trainer, make_packs)
    assert first == ("RankError", "found rank 1, which cannot go on: found a disk that is gone")
    assert second == ("MediaError", "found a disk that is gone")
    assert read_state(newest_checkpoint(config.run)).step == 2
