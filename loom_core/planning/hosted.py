"""How a run inside ComfyUI fits: weights, tiles, branches and caches follow the host's rules, not those of `choice`.

    prompt    Qwen3-VL computes in float32; states wait in ordinary memory (`prompt.hosted_reading_bytes`)
    encode    the whole clip goes to the device, whole frames; where memory runs out, one tile after another, all frames
    denoise   projected contexts are kept, all else of a step is made in its forward pass and goes with it
    decode    as encode; the finished frames stay on the device until the last one

Of a part's weights as many stay on the device as there is room for beside that; the rest comes whenever a layer is
used: once a prompt, once a forward pass. Branches whose contexts differ in length never share a forward pass.

Source: ComfyUI 0.33, `comfy/model_management.py`, `comfy/sd.py`, `comfy/samplers.py`; our `nodes/adapter`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..vae.memory import Direction, covered_share, peak_bytes
from .choice import GIGA, share_made_anew, smaller_runs
from .denoise import SOLVER_LATENTS, cache_bytes, projecting_bytes, step_bytes
from .moments import Moment
from .plan import DECODE, DENOISE, ENCODE, PROMPT, Measures, Setting, denoising_of
from .prompt import hosted_reading_bytes
from .sizes import dit_weights
from .streaming import USUAL_BUS, bus_seconds

TILE = 256
"""Pixels a side of the tiles that the host falls back to; they overlap by a quarter."""
_TILE_LATENTS = TILE // 16
_FLOAT, _RGB = 4, 3


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a run inside ComfyUI has.

    Args:
        budget: Bytes that it may use.
        reserve: Bytes that the host keeps free of weights beside what a phase is known to take.
        reads_on_cpu: Whether the host has Qwen3-VL on the processor although there is a GPU.
    """

    budget: int
    reserve: int = 0
    reads_on_cpu: bool = False


@dataclass(frozen=True, kw_only=True)
class HostedPhase:
    """A phase of a run inside ComfyUI.

    Args:
        name: Of the phase.
        moment: At which it takes the most, with all weights in it.
        kept: Bytes of weights that stay on the device.
        fits: Whether there is room for it.
        in_tiles: Whether the VAE works in tiles.
        on_cpu: Whether it takes the processor's memory although there is a GPU.
        reasons: Why it is as it is, and what it costs.
    """

    name: str
    moment: Moment
    kept: int
    fits: bool
    in_tiles: bool = False
    on_cpu: bool = False
    reasons: tuple[str, ...] = ()

    @property
    def working(self) -> int:
        """All but weights, with the margin of `moments`."""
        return self.moment.needed - self.moment.weights

    @property
    def peak(self) -> int:
        """What it takes at most."""
        return self.kept + self.working


@dataclass(frozen=True, kw_only=True)
class HostedPlan:
    """A run inside ComfyUI, whether it fits or not.

    Args:
        setting: What was planned for.
        device: What there is.
        phases: In their order.
        advice: What would fit, where this does not.
    """

    setting: Setting
    device: Device
    phases: tuple[HostedPhase, ...]
    advice: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether all phases fit."""
        return all(phase.fits for phase in self.phases)


def hosted_plan(setting: Setting, device: Device) -> HostedPlan:
    """What ComfyUI will do with a run.

    Args:
        setting: Sizes of run and model; its `offload` counts for nothing.
        device: What there is.
    """
    phases = tuple(_phases(setting, device))
    plan = HostedPlan(setting=setting, device=device, phases=phases)
    return plan if plan.fits else replace(plan, advice=tuple(_advice(plan)))


def _advice(plan: HostedPlan) -> Iterator[str]:
    device = plan.device
    yield from smaller_runs(plan.setting, lambda one: all(phase.fits for phase in _phases(one, device)))
    least = max(_least(plan.setting, phase) for phase in _phases(plan.setting, replace(device, budget=0)))
    where = "a GPU" if plan.setting.on_gpu else "a computer"
    yield f"{where} with {-(-least * 10 // GIGA) / 10:.1f} GB free"


def _phases(setting: Setting, device: Device) -> Iterator[HostedPhase]:
    yield _prompt(setting, device)
    if setting.run.has_visual:
        yield _coded(setting, device, "encode")
    yield _denoise(setting, device)
    yield _coded(setting, device, "decode")


def _weights(setting: Setting) -> dict[str, int]:
    """Bytes of the weights of each phase's part; without a GPU all lie in one memory all the time."""
    vae = setting.codec_weights
    parts = {
        PROMPT: setting.reading_form.num_bytes(setting.model.mllm.weights),
        DENOISE: setting.form.num_bytes(dit_weights(setting.model.dit)),
    }
    if not setting.on_gpu:
        return dict.fromkeys((PROMPT, ENCODE, DENOISE, DECODE), sum(parts.values()) + vae)
    return {**parts, ENCODE: vae, DECODE: vae}


def _largest_layer(setting: Setting, name: str) -> int:
    """Bytes of the weights that are on the device at the least, for they work at once."""
    if name == PROMPT:
        return setting.model.mllm.num_words * setting.reading_form.itemsize
    return setting.model.dit.hidden_size * setting.model.dit.ffn_dim * setting.form.itemsize * (name == DENOISE)


def _least(setting: Setting, phase: HostedPhase) -> int:
    """Bytes of the device with which a phase can do."""
    if phase.on_cpu:
        return 0
    weights = min(phase.moment.weights, _largest_layer(setting, phase.name)) if setting.on_gpu else phase.moment.weights
    return phase.working + weights


def _fitted(
    name: str,
    moment: Moment,
    setting: Setting,
    device: Device,
    *,
    reasons: Callable[[int], tuple[str, ...]],
    in_tiles: bool = False,
) -> HostedPhase:
    """A phase with as many weights on the device as there is room for.

    Args:
        name: Of the phase.
        moment: See `HostedPhase`.
        setting: What is planned for.
        device: What there is.
        reasons: Says why, given the bytes of weights that come and go.
        in_tiles: See `HostedPhase`.
    """
    on_cpu = name == PROMPT and setting.on_gpu and device.reads_on_cpu
    phase = HostedPhase(name=name, moment=moment, kept=moment.weights, fits=True, in_tiles=in_tiles, on_cpu=on_cpu)
    if setting.on_gpu and not on_cpu:
        room = device.budget - phase.working - device.reserve
        least = min(moment.weights, _largest_layer(setting, name))
        phase = replace(phase, kept=min(moment.weights, max(least, room)))
    fits = on_cpu or _least(setting, phase) <= device.budget
    return replace(phase, fits=fits, reasons=reasons(moment.weights - phase.kept))


def _prompt(setting: Setting, device: Device) -> HostedPhase:
    run, sizes = setting.run, setting.model.mllm
    tokens, times = max(run.branches.values()), len(run.branches)
    working = hosted_reading_bytes(sizes, tokens=tokens, seen=run.seen.tokens, patches=run.patches_at_once)
    moment = Moment(name="full prompt", weights=_weights(setting)[PROMPT], activations=working)

    def reasons(moved: int) -> tuple[str, ...]:
        if setting.on_gpu and device.reads_on_cpu:
            return (f"the encoder works on the processor: {times} prompts of up to {tokens} tokens",)
        return (_stays(setting, "the encoder", moment, moved, times=times, how_often=f"for each of {times} prompts"),)

    return _fitted(PROMPT, moment, setting, device, reasons=reasons)


def _denoise(setting: Setting, device: Device) -> HostedPhase:
    times, moment = len(setting.run.branches), max(_denoising(setting), key=lambda one: one.total)

    def reasons(moved: int) -> tuple[str, ...]:
        how_often = f"for each of {times} branches, in every step"
        return (
            _stays(setting, "the model", moment, moved, times=times, how_often=how_often),
            f"the {times} branches run one after another, as their prompts differ in length",
            f"projected prompts are kept ({_gigabytes(moment.cache)} GB), their keys and values made anew: "
            f"{share_made_anew(setting):.1%} more work a step",
        )

    return _fitted(DENOISE, moment, setting, device, reasons=reasons)


def _denoising(setting: Setting) -> Iterator[Moment]:
    """Moments of denoising: each branch's contexts are projected block by block and joined, then steps follow."""
    run, dit, item = setting.run, setting.model.dit, setting.form.itemsize
    denoising = denoising_of(setting, Measures(keeps_keys_values=False))
    caches = {
        branch: cache_bytes(dit, context, itemsize=item, keeps_keys_values=False)
        for branch, context in run.branches.items()
    }
    numbers = dit.in_channels * run.target.frames * run.target.height * run.target.width
    base = {"weights": _weights(setting)[DENOISE], "latents": SOLVER_LATENTS * _FLOAT * numbers}
    cached = 0
    for branch, context in run.branches.items():
        cached += caches[branch]
        projecting = projecting_bytes(dit, context, itemsize=item, on_gpu=setting.on_gpu, keeps_keys_values=False)
        working = max(projecting, caches[branch])
        yield Moment(name=f"preparing the {branch.value} branch", cache=cached, activations=working, **base)
    for branch in run.branches:
        working = step_bytes(denoising.forward(branch)) + setting.form.widening(dit.hidden_size, dit.ffn_dim)
        yield Moment(name=f"a step of the {branch.value} branch", cache=cached, activations=working, **base)


def _stays(setting: Setting, what: str, moment: Moment, moved: int, *, times: int, how_often: str) -> str:
    """Which weights stay, and what the others cost."""
    if not moved:
        return f"{what} stays whole on the GPU" if setting.on_gpu else "all parts lie in one memory"
    total = moved * times
    return (
        f"{_gigabytes(moment.weights - moved)} of the {_gigabytes(moment.weights)} GB of {what} stay on the GPU; the "
        f"rest comes {how_often}: {_gigabytes(total)} GB, at least {bus_seconds(total):.2g} s over {USUAL_BUS}"
    )


def _coded(setting: Setting, device: Device, direction: Direction) -> HostedPhase:
    name, run = ENCODE if direction == "encode" else DECODE, setting.run
    more = covered_share(run.height, run.width, _TILE_LATENTS) - 1
    tiles = f"tiles of {TILE} pixels, which are {more:.0%} more work; ComfyUI tries whole frames first"
    if direction == "decode":
        tiles += ", which VAE Decode (Tiled) saves"

    def made(*, in_tiles: bool) -> HostedPhase:
        working = _coding_bytes(setting, direction, in_tiles=in_tiles)
        moment = Moment(name=name, weights=_weights(setting)[name], activations=working)
        reasons = (tiles if in_tiles else "whole frames",)
        return _fitted(name, moment, setting, device, reasons=lambda _moved: reasons, in_tiles=in_tiles)

    whole = made(in_tiles=False)
    return whole if whole.fits else made(in_tiles=True)


def _coding_bytes(setting: Setting, direction: Direction, *, in_tiles: bool) -> int:
    """Of encoding source or reference, or of decoding: activations, and the clip on the device."""
    run, item = setting.run, setting.codec_item
    sides = [min(side, TILE) if in_tiles else side for side in (run.height, run.width)]
    frames = run.num_frames if run.has_source or direction == "decode" else 1
    clip = _RGB * frames * sides[0] * sides[1] * item
    working = peak_bytes(
        *sides, tile_latents=None, itemsize=item, direction=direction, num_frames=frames, sizes=setting.model.vae
    )
    return working + clip * (2 if direction == "encode" else 1)  # as they came, and sorted for the first layer


def verdict_lines(plan: HostedPlan) -> list[str]:
    """Whether it fits, for people, and if not, what would; in GB of 10^9 bytes."""
    if plan.fits:
        most = max((phase for phase in plan.phases if not phase.on_cpu), key=lambda phase: phase.peak)
        return [f"It fits: {most.name} takes the most, {_gigabytes(most.peak)} of {_gigabytes(plan.device.budget)} GB."]
    lacking = " and ".join(phase.name for phase in plan.phases if not phase.fits)
    lacking = "any phase" if not any(phase.fits for phase in plan.phases) else lacking
    return [f"It does not fit: no room for {lacking}.", f"To fix: {'; or '.join(plan.advice)}."]


def phase_lines(plan: HostedPlan) -> list[str]:
    """What each phase takes, for people, in GB of 10^9 bytes, and below it why, a reason a line."""
    lines = []
    for phase in plan.phases:
        where = "GB of ordinary memory" if phase.on_cpu else f"of {_gigabytes(plan.device.budget)} GB"
        lines.append(f"{phase.name}: {_gigabytes(phase.peak)} {where}")
        lines += [f"- {reason}" for reason in phase.reasons]
    return lines


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / GIGA:.1f}" if num_bytes >= GIGA else f"{num_bytes / GIGA:.2f}"
