"""The official layout: its names by task, files that lack something."""

from __future__ import annotations

import json

import pytest

from loom_core.data.sample import SampleError
from loom_core.data.single_json import NAMES, SingleJsonRecords
from loom_core.data.tasks import TRAINING_TASKS, training_task
from loom_core.errors import MediaError

OFFICIAL = {
    "text-to-video": {"text": "words", "path": "t.mp4"},
    "text-to-image": {"caption": "words", "image_path": "t.mp4"},
    "edit-video": {"source_video_path": "s.mp4", "instruction": "words", "target_video_path": "t.mp4"},
    "edit-image": {"source_image_path": "s.mp4", "instruction": "words", "target_image_path": "t.mp4"},
    "reference-edit": {
        "source_video_path": "s.mp4",
        "instruction": "words",
        "reference_image_paths": ["a.png", "b.png"],
        "target_video_path": "t.mp4",
    },
    "reference-to-video": {
        "instruction": "words",
        "reference_image_paths": ["a.png", "b.png"],
        "target_video_path": "t.mp4",
    },
    "reference-to-image": {
        "instruction": "words",
        "reference_image_paths": ["a.png", "b.png"],
        "target_image_path": "t.mp4",
    },
    "reconstruct-video": {"path": "t.mp4"},
    "reconstruct-image": {"image_path": "t.mp4"},
}
"""What the functions of the official `processors.py` read."""


def write(root, values, *, folder="single_jsons"):
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number, value in enumerate(values):
        text = value if isinstance(value, str) else json.dumps(value)
        (root / folder / f"{number}.json").write_text(text, encoding="utf-8")


def read(root, task, **kwargs):
    return SingleJsonRecords(root, training_task(task), name="jsons", **kwargs)


def test_every_task_has_its_names():
    assert set(NAMES) == set(TRAINING_TASKS) == set(OFFICIAL)


@pytest.mark.parametrize("task", OFFICIAL)
def test_official_files(tmp_path, task):
    write(tmp_path, [OFFICIAL[task]])
    record = read(tmp_path, task).record(0)
    assert record.target == tmp_path / "t.mp4"
    assert record.instruction == ("" if record.task.is_reconstruction else "words")
    source = "t.mp4" if record.task.is_reconstruction else "s.mp4"
    assert record.source == (tmp_path / source if record.task.needs_source else None)
    expected = (tmp_path / "a.png", tmp_path / "b.png") if record.task.needs_references else ()
    assert record.references == expected


@pytest.mark.parametrize("task", OFFICIAL)
def test_every_name_is_needed(tmp_path, task):
    for name in OFFICIAL[task]:
        write(tmp_path, [{key: value for key, value in OFFICIAL[task].items() if key != name}])
        with pytest.raises(SampleError, match=f"missing {name}"):
            read(tmp_path, task).record(0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (OFFICIAL["reference-edit"] | {"fps": 24}, "a sample of reference-edit"),
        (OFFICIAL["text-to-image"] | {"text": ""}, "missing text: it has caption, image_path, as a sample of text-to-"),
        ({"prompt": "words"}, "missing text: it has prompt$"),
        ({}, "missing text: it has nothing$"),
    ],
)
def test_files_of_another_task_are_told_as_what_they_are(tmp_path, values, said):
    write(tmp_path, [values])
    with pytest.raises(SampleError, match=said):
        read(tmp_path, "text-to-video").record(0)


def test_files_in_order_of_their_numbers(tmp_path):
    write(tmp_path, [{"text": str(number), "path": "t.mp4"} for number in range(12)])
    records = read(tmp_path, "text-to-video")
    assert [records.record(index).instruction for index in range(12)] == [str(number) for number in range(12)]
    assert records.record(11).key == "11.json"


def test_another_folder(tmp_path):
    write(tmp_path / "elsewhere", [OFFICIAL["text-to-video"]], folder="train")
    root = tmp_path / "media"
    root.mkdir()
    record = read(root, "text-to-video", json_dir=str(tmp_path / "elsewhere" / "train")).record(0)
    assert record.target == root / "t.mp4"
    with pytest.raises(MediaError, match="json_dir"):
        read(root, "text-to-video")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "unreadable JSON"),
        ("[]", "no object"),
        ('{"instruction": "a", "reference_image_paths": "a.png", "target_video_path": "t.mp4"}', "no list"),
        ('{"instruction": " ", "reference_image_paths": ["a.png"], "target_video_path": "t.mp4"}', "missing caption"),
    ],
)
def test_files_that_are_wrong(tmp_path, text, reason):
    write(tmp_path, [text])
    with pytest.raises(SampleError, match=reason):
        read(tmp_path, "reference-to-video").record(0)


def test_fingerprint_follows_the_list(tmp_path):
    write(tmp_path, ["{}", "{}"])
    first = read(tmp_path, "text-to-video").fingerprint
    assert read(tmp_path, "reconstruct-video").fingerprint != first
    write(tmp_path, ["{}"] * 3)
    assert read(tmp_path, "text-to-video").fingerprint != first
