"""What our CONDITIONING carries, without ComfyUI."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="module")
def keys(stand_in):
    return stand_in("nodes.adapter.conditioning")


@pytest.fixture(scope="module")
def words(stand_in):
    return stand_in("loom_core.types")


@pytest.fixture
def source(stand_in):
    sockets = stand_in("nodes.sockets")
    frames = torch.zeros(5, 64, 64, 3)
    origin = sockets.SourceOrigin(width=64, height=64, num_frames=5, fps=24.0, frames=frames, audio=None, fit="cover")
    return sockets.SourceClip(
        frames=frames, latents=torch.ones(1, 48, 2, 4, 4), fps=24.0, is_image=False, strength=0.7,
        strength_curve=((1.0, 1.0), (0.0, 0.5)), mask=torch.ones(2, 2, 2), origin=origin,
    )  # fmt: skip


def test_layers_lie_side_by_side_in_block_order(keys, words):
    states = [torch.full((3, 2), float(layer)) for layer in range(4)]
    ((tensor, values),) = keys.make_conditioning(states, task=words.Task.TEXT_TO_VIDEO, branch=words.Branch.FULL)
    assert tensor.shape == (1, 3, 8) and tensor.dtype == torch.bfloat16
    assert tensor[0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert values == {keys.TASK: "text-to-video", keys.BRANCH: "full", keys.NUM_LAYERS: 4}


def test_source_and_references_travel_along(keys, words, source, stand_in):
    reference = stand_in("nodes.sockets").ReferenceClip(
        frames=torch.zeros(1, 32, 32, 3), latents=torch.zeros(1, 48, 1, 2, 2), temporal_index=-30
    )
    made = keys.make_conditioning(
        [torch.zeros(3, 2)],
        task=words.Task.REFERENCE_EDIT,
        branch=words.Branch.FULL,
        source=source,
        references=[reference],
    )
    values = made[0][1]
    assert values[keys.SOURCE_LATENT] is source.latents
    assert values[keys.SOURCE_STRENGTH] == 0.7
    assert values[keys.SOURCE_CURVE] == ((1.0, 1.0), (0.0, 0.5))
    assert values[keys.SOURCE_MASK].shape == (1, 2, 2, 2)
    assert values[keys.REFERENCE_LATENTS] == [reference.latents]
    assert values[keys.REFERENCE_INDICES] == (-30,)
    assert keys.has_visual(made) and keys.task_of(made) is words.Task.REFERENCE_EDIT


def test_conditioning_of_other_nodes_names_no_task(keys):
    assert keys.task_of([[torch.zeros(1, 2, 3), {}]]) is None
    assert keys.task_of([]) is None
    assert not keys.has_visual([[torch.zeros(1, 2, 3), {}]])
