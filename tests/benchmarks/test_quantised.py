"""What quantised weights save and lose."""

from dataclasses import replace

import pytest
import torch

from benchmarks.quantised import answer, quantised_file
from benchmarks.reference import relative_error
from loom_core.bundle import find_model
from loom_core.weights.quantise import SCHEMES


@pytest.fixture(scope="module")
def exact():
    return answer(find_model(), dtype=torch.float32)


def test_velocities_are_of_all_branches_and_levels(exact):
    assert exact.velocities.numel() == 3 * 3 * exact.latents.numel()


def test_the_same_weights_answer_the_same(exact):
    again = answer(find_model(), dtype=torch.float32, about=exact.latents)
    assert torch.equal(again.velocities, exact.velocities) and torch.equal(again.latents, exact.latents)


def test_fp8_is_smaller_and_not_the_same(exact, tmp_path):
    files = find_model()
    plain, small = (quantised_file(files, scheme, tmp_path) for scheme in (None, SCHEMES["fp8"]))
    assert small.stat().st_size < 0.7 * plain.stat().st_size
    found = answer(replace(files, dit=small), dtype=torch.float32, about=exact.latents)
    assert 0.01 < relative_error(found.velocities, exact.velocities) < 0.2
