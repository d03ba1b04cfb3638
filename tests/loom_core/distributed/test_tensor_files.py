"""Parts that ranks write together are read by any number of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from loom_core.distributed import tensor_files as subject
from loom_core.distributed.sharding import local_part, part_of
from loom_core.distributed.tensor_files import load_parts, save_parts
from loom_core.errors import MissingExtraError


class Model(nn.Module):
    """Rows that two and three ranks cannot share evenly, and a single one."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(3, 5)])
        self.one = nn.Parameter(torch.zeros(1))


def whole_tensors():
    generator = torch.Generator().manual_seed(0)
    tensors = {f"moment.{name}": torch.randn(w.shape, generator=generator) for name, w in Model().named_parameters()}
    return tensors | {f"step.{name}": torch.tensor(3.0) for name, _ in Model().named_parameters()}


def like_of(model):
    parameters = dict(model.named_parameters())
    return lambda name: parameters[name.partition(".")[2]]


def written(ranks, folder):
    model = Model()
    ranks.shard(model)
    like = like_of(model)
    save_parts(
        folder, {name: part_of(tensor, like(name)).clone() for name, tensor in whole_tensors().items()}, like=like
    )


def read(ranks, folder):
    model = Model()
    ranks.shard(model)
    like = like_of(model)
    parts, whole = load_parts(folder, like=like), whole_tensors()
    assert parts.keys() == whole.keys()
    for name, part in parts.items():
        assert torch.equal(part, part_of(whole[name], like(name)))
        assert part.shape == (local_part(like(name)).shape if name.startswith("moment") else ())
    return True


def test_any_number_of_ranks_reads_what_two_wrote(processes, tmp_path):
    processes.in_ranks(written, tmp_path / "parts")
    files = sorted(path.name for path in (tmp_path / "parts").iterdir())
    assert all(name.endswith(".safetensors") for name in files), "no pickle among them"
    assert len(files) == 2
    alone = load_parts(tmp_path / "parts", like=like_of(Model()))
    for name, tensor in whole_tensors().items():
        assert torch.equal(alone[name], tensor)
    assert processes.in_ranks(read, tmp_path / "parts", size=3) == [True] * 3


def test_large_parts_go_to_several_files(processes, tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "_BYTES_OF_A_FILE", 40)
    processes.in_ranks(written, tmp_path / "parts")
    assert len(list((tmp_path / "parts").iterdir())) > 2
    alone = load_parts(tmp_path / "parts", like=like_of(Model()))
    assert torch.equal(alone["moment.blocks.0.weight"], whole_tensors()["moment.blocks.0.weight"])


def unwritable(ranks, folder):
    try:
        written(ranks, folder)
    except Exception as error:
        return type(error).__name__, str(error)


def test_a_place_that_cannot_be_written_is_told_on_all_ranks(processes, tmp_path):
    (tmp_path / "parts").write_text("a file")
    for kind, said in processes.in_ranks(unwritable, tmp_path / "parts"):
        assert kind == "OutputError"
        assert "cannot be written" in said


def test_files_of_another_model_and_damaged_ones_are_told(processes, tmp_path):
    folder = tmp_path / "parts"
    processes.in_ranks(written, folder)
    with pytest.raises(KeyError):
        load_parts(folder, like=lambda name: {}[name])
    victim = min(folder.iterdir())
    victim.write_bytes(victim.read_bytes()[:-8])
    with pytest.raises(Exception, match=r"(?i)metadata|header|buffer|incomplete"):
        load_parts(folder, like=like_of(Model()))


def test_a_torch_without_this_format_is_one_sentence():
    with pytest.raises(MissingExtraError, match=r"version 2\.9 or newer"):
        subject._storage("NoSuchStorage")
