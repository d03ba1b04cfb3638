"""What is said of a file."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from loom_core.errors import WeightsError
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.identify import ModelKind
from loom_core.weights.inspection import GOOD_FOR, DtypeShare, format_bytes, inspect_checkpoint
from loom_core.weights.reading import open_checkpoint


def test_every_kind_has_a_use():
    assert set(GOOD_FOR) == set(ModelKind)


def test_a_whole_model(golden_dir):
    inspection = inspect_checkpoint(open_checkpoint(golden_dir / "models/tiny"))
    assert inspection.is_whole
    assert inspection.problem == ""
    assert inspection.config.head_dim == 24
    assert inspection.dtypes == {"bfloat16": DtypeShare(103, 2 * 484576)}


def test_keys_are_compared_even_when_the_heads_are_unknown(weights_dir):
    inspection = inspect_checkpoint(open_checkpoint(weights_dir / "gen_model.pth"))
    assert inspection.config is None
    assert inspection.keys.fits
    assert "width of a head" in inspection.problem


def test_a_hint_settles_the_heads(weights_dir, load_check):
    checkpoint = open_checkpoint(weights_dir / "gen_model.pth")
    inspection = inspect_checkpoint(checkpoint, config_hint=load_check[1]["dit_config"])
    assert inspection.config.head_dim == 12


def test_formats_are_listed_by_size(weights_dir):
    dtypes = inspect_checkpoint(open_checkpoint(weights_dir / "gen_model_mixed_dtype.pth")).dtypes
    sizes = [share.num_bytes for share in dtypes.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert {name: share.tensors for name, share in dtypes.items()} == {"bfloat16": 58, "float32": 18}


def test_a_model_with_holes(make_state, tmp_path):
    state = make_state()
    del state["blocks.0.modulation"]
    save_file(state, tmp_path / "x.safetensors")
    inspection = inspect_checkpoint(open_checkpoint(tmp_path / "x.safetensors"))
    assert not inspection.is_whole
    assert inspection.keys.missing == ("blocks.0.modulation",)
    assert "1 missing" in inspection.problem


def test_a_model_that_does_not_show_its_sizes(make_state, tmp_path):
    state = {name: tensor for name, tensor in make_state().items() if ".ffn." not in name}
    save_file(state, tmp_path / "x.safetensors")
    inspection = inspect_checkpoint(open_checkpoint(tmp_path / "x.safetensors"))
    assert "does not show the sizes" in inspection.problem
    assert not inspection.is_whole


def test_other_models_are_not_compared(golden_dir):
    inspection = inspect_checkpoint(open_checkpoint(golden_dir / "models/tiny/vae"))
    assert inspection.keys is None
    assert inspection.is_whole


def test_all_of_it_is_json(golden_dir):
    values = json.loads(json.dumps(inspect_checkpoint(open_checkpoint(golden_dir / "models/tiny")).to_dict()))
    assert values["model"] == "loomvideo"
    assert values["missing"] == []
    assert len(values["dead"]) == 4


def test_changed_data_is_found(golden_dir, tmp_path):
    path = tmp_path / "dit.safetensors"
    convert_checkpoint(golden_dir / "models/tiny", path)
    assert inspect_checkpoint(open_checkpoint(path), verify=True).content_ok
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    inspection = inspect_checkpoint(open_checkpoint(path), verify=True)
    assert inspection.content_ok is False
    assert not inspection.is_whole
    assert inspect_checkpoint(open_checkpoint(path)).is_whole


def test_verifying_needs_a_hash(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="no content hash"):
        inspect_checkpoint(open_checkpoint(tmp_path / "x.safetensors"), verify=True)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (969_152, "969.2 kB"), (10**10, "10.00 GB")]
)
def test_bytes_in_words(count, text):
    assert format_bytes(count) == text
