"""Which samples a suite has: balanced over tasks and kinds, the same for a seed; a short one begins a longer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..config.sampling import EDIT_TASKS
from ..data.tasks import training_task
from ..data.world.edits import EDITS, OF_CLIPS_ONLY
from ..data.world.samples import SPLITS, WorldSample, WorldSettings, make_request, make_sample
from ..data.world.scene import SIDE
from ..errors import ConfigError
from ..geometry import check_frames, check_size
from ..types import Task
from .judge import judge

REFERENCE_KINDS = ("1 reference", "2 references", "3 references", "4 references")
GENERATION_KIND = "generate"


@dataclass(frozen=True, kw_only=True)
class SuitePlan:
    """What a suite is made of.

    Args:
        samples: How many.
        seed: Of scenes and noise.
        split: "held-out" or "train".
        size: (width, height) in pixels.
        frames: Length of clips, 4k + 1; one frame cannot show the kinds of clips only.
        tasks: Names of tasks; empty for all.
        kinds: Kinds of edit, "1 reference" ... "4 references", "generate"; empty for all.

    Raises:
        ConfigError: A name is unknown or a number out of range.
    """

    samples: int = 200
    seed: int = 0
    split: str = "held-out"
    size: tuple[int, int] = (SIDE, SIDE)
    frames: int = 9
    tasks: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    cells: tuple[tuple[str, str], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Check the settings and lay out the cells."""
        if self.samples < 1:
            raise ConfigError(f"{self.samples} samples", expected="at least 1", fix="200 take about a minute")
        if self.split not in SPLITS:
            raise ConfigError(f"split {self.split!r}", expected=" or ".join(SPLITS), fix="correct the name")
        check_size(*self.size)
        check_frames(self.frames)
        known = {task.value for task in Task}
        kinds = {*EDITS, *REFERENCE_KINDS, GENERATION_KIND}
        for found, names, what in ((self.tasks, known, "task"), (self.kinds, kinds, "kind")):
            if unknown := sorted(set(found) - names):
                raise ConfigError(f"{what} {unknown[0]!r}", expected=", ".join(sorted(names)), fix="correct the name")
        cells = tuple(_cells(self.tasks, self.kinds, frames=self.frames))
        if not cells:
            tasks = ", ".join(self.tasks or sorted(known))
            raise ConfigError(
                f"no kind {', '.join(self.kinds)} in tasks {tasks} with {self.frames} frames",
                expected="kinds that the tasks have",
                fix="leave one of the two out, or ask for more frames",
            )
        object.__setattr__(self, "cells", cells)


@dataclass(frozen=True)
class SuiteSample:
    """One sample of a suite.

    Args:
        key: Names it: task, kind, number.
        world: The sample and what is known about it.
        seed: Of its noise.
    """

    key: str
    world: WorldSample
    seed: int


def kinds_of(task: Task, *, frames: int) -> tuple[str, ...]:
    """Kinds of request that a task has, with clips of so many frames."""
    trained = training_task(task.value)
    if trained.needs_references:
        return REFERENCE_KINDS
    if task in EDIT_TASKS:
        is_still = trained.is_image or frames == 1
        return tuple(kind for kind in EDITS if not (is_still and kind in OF_CLIPS_ONLY))
    return (GENERATION_KIND,)


def _cells(tasks: tuple[str, ...], kinds: tuple[str, ...], *, frames: int) -> Iterator[tuple[str, str]]:
    """(task, kind) in the order in which a suite goes through them, round and round: tasks alternate.

    Generation, which has one kind, comes up as often as a task with four.
    """
    rows = {task.value: kinds_of(task, frames=frames) for task in Task if not tasks or task.value in tasks}
    rows = {task: row * (4 if row == (GENERATION_KIND,) else 1) for task, row in rows.items()}
    places = [((index + 0.5) / len(row), task, kind) for task, row in rows.items() for index, kind in enumerate(row)]
    order = list(rows)
    for _, task, kind in sorted(places, key=lambda place: (place[0], order.index(place[1]))):
        if not kinds or kind in kinds:
            yield task, kind


def suite_samples(plan: SuitePlan) -> Iterator[SuiteSample]:
    """The samples of a suite, in order."""
    next_index: dict[tuple[str, str], int] = {}
    for number in range(plan.samples):
        cell = plan.cells[number % len(plan.cells)]
        index, world = _next_sample(plan, cell, start=next_index.get(cell, 0))
        next_index[cell] = index + 1
        key = f"{cell[0]}/{cell[1]}/{index}"
        yield SuiteSample(key, world, random.Random(f"{plan.seed} {key}").getrandbits(63))


def _next_sample(plan: SuitePlan, cell: tuple[str, str], *, start: int) -> tuple[int, WorldSample]:
    """The next sample of a cell that can be scored."""
    task, kind = cell
    settings = WorldSettings(
        seed=plan.seed,
        split=plan.split,
        size=plan.size,
        frames=(plan.frames,),
        tasks={task: 1.0},
        edits={name: float(name == kind) for name in EDITS} if kind in EDITS else {},
    )
    index = start
    while True:
        if make_request(index, settings)[0].kind == kind:
            world = make_sample(index, settings)
            if not _is_answered_by_source(world):
                return index, world
        index += 1


def _is_answered_by_source(world: WorldSample) -> bool:
    """Whether an edit cannot be seen: it would count as right if nothing were done.

    So it is from plain to striped black, or with "black and white" for a white thing on grey.
    """
    source, request = world.sample.source, world.request
    if source is None or not any(ask.attribute in ("background", "style") for ask in request.asks):
        return False  # all else looks different when it is
    return judge(request, source.frames, codec=None).is_asked_right
