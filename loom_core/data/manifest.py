"""Manifests as sets: `metadata.jsonl` or `metadata.csv`, a sample a line, with paths relative to the file.

    {"task": "edit-video", "video": "new/1.mp4", "source": "old/1.mp4", "instruction": "make it red"}
    {"task": "text-to-image", "image": "cat.png", "caption": "a cat"}
    {"task": "reference-to-video", "video": "walk.mp4", "caption": "they walk", "references": ["a.png", "b.png"]}

In a CSV file several references stand in one cell, with `|` between them.

Of a row only its place in the file is kept, 20 bytes, so that a manifest may have millions; it is read again when its
sample is asked for, and refused if it is no longer what it was.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import ConfigError, MediaError
from ..mllm.prompts import parse_task
from .problems import Problems
from .records import Record, make_record
from .sample import SampleError
from .tasks import TRAINING_TASKS, TrainingTask, training_task

NAMES = ("metadata.jsonl", "metadata.csv")
_CSV_SEPARATOR = "|"


@dataclass(frozen=True)
class _Row:
    """A row and its place.

    Args:
        start: Byte of the file at which it begins.
        content: Its bytes.
        line: Number of its last line, from 1.
        values: What it says; None if it cannot be read.
        problem: Why not.
    """

    start: int
    content: bytes
    line: int
    values: Mapping[str, Any] | None
    problem: str = ""


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
        self._file = _manifest_file(path)
        self._default = tasks[0] if len(tasks) == 1 else None
        self._columns: list[str] | None = None  # of a CSV file
        self._starts = array("q")
        self._sizes, self._lines, self._sums = array("I"), array("I"), array("I")
        digest = hashlib.sha256(b"manifest")
        for row in self._rows():
            key = self._key(row.line)
            try:
                if row.values is None:
                    raise SampleError(key, row.problem)
                record = _record(key, row.values, root=self._file.parent, default=self._default)
            except SampleError as error:
                self.problems.add(error.key, error.reason)
                continue
            if not tasks or record.task in tasks:
                self._keep(row)
                digest.update(json.dumps([key, record.task.name, row.values], sort_keys=True).encode())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._starts)

    def record(self, index: int) -> Record:
        """One record; its row is read now.

        Raises:
            SampleError: The file is gone or is no longer what it was.
        """
        key = self._key(self._lines[index])
        try:
            with self._file.open("rb") as file:
                file.seek(self._starts[index])
                content = file.read(self._sizes[index])
        except OSError as error:
            raise SampleError(key, f"unreadable manifest: {error}") from error
        if zlib.crc32(content) != self._sums[index]:
            raise SampleError(key, "changed manifest: the row is not what it was when the run began")
        if self._columns is None:
            values = json.loads(content.decode("utf-8-sig"))
        else:
            values = next(csv.DictReader(io.StringIO(content.decode(), newline="\n"), fieldnames=self._columns))
        return _record(key, values, root=self._file.parent, default=self._default)

    def _key(self, line: int) -> str:
        return f"{self._file.name} line {line}"

    def _keep(self, row: _Row) -> None:
        self._starts.append(row.start)
        self._sizes.append(len(row.content))
        self._lines.append(row.line)
        self._sums.append(zlib.crc32(row.content))

    def _rows(self) -> Iterator[_Row]:
        """Every row of the file but empty ones.

        Raises:
            MediaError: It is no UTF-8 text, or cannot be read.
        """
        try:
            with self._file.open("rb") as file:
                yield from self._csv_rows(file) if self._file.suffix.lower() == ".csv" else _json_rows(file)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise MediaError(
                f"{self._file}, which cannot be read ({error})", expected="UTF-8 text", fix="save it again"
            ) from error

    def _csv_rows(self, file: BinaryIO) -> Iterator[_Row]:
        taken: list[bytes] = []  # the lines of the row that is being read; a cell may have several

        def lines() -> Iterator[str]:
            for line in file:
                encoding = "utf-8" if start or taken else "utf-8-sig"
                taken.append(line)
                yield line.decode(encoding)

        start = 0
        table = csv.DictReader(lines())
        self._columns = list(table.fieldnames or ())
        start += sum(map(len, taken))
        taken.clear()
        for values in table:
            content = b"".join(taken)
            taken.clear()
            too_many = "more cells than columns" if None in values else ""
            yield _Row(start, content, table.line_num, None if too_many else values, too_many)
            start += len(content)


def _json_rows(file: BinaryIO) -> Iterator[_Row]:
    start = 0
    for number, content in enumerate(file, start=1):
        text = content.decode("utf-8" if start else "utf-8-sig")
        if text.strip():
            try:
                values = json.loads(text)
            except ValueError as error:
                yield _Row(start, content, number, None, f"no JSON: {error}")
            else:
                is_row = isinstance(values, dict)
                wrong = "" if is_row else "no JSON: a line must be an object {...}"
                yield _Row(start, content, number, values if is_row else None, wrong)
        start += len(content)


def _manifest_file(path: Path) -> Path:
    if path.is_file():
        return path
    for name in NAMES:
        if (path / name).is_file():
            return path / name
    raise MediaError(f"no {' or '.join(NAMES)} in {path}", expected="a manifest", fix="correct the path")


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
