import torch

from benchmarks.twin import make_run


def test_every_part_has_weights_and_is_the_same_every_time(model, workload):
    from benchmarks.twin import random_model

    with torch.no_grad():
        again = random_model(workload)
    for (name, parameter), other in zip(model.named_parameters(), again.parameters(), strict=True):
        assert parameter.abs().min() > 0, name
        assert torch.equal(parameter, other)


def test_all_runs_of_one_workload_give_the_same_velocity(model, workload):
    run = make_run(model, workload)
    with torch.no_grad():
        expected = run.cached()
        assert torch.equal(run.uncached(), expected)
        torch.testing.assert_close(run.whole(), expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(run.uncached_row_per_token(), expected, atol=1e-6, rtol=1e-5)
