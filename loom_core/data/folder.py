"""Folders as sets: files with a caption of the same name, or `target/`, `source/` and `reference/` side by side.

    cats/one.mp4  cats/one.txt  cats/two.mp4  cats/two.txt
    edits/target/one.mp4  edits/target/one.txt  edits/source/one.mp4  edits/reference/one.png

Several references of one sample are `one_1.png`, `one_2.png` ... or the files of `reference/one/`, in order of their
names. Captions stand beside the target or in the folder above. Folders may lie in folders.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import MediaError
from ..types import Task
from .problems import Problems
from .records import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Record, make_record
from .sample import SampleError
from .tasks import TrainingTask

TARGET, SOURCE, REFERENCE = "target", "source", "reference"
_CAPTION = ".txt"
_CAPTIONS = frozenset({_CAPTION})
_NUMBER = re.compile(r"\d+")


class FolderRecords:
    """The records of a folder.

    Args:
        root: The folder.
        task: Of all its samples.
        name: In messages.

    Raises:
        MediaError: There is no such folder, or it lacks the source or reference folder that its task needs.
    """

    def __init__(self, root: Path, task: TrainingTask, *, name: str) -> None:
        if not root.is_dir():
            raise MediaError(f"no folder {root}", expected="a folder of samples", fix="correct the path")
        self.name = name
        self.problems = Problems()
        self._root, self._task = root, task
        self._targets = root / TARGET if (root / TARGET).is_dir() else root
        targets = list(_media(self._targets, IMAGE_SUFFIXES if task.is_image else VIDEO_SUFFIXES))
        stems = {stem for stem, _ in targets}
        needs_source = task.needs_source and not task.is_reconstruction
        self._sources = self._side_folder(SOURCE, stems) if needs_source else {}
        self._references = self._side_folder(REFERENCE, stems) if task.needs_references else {}
        self._stems = list(self._usable(targets))
        listed = "\n".join(f"{stem}{suffix}" for stem, suffix in self._stems)
        self.fingerprint = hashlib.sha256(f"folder {task.name}\n{listed}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._stems)

    def record(self, index: int) -> Record:
        """One record; its caption is read now."""
        stem, suffix = self._stems[index]
        source = self._sources.get(stem)
        return make_record(
            stem,
            self._task,
            instruction=self._caption(stem),
            target=self._targets / (stem + suffix),
            source=source[0] if source else None,
            references=self._references.get(stem, ()),
        )

    def _side_folder(self, name: str, stems: set[str]) -> dict[str, list[Path]]:
        """Files of `source/` or `reference/` by the target that they belong to, in order."""
        folder = self._root / name
        if self._targets == self._root or not folder.is_dir():
            raise MediaError(
                f"{self._root} without {TARGET}/ and {name}/",
                expected=f"both, since task {self._task.name} needs a {name}",
                fix="put the files there, with equal names, or correct the task",
            )
        files: dict[str, list[Path]] = {}
        for stem, suffix in _media(folder, IMAGE_SUFFIXES | VIDEO_SUFFIXES):
            owners = [stem]
            if name == REFERENCE:
                owners += [_without_number(stem), stem.rpartition("/")[0]]
            owner = next((owner for owner in owners if owner in stems), None)
            if owner is not None:
                files.setdefault(owner, []).append(folder / (stem + suffix))
        return {owner: sorted(paths, key=_natural) for owner, paths in files.items()}

    def _usable(self, targets: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """(stem, suffix) of each target that has what it needs; the others are counted."""
        captions = {stem for folder in {self._root, self._targets} for stem, _ in _media(folder, _CAPTIONS)}
        makes_own = self._task.is_reconstruction
        seen: set[str] = set()
        for stem, suffix in targets:
            if stem in seen:
                self.problems.add(stem + suffix, "two targets of one name")
            elif stem not in captions and not makes_own:
                self.problems.add(stem + suffix, "missing caption")
            elif self._task.needs_source and not makes_own and stem not in self._sources:
                self.problems.add(stem + suffix, "missing source")
            elif self._task.needs_references and stem not in self._references:
                self.problems.add(stem + suffix, "missing references")
            else:
                yield stem, suffix
            seen.add(stem)

    def _caption(self, stem: str) -> str:
        if self._task.is_reconstruction:
            return ""
        for folder in (self._targets, self._root):
            path = folder / (stem + _CAPTION)
            try:
                return path.read_text(encoding="utf-8-sig")
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as error:
                raise SampleError(stem, f"unreadable caption: {error}") from error
        raise SampleError(stem, "missing caption")


def task_of_folder(root: Path) -> Task:
    """The task that the layout of a folder is made for; clips count where there are clips and stills.

    Raises:
        MediaError: There is no such folder, or nothing in it that can be a target.
    """
    if not root.is_dir():
        raise MediaError(f"no folder {root}", expected="a folder of samples", fix="correct the path")
    targets = root / TARGET if (root / TARGET).is_dir() else root
    is_clip = any(_media(targets, VIDEO_SUFFIXES))
    if not is_clip and not any(_media(targets, IMAGE_SUFFIXES)):
        raise MediaError(
            f"no clip and no picture in {targets}",
            expected="files with captions of the same name (one.mp4, one.txt), or target/, source/ and reference/",
            fix="correct the path, or put them there",
        )
    has_source, has_references = ((root / name).is_dir() and targets != root for name in (SOURCE, REFERENCE))
    if has_source:
        return Task.REFERENCE_EDIT if has_references else Task.EDIT_VIDEO if is_clip else Task.EDIT_IMAGE
    if has_references:
        return Task.REFERENCE_TO_VIDEO if is_clip else Task.REFERENCE_TO_IMAGE
    return Task.TEXT_TO_VIDEO if is_clip else Task.TEXT_TO_IMAGE


def _media(folder: Path, suffixes: frozenset[str]) -> Iterator[tuple[str, str]]:
    """(stem with its folders, suffix) of the files below a folder, sorted; hidden ones are left out."""
    for current, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        above = Path(current).relative_to(folder).as_posix()
        for name in sorted(files):
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - millions of names, no paths needed
            if suffix.lower() in suffixes and not name.startswith("."):
                yield stem if above == "." else f"{above}/{stem}", suffix


def _without_number(stem: str) -> str:
    """The stem of `one` for `one_2`."""
    start, _, number = stem.rpartition("_")
    return start if start and number.isdecimal() else stem


def _natural(path: Path) -> list[str]:
    """Sorts `one_10` after `one_9`."""
    return [_NUMBER.sub(lambda match: match.group().zfill(12), part) for part in path.parts]
