"""Damage inside safetensors headers (whole files, shards and truncation: test_reading.py)."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from loom_core.errors import WeightsError
from loom_core.weights.safetensors_files import open_safetensors


def write(path, header, data=b""):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_shapes_and_dtypes_are_known_without_data(tmp_path):
    save_file({"a": torch.ones(2, 3, dtype=torch.float16)}, tmp_path / "x.safetensors")
    checkpoint = open_safetensors(tmp_path / "x.safetensors")
    assert checkpoint.shapes == {"a": (2, 3)}
    assert checkpoint.dtypes == {torch.float16: 1}


@pytest.mark.parametrize(
    ("dtype", "shape", "offsets"),
    [("F32", [2], [0, 4]), ("F32", [1], [4, 8]), ("F32", [10**12, 10**12], [0, 4]), ("F99", [1], [0, 4])],
)
def test_headers_that_lie_are_refused(tmp_path, dtype, shape, offsets):
    header = {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}
    with pytest.raises(WeightsError):
        open_safetensors(write(tmp_path / "x.safetensors", header, bytes(4)))


def test_two_tensors_cannot_share_bytes(tmp_path):
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    with pytest.raises(WeightsError, match="damaged"):
        open_safetensors(write(tmp_path / "x.safetensors", {"a": entry, "b": entry}, bytes(4)))
