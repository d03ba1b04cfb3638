"""The official layout as a set: one JSON file a sample, of one task, with paths relative to a root.

| task | names in a file |
|---|---|
| text-to-video | text, path |
| text-to-image | caption, image_path |
| edit-video, edit-image | source_video_path or source_image_path, instruction, target_video_path or target_image_path |
| reference-to-video, reference-to-image | instruction, reference_image_paths, target_video_path or target_image_path |
| reference-edit | the names of edit-video and reference_image_paths |
| reconstruct-video | path |
| reconstruct-image | image_path |

Source: official `src/dataset/processors.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import MediaError
from .problems import Problems
from .records import Record, make_record
from .sample import SampleError
from .tasks import TrainingTask

DEFAULT_FOLDER = "single_jsons"


@dataclass(frozen=True)
class JsonNames:
    """Under which names a task's parts stand in a file; empty for what it has not."""

    target: str
    instruction: str = ""
    source: str = ""
    references: str = ""


_REFERENCES = "reference_image_paths"
NAMES: Mapping[str, JsonNames] = MappingProxyType(
    {
        "text-to-video": JsonNames("path", "text"),
        "text-to-image": JsonNames("image_path", "caption"),
        "edit-video": JsonNames("target_video_path", "instruction", "source_video_path"),
        "edit-image": JsonNames("target_image_path", "instruction", "source_image_path"),
        "reference-edit": JsonNames("target_video_path", "instruction", "source_video_path", _REFERENCES),
        "reference-to-video": JsonNames("target_video_path", "instruction", references=_REFERENCES),
        "reference-to-image": JsonNames("target_image_path", "instruction", references=_REFERENCES),
        "reconstruct-video": JsonNames("path"),
        "reconstruct-image": JsonNames("image_path"),
    }
)
"""Names by training task."""


class SingleJsonRecords:
    """The records of a folder of JSON files.

    Args:
        root: Folder that the paths in the files are relative to.
        task: Of all samples.
        name: In messages.
        json_dir: Folder of the JSON files, absolute or below `root`.

    Raises:
        MediaError: There is no such folder.
    """

    def __init__(self, root: Path, task: TrainingTask, *, name: str, json_dir: str = DEFAULT_FOLDER) -> None:
        self.name = name
        self.problems = Problems()
        self._root, self._task = root, task
        self._folder = root / json_dir
        if not self._folder.is_dir():
            raise MediaError(
                f"no folder {self._folder}",
                expected="one JSON file a sample",
                fix="correct the path, or name the folder: `options: {json_dir: ...}`",
            )
        self._stems = sorted((path.stem for path in self._folder.glob("*.json")), key=_by_number)
        listed = "\n".join(self._stems)
        self.fingerprint = hashlib.sha256(f"single_jsons {task.name}\n{listed}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._stems)

    def record(self, index: int) -> Record:
        """One record; its file is read now."""
        path = self._folder / f"{self._stems[index]}.json"
        key = path.name
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SampleError(key, f"unreadable JSON: {error}") from error
        if not isinstance(values, dict):
            raise SampleError(key, "unreadable JSON: no object {...}")
        names = NAMES[self._task.name]
        source = _value(values, names.source, key) if names.source else None
        references = _value(values, names.references, key) if names.references else []
        if not isinstance(references, list):
            raise SampleError(key, f"unreadable JSON: {names.references} is no list")
        return make_record(
            key,
            self._task,
            instruction=str(_value(values, names.instruction, key)) if names.instruction else "",
            target=self._root / str(_value(values, names.target, key)),
            source=None if source is None else self._root / str(source),
            references=[self._root / str(reference) for reference in references],
        )


def _value(values: Mapping[str, Any], name: str, key: str) -> Any:
    if values.get(name) in (None, ""):
        raise SampleError(key, f"missing {name}: it has {_described(values)}")
    return values[name]


def _described(values: Mapping[str, Any]) -> str:
    """The names in a file, and the task that takes most of them."""
    present = {name for name, value in values.items() if value not in (None, "")}
    taken = {task: set(filter(None, astuple(names))) for task, names in NAMES.items()}
    fitting = [task for task, names in taken.items() if names <= present]
    best = max(fitting, key=lambda task: len(taken[task]), default="")
    return (", ".join(sorted(present)) or "nothing") + (f", as a sample of {best}" if best else "")


def _by_number(stem: str) -> tuple[int, int, str]:
    return (0, int(stem), "") if stem.isdecimal() else (1, 0, stem)
