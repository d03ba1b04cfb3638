"""Numbers are rounded to the nearest that their format has, and the matrices of the blocks alone are."""

from __future__ import annotations

import json

import pytest
import torch

from loom_core.config.model import LOOMVIDEO_5B
from loom_core.errors import ConfigError
from loom_core.models.dit import LoomDiT
from loom_core.models.quantised import STORED_AS
from loom_core.planning.sizes import dit_weights
from loom_core.weights.checkpoint import TensorInfo
from loom_core.weights.quantise import MATRICES, SCHEMES, comfy_entries, quantise, scheme_of


@pytest.fixture
def matrix():
    return torch.randn(40, 56, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 1, 40)[:, None]


def test_int8_is_off_by_half_a_step_of_its_row(matrix):
    numbers, scale = quantise(matrix, "int8_tensorwise")
    assert numbers.dtype is torch.int8
    assert scale.shape == (40, 1)
    assert torch.equal(numbers.abs().amax(1).int(), torch.full((40,), 127, dtype=torch.int32))
    assert ((numbers.float() * scale - matrix).abs() <= scale / 2 * (1 + 1e-5)).all()


@pytest.mark.parametrize(("form", "mantissa"), [("float8_e4m3fn", 3), ("float8_e5m2", 2)])
def test_fp8_is_off_by_half_a_unit_of_its_mantissa(matrix, form, mantissa):
    numbers, scale = quantise(matrix, form)
    limits = torch.finfo(STORED_AS[form])
    assert scale.shape == ()
    assert float(numbers.float().abs().max()) == limits.max
    error = (numbers.float() * scale - matrix).abs()
    normal = matrix.abs() >= limits.tiny * scale
    assert (error[normal] <= matrix.abs()[normal] * 2.0 ** -(mantissa + 1) * (1 + 1e-5)).all()
    assert normal.float().mean() > 0.7


@pytest.mark.parametrize("form", STORED_AS)
@pytest.mark.parametrize("value", [0.0, 1e-42, 3e38])
def test_the_smallest_and_largest_numbers_stay_finite(form, value):
    numbers, scale = quantise(torch.full((2, 3), value), form)
    wide = numbers.float() * scale
    assert torch.isfinite(wide).all()
    torch.testing.assert_close(wide, torch.full((2, 3), value), rtol=1e-5, atol=1e-38)


def test_the_matrices_of_the_blocks_are_those_that_are_planned_for():
    shapes = {name: weight.shape for name, weight in LoomDiT(LOOMVIDEO_5B, device="meta").state_dict().items()}
    chosen = {name: shape for name, shape in shapes.items() if MATRICES.fullmatch(name)}
    assert len(chosen) == 30 * 10
    assert all(name.startswith("blocks.") and len(shape) == 2 for name, shape in chosen.items())
    numbers = sum(shape.numel() for shape in chosen.values())
    biases = sum(shapes[name.replace("weight", "bias")].numel() for name in chosen)
    assert numbers + biases == dit_weights(LOOMVIDEO_5B).matrices
    assert numbers / sum(shape.numel() for shape in shapes.values()) > 0.96


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("model.language_model.layers.3.self_attn.q_proj.weight", True),
        ("model.layers.3.mlp.down_proj.weight", True),
        ("model.visual.blocks.0.attn.qkv.weight", True),
        ("visual.deepstack_merger_list.2.linear_fc1.weight", True),
        ("visual.merger.linear_fc2.weight", True),
        ("model.language_model.layers.3.self_attn.q_norm.weight", False),
        ("model.language_model.embed_tokens.weight", False),
        ("visual.merger.norm.weight", False),
        ("model.visual.blocks.0.attn.qkv.bias", False),
        ("visual.patch_embed.proj.weight", False),
        ("mllm_embedder.linear_1.weight", False),
        ("time_projection.1.weight", False),
    ],
)
def test_weights_by_name(name, is_one):
    assert bool(MATRICES.fullmatch(name)) == is_one


@pytest.mark.parametrize("form", STORED_AS)
def test_entries_are_what_they_say(matrix, form):
    info = TensorInfo(tuple(matrix.shape), matrix.dtype)
    entries = {entry.name: entry for entry in comfy_entries("a.weight", info, lambda: quantise(matrix, form), form)}
    made = {name: entry.load() for name, entry in entries.items()}
    assert set(made) == {"a.weight", "a.weight_scale", "a.comfy_quant"}
    assert all(TensorInfo(tuple(made[name].shape), made[name].dtype) == entry.info for name, entry in entries.items())
    says = json.loads(bytes(made["a.comfy_quant"].tolist()))
    assert says == {"format": form, "full_precision_matrix_mult": True}


def test_an_unknown_scheme_is_refused():
    assert all(scheme_of(name).name == name for name in SCHEMES)
    with pytest.raises(ConfigError, match=r"format 'fp7'; expected one of fp8, int8"):
        scheme_of("fp7")
