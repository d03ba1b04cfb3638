"""The comparison must compute the same velocity, or it compares nothing."""

from dataclasses import replace

import pytest
import torch

from benchmarks.row_per_token import forward_row_per_token, rows_of_tokens
from benchmarks.twin import make_run
from benchmarks.workloads import random_condition


@pytest.mark.parametrize("references", [True, False])
def test_same_velocity_as_the_model(model, workload, references):
    run = make_run(model, workload if references else replace(workload, references=()))
    with torch.no_grad():
        expected, actual = run.cached(), run.row_per_token()
    assert expected.std() > 1e-3
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


def test_references_get_zero_rows():
    rows = rows_of_tokens(torch.arange(12.0)[None], num_target=3, num_reference=2)
    assert rows.shape == (1, 5, 6, 2)
    assert torch.equal(rows[0, 2], torch.arange(12.0).view(6, 2))
    assert not rows[0, 3:].any()


def test_padding_is_refused(model, workload):
    short = replace(workload, context_tokens=3)
    conditions = [random_condition(one, device="cpu", dtype=torch.float32) for one in (workload, short)]
    latents = torch.randn(2, 4, 2, 4, 6)
    prepared = model.prepare(conditions, latents)
    with pytest.raises(ValueError, match="unequal length"):
        forward_row_per_token(model, latents, torch.tensor([1.0, 1.0]), prepared)
