import pytest
import torch

from benchmarks.concatenation import concatenate_source, concatenated_workload
from benchmarks.twin import make_run
from benchmarks.workloads import random_condition


def test_source_becomes_the_first_reference(workload):
    condition = random_condition(workload, device="cpu", dtype=torch.float32)
    changed = concatenate_source(condition)
    assert changed.source_latents is None
    assert changed.references[0].latents is condition.source_latents
    assert changed.references[1:] == condition.references
    assert changed.mllm_hidden_states is condition.mllm_hidden_states


def test_sequence_grows_by_the_target_tokens(model, workload):
    run = make_run(model, workload, concatenated=True)
    tokens = run.prepared.references.tokens.shape[1]
    assert tokens == concatenated_workload(workload).reference_tokens == 2 + workload.target.tokens
    with torch.no_grad():
        assert run.cached().shape == run.latents.shape


def test_without_a_source_there_is_nothing_to_concatenate(workload):
    condition = concatenate_source(random_condition(workload, device="cpu", dtype=torch.float32))
    with pytest.raises(ValueError, match="without a source"):
        concatenate_source(condition)
