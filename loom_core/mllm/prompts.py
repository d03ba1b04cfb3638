"""Prompts of every task, as data: the prefix, what follows what, and the check of `@Image N` against the references.

A prompt is a row of segments: text, the picture of reference n, the source. Two layouts:

- `official`: as the released inference script does: references, source, prefix and instruction.
- `inline` (ours): each reference stands right before its first `@Image N`, and the mention stays in the text, so that
  a second mention still has a name to point to. References that are never mentioned come first, then the source.

Source: official `scripts/inference/generate.py` (inference order), `src/dataset/processors.py` (prefixes, training
order), `LoomVideo.prepare_qwen_negative_prompt`.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from ..config.sampling import EDIT_TASKS, REFERENCE_TASKS
from ..errors import ConfigError
from ..phrases import phrase
from ..types import Task

LAYOUTS = ("official", "inline")

# parity: the official unconditional prompt says "an image" for clips too, in lower case
NEGATIVE_PREFIX = "generate an image: "


class Part(Enum):
    """What a prompt is put together from."""

    PREFIX = "prefix"
    REFERENCES = "references"
    SOURCE = "source"
    INSTRUCTION = "instruction"


@dataclass(frozen=True)
class TaskPrompt:
    """How the prompt of one task is built.

    Args:
        prefix: Text that tells the model the task.
        training_order: Order of the parts in training.
        inference_order: Order of the parts at inference.
        needs_source: Whether there is a source to edit.
        needs_references: Whether at least one reference is given.
    """

    prefix: str
    training_order: tuple[Part, ...]
    inference_order: tuple[Part, ...] = (Part.REFERENCES, Part.SOURCE, Part.PREFIX, Part.INSTRUCTION)
    needs_source: bool = False
    needs_references: bool = False


_TEXT_ORDER = (Part.PREFIX, Part.INSTRUCTION)
_EDIT_ORDER = (Part.PREFIX, Part.SOURCE, Part.REFERENCES, Part.INSTRUCTION)
_REFERENCE_ORDER = (Part.PREFIX, Part.INSTRUCTION, Part.REFERENCES)

_PREFIXES_AND_ORDERS: Mapping[Task, tuple[str, tuple[Part, ...]]] = {
    Task.TEXT_TO_VIDEO: ("Generate a video: ", _TEXT_ORDER),
    Task.TEXT_TO_IMAGE: ("Generate an image: ", _TEXT_ORDER),
    Task.EDIT_VIDEO: ("Edit this video: ", _EDIT_ORDER),
    Task.EDIT_IMAGE: ("Edit this image: ", _EDIT_ORDER),
    # Also for an image source: no prefix for a still with references was ever trained, and this one is the nearest.
    Task.REFERENCE_EDIT: ("Edit this video with reference images: ", _EDIT_ORDER),
    Task.REFERENCE_TO_VIDEO: ("Generate a video with reference images: ", _REFERENCE_ORDER),
    Task.REFERENCE_TO_IMAGE: ("Generate an image with reference images: ", _REFERENCE_ORDER),
}

TASKS: Mapping[Task, TaskPrompt] = MappingProxyType(
    {
        task: TaskPrompt(
            prefix, training_order, needs_source=task in EDIT_TASKS, needs_references=task in REFERENCE_TASKS
        )
        for task, (prefix, training_order) in _PREFIXES_AND_ORDERS.items()
    }
)
"""Every task's prompt."""

_ALIASES: Mapping[str, Task] = {
    "t2v": Task.TEXT_TO_VIDEO,
    "t2i": Task.TEXT_TO_IMAGE,
    "video": Task.TEXT_TO_VIDEO,
    "image": Task.TEXT_TO_IMAGE,
    "video-edit": Task.EDIT_VIDEO,
    "v2v": Task.EDIT_VIDEO,
    "image-edit": Task.EDIT_IMAGE,
    "i2i": Task.EDIT_IMAGE,
    "ref-edit": Task.REFERENCE_EDIT,
    "ref2v": Task.REFERENCE_TO_VIDEO,
    "mi2v": Task.REFERENCE_TO_VIDEO,
    "r2v": Task.REFERENCE_TO_VIDEO,
    "ref2i": Task.REFERENCE_TO_IMAGE,
    "mi2i": Task.REFERENCE_TO_IMAGE,
    "r2i": Task.REFERENCE_TO_IMAGE,
}


def parse_task(name: str, *, source_is_image: bool = False) -> Task:
    """Task of a name: its own ("edit-video"), the official script's ("t2v", "ref_edit", "mi2v") or a usual one ("v2v").

    Args:
        name: In any case; `_` and blanks count as `-`.
        source_is_image: Decides what the plain name "edit" means.

    Raises:
        ConfigError: No task has this name; the message offers the nearest.
    """
    key = "-".join(name.lower().replace("_", " ").replace("-", " ").split())
    if key == "edit":
        return Task.EDIT_IMAGE if source_is_image else Task.EDIT_VIDEO
    names = {task.value: task for task in Task} | dict(_ALIASES)
    if key in names:
        return names[key]
    near = difflib.get_close_matches(key, names, n=1)
    raise ConfigError(
        phrase("task {name}", name=repr(name)),
        expected=phrase("one of {names}", names=", ".join(task.value for task in Task)),
        fix=phrase("did you mean {name}?", name=repr(near[0]))
        if near
        else "leave it out to have it inferred from what is given",
    )


def infer_task(*, has_source: bool, source_is_image: bool, num_references: int, num_frames: int) -> Task:
    """Task that follows from what is given.

    Args:
        has_source: Whether there is something to edit.
        source_is_image: Whether that is a still.
        num_references: Number of reference images, 0 or more.
        num_frames: Length of the result; 1 asks for an image.
    """
    if has_source:
        if num_references:
            return Task.REFERENCE_EDIT
        return Task.EDIT_IMAGE if source_is_image else Task.EDIT_VIDEO
    if num_references:
        return Task.REFERENCE_TO_IMAGE if num_frames == 1 else Task.REFERENCE_TO_VIDEO
    return Task.TEXT_TO_IMAGE if num_frames == 1 else Task.TEXT_TO_VIDEO


_MENTION = re.compile(r"(?<!\w)@image\s*([0-9０-９]+)", re.IGNORECASE)
_MOST_FORGOTTEN = 2
"""References that somebody may have forgotten to give; a mention farther beyond them is a slip of the keys."""


def mentioned_references(prompt: str) -> tuple[int, ...]:
    """Numbers N of the `@Image N` in a prompt, from 1, each once, in the order of first mention."""
    return tuple(dict.fromkeys(int(match.group(1)) for match in _MENTION.finditer(prompt)))


def named_references(numbers: Sequence[int]) -> str:
    """Several mentions as a sentence lists them: three and more in a row as a range, as web/js/prompt/mentions.js does.

    Args:
        numbers: N of each, rising.
    """
    rows: list[list[int]] = []
    for number in numbers:
        if rows and rows[-1][-1] == number - 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    names = (
        [f"@Image {row[0]}–{row[-1]}"] if row[-1] - row[0] > 1 else [f"@Image {one}" for one in row] for row in rows
    )
    return ", ".join(name for row in names for name in row)


def check_request(
    task: Task,
    prompt: str,
    *,
    num_references: int,
    has_source: bool,
    source_is_image: bool = False,
) -> tuple[int, ...]:
    """Refuse a request whose inputs do not fit its task or its mentions.

    Args:
        task: What is asked.
        prompt: The instruction; may name references as `@Image N`, in any case, with or without the blank.
        num_references: Number of references given.
        has_source: Whether a source is given.
        source_is_image: Whether the source is a still.

    Returns:
        Numbers (from 1) of the references that the prompt never mentions; fine, but worth a remark to the user.

    Raises:
        ConfigError: A source or reference is missing or too many, the source is of the wrong kind, or the prompt
            mentions a reference that is not given.
    """
    _check_inputs(task, num_references=num_references, has_source=has_source, source_is_image=source_is_image)
    mentions = mentioned_references(prompt)
    for number in mentions:
        if not 1 <= number <= num_references:
            raise unknown_mention(number, num_references)
    return tuple(number for number in range(1, num_references + 1) if number not in mentions)


def unknown_mention(number: int, num_references: int) -> ConfigError:
    """The error for an `@Image N` without its reference.

    Args:
        number: N.
        num_references: Number of references given.
    """
    few = "@Image 1" if num_references else "no @Image mention"
    missing = number - num_references
    if number == 0:
        fix: str = "references are counted from @Image 1"
    elif missing <= _MOST_FORGOTTEN:
        fix = phrase("give {count} more, or change the mention", count=missing)
    else:
        fix = "change the mention"
    return ConfigError(
        phrase(
            "@Image {number} in the prompt with {references}", number=number, references=_references(num_references)
        ),
        expected=phrase("@Image 1 to @Image {last}", last=num_references) if num_references > 1 else few,
        fix=fix,
    )


def _check_inputs(task: Task, *, num_references: int, has_source: bool, source_is_image: bool) -> None:
    wanted = TASKS[task]
    if wanted.needs_source and not has_source:
        raise ConfigError(
            phrase("task {task} without a source", task=task.value),
            expected="a clip or image to edit",
            fix="give a source",
        )
    if has_source and not wanted.needs_source:
        raise ConfigError(
            phrase("a source with task {task}", task=task.value),
            expected="a task that edits: edit-video, edit-image, reference-edit",
            fix="choose one of those, or leave the source out",
        )
    if wanted.needs_references and num_references == 0:
        raise ConfigError(
            phrase("task {task} without references", task=task.value),
            expected="at least one reference image",
            fix="give a reference",
        )
    if num_references and not wanted.needs_references:
        instead = Task.REFERENCE_EDIT if wanted.needs_source else Task.REFERENCE_TO_VIDEO
        if task is Task.TEXT_TO_IMAGE:
            instead = Task.REFERENCE_TO_IMAGE
        raise ConfigError(
            phrase("{references} with task {task}", references=_references(num_references), task=task.value),
            expected="a task with references",
            fix=phrase("use {task}, or leave the references out", task=instead.value),
        )
    if task is Task.EDIT_IMAGE and not source_is_image:
        raise ConfigError("a clip as source of task edit-image", expected="a still image", fix="use edit-video")
    if task is Task.EDIT_VIDEO and source_is_image:
        raise ConfigError("a still image as source of task edit-video", expected="a clip", fix="use edit-image")


def _references(count: int) -> str:
    if count == 0:
        return "no references"
    return "1 reference" if count == 1 else phrase("{count} references", count=count)


@dataclass(frozen=True)
class TextSegment:
    """Text, verbatim."""

    text: str


@dataclass(frozen=True)
class ReferenceSegment:
    """The picture of reference `index`, counted from 0."""

    index: int


@dataclass(frozen=True)
class SourceSegment:
    """The source, clip or still."""


Segment = TextSegment | ReferenceSegment | SourceSegment


def build_segments(
    task: Task,
    prompt: str,
    *,
    num_references: int = 0,
    has_source: bool = False,
    layout: str = "official",
    order: tuple[Part, ...] | None = None,
) -> tuple[Segment, ...]:
    """The row of segments of a request.

    Args:
        task: Gives the prefix and the order.
        prompt: The instruction, verbatim.
        num_references: Number of references.
        has_source: Whether there is a source.
        layout: "official" or "inline", see the module's docstring.
        order: Order of the parts; None for the task's inference order.

    Returns:
        Segments in reading order; neighbouring texts are joined, empty ones left out.

    Raises:
        ConfigError: The layout is unknown.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"layout {layout!r}", expected=" or ".join(LAYOUTS), fix="leave it out for official")
    inline = mentioned_references(prompt) if layout == "inline" else ()
    placed = {number - 1 for number in inline if 1 <= number <= num_references}
    parts: Mapping[Part, tuple[Segment, ...]] = {
        Part.PREFIX: (TextSegment(TASKS[task].prefix),),
        Part.REFERENCES: tuple(ReferenceSegment(index) for index in range(num_references) if index not in placed),
        Part.SOURCE: (SourceSegment(),) if has_source else (),
        Part.INSTRUCTION: _instruction_segments(prompt, placed=placed),
    }
    row = [segment for part in order or TASKS[task].inference_order for segment in parts[part]]
    return _join_texts(row)


def negative_segments(negative_prompt: str) -> tuple[Segment, ...]:
    """Segments of the unconditional branch."""
    return (TextSegment(NEGATIVE_PREFIX + negative_prompt),)


def _instruction_segments(prompt: str, *, placed: set[int]) -> tuple[Segment, ...]:
    """The instruction with each placed reference before its first mention."""
    row: list[Segment] = []
    waiting, start = set(placed), 0
    for match in _MENTION.finditer(prompt):
        index = int(match.group(1)) - 1
        if index in waiting:
            waiting.remove(index)
            row += [TextSegment(prompt[start : match.start()]), ReferenceSegment(index)]
            start = match.start()
    return (*row, TextSegment(prompt[start:]))


def _join_texts(row: list[Segment]) -> tuple[Segment, ...]:
    joined: list[Segment] = []
    for is_text, run in itertools.groupby(row, key=lambda segment: isinstance(segment, TextSegment)):
        if not is_text:
            joined.extend(run)
        elif text := "".join(segment.text for segment in run if isinstance(segment, TextSegment)):
            joined.append(TextSegment(text))
    return tuple(joined)
