"""Pages of mapped files are given back; ordinary memory is never touched."""

from __future__ import annotations

import sys

import pytest
import torch
from safetensors.torch import save_file

from loom_core.weights import memory
from loom_core.weights.memory import SMALLEST, MappedFiles, file_around, release_pages
from loom_core.weights.reading import open_checkpoint

MAPPINGS = [
    "1000-3000 rw-p 00000000 08:01 42 /models/with space.safetensors",
    "3000-5000 rw-p 00000000 00:00 0 ",
    "5000-6000 rw-p 00000000 00:00 0 [heap]",
]


@pytest.mark.parametrize(
    ("first", "end", "bounds"),
    [
        (0x1000, 0x3000, (0x1000, 0x3000)),
        (0x2000, 0x2800, (0x1000, 0x3000)),
        (0x2000, 0x4000, None),
        (0x3000, 0x4000, None),
        (0x5000, 0x6000, None),
        (0x7000, 0x8000, None),
    ],
)
def test_only_ranges_of_files_count(first, end, bounds):
    assert file_around(MAPPINGS, first, end) == bounds


@pytest.mark.parametrize("shape", [(SMALLEST,), (10,), (2, SMALLEST)])
def test_ordinary_memory_keeps_its_contents(shape):
    tensor = torch.full(shape, 3.0)
    release_pages(tensor)
    release_pages(tensor[..., ::2])
    assert (tensor == 3).all()


def resident_pages():
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no such call elsewhere")
@pytest.mark.parametrize("form", ["safetensors", "pth"])
def test_mapped_pages_go_and_come_back(tmp_path, form):
    path = tmp_path / f"x.{form}"
    tensors = {"a": torch.full((8 * SMALLEST,), 2.0), "b": torch.full((SMALLEST,), 5.0)}
    save_file(tensors, path) if form == "safetensors" else torch.save(tensors, path)
    tensor = open_checkpoint(path).tensor("a")
    total = tensor.sum()
    before = resident_pages()
    release_pages(tensor)
    after = resident_pages()
    assert (before - after) * 4096 > 0.9 * tensor.nbytes
    assert tensor.sum() == total
    assert (open_checkpoint(path).tensor("b") == 5).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no such call elsewhere")
@pytest.mark.parametrize("form", ["safetensors", "pth"])
def test_where_a_file_lies_is_asked_once(tmp_path, form, monkeypatch):
    """However many of its tensors are given back; ordinary memory between them is told apart all the same."""
    path = tmp_path / f"x.{form}"
    tensors = {name: torch.full((2 * SMALLEST,), float(number)) for number, name in enumerate("abcd")}
    save_file(tensors, path) if form == "safetensors" else torch.save(tensors, path)
    asked, released = [], []
    monkeypatch.setattr(memory, "file_around", lambda *args: asked.append(args[1:]) or file_around(*args))
    monkeypatch.setattr(memory, "_madvise", lambda: lambda first, length, _advice: released.append((first, length)))
    checkpoint, files = open_checkpoint(path), MappedFiles()
    for name in "abcd":
        files.release(checkpoint.tensor(name))
    assert len(released) == 4 and len(asked) == 1
    files.release(torch.full((2 * SMALLEST,), 7.0))
    assert len(released) == 4 and len(asked) == 2
