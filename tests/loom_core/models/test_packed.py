"""A pack equals its samples one by one, and no sample sees another."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest
import torch

from loom_core.errors import ConfigError
from loom_core.models import packed as subject
from loom_core.models.dit import LoomDiT
from loom_core.types import Condition, Reference

SIZES = ((2, 4, 6), (1, 4, 4), (1, 4, 4), (3, 2, 4), (1, 4, 4))
REFERENCES = (((1, 2, 4), (2, 4, 2)), (), ((1, 4, 4),), (), ())
CONTEXTS = (5, 9, 3, 7, 9)
HAS_SOURCE = (True, True, False, True, False)


def random_pack(config, seed=0):
    """Unlike samples, two of which have equal lengths; each with values of its own."""
    generator = torch.Generator().manual_seed(seed)

    def random(*size):
        return torch.randn(*size, generator=generator)

    latents = [random(4, *size) for size in SIZES]
    conditions = [
        Condition(
            tuple(random(length, config.mllm_dim) for _ in range(config.num_layers)),
            random(4, *size) if has_source else None,
            tuple(Reference(random(4, *shape)) for shape in shapes),
        )
        for size, shapes, length, has_source in zip(SIZES, REFERENCES, CONTEXTS, HAS_SOURCE, strict=True)
    ]
    conditions[0] = replace(
        conditions[0], source_strength=0.7, source_curve=((1.0, 0.5), (0.2, 1.5)), source_mask=random(2, 2, 3)
    )
    return latents, torch.tensor([613.25, 20.0, 999.0, 480.5, 251.0]), conditions


@pytest.fixture
def model(small_model, small_config):
    """The small model with gradients, apart from the one that other tests share."""
    made = LoomDiT(small_config)
    made.load_state_dict(small_model.state_dict())
    return made


def one_by_one(model, latents, timestep, conditions):
    return [
        model(sample[None], level[None], [condition])[0]
        for sample, level, condition in zip(latents, timestep, conditions, strict=True)
    ]


def loss_of(velocities):
    """A number that weighs every element differently."""
    return sum((velocity * torch.linspace(-1, 1, velocity.numel()).view_as(velocity)).sum() for velocity in velocities)


def gradients(model, velocities):
    model.zero_grad()
    loss_of(velocities).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_equals_the_samples_one_by_one(small_model):
    pack = random_pack(small_model.config)
    together = small_model(*pack)
    for velocity, latents, alone in zip(together, pack[0], one_by_one(small_model, *pack), strict=True):
        assert velocity.shape == latents.shape
        torch.testing.assert_close(velocity, alone, atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_the_samples_one_by_one(model):
    pack = random_pack(model.config)
    together, apart = gradients(model, model(*pack)), gradients(model, one_by_one(model, *pack))
    for name, gradient in together.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(gradient, apart[name], atol=1e-4, rtol=1e-4, msg=name)


def test_no_sample_sees_another(small_model):
    """Changing all that belongs to one sample leaves the others' numbers exactly as they were."""
    latents, timestep, conditions = random_pack(small_model.config)
    before = small_model(latents, timestep, conditions)
    others = random_pack(small_model.config, seed=9)
    for changed in range(len(latents)):
        mixed = [
            [other if place == changed else own for place, (own, other) in enumerate(zip(mine, theirs, strict=True))]
            for mine, theirs in zip(
                (latents, timestep + 0.0, conditions), (others[0], timestep * 0.5, others[2]), strict=True
            )
        ]
        after = small_model(mixed[0], torch.stack(mixed[1]), mixed[2])
        equal = [torch.equal(*pair) for pair in zip(before, after, strict=True)]
        assert equal == [place != changed for place in range(len(latents))]


def test_order_does_not_matter(small_model):
    latents, timestep, conditions = random_pack(small_model.config)
    before = small_model(latents, timestep, conditions)
    order = [3, 0, 4, 2, 1]
    after = small_model([latents[i] for i in order], timestep[order], [conditions[i] for i in order])
    for place, index in enumerate(order):
        torch.testing.assert_close(after[place], before[index], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "autocast", "bfloat16"])
def test_checkpointing_changes_nothing(model, precision):
    pack = random_pack(model.config)
    if precision == "bfloat16":
        model.bfloat16()
        pack = ([sample.bfloat16() for sample in pack[0]], *pack[1:])
    results = []
    for checkpointing in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
            velocities = model(*pack, checkpointing=checkpointing)
        results.append((torch.stack([velocity.float().sum() for velocity in velocities]), gradients(model, velocities)))
    assert torch.equal(results[0][0], results[1][0])
    for name, gradient in results[0][1].items():
        assert torch.equal(gradient, results[1][1][name]), name


def test_what_is_drawn_in_a_block_is_drawn_again(model):
    """A change of a layer may leave inputs out, other ones each time; the backward pass has to leave out the same."""
    pack = random_pack(model.config)
    model.blocks[0].ffn.append(torch.nn.Dropout(0.5))
    results = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        results.append(gradients(model, model(*pack, checkpointing=checkpointing)))
    assert all(torch.equal(gradient, results[1][name]) for name, gradient in results[0].items())


def test_checkpointing_computes_blocks_again(model):
    calls = []
    model.blocks[1].ffn.register_forward_hook(lambda *_: calls.append("ffn"))
    model.mllm_embedder.register_forward_hook(lambda *_: calls.append("projector"))
    loss_of(model(*random_pack(model.config), checkpointing=True)).backward()
    assert calls.count("ffn") == 2
    assert calls.count("projector") == 2 * len(model.blocks)


def test_checkpointing_keeps_no_second_copy_of_the_states(model):
    """Those of all samples as one are made in each block, and anew in the backward pass."""
    pack = random_pack(model.config)
    shape = (1, sum(CONTEXTS), model.config.mllm_dim)

    def alive():
        gc.collect()
        return sum(type(entry) is torch.Tensor and entry.shape == shape for entry in gc.get_objects())

    seen = []
    model.mllm_embedder.register_forward_pre_hook(lambda *_: seen.append(alive()))
    velocities = model(*pack, checkpointing=True)
    assert alive() == 0
    assert seen == [1] * model.config.num_layers, "one at a time"
    loss_of(velocities).backward()
    assert alive() == 0


def test_autocast_stays_close_to_float32(model):
    """Parameters keep float32 gradients; the error is that of bfloat16."""
    pack = random_pack(model.config)
    exact = model(*pack)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(*pack)
    gap = sum((a - b.float()).square().sum() for a, b in zip(exact, rounded, strict=True))
    assert 0 < gap / sum(a.square().sum() for a in exact) < 2e-2**2
    assert all(gradient.dtype == torch.float32 for gradient in gradients(model, rounded).values())


def test_a_model_without_a_source_embedding(small_config):
    model = LoomDiT(replace(small_config, has_source=False)).requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    latents, timestep, conditions = random_pack(small_config)
    with pytest.raises(ConfigError, match="source embedding"):
        model(latents, timestep, conditions)
    plain = [replace(condition, source_latents=None) for condition in conditions]
    for pair in zip(model(latents, timestep, plain), one_by_one(model, latents, timestep, plain), strict=True):
        torch.testing.assert_close(*pair, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda condition: replace(condition, source_latents=torch.zeros(4, 1, 2, 2)), "source latents of size"),
        (lambda condition: replace(condition, references=(Reference(torch.zeros(4, 1, 3, 4)),)), "reference latents"),
        (lambda condition: replace(condition, mllm_hidden_states=condition.mllm_hidden_states[1:]), "MLLM states"),
        (lambda condition: replace(condition, source_mask=torch.zeros(1, 1, 1)), "source mask"),
    ],
)
def test_what_does_not_fit_is_refused(small_model, change, message):
    latents, timestep, conditions = random_pack(small_model.config)
    with pytest.raises(ConfigError, match=message):
        small_model(latents, timestep, [change(conditions[0]), *conditions[1:]])


def test_a_rounded_time_reaches_the_time_embedding_alone(small_model, monkeypatch):
    """The official model is given the exact noise level beside it, to scale the source with."""
    latents, timestep, conditions = random_pack(small_model.config)
    scales = []
    factor = subject.source_factor
    monkeypatch.setattr(subject, "source_factor", lambda *args: scales.append(args[1].item()) or factor(*args))
    embedded = []
    sinusoid = subject.sinusoidal_embedding
    monkeypatch.setattr(
        subject, "sinusoidal_embedding", lambda time, dim: embedded.append(sorted(time.tolist())) or sinusoid(time, dim)
    )
    with torch.no_grad():
        for rounded in (False, True):
            small_model(latents, timestep, conditions, checkpointing=False, rounded_time=rounded)
    exact = sorted(timestep.tolist())
    assert sorted(scales[:5]) == sorted(scales[5:]) == exact
    assert embedded == [exact, sorted(timestep.bfloat16().tolist())]
    assert embedded[0] != embedded[1]


def test_one_sample_at_several_levels_has_its_context_read_once(model, monkeypatch):
    latents, timestep, conditions = random_pack(model.config)
    latents = [sample for sample in latents for _ in range(3)]
    conditions = [condition for condition in conditions for _ in range(3)]
    timestep = (timestep[:, None] / torch.tensor([1.0, 2.0, 5.0])).flatten()
    read = []
    project = model.mllm_embedder.forward
    monkeypatch.setattr(model.mllm_embedder, "forward", lambda states: read.append(states.shape[1]) or project(states))
    together = subject.forward_pack(model, latents, timestep, conditions)
    assert read == [sum(CONTEXTS)] * model.config.num_layers
    read.clear()
    alone = one_by_one(model, latents, timestep, conditions)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
