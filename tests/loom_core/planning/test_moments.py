from loom_core.planning.moments import Moment, Phase, largest


def test_a_moment_adds_up():
    moment = Moment(name="a", weights=1000, held=100, cache=10, conditions=20, latents=30, activations=40)
    assert (moment.new, moment.total) == (100, 1200)
    assert moment.needed == 1000 + 220  # a tenth more of all but weights


def test_the_peak_of_a_phase_is_of_all_that_is_alive():
    early = Moment(name="early", held=100, activations=50)
    late = Moment(name="late", cache=80)
    phase = Phase("denoise", (early, late))
    assert phase.peak is early
    assert phase.new == 80  # made by the phase itself, at another moment


def test_the_largest_is_named():
    assert largest([("a", 1), ("b", 3), ("c", 2)]) == ("b", 3)
