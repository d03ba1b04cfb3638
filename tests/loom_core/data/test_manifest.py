"""Manifests as sets: both formats, names of tasks, lines that are wrong."""

from __future__ import annotations

import json
import pickle

import pytest

from loom_core.data.manifest import ManifestRecords
from loom_core.data.sample import SampleError
from loom_core.data.tasks import training_task
from loom_core.errors import MediaError

ROWS = [
    {"task": "text-to-image", "image": "cat.png", "caption": "a cat"},
    {"task": "edit-video", "video": "new/1.mp4", "source": "old/1.mp4", "instruction": "make it red"},
    {"task": "reference-to-video", "video": "w.mp4", "caption": "they walk", "references": ["a.png", "b.png"]},
    {"task": "reconstruct-video", "video": "r.mp4"},
    {"task": "t2v", "video": "t.mp4", "caption": "a dog"},
]


def write(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def read(path, *tasks):
    return ManifestRecords(path, [training_task(task) for task in tasks], name="manifest")


def found(records):
    return [records.record(index) for index in range(len(records))]


def test_jsonl(tmp_path):
    write(tmp_path / "metadata.jsonl", [*ROWS[:2], "", *ROWS[2:]])
    records = read(tmp_path)
    image, edit, references, reconstruction, alias = found(records)
    assert image.target == tmp_path / "cat.png"
    assert image.instruction == "a cat"
    assert (edit.target, edit.source) == (tmp_path / "new/1.mp4", tmp_path / "old/1.mp4")
    assert references.references == (tmp_path / "a.png", tmp_path / "b.png")
    assert references.key == "metadata.jsonl line 4"
    assert reconstruction.source == reconstruction.target
    assert alias.task.name == "text-to-video"
    assert records.problems.total == 0


def test_csv(tmp_path):
    (tmp_path / "metadata.csv").write_text(
        'task,video,image,caption,source,references\ntext-to-image,,cat.png,"a cat, sitting",,\n'
        "reference-to-video,w.mp4,,they walk,,a.png | b.png\n"
        "edit-video,1.mp4,,make it red,0.mp4,\n",
        encoding="utf-8-sig",
    )
    image, references, edit = found(read(tmp_path))
    assert image.instruction == "a cat, sitting"
    assert references.references == (tmp_path / "a.png", tmp_path / "b.png")
    assert (edit.source, edit.references) == (tmp_path / "0.mp4", ())


def test_one_task_need_not_be_named_and_others_are_left_out(tmp_path):
    path = write(tmp_path / "own.jsonl", [{"image": "a.png", "caption": "a"}, *ROWS])
    records = read(path, "text-to-image")
    assert [record.target.name for record in found(records)] == ["a.png", "cat.png"]
    assert records.problems.total == 0
    assert read(path).problems.counts == {"missing task": 1}


def test_lines_that_are_wrong_are_counted(tmp_path):
    write(
        tmp_path / "metadata.jsonl",
        [
            "{not json",
            "[1]",
            {"task": "text-to-image", "image": "a.png"},
            {"task": "text-to-image", "video": "a.mp4", "caption": "a"},
            {"task": "edit-video", "video": "a.mp4", "caption": "a"},
            {"task": "reference-to-image", "image": "a.png", "caption": "a", "references": []},
            {"task": "reference-to-image", "image": "a.png", "caption": "a", "references": 3},
            {"task": "dance", "video": "a.mp4", "caption": "a"},
            ROWS[0],
        ],
    )
    records = read(tmp_path)
    assert len(records) == 1
    assert records.problems.counts == {
        "no JSON": 2,
        "missing caption": 1,
        "missing image": 1,
        "missing source": 1,
        "missing references": 1,
        "references that are no list": 1,
        "unknown task": 1,
    }
    assert "line 1" in records.problems.examples["no JSON"][0]


def test_no_manifest(tmp_path):
    with pytest.raises(MediaError, match=r"no metadata.jsonl or metadata.csv"):
        read(tmp_path)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "metadata.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MediaError, match="cannot be read"):
        read(tmp_path)


def test_fingerprint_follows_the_rows(tmp_path):
    first = read(write(tmp_path / "metadata.jsonl", ROWS)).fingerprint
    assert read(tmp_path).fingerprint == first
    assert read(write(tmp_path / "metadata.jsonl", ROWS[1:])).fingerprint != first


CELLS = [
    "task,video,image,caption,source,references\r\n",
    "\r\n",
    'text-to-image,,cat.png,"a cat,\nsitting ""still""\non a wall",,\r\n',
    "\n",
    "reference-to-video,w.mp4,,\u00e9l\u00e8ve,,a.png | b.png\r\n",
    "text-to-image,,much.png,a,,,and,more\n",
    "edit-video,1.mp4,,make it red,0.mp4,",
]


def test_rows_of_csv_are_found_again_by_their_place(tmp_path):
    """Cells of several lines, empty lines, a byte order mark, letters of two bytes, no end of the last line."""
    (tmp_path / "metadata.csv").write_bytes("".join(CELLS).encode("utf-8-sig"))
    records = read(tmp_path)
    image, references, edit = found(records)
    assert image.instruction == 'a cat,\nsitting "still"\non a wall'
    assert (references.instruction, edit.source) == ("\u00e9l\u00e8ve", tmp_path / "0.mp4")
    assert [record.key for record in (image, references, edit)] == [
        "metadata.csv line 5",
        "metadata.csv line 7",
        "metadata.csv line 9",
    ]
    assert records.problems.counts == {"more cells than columns": 1}


def test_rows_of_jsonl_are_found_again_by_their_place(tmp_path):
    rows = [{"task": "text-to-image", "image": f"{number}.png", "caption": "\u00e9" * number} for number in range(1, 9)]
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "metadata.jsonl").write_bytes(text.encode("utf-8-sig"))
    records = read(tmp_path)
    assert [record.instruction for record in found(records)] == ["\u00e9" * number for number in range(1, 9)]
    assert records.record(6).target == tmp_path / "7.png"


def test_a_row_takes_few_bytes_whatever_it_says(tmp_path):
    """Millions of rows as objects would fill the memory of every worker."""
    row = {"task": "text-to-image", "image": "x" * 200 + ".png", "caption": "y" * 2000}
    write(tmp_path / "metadata.jsonl", [row] * 200)
    assert len(pickle.dumps(read(tmp_path))) < 200 * 30 + 2000


def test_a_row_that_changed_since_is_refused(tmp_path):
    path = write(tmp_path / "metadata.jsonl", [{**ROWS[0], "caption": "one cat"}, ROWS[1]])
    records = read(tmp_path)
    write(path, [{**ROWS[0], "caption": "two cat"}, ROWS[1]])
    with pytest.raises(SampleError, match="changed manifest"):
        records.record(0)
    assert records.record(1).instruction == "make it red"
    path.unlink()
    with pytest.raises(SampleError, match="unreadable manifest"):
        records.record(1)


def test_the_fingerprint_is_that_of_earlier_versions(tmp_path):
    """A run whose data did not change goes on, and its cache is found."""
    write(tmp_path / "metadata.jsonl", ROWS)
    assert read(tmp_path).fingerprint == "3e6c91fec3f7d130402ee07150ad997b195cfa2e19447f7dda191d62ce9d5c12"
    (tmp_path / "other.csv").write_bytes("".join(CELLS[:5]).encode("utf-8-sig"))
    assert (
        read(tmp_path / "other.csv").fingerprint == "82461385cb5d92354051fd7a16958b69aac6b7f7c21acd7495e65e4f3245386d"
    )
