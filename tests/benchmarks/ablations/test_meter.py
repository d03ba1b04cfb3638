"""The formula against torch's counter, and what counts when."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from benchmarks.ablations.meter import WITH_GRADIENTS, Meter, UncountedPacks, pack_flops
from benchmarks.flops import count_flops
from loom_core.data.dropout import Dropped


@pytest.fixture
def pack(objective, samples):
    """Latents, timesteps and conditions of a pack in which each sample stands at two noise levels."""
    conditions = objective.conditions(samples, [Dropped.NOTHING] * len(samples))
    latents = [sample.target for sample in samples for _ in range(2)]
    timestep = torch.linspace(100, 900, len(latents))
    return latents, timestep, [condition for condition in conditions for _ in range(2)]


def test_formula_equals_the_counter(model, pack):
    latents, timestep, conditions = pack
    assert count_flops(lambda: model(latents, timestep, conditions)) == pack_flops(model.config, latents, conditions)


def test_contexts_of_one_condition_count_once(model, pack):
    latents, timestep, conditions = pack
    apart = [type(condition)(**vars(condition)) for condition in conditions]
    counted = count_flops(lambda: model(latents, timestep, apart))
    assert counted == pack_flops(model.config, latents, apart) > pack_flops(model.config, latents, conditions)


def test_a_pass_with_gradients_is_about_three(objective, samples):
    """What needs no gradient, such as the latents themselves, makes it a little less."""
    aten = torch.ops.aten

    def forward(query, key, value, *_, **__):
        return sdpa_flop_count(query, key, value)

    def backward(grad, query, key, value, *_, **__):
        return sdpa_backward_flop_count(grad, query, key, value)

    formulas = {
        aten._scaled_dot_product_flash_attention_for_cpu: forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
    meter = Meter()
    meter.attach(objective.model)
    meter.start()
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        objective(samples).sum().backward()
    assert meter.flops == pytest.approx(counter.get_total_flops(), rel=0.06)


def test_what_counts(model, pack):
    latents, timestep, conditions = pack
    forward = pack_flops(model.config, latents, conditions)
    meter = Meter()
    meter.attach(model)
    model(latents, timestep, conditions)
    assert (meter.flops, meter.tokens, meter.passes) == (0, 0, 0)  # not started
    meter.start()
    with torch.no_grad():
        model(latents, timestep, conditions)
    assert meter.flops == forward
    model(latents, timestep, conditions)
    assert meter.flops == (1 + WITH_GRADIENTS) * forward
    with meter.paused():
        model(latents, timestep, conditions)
    meter.stop()
    model(latents, timestep, conditions)
    assert meter.flops == (1 + WITH_GRADIENTS) * forward
    assert meter.passes == 2 * len(latents)
    assert meter.tokens == 2 * 2 * (6 + (6 + 12) + (12 + 12) + 6)  # edit, its references, a clip with two, a caption


def test_time_is_that_while_it_counts():
    now = [0.0]

    def pass_time(seconds):
        now[0] += seconds

    meter = Meter(lambda: now[0])
    pass_time(1)
    meter.start()
    pass_time(10)
    with meter.paused():
        pass_time(100)
    pass_time(20)
    assert meter.seconds == 30
    meter.stop()
    pass_time(1000)
    with meter.paused():
        pass_time(1000)
    assert meter.seconds == 30


def test_packs_do_not_count():
    meter, seen = Meter(), []

    class Packs:
        def __next__(self):
            seen.append(meter._is_on)
            return "a pack"

    meter.start()
    assert next(iter(UncountedPacks(Packs(), meter))) == "a pack"
    assert seen == [False] and meter._is_on
