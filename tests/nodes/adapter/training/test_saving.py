"""A LoRA as a file: whole or not there, and no other file lost."""

from __future__ import annotations

import errno

import pytest
import torch
from safetensors import safe_open

TENSORS = {"diffusion_model.a.lora_A.weight": torch.arange(6.0).reshape(2, 3).T}  # not contiguous


@pytest.fixture
def saving(stand_in):
    return stand_in("nodes.adapter.training.saving")


@pytest.fixture
def words(stand_in):
    return stand_in("nodes.adapter.training.words")


def test_what_is_written(saving, words, stand_in, folders):
    lora = stand_in("nodes.adapter.training.running").TrainedLora(TENSORS, {"rank": "4"})
    path = saving.save_lora(lora, " mine.safetensors ", if_there=words.NUMBER)
    assert path == folders.loras / "mine.safetensors"
    with safe_open(path, framework="pt") as file:
        assert torch.equal(file.get_tensor("diffusion_model.a.lora_A.weight"), TENSORS[file.keys()[0]])
        assert file.metadata()["rank"] == "4"


def test_names_that_are_there(saving, words, stand_in, folders):
    names = [saving.save_lora(TENSORS, "mine", if_there=words.NUMBER).name for _ in range(3)]
    assert names == ["mine.safetensors", "mine_2.safetensors", "mine_3.safetensors"]
    with pytest.raises(stand_in("loom_core.errors").ConfigError, match=r"mine\.safetensors that is there"):
        saving.save_lora(TENSORS, "mine", if_there=words.REFUSE)
    (folders.loras / "mine.safetensors").write_bytes(b"old")
    assert saving.save_lora(TENSORS, "mine", if_there=words.REPLACE).read_bytes() != b"old"


@pytest.mark.parametrize("lora", [{}, {"a": "no tensor"}])
def test_nothing_to_save(saving, words, stand_in, folders, lora):
    with pytest.raises(stand_in("loom_core.errors").WeightsError, match="no tensors"):
        saving.save_lora(lora, "mine", if_there=words.NUMBER)


def test_a_full_disk_leaves_nothing(saving, words, stand_in, folders, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stand_in("loom_core.weights.saving"), "_write", full)
    with pytest.raises(stand_in("loom_core.errors").ResourceError, match="no space left"):
        saving.save_lora(TENSORS, "mine", if_there=words.NUMBER)
    assert list(folders.loras.iterdir()) == []
