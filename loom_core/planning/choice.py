"""How a run fits into a number of bytes: for each phase the cheapest measure that is enough, and what it costs.

Phases follow one another and let go of their parts, so each is fitted by itself. A phase has a row of measures, from
that which costs nothing on; a new measure is a new entry of a row and a formula for what it leaves in memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..errors import ResourceError
from ..geometry import TEMPORAL_STRIDE, VIDEO_BUCKETS, closest_bucket
from ..phrases import joined, phrase
from ..vae.memory import Direction, choose_tile, covered_share
from .denoise import forward_bytes
from .flops import forward_flops, keys_values_flops
from .moments import MARGIN, Phase
from .plan import DECODE, DENOISE, ENCODE, PROMPT, Measures, Setting, denoising_of, phase_of, phases_of
from .sizes import FORMATS, WeightFormat
from .streaming import LEAST_STREAMED, USUAL_BUS, block_bytes, bus_seconds, bytes_a_step, mllm_bytes_a_prompt

GIGA = 10**9
_TERA = 10**12
_PIXELS = 16  # a latent, along a side

Try = Callable[[Setting, Measures, int], Measures]
"""Makes a measure's changes, for a number of free bytes."""
Fits = Callable[[Setting], bool]
"""Whether a run fits, by one rule or another."""


@dataclass(frozen=True)
class Measure:
    """A way to need less memory.

    Args:
        change: Makes it.
        cost: Says what was done and what it costs, of the measures that were taken.
        streams: Whether weights come to the device only when they are needed.
        leaves_gpu: Whether work goes from the GPU to the processor.
    """

    change: Try
    cost: Callable[[Setting, Measures], str]
    streams: bool = False
    leaves_gpu: bool = False


@dataclass(frozen=True)
class Fitted:
    """A phase and why it is as it is.

    Args:
        phase: What it takes.
        reason: What was done to fit it, and the cost.
    """

    phase: Phase
    reason: str


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """A run that fits.

    Args:
        setting: What was planned for.
        budget: Bytes that may be used; None for as many as it takes.
        measures: What the run does to fit.
        fitted: Its phases.
    """

    setting: Setting
    budget: int | None
    measures: Measures
    fitted: tuple[Fitted, ...]

    @property
    def needed(self) -> int:
        """What the run's device should have free."""
        return max(entry.phase.peak.needed for entry in self.fitted if not entry.phase.on_cpu)


def _tiles(direction: Direction) -> Try:
    def change(setting: Setting, measures: Measures, budget: int) -> Measures:
        peak = phase_of(ENCODE if direction == "encode" else DECODE, setting, measures).peak
        run = setting.run
        beside = MARGIN * (peak.held + peak.latents)
        if direction == "encode":
            beside += MARGIN * setting.pixels(run.num_frames if run.has_source else 1)
        tile = choose_tile(
            run.height,
            run.width,
            itemsize=setting.codec_item,
            free_bytes=budget - peak.weights - int(beside),
            direction=direction,
            num_frames=run.num_frames,
            sizes=setting.model.vae,
        )
        if direction == "encode":
            return replace(measures, encode_tile=tile)
        return replace(measures, decode_tile=tile)

    return change


def _nothing(_setting: Setting, measures: Measures, _budget: int) -> Measures:
    return measures


def _mllm_to_cpu(_setting: Setting, measures: Measures, _budget: int) -> Measures:
    return replace(measures, mllm_on_cpu=True)


def _mllm_streamed(_setting: Setting, measures: Measures, _budget: int) -> Measures:
    return replace(measures, streams_mllm=True)


def _projected(_setting: Setting, measures: Measures, _budget: int) -> Measures:
    return replace(measures, keeps_keys_values=False)


def _streamed(*, keeps_keys_values: bool) -> Try:
    def change(setting: Setting, measures: Measures, budget: int) -> Measures:
        """As few blocks as are enough."""
        total = setting.model.dit.num_layers
        measures = replace(measures, keeps_keys_values=keeps_keys_values, streamed_blocks=total)
        if setting.offload == "blocks":
            return measures
        spare = budget - phase_of(DENOISE, setting, measures).peak.needed
        staying = max(spare, 0) // block_bytes(setting.model.dit, setting.form)
        return replace(measures, streamed_blocks=min(total, max(LEAST_STREAMED, total - staying)))

    return change


def _cost_of_tiles(direction: Direction) -> Callable[[Setting, Measures], str]:
    def cost(setting: Setting, measures: Measures) -> str:
        tile = measures.encode_tile if direction == "encode" else measures.decode_tile
        if tile is None:
            return "whole frames"
        share = covered_share(setting.run.height, setting.run.width, tile)
        template = "tiles of {pixels} pixels, whose overlaps are {share} more work"
        return phrase(template, pixels=tile * _PIXELS, share=f"{share - 1:.0%}")

    return cost


def _cost_of_cpu(setting: Setting, _measures: Measures) -> str:
    operations = 2 * setting.model.mllm.weights.matrices * sum(setting.run.branches.values())
    return phrase("the MLLM on the processor, about {work} TFLOP once a run", work=f"{operations / _TERA:.0f}")


def share_made_anew(setting: Setting) -> float:
    """Work that keys and values of the contexts are, made in each step, as a share of the step's."""
    config, run = setting.model.dit, setting.run
    anew = sum(keys_values_flops(config, context) for context in run.branches.values())
    step = sum(
        forward_flops(config, target=run.target.tokens, references=run.references_of(branch), context=context)
        for branch, context in run.branches.items()
    )
    return anew / step


def _cost_of_projected(setting: Setting, _measures: Measures) -> str:
    template = "projected contexts kept, keys and values made anew: {share} more work a step"
    return phrase(template, share=f"{share_made_anew(setting):.1%}")


def _cost_of_streamed_mllm(setting: Setting, _measures: Measures) -> str:
    moved = len(setting.run.branches) * mllm_bytes_a_prompt(setting.model.mllm, setting.reading_form)
    return phrase(
        "the MLLM's layers come one after another: {moved} GB once a run, at least {seconds} s over {bus}",
        moved=f"{moved / GIGA:.1f}",
        seconds=f"{bus_seconds(moved):.1f}",
        bus=USUAL_BUS,
    )


def _cost_of_streamed(setting: Setting, measures: Measures) -> str:
    config, count = setting.model.dit, measures.streamed_blocks
    moved = bytes_a_step(config, setting.form, streamed=count)
    kept = "keys and values" if measures.keeps_keys_values else "projected contexts"
    return phrase(
        "{count} of {total} blocks come for their turn: {moved} GB a step from pinned memory, {seconds} s over {bus}, "
        "which only a step that computes for less waits for; {kept} kept",
        count=count,
        total=config.num_layers,
        moved=f"{moved / GIGA:.1f}",
        seconds=f"{bus_seconds(moved):.2f}",
        bus=USUAL_BUS,
        kept=kept,
    )


MEASURES: dict[str, tuple[Measure, ...]] = {
    PROMPT: (
        Measure(_nothing, lambda _setting, _measures: "the MLLM on the same device, released before the DiT comes"),
        Measure(_mllm_streamed, _cost_of_streamed_mllm, streams=True),
        Measure(_mllm_to_cpu, _cost_of_cpu, leaves_gpu=True),
    ),
    ENCODE: (Measure(_tiles("encode"), _cost_of_tiles("encode")),),
    DENOISE: (
        Measure(_nothing, lambda _setting, _measures: "keys and values of the contexts kept"),
        Measure(_projected, _cost_of_projected),
        Measure(_streamed(keeps_keys_values=True), _cost_of_streamed, streams=True),
        Measure(_streamed(keeps_keys_values=False), _cost_of_streamed, streams=True),
    ),
    DECODE: (Measure(_tiles("decode"), _cost_of_tiles("decode")),),
}
"""Of each phase, from the cheapest on."""


def _fits(phase: Phase, budget: int) -> bool:
    return phase.on_cpu or phase.peak.needed <= budget


def _row(setting: Setting, name: str) -> list[Measure]:
    """The measures of a phase that there are in a setting."""
    row = [measure for measure in MEASURES[name] if setting.on_gpu or not measure.leaves_gpu]
    if not setting.can_stream:
        return [measure for measure in row if not measure.streams]
    streaming = [measure for measure in row if measure.streams]
    return streaming if streaming and setting.offload == "blocks" else row


def _fit(setting: Setting, measures: Measures, name: str, budget: int) -> tuple[Measures, Fitted, bool]:
    """The first measure of a phase that is enough; the last one where none is."""
    for measure in _row(setting, name):
        changed = measure.change(setting, measures, budget)
        fitted = Fitted(phase_of(name, setting, changed), measure.cost(setting, changed))
        if _fits(fitted.phase, budget):
            return changed, fitted, True
    return changed, fitted, False


def _attempt(setting: Setting, budget: int) -> tuple[MemoryPlan, list[Fitted]]:
    """A plan, and the phases that do not fit."""
    measures, fitted, failed = Measures(), [], []
    for name in (phase.name for phase in phases_of(setting, measures)):
        measures, entry, is_enough = _fit(setting, measures, name, budget)
        fitted.append(entry)
        if not is_enough:
            failed.append(entry)
    return MemoryPlan(setting=setting, budget=budget, measures=measures, fitted=tuple(fitted)), failed


def choose(setting: Setting, budget: int | None) -> MemoryPlan:
    """The cheapest way to run that fits.

    Args:
        setting: What is planned for.
        budget: Bytes of the device that may be used; None for no limit.

    Raises:
        ResourceError: Nothing fits; the message says what would.
    """
    if budget is None:
        plan, _ = _attempt(setting, 1 << 62)
        return replace(plan, budget=None)
    plan, failed = _attempt(setting, budget)
    if not failed:
        return plan
    worst = max((entry.phase for entry in failed), key=lambda phase: phase.peak.needed)
    raise ResourceError(
        phrase(
            "{run} with {form} weights, whose phase {phase} needs {needed} GB",
            run=setting.run.describe(),
            form=setting.form.name,
            phase=worst.name,
            needed=f"{worst.peak.needed / GIGA:.1f}",
        ),
        expected=phrase("at most {most} GB", most=f"{budget / GIGA:.1f}"),
        fix=joined(list(_ways_out(setting, budget)), "{this}; or {that}"),
    )


def most_frames(setting: Setting, budget: int) -> int | None:
    """Length of the longest clip, shorter than the run, that fits; None where none does.

    Args:
        setting: What is planned for.
        budget: Bytes that may be used.
    """
    return longest_run(setting, lambda one: not _attempt(one, budget)[1])


def longest_run(setting: Setting, fits: Fits) -> int | None:
    """Length of the longest clip, shorter than the run, that fits by any rule; None where none does."""
    counts = range(TEMPORAL_STRIDE + 1, setting.run.num_frames, TEMPORAL_STRIDE)
    found = bisect_left(counts, True, key=lambda count: not fits(_changed(setting, num_frames=count)))
    return counts[found - 1] if found else None


def _changed(setting: Setting, **changes: int) -> Setting:
    return replace(setting, run=replace(setting.run, **changes))  # type: ignore[arg-type]


def _ways_out(setting: Setting, budget: int) -> Iterator[str]:
    """What would fit, from the least change on; at least the card that it takes."""
    yield from smaller_runs(setting, lambda one: not _attempt(one, budget)[1])
    form = next((form for form in _smaller_formats(setting.form) if not _attempt_with(setting, form, budget)), None)
    if form is not None:
        yield phrase("use {form} weights", form=form.name)
    yield phrase("a device with {memory} GB free", memory=f"{least_budget(setting) / GIGA:.1f}")


def smaller_runs(setting: Setting, fits: Fits) -> Iterator[str]:
    """Fewer frames and smaller sizes that fit by any rule, as advice."""
    run = setting.run
    frames = longest_run(setting, fits)
    if frames is not None:
        yield phrase("use {frames} frames", frames=frames)
    alike = [closest_bucket(run.width, run.height, allowed_sides=(side,)) for side in sorted(VIDEO_BUCKETS)[::-1]]
    smaller = next(
        (
            (width, height)
            for width, height in alike
            if width * height < run.width * run.height and fits(_changed(setting, width=width, height=height))
        ),
        None,
    )
    if smaller is not None:
        yield phrase("use {width}x{height}", width=smaller[0], height=smaller[1])


def _smaller_formats(form: WeightFormat) -> Iterator[WeightFormat]:
    wide = (form.matrix_itemsize, form.itemsize)
    return (other for other in FORMATS.values() if (other.matrix_itemsize, other.itemsize) < wide)


def _attempt_with(setting: Setting, form: WeightFormat, budget: int) -> list[Fitted]:
    return _attempt(replace(setting, form=form), budget)[1]


def least_budget(setting: Setting) -> int:
    """The fewest bytes that the run can do with, all measures taken."""
    plan, _ = _attempt(setting, 0)
    return plan.needed


def branches_together(setting: Setting, measures: Measures) -> int:
    """Activations that it would take more to run all branches of guidance in one forward pass, as ComfyUI can."""
    denoising = denoising_of(setting, measures)
    apart = max(forward_bytes(denoising.forward(branch))[1] for branch in setting.run.branches)
    return forward_bytes(denoising.together())[1] - apart
