"""A set looked through before it is trained on: every sample decoded and cut once, what cannot be used by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..config.data import DataSetConfig
from .folder import task_of_folder
from .framing import Framing
from .manifest import NAMES
from .opening import open_source
from .problems import Problems
from .sample import Sample, SampleError
from .seeds import seeded_generator
from .tasks import AUTO

_ANY_SHARE = 1.0


@dataclass(frozen=True)
class Survey:
    """What a set holds.

    Args:
        name: Of the set.
        problems: What cannot be used.
        tasks: Usable samples by task.
        cuts: Usable samples by (width, height, frames), as they are trained on.
    """

    name: str
    problems: Problems
    tasks: Counter[str] = field(default_factory=Counter)
    cuts: Counter[tuple[int, int, int]] = field(default_factory=Counter)

    def __len__(self) -> int:
        """Number of usable samples."""
        return self.tasks.total()

    def lines(self) -> list[str]:
        """What was found, the most frequent first."""
        tasks = ", ".join(f"{count} x {task}" for task, count in self.tasks.most_common())
        cuts = ", ".join(
            f"{count} x {width}x{height}" + (f", {frames} frames" if frames > 1 else "")
            for (width, height, frames), count in self.cuts.most_common()
        )
        lines = [f"{self.name}: {len(self)} samples" + (f" ({tasks})" if tasks else "")]
        lines += [f"trained at: {cuts}"] if cuts else []
        return lines + ([f"left out: {self.problems.summary()}"] if self.problems.total else [])


def set_of(path: Path, *, task: str = AUTO) -> DataSetConfig:
    """The set that a folder is: its manifest where it has one, else its files.

    Args:
        path: Of the folder.
        task: Of all its samples, or `AUTO`.

    Raises:
        MediaError: There is no such folder, or nothing in it.
    """
    if any((path / name).is_file() for name in NAMES):
        return DataSetConfig(kind="manifest", path=path, tasks=() if task == AUTO else (task,))
    return DataSetConfig(kind="folder", path=path, tasks=(task_of_folder(path).value if task == AUTO else task,))


def survey(
    config: DataSetConfig, framing: Framing, *, tell: Callable[[int, int, Sample | None], None] = lambda *_: None
) -> Survey:
    """Look at every sample of a set as training would cut it.

    Args:
        config: Of the set.
        framing: How it is cut.
        tell: Told how many of how many were looked at, after each, and the sample unless it cannot be used.

    Raises:
        ConfigError: A setting makes no sense.
        MediaError: The set is missing, empty, or not of its task.
    """
    source = open_source(config, framing, max_bad_share=_ANY_SHARE)
    found = Survey(source.name, Problems())
    records = getattr(source, "records", None)  # a world has none
    if records is not None:
        found.problems.load(records.problems.state())
    for index in range(len(source)):
        sample = None
        try:
            sample = source.load(index, generator=seeded_generator(0, "survey", index))
        except SampleError as error:
            found.problems.add(error.key, error.reason)
        else:
            found.tasks[sample.task.name] += 1
            found.cuts[(*sample.target.size, sample.target.num_frames)] += 1
        tell(index + 1, len(source), sample)
    return found
