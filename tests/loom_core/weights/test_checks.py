"""What is wrong with weights is found and named in full."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loom_core.errors import WeightsError
from loom_core.weights.checks import (
    compare_keys,
    is_finite,
    ranges,
    require_finite,
    require_keys,
    shortened,
    wrong_model,
)
from loom_core.weights.reading import open_checkpoint


def test_differences_are_sorted_by_kind():
    report = compare_keys({"a": (1,), "b": (2, 3), "x": (1,)}, {"a": (1,), "b": (3, 2), "c": (1,)})
    assert (report.missing, report.unexpected) == (("c",), ("x",))
    assert report.misshaped == ("b (found [2, 3], expected [3, 2])",)
    with pytest.raises(WeightsError, match=r"1 missing: c; 1 unexpected: x; 1 of wrong shape: b \(found \[2, 3\]"):
        require_keys(report, Path("x"))


def test_no_difference_passes():
    report = compare_keys({"a": (1,)}, {"a": (1,)})
    assert report.fits
    require_keys(report, Path("x"))


def test_few_names_are_listed_one_by_one():
    assert shortened(["blocks.0.a", "blocks.1.a"]) == "blocks.0.a, blocks.1.a"


def test_hundreds_of_names_are_all_there_in_short():
    names = ["head.x", *(f"p.blocks.{index}.{name}" for index in range(30) for name in ("a.w", "b.w", "c.w"))]
    names.remove("p.blocks.7.b.w")
    assert shortened(names) == "head.x, p.blocks.{0-29}.a.w, p.blocks.{0-6,8-29}.b.w, p.blocks.{0-29}.c.w"


def test_a_language_models_layers_are_shortened_too():
    names = [f"model.layers.{index}.{name}" for index in range(36) for name in ("a", "b")]
    assert shortened(names) == "model.layers.{0-35}.a, model.layers.{0-35}.b"


def test_a_wrong_file_is_told_what_it_is(tmp_path):
    def error(tensors):
        path = tmp_path / "x.safetensors"
        save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, path)
        return str(wrong_model(open_checkpoint(path), expected="a codec", fix="give one"))

    assert "x.safetensors, which is a Wan 2.1 VAE (16" in error({"decoder.x": (1,), "conv2.weight": (16, 16, 1, 1, 1)})
    unknown = error({"fc.weight": (1, 1)})
    assert "no model known here (the first of its 1 tensors are fc.weight); expected a codec; to fix: give" in unknown


@pytest.mark.parametrize(("numbers", "text"), [([3], "3"), ([0, 1, 2], "0-2"), ([5, 1, 2, 1], "1-2,5"), ([], "")])
def test_ranges(numbers, text):
    assert ranges(numbers) == text


DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_number_is_found_anywhere(dtype, bad):
    assert is_finite(torch.linspace(-2, 2, 999).to(dtype))
    for index in (0, 500, 998):
        tensor = torch.ones(999)
        tensor[index] = bad
        assert not is_finite(tensor.to(dtype))


def test_a_bad_number_behind_the_first_piece_is_found():
    tensor = torch.zeros((1 << 24) + 5, dtype=torch.bfloat16)
    tensor[-1] = math.nan
    assert not is_finite(tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_finite_numbers_whose_sum_is_not_pass(dtype):
    tensor = torch.full((999,), torch.finfo(dtype).max, dtype=dtype)
    assert not tensor.sum().isfinite()
    assert is_finite(tensor)


def test_infinities_that_cancel_are_found():
    assert not is_finite(torch.tensor([math.inf, 1.0, -math.inf]))


@pytest.mark.parametrize("tensor", [torch.empty(0), torch.tensor([1, 2]), torch.tensor(True)])
def test_what_cannot_be_bad_passes(tensor):
    assert is_finite(tensor)


def test_the_weight_is_named():
    with pytest.raises(WeightsError, match=r"'blocks\.0\.x' has 2 NaN or infinite values of 3"):
        require_finite(torch.tensor([1, math.nan, math.inf]), "blocks.0.x", Path("file"))


def test_a_cast_that_overflows_is_blamed():
    with pytest.raises(WeightsError, match=r"after conversion from torch\.float32 to torch\.float16.*bf16"):
        require_finite(torch.tensor([1e6]).half(), "x", Path("file"), cast_from=torch.float32)
