"""Sizes of prompts and pictures, against those of the benchmarks, which follow the official script."""

import subprocess
import sys

import pytest

from benchmarks.workloads import full_size_edits
from loom_core.errors import ConfigError
from loom_core.planning.run import NEGATIVE_TOKENS, RunSizes, SeenPictures, seen_pictures
from loom_core.types import Branch


@pytest.mark.parametrize(
    ("key", "sizes"),
    [
        ("edit_480p81", (832, 480, 81, 0)),
        ("edit_480p81_4ref", (832, 480, 81, 4)),
        ("edit_720p121", (1280, 704, 121, 0)),
        ("edit_image1024", (1024, 1024, 1, 0)),
    ],
)
def test_the_released_size(key, sizes):
    width, height, num_frames, num_references = sizes
    run = RunSizes(width=width, height=height, num_frames=num_frames, has_source=True, num_references=num_references)
    branches = full_size_edits()[key]
    assert dict(run.branches) == {branch: workload.context_tokens for branch, workload in branches.items()}
    assert run.target == branches[Branch.FULL].target
    assert {branch: run.references_of(branch) for branch in branches} == {
        branch: workload.reference_tokens for branch, workload in branches.items()
    }


def test_text_alone_has_no_visual_branch():
    run = RunSizes(width=832, height=480, num_frames=81, text_tokens=30)
    assert dict(run.branches) == {Branch.UNCONDITIONAL: NEGATIVE_TOKENS, Branch.FULL: 38}
    assert run.seen == SeenPictures()


def test_pictures_are_seen_at_the_size_that_qwen_takes():
    assert seen_pictures(832, 480, frames=1) == SeenPictures(1, 0, 1560, 390)
    assert seen_pictures(64, 64, frames=1).tokens == 64  # enlarged to 256 x 256
    assert seen_pictures(832, 480, frames=3) == SeenPictures(2, 2, 3120, 780)


def test_named_branches_are_taken():
    run = RunSizes(width=64, height=64, num_frames=5, contexts={Branch.FULL: 7})
    assert dict(run.branches) == {Branch.FULL: 7}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 830}, "use 832x480"),
        ({"num_frames": 98}, "98 frames"),
        ({"num_references": -1}, "-1 references"),
        ({"text_tokens": 0}, "0 tokens"),
    ],
)
def test_impossible_sizes_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        RunSizes(**{"width": 832, "height": 480, "num_frames": 81, **wrong})


def test_planning_needs_no_torch(repo_root):
    program = "import sys, loom_core.cli.plan; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], cwd=repo_root, check=True)
