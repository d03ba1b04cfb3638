"""Pictures of what went right and what went wrong: source | references | result | truth, with what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..atomic import atomic_target, explained
from ..training.watch.grid import sample_grid
from ..training.watch.observer import SampleRow
from .scores import Score
from .suite import Answer

ROWS = 6
"""Most rows of a picture."""


def write_grids(answers: Sequence[Answer], folder: Path, *, rows: int = ROWS) -> list[Path]:
    """Write a picture of successes and one of failures for each task, and one of failures for each kind of edit.

    Args:
        answers: Of a whole suite.
        folder: For the pictures; made when it is missing.
        rows: Most rows of a picture.

    Returns:
        The files, in order.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explained(error, folder) from error
    written = []
    for name, group in _groups(answers).items():
        path = folder / f"{name}.png"
        with atomic_target(path) as temporary:
            sample_grid([row_of(answer) for answer in _varied(group)[:rows]]).save(temporary, format="PNG")
        written.append(path)
    return written


def _groups(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        request, is_right = answer.score.request, answer.score.verdict.is_right
        names = [f"{request.task.name}-{'right' if is_right else 'wrong'}"]
        if not is_right:
            names.append(f"{request.task.name}-{request.kind.replace(' ', '-')}-wrong")
        for name in names:
            groups.setdefault(name, []).append(answer)
    return dict(sorted(groups.items()))


def _varied(answers: Sequence[Answer]) -> list[Answer]:
    """The answers in turn by kind, so that a few of them show all kinds."""
    seen: dict[str, int] = {}
    places = []
    for index, answer in enumerate(answers):
        kind = answer.score.request.kind
        seen[kind] = seen.get(kind, 0) + 1
        places.append((seen[kind], index))
    return [answers[index] for _, index in sorted(places)]


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
