"""Saved by the host and loaded again, unloaded, copied: the same model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch


@pytest.fixture
def velocity(noise, velocities, conditioning, make_condition):
    condition = make_condition(source=(3, 4, 6), references=[(1, 2, 4)])
    return lambda model: velocities(model, noise, conditioning(condition))[0]


@pytest.fixture
def save(tmp_path, monkeypatch):
    """The host's ModelSave; the file that it wrote."""

    def run(model):
        from comfy_extras.nodes_model_merging import ModelSave

        node = ModelSave()
        node.output_dir = str(tmp_path)
        node.save(model, "diffusion_models/saved")
        (written,) = (tmp_path / "diffusion_models").glob("*.safetensors")
        return written

    return run


def test_model_save_round_trip(load, save, model, velocity):
    again = load(save(model))
    assert torch.equal(velocity(again), velocity(model))
    assert again.model.loom_config == model.model.loom_config


@pytest.mark.parametrize("heads", [1, 4])
def test_what_shapes_do_not_show_is_saved_too(part, load, write, save, state, config, heads):
    said = replace(config, num_heads=heads, head_dim=128 // heads, rope_precision="bf16", eps=1e-5)
    metadata = {"format": "loomvideo-dit", "config": said.to_json()}
    assert load(save(load(write(state, metadata=metadata)))).model.loom_config == said


def test_the_built_in_model_can_be_saved_and_loaded(part, load, save):
    loading = part("nodes.adapter.model.loading")
    built_in = load(loading.dit_path("built-in: loom-tiny"))
    again = load(save(built_in))
    assert again.model.loom_config == built_in.model.loom_config


def test_loom_core_reads_what_the_host_saved(part, save, model, dit):
    read = part("loom_core.weights.loading").load_dit(save(model))
    assert all(torch.equal(tensor, dit.state_dict()[name]) for name, tensor in read.state_dict().items())


def test_a_lora_is_saved_into_the_weights(load, save, model, velocity):
    from comfy import lora

    generator = torch.Generator().manual_seed(4)
    up, down = torch.randn(64, 2, generator=generator), torch.randn(2, 128, generator=generator)
    key = "diffusion_model.blocks.0.ffn.0"
    weights = {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down}
    patched = model.clone()
    patched.add_patches(lora.load_lora(weights, lora.model_lora_keys_unet(model.model, {})), 0.5)
    torch.testing.assert_close(velocity(load(save(patched))), velocity(patched), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(velocity(patched), velocity(model))


def test_unloaded_and_loaded_again(model, velocity):
    from comfy import model_management

    before = velocity(model)
    model_management.unload_all_models()
    assert model_management.current_loaded_models == []
    assert torch.equal(velocity(model), before)


def test_a_copy_has_weights_of_its_own(model, velocity):
    """As for torch.compile, hooks and further GPUs: loaded from the file once more."""
    copy = model.clone(force_deepcopy=True)
    assert copy.model is not model.model
    assert torch.equal(velocity(copy), velocity(model))
    ours, theirs = (one.model.diffusion_model.patch_embedding.weight for one in (model, copy))
    assert ours.data_ptr() != theirs.data_ptr()


def test_a_copy_for_another_device(model, velocity):
    before = velocity(model)
    copy = model.deepclone_multigpu(torch.device("cpu"))
    assert copy.model is not model.model
    assert torch.equal(velocity(copy), before)


def test_weights_stream_in_where_memory_is_short(model, velocity, load, write, state):
    """Loaded in part, as by --lowvram: most layers are cast when they are used."""
    before = velocity(model)
    other = load(write(state))
    other.patch_model(device_to=torch.device("cpu"), lowvram_model_memory=20000)
    try:
        assert other.model.model_lowvram
        torch.testing.assert_close(velocity(other), before, atol=1e-6, rtol=1e-6)
    finally:
        other.unpatch_model(torch.device("cpu"))
