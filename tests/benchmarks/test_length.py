from benchmarks import length
from benchmarks.concatenation import concatenated_flops
from benchmarks.flops import count_flops, forward_flops
from benchmarks.twin import make_run


def test_the_formula_is_that_of_what_is_timed(model, workload):
    assert count_flops(make_run(model, workload).cached) == forward_flops(workload)
    assert count_flops(make_run(model, workload, concatenated=True).whole) == concatenated_flops(workload)


def test_concatenation_costs_more_the_longer_the_clip():
    found = {one.key: one.ratio for one in length._full_size()}
    for size in length.SIZES:
        ratios = [found[f"length_{size}_{frames}"] for frames in length.FRAMES]
        assert ratios == sorted(ratios)
        assert 1.5 < ratios[0] < ratios[-1] < 4
