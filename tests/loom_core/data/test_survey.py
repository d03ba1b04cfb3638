"""A set looked through: what is usable and how it is cut, what is not and why."""

from __future__ import annotations

import pytest
from PIL import Image

from loom_core.config.data import DataSetConfig
from loom_core.data.framing import Framing
from loom_core.data.records import check_found
from loom_core.data.survey import Survey, set_of, survey
from loom_core.errors import MediaError

FRAMING = Framing(sizes=((128, 128), (64, 128)), num_frames=9)


def still(folder, name, *, size=(128, 128), caption="a scene"):
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 10, 20)).save(folder / f"{name}.png")
    if caption is not None:
        (folder / f"{name}.txt").write_text(caption)


def test_samples_are_counted_by_task_and_cut(tmp_path):
    still(tmp_path, "a")
    still(tmp_path, "b", size=(140, 130))
    still(tmp_path, "tall", size=(60, 130))
    told = []
    found = survey(set_of(tmp_path), FRAMING, tell=lambda done, total, sample: told.append((done, total, sample)))
    assert len(found) == 3
    assert found.tasks == {"text-to-image": 3}
    assert found.cuts == {(128, 128, 1): 2, (64, 128, 1): 1}
    assert [entry[:2] for entry in told] == [(1, 3), (2, 3), (3, 3)]
    assert [entry[2].target.size for entry in told] == [(128, 128), (128, 128), (64, 128)]
    assert found.lines() == [
        f"{tmp_path.name}: 3 samples (3 x text-to-image)",
        "trained at: 2 x 128x128, 1 x 64x128",
    ]


def test_clips_are_cut_to_length(tmp_path, shapes):
    (tmp_path / "one.mp4").write_bytes(shapes.read_bytes())
    (tmp_path / "one.txt").write_text("shapes")
    found = survey(set_of(tmp_path), FRAMING)
    assert found.cuts == {(128, 128, 9): 1}
    assert found.lines()[1] == "trained at: 1 x 128x128, 9 frames"


def test_what_cannot_be_used_is_told_by_kind_and_refused(tmp_path):
    still(tmp_path, "a")
    still(tmp_path, "no_caption", caption=None)
    still(tmp_path, "wide", size=(1300, 40))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "broken.txt").write_text("a scene")
    told = []
    found = survey(set_of(tmp_path), FRAMING, tell=lambda done, total, sample: told.append(sample is None))
    assert len(found) == 1
    assert found.problems.counts == {"missing caption": 1, "no size fits": 1, "unreadable": 1}
    assert told == [False, True, True]
    assert "left out: " in found.lines()[-1]
    check_found(found, max_bad_share=0.75, where=tmp_path)
    with pytest.raises(MediaError, match=r"3 of 4 samples .* cannot be used .*missing caption"):
        check_found(found, max_bad_share=0.5, where=tmp_path)


def test_a_folder_that_is_gone_or_empty(tmp_path):
    with pytest.raises(MediaError, match="no folder"):
        set_of(tmp_path / "gone")
    with pytest.raises(MediaError, match="no clip and no picture"):
        set_of(tmp_path)
    with pytest.raises(MediaError, match="no folder"):
        survey(DataSetConfig(kind="folder", path=tmp_path / "gone", tasks=("text-to-image",)), FRAMING)


def test_a_manifest_counts_before_files(tmp_path):
    still(tmp_path, "a", caption=None)
    (tmp_path / "metadata.jsonl").write_text('{"task": "text-to-image", "image": "a.png", "caption": "a scene"}\n')
    assert set_of(tmp_path) == DataSetConfig(kind="manifest", path=tmp_path)
    assert set_of(tmp_path, task="text-to-image").tasks == ("text-to-image",)
    assert survey(set_of(tmp_path), FRAMING).tasks == {"text-to-image": 1}


def test_a_world_has_no_files_and_no_problems():
    options = {"seed": 1, "count": 2, "tasks": {"edit-video": 1.0}, "frames": [5]}
    found = survey(DataSetConfig(kind="world", name="made", options=options), FRAMING)
    assert isinstance(found, Survey)
    assert found.tasks == {"edit-video": 2}
    assert found.problems.total == 0
