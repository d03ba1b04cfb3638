"""Which checkpoints stay."""

from __future__ import annotations

import pytest

from loom_core.config.training import CheckpointSettings
from loom_core.training.retention import prune, superseded


@pytest.mark.parametrize(
    ("steps", "keep_last", "keep_every", "gone"),
    [
        ([100, 200, 300, 400], 2, 0, [100, 200]),
        ([100, 200, 300, 400], 2, 200, [100]),
        ([100], 3, 0, []),
        ([], 1, 0, []),
        ([400, 100, 300], 1, 1000, [100, 300]),
    ],
)
def test_the_newest_and_the_milestones_stay(steps, keep_last, keep_every, gone):
    assert superseded(steps, CheckpointSettings(keep_last=keep_last, keep_every=keep_every)) == gone


def test_folders_go_whole_and_other_files_stay(tmp_path):
    for step in (1, 2, 3):
        folder = tmp_path / "checkpoints" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x")
    (tmp_path / "checkpoints" / "notes.txt").write_text("mine")
    prune(tmp_path, CheckpointSettings(keep_last=1))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["notes.txt", "step-000003"]
