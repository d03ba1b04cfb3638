"""A model takes exactly its own weights, without a second copy where nothing has to change."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from loom_core.errors import WeightsError
from loom_core.weights.filling import fill_model, read_weights
from loom_core.weights.packing import with_packings
from loom_core.weights.reading import open_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    def make(tensors):
        save_file(tensors, tmp_path / "m.safetensors")
        return open_checkpoint(tmp_path / "m.safetensors")

    return make


def fill(checkpoint, dtype=None):
    with torch.device("meta"):
        model = nn.Linear(2, 3)
    sources = {name.removeprefix("old."): name for name in checkpoint}
    fill_model(model, checkpoint, sources, dtype=dtype, fix="give the right file")
    return model


def test_names_and_number_formats_become_the_models(checkpoint):
    stored = checkpoint({"old.weight": torch.ones(3, 2), "old.bias": torch.arange(3.0)})
    model = fill(stored, torch.bfloat16)
    assert model.bias.dtype is torch.bfloat16
    assert model.bias.tolist() == [0, 1, 2]
    assert fill(stored).weight.dtype is torch.float32


def test_every_fault_is_named_with_what_to_do(checkpoint):
    with pytest.raises(WeightsError, match="to fix: give the right file") as caught:
        fill(checkpoint({"weight": torch.ones(2, 2), "scale": torch.ones(1)}))
    for part in ("1 missing: bias", "1 unexpected: scale", "of wrong shape: weight (found [2, 2], expected [3, 2])"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("value", "dtype", "fix"), [(float("nan"), torch.float32, "get the file again"), (1e9, torch.float16, "bf16")]
)
def test_values_that_are_not_finite_are_refused_under_the_files_name(checkpoint, value, dtype, fix):
    stored = checkpoint({"old.weight": torch.ones(3, 2), "old.bias": torch.full((3,), value)})
    with pytest.raises(WeightsError, match=f"'old.bias' has 3 NaN or infinite values of 3.*{fix}"):
        fill(stored, dtype)


def test_values_are_not_read_twice_on_request(checkpoint):
    stored = checkpoint({"weight": torch.tensor([float("inf")])})
    assert read_weights(stored, {"w": "weight"}, check_finite=False)["w"].isinf().all()


def test_whole_numbers_keep_their_format(checkpoint):
    stored = checkpoint({"table": torch.tensor([1, 2]), "scale": torch.tensor([1.5])})
    read = read_weights(stored, {name: name for name in stored}, dtype=torch.float16)
    assert (read["table"].dtype, read["scale"].dtype) == (torch.int64, torch.float16)


def test_what_needs_no_change_is_not_copied(checkpoint):
    tensors = {"weight": torch.zeros(8)}
    stored = checkpoint(tensors)
    own = dict(stored.infos)  # a stand-in whose tensors can be compared by address
    held = type(stored)(stored.path, stored.files, stored.layout, own, tensors.__getitem__)
    assert read_weights(held, {"w": "weight"})["w"].data_ptr() == tensors["weight"].data_ptr()


def quantised_file(**more):
    mark = torch.tensor(list(b'{"format": "int8_tensorwise"}'), dtype=torch.uint8)
    return {
        "0.weight": torch.tensor([[1, 2], [3, 4], [5, 6]], dtype=torch.int8),
        "0.weight_scale": torch.tensor([[1.0], [2.0], [3.0]]),
        "0.comfy_quant": mark,
        "0.bias": torch.zeros(3),
        "1.weight": torch.full((2, 3), 4, dtype=torch.int8),
        "1.weight_scale": torch.full((), 0.5),
        "1.comfy_quant": mark.clone(),
        **more,
    }


def fill_two(checkpoint):
    """A linear layer, whose matrix stays quantised, and a table, which is widened."""
    stored = with_packings(checkpoint)
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(2, 3), nn.Embedding(2, 3))
    fill_model(model, stored, {name: name for name in stored}, dtype=torch.bfloat16, fix="give the right file")
    return model


def test_linear_layers_stay_quantised_and_the_rest_is_widened(checkpoint):
    model = fill_two(checkpoint(quantised_file()))
    assert model[0].weight.dtype is torch.int8
    assert model[1].weight.dtype is torch.bfloat16
    assert model[1](torch.tensor([1])).tolist() == [[2.0, 2.0, 2.0]]
    assert model[0](torch.ones(1, 2, dtype=torch.bfloat16)).tolist() == [[3.0, 14.0, 33.0]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"0.weight": torch.zeros(3, 4, dtype=torch.int8)}, r"0\.weight \(found \[3, 4\], expected \[3, 2\]\)"),
        ({"0.weight_scale": torch.tensor([[1.0], [float("nan")], [3.0]])}, r"0\.weight_scale' has 1 NaN"),
        ({"1.weight_scale": torch.tensor(float("inf"))}, r"1\.weight' has 6 NaN or infinite"),
    ],
)
def test_faults_of_quantised_weights_are_named(checkpoint, change, says):
    with pytest.raises(WeightsError, match=says):
        fill_two(checkpoint(quantised_file(**change)))
