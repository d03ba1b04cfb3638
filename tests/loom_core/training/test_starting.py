"""What a stage may start from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.config.training import LoraSettings, TrainingConfig
from loom_core.errors import ConfigError, WeightsError
from loom_core.models.dit import LoomDiT
from loom_core.models.initialise import initialise
from loom_core.training.checkpoint import RunState, newest_checkpoint
from loom_core.training.starting import add_lora, check_start, empty_model, starting_model, weight_dtype
from loom_core.weights.saving import entries_of, save_safetensors

PROJECTOR, SOURCE = "mllm_embedder", "source_patch_embedding"


def random_model(config, *, seed=3) -> LoomDiT:
    model = LoomDiT(config)
    generator = torch.Generator().manual_seed(seed)
    initialise(model, generator=generator)
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn(weight.shape, generator=generator)
    return model


def saved(model, path, *, with_config=True):
    metadata = {"format": "loomvideo-dit", "config": model.config.to_json()} if with_config else {}
    save_safetensors(path, entries_of(model.state_dict()), metadata=metadata)
    return path


def stage(config: TrainingConfig, *, has_source: bool, starts_from) -> TrainingConfig:
    return replace(config, model=replace(config.model, has_source=has_source), starts_from=starts_from)


@pytest.fixture
def kinds(config, tmp_path):
    """Each kind of starting weights by name: (config of what was saved, its file)."""
    full = config.model.dit_config()
    parts = {
        "wan": {"has_source": False, "has_projector": False},
        "stage1": {"has_source": False},
        "stage2": {},
    }
    models = {name: random_model(replace(full, **changes)) for name, changes in parts.items()}
    return {
        name: (model, saved(model, tmp_path / f"{name}.safetensors", with_config=name != "wan"))
        for name, model in models.items()
    }


@pytest.mark.parametrize(
    ("kind", "has_source", "added"),
    [
        ("wan", False, {PROJECTOR}),
        ("wan", True, {PROJECTOR, SOURCE}),
        ("stage1", False, set()),
        ("stage1", True, {SOURCE}),
        ("stage2", True, set()),
    ],
)
def test_any_stage_starts_from_wan_or_an_earlier_stage(config, kinds, kind, has_source, added):
    before, path = kinds[kind]
    config = stage(config, has_source=has_source, starts_from=path)
    start = check_start(config)
    assert {name.partition(".")[0] for name in start.added} == added
    assert all(part in str(start) for part in added)
    model = starting_model(config)
    weights = model.state_dict()
    for name, weight in before.state_dict().items():
        assert torch.equal(weights[name], weight)
    if SOURCE in added:
        assert not weights[f"{SOURCE}.weight"].any()
        assert not weights[f"{SOURCE}.bias"].any()
    if PROJECTOR in added:
        assert not weights[f"{PROJECTOR}.linear_2.weight"].any()
        assert not weights[f"{PROJECTOR}.linear_2.bias"].any()
        assert weights[f"{PROJECTOR}.linear_1.weight"].any()
    assert model.config == config.model.dit_config()
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())


def test_training_never_writes_to_the_file_it_started_from(config, kinds):
    _, path = kinds["stage2"]
    before = path.read_bytes()
    model = starting_model(stage(config, has_source=True, starts_from=path))
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(7)
    assert path.read_bytes() == before


def test_random_weights_follow_from_the_seed(config):
    first, again = starting_model(config).state_dict(), starting_model(config).state_dict()
    other = starting_model(replace(config, seed=1)).state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    assert not torch.equal(first["blocks.0.ffn.0.weight"], other["blocks.0.ffn.0.weight"])
    assert str(check_start(config)) == "random weights"


def test_missing_weights_are_told_with_what_to_do(config, tmp_path):
    config = replace(config, name="stage2", starts_from=tmp_path / "runs" / "stage1")
    with pytest.raises(WeightsError, match=r"stage1, which run 'stage2' starts from.*train the stage before") as caught:
        check_start(config)
    assert caught.value.exit_code == 3


def test_a_part_that_the_config_has_not_is_refused(config, kinds):
    with pytest.raises(WeightsError, match="a source embedding, which the config's model has not"):
        check_start(stage(config, has_source=False, starts_from=kinds["stage2"][1]))


def test_other_sizes_are_named(config, tmp_path):
    other = replace(config.model.dit_config(), num_layers=3, mllm_dim=12)
    path = saved(random_model(other), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="num_layers 3 instead of 2, mllm_dim 12 instead of 24"):
        check_start(replace(config, starts_from=path))


@pytest.mark.parametrize("lost", ["blocks.1.ffn.2.weight", "mllm_embedder.linear_2.bias"])
def test_fault_10_no_partial_weights(config, tmp_path, lost):
    """The official loader takes whatever fits and leaves the rest as it is."""
    model = random_model(config.model.dit_config())
    weights = {name: weight for name, weight in model.state_dict().items() if name != lost}
    path = tmp_path / "partial.safetensors"
    save_safetensors(path, entries_of(weights), metadata={"format": "loomvideo-dit", "config": model.config.to_json()})
    with pytest.raises(WeightsError, match=f"1 missing: {lost}"):
        check_start(replace(config, starts_from=path))


def test_a_run_folder_gives_its_newest_averaged_weights(config, tmp_path):
    models = {}
    for step in (5, 10):
        folder = tmp_path / "before" / "checkpoints" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        for name in ("model", "ema"):
            models[step, name] = random_model(config.model.dit_config(), seed=step + len(name))
            saved(models[step, name], folder / f"{name}.safetensors")
        save_safetensors(folder / "optimiser.safetensors", entries_of({"exp_avg.x": torch.ones(2)}))
    config = replace(config, starts_from=tmp_path / "before")
    averaged = starting_model(config).head.head.weight
    live = starting_model(replace(config, starts_from_ema=False)).head.head.weight
    assert torch.equal(averaged, models[10, "ema"].head.head.weight)
    assert torch.equal(live, models[10, "model"].head.head.weight)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("bf16-autocast", torch.float32), ("fp32", torch.float32)]
)
def test_weights_have_the_precision_of_the_config(config, kinds, precision, dtype):
    config = replace(config, precision=precision)
    models = [starting_model(config), empty_model(config), starting_model(replace(config, starts_from=kinds["wan"][1]))]
    assert weight_dtype(precision) == dtype
    assert {weight.dtype for model in models for weight in model.parameters()} == {dtype}


@pytest.mark.parametrize(("steps", "said"), [(3, "step 3 of 3)"), (48_000, "step 3 of 48000: NOT FINISHED)")])
def test_the_run_that_a_stage_starts_from_is_named_with_its_step(config, make_trainer, tmp_path, steps, said):
    before = make_trainer(replace(config, steps=3), state=RunState(settings={"steps": steps}))
    before.run()
    for path in (config.run, newest_checkpoint(config.run), newest_checkpoint(config.run) / "model.safetensors"):
        start = check_start(replace(config, starts_from=path, run=tmp_path / "next"))
        assert (start.step, start.steps) == (3, steps)
        assert said in str(start)
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((newest_checkpoint(config.run) / "ema.safetensors").read_bytes())
    assert "step" not in str(check_start(replace(config, starts_from=alone)))


@pytest.fixture
def lora_config(config, kinds):
    return replace(stage(config, has_source=True, starts_from=kinds["stage2"][1]), lora=LoraSettings(rank=4))


def test_a_lora_leaves_the_starting_weights_frozen(lora_config, kinds):
    model = starting_model(lora_config)
    adapters = add_lora(model, lora_config)
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * adapters.num_layers == 2 * 2 * 10
    assert all(".lora_A." in name or ".lora_B." in name for name in trained)
    assert torch.equal(model.blocks[0].ffn[0].base.weight, kinds["stage2"][0].blocks[0].ffn[0].weight)
    again = add_lora(starting_model(lora_config), lora_config).tensors()
    other = add_lora(starting_model(lora_config), replace(lora_config, seed=1)).tensors()
    name = "diffusion_model.blocks.0.self_attn.q.lora_A.weight"
    assert torch.equal(adapters.tensors()[name], again[name])
    assert not torch.equal(again[name], other[name])


@pytest.mark.parametrize("kind", ["wan", "stage1"])
def test_a_lora_adds_no_parts_to_a_model(lora_config, kinds, kind):
    with pytest.raises(WeightsError, match=r"which lacks \d+ weights of the model.*to which a LoRA adds no parts"):
        check_start(replace(lora_config, starts_from=kinds[kind][1]))


def test_a_lora_that_does_not_fit_is_refused_before_anything_is_read(lora_config, tmp_path):
    with pytest.raises(ConfigError, match="rank 99, larger than"):
        check_start(replace(lora_config, lora=LoraSettings(rank=99)))
    with pytest.raises(ConfigError, match="names none of the model's"):
        check_start(replace(lora_config, lora=LoraSettings(rank=4, modules=("transformer_blocks",))))
    foreign = tmp_path / "foreign.safetensors"
    name = "diffusion_model.blocks.0.self_attn.q"
    save_safetensors(foreign, entries_of({
        f"{name}.lora_A.weight": torch.zeros(4, 5120), f"{name}.lora_B.weight": torch.zeros(5120, 4)
    }))  # fmt: skip
    config = replace(lora_config, lora=LoraSettings(rank=4, starts_from=foreign))
    with pytest.raises(WeightsError, match=r"foreign\.safetensors, 1 of whose 1 changes have another size"):
        check_start(config)


def test_a_lora_goes_on_from_another_but_not_where_a_checkpoint_follows(lora_config, tmp_path):
    first = add_lora(starting_model(lora_config), lora_config)
    for parameter in first.model.parameters():
        parameter.data += 0.1 * parameter.requires_grad
    save_safetensors(tmp_path / "first.safetensors", entries_of(first.tensors()), metadata=first.about())
    config = replace(lora_config, seed=1, lora=LoraSettings(rank=4, starts_from=tmp_path / "first.safetensors"))
    second, third = (add_lora(starting_model(config), config, is_new=is_new).tensors() for is_new in (True, False))
    for name, tensor in first.tensors().items():
        torch.testing.assert_close(second[name], tensor)
    name = "diffusion_model.blocks.0.self_attn.q.lora_B.weight"
    assert not third[name].any()
