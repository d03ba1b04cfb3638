"""What ComfyUI will do with a run: the same sizes as `cli.plan`, its own rules, and advice that is true."""

import json
import re
from dataclasses import replace

import pytest

from loom_core.bundle import BUILT_IN
from loom_core.cli import plan as command
from loom_core.planning.choice import GIGA
from loom_core.planning.hosted import TILE, Device, hosted_plan, phase_lines, verdict_lines
from loom_core.planning.plan import DECODE, DENOISE, ENCODE, PROMPT, Setting
from loom_core.planning.run import RunSizes
from loom_core.planning.sizes import FORMATS, ModelSizes

EDIT = RunSizes(width=832, height=480, num_frames=81, has_source=True)
LARGE = RunSizes(width=1280, height=704, num_frames=121, has_source=True, num_references=4)


def setting_of(run=EDIT, form="bf16", *, on_gpu=True):
    return Setting(run=run, model=ModelSizes(), form=FORMATS[form], on_gpu=on_gpu)


def by_name(plan):
    return {phase.name: phase for phase in plan.phases}


@pytest.mark.parametrize(
    "flags", [(), ("--model", str(BUILT_IN / "dit.safetensors"), "--mllm", str(BUILT_IN / "mllm"))]
)
def test_sizes_are_those_of_the_command(capsys, flags):
    """Weights in every phase, and the contexts, of which the command keeps keys and values: twice as many bytes."""
    arguments = ["--size", "832x480", "--frames", "81", "--references", "2", "--json", *flags]
    assert command.main(arguments) == 0
    told = {phase["name"]: phase for phase in json.loads(capsys.readouterr().out)["phases"]}
    setting = command.to_setting(command.build_parser().parse_args(arguments))
    phases = by_name(hosted_plan(setting, Device(budget=80 * GIGA)))
    assert list(phases) == list(told)
    for name, phase in phases.items():
        assert phase.moment.weights == phase.kept == told[name]["weights"], name
    assert 2 * phases[DENOISE].moment.cache == told[DENOISE]["cache"] > 0


def test_what_fits_stays_whole():
    plan = hosted_plan(setting_of(), Device(budget=80 * GIGA, reserve=GIGA))
    assert plan.fits and not plan.advice
    assert all(phase.kept == phase.moment.weights and not phase.in_tiles for phase in plan.phases)


@pytest.mark.parametrize("run", [EDIT, LARGE, replace(EDIT, has_source=False, num_frames=1)])
@pytest.mark.parametrize("form", ["bf16", "fp8"])
def test_less_memory_keeps_fewer_weights_until_nothing_fits(run, form):
    kept, tiled, fitted = [], [], []
    for tenths in range(400, 5, -5):
        budget = tenths * GIGA // 10
        plan = hosted_plan(setting_of(run, form), Device(budget=budget, reserve=GIGA))
        phases = by_name(plan)
        if plan.fits:
            assert max(phase.peak for phase in plan.phases) <= budget
        kept.append((phases[PROMPT].kept, phases[DENOISE].kept))
        tiled.append(phases[DECODE].in_tiles)
        fitted.append(plan.fits)
    assert kept == sorted(kept, reverse=True) and kept[0] > kept[-1]
    assert tiled == sorted(tiled) and fitted == sorted(fitted, reverse=True)
    assert fitted[0] and not tiled[0]


def test_the_reserve_is_kept_free_of_weights():
    most, less = (
        by_name(hosted_plan(setting_of(), Device(budget=8 * GIGA, reserve=reserve)))[DENOISE].kept
        for reserve in (0, GIGA)
    )
    assert most - less == GIGA


def test_tiles_are_those_of_the_host():
    phases = by_name(hosted_plan(setting_of(LARGE), Device(budget=4 * GIGA)))
    square = by_name(hosted_plan(setting_of(replace(LARGE, width=TILE, height=TILE)), Device(budget=80 * GIGA)))
    assert phases[DECODE].in_tiles and not square[DECODE].in_tiles
    assert phases[DECODE].working == square[DECODE].working


def test_text_alone_encodes_nothing():
    assert ENCODE not in by_name(hosted_plan(setting_of(replace(EDIT, has_source=False)), Device(budget=80 * GIGA)))


def test_an_encoder_on_the_processor_takes_nothing_of_the_gpu():
    plan = hosted_plan(setting_of(), Device(budget=5 * GIGA, reads_on_cpu=True))
    prompt = by_name(plan)[PROMPT]
    assert prompt.on_cpu and prompt.fits and prompt.peak > 5 * GIGA
    assert "GB of ordinary memory" in "\n".join([*verdict_lines(plan), *phase_lines(plan)])


def test_without_a_gpu_all_parts_lie_in_one_memory():
    phases = by_name(hosted_plan(setting_of(on_gpu=False), Device(budget=80 * GIGA)))
    gpu = by_name(hosted_plan(setting_of(), Device(budget=80 * GIGA)))
    weights = {phase.moment.weights for phase in phases.values()}
    assert len(weights) == 1
    assert weights.pop() > gpu[PROMPT].moment.weights + gpu[DENOISE].moment.weights
    plan = hosted_plan(setting_of(on_gpu=False), Device(budget=10 * GIGA))
    assert not plan.fits and "no room for any phase" in "\n".join([*verdict_lines(plan), *phase_lines(plan)])


@pytest.mark.parametrize("budget", [2, 3, 4])
def test_advice_is_true(budget):
    """Each way out that is named fits, and the next longer clip does not."""
    device = Device(budget=budget * GIGA)
    plan = hosted_plan(setting_of(LARGE), device)
    assert not plan.fits
    seen = 0
    for way in plan.advice:
        if found := re.fullmatch(r"use (\d+) frames", way):
            frames = int(found[1])
            assert hosted_plan(setting_of(replace(LARGE, num_frames=frames)), device).fits
            assert not hosted_plan(setting_of(replace(LARGE, num_frames=frames + 4)), device).fits
        elif found := re.fullmatch(r"use (\d+)x(\d+)", way):
            smaller = replace(LARGE, width=int(found[1]), height=int(found[2]))
            assert hosted_plan(setting_of(smaller), device).fits
        else:
            most = float(re.fullmatch(r"a GPU with (\d+\.\d) GB free", way)[1])
            assert hosted_plan(setting_of(LARGE), Device(budget=round(most * GIGA))).fits
            assert not hosted_plan(setting_of(LARGE), Device(budget=round((most - 0.1) * GIGA))).fits
        seen += 1
    assert seen >= 2


def test_lines_say_what_moves_and_what_would_fit():
    plan = hosted_plan(setting_of(), Device(budget=12 * GIGA, reserve=GIGA))
    assert verdict_lines(plan) == ["It fits: prompt takes the most, 11.0 of 12.0 GB."]
    first, why, *_ = phase_lines(plan)
    assert first == "prompt: 11.0 of 12.0 GB"
    assert re.match(r"- \d+\.\d of the 16\.3 GB of the encoder stay on the GPU", why)
    plan = hosted_plan(setting_of(LARGE), Device(budget=4 * GIGA))
    first, way = verdict_lines(plan)
    assert first == "It does not fit: no room for denoise." and way.startswith("To fix: use ")
    assert any("VAE Decode (Tiled)" in line for line in phase_lines(plan))
