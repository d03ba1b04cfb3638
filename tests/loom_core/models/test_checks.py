"""What is refused before a model runs, in words that say what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.errors import ConfigError
from loom_core.geometry import LatentShape
from loom_core.models.checks import check_count, check_sources, check_states, checked_shape
from loom_core.types import Condition


@pytest.mark.parametrize("leading", [(), (2,)])
def test_the_shape_of_latents(small_config, leading):
    assert checked_shape(small_config, torch.empty(*leading, 4, 3, 2, 6)) == LatentShape(3, 2, 6)


@pytest.mark.parametrize("size", [(5, 3, 2, 6), (4, 3, 3, 6), (4, 3, 2, 5)])
def test_latents_that_do_not_fit(small_config, size):
    with pytest.raises(ConfigError, match="multiples of 32"):
        checked_shape(small_config, torch.empty(size))


def test_one_condition_a_sample():
    check_count([Condition(())], 1)
    with pytest.raises(ConfigError, match="2 conditions for a batch of 1"):
        check_count([Condition(())] * 2, 1)


def test_states_of_the_models_layers_and_width(small_config):
    check_states(small_config, [Condition((torch.empty(5, 20),) * 3)])
    for states in ((torch.empty(5, 20),) * 2, (torch.empty(5, 21),) * 3, ()):
        with pytest.raises(ConfigError, match="3 layers of width 20"):
            check_states(small_config, [Condition(states)])
    with pytest.raises(ConfigError, match="plain Wan"):
        check_states(replace(small_config, has_projector=False), [])


def test_a_source_needs_a_source_embedding(small_config):
    condition = Condition((), torch.empty(4, 1, 2, 2))
    check_sources(small_config, [condition])
    without = replace(small_config, has_source=False)
    check_sources(without, [replace(condition, source_latents=None)])
    with pytest.raises(ConfigError, match="stage 1"):
        check_sources(without, [condition])
