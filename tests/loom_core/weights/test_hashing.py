"""The content hash depends on what the tensors hold, not on the file that holds them."""

from __future__ import annotations

import hashlib
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from loom_core.weights import hashing
from loom_core.weights.hashing import (
    SAMPLE_BYTES,
    WeightsHash,
    content_sha256,
    file_sha256,
    sample_bytes,
    tensor_bytes,
    weights_hash,
    weights_sha256,
)
from loom_core.weights.reading import open_checkpoint
from loom_core.weights.saving import entries_of, save_safetensors


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
    told = []
    assert file_sha256(tmp_path / "x", tell=told.append) == hashlib.sha256(bytes(range(100))).hexdigest()
    assert told == [7] * 14 + [2]
    pieces = list(tensor_bytes(torch.arange(20, dtype=torch.uint8)))
    assert [len(piece) for piece in pieces] == [7, 7, 6]
    assert b"".join(pieces) == bytes(range(20))


@pytest.fixture
def written(tmp_path):
    """A file of ours with a large and a small tensor, and the hash that it states."""
    path = tmp_path / "dit.safetensors"
    stated = save_safetensors(path, entries_of({"large": torch.zeros(10 * SAMPLE_BYTES), "small": torch.zeros(3)}))
    return path, stated


def edit_as_other_tools_do(path, name, index):
    """Change one number and keep the metadata."""
    metadata, tensors = dict(open_checkpoint(path).metadata), load_file(path)
    tensors[name][index] = 1.0
    save_file(tensors, path, metadata=metadata)


def test_a_converted_file_is_not_read(written, monkeypatch):
    path, stated = written
    monkeypatch.setattr(hashing, "content_sha256", None)
    assert weights_hash(path) == WeightsHash(stated, is_verified=False)
    assert weights_hash(path).origin == "stated"
    assert weights_sha256(path) == stated


@pytest.mark.parametrize(("name", "index"), [("small", 1), ("large", 0), ("large", -1), ("large", 5 * SAMPLE_BYTES)])
def test_a_statement_that_other_tools_kept_is_not_believed(written, name, index):
    path, stated = written
    edit_as_other_tools_do(path, name, index)
    assert open_checkpoint(path).metadata["content_sha256"] == stated
    found = weights_hash(path)
    assert found == WeightsHash(content_sha256(open_checkpoint(path)), is_verified=True)
    assert found.origin == "computed"
    assert weights_sha256(path) == found.value != stated


def test_what_samples_miss_is_called_stated_and_found_on_request(written):
    path, stated = written
    edit_as_other_tools_do(path, "large", 2 * SAMPLE_BYTES)
    assert weights_hash(path) == WeightsHash(stated, is_verified=False)
    assert weights_hash(path, verify=True).is_verified
    assert weights_hash(path, verify=True).value != stated


def test_a_statement_without_samples_is_not_believed(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors", metadata={"content_sha256": "0" * 64})
    found = weights_hash(tmp_path / "x.safetensors")
    assert found == WeightsHash(content_sha256(open_checkpoint(tmp_path / "x.safetensors")), is_verified=True)


@pytest.mark.parametrize("size", [0, 1, SAMPLE_BYTES, SAMPLE_BYTES + 1, 3 * SAMPLE_BYTES, 10 * SAMPLE_BYTES])
def test_samples_are_the_ends_and_the_middle(size):
    data = torch.arange(size, dtype=torch.int64).to(torch.uint8)
    pieces = [bytes(piece) for piece in sample_bytes(data)]
    whole = bytes(data.numpy())
    assert pieces[0] == whole[:SAMPLE_BYTES]
    assert pieces[2] == whole[-SAMPLE_BYTES:]
    assert {len(piece) for piece in pieces} == {min(size, SAMPLE_BYTES)}
    assert pieces[1] in whole
