"""What the loaders offer, on a stand-in for the host's folders."""

from __future__ import annotations

import pytest


@pytest.fixture
def files(stand_in, monkeypatch, tmp_path):
    module = stand_in("nodes.adapter.files")
    (tmp_path / "b.safetensors").touch()
    names = {"diffusion_models": ["b.safetensors", "a.pth", "notes.txt"], "unet": ["a.pth"]}
    monkeypatch.setattr(module.folder_paths, "get_filename_list", lambda folder: names[folder], raising=False)

    def full(folder, name):
        path = tmp_path / name
        return str(path) if folder == "diffusion_models" and path.exists() else None

    monkeypatch.setattr(module.folder_paths, "get_full_path", full, raising=False)
    return module


def test_the_built_in_part_comes_first(files):
    offered = files.offered("diffusion_models", "unet", suffixes=(".safetensors", ".pth"))
    assert offered == ["built-in: loom-tiny", "a.pth", "b.safetensors"]


def test_where_a_choice_lies(files, tmp_path):
    assert files.path_of("b.safetensors", ("unet", "diffusion_models")) == tmp_path / "b.safetensors"


def test_a_choice_that_is_gone(files, stand_in):
    with pytest.raises(stand_in("loom_core.errors").WeightsError, match=r"no file 'gone\.pth' in models/unet"):
        files.path_of("gone.pth", ("unet", "diffusion_models"))
