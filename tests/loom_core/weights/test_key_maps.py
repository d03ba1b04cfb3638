"""Names: every one of the 5B, in every accepted form."""

from __future__ import annotations

import json

import pytest

from loom_core.errors import WeightsError
from loom_core.weights.key_maps import (
    DEAD_MODULES,
    PREFIXES,
    native_names,
    strip_prefix,
    to_diffusers,
    to_native,
    unique_sources,
)


@pytest.fixture(scope="module")
def golden_map(weights_dir):
    return json.loads((weights_dir / "wan22_ti2v_5b_key_map.json").read_text())["mapping"]


@pytest.fixture(scope="module")
def all_keys(weights_dir):
    return list(json.loads((weights_dir / "loomvideo_5b_keys.json").read_text())["keys"])


def is_dead(name):
    return name.startswith(DEAD_MODULES)


def test_agrees_with_the_published_map_on_every_key(golden_map):
    live = {official: native for official, native in golden_map.items() if not is_dead(official)}
    assert len(golden_map) == 825
    assert len(live) == 821
    assert {official: to_native(official) for official in live} == live
    assert {native: to_diffusers(native) for native in live.values()} == {b: a for a, b in live.items()}


def test_drops_the_text_embedder_in_either_naming(golden_map):
    dead = [name for pair in golden_map.items() if is_dead(pair[0]) for name in pair]
    assert len(dead) == 8
    assert [to_native(name) for name in dead] == [None] * 8


def test_every_key_of_the_5b_survives_a_round_trip(all_keys):
    live = [key for key in all_keys if not is_dead(key)]
    assert len(all_keys) == 832
    assert [to_diffusers(to_native(key)) for key in live] == live
    assert len({to_native(key) for key in live}) == len(live)


def test_native_names_stay(golden_map):
    live = [native for official, native in golden_map.items() if not is_dead(official)]
    assert [to_native(native) for native in live] == live


@pytest.mark.parametrize("name", ["mllm_embedder.linear_1.weight", "source_patch_embedding.bias", "something.else"])
def test_other_names_are_alike_on_both_sides(name):
    assert to_native(name) == name == to_diffusers(name)


def test_the_affine_norm_changes_its_number():
    assert to_native("blocks.7.norm2.weight") == "blocks.7.norm3.weight"
    assert to_diffusers("blocks.7.norm3.bias") == "blocks.7.norm2.bias"


@pytest.mark.parametrize("prefix", [*PREFIXES, "module.gen_model.", "_orig_mod.module."])
def test_every_prefix_is_accepted(prefix):
    assert strip_prefix(prefix + "proj_out.bias") == (prefix, "proj_out.bias")
    assert to_native(prefix + "blocks.0.attn1.to_out.0.weight") == "blocks.0.self_attn.o.weight"


def test_a_plan_of_a_whole_file():
    plan = native_names(["gen_model.proj_out.bias", "gen_model.text_embedding.0.bias", "und_model.lm_head.weight"])
    assert plan.sources == {"head.head.bias": "gen_model.proj_out.bias"}
    assert plan.dropped == ("gen_model.text_embedding.0.bias",)
    assert plan.foreign == ("und_model.lm_head.weight",)
    assert (plan.prefix, plan.style) == ("gen_model.", "diffusers")
    assert plan.in_file("head.head.bias") == "gen_model.proj_out.bias"
    assert plan.in_file("blocks.1.norm3.bias") == "gen_model.blocks.1.norm2.bias"


def test_a_native_file_reports_native_names():
    plan = native_names(["model.diffusion_model.head.head.bias", "first_stage_model.x"])
    assert (plan.prefix, plan.style) == ("model.diffusion_model.", "native")
    assert plan.in_file("blocks.1.norm3.bias") == "model.diffusion_model.blocks.1.norm3.bias"
    assert plan.foreign == ("first_stage_model.x",)


def test_one_weight_under_two_names_is_refused():
    with pytest.raises(WeightsError, match=r"proj_out\.bias.*head\.head\.bias"):
        native_names(["proj_out.bias", "head.head.bias"])


def test_a_renaming_is_turned_around_unless_two_names_meet():
    assert unique_sources({"a.x": "x", "head": None, "tail": None, "b.y": "y"}) == {"x": "a.x", "y": "b.y"}
    with pytest.raises(WeightsError, match=r"'a\.x' and 'b\.x', two names of the same weight 'x'"):
        unique_sources({"a.x": "x", "b.x": "x"})
