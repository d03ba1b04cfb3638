"""Streamed files are good safetensors, byte by byte the same each time, and whole or not there."""

from __future__ import annotations

import errno

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from loom_core.errors import OutputError, ResourceError, WeightsError
from loom_core.weights import saving
from loom_core.weights.checkpoint import TensorInfo
from loom_core.weights.hashing import content_sha256, samples_sha256
from loom_core.weights.loading import load_dit
from loom_core.weights.memory import SMALLEST
from loom_core.weights.reading import open_checkpoint
from loom_core.weights.saving import Entry, entries_of, save_safetensors

TENSORS = {
    "half": torch.arange(5, dtype=torch.bfloat16),
    "wide": torch.arange(6.0).reshape(2, 3),
    "odd bytes": torch.tensor([1, 2, 3], dtype=torch.uint8),
    "scalar": torch.tensor(7.0),
    "empty": torch.empty(0, 4),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "eight bits": torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn),
    "ünï": torch.tensor([True, False]),
}


def entries(tensors):
    return [
        Entry(name, TensorInfo(tuple(tensor.shape), tensor.dtype), lambda tensor=tensor: tensor)
        for name, tensor in tensors.items()
    ]


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.safetensors"


def only(path):
    return [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_library_reads_what_was_streamed(target):
    digest = save_safetensors(target, entries(TENSORS), metadata={"a": "b"})
    read = load_file(target)
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        assert read[name].shape == tensor.shape
        assert bytes(read[name].flatten().view(torch.uint8)) == bytes(tensor.flatten().view(torch.uint8)), name
    with safe_open(target, "pt") as file:
        samples = samples_sha256(open_checkpoint(target))
        assert file.metadata() == {"a": "b", "content_sha256": digest, "samples_sha256": samples}
    assert only(target)


def test_the_hash_is_that_of_the_content(target):
    digest = save_safetensors(target, entries(TENSORS))
    assert content_sha256(open_checkpoint(target)) == digest


def test_the_data_is_laid_out_as_the_library_does(target, tmp_path):
    save_safetensors(target, entries(TENSORS))
    save_file({name: tensor.contiguous() for name, tensor in TENSORS.items()}, tmp_path / "theirs.safetensors")
    data = sum(tensor.nbytes for tensor in TENSORS.values())
    ours, theirs = (path.read_bytes()[-data:] for path in (target, tmp_path / "theirs.safetensors"))
    assert ours == theirs


def test_the_same_input_gives_the_same_bytes(target):
    save_safetensors(target, entries(TENSORS), metadata={"a": "1", "b": "2"})
    first = target.read_bytes()
    shuffled = dict(reversed(TENSORS.items()))
    save_safetensors(target, entries(shuffled), metadata={"b": "2", "a": "1"})
    assert target.read_bytes() == first


def test_no_tensors_make_a_file_too(target):
    save_safetensors(target, [])
    assert len(open_checkpoint(target)) == 0


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "full"), OSError(errno.EFBIG, "too large")])
def test_a_full_disk_leaves_nothing(target, fault):
    target.write_bytes(b"the old file")

    def fail():
        raise fault

    broken = Entry("z", TensorInfo((1,), torch.uint8), fail)
    with pytest.raises(ResourceError, match="no space left"):
        save_safetensors(target, [*entries(TENSORS), broken])
    assert target.read_bytes() == b"the old file"
    assert only(target)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_leaves_nothing(target, fault):
    def fail():
        raise fault

    with pytest.raises(fault):
        save_safetensors(target, [Entry("z", TensorInfo((1,), torch.uint8), fail)])
    assert list(target.parent.iterdir()) == []


def test_space_is_checked_before_anything_is_read(target, monkeypatch):
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(ResourceError, match="free"):
        save_safetensors(target, [Entry("z", TensorInfo((100,), torch.uint8), lambda: pytest.fail("was read"))])
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("tensor", [torch.ones(3), torch.ones(2).half()])
def test_a_tensor_unlike_its_entry_is_refused(target, tensor):
    with pytest.raises(WeightsError, match="tensor 'z'"):
        save_safetensors(target, [Entry("z", TensorInfo((2,), torch.float32), lambda: tensor)])
    assert list(target.parent.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match="no folder"):
        save_safetensors(tmp_path / "nowhere" / "x.safetensors", [])


def test_the_file_has_the_rights_of_any_new_file(target, tmp_path):
    save_safetensors(target, [])
    (tmp_path / "other").write_bytes(b"")
    assert target.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_entries_of_tensors_in_memory_are_cast_as_they_are_written(tmp_path):
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}
    save_safetensors(tmp_path / "same.safetensors", entries_of(weights))
    same = load_file(tmp_path / "same.safetensors")
    assert all(torch.equal(same[name], tensor) and same[name].dtype == tensor.dtype for name, tensor in weights.items())
    save_safetensors(tmp_path / "cast.safetensors", entries_of(weights, dtype=torch.bfloat16))
    assert {tensor.dtype for tensor in load_file(tmp_path / "cast.safetensors").values()} == {torch.bfloat16}


def test_a_loaded_model_that_was_changed_keeps_its_changes(tmp_path, make_state):
    """Its weights are views of a private mapping: giving their pages back would undo what was done to them."""
    save_file(make_state(ffn_dim=4096), tmp_path / "dit.safetensors")
    model = load_dit(tmp_path / "dit.safetensors")
    weight = model.blocks[0].ffn[0].weight
    assert weight.nbytes > SMALLEST
    changed = weight.mul_(2).clone()
    save_safetensors(tmp_path / "changed.safetensors", entries_of(model.state_dict()))
    assert torch.equal(weight, changed)
    assert torch.equal(load_file(tmp_path / "changed.safetensors")["blocks.0.ffn.0.weight"], changed)


def test_memory_is_given_back_by_who_owns_it(target):
    tensor, released = torch.ones(2), []
    save_safetensors(target, [Entry("a", TensorInfo((2,), tensor.dtype), lambda: tensor, release=released.append)])
    assert [given is tensor for given in released] == [True]
