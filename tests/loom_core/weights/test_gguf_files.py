"""GGUF: what was written is read; what is damaged or unknown is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loom_core.errors import MissingExtraError, WeightsError
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.gguf_files import open_gguf
from loom_core.weights.hashing import content_sha256
from loom_core.weights.loading import load_dit
from loom_core.weights.quantise import SCHEMES
from loom_core.weights.reading import open_checkpoint

gguf = pytest.importorskip("gguf")


def test_what_is_written_is_read(gguf_file, gguf_tensors):
    path, content = gguf_file
    found = open_checkpoint(path)
    assert found.layout == "GGUF"
    assert found.shapes == {name: tuple(tensor.shape) for name, tensor in gguf_tensors.items()}
    assert {name: packing.form for name, packing in found.packings.items()} == {"a.weight": "Q8_0"}
    assert found.infos["a.weight"].num_bytes == 6 * 2 * 34
    assert all(
        torch.equal(found.tensor(name).bfloat16(), gguf_tensors[name]) for name in gguf_tensors if name != "a.weight"
    )
    assert found.tensor("conv.weight").dtype is torch.bfloat16
    assert found.tensor("modulation").dtype is found.tensor("a.bias").dtype is torch.float32
    assert found.metadata["config"] == "{}"
    assert content == content_sha256(found)


def test_a_file_that_is_cut_short_is_refused(gguf_file):
    path = gguf_file[0]
    whole = path.read_bytes()
    for size in (4, 8, 30, 200, len(whole) // 2, len(whole) - 64):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="a GGUF file that is damaged or cut short"):
            open_checkpoint(path)


def test_a_shape_that_does_not_fit_is_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "wan")
    writer.add_array("comfy.gguf.orig_shape.a", [2, 5])
    writer.add_tensor("a", np.zeros((3, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(WeightsError, match=r"'a' of 12 numbers, said to be \[2, 5\]"):
        open_gguf(tmp_path / "m.gguf")


def test_a_type_that_cannot_be_widened_is_named(gguf_file, monkeypatch):
    def refuse(*_args):
        raise NotImplementedError

    monkeypatch.setattr(gguf.quants, "dequantize", refuse)
    with pytest.raises(WeightsError, match="type Q8_0, which the package gguf cannot widen"):
        open_gguf(gguf_file[0])


def test_a_scale_that_is_not_finite_is_found(golden_dir, tmp_path):
    target = tmp_path / "dit.gguf"
    convert_checkpoint(golden_dir / "models/tiny", target, scheme=SCHEMES["gguf-q8_0"])
    tensor = next(one for one in gguf.GGUFReader(target).tensors if one.name == "blocks.1.ffn.0.weight")
    data = bytearray(target.read_bytes())
    data[tensor.data_offset : tensor.data_offset + 2] = np.float16("nan").tobytes()
    target.write_bytes(data)
    with pytest.raises(WeightsError, match=r"blocks\.1\.ffn\.0\.weight' has 32 NaN"):
        load_dit(target)


def test_without_the_package_it_is_asked_for(gguf_file, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingExtraError, match="GGUF files; to fix: pip install gguf"):
        open_checkpoint(gguf_file[0])
