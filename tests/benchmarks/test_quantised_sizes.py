"""What is counted without weights is what a file of real ones has, and what a loader holds of it."""

import pytest
import torch

from benchmarks.quantised_sizes import COLUMNS, KEY, held, table
from loom_core.models.dit import LoomDiT
from loom_core.offload.blocks import tensors_of
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.detect import detect_config
from loom_core.weights.loading import load_dit
from loom_core.weights.quantise import SCHEMES
from loom_core.weights.reading import open_checkpoint


@pytest.mark.parametrize("name", [None, *SCHEMES])
def test_bytes_are_those_of_a_real_file(small_dit, tmp_path, name):
    pytest.importorskip("gguf", reason="two of the forms are GGUF's")
    scheme = None if name is None else SCHEMES[name]
    path = tmp_path / ("small.gguf" if scheme is not None and scheme.is_gguf else "small.safetensors")
    report = convert_checkpoint(small_dit, path, dtype=torch.bfloat16, scheme=scheme)
    model = LoomDiT(detect_config(open_checkpoint(small_dit)), device="meta", dtype=torch.bfloat16)
    loaded = load_dit(path, dtype=torch.bfloat16)
    assert held(model, scheme) == (report.num_bytes, sum(tensor.nbytes for tensor in tensors_of(loaded)))


def test_the_table_has_a_row_a_form():
    results = {
        f"{KEY}{what}_{name.replace('-', '_')}": {"first": {"value": 2.0}, "second": {"value": number}}
        for what in COLUMNS
        for number, name in enumerate(SCHEMES)
    }
    rows = table(results).splitlines()[2:]
    assert len(rows) == 1 + len(SCHEMES)
    assert rows[0] == "| bf16 |" + " 2.00 GB |" * len(COLUMNS)
    assert rows[2] == "| int8 |" + " 1.00 GB |" * len(COLUMNS)
