import pytest
from PIL import Image

from benchmarks.ablations.comparisons import Comparison
from benchmarks.ablations.pictures import COLOURS, SIZE, curve_axes, curve_of, draw_comparison, ends_of

PAIR = Comparison(key="pair", title="One against another", variants=("one", "absent", "other"))


@pytest.fixture
def results(make_result):
    return {
        name: {seed: make_result(name, seed, loss=loss + 0.02 * seed) for seed in range(3)}
        for name, loss in (("one", 0.3), ("other", 0.4))
    }


def test_each_variant_is_drawn_in_its_colour(results, tmp_path):
    draw_comparison(PAIR, results, tmp_path / "pair.png")
    with Image.open(tmp_path / "pair.png") as picture:
        assert picture.size == SIZE
        found = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert COLOURS[0] in found and COLOURS[2] in found
    assert COLOURS[1] not in found  # that of the variant without results


def test_a_single_seed_and_a_single_measurement_can_be_drawn(results, tmp_path):
    for seeds in results.values():
        for result in seeds.values():
            del result["curve"][1:]
    draw_comparison(PAIR, {"one": {0: results["one"][0]}}, tmp_path / "pair.png")
    assert (tmp_path / "pair.png").stat().st_size > 1000


def test_curves_and_their_intervals_lie_inside_the_axes(results):
    curves = [curve_of(seeds) for seeds in results.values()]
    axes = curve_axes(curves)
    for curve in curves:
        assert curve.spent == [0.0, 1.0, 2.0]
        for spent, loss in zip(curve.spent, curve.losses, strict=True):
            assert axes.left <= axes.x(spent) <= axes.right
            for edge in (loss.mean - loss.half, loss.mean + loss.half):
                assert axes.top <= axes.y(edge) <= axes.bottom


def test_ends_are_what_the_comparison_is_about(results):
    ends = ends_of(PAIR, results)
    assert list(ends) == ["one", "other"] and ends["one"].mean == pytest.approx(0.32)
    right = Comparison(key="rl", title="", variants=PAIR.variants, headline="right")
    assert ends_of(right, results)["one"].mean == pytest.approx(25.0)
