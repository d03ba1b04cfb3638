"""Each variant differs from the shipped model in the way that it says, and in no other."""

from dataclasses import replace

import pytest
import torch

from benchmarks.ablations import changes
from benchmarks.ablations.changes import ChangedObjective, ChangedSampler
from benchmarks.ablations.comparisons import VARIANTS
from loom_core.bundle import find_model
from loom_core.compute import Compute
from loom_core.config.presets import get_preset
from loom_core.data.dropout import Dropped
from loom_core.data.world.samples import WorldSettings
from loom_core.data.world.samples import make_sample as make_world_sample
from loom_core.errors import ConfigError
from loom_core.geometry import LatentShape
from loom_core.models.rope import rope_table


def seen_by_blocks(model, objective, sample):
    """(token counts of the sequence, rope table, contexts of each block) in a pass of one sample."""
    seen = {"tokens": [], "contexts": [], "states": []}
    handles = [model.mllm_embedder.register_forward_pre_hook(lambda _, args: seen["states"].append(args[0][0]))]

    def see_block(_, args):
        tokens, context, inputs = args
        seen["tokens"].append(tokens.shape[1])
        seen["contexts"].append(context)
        seen["rope"] = inputs.rope

    handles += [block.register_forward_pre_hook(see_block) for block in model.blocks]
    with torch.no_grad():
        objective.at_levels(sample, torch.tensor([0.3]))
    for handle in handles:
        handle.remove()
    return seen


def velocities_of(objective, sample):
    """What the model predicts at two noise levels."""
    conditions = objective.conditions([sample], [Dropped.NOTHING]) * 2
    with torch.no_grad():
        return torch.stack(objective.velocities([sample.target] * 2, torch.tensor([300.0, 800.0]), conditions))


def test_unchanged_conditions_give_the_shipped_losses_to_the_bit(objective, samples):
    mine = ChangedObjective(objective, changes.as_shipped)
    shipped, same = objective(samples), mine(samples)
    assert torch.equal(shipped, same)
    shipped.sum().backward()
    expected = {name: weight.grad.clone() for name, weight in objective.model.named_parameters()}
    objective.model.zero_grad()
    same.sum().backward()
    assert all(torch.equal(weight.grad, expected[name]) for name, weight in objective.model.named_parameters())


def test_prompts_may_be_asked_elsewhere(objective, samples):
    asked = []

    def read(contents):
        asked.extend(contents)
        return objective.read_prompts(contents)

    mine = ChangedObjective(objective, changes.as_shipped, read_prompts=read)
    assert torch.equal(mine(samples), objective(samples))
    assert len(asked) == len(samples)


def test_every_block_reads_the_last_layer(model, objective, make_sample):
    shipped = seen_by_blocks(model, objective, make_sample())["states"]
    changed = seen_by_blocks(model, ChangedObjective(objective, changes.last_layer_only), make_sample())["states"]
    assert not torch.equal(shipped[0], shipped[1])
    assert len(changed) == len(model.blocks)
    assert all(torch.equal(states, shipped[-1]) for states in changed)


def test_the_source_becomes_tokens_and_nothing_is_added(model, objective, make_sample):
    mine, sample = ChangedObjective(objective, changes.source_as_tokens), make_sample()
    own = sample.target[0].numel() // 4
    added = []
    handle = model.source_patch_embedding.register_forward_pre_hook(lambda _, args: added.append(args[0]))
    seen = seen_by_blocks(model, mine, sample)
    handle.remove()
    assert seen["tokens"] == [2 * own] * len(model.blocks)
    assert not torch.cat(added).any()
    table = rope_table(LatentShape(1, 4, 6), model.config.head_dim, temporal_index=-10)
    assert torch.equal(seen["rope"].cos[:, own:], table.cos)
    other = replace(sample, source=sample.source + 1)
    assert not torch.equal(velocities_of(mine, sample), velocities_of(mine, other))  # it is not lost


def test_a_clip_is_not_concatenated(objective, make_sample):
    with pytest.raises(ConfigError, match="2 latent frames"):
        ChangedObjective(objective, changes.source_as_tokens)([make_sample(task="edit-video", frames=2)])


def test_without_a_source_in_the_dit_it_says_nothing(model, objective, make_sample):
    mine, sample = ChangedObjective(objective, changes.source_to_mllm_only), make_sample()
    other = replace(sample, source=sample.source + 1)
    assert torch.equal(velocities_of(mine, sample), velocities_of(mine, other))
    assert not torch.equal(velocities_of(objective, sample), velocities_of(objective, other))
    assert seen_by_blocks(model, mine, sample)["tokens"] == seen_by_blocks(model, objective, sample)["tokens"]


@pytest.mark.parametrize(
    ("name", "indices"),
    [
        ("references_before", (-10, -20)),
        ("references_after", (10, 20)),
        ("references_inside", (1, 2)),
        ("references_at_zero", (0, 0)),
    ],
)
def test_references_stand_where_they_should(model, objective, make_sample, name, indices):
    mine = ChangedObjective(objective, getattr(changes, name))
    sample = make_sample(task="reference-to-video", frames=2)
    rope, own = seen_by_blocks(model, mine, sample)["rope"], sample.target[0].numel() // 4
    shape = LatentShape(1, 4, 6)
    tables = [rope_table(shape, model.config.head_dim, temporal_index=index) for index in indices]
    assert torch.equal(rope.cos[:, own:], torch.cat([table.cos for table in tables], dim=1))
    assert torch.equal(rope.sin[:, own:], torch.cat([table.sin for table in tables], dim=1))
    is_shipped = torch.equal(velocities_of(mine, sample), velocities_of(objective, sample))
    assert is_shipped == (name == "references_before")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_caption_has_nothing_but_its_states_to_change(objective, samples, name):
    caption = objective.conditions(samples[-1:], [Dropped.NOTHING])[0]
    changed = VARIANTS[name].change(caption)
    assert replace(changed, mllm_hidden_states=()) == replace(caption, mllm_hidden_states=())
    is_same = all(map(torch.equal, changed.mllm_hidden_states, caption.mllm_hidden_states))
    assert is_same == (name != "last-layer")


def test_sampling_is_changed_likewise():
    """All branches of a real sample, through the built-in model."""
    sample = make_world_sample(0, WorldSettings(tasks={"edit-image": 1.0})).sample

    def conditions(change):
        sampler = ChangedSampler(find_model(), compute=Compute(), preset=get_preset("tiny"), change=change)
        return sampler._prepare(0, sample, 0).conditions

    shipped, changed = conditions(changes.as_shipped), conditions(changes.source_to_mllm_only)
    assert shipped.keys() == changed.keys()
    assert any(one.source_latents is not None for one in shipped.values())
    assert all(one.source_latents is None for one in changed.values())
    states = conditions(changes.last_layer_only)
    for branch, one in states.items():
        assert all(torch.equal(layer, shipped[branch].mllm_hidden_states[-1]) for layer in one.mllm_hidden_states)
