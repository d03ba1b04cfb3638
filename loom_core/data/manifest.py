"""Manifests as sets: `metadata.jsonl` or `metadata.csv`, a sample a line, with paths relative to the file.

    {"task": "edit-video", "video": "new/1.mp4", "source": "old/1.mp4", "instruction": "make it red"}
    {"task": "text-to-image", "image": "cat.png", "caption": "a cat"}
    {"task": "reference-to-video", "video": "walk.mp4", "caption": "they walk", "references": ["a.png", "b.png"]}

In a CSV file several references stand in one cell, with `|` between them.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MediaError
from ..mllm.prompts import parse_task
from .problems import Problems
from .records import Record, make_record
from .sample import SampleError
from .tasks import TRAINING_TASKS, TrainingTask, training_task

NAMES = ("metadata.jsonl", "metadata.csv")
_CSV_SEPARATOR = "|"


class ManifestRecords:
    """The records of a manifest.

    Args:
        path: The file, or the folder that it lies in.
        tasks: Rows of other tasks are left out, without being counted; empty for all. If there is one, rows need not
            name it.
        name: In messages.

    Raises:
        MediaError: There is no manifest, or it cannot be read.
    """

    def __init__(self, path: Path, tasks: Sequence[TrainingTask], *, name: str) -> None:
        self.name = name
        self.problems = Problems()
        file = _manifest_file(path)
        self._records: list[Record] = []
        digest = hashlib.sha256(b"manifest")
        for key, row in _rows(file, self.problems):
            try:
                record = _record(key, row, root=file.parent, default=tasks[0] if len(tasks) == 1 else None)
            except SampleError as error:
                self.problems.add(error.key, error.reason)
                continue
            if not tasks or record.task in tasks:
                self._records.append(record)
                digest.update(json.dumps([key, record.task.name, row], sort_keys=True).encode())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._records)

    def record(self, index: int) -> Record:
        """One record."""
        return self._records[index]


def _manifest_file(path: Path) -> Path:
    if path.is_file():
        return path
    for name in NAMES:
        if (path / name).is_file():
            return path / name
    raise MediaError(f"no {' or '.join(NAMES)} in {path}", expected="a manifest", fix="correct the path")


def _rows(file: Path, problems: Problems) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(line, what it says) of each line of a manifest; those that cannot be read are counted."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            if file.suffix.lower() == ".csv":
                table = csv.DictReader(lines)
                yield from ((f"{file.name} line {table.line_num}", row) for row in table)
                return
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                key = f"{file.name} line {number}"
                try:
                    row = json.loads(line)
                except ValueError as error:
                    problems.add(key, f"no JSON: {error}")
                    continue
                if isinstance(row, dict):
                    yield key, row
                else:
                    problems.add(key, "no JSON: a line must be an object {...}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MediaError(
            f"{file}, which cannot be read ({error})", expected="UTF-8 text", fix="save it again"
        ) from error


def _record(key: str, row: Mapping[str, Any], *, root: Path, default: TrainingTask | None) -> Record:
    task = _task(key, row.get("task"), default)
    target = row.get("image") if task.is_image else row.get("video")
    if not target:
        raise SampleError(key, "missing " + ("image" if task.is_image else "video"))
    source = row.get("source")
    return make_record(
        key,
        task,
        instruction=str(row.get("instruction") or row.get("caption") or ""),
        target=root / str(target),
        source=root / str(source) if source else None,
        references=[root / name for name in _references(key, row.get("references"))],
    )


def _task(key: str, name: Any, default: TrainingTask | None) -> TrainingTask:
    """The task of a row: by its own name, or by one that the command line also knows, such as "t2v"."""
    if not name:
        if default is None:
            raise SampleError(key, "missing task")
        return default
    if name in TRAINING_TASKS:
        return training_task(name)
    try:
        return training_task(parse_task(str(name)).value)
    except ConfigError as error:
        raise SampleError(key, f"unknown task: {error}") from error


def _references(key: str, value: Any) -> list[str]:
    if not value:
        return []
    if isinstance(value, str):
        return [name.strip() for name in value.split(_CSV_SEPARATOR) if name.strip()]
    if isinstance(value, list):
        return [str(name) for name in value]
    raise SampleError(key, "references that are no list")
