"""Every official layout loads to the official result; whatever does not fit is refused by name; memory stays small."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from loom_core.errors import WeightsError
from loom_core.models.dit import LoomDiT
from loom_core.types import Condition, Reference
from loom_core.weights.loading import load_dit


def velocity(model, tensors):
    num_layers = model.config.num_layers
    states = [tensors[f"und_hidden.{index}"][0] for index in range(3)][-num_layers:]
    condition = Condition(tuple(states), tensors["source_latents"][0], (Reference(tensors["ref_latents.0"][0]),))
    with torch.no_grad():
        return model(tensors["latents"], tensors["timestep"], model.prepare([condition], tensors["latents"]))


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("ckpt", {}, "ema"),
        ("ckpt/ema/ema.pth", {}, "ema"),
        ("ckpt", {"ema": False}, "latest"),
        ("ckpt/latest/gen_model.pth", {}, "latest"),
        ("gen_model.pth", {}, "latest"),
        ("gen_model.safetensors", {}, "latest"),
        ("gen_model_mixed_dtype.pth", {}, "latest"),
        ("full_model.pt", {}, "full_file"),
    ],
)
def test_each_layout_gives_the_official_velocity(weights_dir, load_check, path, options, expected):
    tensors, sidecar = load_check
    model = load_dit(weights_dir / path, config=sidecar["dit_config"], dtype=torch.float32, **options)
    torch.testing.assert_close(velocity(model, tensors), tensors[f"velocity.{expected}"], atol=2e-5, rtol=1e-5)


def dtypes_of(model):
    return {parameter.dtype for parameter in model.parameters()}


def test_dtypes_are_unified_kept_or_converted(weights_dir, load_check):
    path, config = weights_dir / "gen_model_mixed_dtype.pth", load_check[1]["dit_config"]
    assert dtypes_of(load_dit(path, config=config)) == {torch.bfloat16}
    assert dtypes_of(load_dit(path, config=config, dtype="keep")) == {torch.bfloat16, torch.float32}
    assert dtypes_of(load_dit(path, config=config, dtype=torch.float16)) == {torch.float16}


def test_a_mixed_file_computes_without_being_told_how(weights_dir, load_check):
    tensors, sidecar = load_check
    model = load_dit(weights_dir / "gen_model_mixed_dtype.pth", config=sidecar["dit_config"])
    tensors = {name: tensor.bfloat16() if name == "latents" else tensor for name, tensor in tensors.items()}
    expected = tensors["velocity.latest"]
    assert (velocity(model, tensors).float() - expected).norm() < 0.03 * expected.norm()


@pytest.fixture
def write(tmp_path, make_state, as_official):
    """Write a small DiT, changed by a function, in native or official naming."""

    def write(change=None, *, official=False, **overrides):
        state = make_state(**overrides)
        state = as_official(state) if official else state
        state = (change(state) or state) if change else state
        path = tmp_path / "dit.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
        return path

    return write


@pytest.mark.parametrize(("stored", "loaded"), [(torch.float16, torch.float16), (torch.float8_e4m3fn, torch.float32)])
def test_the_format_with_most_bytes_that_computes_is_taken(write, stored, loaded):
    def change(state):
        return {name: tensor.to(stored) if ".ffn." in name else tensor for name, tensor in state.items()}

    assert dtypes_of(load_dit(write(change, ffn_dim=4096))) == {loaded}


def test_a_file_that_only_stores_its_numbers_computes_in_bfloat16(write):
    def change(state):
        return {name: tensor.to(torch.float8_e4m3fn) for name, tensor in state.items()}

    assert dtypes_of(load_dit(write(change))) == {torch.bfloat16}


@pytest.mark.parametrize("official", [True, False])
def test_the_loaded_model_has_the_files_weights(write, make_state, small_config, official):
    model = load_dit(write(official=official))
    assert model.config == small_config
    assert not model.training
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in model.parameters())
    assert not any(buffer.is_meta for buffer in model.buffers())
    for name, tensor in make_state().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_every_difference_is_named_as_in_the_file(write):
    def change(state):
        del state["blocks.1.attn2.to_out.0.bias"], state["blocks.0.norm2.weight"]
        state["blocks.0.extra.weight"] = torch.ones(1)
        state["proj_out.bias"] = torch.ones(3)

    with pytest.raises(WeightsError) as caught:
        load_dit(write(change, official=True))
    for part in (
        "2 missing",
        "blocks.1.attn2.to_out.0.bias",
        "blocks.0.norm2.weight",
        "1 unexpected: blocks.0.extra.weight",
        "1 of wrong shape: proj_out.bias (found [3], expected [192])",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "missing",
    [
        "patch_embedding.weight",
        "proj_out.weight",
        "blocks.0.ffn.net.0.proj.weight",
        "condition_embedder.time_embedder.linear_1.weight",
        "mllm_embedder.norm.weight",
        "blocks.0.attn1.to_q.weight",
    ],
)
def test_weights_that_show_sizes_are_named_too(write, missing):
    def change(state):
        del state[missing], state["blocks.1.norm2.bias"]

    with pytest.raises(WeightsError, match="2 missing") as caught:
        load_dit(write(change, official=True, time_embed_dim=256, mllm_dim=4096))
    assert missing in str(caught.value)
    assert "blocks.1.norm2.bias" in str(caught.value)


@pytest.mark.parametrize("wrong", ["patch_embedding.weight", "head.head.weight", "blocks.0.ffn.0.weight"])
def test_one_wrong_shape_is_one_complaint(write, wrong):
    def change(state):
        state[wrong] = state[wrong].repeat_interleave(2, dim=0)

    with pytest.raises(WeightsError, match="1 of wrong shape") as caught:
        load_dit(write(change))
    assert wrong in str(caught.value)


def test_a_block_that_is_missing_in_the_middle_is_named_in_full(write):
    def change(state):
        return {name: tensor for name, tensor in state.items() if not name.startswith("blocks.1.")}

    with pytest.raises(WeightsError, match="27 missing") as caught:
        load_dit(write(change, num_layers=3))
    assert "blocks.1.self_attn.norm_q.weight" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(write, value):
    def change(state):
        state["blocks.1.attn1.to_q.weight"][3, 5] = value

    path = write(change, official=True)
    with pytest.raises(WeightsError, match=r"blocks\.1\.attn1\.to_q\.weight' has 1 NaN"):
        load_dit(path)
    assert isinstance(load_dit(path, check_finite=False), LoomDiT)


def test_a_cast_that_overflows_is_refused(write):
    def change(state):
        state["head.head.bias"][0] = 1e6

    path = write(change)
    with pytest.raises(WeightsError, match="after conversion"):
        load_dit(path, dtype=torch.float16)
    load_dit(path, dtype=torch.bfloat16)


def test_stage_1_loads_without_a_source(write, small_config):
    model = load_dit(write(has_source=False))
    assert model.config == replace(small_config, has_source=False)
    assert not hasattr(model, "source_patch_embedding")


def test_half_a_source_embedding_is_refused(write):
    def change(state):
        del state["source_patch_embedding.bias"]

    with pytest.raises(WeightsError, match=r"1 missing: source_patch_embedding\.bias"):
        load_dit(write(change))


PLAIN = {"has_source": False, "has_projector": False}


def test_plain_wan_is_refused_unless_allowed(write):
    with pytest.raises(WeightsError, match=r"plain Wan 2\.2 TI2V-5B.*allow_plain_wan"):
        load_dit(write(**PLAIN))


@pytest.mark.parametrize("dtype", [None, "keep", torch.bfloat16])
def test_plain_wan_is_the_start_of_a_training(write, make_state, caplog, dtype):
    model = load_dit(write(**PLAIN), allow_plain_wan=True, dtype=dtype)
    expected = dtype if isinstance(dtype, torch.dtype) else torch.float32
    assert "start of a training" in caplog.text
    assert model.config.has_source
    assert model.config.has_projector
    assert model.config.mllm_dim == 4096
    assert dtypes_of(model) == {expected}
    state = model.state_dict()
    for name in ("mllm_embedder.linear_2.weight", "mllm_embedder.linear_2.bias", "source_patch_embedding.weight"):
        assert not state[name].any()
    assert state["mllm_embedder.linear_1.weight"].any()
    assert torch.equal(state["mllm_embedder.norm.weight"], torch.ones_like(state["mllm_embedder.norm.weight"]))
    assert torch.equal(state["head.head.weight"], make_state(**PLAIN)["head.head.weight"].to(expected))


def test_the_start_of_a_training_is_always_the_same(write):
    path = write(**PLAIN)
    first, second = (load_dit(path, allow_plain_wan=True).mllm_embedder.linear_1.weight for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("models/tiny/vae", "a Wan 2.2 VAE"),
        ("models/tiny/qwen", "a Qwen3-VL language model"),
        ("models/tiny/vae/diffusion_pytorch_model.safetensors", "a Wan 2.2 VAE"),
    ],
)
def test_swapped_files_are_named(golden_dir, path, found):
    with pytest.raises(WeightsError, match=f"which is {found}.*a LoomVideo DiT"):
        load_dit(golden_dir / path)


@pytest.mark.parametrize(
    ("tensors", "found"),
    [
        ({"diffusion_model.blocks.0.self_attn.q.lora_A.weight": (4, 8)}, "a LoRA"),
        ({"blocks.0.self_attn.q.weight": (8, 8), "patch_embedding.weight": (8, 16, 1, 2, 2)}, "another Wan DiT"),
        ({"decoder.conv1.weight": (8, 16), "conv2.weight": (16, 16, 1, 1, 1)}, r"a Wan 2\.1 VAE \(16 latent"),
        ({"shared.weight": (8, 8), "encoder.block.0.layer.0.SelfAttention.q.weight": (8, 8)}, "a UMT5"),
        ({"conv1.weight": (8, 3, 7, 7)}, r"no model known here.*conv1\.weight"),
        ({}, "a file without tensors"),
    ],
)
@pytest.mark.parametrize("allow_plain_wan", [True, False])
def test_other_models_are_named(tmp_path, tensors, found, allow_plain_wan):
    path = tmp_path / "gen_model.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, path)
    with pytest.raises(WeightsError, match=found):
        load_dit(path, allow_plain_wan=allow_plain_wan)


def test_other_components_of_a_whole_model_are_passed_over(tmp_path, make_state):
    state = {f"gen_model.{name}": tensor for name, tensor in make_state().items()}
    torch.save(state | {"und_model.lm_head.weight": torch.ones(3), "fixed_t5_embeds": torch.ones(1)}, tmp_path / "x.pt")
    assert isinstance(load_dit(tmp_path / "x.pt"), LoomDiT)


# --- memory

LOAD = """
from loom_core.weights.loading import load_dit
def act(path, dtype):
    global model
    model = load_dit(path, dtype=getattr(torch, dtype, None))
"""


@pytest.mark.parametrize(
    ("form", "dtype", "most"), [("safetensors", "keep", 0.3), ("pth", "keep", 0.3), ("pth", "bfloat16", 0.7)]
)
def test_peak_memory_stays_below_the_file(large_files, peak_memory, form, dtype, most):
    path = large_files[form]
    assert peak_memory(LOAD, path, dtype) < most * path.stat().st_size
