"""The browser's timeline counts frames and steps as a run does."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from loom_core.geometry import resample_indices
from loom_core.mllm.frames import source_frame_indices
from loom_core.models.source import curve_factor
from loom_core.sampling.schedule import partial_schedule, token_shift

FOLDER = Path(__file__).resolve().parents[2] / "web" / "js" / "timeline"
RATES = [(24, 49, 24), (30, 121, 24), (29.97, 300, 24), (23.976, 200, 24), (60, 7, 24), (12, 40, 24), (25, 90, 16.5)]
LENGTHS = [1, 2, 4, 5, 15, 16, 29, 30, 33, 45, 61, 97, 121, 481, 2401]
RUNS = [(50, 5.0, 1.0), (12, 5.0, 1.0), (1, 5.0, 1.0), (20, 1.0, 0.5), (7, 3.2, 0.35), (33, 0.7, 1.0), (100, 8.0, 0.9)]
CURVES = [[], [(1.0, 1.0), (0.5, 0.8), (0.0, 0.0)], [(0.7, 2.0)], [(0.9, 0.1), (0.2, 1.7)]]

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


def in_browser(module: str, names: str, expression: str, data: object) -> list:
    """What an expression over `data` gives in JavaScript."""
    script = f"""import {{ {names} }} from {json.dumps((FOLDER / module).as_uri())};
    const data = {json.dumps(data)};
    console.log(JSON.stringify({expression}));"""
    command = ["node", "--input-type=module", "-e", script]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_frames_of_another_rate():
    cases = [(*rate, most) for rate in RATES for most in (1, 5, 98, 121, 9601)]
    expression = "data.map(([fps, frames, target, most]) => resampleIndices(fps, frames, target, most))"
    expected = [resample_indices(fps, count, target_fps=to, max_frames=most) for fps, count, to, most in cases]
    assert in_browser("frames.js", "resampleIndices", expression, cases) == expected


def test_frames_that_the_mllm_sees():
    cases = [(length, most) for length in LENGTHS for most in (2, 3, 4, 7, 16, 64)]
    expected = [source_frame_indices(length, max_frames=most) for length, most in cases]
    expression = "data.map(([count, most]) => mllmFrames(count, most))"
    assert in_browser("frames.js", "mllmFrames", expression, cases) == expected


def test_steps():
    expression = "data.map(([steps, shift, denoise]) => timesteps({ steps, shift, denoise }))"
    expected = [partial_schedule(steps, shift=shift, denoise=part).timesteps.tolist() for steps, shift, part in RUNS]
    assert in_browser("schedule.js", "timesteps", expression, RUNS) == expected


def test_shift_by_size():
    tokens = [1, 64, 512, 12480, 1_000_000, 10**9]
    assert in_browser("schedule.js", "tokenShift", "data.map(tokenShift)", tokens) == pytest.approx(
        [token_shift(count) for count in tokens]
    )


def test_strength_over_the_noise_level():
    levels = [0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.999, 1.0]
    expression = "data[0].map((curve) => data[1].map((sigma) => "
    expression += "factorAt(curve.map(([sigma, factor]) => ({ sigma, factor })), sigma)))"
    found = in_browser("schedule.js", "factorAt", expression, [CURVES, levels])
    for curve, factors in zip(CURVES, found, strict=True):
        assert factors == pytest.approx(curve_factor(curve, torch.tensor(levels)).tolist(), abs=1e-6)
