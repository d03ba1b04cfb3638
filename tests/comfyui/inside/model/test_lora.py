"""LoRAs of every naming and kind: one and the same effect, or a clear word about why there is none."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

MODULES = ("blocks.0.self_attn.q", "blocks.1.cross_attn.o", "blocks.2.ffn.0", "mllm_embedder.linear_2")
RANK, ALPHA = 4, 2.0


@pytest.fixture
def velocity(noise, velocities, conditioning, make_condition):
    condition = make_condition(source=(3, 4, 6), references=[(1, 2, 4)])
    return lambda model: velocities(model, noise, conditioning(condition))[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    import folder_paths

    made = tmp_path / "loras"
    made.mkdir()
    extensions = folder_paths.folder_names_and_paths["loras"][1]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(made)], extensions))
    folder_paths.filename_list_cache.pop("loras", None)
    return made


@pytest.fixture
def told(part, monkeypatch):
    lines = []
    monkeypatch.setattr(part("nodes.adapter.progress"), "_send_text", lambda text, node_id: lines.append(text))
    return lines


@pytest.fixture
def node(part, folder, model):
    """Runs our loader on tensors."""

    def execute(tensors, *, strength=1.0, on=None, metadata=None, name="some.safetensors"):
        save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, folder / name, metadata)
        loader = part("nodes.lora").LoomVideoLoraLoader
        return loader.execute(model=on or model, lora_name=name, strength=strength).args[0]

    return execute


@pytest.fixture
def core(folder, model):
    """Runs the host's own loader."""

    def execute(tensors, *, strength=1.0, name="some.safetensors"):
        from nodes import LoraLoaderModelOnly

        save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, folder / name)
        return LoraLoaderModelOnly().load_lora_model_only(model, name, strength)[0]

    return execute


@pytest.fixture
def factors(dit):
    """Module -> (up, down) of a LoRA."""
    generator = torch.Generator().manual_seed(4)
    shapes = {name: dit.state_dict()[f"{name}.weight"].shape for name in MODULES}
    return {
        name: (
            torch.randn(rows, RANK, generator=generator) * 0.3,
            torch.randn(RANK, columns, generator=generator) * 0.3,
        )
        for name, (rows, columns) in shapes.items()
    }


@pytest.fixture
def merged(part, load, write, state, factors):
    """The model with the LoRA's changes written into its weights."""

    def make(strength=1.0, scale=ALPHA / RANK):
        changed = dict(state)
        for name, (up, down) in factors.items():
            changed[f"{name}.weight"] = state[f"{name}.weight"] + strength * scale * up @ down
        return load(write(changed, "merged.safetensors"))

    return make


def flat(name):
    return name.replace(".", "_")


@pytest.fixture
def to_diffusers(part):
    return part("loom_core.weights.key_maps").to_diffusers


NAMINGS = {
    "generic": (lambda name, _: f"diffusion_model.{name}", "lora_B.weight", "lora_A.weight"),
    "kohya": (lambda name, _: f"lora_unet_{flat(name)}", "lora_up.weight", "lora_down.weight"),
    "bare": (lambda name, _: name, "lora_B.weight", "lora_A.weight"),
    "peft": (lambda name, _: f"base_model.model.{name}", "lora_B.weight", "lora_A.weight"),
    "diffusers": (lambda name, other: f"transformer.{other(name)}", "lora_B.weight", "lora_A.weight"),
    "diffusers, old": (lambda name, other: f"transformer.{other(name)}", "lora.up.weight", "lora.down.weight"),
    "official": (lambda name, other: f"gen_model.{other(name)}", "lora_B.default.weight", "lora_A.default.weight"),
    "onetrainer": (lambda name, other: f"lora_transformer_{flat(other(name))}", "lora_up.weight", "lora_down.weight"),
    "wan fun": (lambda name, _: f"lora_unet__{flat(name)}", "lora_up.weight", "lora_down.weight"),
}
WORKS_IN_CORE = ("generic", "kohya")


def named(factors, naming, to_diffusers, *, alpha=ALPHA):
    name_of, up_ending, down_ending = NAMINGS[naming]
    made = {}
    for module, (up, down) in factors.items():
        name = name_of(module, to_diffusers)
        made |= {f"{name}.{up_ending}": up, f"{name}.{down_ending}": down}
        if alpha is not None:
            made[f"{name}.alpha"] = torch.tensor(alpha)
    return made


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_has_the_same_effect(node, velocity, merged, model, factors, to_diffusers, told, naming):
    before = velocity(model)
    made = velocity(node(named(factors, naming, to_diffusers)))
    torch.testing.assert_close(made, velocity(merged()), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(made, before)
    assert torch.equal(velocity(model), before)
    assert told[-1] == "some.safetensors: 4 weights changed"


@pytest.mark.parametrize("naming", WORKS_IN_CORE)
def test_the_hosts_own_loader_does_wan_native_files(core, node, velocity, factors, to_diffusers, naming):
    tensors = named(factors, naming, to_diffusers)
    assert torch.equal(velocity(core(tensors)), velocity(node(tensors)))


@pytest.mark.parametrize("strength", [-1.0, 0.0, 0.5])
def test_strength(node, velocity, merged, factors, to_diffusers, strength):
    made = velocity(node(named(factors, "diffusers", to_diffusers), strength=strength))
    torch.testing.assert_close(made, velocity(merged(strength)), atol=1e-5, rtol=1e-5)


def test_without_an_alpha_it_counts_in_full(node, velocity, merged, factors, to_diffusers):
    made = velocity(node(named(factors, "generic", to_diffusers, alpha=None)))
    torch.testing.assert_close(made, velocity(merged(scale=1.0)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({"lora_alpha": 8, "r": RANK}, 2.0),
        ({"lora_alpha": 8, "r": RANK, "use_rslora": True}, 4.0),
        (
            {
                "lora_alpha": 1,
                "r": RANK,
                "alpha_pattern": dict.fromkeys(("to_q", "to_out.0", "net.0.proj", "linear_2"), 8),
            },
            2.0,
        ),
        ({"r": RANK}, 1.0),
        ("no mapping", 1.0),
    ],
)
def test_diffusers_keeps_alphas_in_the_metadata(node, velocity, merged, factors, to_diffusers, settings, scale):
    told = (
        {f"transformer.{name}": value for name, value in settings.items()} if isinstance(settings, dict) else settings
    )
    tensors = named(factors, "diffusers", to_diffusers, alpha=None)
    made = velocity(node(tensors, metadata={"lora_adapter_metadata": json.dumps(told)}))
    torch.testing.assert_close(made, velocity(merged(scale=scale)), atol=1e-5, rtol=1e-5)


def test_two_of_them_add_up(node, velocity, merged, factors, to_diffusers):
    first = node(named(factors, "kohya", to_diffusers), strength=0.25)
    both = node(named(factors, "diffusers", to_diffusers), strength=0.75, on=first, name="other.safetensors")
    torch.testing.assert_close(velocity(both), velocity(merged()), atol=1e-5, rtol=1e-5)


def test_whole_differences_of_weights_biases_norms_and_tables(load, write, node, velocity, state):
    """Also of raw modulation tables, which the host's own loading of patches passes over."""
    generator = torch.Generator().manual_seed(6)
    changes = {
        "patch_embedding.weight": "patch_embedding.diff",
        "source_patch_embedding.bias": "source_patch_embedding.diff_b",
        "blocks.0.norm3.weight": "blocks.0.norm3.diff",
        "blocks.1.modulation": "blocks.1.modulation.diff",
        "head.modulation": "head.modulation.diff",
    }
    tensors, changed = {}, dict(state)
    for weight, key in changes.items():
        difference = torch.randn(state[weight].shape, generator=generator) * 0.2
        tensors[f"diffusion_model.{key}"] = difference
        changed[weight] = state[weight] + 0.5 * difference
    wanted = velocity(load(write(changed, "changed.safetensors")))
    patched = node(tensors, strength=0.5)
    torch.testing.assert_close(velocity(patched), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(velocity(patched.clone(force_deepcopy=True)), wanted, atol=1e-5, rtol=1e-5)


def test_tables_of_two_loras_add_up_and_come_off_again(node, velocity, model, state):
    before = velocity(model)
    table = {"diffusion_model.blocks.1.modulation.diff": torch.ones(1, 6, 128)}
    both = node(table, strength=0.25, on=node(table, strength=0.5), name="again.safetensors")
    velocity(both)
    torch.testing.assert_close(both.model.diffusion_model.blocks[1].modulation, state["blocks.1.modulation"] + 0.75)
    assert torch.equal(velocity(model), before)


@pytest.mark.parametrize("weight_dtype", ["bf16", "fp8_e4m3fn"])
def test_on_narrow_weights(load, write, state, node, velocity, merged, factors, to_diffusers, weight_dtype):
    narrow = load(write(state, "narrow.safetensors"), weight_dtype=weight_dtype)
    made = velocity(node(named(factors, "diffusers", to_diffusers), on=narrow))
    wanted, plain = velocity(merged()), velocity(narrow)
    assert float((made - wanted).norm()) < 0.3 * float((plain - wanted).norm())


def test_on_quantised_weights(load, write, state, node, velocity, merged, factors, to_diffusers):
    from comfy.quant_ops import QuantizedTensor

    made = dict(state)
    for module in ("blocks.0.self_attn.q", "blocks.2.ffn.0"):
        weight = QuantizedTensor.from_float(
            made.pop(f"{module}.weight"), "TensorCoreFP8E4M3Layout", scale="recalculate"
        )
        made |= weight.state_dict(f"{module}.weight")
        mark = list(json.dumps({"format": "float8_e4m3fn"}).encode())
        made[f"{module}.comfy_quant"] = torch.tensor(mark, dtype=torch.uint8)
    quantised = load(write(made, "quantised.safetensors"))
    patched = velocity(node(named(factors, "diffusers", to_diffusers), on=quantised))
    wanted, plain = velocity(merged()), velocity(quantised)
    assert float((patched - wanted).norm()) < 0.2 * float((plain - wanted).norm())


def test_what_is_not_for_this_model_is_told(node, velocity, merged, factors, to_diffusers, told, caplog):
    tensors = named(factors, "generic", to_diffusers) | {
        "diffusion_model.blocks.0.cross_attn.k_img.lora_A.weight": torch.zeros(2, 128),
        "diffusion_model.blocks.99.ffn.0.lora_A.weight": torch.zeros(2, 128),
        "diffusion_model.blocks.0.self_attn.q.lora_magnitude_vector": torch.zeros(128),
        "diffusion_model.text_embedding.0.lora_A.weight": torch.zeros(2, 4096),
    }
    made = velocity(node(tensors))
    torch.testing.assert_close(made, velocity(merged()), atol=1e-5, rtol=1e-5)
    assert told[-1] == (
        "some.safetensors: 4 weights changed; "
        "1 tensors of Wan's text embedder, which LoomVideo does without, left out; "
        "3 of 16 tensors are not for this model and are left out"
    )
    assert "k_img" in caplog.text and "blocks.{99}" not in told[-1] and "lora_magnitude_vector" in caplog.text


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"lora_unet_down_blocks_0.lora_up.weight": torch.zeros(4, 2)}, r"a LoRA.*none of its 1 tensors changes"),
        ({"double_blocks.0.img_mod.lin.weight": torch.zeros(4, 2)}, r"no model known here.*none of its 1 tensors"),
        ({"diffusion_model.blocks.0.ffn.0.weight": torch.zeros(64, 128)}, "none of its 1 tensors changes this model"),
        (
            {
                "diffusion_model.blocks.0.ffn.0.lora_up.weight": torch.zeros(64, 2),
                "diffusion_model.blocks.0.ffn.0.lora_down.weight": torch.zeros(2, 256),
            },
            r"1 of whose 1 changes have another size.*blocks\.0\.ffn\.0\.weight \(64 x 256, here 64 x 128\)",
        ),
        ({"diffusion_model.blocks.0.ffn.0.diff": torch.zeros(64, 100)}, r"64 x 100, here 64 x 128"),
        (
            {f"diffusion_model.blocks.0.ffn.0.{part}": torch.zeros(8, 8) for part in ("lokr_w1", "lokr_w2")},
            r"64 x 64, here 64 x 128",
        ),
        (
            {
                f"diffusion_model.blocks.0.ffn.0.hada_w{n}_{part}": torch.zeros(*size)
                for n in (1, 2)
                for part, size in (("a", (64, 2)), ("b", (2, 64)))
            },
            r"64 x 64, here 64 x 128",
        ),
    ],
)
def test_files_for_other_models_are_refused(part, node, tensors, says):
    with pytest.raises(part("loom_core.errors").WeightsError, match=says):
        node(tensors)


def test_lokr_and_loha_of_the_right_size_are_taken(node, velocity, model):
    generator = torch.Generator().manual_seed(1)

    def random(*size):
        return torch.randn(*size, generator=generator) * 0.1

    layer = "diffusion_model.blocks.0.ffn.0"
    kronecker = {
        f"{layer}.lokr_w1": random(8, 16),
        f"{layer}.lokr_w2_a": random(8, 2),
        f"{layer}.lokr_w2_b": random(2, 8),
    }
    hadamard = {f"{layer}.hada_w{n}_{p}": random(*s) for n in (1, 2) for p, s in (("a", (64, 2)), ("b", (2, 128)))}
    for tensors in (kronecker, hadamard):
        assert not torch.allclose(velocity(node(tensors)), velocity(model), atol=1e-4)


def test_a_whole_model_is_no_lora(part, node, state):
    with pytest.raises(part("loom_core.errors").WeightsError, match=r"which is a LoomVideo DiT.*expected a LoRA"):
        node(state)


def test_damaged_files_and_other_models(part, folder, node, model):
    errors, loader = part("loom_core.errors"), part("nodes.lora").LoomVideoLoraLoader
    (folder / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(errors.WeightsError, match="damaged"):
        loader.execute(model=model, lora_name="bad.safetensors", strength=1.0)
    with pytest.raises(errors.WeightsError, match="press R"):
        loader.execute(model=model, lora_name="gone.safetensors", strength=1.0)
    with pytest.raises(errors.WeightsError, match="MODEL of another kind"):
        node({"a": torch.zeros(1)}, on=torch.nn.Linear(1, 1))


def test_the_list_shows_what_is_there(part, folder):
    (folder / "one.safetensors").touch()
    assert part("nodes.lora").LoomVideoLoraLoader.define_schema().inputs[1].options == ["one.safetensors"]


def test_what_is_trained_here_the_hosts_loader_reads_as_it_is_merged(
    part, core, node, velocity, model, load, write, state, config, caplog
):
    """Layers of low rank, whole weights and biases; the host's own loader passes over no tensor of the file."""
    adapted = part("loom_core.models.dit").LoomDiT(config)
    adapted.load_state_dict(state)
    settings = part("loom_core.config.training").LoraSettings(
        rank=RANK, alpha=ALPHA, whole=("source_patch_embedding", "blocks.0.norm3", "mllm_embedder.linear_1.bias")
    )
    adapters = part("loom_core.lora.adapters").Adapters(adapted, settings)
    generator = torch.Generator().manual_seed(7)
    for parameter in adapted.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator) * parameter.requires_grad
    tensors = adapters.tensors()
    lora = part("loom_core.lora.lora_file")
    merged = dict(state)
    read = lora.open_lora(write(tensors, "lora.safetensors"), lora.shapes_of(adapted.config))
    for name in read.changes:
        merged[name] = state[name] + read.delta(name)
    expected = velocity(load(write(merged, "merged.safetensors")))
    before = velocity(model)
    assert not torch.allclose(expected, before, atol=0.01)
    with caplog.at_level("WARNING"):
        torch.testing.assert_close(velocity(core(tensors)), expected, atol=1e-4, rtol=1e-4)
    assert "lora key not loaded" not in caplog.text
    torch.testing.assert_close(velocity(node(tensors)), expected, atol=1e-4, rtol=1e-4)
