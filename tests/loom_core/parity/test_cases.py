"""Cases by name, and what a forward case is conditioned on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from loom_core.parity.cases import Case, dit_condition, find_cases, load_model, mllm_layers


def described(about, tensors=None):
    case = Case(Path(), "kind", "case")
    case.__dict__.update(about=about, tensors=tensors or {})
    return case


def test_cases_are_found_in_order(golden_dir):
    names = [case.name for case in find_cases(golden_dir, "dit_forward")]
    assert {"dit_forward/ref1", "dit_forward/t2v"} <= set(names)
    assert names == sorted(names)
    assert list(find_cases(golden_dir, "nothing")) == []


def test_a_sibling_lies_in_the_same_set(golden_dir):
    assert Case(golden_dir, "bf16_cpu", "t2v").sibling("dit_forward/t2v") == Case(golden_dir, "dit_forward", "t2v")


def test_numbers_are_sorted_as_numbers():
    case = described({}, {f"x.{index}": torch.tensor(index) for index in (10, 2, 0)} | {"xy.1": torch.tensor(9)})
    assert [int(tensor) for tensor in case.numbered("x")] == [0, 2, 10]


@pytest.mark.parametrize(("last_only", "layers"), [(False, [2, 3, 4]), (True, [4, 4, 4])])
def test_blocks_read_the_last_layers(last_only, layers):
    assert mllm_layers(described({"und_layers": 5, "only_last_hidden_states": last_only}), 3) == layers


def test_a_condition_has_what_was_recorded(golden_dir):
    condition = dit_condition(Case(golden_dir, "dit_forward", "ref1"), 3)
    assert len(condition.mllm_hidden_states) == 3
    assert len(condition.references) == 1
    assert condition.source_latents is not None


def test_models_differ_by_rotary_tables_alone(golden_dir):
    exact = load_model(golden_dir, "tiny")
    rounded = load_model(golden_dir, "tiny", rope_precision="bf16")
    assert (exact.config.rope_precision, rounded.config.rope_precision) == ("exact", "bf16")
    assert torch.equal(exact.patch_embedding.weight, rounded.patch_embedding.weight)
