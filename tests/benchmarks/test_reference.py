import torch

from benchmarks.reference import SLOW, error_figures, in_dtype, relative_error, slow_forward
from benchmarks.twin import make_run


def test_the_slow_implementation_agrees(model, workload):
    run = make_run(model, workload)
    slow = slow_forward()(model.state_dict(), model.config, run.latents[0].numpy(), 500.0, run.condition)
    assert relative_error(run.cached()[0], torch.from_numpy(slow)) < 1e-5
    assert "loom_core" not in SLOW.read_text().split('"""')[2], "it shares no code with what it checks"


def test_relative_error():
    assert relative_error(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0])) == 0.2


def test_an_error_stands_beside_the_rounding_of_its_dtype():
    error, rounding = error_figures(1e-3, torch.bfloat16)
    assert (error.value, rounding.value) == (1e-3, 2**-7)


def test_conditions_in_another_dtype(model, workload):
    condition = in_dtype(make_run(model, workload).condition, torch.bfloat16)
    tensors = [*condition.mllm_hidden_states, condition.source_latents, condition.references[0].latents]
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}
