"""From widgets to a config: what the recipe says, and what the node says instead."""

from __future__ import annotations

import pytest


@pytest.fixture
def recipes(stand_in):
    return stand_in("nodes.adapter.training.recipes")


def test_zeros_leave_the_numbers_to_the_recipe(config_of, folders, recipes, stand_in):
    config = config_of(steps=0, rank=0)
    reading = stand_in("loom_core.config.training").read_training_config
    recipe = reading(recipes.CONFIGS / "tiny" / "lora.yaml")
    assert config.steps == recipe.steps
    assert config.lora == recipe.lora
    assert config.optimiser == recipe.optimiser
    assert config.checkpoint == recipe.checkpoint
    assert config.model.dit_config() == recipe.model.dit_config()
    assert config.run == folders.output / "loomvideo_training" / "run"


def test_what_a_node_asks_for(config_of, prepared):
    config = config_of(steps=7, rank=8, learning_rate=0.5, save_every=2, seed=3)
    assert (config.steps, config.lora.rank, config.lora.scale, config.seed) == (7, 8, 1.0, 3)
    assert (config.optimiser.lr, config.checkpoint.every) == (0.5, 2)
    assert config.data.sets == (prepared.dataset.config,)
    assert config.data.sizes == ((128, 128),)
    assert config.data.num_frames == 9
    assert config.data.workers == 0


def test_samples_on_the_way(config_of, prepared):
    assert not config_of(sample_every=-1).validation.is_on
    shown = config_of(sample_every=5).validation
    assert (shown.every, shown.sets, shown.pictures) == (5, (prepared.dataset.config,), 4)


@pytest.mark.parametrize(("card", "rank", "frames"), [(17 * 10**9, 16, 33), (26 * 10**9, 32, 121)])
def test_the_card_decides_the_recipe_of_the_released_size(recipes, stand_in, host, monkeypatch, card, rank, frames):
    sizes = stand_in("loom_core.config.model").LOOMVIDEO_5B
    monkeypatch.setattr(host, "get_total_memory", lambda device: card)
    reading = stand_in("loom_core.config.training").read_training_config
    config = reading(recipes.CONFIGS / recipes._recipe("auto", sizes))
    assert (config.lora.rank, config.data.num_frames) == (rank, frames)


def test_clips_are_no_longer_than_the_recipe_has_room_for(recipes, prepared, stand_in):
    from dataclasses import replace

    long = replace(prepared.dataset, framing=replace(prepared.dataset.framing, num_frames=121))
    values = {"num_frames": 33, "cache": "somewhere"}
    data = recipes._data(long, values)
    assert data["num_frames"] == 33
    assert data["cache"].endswith("latents")


def test_recipes_that_do_not_fit(config_of, stand_in):
    error = stand_in("loom_core.errors").ConfigError
    with pytest.raises(error, match="recipe 24 GB for a model of width"):
        config_of(recipe="24 GB")
    with pytest.raises(error, match="recipe 'huge'"):
        config_of(recipe="huge")


def test_files_that_are_gone(config_of, stand_in):
    with pytest.raises(stand_in("loom_core.errors").WeightsError, match=r"no file 'gone\.safetensors'"):
        config_of(start_lora="gone.safetensors")
