"""The content hash depends on what the tensors hold, not on the file that holds them."""

from __future__ import annotations

import hashlib
import os

import torch
from safetensors.torch import save_file

from loom_core.weights import hashing
from loom_core.weights.hashing import content_sha256, file_sha256, tensor_bytes, weights_sha256
from loom_core.weights.reading import open_checkpoint


def test_every_layout_of_the_same_weights_has_one_hash(weights_dir):
    paths = ("gen_model.pth", "gen_model.safetensors", "full_model.pt", "ckpt/latest")
    assert len({weights_sha256(weights_dir / path) for path in paths}) == 1


def test_averaged_and_live_weights_differ(weights_dir):
    assert weights_sha256(weights_dir / "ckpt") != weights_sha256(weights_dir / "ckpt", ema=False)


def test_each_property_of_a_tensor_counts(tmp_path):
    def digest(tensors):
        save_file(tensors, tmp_path / "x.safetensors")
        return content_sha256(open_checkpoint(tmp_path / "x.safetensors"))

    base = torch.arange(4, dtype=torch.int16)
    variants = [{"a": base}, {"b": base}, {"a": base.view(torch.bfloat16)}, {"a": base.reshape(2, 2)}, {"a": base + 1}]
    assert len({digest(variant) for variant in variants}) == 5
    assert digest({"a": base, "b": base + 1}) == digest({"b": base + 1, "a": base})


def test_the_hash_is_as_described(tmp_path):
    save_file({"a": torch.arange(3, dtype=torch.float32)}, tmp_path / "x.safetensors")
    data = hashlib.sha256(torch.arange(3, dtype=torch.float32).numpy().tobytes()).hexdigest()
    expected = hashlib.sha256(f"a F32 [3] {data}\n".encode()).hexdigest()
    assert content_sha256(open_checkpoint(tmp_path / "x.safetensors")) == expected


def test_a_changed_file_is_hashed_again(tmp_path):
    path = tmp_path / "x.safetensors"
    digests = set()
    for value in (1.0, 2.0):
        save_file({"a": torch.full((2,), value)}, path)
        os.utime(path, ns=(0, int(value)))
        digests.add(weights_sha256(path))
    assert len(digests) == 2


def test_an_unchanged_file_is_read_once(weights_dir, monkeypatch):
    first = weights_sha256(weights_dir / "gen_model.pth")
    monkeypatch.setattr(hashing, "content_sha256", None)
    assert weights_sha256(weights_dir / "gen_model.pth") == first


def test_large_files_are_hashed_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(hashing, "CHUNK_BYTES", 7)
    (tmp_path / "x").write_bytes(bytes(range(100)))
    assert file_sha256(tmp_path / "x") == hashlib.sha256(bytes(range(100))).hexdigest()
    pieces = list(tensor_bytes(torch.arange(20, dtype=torch.uint8)))
    assert [len(piece) for piece in pieces] == [7, 7, 6]
    assert b"".join(pieces) == bytes(range(20))
