"""A LoRA on a whole model: without effect at first, saved in the host's names, read back, switched off."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from loom_core.config.training import LoraSettings
from loom_core.errors import WeightsError
from loom_core.lora.adapters import Adapters
from loom_core.lora.merge import merge_lora
from loom_core.types import Condition
from loom_core.weights.loading import load_dit
from loom_core.weights.saving import entries_of, save_safetensors

SETTINGS = LoraSettings(
    rank=3, alpha=6, modules=("blocks.*.self_attn", "blocks.1.ffn.0"),
    whole=("source_patch_embedding", "blocks.0.norm3", "head.modulation", "mllm_embedder.linear_2"),
)  # fmt: skip


def adapted(model, settings=SETTINGS):
    return Adapters(model, settings, generator=torch.Generator().manual_seed(5), base="abc")


def stir(adapters):
    """Give every trained number another value."""
    generator = torch.Generator().manual_seed(6)
    for parameter in adapters.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)


def test_it_begins_without_effect_and_can_be_switched_off(model, velocity):
    before = velocity(model)
    adapters = adapted(model)
    assert torch.equal(velocity(model), before)
    stir(adapters)
    after = velocity(model)
    assert not torch.allclose(after, before, atol=0.01)
    with pytest.raises(KeyError), adapters.disabled():
        assert torch.equal(velocity(model), before)
        raise KeyError
    assert torch.equal(velocity(model), after)


def test_inputs_left_out_are_the_same_when_blocks_are_computed_again(model):
    """Of one sample at several noise levels too, whose context is read once."""
    adapters = adapted(model, replace(SETTINGS, dropout=0.5, modules=(*SETTINGS.modules, "mllm_embedder.linear_1")))
    stir(adapters)
    model.train()
    generator = torch.Generator().manual_seed(3)
    latents = [torch.randn(4, 1, 4, 4, generator=generator)] * 3
    condition = Condition(mllm_hidden_states=tuple(torch.randn(5, 8, generator=generator) for _ in range(2)))
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model.zero_grad()
        velocities = model(latents, torch.tensor([900.0, 500.0, 100.0]), [condition] * 3, checkpointing=checkpointing)
        sum(velocity.square().sum() for velocity in velocities).backward()
        found.append({name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad})
    torch.manual_seed(1)
    others = model(latents, torch.tensor([900.0, 500.0, 100.0]), [condition] * 3)
    assert not torch.equal(others[0], velocities[0]), "something is left out"
    for name, gradient in found[0].items():
        assert torch.equal(gradient, found[1][name]), name


def test_what_is_trained_is_the_change_alone(model):
    adapters = adapted(model)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert adapters.num_layers == 9
    assert trained == {
        *(f"blocks.{n}.self_attn.{part}.lora_{side}.weight" for n in (0, 1) for part in "qkvo" for side in "AB"),
        "blocks.1.ffn.0.lora_A.weight", "blocks.1.ffn.0.lora_B.weight",
        "source_patch_embedding.parametrizations.weight.0.diff", "source_patch_embedding.parametrizations.bias.0.diff",
        "blocks.0.norm3.parametrizations.weight.0.diff", "blocks.0.norm3.parametrizations.bias.0.diff",
        "head.parametrizations.modulation.0.diff",
        "mllm_embedder.linear_2.parametrizations.weight.0.diff", "mllm_embedder.linear_2.parametrizations.bias.0.diff",
    }  # fmt: skip


def test_a_saved_one_merged_equals_the_model_with_it(model, velocity, base, tmp_path):
    """Through the file: in the host's names, onto the untouched base, into a plain model."""
    adapters = adapted(model)
    stir(adapters)
    path = tmp_path / "lora.safetensors"
    save_safetensors(path, entries_of(adapters.tensors()), metadata=adapters.about())
    names = set(load_file(path))
    layer = "blocks.0.self_attn.q"
    for name in (f"{layer}.lora_A.weight", f"{layer}.lora_B.weight", f"{layer}.alpha", "source_patch_embedding.diff",
                 "source_patch_embedding.diff_b", "head.modulation.diff"):  # fmt: skip
        assert f"diffusion_model.{name}" in names
    merge_lora(base, path, tmp_path / "merged.safetensors")
    torch.testing.assert_close(
        velocity(load_dit(tmp_path / "merged.safetensors")), velocity(model), atol=1e-5, rtol=1e-5
    )


def test_a_saved_one_is_read_back_to_the_bit(model, base, velocity, tmp_path):
    adapters = adapted(model)
    stir(adapters)
    other = adapted(load_dit(base))
    other.load(adapters.tensors(), tmp_path)
    assert torch.equal(velocity(other.model), velocity(model))
    own, again = adapters.tensors(), other.tensors()
    assert all(torch.equal(tensor, again[name]) for name, tensor in own.items())


def test_averages_are_saved_under_the_same_names(model):
    adapters = adapted(model)
    weights = {name: torch.full_like(w, 2.0) for name, w in model.named_parameters() if w.requires_grad}
    saved = adapters.tensors(weights)
    assert saved.keys() == adapters.tensors().keys()
    assert all((tensor == (6 if name.endswith("alpha") else 2)).all() for name, tensor in saved.items())


@pytest.mark.parametrize("changes", [{"rank": 2}, {"alpha": 3.0}, {"modules": ("blocks.*.self_attn",)}, {"whole": ()}])
def test_another_one_is_refused(model, base, tmp_path, changes):
    tensors = adapted(model).tensors()
    settings = LoraSettings(**{**vars(SETTINGS), **changes})
    with pytest.raises(WeightsError, match="whose LoRA differs in"):
        adapted(load_dit(base), settings).load(tensors, tmp_path)


def test_it_goes_on_from_a_file_of_another_trainer(model, velocity, base, factors, plain, write_lora, tmp_path):
    kohya = {
        key.replace("diffusion_model.", "lora_unet_").replace(".lora", "@").replace(".alpha", "@lpha"): value
        for key, value in plain.items()
    }
    kohya = {
        key.replace(".", "_").replace("@_A_weight", ".lora_down.weight").replace("@_B_weight", ".lora_up.weight")
        .replace("@lpha", ".alpha"): value
        for key, value in kohya.items()
    }  # fmt: skip
    path = write_lora(kohya)
    merge_lora(base, path, tmp_path / "merged.safetensors")
    adapters = adapted(model, LoraSettings(rank=3, alpha=1, modules=(*factors, "head")))
    adapters.start_from(path)
    torch.testing.assert_close(
        velocity(model), velocity(load_dit(tmp_path / "merged.safetensors")), atol=1e-5, rtol=1e-5
    )


def test_it_takes_up_whole_changes(model, state, write_lora):
    change = torch.randn(state["source_patch_embedding.weight"].shape)
    path = write_lora({"diffusion_model.source_patch_embedding.diff": change})
    adapted(model).start_from(path)
    torch.testing.assert_close(model.source_patch_embedding.weight, state["source_patch_embedding.weight"] + change)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 4}, r"whose change of .* is low rank 3; expected one of rank 4"),
        ({"modules": ("head",)}, "which changes 4 weights that this run does not train"),
    ],
)
def test_it_does_not_go_on_from_what_does_not_fit(model, factors, plain, write_lora, changes, message):
    adapters = adapted(model, LoraSettings(**{"rank": 3, "modules": tuple(factors), **changes}))
    with pytest.raises(WeightsError, match=message):
        adapters.start_from(write_lora(plain))
