"""A nameless list gets its names from the live weights beside it, or from the known order; else it is refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from loom_core.errors import WeightsError
from loom_core.weights.ema import name_parameters, parameter_order
from loom_core.weights.reading import open_checkpoint


def test_the_known_order_is_the_official_one(weights_dir):
    layout = json.loads((weights_dir / "layout.json").read_text())
    keys_5b = json.loads((weights_dir / "loomvideo_5b_keys.json").read_text())["keys"]
    assert list(parameter_order(2)) == layout["ema_order"]
    assert list(parameter_order(30)) == list(keys_5b)
    assert parameter_order(2, has_source=False) == parameter_order(2)[:-2]


def test_names_without_a_sibling_are_the_same(weights_dir, tmp_path):
    alone = tmp_path / "ema.pth"
    shutil.copy(weights_dir / "ckpt/ema/ema.pth", alone)
    ours, theirs = open_checkpoint(alone), open_checkpoint(weights_dir / "ckpt/ema/ema.pth")
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours.tensor(name), theirs.tensor(name)) for name in theirs)


@pytest.fixture
def official(weights_dir):
    return torch.load(weights_dir / "ckpt/ema/ema.pth", weights_only=True)


def write_folder(tmp_path, weights_dir, content):
    (tmp_path / "ema").mkdir()
    shutil.copytree(weights_dir / "ckpt/latest", tmp_path / "latest")
    torch.save(content, tmp_path / "ema/ema.pth")
    return tmp_path


def test_another_count_is_refused(weights_dir, tmp_path, official):
    official["shadow_params"].pop()
    folder = write_folder(tmp_path, weights_dir, official)
    with pytest.raises(WeightsError, match=r"75 tensors in .* 76 in the live weights"):
        open_checkpoint(folder)
    assert len(open_checkpoint(folder, ema=False)) == 76


def test_another_order_is_refused_by_name(weights_dir, tmp_path, official):
    official["shadow_params"][0:2] = reversed(official["shadow_params"][0:2])
    folder = write_folder(tmp_path, weights_dir, official)
    with pytest.raises(WeightsError, match=r"2 tensors in .*scale_shift_table \(24, 4, 1, 2, 2\) instead of"):
        open_checkpoint(folder)


def test_an_impossible_count_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="50 nameless tensors"):
        name_parameters([torch.ones(1)] * 50, tmp_path, sibling=None)


def test_a_stage_1_list_is_recognised_by_its_count(tmp_path):
    names = parameter_order(3, has_source=False)
    assert tuple(name_parameters([torch.ones(1)] * len(names), tmp_path, sibling=None)) == names
