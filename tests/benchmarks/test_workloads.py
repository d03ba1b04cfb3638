"""Sizes of the workloads, against prompts and grids counted by hand."""

import pytest
import torch

from benchmarks.workloads import TWIN_IMAGE, TWIN_VIDEO, context_tokens, full_size_edits, random_condition
from loom_core.config.model import LOOMVIDEO_5B, QUARTER_TWIN
from loom_core.geometry import LatentShape
from loom_core.types import Branch


@pytest.mark.parametrize(
    ("key", "target", "references", "contexts"),
    [
        ("edit_480p81", 8190, 0, (864, 792, 122)),
        ("edit_480p81_4ref", 8190, 1560, (2432, 2360, 122)),
        ("edit_720p121", 27280, 0, (1844, 1772, 122)),
        ("edit_image1024", 1024, 0, (1094, 1034, 122)),
    ],
)
def test_full_size(key, target, references, contexts):
    branches = full_size_edits()[key]
    full = branches[Branch.FULL]
    assert (full.target.tokens, full.reference_tokens) == (target, references)
    order = (Branch.FULL, Branch.VISUAL, Branch.UNCONDITIONAL)
    assert tuple(branches[branch].context_tokens for branch in order) == contexts


def test_unconditional_branch_sees_neither_source_nor_references():
    branches = full_size_edits()["edit_480p81_4ref"]
    assert branches[Branch.VISUAL].has_source
    assert branches[Branch.VISUAL].references
    assert not branches[Branch.UNCONDITIONAL].has_source
    assert not branches[Branch.UNCONDITIONAL].references


def test_still_has_one_span_without_times():
    assert context_tokens(LatentShape(1, 4, 6))[Branch.FULL] == (6 + 2) + 60 + 8
    assert context_tokens(LatentShape(3, 4, 6))[Branch.FULL] == 2 * (6 + 2 + 6) + 60 + 8


@pytest.mark.parametrize(("twin", "key"), [(TWIN_VIDEO, "edit_480p81"), (TWIN_IMAGE, "edit_image1024")])
def test_twin_is_a_quarter_in_width_and_tokens(twin, key):
    full = full_size_edits()[key][Branch.FULL]
    for small, large in (
        (twin.target.tokens, full.target.tokens),
        (twin.context_tokens, full.context_tokens),
        (QUARTER_TWIN.hidden_size, LOOMVIDEO_5B.hidden_size),
        (QUARTER_TWIN.ffn_dim, LOOMVIDEO_5B.ffn_dim),
        (QUARTER_TWIN.mllm_dim, LOOMVIDEO_5B.mllm_dim),
    ):
        assert small / large == pytest.approx(0.25, rel=0.01)


def test_condition_has_the_sizes(workload):
    condition = random_condition(workload, device="meta", dtype=torch.bfloat16)
    assert [tuple(states.shape) for states in condition.mllm_hidden_states] == [(5, 16)] * 2
    assert tuple(condition.source_latents.shape) == (4, 2, 4, 6)
    assert [tuple(reference.latents.shape) for reference in condition.references] == [(4, 1, 2, 4)]
    assert "12 target tokens, 2 reference tokens, 5 context tokens" in workload.sizes()
