"""Any layout opens lazily; whatever is no checkpoint is refused in words, and nothing in a file ever runs."""

from __future__ import annotations

import json
import pickle
import struct
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file, save_file

from loom_core.errors import WeightsError
from loom_core.weights.reading import open_checkpoint


@pytest.mark.parametrize(
    ("path", "layout", "dtypes"),
    [
        ("gen_model.pth", "pickled state dict", {torch.bfloat16: 76}),
        ("gen_model.safetensors", "safetensors", {torch.bfloat16: 76}),
        ("gen_model_mixed_dtype.pth", "pickled state dict", {torch.bfloat16: 58, torch.float32: 18}),
        ("full_model.pt", "pickled state dict", {torch.bfloat16: 76}),
        ("ckpt", "pickled EMA list", {torch.float32: 76}),
        ("ckpt/ema/ema.pth", "pickled EMA list", {torch.float32: 76}),
        ("ckpt/latest", "pickled state dict", {torch.bfloat16: 76}),
    ],
)
def test_every_official_layout_has_the_same_weights(weights_dir, path, layout, dtypes):
    checkpoint = open_checkpoint(weights_dir / path)
    expected = open_checkpoint(weights_dir / "gen_model.safetensors").native()
    native = checkpoint.native()
    assert checkpoint.layout == layout
    assert checkpoint.dtypes == dtypes
    assert native.shapes == expected.shapes
    assert len(native) == 72
    assert native.tensor("head.modulation").shape == (1, 2, 24)


def test_averaged_weights_win_unless_told_otherwise(weights_dir):
    live = open_checkpoint(weights_dir / "ckpt", ema=False).native().tensor("head.head.weight")
    averaged = open_checkpoint(weights_dir / "ckpt").native().tensor("head.head.weight")
    assert torch.equal(live, open_checkpoint(weights_dir / "ckpt/latest/gen_model.pth").tensor("proj_out.weight"))
    assert averaged.dtype == torch.float32
    assert not torch.equal(live.float(), averaged)


def test_tensors_are_the_files(weights_dir):
    checkpoint = open_checkpoint(weights_dir / "gen_model.safetensors")
    for name, tensor in load_file(weights_dir / "gen_model.safetensors").items():
        assert torch.equal(checkpoint.tensor(name), tensor)
    with pytest.raises(WeightsError, match="no tensor 'nothing'"):
        checkpoint.tensor("nothing")


def test_counts(weights_dir):
    checkpoint = open_checkpoint(weights_dir / "gen_model_mixed_dtype.pth")
    tensors = [checkpoint.tensor(name) for name in checkpoint]
    assert checkpoint.num_parameters == sum(tensor.numel() for tensor in tensors)
    assert checkpoint.num_bytes == sum(tensor.nbytes for tensor in tensors)


def test_metadata_is_kept(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors", metadata={"maker": "me"})
    assert open_checkpoint(tmp_path / "a.safetensors").metadata == {"maker": "me"}


@pytest.mark.parametrize("count", [1, 40, 400])
def test_safetensors_are_not_mistaken_for_pickles(tmp_path, count):
    """The length that a safetensors file begins with can start with any byte, a pickle's first included."""
    for length in range(0x78, 0x98, 8):
        for padding in range(0, 4):
            header = json.dumps({"a" * padding: {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}})
            data = header.ljust(length + 0x100).encode()
            path = tmp_path / f"{length}-{padding}.safetensors"
            path.write_bytes(struct.pack("<Q", len(data)) + data + bytes(4 * count))
            assert open_checkpoint(path).layout == "safetensors"


# --- shards


def write_shards(folder, shards):
    for name, tensors in shards.items():
        save_file(tensors, folder / name)
    weight_map = {key: name for name, tensors in shards.items() for key in tensors}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


@pytest.fixture
def sharded(tmp_path):
    return write_shards(
        tmp_path, {"1.safetensors": {"a": torch.full((2,), 1.0)}, "2.safetensors": {"b": torch.full((3,), 2.0)}}
    )


def test_shards_are_one_checkpoint(sharded):
    for path in (sharded, sharded.parent):
        checkpoint = open_checkpoint(path)
        assert checkpoint.shapes == {"a": (2,), "b": (3,)}
        assert checkpoint.tensor("b").tolist() == [2.0, 2.0, 2.0]
        assert len(checkpoint.files) == 3


def test_a_missing_shard_is_named(sharded):
    (sharded.parent / "2.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"1 of 2 shards missing.*2\.safetensors"):
        open_checkpoint(sharded)


def test_a_tensor_that_its_shard_lacks_is_named(sharded):
    save_file({"c": torch.ones(1)}, sharded.parent / "2.safetensors")
    with pytest.raises(WeightsError, match="not in its shards: b"):
        open_checkpoint(sharded)


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"weight_map": 3}'])
def test_a_broken_index_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(content)
    with pytest.raises(WeightsError):
        open_checkpoint(path)


def test_an_index_cannot_reach_outside_its_folder(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(WeightsError, match="outside the folder"):
        open_checkpoint(path)


# --- what is no checkpoint


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x00\x00\x00\x18ftypmp42", "no checkpoint"),
        (b"cposix\nsystem\n", "no checkpoint"),
        (b"\x80\x04 and then nothing sensible", "damaged"),
        (pickle.dumps({"a": 1}), "a pickle that torch did not write"),
        (b"PK\x03\x04 and then nothing", "damaged or cut short"),
        (struct.pack("<Q", 5000) + b'{"a":', "damaged or cut short"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path, content, found):
    path = tmp_path / "gen_model.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=found) as caught:
        open_checkpoint(path)
    assert caught.value.fix


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="no file"):
        open_checkpoint(tmp_path / "nothing.pth")


@pytest.mark.parametrize("name", ["gen_model.pth", "gen_model.safetensors", "ckpt/ema/ema.pth"])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.999])
def test_truncated_files_are_refused(weights_dir, tmp_path, name, kept):
    whole = (weights_dir / name).read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(WeightsError, match="damaged or cut short"):
        open_checkpoint(path)


@dataclass
class Malicious:
    """Runs a command when it is unpickled by an unsafe loader."""

    command: str

    def __reduce__(self) -> tuple:
        import os

        return os.system, (self.command,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["torch", "torch legacy", "pickle", "inside a state dict"])
def test_code_in_a_pickle_never_runs(tmp_path, form):
    victim = tmp_path / "was-run"
    bomb = Malicious(f"touch {victim}")
    path = tmp_path / "gen_model.pth"
    if form == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    else:
        content = {"a": torch.ones(2), "b": bomb} if form == "inside a state dict" else bomb
        torch.save(content, path, _use_new_zipfile_serialization=form != "torch legacy")
    with pytest.raises(WeightsError, match=r"a pickle with code in it.*system.*nothing of it was run"):
        open_checkpoint(path)
    assert not victim.exists()


def test_the_bomb_of_these_tests_is_live(tmp_path):
    victim = tmp_path / "was-run"
    pickle.loads(pickle.dumps(Malicious(f"touch {victim}")))
    assert victim.exists()


def test_old_torch_is_not_trusted_with_pickles(weights_dir, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.5.1+cu121")
    with pytest.raises(WeightsError, match=r"torch 2\.5\.1.*2\.6 or newer"):
        open_checkpoint(weights_dir / "gen_model.pth")
    open_checkpoint(weights_dir / "gen_model.safetensors")


def test_a_wrapped_state_dict_is_unwrapped(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"epoch": 3, "state_dict": {"a": torch.ones(2)}}, path)
    assert open_checkpoint(path).shapes == {"a": (2,)}


def test_files_of_old_torch_open(tmp_path, caplog):
    path = tmp_path / "old.pth"
    torch.save({"a": torch.arange(3.0)}, path, _use_new_zipfile_serialization=False)
    assert open_checkpoint(path).tensor("a").tolist() == [0.0, 1.0, 2.0]
    assert "before 1.6" in caplog.text


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.ones(2), "text"])
def test_a_pickle_without_named_tensors_is_refused(tmp_path, content):
    path = tmp_path / "x.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match="without named tensors"):
        open_checkpoint(path)
