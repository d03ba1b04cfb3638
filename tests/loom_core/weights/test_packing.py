"""Which layers a file has quantised: told from marks of every age, and what is wrong with one is said."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from loom_core.errors import WeightsError
from loom_core.weights.checkpoint import Packing
from loom_core.weights.packing import forms_of, with_packings
from loom_core.weights.reading import open_checkpoint

FP8 = torch.float8_e4m3fn


@pytest.fixture
def opened(tmp_path):
    def make(tensors, metadata=None):
        save_file(tensors, tmp_path / "m.safetensors", metadata=metadata)
        return open_checkpoint(tmp_path / "m.safetensors")

    return make


def text(content):
    return torch.tensor(list(content.encode()), dtype=torch.uint8)


def mark(form="float8_e4m3fn", **more):
    return text(json.dumps({"format": form, **more}))


def layer(dtype=FP8, scale=(), **more):
    return {
        "ffn.0.weight": torch.ones(4, 2).to(dtype),
        "ffn.0.bias": torch.zeros(4),
        "ffn.0.weight_scale": torch.ones(scale),
        "norm.weight": torch.ones(4),
        **more,
    }


FP8_LAYER = {"ffn.0.weight": Packing("float8_e4m3fn", "ffn.0.weight_scale")}


def test_a_mark_beside_the_weight(opened):
    found = with_packings(opened(layer() | {"ffn.0.comfy_quant": mark(), "ffn.0.input_scale": torch.ones(())}))
    assert found.packings == FP8_LAYER
    assert set(found) == {"ffn.0.weight", "ffn.0.bias", "norm.weight"}


def test_marks_in_the_metadata(opened):
    content = json.dumps({"format_version": "1.0", "layers": {"ffn.0": {"format": "float8_e4m3fn"}}})
    found = with_packings(opened(layer(), {"_quantization_metadata": content}))
    assert found.packings == FP8_LAYER
    assert set(found) == {"ffn.0.weight", "ffn.0.bias", "norm.weight"}


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_the_older_scaled_fp8(opened, prefix):
    tensors = layer()
    tensors["ffn.0.scale_weight"] = tensors.pop("ffn.0.weight_scale")
    tensors["scaled_fp8"] = torch.zeros(2).to(FP8)
    found = with_packings(opened({prefix + name: tensor for name, tensor in tensors.items()}))
    weight = f"{prefix}ffn.0.weight"
    assert found.packings == {weight: Packing("float8_e4m3fn", f"{prefix}ffn.0.scale_weight")}
    assert set(found) == {weight, f"{prefix}ffn.0.bias", f"{prefix}norm.weight"}


def test_int8_with_a_scale_a_row(opened):
    found = with_packings(opened(layer(torch.int8, (4, 1), **{"ffn.0.comfy_quant": mark("int8_tensorwise")})))
    assert found.packings["ffn.0.weight"].form == "int8_tensorwise"


def test_a_plain_file_is_left_alone(opened):
    plain = opened({"a.weight": torch.ones(2, 2)})
    assert with_packings(plain) is plain
    assert forms_of(plain) == {}


def test_renaming_takes_the_marks_along(opened):
    name = "model.diffusion_model.blocks.0.attn1.to_q"
    tensors = {
        f"{name}.weight": torch.ones(4, 2).to(FP8),
        f"{name}.weight_scale": torch.full((), 3.0),
        f"{name}.comfy_quant": mark(),
    }
    found = with_packings(opened(tensors)).native()
    assert list(found) == ["blocks.0.self_attn.q.weight"]
    packing = found.packings["blocks.0.self_attn.q.weight"]
    assert found.load(packing.scale).item() == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ffn.0.comfy_quant": mark("nvfp4")}, r"layer 'ffn\.0' is quantised as nvfp4; expected one of float8_e4m3fn"),
        ({"ffn.0.comfy_quant": mark("int8_tensorwise", convrot=True)}, "int8_tensorwise with convrot"),
        ({"ffn.0.comfy_quant": mark("int8_tensorwise", params={"convrot": True})}, "int8_tensorwise with convrot"),
        ({"ffn.0.comfy_quant": mark("int8_tensorwise")}, r"a weight in float8_e4m3fn; expected one in int8"),
        ({"ffn.0.comfy_quant": text("{not json")}, r"mark of quantisation 'ffn\.0\.comfy_quant' cannot be read"),
        ({"ffn.0.comfy_quant": text("[]")}, r"mark of quantisation 'ffn\.0\.comfy_quant' cannot be read"),
        ({"ffn.1.comfy_quant": mark()}, r"quantised layer 'ffn\.1' has no weight"),
        ({"ffn.0.comfy_quant": mark(), "ffn.0.weight_scale": torch.ones(3)}, r"3 scales of .*'ffn\.0\.weight'"),
        ({"ffn.0.comfy_quant": mark(), "ffn.0.weight_scale": torch.ones(0)}, r"0 scales of .*'ffn\.0\.weight'"),
    ],
)
def test_what_cannot_be_read_is_refused(opened, change, says):
    with pytest.raises(WeightsError, match=says):
        with_packings(opened(layer() | change))


@pytest.mark.parametrize("content", ["nonsense", "[]", "{}", '{"layers": 3}', '{"layers": {"ffn.0": 3}}'])
def test_damaged_metadata_is_refused(opened, content):
    with pytest.raises(WeightsError, match="_quantization_metadata"):
        with_packings(opened(layer(), {"_quantization_metadata": content}))


def test_forms_are_counted_also_where_they_cannot_be_read(opened):
    tensors = layer() | {"ffn.0.comfy_quant": mark("nvfp4"), "ffn.1.comfy_quant": mark("nvfp4")}
    assert forms_of(opened(tensors)) == {"nvfp4": 2}
    whole = with_packings(opened(layer() | {"ffn.0.comfy_quant": mark()}))
    assert forms_of(whole) == {"float8_e4m3fn": 1}
