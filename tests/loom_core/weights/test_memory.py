"""Pages of mapped files are given back; ordinary memory is never touched."""

from __future__ import annotations

import sys

import pytest
import torch
from safetensors.torch import save_file

from loom_core.weights.memory import SMALLEST, lies_in_file, release_pages
from loom_core.weights.reading import open_checkpoint

MAPPINGS = [
    "1000-3000 rw-p 00000000 08:01 42 /models/with space.safetensors",
    "3000-5000 rw-p 00000000 00:00 0 ",
    "5000-6000 rw-p 00000000 00:00 0 [heap]",
]


@pytest.mark.parametrize(
    ("first", "end", "inside"),
    [
        (0x1000, 0x3000, True),
        (0x2000, 0x2800, True),
        (0x2000, 0x4000, False),
        (0x3000, 0x4000, False),
        (0x5000, 0x6000, False),
        (0x7000, 0x8000, False),
    ],
)
def test_only_ranges_of_files_count(first, end, inside):
    assert lies_in_file(MAPPINGS, first, end) is inside


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
