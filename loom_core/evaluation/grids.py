"""Pictures of what went right and what went wrong: source | references | result | truth, with what was seen."""

from __future__ import annotations

from pathlib import Path

from ..atomic import atomic_target, explained
from ..training.watch.grid import sample_grid
from ..training.watch.observer import SampleRow
from .scores import Score
from .suite import Answer

ROWS = 6
"""Most rows of a picture."""


class Grids:
    """A picture of successes and one of failures for each task, and one of failures for each kind of edit.

    Answers come one by one; only those are kept that a picture shows, in turn by kind, so that a few show all kinds.

    Args:
        rows: Most rows of a picture.
    """

    def __init__(self, *, rows: int = ROWS) -> None:
        self._rows = rows
        self._groups: dict[str, _Group] = {}

    def add(self, answer: Answer) -> None:
        """Take one answer into account; a suite's come in its order."""
        request, is_right = answer.score.request, answer.score.verdict.is_right
        names = [f"{request.task.name}-{'right' if is_right else 'wrong'}"]
        if not is_right:
            names.append(f"{request.task.name}-{request.kind.replace(' ', '-')}-wrong")
        for name in names:
            self._groups.setdefault(name, _Group()).add(answer, most=self._rows)

    def write(self, folder: Path) -> list[Path]:
        """Write the pictures.

        Args:
            folder: For them; made when it is missing.

        Returns:
            The files, in order.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explained(error, folder) from error
        written = []
        for name, group in sorted(self._groups.items()):
            path = folder / f"{name}.png"
            with atomic_target(path) as temporary:
                sample_grid(list(map(row_of, group.shown))).save(temporary, format="PNG")
            written.append(path)
        return written


class _Group:
    """The answers of one picture: the first of every kind, the second of every kind ... as many as there are rows."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._kept: list[tuple[int, Answer]] = []

    @property
    def shown(self) -> list[Answer]:
        return [answer for _, answer in self._kept]

    def add(self, answer: Answer, *, most: int) -> None:
        kind = answer.score.request.kind
        self._seen[kind] = self._seen.get(kind, 0) + 1
        self._kept.append((self._seen[kind], answer))
        self._kept.sort(key=lambda entry: entry[0])  # stable: of the same turn those that came first
        del self._kept[most:]


def row_of(answer: Answer) -> SampleRow:
    """One answer as a row of a picture."""
    sample = answer.sample.world.sample
    mark = "right" if answer.score.verdict.is_right else "WRONG"
    return SampleRow(
        caption=f"{mark}: {sample.instruction} {findings(answer.score)}",
        result=answer.output,
        source=None if sample.source is None else sample.source.frames,
        references=tuple(clip.frames for clip in sample.references),
        truth=sample.target.frames,
    )


def findings(score: Score) -> str:
    """What is wrong in a few words: "[colour of the square: seen blue; the ring: nothing]"; empty when nothing is."""
    wrong = []
    for verdict in score.verdict.asks:
        if verdict.is_right:
            continue
        ask = verdict.ask
        scene = score.request.before if ask.attribute == "absence" else score.request.after
        about = "" if ask.thing is None or scene is None else f" of the {scene.things[ask.thing].shape}"
        by = "" if ask.reference is None else f" (@Image {ask.reference})"
        wrong.append(f"{ask.attribute}{about}{by}: seen {verdict.seen}, off by {verdict.error:.0f} of 255")
    wrong += score.verdict.changed
    if (spill := score.verdict.spilled) is not None:
        wrong.append(f"also changed: {spill.where}, by {spill.error:.0f}, {spill.limit:.0f} allowed")
    return f"[{'; '.join(wrong)}]" if wrong else ""
