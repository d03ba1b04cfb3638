"""Samples of the world: for every task a request, its pictures and the right answer, all from one seed."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from ...errors import ConfigError
from ...geometry import NATIVE_FPS, check_frames, check_size
from ...types import Clip
from ..sample import Sample
from ..tasks import TrainingTask, training_task
from .busy import STYLE_KINDS, busy_scene
from .captions import caption
from .chance import arranged, is_for_training, is_held_out_background, is_held_out_thing, random_scene
from .edits import EDITS, OF_CLIPS_ONLY, Ask, Edit
from .references import PARTS, Reference, ReferenceRequest, reference_edit, reference_scene
from .render import pictures
from .scene import SIDE, Scene

SPLITS = ("train", "held-out")
_MOST_TRIES = 2000


@dataclass(frozen=True)
class Request:
    """What is asked, as scenes: everything that pictures and judgement follow from.

    Args:
        task: The task.
        kind: The edit's kind, "generate", "reconstruct", or the number of references: "1 reference".
        instruction: In words; empty for a reconstruction.
        before: What is given; None without a source.
        after: The right answer.
        asks: What to look at.
        references: What each reference shows.
        is_busy: Whether the scenes are busy ones, whose things have no names.
    """

    task: TrainingTask
    kind: str
    instruction: str
    before: Scene | None
    after: Scene
    asks: tuple[Ask, ...] = ()
    references: tuple[Reference, ...] = ()
    is_busy: bool = False


@dataclass(frozen=True)
class WorldSettings:
    """Which samples a world has.

    Args:
        seed: Of all of them.
        split: "train" or "held-out".
        size: (width, height) in pixels.
        frames: Lengths of clips, each 4k + 1; drawn evenly. One of 1 frame is asked for as a still is: nothing moves.
        tasks: Name of a training task -> its share.
        edits: Kind of edit -> its share; those that are not named have share 1.
        most_references: 1 to 4.
        busy: Share of busy scenes among reconstructions and edits without references; these edits keep everything or
            change the style.
    """

    seed: int = 0
    split: str = "train"
    size: tuple[int, int] = (SIDE, SIDE)
    frames: tuple[int, ...] = (9,)
    tasks: Mapping[str, float] = field(default_factory=lambda: {"edit-video": 1.0})
    edits: Mapping[str, float] = field(default_factory=dict)
    most_references: int = 4
    busy: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that make no samples.

        Raises:
            ConfigError: A name is unknown, a number is out of range, or the shares leave nothing to draw.
        """
        if self.split not in SPLITS:
            raise ConfigError(f"split {self.split!r}", expected=" or ".join(SPLITS), fix="correct the name")
        for name in self.tasks:
            training_task(name)
        if unknown := sorted(set(self.edits) - set(EDITS)):
            raise ConfigError(f"kinds of edit {unknown}", expected=", ".join(EDITS), fix="correct the names")
        check_size(*self.size)
        if not self.frames:
            raise ConfigError("a world without frames", expected="lengths of clips", fix="leave it out for [9]")
        for num_frames in self.frames:
            check_frames(num_frames)
        if not 1 <= self.most_references <= len(PARTS):
            raise ConfigError(
                f"most_references {self.most_references}", expected=f"1 to {len(PARTS)}", fix="leave it out for all"
            )
        if not 0 <= self.busy <= 1:
            raise ConfigError(f"busy {self.busy:g}", expected="a share, 0 to 1", fix="correct it")
        _check_shares("tasks", self.tasks)
        _check_shares("edits", self.edits)
        self._check_draws()

    def _check_draws(self) -> None:
        """Refuse shares of which none is above 0 where one is drawn."""
        if sum(self.tasks.values()) == 0:
            raise ConfigError("a world without tasks", expected="a share above 0", fix="name one, as {edit-video: 1}")
        drawn = [training_task(name) for name, share in self.tasks.items() if share and self.busy < 1]
        for task in filter(_draws_edits, drawn):
            kinds = _kinds(moving=not task.is_image and 1 not in self.frames)
            if not any(self.edits.get(kind, 1.0) for kind in kinds):
                raise ConfigError(
                    f"edits of {task.name} that all have share 0",
                    expected=f"one above 0 of {', '.join(kinds)}",
                    fix="raise one, or leave the task out",
                )


def _check_shares(what: str, shares: Mapping[str, float]) -> None:
    for name, share in shares.items():
        if not (math.isfinite(share) and share >= 0):
            raise ConfigError(f"{what}: {name} with share {share:g}", expected="0 or more", fix="correct it")


def _draws_edits(task: TrainingTask) -> bool:
    """Whether a task's samples are drawn from the kinds of edit."""
    return task.needs_source and not task.needs_references and not task.is_reconstruction


def _kinds(*, moving: bool) -> list[str]:
    """Kinds of edit of a clip or a still."""
    return [kind for kind in EDITS if moving or kind not in OF_CLIPS_ONLY]


def draw_request(task: TrainingTask, chance: random.Random, settings: WorldSettings, *, moving: bool) -> Request:
    """A request of a task from the split that the settings name.

    Args:
        task: The task.
        chance: Source of chance.
        settings: Of the world.
        moving: Whether its pictures have more than one frame; else it asks for nothing that only those can show.

    Raises:
        ConfigError: No request of this split turned up, as for held-out samples of busy scenes alone.
    """
    for _ in range(_MOST_TRIES):
        request = _any_request(task, chance, settings, moving=moving)
        if is_in_split(request, settings.split):
            return request
    raise ConfigError(
        f"no {settings.split} sample of {task.name} in {_MOST_TRIES} tries", expected="shares that allow one"
    )


def is_in_split(request: Request, split: str) -> bool:
    """Whether a request belongs to a split.

    Training has no held-out combination anywhere. A held-out request has one in what was asked about: in the thing or
    the background that is to be, or, where it asks for neither, in any.
    """
    scenes = [request.after] + ([request.before] if request.before else [])
    if request.is_busy:
        return split == "train"
    if split == "train":
        return all(map(is_for_training, scenes))
    asked_things = [_asked_scene(request, ask).things[ask.thing] for ask in request.asks if ask.thing is not None]
    if any(ask.attribute == "background" for ask in request.asks) and is_held_out_background(request.after.background):
        return True
    if asked_things or any(ask.attribute == "background" for ask in request.asks):
        return any(map(is_held_out_thing, asked_things))
    return not is_for_training(request.after)


def _asked_scene(request: Request, ask: Ask) -> Scene:
    return request.before if ask.attribute == "absence" and request.before is not None else request.after


def _any_request(task: TrainingTask, chance: random.Random, settings: WorldSettings, *, moving: bool) -> Request:
    if task.needs_source and not task.needs_references and settings.busy and chance.random() < settings.busy:
        return _busy_request(task, chance, moving=moving)
    if task.is_reconstruction:
        scene = _still(random_scene(chance), moving=moving)
        return Request(task, "reconstruct", "", scene, scene)
    if task.needs_references:
        count = chance.randint(1, settings.most_references)
        if task.needs_source:
            scene = _still(random_scene(chance, most_things=2), moving=moving)
            return _of_references(task, reference_edit(scene, count=count, chance=chance), moving=moving)
        return _of_references(task, reference_scene(count=count, moving=moving, chance=chance), moving=moving)
    if task.needs_source:
        kinds = _kinds(moving=moving)
        kind = chance.choices(kinds, [settings.edits.get(kind, 1.0) for kind in kinds])[0]
        return _of_edit(task, EDITS[kind](_still(random_scene(chance), moving=moving), chance), moving=moving)
    scene = _still(arranged(random_scene(chance, most_things=2, style_share=0.1), chance), moving=moving)
    text = caption(scene, num_frames=2 if moving else 1)
    things = tuple(Ask(attribute, index) for index in range(len(scene.things)) for attribute in ("colour", "shape"))
    return Request(task, "generate", text, None, scene, (*things, Ask("background")))


def _busy_request(task: TrainingTask, chance: random.Random, *, moving: bool) -> Request:
    scene = _still(busy_scene(chance), moving=moving)
    if task.is_reconstruction:
        return Request(task, "reconstruct", "", scene, scene, is_busy=True)
    edit = EDITS[chance.choice(STYLE_KINDS)](scene, chance)
    return Request(task, edit.kind, edit.instruction, edit.before, edit.after, edit.asks, is_busy=True)


def _still(scene: Scene, *, moving: bool) -> Scene:
    """The scene of a picture: nothing moves in it, so that it says nothing of motion."""
    if moving:
        return scene
    things = tuple(replace(thing, motion="stays still") for thing in scene.things)
    return replace(scene, things=things, camera="stays still")


def _of_edit(task: TrainingTask, edit: Edit, *, moving: bool) -> Request:
    before, after = _still(edit.before, moving=moving), _still(edit.after, moving=moving)
    return Request(task, edit.kind, edit.instruction, before, after, edit.asks)


def _of_references(task: TrainingTask, request: ReferenceRequest, *, moving: bool) -> Request:
    count = len(request.references)
    after = _still(request.after, moving=moving)
    return Request(
        task,
        f"{count} reference{'s' if count > 1 else ''}",
        request.instruction,
        request.before,
        after,
        request.asks,
        request.references,
    )


@dataclass(frozen=True)
class WorldSample:
    """A sample with all that is known about it."""

    sample: Sample
    request: Request


def make_request(index: int, settings: WorldSettings) -> tuple[Request, int]:
    """What sample `index` asks for, and how many frames it has, without its pictures."""
    chance = random.Random(f"{settings.seed} {settings.split} {index}")
    names = list(settings.tasks)
    task = training_task(chance.choices(names, [settings.tasks[name] for name in names])[0])
    request = draw_request(task, chance, settings, moving=not task.is_image)
    num_frames = 1 if task.is_image else chance.choice(settings.frames)
    if num_frames == 1 and not task.is_image:  # drawn anew, so that longer clips stay what they were
        request = draw_request(task, chance, settings, moving=False)
    return request, num_frames


def make_sample(index: int, settings: WorldSettings) -> WorldSample:
    """Sample `index` of a world; the same at every call.

    Args:
        index: 0 or more.
        settings: Of the world.
    """
    request, num_frames = make_request(index, settings)
    return WorldSample(_pictures(request, index, num_frames, settings), request)


def _pictures(request: Request, index: int, num_frames: int, settings: WorldSettings) -> Sample:
    width, height = settings.size

    def clip(scene: Scene) -> Clip:
        frames = pictures(scene, num_frames=num_frames, width=width, height=height)
        return Clip(frames, 0.0 if request.task.is_image else NATIVE_FPS, is_image=request.task.is_image)

    def still(frames: torch.Tensor) -> Clip:
        return Clip(frames, 0.0, is_image=True)

    return Sample(
        key=f"{settings.split}-{settings.seed}-{index}",
        task=request.task,
        instruction=request.instruction,
        target=clip(request.after),
        source=None if request.before is None else clip(request.before),
        references=tuple(still(shown.picture(width=width, height=height)) for shown in request.references),
    )
