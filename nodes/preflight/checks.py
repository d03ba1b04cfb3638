"""The checks of a prompt: files, sizes, media, mentions, memory. Each gives findings with their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...loom_core.bundle import default_preset_name
from ...loom_core.doctor.files import DiTLook, check_pair
from ...loom_core.doctor.finding import Finding, Level
from ...loom_core.doctor.media import check_reference, check_sound, check_source
from ...loom_core.doctor.memory import check_memory
from ...loom_core.doctor.request import check_length, check_mentions, check_prompt, check_rate, check_result_size
from ...loom_core.errors import ConfigError
from ...loom_core.geometry import MAX_FRAMES, snap_frames
from ...loom_core.mllm.frames import TRAINED_MAX_FRAMES
from ...loom_core.mllm.prompts import check_request, parse_task
from ...loom_core.planning.plan import Setting
from ...loom_core.planning.run import RunSizes
from ...loom_core.planning.sizes import FORMATS, ModelSizes, WeightFormat
from ...loom_core.request import LONGEST, MAX_SIDE
from ...loom_core.types import Task
from ..adapter.media.reference_slots import FITS, ONE_OF_MANY, SLOT, check_gaps
from ..instruction import AUTO
from .places import Placed, placed, set_action
from .reading import (
    EMPTY,
    ENCODE,
    ENCODER_LOADER,
    MEDIA,
    MODEL_LOADER,
    RESTORE,
    SCALER,
    SLOTS,
    VAE_LOADER,
    Reading,
    longest_of,
)

_AUDIO_OUTPUT = 2
FEWEST_MLLM_FRAMES = 2  # the host refuses fewer
_SLOT = f"images.{SLOT}"
_USERS_OF_A_VAE = (SCALER, SLOTS)
_HOST_LOADERS: Mapping[str, str] = {"VAELoader": "vae_name", "CLIPLoader": "clip_name"}
_KEEP_SOUND = "put LoomVideo Restore Video before Save Video, or connect audio to the node that makes the video"


def _file(reading: Reading, node: str, name: str, kind: str, findings: list[Finding]) -> list[Placed]:
    """Findings on a file, where one that is wrong can be changed for one of the usual name."""
    made = placed(reading.graph, node, name, findings)
    suggested = reading.host.suggestion(kind)
    if suggested is None or suggested == reading.text(node, name):
        return made
    action = set_action([(node, name, suggested)])
    return [Placed(one.finding, node, name, action if one.finding.level is Level.ERROR else one.action) for one in made]


def files(reading: Reading) -> Iterator[Placed]:
    """The files that loaders name, ours and those of the host's that feed our nodes."""
    graph, host = reading.graph, reading.host
    for node in graph.of_kind(MODEL_LOADER):
        look = reading.dit(node)
        yield from _file(reading, node, "model_name", "model", [] if look is None else list(look.findings))
    for node in graph.of_kind(ENCODER_LOADER):
        name = reading.text(node, "encoder_name")
        if name is not None:
            yield from _file(reading, node, "encoder_name", "encoder", list(host.encoder(name).findings))
    vaes = {*graph.of_kind(VAE_LOADER)}
    vaes |= {
        loader for node in graph.of_kind(*_USERS_OF_A_VAE) if (loader := graph.origin(node, "vae", ("VAELoader",)))
    }
    for node in sorted(vaes):
        name = reading.text(node, "vae_name")
        if name is not None:
            yield from _file(reading, node, "vae_name", "vae", host.vae(name))
    for node in graph.of_kind(ENCODE):
        loader = graph.origin(node, "clip", ("CLIPLoader",))
        name = None if loader is None else reading.text(loader, "clip_name")
        if loader is not None and name is not None:
            yield from _file(reading, loader, "clip_name", "encoder", list(host.encoder(name).findings))


def sizes(reading: Reading) -> Iterator[Placed]:
    """Width, height, length and rate, where each is written or comes in."""
    graph, is_released = reading.graph, reading.is_released()
    is_windowed = any("ContextWindows" in kind for kind in graph.kinds())
    for node in graph.of_kind(EMPTY, SCALER, SLOTS):
        size = reading.size_of(node)
        is_native = graph.kind(node) == SLOTS and reading.text(node, "fit") == FITS[-1]
        if size is not None and not is_native:
            is_image = graph.kind(node) != SLOTS and reading.length_of(node) == 1
            found = check_result_size(*size, is_image=is_image, is_released=is_released)
            yield from placed(graph, node, "width", found)
    for node in graph.of_kind(EMPTY):
        length = reading.whole(node, "length")
        if length is not None:
            yield from placed(graph, node, "length", _lengths(length, is_windowed=is_windowed))
    for node in graph.of_kind(SCALER):
        length = reading.length_of(node)
        if length is not None:
            yield from placed(graph, node, "max_frames", _lengths(length, is_windowed=is_windowed))
        elif longest_of(reading, node) > MAX_FRAMES:
            found = check_length(snap_frames(longest_of(reading, node)))
            yield from placed(graph, node, "max_frames", [] if is_windowed else found)
        fps = reading.number(node, "fps")
        if fps is not None:
            yield from placed(graph, node, "fps", check_rate(float(fps)))


def _lengths(length: int, *, is_windowed: bool) -> list[Finding]:
    """Findings on a length; windows make those beyond training usual."""
    return [one for one in check_length(length) if not (is_windowed and one.level is Level.WARNING)]


def media(reading: Reading) -> Iterator[Placed]:
    """Sources and references against what is made of them."""
    graph = reading.graph
    for loader in graph.of_kind(*MEDIA):
        if _feeds_us(reading, loader):
            _, _, unread = reading.look_at(loader)
            yield from placed(graph, loader, MEDIA[graph.kind(loader)], unread)
    for node in graph.of_kind(SCALER):
        source, fps = reading.source_of(node), reading.number(node, "fps")
        if source is None or not fps or fps < 0:
            continue
        size = reading.size_of(node) if reading.text(node, "fit") == "cover" else None
        found = check_source(
            source.name, source.info, fps=fps, max_frames=longest_of(reading, node), size=_usable(size)
        )
        is_kept = bool(graph.readers(node, _AUDIO_OUTPUT)) or any(
            graph.origin(restore, "source", (SCALER,)) == node for restore in graph.of_kind(RESTORE)
        )
        found += check_sound(source.name, source.info, is_kept=is_kept, fix=_KEEP_SOUND)
        yield from placed(graph, node, "source", found)
    for node in graph.of_kind(SLOTS):
        size = reading.size_of(node) if reading.text(node, "fit") == "cover" else None
        first: int | None = 1  # N of the first `@Image N` in a slot; None behind a slot of unknown count
        for number, count in slot_counts(reading, node).items():
            picture = reading.media(node, f"{_SLOT}{number}")
            if picture is not None and picture.info.is_image:
                name, info = picture.name, picture.info
                found = check_reference(first or "?", name, info, size=_usable(size), is_laid_over_white=False)
                yield from placed(graph, node, f"{_SLOT}{number}", found)
            first = None if first is None or count is None else first + count


def _feeds_us(reading: Reading, loader: str) -> bool:
    outputs = [
        reading.graph.link(node, name)
        for node in reading.graph.of_kind(SCALER, SLOTS)
        for name in reading.graph.inputs(node)
    ]
    return any(link is not None and link[0] == loader for link in outputs)


def _usable(size: tuple[int, int] | None) -> tuple[int, int] | None:
    return size if size is not None and min(size) > 0 else None


def filled_slots(reading: Reading, node: str) -> list[int]:
    """Numbers of the slots that something is connected to, rising."""
    names = (name for name in reading.graph.inputs(node) if name.startswith(_SLOT))
    return sorted(
        int(number)
        for name in names
        if (number := name.removeprefix(_SLOT)).isdecimal() and reading.graph.link(node, name) is not None
    )


def count_references(reading: Reading, node: str) -> tuple[int, bool] | None:
    """How many references an encode node gets at least, and whether it is just as many; None if it cannot be told."""
    if reading.graph.link(node, "references") is None:
        return 0, True
    slots = reading.graph.origin(node, "references", (SLOTS,))
    if slots is None:
        return None
    counts = slot_counts(reading, slots).values()
    return sum(1 if count is None else count for count in counts), None not in counts


def slot_counts(reading: Reading, slots: str) -> dict[int, int | None]:
    """How many references each filled slot gives, by its number; None where only a run can tell."""
    batch = reading.text(slots, "batch")
    is_told = batch is not None or reading.graph.link(slots, "batch") is None
    counts: dict[int, int | None] = {}
    for number in filled_slots(reading, slots):
        picture = reading.media(slots, f"{_SLOT}{number}")
        frames = None if picture is None else picture.info.num_frames
        is_one = batch == ONE_OF_MANY or frames == 1  # one picture is one reference either way
        counts[number] = 1 if is_one else frames if is_told else None
    return counts


def words(reading: Reading) -> Iterator[Placed]:
    """Prompts against references, tasks against what is connected."""
    graph = reading.graph
    for node in graph.of_kind(SLOTS):
        try:
            check_gaps(filled_slots(reading, node))
        except ConfigError as error:
            yield from placed(graph, node, f"{_SLOT}1", [Finding.of_error("references", error)])
    for node in graph.of_kind(ENCODE):
        prompt, count = reading.text(node, "prompt"), count_references(reading, node)
        if prompt is not None:
            found = check_prompt(prompt)
            if count is not None:
                found += check_mentions(prompt, count[0], is_count_exact=count[1])
            yield from placed(graph, node, "prompt", found)
        yield from placed(graph, node, "task", _task(reading, node, count))


def _task(reading: Reading, node: str, count: tuple[int, bool] | None) -> list[Finding]:
    """Whether the chosen task fits what is connected; what cannot be told counts as fitting."""
    choice = reading.text(node, "task")
    if choice in (None, AUTO):
        return []
    scaler = reading.graph.origin(node, "source", (SCALER,))
    length = None if scaler is None else reading.length_of(scaler)
    try:
        task = parse_task(str(choice))
        source = None if scaler is None else reading.source_of(scaler)
        is_still = task is Task.EDIT_IMAGE if source is None else source.info.is_image
        check_request(
            task,
            "",
            num_references=1 if count is None else count[0],
            has_source=reading.graph.link(node, "source") is not None,
            source_is_image=is_still or (length == 1 and task is Task.EDIT_IMAGE),
        )
    except ConfigError as error:
        return [Finding.of_error("task", error)]
    return []


def memory(reading: Reading) -> Iterator[Placed]:
    """What each encode node's run is planned to take, against what is free."""
    graph = reading.graph
    for node in graph.of_kind(ENCODE):
        place = graph.origin(node, "source", (SCALER,)) or graph.origin(node, "latent", (EMPTY, SCALER))
        loader, encoder = _model_of(reading, node), _encoder_of(reading, node)
        look, count = reading.dit(loader), count_references(reading, node)
        if look is None or look.config is None or encoder is None:
            continue
        yield from placed(graph, node, "clip", check_pair(look.config, encoder.sizes))
        is_small = default_preset_name(look.config) != "official"
        if is_small or place is None or count is None or encoder.planned is None:
            continue  # the built-in parts take next to nothing
        size, length = reading.size_of(place), reading.length_of(place) or longest_of(reading, place)
        if size is None or max(size) > MAX_SIDE or length > LONGEST:
            continue  # unknown or refused; or so long that it is worked on in windows
        free, on_gpu = reading.host.free_memory()
        try:
            run = RunSizes(
                width=size[0],
                height=size[1],
                num_frames=length,
                has_source=graph.kind(place) == SCALER,
                num_references=count[0],
                mllm_frames=max(FEWEST_MLLM_FRAMES, reading.whole(node, "mllm_frames") or TRAINED_MAX_FRAMES),
            )
            model = ModelSizes(dit=look.config, mllm=encoder.planned)
            setting = Setting(run=run, model=model, form=_format(reading, loader, look), on_gpu=on_gpu, offload="none")
            found = check_memory(setting, free, where="GPU" if on_gpu else "machine")
        except ConfigError:
            continue  # what is wrong with the size was said
        yield from placed(graph, place, "", found)


def _format(reading: Reading, loader: str | None, look: DiTLook) -> WeightFormat:
    """The number format in which a loader keeps the weights: the chosen one, else the file's."""
    chosen = None if loader is None else reading.text(loader, "weight_dtype")
    return FORMATS.get((chosen or "").partition("_")[0], look.form)


def _model_of(reading: Reading, encode: str) -> str | None:
    """Id of the loader of the model that an encode node's conditioning is for."""
    graph = reading.graph
    for reader in (reader for output in range(3) for reader in graph.readers(encode, output)):
        if (loader := reading.model_loader(reader)) is not None:
            return loader
    return None


def _encoder_of(reading: Reading, encode: str) -> Any:
    loader = reading.graph.origin(encode, "clip", (ENCODER_LOADER, "CLIPLoader"))
    kind = "" if loader is None else reading.graph.kind(loader)
    name = None if loader is None else reading.text(loader, _HOST_LOADERS.get(kind, "encoder_name"))
    return None if name is None else reading.host.encoder(name)


CHECKS: tuple[Callable[[Reading], Iterator[Placed]], ...] = (words, sizes, media, files, memory)
"""In the order in which they are told."""
