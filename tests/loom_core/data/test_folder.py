"""Folders as sets: pairs by equal names, what is missing counted, nothing decoded."""

from __future__ import annotations

import pytest

from loom_core.data.folder import FolderRecords, task_of_folder
from loom_core.data.sample import SampleError
from loom_core.data.tasks import training_task
from loom_core.errors import MediaError


def fill(root, names, *, text="a caption of {}"):
    """Empty files; a caption says its own name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(path.stem) if name.endswith(".txt") else "")


def read(root, task):
    return FolderRecords(root, training_task(task), name="folder")


def test_captions_of_the_same_name(tmp_path):
    fill(tmp_path, ["b.mp4", "b.txt", "a.MOV", "a.txt", "deep/er/c.webm", "deep/er/c.txt", "notes.pdf", ".hidden.mp4"])
    records = read(tmp_path, "text-to-video")
    found = [records.record(index) for index in range(len(records))]
    assert [record.key for record in found] == ["a", "b", "deep/er/c"]
    assert [record.instruction for record in found] == ["a caption of a", "a caption of b", "a caption of c"]
    assert found[2].target == tmp_path / "deep/er/c.webm"
    assert records.problems.total == 0


def test_captions_that_are_missing_are_counted_with_examples(tmp_path):
    fill(tmp_path, ["a.mp4", "a.txt", *[f"{number}.mp4" for number in range(8)]])
    records = read(tmp_path, "text-to-video")
    assert len(records) == 1
    assert records.problems.counts == {"missing caption": 8}
    assert records.problems.examples["missing caption"] == ["0.mp4", "1.mp4", "2.mp4", "3.mp4", "4.mp4"]


def test_an_empty_caption_is_missing(tmp_path):
    fill(tmp_path, ["a.mp4", "a.txt"], text="  \n")
    with pytest.raises(SampleError, match="missing caption"):
        read(tmp_path, "text-to-video").record(0)


def test_a_caption_that_is_no_text(tmp_path):
    fill(tmp_path, ["a.mp4"])
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00caf\xe9")
    with pytest.raises(SampleError, match="unreadable caption"):
        read(tmp_path, "text-to-video").record(0)


def test_the_task_decides_which_files_count(tmp_path):
    fill(tmp_path, ["a.mp4", "a.txt", "b.png", "b.txt"])
    assert read(tmp_path, "text-to-image").record(0).key == "b"
    assert read(tmp_path, "text-to-video").record(0).key == "a"
    assert len(read(tmp_path, "text-to-image")) == 1


def test_two_targets_of_one_name(tmp_path):
    fill(tmp_path, ["a.mp4", "a.webm", "a.txt"])
    records = read(tmp_path, "text-to-video")
    assert len(records) == 1
    assert records.problems.counts == {"two targets of one name": 1}


def test_a_reconstruction_needs_no_caption(tmp_path):
    fill(tmp_path, ["a.mp4"])
    record = read(tmp_path, "reconstruct-video").record(0)
    assert record.source == record.target == tmp_path / "a.mp4"
    assert record.instruction == ""


def test_editing_pairs(tmp_path):
    fill(tmp_path, ["target/a.mp4", "target/a.txt", "source/a.mov", "target/b.mp4", "b.txt", "source/b.mp4"])
    fill(tmp_path, ["target/c.mp4", "target/c.txt", "source/c_1.mp4"])
    records = read(tmp_path, "edit-video")
    found = [records.record(index) for index in range(len(records))]
    assert [(record.key, record.source.name) for record in found] == [("a", "a.mov"), ("b", "b.mp4")]
    assert found[1].instruction == "a caption of b"
    assert found[0].references == ()
    assert records.problems.counts == {"missing source": 1}


def test_references_in_order(tmp_path):
    fill(tmp_path, ["target/a.mp4", "target/a.txt", *[f"reference/a_{number}.png" for number in (10, 2, 1)]])
    fill(tmp_path, ["target/b.mp4", "target/b.txt", "reference/b.jpg"])
    fill(tmp_path, ["target/c.mp4", "target/c.txt", "reference/c/x.png", "reference/c/a.png"])
    fill(tmp_path, ["target/d.mp4", "target/d.txt"])
    records = read(tmp_path, "reference-to-video")
    names = {
        records.record(index).key: [path.name for path in records.record(index).references]
        for index in range(len(records))
    }
    assert names == {"a": ["a_1.png", "a_2.png", "a_10.png"], "b": ["b.jpg"], "c": ["a.png", "x.png"]}
    assert records.problems.counts == {"missing references": 1}


def test_a_numbered_name_may_be_a_target_of_its_own(tmp_path):
    fill(tmp_path, ["target/a.png", "target/a.txt", "target/a_1.png", "target/a_1.txt"])
    fill(tmp_path, ["reference/a.png", "reference/a_1.png", "reference/a_1_1.png", "reference/a_2.png"])
    records = read(tmp_path, "reference-to-image")
    found = [[path.name for path in records.record(index).references] for index in range(2)]
    assert found == [["a.png", "a_2.png"], ["a_1.png", "a_1_1.png"]]


@pytest.mark.parametrize(
    ("task", "names", "found"),
    [
        ("edit-video", ["a.mp4", "a.txt"], "without target/ and source/"),
        ("edit-video", ["target/a.mp4", "target/a.txt"], "without target/ and source/"),
        ("reference-to-image", ["target/a.png", "target/a.txt"], "without target/ and reference/"),
    ],
)
def test_folders_that_the_task_needs(tmp_path, task, names, found):
    fill(tmp_path, names)
    with pytest.raises(MediaError, match=found):
        read(tmp_path, task)


def test_no_folder(tmp_path):
    with pytest.raises(MediaError, match="no folder"):
        read(tmp_path / "none", "text-to-video")


def test_fingerprint_follows_the_list(tmp_path):
    fill(tmp_path, ["a.mp4", "a.txt", "b.mp4"])
    first = read(tmp_path, "text-to-video").fingerprint
    assert read(tmp_path, "text-to-video").fingerprint == first
    assert read(tmp_path, "reconstruct-video").fingerprint != first
    fill(tmp_path, ["b.txt"])
    assert read(tmp_path, "text-to-video").fingerprint != first


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (["a.mp4"], "text-to-video"),
        (["deep/a.png"], "text-to-image"),
        (["a.png", "b.mp4"], "text-to-video"),
        (["target/a.mp4", "source/a.mp4"], "edit-video"),
        (["target/a.png", "source/a.png"], "edit-image"),
        (["target/a.mp4", "reference/a.png"], "reference-to-video"),
        (["target/a.png", "reference/a.png"], "reference-to-image"),
        (["target/a.mp4", "source/a.mp4", "reference/a.png"], "reference-edit"),
        (["a.mp4", "source/b.mp4"], "text-to-video"),  # without target/ it is a folder like any other
    ],
)
def test_the_layout_tells_the_task(tmp_path, names, task):
    fill(tmp_path, names)
    assert task_of_folder(tmp_path).value == task


def test_no_task_without_a_target(tmp_path):
    with pytest.raises(MediaError, match="no folder"):
        task_of_folder(tmp_path / "gone")
    fill(tmp_path, ["notes.pdf", "a.txt"])
    with pytest.raises(MediaError, match="no clip and no picture"):
        task_of_folder(tmp_path)
