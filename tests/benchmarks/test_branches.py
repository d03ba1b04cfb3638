import torch

from benchmarks.branches import make_step, workload_of
from benchmarks.operator_counts import count_operators
from loom_core.types import Branch


def test_a_batch_gives_the_velocities_of_its_branches(model, workload):
    step = make_step(model, workload)
    with torch.no_grad():
        apart, together = step.run_apart(), step.run_together()
    assert tuple(step.apart) == (Branch.FULL, Branch.VISUAL, Branch.UNCONDITIONAL)
    assert (apart[0] - apart[2]).abs().max() > 1e-3
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-4)


def test_a_batch_calls_fewer_kernels(model, workload):
    step = make_step(model, workload)
    assert count_operators(step.run_together).kernels < count_operators(step.run_apart).kernels


def test_contexts_are_those_of_prompts():
    assert workload_of("image").context_tokens < workload_of("video").context_tokens
