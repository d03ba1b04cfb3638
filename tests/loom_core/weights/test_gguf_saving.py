"""GGUF files are written as ComfyUI-GGUF lays them out, whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loom_core.errors import WeightsError
from loom_core.models.quantised import QuantisedLinear
from loom_core.types import Condition
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.gguf_saving import GgufEntry, form_for, save_gguf
from loom_core.weights.hashing import content_sha256
from loom_core.weights.identify import ModelKind
from loom_core.weights.loading import load_dit
from loom_core.weights.quantise import MATRICES, SCHEMES
from loom_core.weights.reading import open_checkpoint

gguf = pytest.importorskip("gguf")


def test_the_layout_is_that_of_comfyui_gguf(gguf_file, gguf_tensors):
    """Read as its loader does: architecture, names, and the shape of what has five axes."""
    reader = gguf.GGUFReader(gguf_file[0])
    assert reader.get_field("general.architecture").contents() == "wan"
    assert {tensor.name for tensor in reader.tensors} == set(gguf_tensors)
    field = reader.get_field("comfy.gguf.orig_shape.conv.weight")
    assert field.types == [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.INT32]
    assert field.contents() == [4, 3, 1, 2, 2]
    packed = next(tensor for tensor in reader.tensors if tensor.name == "a.weight")
    wide = gguf.quants.dequantize(packed.data, packed.tensor_type)
    assert np.abs(wide - gguf_tensors["a.weight"].float().numpy()).max() < 0.02


@pytest.mark.parametrize(
    ("shape", "form", "wanted"),
    [((6, 64), "Q8_0", "Q8_0"), ((6, 48), "Q8_0", "BF16"), ((6, 64), None, "BF16"), ((64,), "Q8_0", "F32")],
)
def test_rows_that_are_no_whole_blocks_stay_plain(shape, form, wanted):
    assert form_for(shape, torch.bfloat16, form) == wanted


@pytest.mark.parametrize(("name", "limit"), [("gguf-q8_0", 0.02), ("gguf-q4_0", 0.3)])
def test_a_dit_stays_quantised_in_memory(golden_dir, tmp_path, name, limit):
    target = tmp_path / "dit.gguf"
    report = convert_checkpoint(golden_dir / "models/tiny", target, scheme=SCHEMES[name])
    checkpoint = open_checkpoint(target)
    assert checkpoint.kind is ModelKind.LOOMVIDEO
    assert content_sha256(checkpoint) == report.content_sha256
    made, exact = (load_dit(path, dtype=torch.float32) for path in (tmp_path, golden_dir / "models/tiny"))
    quantised = {name for name, layer in made.named_modules() if isinstance(layer, QuantisedLinear)}
    assert quantised == {name.removesuffix(".weight") for name in exact.state_dict() if MATRICES.fullmatch(name)}
    assert {made.get_submodule(name).weight.dtype for name in quantised} == {torch.uint8}
    states = torch.randn(made.config.num_layers, 7, made.config.mllm_dim, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(1, 48, 2, 4, 6, generator=torch.Generator().manual_seed(2))
    found, wanted = (
        model(noise, torch.tensor([700]), model.prepare([Condition(states.unbind(0))], noise))
        for model in (made, exact)
    )
    assert 1e-4 < float((found - wanted).norm() / wanted.norm()) < limit


def test_a_failed_write_leaves_nothing(tmp_path):
    def fail():
        raise WeightsError("a weight that cannot be read")

    with pytest.raises(WeightsError, match="cannot be read"):
        save_gguf(tmp_path / "m.gguf", [GgufEntry("a", (2, 2), "F32", fail)], architecture="wan")
    assert list(tmp_path.iterdir()) == []
