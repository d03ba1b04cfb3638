"""The counter against sums by hand, and the closed formulas against the counter."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from benchmarks.concatenation import concatenated_flops, concatenated_workload
from benchmarks.flops import context_flops, count_flops, forward_flops, prepare_flops
from benchmarks.twin import make_run
from loom_core.config.model import LOOMVIDEO_5B


def test_linear_counts_two_a_multiply_add():
    layer, x = torch.nn.Linear(3, 5), torch.randn(7, 3)
    assert count_flops(lambda: layer(x)) == 2 * 7 * 3 * 5


def test_attention_on_the_cpu_is_counted():
    query, key = torch.randn(1, 2, 7, 8), torch.randn(1, 2, 9, 8)
    flops = count_flops(lambda: functional.scaled_dot_product_attention(query, key, key))
    assert flops == 2 * (2 * 7 * 9 * 8) * 2  # scores and mixing, two heads


def test_elementwise_work_is_not_counted():
    x = torch.randn(7, 3)
    assert count_flops(lambda: x * x + 1) == 0


@pytest.mark.parametrize("references", [True, False])
@pytest.mark.parametrize("source", [True, False])
def test_formulas_equal_the_counter(model, workload, source, references):
    workload = replace(workload, has_source=source, references=workload.references if references else ())
    run = make_run(model, workload)
    assert count_flops(run.cached) == forward_flops(workload)
    assert count_flops(run.uncached) == forward_flops(workload) + prepare_flops(workload)
    assert count_flops(run.row_per_token) == count_flops(run.whole) == forward_flops(workload, drops_references=False)


def test_formula_equals_the_counter_with_the_source_concatenated(model, workload):
    run = make_run(model, workload, concatenated=True)
    assert count_flops(run.cached) == forward_flops(concatenated_workload(workload))
    assert count_flops(run.whole) == concatenated_flops(workload)


def test_context_of_a_token_at_full_size():
    """5.29 GFLOP of projector and 1.13 of keys and values, for each context token."""
    per_token = context_flops(LOOMVIDEO_5B, 1) / 1e9
    assert per_token == pytest.approx(5.29 + 1.13, abs=0.01)
    assert context_flops(LOOMVIDEO_5B, 100) == 100 * context_flops(LOOMVIDEO_5B, 1)
