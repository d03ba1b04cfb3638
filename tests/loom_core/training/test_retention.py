"""Which checkpoints stay."""

from __future__ import annotations

import pytest

from loom_core.config.training import CheckpointSettings
from loom_core.training.retention import prune, room_for, superseded


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


@pytest.mark.parametrize(
    ("there", "coming", "keep_last", "keep_every", "room"),
    [
        ([], [100], 3, 0, 1),
        ([], [100, 200], 3, 0, 2),
        ([], [100, 200, 300, 400, 500], 3, 0, 4),
        ([], [100, 200, 300], 1, 0, 2),
        ([], [100, 200, 300, 400, 500], 1, 200, 3),  # 200 and 400 for good, and the last
        ([], [100, 200, 300, 400, 500, 600], 1, 200, 4),
        ([100, 200, 300], [400, 500], 3, 0, 1),
        ([100, 200], [300, 400], 3, 0, 2),
        ([100, 200, 300, 400, 500], [600, 700], 1, 0, 1),  # fewer are kept than before
        ([100], [], 3, 0, 0),
    ],
)
def test_there_has_to_be_room_for_the_next_before_an_older_one_goes(there, coming, keep_last, keep_every, room):
    settings = CheckpointSettings(keep_last=keep_last, keep_every=keep_every)
    assert room_for(there, coming, settings) == room
    most, kept = len(there), list(there)  # the same by going through it
    for step in coming:
        most = max(most, len([*kept, step]))
        gone = superseded([*kept, step], settings)
        kept = [each for each in [*kept, step] if each not in gone]
    assert room == most - len(there)


def test_folders_go_whole_and_other_files_stay(tmp_path):
    for step in (1, 2, 3):
        folder = tmp_path / "checkpoints" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x")
    (tmp_path / "checkpoints" / "notes.txt").write_text("mine")
    prune(tmp_path, CheckpointSettings(keep_last=1))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["notes.txt", "step-000003"]
