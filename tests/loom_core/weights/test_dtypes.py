"""Number formats by name."""

from __future__ import annotations

import pytest
import torch

from loom_core.errors import ConfigError, WeightsError
from loom_core.weights.dtypes import DTYPE_OF_NAME, NAME_OF_DTYPE, dtype_from_choice, dtype_from_name


def test_names_and_dtypes_are_inverse():
    assert {NAME_OF_DTYPE[dtype]: dtype for dtype in NAME_OF_DTYPE} == dict(DTYPE_OF_NAME)
    assert dtype_from_name("BF16") is torch.bfloat16


def test_an_unknown_format_is_refused():
    with pytest.raises(WeightsError, match="F3_E1"):
        dtype_from_name("F3_E1")


@pytest.mark.parametrize(
    ("choice", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32), ("keep", None)]
)
def test_choices(choice, dtype):
    assert dtype_from_choice(choice) is dtype


def test_another_choice_is_refused():
    with pytest.raises(ConfigError, match="int3"):
        dtype_from_choice("int3")
