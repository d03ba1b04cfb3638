"""Files of every naming, prefix and number format become the same model; what is no LoomVideo DiT is told apart."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

BLOCK_LINEARS = [f"{attention}.{part}" for attention in ("self_attn", "cross_attn") for part in "qkvo"]
BLOCK_LINEARS += ["ffn.0", "ffn.2"]


@pytest.fixture
def condition(make_condition):
    return make_condition(source=(3, 4, 6), references=[(1, 2, 4)])


@pytest.fixture
def velocity(noise, velocities, conditioning, condition):
    return lambda model: velocities(model, noise, conditioning(condition))[0]


@pytest.fixture
def official(part, state):
    """The same weights under the names of official files, dead text embedder included."""
    to_diffusers = part("loom_core.weights.key_maps").to_diffusers
    dead = {f"condition_embedder.text_embedder.linear_{index}.weight": torch.zeros(2, 2) for index in (1, 2)}
    return {to_diffusers(name): tensor for name, tensor in state.items()} | dead


def relative_error(made, wanted):
    return float((made - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("prefix", ["", "gen_model.", "model.diffusion_model.", "diffusion_model.", "transformer."])
@pytest.mark.parametrize("naming", ["native", "official"])
def test_prefixes_and_namings(load, write, state, official, velocity, expected, noise, condition, prefix, naming):
    named = {prefix + name: tensor for name, tensor in (state if naming == "native" else official).items()}
    if prefix in ("gen_model.", "model.diffusion_model."):
        named["vae.decoder.conv1.weight"] = torch.zeros(1)  # another component of the same file
    torch.testing.assert_close(velocity(load(write(named))), expected(noise, condition), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["small.sft", "small.pth", "small.pt"])
def test_other_endings(load, write, state, velocity, expected, noise, condition, tmp_path, name):
    if name.endswith("sft"):
        path = write(state, name)
    else:
        path = tmp_path / name
        torch.save(state, path)
    torch.testing.assert_close(velocity(load(path)), expected(noise, condition), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("weight_dtype", "stored", "limit"),
    [
        ("default", torch.float32, 1e-5),
        ("fp32", torch.float32, 1e-5),
        ("bf16", torch.bfloat16, 1e-2),
        ("fp16", torch.float16, 1e-2),
        ("fp8_e4m3fn", torch.float8_e4m3fn, 5e-2),
        ("fp8_e4m3fn_fast", torch.float8_e4m3fn, 5e-2),
        ("fp8_e5m2", torch.float8_e5m2, 1e-1),
    ],
)
def test_number_formats(load, write, state, velocity, expected, noise, condition, weight_dtype, stored, limit):
    model = load(write(state), weight_dtype=weight_dtype)
    dit = model.model.diffusion_model
    small = {part.dtype for name, part in dit.named_parameters() if not name.startswith("blocks.") or "norm" in name}
    assert {getattr(block.ffn[0].weight, "dtype", None) for block in dit.blocks} == {stored} == {model.model_dtype()}
    assert small == {torch.float32 if stored.itemsize == 1 else stored}
    assert relative_error(velocity(model), expected(noise, condition)) < limit


def test_the_flag_for_fp8_of_the_host_is_heeded(load, write, state, monkeypatch):
    from comfy.cli_args import args

    monkeypatch.setattr(args, "fp8_e4m3fn_unet", True)
    dit = load(write(state)).model.diffusion_model
    assert dit.blocks[0].ffn[0].weight.dtype is torch.float8_e4m3fn
    assert dit.mllm_embedder.linear_1.weight.dtype is torch.float32
    chosen = load(write(state), weight_dtype="bf16").model.diffusion_model
    assert chosen.blocks[0].ffn[0].weight.dtype is torch.bfloat16


def test_a_file_of_raw_fp8_weights(load, write, state, velocity, expected, noise, condition):
    def cast(name, tensor):
        narrow = tensor.ndim == 2 and name.startswith("blocks.")
        return tensor.to(torch.float8_e4m3fn) if narrow else tensor.bfloat16()

    model = load(write({name: cast(name, tensor) for name, tensor in state.items()}))
    assert relative_error(velocity(model), expected(noise, condition)) < 5e-2


def quantised(state, layout):
    """Every linear layer of the blocks in a quantised format of the host's, the rest in bfloat16."""
    from comfy.quant_ops import QuantizedTensor

    made = {name: tensor.bfloat16() for name, tensor in state.items()}
    layers = [f"blocks.{index}.{name}" for index in range(3) for name in BLOCK_LINEARS]
    for layer in layers:
        weight = QuantizedTensor.from_float(made.pop(f"{layer}.weight"), layout, scale="recalculate")
        made |= {name: tensor.contiguous() for name, tensor in weight.state_dict(f"{layer}.weight").items()}
    return made, layers


def mark(made, layers, form):
    conf = torch.tensor(list(json.dumps({"format": form}).encode()), dtype=torch.uint8)
    return made | {f"{layer}.comfy_quant": conf for layer in layers}


FORMATS = {
    "float8_e4m3fn": ("TensorCoreFP8E4M3Layout", 5e-2),
    "float8_e5m2": ("TensorCoreFP8E5M2Layout", 1e-1),
    "int8_tensorwise": ("TensorWiseINT8Layout", 5e-2),
    "nvfp4": ("TensorCoreNVFP4Layout", 3e-1),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("naming", ["native", "official"])
def test_quantised_formats_of_the_host(part, load, write, state, velocity, expected, noise, condition, form, naming):
    layout, limit = FORMATS[form]
    made, layers = quantised(state, layout)
    made = mark(made, layers, form)
    if naming == "official":
        to_diffusers = part("loom_core.weights.key_maps").to_diffusers
        made = {f"model.diffusion_model.{to_diffusers(name)}": tensor for name, tensor in made.items()}
    model = load(write(made), weight_dtype="fp8_e5m2")  # which is left aside
    assert model.model.model_config.quant_config
    assert model.model.diffusion_model.blocks[0].ffn[0].quant_format == form
    assert 1e-4 < relative_error(velocity(model), expected(noise, condition)) < limit


@pytest.mark.parametrize("naming", ["native", "official"])
def test_quantisation_written_in_the_metadata(part, load, write, state, velocity, expected, noise, condition, naming):
    made, layers = quantised(state, "TensorCoreFP8E4M3Layout")
    rename = part("loom_core.weights.key_maps").to_diffusers if naming == "official" else str
    text = json.dumps({"layers": {rename(layer): {"format": "float8_e4m3fn"} for layer in layers}})
    made = {rename(name): tensor for name, tensor in made.items()}
    model = load(write(made, metadata={"_quantization_metadata": text}))
    assert model.model.diffusion_model.blocks[2].self_attn.o.quant_format == "float8_e4m3fn"
    assert relative_error(velocity(model), expected(noise, condition)) < 5e-2


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_the_older_scaled_fp8(load, write, state, velocity, expected, noise, condition, prefix):
    made, layers = quantised(state, "TensorCoreFP8E4M3Layout")
    for layer in layers:
        made[f"{layer}.scale_weight"] = made.pop(f"{layer}.weight_scale")
    made["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    model = load(write({prefix + name: tensor for name, tensor in made.items()}))
    assert model.model.diffusion_model.blocks[0].ffn[2].quant_format == "float8_e4m3fn"
    assert relative_error(velocity(model), expected(noise, condition)) < 5e-2


def test_a_quantised_time_embedding_of_four_bits_is_no_riddle(part, load, write, state, config):
    """Only rows show what it was; 256 is the width of every published model's."""
    from comfy.quant_ops import QuantizedTensor

    dit = part("loom_core.models.dit").LoomDiT(replace(config, time_embed_dim=256))
    made = {name: torch.randn_like(tensor).bfloat16() for name, tensor in dit.state_dict().items()}
    weight = QuantizedTensor.from_float(
        made.pop("time_embedding.0.weight"), "TensorCoreNVFP4Layout", scale="recalculate"
    )
    made |= {name: value.contiguous() for name, value in weight.state_dict("time_embedding.0.weight").items()}
    model = load(write(mark(made, ["time_embedding.0"], "nvfp4")))
    assert model.model.loom_config.time_embed_dim == 256


@pytest.mark.parametrize(("choice", "precision"), [("auto", "exact"), ("bf16", "bf16"), ("exact", "exact")])
def test_rope_precision(part, load, write, state, config, choice, precision, noise, velocity, dit, condition):
    model = load(write(state), rope_precision=choice)
    assert model.model.loom_config.rope_precision == precision
    other = part("loom_core.models.dit").LoomDiT(replace(config, rope_precision=precision))
    other.load_state_dict(dit.state_dict())
    wanted = other(noise, torch.tensor([713]), other.prepare([condition], noise))
    torch.testing.assert_close(velocity(model), wanted, atol=1e-5, rtol=1e-5)


def test_the_file_itself_may_say_its_rope_precision(load, write, state, config):
    metadata = {"format": "loomvideo-dit", "config": replace(config, rope_precision="bf16").to_json()}
    assert load(write(state, metadata=metadata)).model.loom_config.rope_precision == "bf16"


def test_unknown_choices_are_refused(part, load, write, state):
    errors = part("loom_core.errors")
    with pytest.raises(errors.ConfigError, match="weight_dtype 'fp7'"):
        load(write(state), weight_dtype="fp7")
    with pytest.raises(errors.ConfigError, match="rope_precision 'fp7'"):
        load(write(state), rope_precision="fp7")


def without(state, name):
    return {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: without(s, "blocks.1.ffn.0.bias"), r"1 missing: blocks\.1\.ffn\.0\.bias"),
        (lambda s: {**s, "blocks.0.extra.weight": torch.zeros(1)}, r"1 unexpected: blocks\.0\.extra\.weight"),
        (lambda s: {**s, "blocks.0.ffn.0.weight": torch.zeros(64, 9)}, r"1 of wrong shape: blocks\.0\.ffn\.0\.weight"),
        (lambda s: {k: t for k, t in s.items() if "mllm_" not in k and "source_" not in k}, "plain Wan 2.2 TI2V-5B"),
        (
            lambda s: {
                k: t[:, :16] if k == "patch_embedding.weight" else t
                for k, t in s.items()
                if "mllm_" not in k and "source_" not in k
            },
            "another Wan DiT",
        ),
        (lambda s: {f"{k}.lora_A.weight": t for k, t in s.items()}, "a LoRA.*LoomVideo LoRA Loader"),
        (lambda s: {"decoder.x": s["head.head.bias"], "conv2.weight": torch.zeros(48, 48, 1, 1, 1)}, "VAE Loader"),
        (lambda s: {"model.language_model.layers.0.self_attn.q_norm.weight": torch.zeros(1)}, "Encoder Loader"),
        (lambda s: {"unet.down.weight": torch.zeros(1)}, "no model known here"),
        (lambda s: {}, "a file without tensors"),
        (lambda s: {f"{p}{k}": t for k, t in s.items() for p in ("", "transformer.")}, "two names of the same weight"),
    ],
)
def test_what_is_no_whole_loomvideo_is_refused(part, load, write, state, change, says):
    with pytest.raises(part("loom_core.errors").WeightsError, match=says):
        load(write(change(state)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: without(m, "blocks.1.ffn.0.weight"), r"1 missing: blocks\.1\.ffn\.0\.weight"),
        (
            lambda m: {**m, "blocks.1.ffn.0.weight": m["blocks.1.ffn.2.weight"]},
            r"blocks\.1\.ffn\.0\.weight \(found 128 rows, expected 64\)",
        ),
        (lambda m: {**m, "blocks.9.x.comfy_quant": m["blocks.0.ffn.0.comfy_quant"]}, r"unexpected|missing"),
        (lambda m: without(m, "blocks.1.ffn.0.comfy_quant"), r"1 unexpected: blocks\.1\.ffn\.0\.weight_scale"),
    ],
)
def test_a_damaged_quantised_file_is_refused(part, load, write, state, change, says):
    made, layers = quantised(state, "TensorCoreFP8E4M3Layout")
    with pytest.raises(part("loom_core.errors").WeightsError, match=says):
        load(write(change(mark(made, layers, "float8_e4m3fn"))))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"\x10\0\0\0\0\0\0\0{", "damaged or cut short"),
        (b"PK\x03\x04 and nothing more", "damaged or cut short"),
        (b"plain words", "no checkpoint"),
    ],
)
@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_damaged_and_foreign_files(part, load, tmp_path, content, says, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(part("loom_core.errors").WeightsError, match=says):
        load(tmp_path / name)


def test_a_pickle_with_code_is_never_run(part, load, tmp_path):
    import pickle

    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    with (tmp_path / "bad.pth").open("wb") as file:
        pickle.dump({"blocks.0": Harmful()}, file)
    with pytest.raises(part("loom_core.errors").WeightsError, match="code in it"):
        load(tmp_path / "bad.pth")
    assert not (tmp_path / "written").exists()


def test_a_choice_that_is_gone(part):
    loading = part("nodes.adapter.model.loading")
    with pytest.raises(part("loom_core.errors").WeightsError, match="press R"):
        loading.dit_path("gone.safetensors")
