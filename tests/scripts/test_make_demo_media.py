"""The bundled pictures are what the script draws, and hold what the workflows' prompts speak of."""

from __future__ import annotations

import pytest
import torch

from loom_core.data.world.render import render
from loom_core.evaluation.measures import psnr
from loom_core.media.decode import read_clip
from loom_core.media.probe import probe


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("make_demo_media")


@pytest.fixture(scope="module")
def drawn(script, tmp_path_factory):
    """Folder with all that the script draws."""
    folder = tmp_path_factory.mktemp("drawn")
    script.draw_all(folder)
    return folder


def test_nothing_is_bundled_that_is_not_drawn(drawn, repo_root):
    names = {path.name for path in drawn.iterdir()}
    assert names == {path.name for path in (repo_root / "demo").iterdir()}
    for name in names:
        made, bundled = read_clip(drawn / name), read_clip(repo_root / "demo" / name)
        assert made.frames.shape == bundled.frames.shape
        error = psnr(float((made.frames.float() - bundled.frames.float()).square().mean()))
        assert error > (35 if name.endswith(".mp4") else 100), name  # encoders of clips differ a little
        assert probe(drawn / name).has_audio == probe(repo_root / "demo" / name).has_audio == name.endswith(".mp4")


def test_the_things_of_the_clip_are_apart_and_wholly_seen(script):
    masks = render(script.shapes_scene(), num_frames=script.SHAPES_FRAMES).masks > 0
    borders = torch.cat([masks[..., 0, :], masks[..., -1, :], masks[..., :, 0], masks[..., :, -1]], dim=-1)
    assert not borders.any()
    assert not masks.all(dim=0).any()
    assert masks.any(dim=(2, 3)).all()
