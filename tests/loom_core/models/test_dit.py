"""The DiT against a slow re-derivation, and what must and must not change its output."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from loom_core.config.model import LOOMVIDEO_5B, DiTConfig
from loom_core.errors import ConfigError
from loom_core.models.dit import LoomDiT
from loom_core.types import Condition, Reference


def random_condition(config, *, length, references=(), source=None, seed=0, strength=1.0):
    generator = torch.Generator().manual_seed(seed)
    states = tuple(torch.randn(length, config.mllm_dim, generator=generator) for _ in range(config.num_layers))
    latents = [Reference(torch.randn(4, *size, generator=generator)) for size in references]
    return Condition(
        states, None if source is None else torch.randn(4, *source, generator=generator), tuple(latents), strength
    )


def run(model, latents, conditions, timestep=(700,)):
    with torch.no_grad():
        return model(latents, torch.tensor(timestep).expand(len(latents)), model.prepare(conditions, latents))


def test_equals_slow_reference(small_model, reference_dit):
    """Every part at once against numpy loops written from the published formulas."""
    config = small_model.config
    latents = torch.randn(1, 4, 2, 4, 6, generator=torch.Generator().manual_seed(1))
    condition = random_condition(config, length=5, references=[(1, 2, 4), (2, 4, 2)], source=(2, 4, 6), strength=0.7)
    expected = reference_dit(small_model.state_dict(), config, latents[0].numpy(), 613, condition)
    actual = run(small_model, latents, [condition], (613,))
    torch.testing.assert_close(actual[0], torch.from_numpy(expected).float(), atol=2e-5, rtol=1e-5)


def test_batch_of_unlike_samples_equals_one_by_one(small_model):
    """Each sample of a batch has its own context length, source and references; padding must not leak."""
    config = small_model.config
    latents = torch.randn(4, 4, 2, 4, 6, generator=torch.Generator().manual_seed(2))
    conditions = [
        random_condition(config, length=5, references=[(1, 2, 4)], source=(2, 4, 6), seed=1),
        random_condition(config, length=9, seed=2),
        random_condition(config, length=2, references=[(3, 4, 4), (1, 2, 2)], seed=3),
        random_condition(config, length=9, source=(2, 4, 6), seed=4),
    ]
    together = run(small_model, latents, conditions)
    for index, condition in enumerate(conditions):
        alone = run(small_model, latents[index : index + 1], [condition])
        torch.testing.assert_close(together[index], alone[0], atol=1e-5, rtol=1e-5)


def test_samples_of_a_batch_have_their_own_timestep(small_model):
    latents = torch.randn(2, 4, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    conditions = [random_condition(small_model.config, length=4, seed=seed, source=(1, 4, 4)) for seed in (1, 2)]
    together = run(small_model, latents, conditions, (900, 20))
    for index, timestep in enumerate((900, 20)):
        alone = run(small_model, latents[index : index + 1], conditions[index : index + 1], (timestep,))
        torch.testing.assert_close(together[index], alone[0], atol=1e-5, rtol=1e-5)


def test_prepared_conditions_are_reused_without_projecting_again(small_model):
    """The projector and the keys and values run once, however many steps follow."""
    latents = torch.randn(1, 4, 1, 4, 4)
    calls = []
    handles = [
        small_model.mllm_embedder.register_forward_hook(lambda *_: calls.append("projector")),
        small_model.blocks[1].cross_attn.k.register_forward_hook(lambda *_: calls.append("keys")),
        small_model.source_patch_embedding.register_forward_hook(lambda *_: calls.append("source")),
    ]
    try:
        with torch.no_grad():
            prepared = small_model.prepare([random_condition(small_model.config, length=4)], latents)
            for timestep in (999, 800, 500, 100):
                small_model(latents, torch.tensor([timestep]), prepared)
    finally:
        for handle in handles:
            handle.remove()
    assert calls.count("projector") == small_model.config.num_layers
    assert calls.count("keys") == 1
    assert calls.count("source") == 1


def test_absent_source_is_zero_latents_not_nothing(small_model):
    """The bias of the source embedding is added in text-to-video too."""
    latents = torch.randn(1, 4, 1, 4, 4)
    without = random_condition(small_model.config, length=4)
    zeros = replace(without, source_latents=torch.zeros(4, 1, 4, 4))
    assert torch.equal(run(small_model, latents, [without]), run(small_model, latents, [zeros]))
    bias = small_model.source_patch_embedding.bias
    saved = bias.clone()
    before = run(small_model, latents, [without])
    try:
        bias.zero_()
        assert not torch.allclose(before, run(small_model, latents, [without]), atol=1e-4)
    finally:
        bias.copy_(saved)


def test_source_strength_zero_keeps_only_the_bias_scaled(small_model):
    """Strength multiplies the whole term of a given source."""
    latents = torch.randn(1, 4, 1, 4, 4)
    full = random_condition(small_model.config, length=4, source=(1, 4, 4))
    outputs = [run(small_model, latents, [replace(full, source_strength=s)]) for s in (0.0, 0.5, 1.0)]
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-4)
    assert not torch.allclose(outputs[1], outputs[2], atol=1e-4)


def test_order_of_references_matters_and_an_index_can_be_chosen(small_model):
    latents = torch.randn(1, 4, 1, 4, 4)
    base = random_condition(small_model.config, length=4, references=[(1, 2, 4), (1, 4, 2)])
    first, second = base.references
    swapped = run(small_model, latents, [replace(base, references=(second, first))])
    straight = run(small_model, latents, [base])
    assert not torch.allclose(straight, swapped, atol=1e-4)
    named = (replace(second, temporal_index=-20), replace(first, temporal_index=-10))
    torch.testing.assert_close(run(small_model, latents, [replace(base, references=named)]), straight)


def test_modulation_never_has_a_row_a_token(small_model):
    """No tensor of the size [tokens, 6, width] is made: two rows are enough."""
    from torch.utils._python_dispatch import TorchDispatchMode

    latents = torch.randn(1, 4, 3, 8, 8)
    condition = random_condition(small_model.config, length=4, references=[(1, 4, 4)])
    tokens, width = 3 * 4 * 4 + 4, small_model.config.hidden_size
    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result._base is None:
                largest = max(largest, result.untyped_storage().nbytes() // result.element_size())
            return result

    with torch.no_grad():
        prepared = small_model.prepare([condition], latents)
        with Sizes():
            small_model(latents, torch.tensor([500]), prepared)
    assert largest < tokens * 6 * width


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source_latents": torch.zeros(4, 2, 4, 4)}, "source latents of size"),
        ({"references": (Reference(torch.zeros(4, 1, 3, 4)),)}, "even rows and columns"),
        ({"references": (Reference(torch.zeros(16, 1, 4, 4)),)}, "Wan 2.2 VAE"),
        ({"mllm_hidden_states": ()}, "one for each block"),
        ({"mllm_hidden_states": (torch.zeros(3, 7),) * 3}, "width 7"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(small_model, change, words):
    latents = torch.randn(1, 4, 1, 4, 4)
    condition = replace(random_condition(small_model.config, length=4), **change)
    with pytest.raises(ConfigError, match=words):
        small_model.prepare([condition], latents)


def test_latents_that_do_not_fit_are_refused(small_model):
    condition = random_condition(small_model.config, length=4)
    with pytest.raises(ConfigError, match="even H and W"):
        small_model.prepare([condition], torch.zeros(1, 4, 1, 5, 4))
    with pytest.raises(ConfigError, match="one condition a sample"):
        small_model.prepare([condition], torch.zeros(2, 4, 1, 4, 4))


def test_models_without_the_additions_say_so(small_config):
    latents = torch.zeros(1, 4, 1, 4, 4)
    stage_1 = LoomDiT(replace(small_config, has_source=False)).requires_grad_(False)
    with pytest.raises(ConfigError, match="without a source embedding"):
        stage_1.prepare([random_condition(small_config, length=3, source=(1, 4, 4))], latents)
    assert stage_1.prepare([random_condition(small_config, length=3)], latents).source is None
    plain = LoomDiT(replace(small_config, has_projector=False))
    with pytest.raises(ConfigError, match="without the projector"):
        plain.prepare([random_condition(small_config, length=3)], latents)


def test_meta_model_of_the_released_size_holds_no_memory():
    model = LoomDiT(LOOMVIDEO_5B, device="meta", dtype=torch.bfloat16)
    assert all(parameter.is_meta for parameter in model.parameters())
    # Source: golden weights/loomvideo_5b_keys.json, less the text embedder that nothing reads
    dead = 3072 * 4096 + 3072 + 3072 * 3072 + 3072
    assert sum(parameter.numel() for parameter in model.parameters()) == 5_088_480_448 - dead


@pytest.mark.parametrize("wrong", [{"num_heads": 3}, {"head_dim": 23, "hidden_size": 46}, {"rope_precision": "fp8"}])
def test_sizes_that_do_not_fit_are_refused(small_config, wrong):
    with pytest.raises(ConfigError):
        replace(small_config, **wrong)


def test_configuration_round_trips_through_json(small_config):
    import json

    assert DiTConfig.from_mapping(json.loads(small_config.to_json())) == small_config
    with pytest.raises(ConfigError, match="unknown model settings"):
        DiTConfig.from_mapping({**json.loads(small_config.to_json()), "depth": 3})


def test_the_source_scale_is_not_rounded_to_bfloat16():
    """0.999 is 1 in bfloat16; a source of 128 would come out a half too strong."""
    from loom_core.models.source import add_source

    source = torch.full((1, 1, 1), 128.0, dtype=torch.bfloat16)
    added = add_source(torch.zeros_like(source), source, torch.tensor([996]))
    assert added.item() == torch.tensor(128 * 0.996).bfloat16().item()
    assert added.item() != 128.0


def test_raw_conditions_and_the_smaller_cache_give_the_same(small_model):
    """As in training, without `prepare`; and with projected contexts kept in place of keys and values."""
    latents = torch.randn(2, 4, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    conditions = [
        random_condition(small_model.config, length=4, source=(1, 4, 4)),
        random_condition(small_model.config, length=6, references=[(1, 2, 2)], seed=1),
    ]
    timestep = torch.tensor([700, 300])
    with torch.no_grad():
        expected = small_model(latents, timestep, small_model.prepare(conditions, latents))
        smaller = small_model.prepare(conditions, latents, keys_values=False)
        torch.testing.assert_close(small_model(latents, timestep, smaller), expected)
        torch.testing.assert_close(small_model(latents, timestep, conditions), expected)


def test_in_training_every_weight_is_used_inside_its_own_block(small_model):
    """What wraps a block's forward (sharding, checkpointing) sees all its weights used there and nowhere else."""
    inside, outside = [], []
    state = {"depth": 0}
    handles = []
    for block in small_model.blocks:
        handles.append(block.register_forward_pre_hook(lambda *_: state.__setitem__("depth", 1)))
        handles.append(block.register_forward_hook(lambda *_: state.__setitem__("depth", 0)))
        for name, part in block.named_modules():
            if name.endswith((".k", ".v", ".norm_k")):
                handles.append(
                    part.register_forward_hook(lambda *_: (inside if state["depth"] else outside).append(1) and None)
                )
    latents = torch.zeros(1, 4, 1, 4, 4)
    try:
        with torch.no_grad():
            small_model(latents, torch.tensor([500]), [random_condition(small_model.config, length=4)])
    finally:
        for handle in handles:
            handle.remove()
    assert len(inside) == 6 * small_model.config.num_layers
    assert outside == []


def test_a_curve_and_a_mask_scale_the_source_in_the_whole_model(small_model):
    """A curve's factor at the step's sigma, and a mask of one number, do what a strength of that size does."""
    latents = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(6))
    plain = random_condition(small_model.config, length=3, source=(2, 4, 4))
    expected = run(small_model, latents, [replace(plain, source_strength=0.25)], (500,))
    curve = replace(plain, source_curve=((1.0, 1.0), (0.5, 0.5)), source_mask=torch.full((2, 2, 2), 0.5))
    torch.testing.assert_close(run(small_model, latents, [curve], (500,)), expected)
    assert not torch.allclose(run(small_model, latents, [curve], (1000,)), run(small_model, latents, [curve], (400,)))
    neutral = replace(plain, source_curve=((1.0, 1.0),), source_mask=torch.ones(2, 2, 2))
    assert torch.equal(run(small_model, latents, [neutral]), run(small_model, latents, [plain]))


def test_a_host_can_run_the_blocks_one_by_one_with_an_attention_of_its_own(small_model):
    """Contexts projected beforehand, an attention object for this pass alone, and the blocks in the host's own loop."""
    attended = []

    class Counting:
        def __call__(self, queries, keys, values, *, num_heads, mask=None):
            attended.append(keys.shape[1])
            return small_model.attention(queries, keys, values, num_heads=num_heads, mask=mask)

    latents, timestep = torch.randn(1, 4, 1, 4, 4, generator=torch.Generator().manual_seed(8)), torch.tensor([613])
    condition = random_condition(small_model.config, length=5, references=[(1, 2, 2)], source=(1, 4, 4))
    with torch.no_grad():
        contexts = [small_model.mllm_embedder(states[None]) for states in condition.mllm_hidden_states]
        bare = replace(condition, mllm_hidden_states=())
        prepared = small_model.prepare([bare], latents, contexts=contexts)
        tokens, inputs = small_model.embed(latents, timestep, prepared, attention=Counting())
        for block, context in zip(small_model.blocks, contexts, strict=True):
            tokens = block(tokens, context, inputs)
        velocity = small_model.predict(tokens, inputs.time_embedding, prepared.shape)
    torch.testing.assert_close(velocity, run(small_model, latents, [condition], (613,)))
    assert attended == [5, 5] * small_model.config.num_layers  # 4 target tokens and a reference; 5 context tokens


def test_of_references_the_last_block_makes_keys_and_values_alone(small_model, small_config):
    """Where it is the last to see them; what the model predicts is as if they had gone through all of it."""
    latents = torch.randn(2, 4, 2, 4, 4, generator=torch.Generator().manual_seed(9))
    conditions = [
        random_condition(small_config, length=4, references=[(1, 4, 4), (1, 2, 2)], source=(2, 4, 4)),
        random_condition(small_config, length=5, references=[(1, 2, 2)], seed=1),
    ]
    seen = {}
    last = small_model.blocks[-1]
    parts = {name: part for name, part in last.named_modules() if isinstance(part, torch.nn.Linear)}
    handles = [
        part.register_forward_hook(lambda _part, args, _result, name=name: seen.__setitem__(name, args[0].shape[1]))
        for name, part in parts.items()
    ]
    try:
        velocity = run(small_model, latents, conditions, (500,))
    finally:
        for handle in handles:
            handle.remove()
    targets = dict.fromkeys(("self_attn.q", "self_attn.o", "cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2"), 8)
    context = {"cross_attn.k": 5, "cross_attn.v": 5}
    assert seen == {**targets, **context, "self_attn.k": 13, "self_attn.v": 13}
    with torch.no_grad():
        prepared = small_model.prepare(conditions, latents)
        tokens, inputs = small_model.embed(latents, torch.tensor([500, 500]), prepared)
        for block, context in zip(small_model.blocks, prepared.contexts, strict=True):
            tokens = block(tokens, context, inputs)
        whole = small_model.predict(tokens, inputs.time_embedding, prepared.shape)
    assert (velocity - whole).norm() / whole.norm() <= 1e-6


def test_the_large_matrices_can_have_a_dtype_of_their_own(small_config):
    model = LoomDiT(small_config, device="meta", dtype=torch.float32, block_dtype=torch.bfloat16)
    narrow = {name for name, parameter in model.named_parameters() if parameter.dtype is torch.bfloat16}
    assert "blocks.0.ffn.0.weight" in narrow and "blocks.2.cross_attn.k.bias" in narrow
    assert all(re.match(r"blocks\.\d+\.(self_attn\.[qkvo]|cross_attn\.[qkvo]|ffn\.[02])\.", name) for name in narrow)
    assert len(narrow) == 20 * small_config.num_layers
