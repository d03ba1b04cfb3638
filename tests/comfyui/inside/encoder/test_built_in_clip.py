"""The built-in encoder in the host's own nodes: a CLIP like any other, or one clear sentence."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def clip(loading):
    return loading.load_encoder("built-in: loom-tiny")


@pytest.fixture
def host():
    """The host's module of nodes."""
    import nodes

    return nodes


def test_plain_text_encode(clip, host, part):
    (conditioning,) = host.CLIPTextEncode().encode(clip, "a boat (red:1.2)")
    ((tensor, values),) = conditioning
    assert tensor.shape[2] == 128
    assert tensor.isfinite().all()
    assert values["attention_mask"].shape == tensor.shape[:2]
    config = part("loom_core.bundle").find_model().dit_config()
    with pytest.raises(part("loom_core.errors").ConfigError, match="LoomVideo Deepstack Encode"):
        part("nodes.adapter.sampling.checks").check_conditioning(conditioning, config=config, name="positive")


def test_an_empty_text(clip, host):
    assert host.CLIPTextEncode().encode(clip, "")[0][0][0].isfinite().all()


def test_another_layer_set(clip, host, read, request_of):
    """Clip skip is a setting of the CLIP that reads; it says nothing to us."""
    (skipping,) = host.CLIPSetLastLayer().set_last_layer(clip, -2)
    plain, skipped = (
        host.CLIPTextEncode().encode(clip, "a")[0][0][0],
        host.CLIPTextEncode().encode(skipping, "a")[0][0][0],
    )
    assert not torch.equal(plain, skipped)
    found, expected = read(skipping, request_of()), read(clip, request_of())
    assert all(torch.equal(found.states[branch], states) for branch, states in expected.states.items())


def test_words(clip):
    ids = clip.generate(clip.tokenize("a boat"), do_sample=False, max_length=4)
    assert 1 <= len(ids) <= 4
    assert isinstance(clip.decode(ids), str)


def test_untokenised(clip):
    (pairs,) = clip.tokenize("a boat").values()
    assert "".join(text for _, text in clip.tokenizer.untokenize(pairs[0])).count("a boat") == 1


def test_word_numbers_where_a_node_asks_for_them(clip):
    (rows,) = clip.tokenize("a", return_word_ids=True).values()
    assert {entry[1:] for entry in rows[0]} == {(1.0, 0)}


@pytest.mark.parametrize("pictures", [{"images": [torch.zeros(1, 32, 32, 3)]}, {"image": torch.zeros(1, 32, 32, 3)}])
def test_pictures_in_other_nodes(clip, part, pictures):
    with pytest.raises(part("loom_core.errors").ConfigError, match="LoomVideo Deepstack Encode"):
        clip.tokenize("what is this?", **pictures)


def test_saved_weights_are_those_of_the_file(clip, part):
    from safetensors.torch import load_file

    expected = load_file(part("loom_core.bundle").BUILT_IN / "mllm" / "model.safetensors")
    found = clip.state_dict_for_saving()
    weights = {name: value for name, value in found.items() if "logit_scale" not in name}
    assert len(weights) == len(expected)
    assert sum(value.numel() for value in weights.values()) == sum(value.numel() for value in expected.values())


def test_the_host_can_load_it_once_more(clip, read, request_of):
    """For its plain memory management, and for another GPU."""
    twin = clip.clone()
    twin.patcher = clip.patcher.clone(force_deepcopy=True)
    twin.cond_stage_model = twin.patcher.model
    assert twin.cond_stage_model is not clip.cond_stage_model
    found, expected = read(twin, request_of()), read(clip, request_of())
    assert all(torch.equal(found.states[branch], states) for branch, states in expected.states.items())


def test_a_copy_that_the_host_made_for_another_device(clip, read, edit_of):
    """Select CLIP Device gives a CLIP another patcher, and leaves the model beside it as it was."""
    twin = clip.clone()
    twin.patcher = clip.patcher.clone(force_deepcopy=True)
    assert twin.patcher.model is not twin.cond_stage_model
    found, expected = read(twin, edit_of()), read(clip, edit_of())
    assert all(torch.equal(found.states[branch], states) for branch, states in expected.states.items())


def test_the_host_loads_and_unloads_it(clip, read, edit_of):
    from comfy import model_management

    expected = read(clip, edit_of())
    assert any(loaded.model.is_clone(clip.patcher) for loaded in model_management.current_loaded_models)
    model_management.unload_all_models()
    assert not any(loaded.model.is_clone(clip.patcher) for loaded in model_management.current_loaded_models)
    found = read(clip, edit_of())
    assert all(torch.equal(found.states[branch], states) for branch, states in expected.states.items())


def test_its_weights_stay_in_the_precision_of_the_file(clip):
    weights = clip.cond_stage_model.state_dict()
    narrow = [name for name, value in weights.items() if value.dtype == torch.bfloat16]
    wide = {name for name, value in weights.items() if value.dtype != torch.bfloat16}
    assert len(narrow) > 100
    assert {name.rpartition("visual.")[2] for name in wide if "visual" in name} == {"pos_embed.weight"}


@pytest.fixture
def hooked(clip):
    """The CLIP with a hook that changes a weight, as Set CLIP Hooks makes one."""
    import comfy.hooks
    from comfy_extras.nodes_hooks import SetClipHooks

    name = next(name for name in clip.patcher.model.state_dict() if name.endswith("layers.3.mlp.up_proj.weight"))
    weight = clip.patcher.model.state_dict()[name]
    group = comfy.hooks.HookGroup()
    hook = comfy.hooks.WeightHook(strength_model=1.0, strength_clip=1.0)
    group.add(hook)
    hook.weights_clip, hook.need_weight_init = {name: (torch.ones_like(weight),)}, False

    def make(*, apply_to_conds=False, schedule_clip=False):
        return SetClipHooks().apply_hooks(clip, schedule_clip, apply_to_conds, hooks=group)[0], group

    return make


def test_hooks_of_the_host_take_part(part, clip, hooked, request_of, read, cache):
    """And what was read with them is not kept for others."""
    patched, _ = hooked()
    plain, changed, again = (read(one, request_of(), cache=cache) for one in (clip, patched, clip))
    branch = next(iter(plain.states))
    assert not torch.equal(plain.states[branch], changed.states[branch])
    assert torch.equal(plain.states[branch], again.states[branch])
    assert (
        part("nodes.adapter.encoder.identity").identity_of(part("nodes.adapter.encoder.qwen").find_qwen(patched))
        is None
    )


def test_hooks_travel_with_the_conditioning(part, clip, hooked):
    node = part("nodes.conditioning").LoomVideoDeepstackEncode
    patched, group = hooked(apply_to_conds=True)
    for conditioning in node.execute(patched, "a", task="auto", layout="official").args:
        assert conditioning[0][1]["hooks"] is group
    for conditioning in node.execute(clip, "a", task="auto", layout="official").args:
        assert "hooks" not in conditioning[0][1]


def test_a_schedule_of_hooks_is_told(hooked, read, request_of):
    assert "not followed" in read(hooked(schedule_clip=True)[0], request_of()).summary
    assert "not followed" not in read(hooked()[0], request_of()).summary
